// Edge-triggered: told once per arrival, with or without a read in between; and once when it is added or changed.
#include "observe.h"

static int set;

static void look(const char *when) {
  struct epoll_event events[4] = {0};
  int count = epoll_wait(set, events, 4, 0);
  say("%s: %d %s data %d", when, count, count > 0 ? event_names(events[0].events) : "",
      count > 0 ? events[0].data.fd : 0);
}

// Waits for the edge, and says that there is only one.
static void expect_edge(const char *when) {
  struct epoll_event events[4] = {0};
  int count = epoll_wait(set, events, 4, 5000);
  say("%s: %d %s", when, count, count > 0 ? event_names(events[0].events) : "");
  look("  and then");
}

static void observe_edges(int a, int b) {
  char buffer[8];
  look("nothing new");
  OBS("send", send(a, "abcd", 4, 0));
  expect_edge("the first arrival");
  OBS("recv 1", recv(b, buffer, 1, 0));
  look("after a partial read");
  OBS("send", send(a, "ef", 2, 0));
  expect_edge("an arrival behind unread data");
  await_bytes(b, 5);
  OBS("recv", recv(b, buffer, 8, 0));
  look("drained");
  OBS("send", send(a, "g", 1, 0));
  expect_edge("an arrival after the drain");
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = 7};
  OBS("MOD", epoll_ctl(set, EPOLL_CTL_MOD, b, &event));
  expect_edge("a change with data pending");
  OBS("recv", recv(b, buffer, 8, 0));
  OBS("MOD", epoll_ctl(set, EPOLL_CTL_MOD, b, &event));
  look("a change with nothing pending");
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  OBS("MOD", epoll_ctl(set, EPOLL_CTL_MOD, b, &event));
  expect_edge("interested in OUT too");
  OBS("send", send(a, "h", 1, 0));
  expect_edge("an arrival reports OUT as well");
  OBS("own send", send(b, "own", 3, 0));
  await_bytes(a, 3);
  OBS("peer's recv", recv(a, buffer, 8, 0));
  OBS("recv", recv(b, buffer, 8, 0));
  OBS("shutdown", shutdown(a, SHUT_WR));
  expect_edge("the end");
  OBS("recv", recv(b, buffer, 8, 0));
  look("after reading the end");
  OBS("close", close(a));
  look("a close after shutdown");
}

int main(void) {
  for (int flip = 0; flip < 2; flip++)
    for (int early = 0; early < 2; early++) {
      int fds[2];
      struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = 5}, events[4];
      make_pair(fds, PAIR_V4);
      set = epoll_create1(EPOLL_CLOEXEC);
      say("-- registered %s, role %d", early ? "before the traffic" : "after it", flip);
      if (early) epoll_ctl(set, EPOLL_CTL_ADD, fds[!flip], &event);
      settle(fds);
      // The edges of the exchange are not of interest.
      while (early && epoll_wait(set, events, 4, 0) > 0) continue;
      if (!early) epoll_ctl(set, EPOLL_CTL_ADD, fds[!flip], &event);
      observe_edges(fds[flip], fds[!flip]);
      close(set);
    }
  return 0;
}
