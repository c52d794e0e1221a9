// A child inherits an epoll set with connections in it, and closes it; the parent's set goes on.
#include "observe.h"

static void body(int a, int b) {
  char buffer[8];
  int set = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = 1};
  epoll_ctl(set, EPOLL_CTL_ADD, b, &event);
  pid_t child = fork_logged();
  if (child == 0) {
    close(set);
    close(a), close(b);
    end_child(0);
  }
  join_child(child);
  OBS("nothing", epoll_wait(set, &event, 1, 0));
  OBS("send", send(a, "x", 1, 0));
  OBS("epoll_wait", epoll_wait(set, &event, 1, 5000));
  OBS("recv", recv(b, buffer, 8, 0));
  OBS("nothing", epoll_wait(set, &event, 1, 0));
  OBS("close", close(a));
  OBS("epoll_wait", epoll_wait(set, &event, 1, 5000));
  OBS("recv", recv(b, buffer, 8, 0));
  close(b), close(set);
}

BOTH_WAYS(body)
