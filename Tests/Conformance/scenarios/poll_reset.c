// What poll, select and epoll say after a reset.
#include "observe.h"

static void body(int a, int b) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP};
  int before = epoll_create1(0), after = epoll_create1(0), quiet = epoll_create1(0);
  epoll_ctl(before, EPOLL_CTL_ADD, b, &event);
  event.events = 0;
  epoll_ctl(quiet, EPOLL_CTL_ADD, b, &event);
  OBS("send", send(b, "unread", 6, 0));
  await_bytes(a, 6);
  OBS("close", close(a));
  await_events(b, POLLERR);
  say("poll %s", event_names(ready(b, POLLIN | POLLOUT | POLLRDHUP)));
  say("poll for nothing %s", event_names(ready(b, 0)));
  OBS("epoll_wait", epoll_wait(before, &event, 1, 0));
  say("events %s", event_names(event.events));
  OBS("epoll_wait for nothing", epoll_wait(quiet, &event, 1, 0));
  say("events %s", event_names(event.events));
  event.events = EPOLLIN | EPOLLET;
  epoll_ctl(after, EPOLL_CTL_ADD, b, &event);
  OBS("epoll_wait of a new set", epoll_wait(after, &event, 1, 0));
  say("events %s", event_names(event.events));
  OBS("epoll_wait again", epoll_wait(after, &event, 1, 0));
  fd_set r, w, e;
  FD_ZERO(&r);
  FD_ZERO(&w);
  FD_ZERO(&e);
  FD_SET(b, &r), FD_SET(b, &w), FD_SET(b, &e);
  OBS("select", select(b + 1, &r, &w, &e, &(struct timeval){0}));
  say("r %d w %d e %d", FD_ISSET(b, &r) != 0, FD_ISSET(b, &w) != 0, FD_ISSET(b, &e) != 0);
  char byte;
  OBS("recv", recv(b, &byte, 1, 0));
  say("poll %s", event_names(ready(b, POLLIN | POLLOUT | POLLRDHUP)));
  OBS("epoll_wait", epoll_wait(before, &event, 1, 0));
  say("events %s", event_names(event.events));
  close(before), close(after), close(quiet);
}

BOTH_WAYS(body)
