/// Descriptors above the soft limit: they can be made while it is raised for a moment, and work after that.
#include "common.h"

int main(void) {
  struct rlimit limit = {64, 0}, hard;
  NEED(getrlimit(RLIMIT_NOFILE, &hard) == 0);
  limit.rlim_max = hard.rlim_max;
  NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  int ends[2];
  NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  errno = 0;
  saw(fcntl(ends[0], F_DUPFD_CLOEXEC, 64) == -1 && errno == EINVAL, "no descriptor can be made at the soft limit");
  struct rlimit raised = {hard.rlim_max < 1024 ? hard.rlim_max : 1024, hard.rlim_max};
  NEED(setrlimit(RLIMIT_NOFILE, &raised) == 0);
  int hidden = fcntl(ends[0], F_DUPFD_CLOEXEC, 64);
  NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  saw(hidden >= 64, "with the limit raised for one call it gets number %d", hidden);
  saw(write(hidden, "x", 1) == 1, "and is good for use when the limit is 64 again");
  struct epoll_event event = {.events = EPOLLOUT};
  int set = epoll_create1(0);
  saw(epoll_ctl(set, EPOLL_CTL_ADD, hidden, &event) == 0, "in an epoll set too");
  int last = 0, next;
  while ((next = dup(ends[1])) >= 0) last = next;
  saw(last == 63 && errno == EMFILE, "it takes none of the 64 numbers of the application");
  struct pollfd many[2] = {{hidden, POLLOUT, 0}, {ends[1], POLLIN, 0}};
  saw(poll(many, 2, 0) == 2, "poll takes its number");
  return unexpected;
}
