// A single blocking send, writev and sendmsg of 16 MiB each returns only when all has gone in.
#include "observe.h"

enum { size = 16 << 20 };

static char *received;

static void *reader(void *argument) {
  return read_all(*(int *)argument, received, size) ? argument : NULL;
}

static void body(int a, int b) {
  char *bytes = malloc(size);
  received = malloc(size);
  fill(bytes, size, 19, 0);
  for (int way = 0; way < 3; way++) {
    struct iovec out[2] = {{bytes, size / 2 + 1}, {bytes + size / 2 + 1, size / 2 - 1}};
    struct msghdr message = {.msg_iov = out, .msg_iovlen = 2};
    memset(received, 0, size);
    pthread_t thread = start_thread(reader, &b);
    long count = way == 0 ? send(a, bytes, size, 0) : way == 1 ? writev(a, out, 2) : sendmsg(a, &message, 0);
    OBS("sent", count);
    check_that("received", join_thread(thread) != NULL);
    check_that("exact", !memcmp(bytes, received, size));
  }
  free(bytes);
  free(received);
}

BOTH_WAYS(body)
