// A duplicate is a registration of its own; closing one of two descriptors leaves both registrations in the set.
#include "observe.h"

static int set;

static void look(const char *when) {
  struct epoll_event events[4] = {0};
  int count = epoll_wait(set, events, 4, 0);
  unsigned mask = 0;
  for (int i = 0; i < count; i++) mask |= events[i].data.u32;
  say("%s: %d, registrations %#x", when, count, mask);
}

static void body(int a, int b) {
  char buffer[8];
  int copy = dup(b);
  set = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = 1};
  OBS("ADD", epoll_ctl(set, EPOLL_CTL_ADD, b, &event));
  OBS("ADD again", epoll_ctl(set, EPOLL_CTL_ADD, b, &event));
  event.data.u32 = 2;
  OBS("ADD of the duplicate", epoll_ctl(set, EPOLL_CTL_ADD, copy, &event));
  look("before data");
  OBS("send", send(a, "abc", 3, 0));
  await_bytes(b, 3);
  look("with data");
  OBS("recv through the duplicate", recv(copy, buffer, 2, 0));
  look("with less data");
  OBS("DEL of the original", epoll_ctl(set, EPOLL_CTL_DEL, b, NULL));
  look("with one registration");
  event.data.u32 = 1;
  OBS("ADD", epoll_ctl(set, EPOLL_CTL_ADD, b, &event));
  OBS("close of the original", close(b));
  look("the duplicate keeps the connection");
  OBS("MOD of the closed number", epoll_ctl(set, EPOLL_CTL_MOD, b, &event));
  OBS("recv", recv(copy, buffer, 8, 0));
  look("drained");
  OBS("send", send(a, "x", 1, 0));
  await_bytes(copy, 1);
  look("with data");
  OBS("close of the duplicate", close(copy));
  look("all closed");
  close(set);
}

BOTH_WAYS(body)
