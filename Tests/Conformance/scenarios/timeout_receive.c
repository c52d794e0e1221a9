// SO_RCVTIMEO: set on the lane and before it; EAGAIN within bounds, data in time, and what getsockopt says.
#include "observe.h"

static void *late(void *argument) {
  int *job = argument;
  await_asleep(job[1]);
  send(job[0], "late", 4, 0);
  return NULL;
}

static void observe_timeout(int a, int b) {
  char buffer[8];
  struct iovec in = {buffer, 8};
  struct msghdr message = {.msg_iov = &in, .msg_iovlen = 1};
  struct timeval value;
  socklen_t length = sizeof value;
  OBS("getsockopt", getsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &value, &length));
  say("timeout %ld.%02ld", (long)value.tv_sec, (long)value.tv_usec / 10000);
  double start = now();
  OBS("recv", recv(b, buffer, 8, 0));
  check_that("in bounds", took(start, 0.09, 3));
  start = now();
  OBS("read", read(b, buffer, 8));
  check_that("in bounds", took(start, 0.09, 3));
  start = now();
  OBS("recvmsg", recvmsg(b, &message, 0));
  check_that("in bounds", took(start, 0.09, 3));
  start = now();
  OBS("readv", readv(b, &in, 1));
  check_that("in bounds", took(start, 0.09, 3));
  OBS("send", send(a, "now", 3, 0));
  OBS("recv of what is there", recv(b, buffer, 8, 0));
  set_timeout(b, SO_RCVTIMEO, 5000);
  int job[2] = {a, thread_id()};
  pthread_t thread = start_thread(late, job);
  start = now();
  OBS("recv of what comes late", recv(b, buffer, 8, 0));
  check_that("at once", took(start, 0, 4));
  join_thread(thread);
  set_timeout(b, SO_RCVTIMEO, 100);
  OBS("recv DONTWAIT", recv(b, buffer, 8, MSG_DONTWAIT));
}

int main(void) {
  for (int flip = 0; flip < 2; flip++) {
    int fds[2];
    lane_pair(fds, PAIR_V4);
    set_timeout(fds[!flip], SO_RCVTIMEO, 100);
    say("-- set after");
    observe_timeout(fds[flip], fds[!flip]);
    make_pair(fds, PAIR_V4);
    set_timeout(fds[!flip], SO_RCVTIMEO, 100);
    settle(fds);
    say("-- set before");
    observe_timeout(fds[flip], fds[!flip]);
  }
  return 0;
}
