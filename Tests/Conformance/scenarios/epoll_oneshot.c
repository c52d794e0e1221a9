// EPOLLONESHOT: told once, then silent until MOD, and at once if it is so when MOD comes.
#include "observe.h"

static int set;

static void look(const char *when) {
  struct epoll_event events[4] = {0};
  int count = epoll_wait(set, events, 4, 0);
  say("%s: %d %s", when, count, count > 0 ? event_names(events[0].events) : "");
}

static void body(int a, int b) {
  char buffer[8];
  for (int edge = 0; edge < 2; edge++) {
    uint32_t mode = EPOLLIN | EPOLLONESHOT | (edge ? EPOLLET : 0);
    struct epoll_event event = {.events = mode};
    set = epoll_create1(0);
    OBS("ADD", epoll_ctl(set, EPOLL_CTL_ADD, b, &event));
    OBS("send", send(a, "abc", 3, 0));
    await_bytes(b, 3);
    look("with data");
    look("again");
    OBS("send", send(a, "d", 1, 0));
    await_bytes(b, 4);
    look("with more data");
    event.events = mode;
    OBS("MOD", epoll_ctl(set, EPOLL_CTL_MOD, b, &event));
    look("armed again with data pending");
    look("again");
    OBS("recv", recv(b, buffer, 8, 0));
    event.events = mode;
    OBS("MOD", epoll_ctl(set, EPOLL_CTL_MOD, b, &event));
    look("armed with nothing pending");
    OBS("send", send(a, "e", 1, 0));
    await_bytes(b, 1);
    look("with data");
    OBS("recv", recv(b, buffer, 8, 0));
    event.events = EPOLLOUT | EPOLLONESHOT | (edge ? EPOLLET : 0);
    OBS("MOD", epoll_ctl(set, EPOLL_CTL_MOD, b, &event));
    look("armed for OUT");
    look("again");
    close(set);
  }
  struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT};
  set = epoll_create1(0);
  epoll_ctl(set, EPOLL_CTL_ADD, b, &event);
  send(a, "x", 1, 0);
  await_bytes(b, 1);
  look("with data");
  OBS("shutdown", shutdown(a, SHUT_WR));
  await_events(b, POLLRDHUP);
  look("the end, not armed");
  OBS("shutdown", shutdown(b, SHUT_WR));
  await_events(b, POLLHUP);
  look("HUP, not armed");
  OBS("MOD", epoll_ctl(set, EPOLL_CTL_MOD, b, &event));
  look("armed");
  close(set);
}

BOTH_WAYS(body)
