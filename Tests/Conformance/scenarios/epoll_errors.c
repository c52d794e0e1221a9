// What epoll calls refuse.
#include "observe.h"

static void body(int a, int b) {
  int set = epoll_create1(0), inner = epoll_create1(0), file = open("/proc/self/exe", O_RDONLY);
  struct epoll_event event = {.events = EPOLLIN};
  OBS("create with a bad flag", epoll_create1(12345));
  OBS("create with size 0", epoll_create(0));
  OBS("MOD of what is not there", epoll_ctl(set, EPOLL_CTL_MOD, b, &event));
  OBS("DEL of what is not there", epoll_ctl(set, EPOLL_CTL_DEL, b, &event));
  OBS("ADD", epoll_ctl(set, EPOLL_CTL_ADD, b, &event));
  OBS("ADD again", epoll_ctl(set, EPOLL_CTL_ADD, b, &event));
  OBS("ADD of a file", epoll_ctl(set, EPOLL_CTL_ADD, file, &event));
  OBS("ADD of a closed descriptor", epoll_ctl(set, EPOLL_CTL_ADD, 900, &event));
  OBS("ADD of the set itself", epoll_ctl(set, EPOLL_CTL_ADD, set, &event));
  OBS("ADD to a socket", epoll_ctl(a, EPOLL_CTL_ADD, b, &event));
  OBS("a strange operation", epoll_ctl(set, 9, b, &event));
  OBS("nesting", epoll_ctl(set, EPOLL_CTL_ADD, inner, &event));
  OBS("a loop", epoll_ctl(inner, EPOLL_CTL_ADD, set, &event));
  OBS("wait for 0", epoll_wait(set, &event, 0, 0));
  OBS("wait for -1", epoll_wait(set, &event, -1, 0));
  OBS("wait on a socket", epoll_wait(b, &event, 1, 0));
  OBS("wait on a closed descriptor", epoll_wait(900, &event, 1, 0));
  OBS("pwait2 with a bad time", epoll_pwait2(set, &event, 1, &(struct timespec){.tv_nsec = -1}, NULL));
  OBS("read of a set", read(set, &event, 1));
  OBS("DEL with an event", epoll_ctl(set, EPOLL_CTL_DEL, b, &event));
  OBS("DEL again", epoll_ctl(set, EPOLL_CTL_DEL, b, &event));
  close(set), close(inner), close(file);
}

BOTH_WAYS(body)
