// The end of a connection in a set: RDHUP and HUP, ERR after a reset, level and edge, asked for or not.
#include "observe.h"

static void look(const char *when, int level, int edge, int quiet) {
  struct epoll_event event = {0};
  int count = epoll_wait(level, &event, 1, 0);
  say("%s: level %d %s", when, count, count > 0 ? event_names(event.events) : "");
  count = epoll_wait(edge, &event, 1, 0);
  say("%s: edge %d %s", when, count, count > 0 ? event_names(event.events) : "");
  count = epoll_wait(quiet, &event, 1, 0);
  say("%s: quiet %d %s", when, count, count > 0 ? event_names(event.events) : "");
}

static void drain_edges(int edge) {
  struct epoll_event event;
  while (epoll_wait(edge, &event, 1, 0) > 0) continue;
}

static void body(int a, int b) {
  char buffer[8];
  int level = epoll_create1(0), edge = epoll_create1(0), quiet = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP};
  epoll_ctl(level, EPOLL_CTL_ADD, b, &event);
  event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
  epoll_ctl(edge, EPOLL_CTL_ADD, b, &event);
  event.events = EPOLLET;
  epoll_ctl(quiet, EPOLL_CTL_ADD, b, &event);
  look("at first", level, edge, quiet);
  OBS("send", send(a, "abc", 3, 0));
  await_bytes(b, 3);
  drain_edges(edge);
  OBS("close", close(a));
  await_events(b, POLLRDHUP);
  look("the peer closed with data queued", level, edge, quiet);
  look("again", level, edge, quiet);
  OBS("recv", recv(b, buffer, 8, 0));
  OBS("recv", recv(b, buffer, 8, 0));
  look("all read", level, edge, quiet);
  OBS("shutdown", shutdown(b, SHUT_WR));
  await_events(b, POLLHUP);
  drain_edges(edge);
  drain_edges(quiet);
  look("own shutdown", level, edge, quiet);
  close(b);
  look("closed", level, edge, quiet);
  close(level), close(edge), close(quiet);
}

BOTH_WAYS(body)
