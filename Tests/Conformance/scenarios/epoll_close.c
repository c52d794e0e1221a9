// Closing what is in a set: it leaves the set; the number can be used again at once, for another connection.
#include "observe.h"

static int set;

static void look(const char *when) {
  struct epoll_event events[4] = {0};
  int count = epoll_wait(set, events, 4, 0);
  say("%s: %d data %u", when, count, count > 0 ? events[0].data.u32 : 0);
}

static void body(int a, int b) {
  char buffer[8];
  set = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = 1};
  OBS("ADD", epoll_ctl(set, EPOLL_CTL_ADD, b, &event));
  OBS("send", send(a, "x", 1, 0));
  await_bytes(b, 1);
  look("with data");
  struct sockaddr_storage address;
  socklen_t length;
  int listener = make_listener(PAIR_V4, &address, &length), next[2];
  OBS("close", close(b));
  look("closed with data pending");
  OBS("DEL of what is closed", epoll_ctl(set, EPOLL_CTL_DEL, b, NULL));
  close(a);
  next[0] = connect_to(PAIR_V4, &address, length);
  next[1] = accept(listener, NULL, NULL);
  close(listener);
  settle(next);
  check_that("the numbers are used again", (next[0] == a || next[0] == b) && (next[1] == a || next[1] == b));
  look("a new connection with the old numbers");
  OBS("send", send(next[0], "y", 1, 0));
  await_bytes(next[1], 1);
  look("data on it");
  event.data.u32 = 2;
  OBS("MOD of it", epoll_ctl(set, EPOLL_CTL_MOD, next[1], &event));
  OBS("ADD of it", epoll_ctl(set, EPOLL_CTL_ADD, next[1], &event));
  look("added");
  OBS("recv", recv(next[1], buffer, 8, 0));
  look("drained");
  OBS("close of the set", close(set));
  OBS("epoll_wait of a closed set", epoll_wait(set, &event, 1, 0));
  OBS("the connection goes on", send(next[0], "z", 1, 0));
  OBS("recv", recv(next[1], buffer, 8, 0));
  close(next[0]);
  close(next[1]);
}

BOTH_WAYS(body)
