// An epoll set in an epoll set, level and edge, and poll and select on an epoll descriptor.
#include "observe.h"

static void look(const char *when, int inner, int outer, int edge) {
  struct epoll_event event = {0};
  fd_set r;
  FD_ZERO(&r);
  FD_SET(outer, &r);
  int polled = ready(outer, POLLIN | POLLOUT);
  int selected = select(outer + 1, &r, NULL, NULL, &(struct timeval){0});
  int edges = epoll_wait(edge, &event, 1, 0), outers = epoll_wait(outer, &event, 1, 0);
  uint64_t data = outers > 0 ? event.data.u64 : 0;
  int inners = epoll_wait(inner, &event, 1, 0);
  say("%s: poll %s select %d, edge %d, outer %d data %d, inner %d", when, event_names((unsigned)polled), selected,
      edges, outers, (int)data, inners);
}

static void observe_nested(int a, int b, int inner, int outer, int edge) {
  char buffer[8];
  look("before data", inner, outer, edge);
  OBS("send", send(a, "abc", 3, 0));
  await_bytes(b, 3);
  look("with data", inner, outer, edge);
  look("again", inner, outer, edge);
  OBS("recv", recv(b, buffer, 8, 0));
  look("drained", inner, outer, edge);
  OBS("send", send(a, "d", 1, 0));
  await_bytes(b, 1);
  look("with data", inner, outer, edge);
  OBS("DEL", epoll_ctl(inner, EPOLL_CTL_DEL, b, NULL));
  look("deleted", inner, outer, edge);
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = 3};
  OBS("ADD", epoll_ctl(inner, EPOLL_CTL_ADD, b, &event));
  look("added again", inner, outer, edge);
  OBS("recv", recv(b, buffer, 8, 0));
  OBS("close", close(a));
  await_events(b, POLLRDHUP);
  look("at the end", inner, outer, edge);
  close(b);
  look("closed", inner, outer, edge);
}

int main(void) {
  for (int flip = 0; flip < 2; flip++)
    for (int early = 0; early < 2; early++) {
      int fds[2];
      say("-- registered %s, role %d", early ? "before the traffic" : "after it", flip);
      make_pair(fds, PAIR_V4);
      if (!early) settle(fds);
      int inner = epoll_create1(0), outer = epoll_create1(0), edge = epoll_create1(0);
      struct epoll_event event = {.events = EPOLLIN, .data.u64 = 1};
      OBS("ADD", epoll_ctl(inner, EPOLL_CTL_ADD, fds[!flip], &event));
      event.data.u64 = 2;
      OBS("ADD", epoll_ctl(outer, EPOLL_CTL_ADD, inner, &event));
      event.events = EPOLLIN | EPOLLET;
      OBS("ADD", epoll_ctl(edge, EPOLL_CTL_ADD, inner, &event));
      if (early) settle(fds);
      while (epoll_wait(edge, &event, 1, 0) > 0) continue;
      observe_nested(fds[flip], fds[!flip], inner, outer, edge);
      close(inner), close(outer), close(edge);
    }
  return 0;
}
