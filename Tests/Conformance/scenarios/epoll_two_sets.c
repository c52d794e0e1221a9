// One connection in two sets, level in one and edge in the other; both ends of a connection in one set.
#include "observe.h"

static void look(const char *when, int set) {
  struct epoll_event events[4] = {0};
  int count = epoll_wait(set, events, 4, 0);
  if (count == 2 && events[0].data.u32 > events[1].data.u32) {
    struct epoll_event swap = events[0];
    events[0] = events[1];
    events[1] = swap;
  }
  say("%s: %d", when, count);
  for (int i = 0; i < count; i++) say("  %u %s", events[i].data.u32, event_names(events[i].events));
}

static void body(int a, int b) {
  char buffer[8];
  int level = epoll_create1(0), edge = epoll_create1(0), both = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = 1};
  OBS("ADD", epoll_ctl(level, EPOLL_CTL_ADD, b, &event));
  OBS("ADD", epoll_ctl(both, EPOLL_CTL_ADD, b, &event));
  event.data.u32 = 2;
  OBS("ADD", epoll_ctl(both, EPOLL_CTL_ADD, a, &event));
  event = (struct epoll_event){.events = EPOLLIN | EPOLLET, .data.u32 = 3};
  OBS("ADD", epoll_ctl(edge, EPOLL_CTL_ADD, b, &event));
  OBS("send", send(a, "x", 1, 0));
  await_bytes(b, 1);
  look("level", level), look("edge", edge), look("both", both);
  look("level again", level), look("edge again", edge), look("both again", both);
  OBS("send back", send(b, "y", 1, 0));
  await_bytes(a, 1);
  look("both", both);
  OBS("recv", recv(b, buffer, 8, 0));
  OBS("recv", recv(a, buffer, 8, 0));
  look("level", level), look("edge", edge), look("both", both);
  OBS("DEL from one", epoll_ctl(level, EPOLL_CTL_DEL, b, NULL));
  OBS("send", send(a, "z", 1, 0));
  await_bytes(b, 1);
  look("level", level), look("edge", edge), look("both", both);
  OBS("close of a set", close(both));
  OBS("recv", recv(b, buffer, 8, 0));
  OBS("close", close(a));
  await_events(b, POLLRDHUP);
  look("level", level), look("edge", edge);
  close(level), close(edge);
}

BOTH_WAYS(body)
