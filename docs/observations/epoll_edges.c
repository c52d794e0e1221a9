/// What epoll reports when a registration comes, is changed, or loses its descriptor.
#include "common.h"

static int wait_now(int set, struct epoll_event *event) {
  return epoll_wait(set, event, 1, 0);
}

int main(void) {
  struct pair ends = make_pair();
  struct epoll_event asked = {.events = EPOLLIN | EPOLLET, .data.u64 = 7}, seen;
  char byte;
  int set = epoll_create1(0);
  NEED(set >= 0);
  NEED(send(ends.connected, "ab", 2, 0) == 2);
  NEED(poll_until(ends.accepted, POLLIN) & POLLIN);
  NEED(epoll_ctl(set, EPOLL_CTL_ADD, ends.accepted, &asked) == 0);
  saw(wait_now(set, &seen) == 1, "EPOLL_CTL_ADD of a ready descriptor gives an edge");
  saw(wait_now(set, &seen) == 0, "once");
  NEED(epoll_ctl(set, EPOLL_CTL_MOD, ends.accepted, &asked) == 0);
  saw(wait_now(set, &seen) == 1, "EPOLL_CTL_MOD gives another");
  NEED(recv(ends.accepted, &byte, 1, 0) == 1);
  saw(wait_now(set, &seen) == 0, "a read that leaves something gives none");
  NEED(send(ends.connected, "c", 1, 0) == 1);
  saw(wait_now(set, &seen) == 1, "new bytes give one, though the old ones are not read");
  asked.events = EPOLLIN | EPOLLONESHOT;
  NEED(epoll_ctl(set, EPOLL_CTL_MOD, ends.accepted, &asked) == 0);
  saw(wait_now(set, &seen) == 1 && wait_now(set, &seen) == 0, "a one-shot registration fires once");
  asked.events = EPOLLONESHOT;
  NEED(epoll_ctl(set, EPOLL_CTL_DEL, ends.accepted, NULL) == 0);
  NEED(epoll_ctl(set, EPOLL_CTL_ADD, ends.accepted, &asked) == 0);
  saw(wait_now(set, &seen) == 0, "EPOLL_CTL_ADD with EPOLLONESHOT alone is as good as one that has fired");
  asked.events = EPOLLIN;
  NEED(epoll_ctl(set, EPOLL_CTL_MOD, ends.accepted, &asked) == 0);
  int copy = dup(ends.accepted);
  close(ends.accepted);
  saw(wait_now(set, &seen) == 1 && seen.data.u64 == 7, "a closed number is reported as long as a copy of it is open");
  close(copy);
  saw(wait_now(set, &seen) == 0, "and no more when that is closed");
  return unexpected;
}
