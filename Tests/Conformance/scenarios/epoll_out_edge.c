// EPOLLOUT edges: none while there is room, none while full, one when room comes back.
#include "observe.h"

static int set;

static void look(const char *when) {
  struct epoll_event event = {0};
  int count = epoll_wait(set, &event, 1, 0);
  say("%s: %d %s", when, count, count > 0 ? event_names(event.events) : "");
}

static void body(int a, int b) {
  struct epoll_event event = {.events = EPOLLOUT | EPOLLET};
  set_nonblocking(a, true);
  set_nonblocking(b, true);
  set = epoll_create1(0);
  OBS("ADD", epoll_ctl(set, EPOLL_CTL_ADD, a, &event));
  look("at first");
  look("again");
  uint64_t sent = 0, got = 0;
  for (int round = 0; round < 3; round++) {
    do sent += write_until_full(a, 61, sent);
    while (ready(a, POLLOUT));
    // Room that came and went while the buffers filled up may have left an edge.
    while (epoll_wait(set, &event, 1, 0) > 0) continue;
    look("full");
    while (got < sent) {
      await_events(b, POLLIN);
      got += read_until_empty(b, 61, got);
    }
    int count = epoll_wait(set, &event, 1, 5000);
    say("drained: %d %s", count, event_names(event.events));
    while (epoll_wait(set, &event, 1, 0) > 0) continue;
    look("again");
  }
  check_that("all bytes arrived", got == sent);
  close(set);
}

BOTH_WAYS(body)
