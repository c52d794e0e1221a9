// Connections in one set with a pipe, a listener, a timer, an event counter and UDP: everything is told, nothing twice.
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include "observe.h"

static int set;

static void add(int fd, uint32_t which, uint32_t events) {
  struct epoll_event event = {.events = events, .data.u32 = which};
  if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event)) give_up("ADD");
}

// Which members are told, over several waits: one wait may leave out some of those that are ready.
static void look(const char *when, int timeout) {
  struct epoll_event events[16];
  unsigned mask = 0;
  for (int turn = 0; turn < 200; turn++) {
    int count = epoll_wait(set, events, 16, turn ? 0 : timeout);
    for (int i = 0; i < count; i++) mask |= 1u << events[i].data.u32;
  }
  say("%s: members %#x", when, mask);
}

int main(void) {
  int one[2], two[2], ends[2];
  char byte;
  uint64_t number;
  struct sockaddr_storage address;
  socklen_t length;
  set = epoll_create1(0);
  lane_pair(one, PAIR_V4);
  make_pair(two, PAIR_V4);
  if (pipe(ends)) give_up("pipe");
  int listener = make_listener(PAIR_V4, &address, &length), event = eventfd(0, 0);
  int timer = timerfd_create(CLOCK_MONOTONIC, 0);
  add(one[1], 0, EPOLLIN);
  add(two[0], 1, EPOLLIN);
  add(ends[0], 2, EPOLLIN);
  add(listener, 3, EPOLLIN);
  add(event, 4, EPOLLIN | EPOLLET);
  add(timer, 5, EPOLLIN);
  look("nothing", 0);
  settle(two);
  look("nothing after the exchange", 0);
  send(one[0], "x", 1, 0);
  look("one", 5000);
  send(two[1], "x", 1, 0);
  await_bytes(two[0], 1);
  look("one and two", 5000);
  if (write(ends[1], "x", 1) != 1) give_up("pipe");
  look("and the pipe", 5000);
  int guest = connect_to(PAIR_V4, &address, length);
  await_events(listener, POLLIN);
  look("and the listener", 5000);
  eventfd_write(event, 1);
  look("and the counter", 5000);
  look("whose edge is gone", 0);
  recv(one[1], &byte, 1, 0);
  recv(two[0], &byte, 1, 0);
  look("without the connections", 0);
  int host = accept(listener, NULL, NULL);
  if (read(ends[0], &byte, 1) != 1) give_up("pipe");
  look("nothing", 0);
  timerfd_settime(timer, 0, &(struct itimerspec){.it_value.tv_nsec = 20000000}, NULL);
  look("the timer", 5000);
  OBS("read", read(timer, &number, 8));
  int third[2] = {guest, host};
  add(host, 6, EPOLLIN | EPOLLRDHUP);
  settle(third);
  send(guest, "x", 1, 0);
  look("the accepted one", 5000);
  close(guest);
  look("its end", 5000);
  close(host);
  look("nothing", 0);
  return 0;
}
