// MSG_WAITALL: complete, cut short by the end of the stream, by a timeout, and without effect when nonblocking.
#include "observe.h"

static int feeder_fd;
static volatile pid_t reader;

static void *feed_in_pieces(void *argument) {
  (void)argument;
  for (int piece = 0; piece < 4; piece++) {
    await_asleep(reader);
    if (send(feeder_fd, "12345678" + piece * 2, 2, 0) != 2) give_up("send");
  }
  return NULL;
}

static void *feed_and_end(void *argument) {
  feed_in_pieces(argument);
  await_asleep(reader);
  shutdown(feeder_fd, SHUT_WR);
  return NULL;
}

static void body(int a, int b) {
  char buffer[32];
  reader = thread_id();
  feeder_fd = a;
  pthread_t thread = start_thread(feed_in_pieces, NULL);
  long count = recv(b, buffer, 8, MSG_WAITALL);
  join_thread(thread);
  OBS("WAITALL 8 of four pieces", count);
  say("bytes %.8s", buffer);

  struct iovec in[2] = {{buffer, 3}, {buffer + 10, 5}};
  struct msghdr message = {.msg_iov = in, .msg_iovlen = 2};
  thread = start_thread(feed_in_pieces, NULL);
  count = recvmsg(b, &message, MSG_WAITALL);
  join_thread(thread);
  OBS("recvmsg WAITALL 3+5", count);
  say("bytes %.3s %.5s", buffer, buffer + 10);

  send(a, "abc", 3, 0);
  await_bytes(b, 3);
  OBS("WAITALL DONTWAIT 8 of 3", recv(b, buffer, 8, MSG_WAITALL | MSG_DONTWAIT));
  OBS("WAITALL DONTWAIT of nothing", recv(b, buffer, 8, MSG_WAITALL | MSG_DONTWAIT));

  set_timeout(b, SO_RCVTIMEO, 100);
  send(a, "abcd", 4, 0);
  double start = now();
  OBS("WAITALL 8 of 4 with a timeout", recv(b, buffer, 8, MSG_WAITALL));
  check_that("it took the timeout", took(start, 0.08, 3));
  start = now();
  OBS("WAITALL 8 of nothing with a timeout", recv(b, buffer, 8, MSG_WAITALL));
  check_that("it took the timeout", took(start, 0.08, 3));
  set_timeout(b, SO_RCVTIMEO, 0);

  thread = start_thread(feed_and_end, NULL);
  count = recv(b, buffer, 20, MSG_WAITALL);
  join_thread(thread);
  OBS("WAITALL 20 of 8 and the end", count);
  OBS("WAITALL at the end", recv(b, buffer, 20, MSG_WAITALL));
}

BOTH_WAYS(body)
