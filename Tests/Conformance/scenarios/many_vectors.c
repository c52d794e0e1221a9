// writev and readv with IOV_MAX vectors, of one byte and of many, and with one too many.
#include "observe.h"

static struct iovec out[IOV_MAX + 1];

static void *writer(void *argument) {
  OBS("writev of 40 each", writev(*(int *)argument, out, IOV_MAX));
  return NULL;
}

static void body(int a, int b) {
  static char bytes[IOV_MAX * 40], back[IOV_MAX * 40];
  static struct iovec in[IOV_MAX + 1];
  for (int i = 0; i <= IOV_MAX; i++) {
    out[i] = (struct iovec){&bytes[i % IOV_MAX], 1};
    in[i] = (struct iovec){&back[IOV_MAX - 1 - i % IOV_MAX], 1};
  }
  fill(bytes, sizeof bytes, 2, 0);
  OBS("writev", writev(a, out, IOV_MAX));
  await_bytes(b, IOV_MAX);
  OBS("readv", readv(b, in, IOV_MAX));
  bool reversed = true;
  for (int i = 0; i < IOV_MAX; i++) reversed &= bytes[i] == back[IOV_MAX - 1 - i];
  check_that("in the order of the vectors", reversed);
  OBS("writev of one too many", writev(a, out, IOV_MAX + 1));
  OBS("readv of one too many", readv(b, in, IOV_MAX + 1));
  for (int i = 0; i < IOV_MAX; i++) {
    out[i] = (struct iovec){&bytes[i * 40], 40};
    in[i] = (struct iovec){&back[i * 40], 40};
  }
  pthread_t thread = start_thread(writer, &a);
  struct msghdr message = {.msg_iov = in, .msg_iovlen = IOV_MAX};
  long count = recvmsg(b, &message, MSG_WAITALL);
  join_thread(thread);
  OBS("recvmsg WAITALL", count);
  check_that("exact", !memcmp(bytes, back, sizeof bytes));
  OBS("nothing more", recv(b, back, 1, MSG_DONTWAIT));
}

BOTH_WAYS(body)
