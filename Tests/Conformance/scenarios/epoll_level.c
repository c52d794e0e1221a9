// Level-triggered: told as long as it is so; the user's data comes back; other directions of interest.
#include "observe.h"

static int set;

static void look(const char *when) {
  struct epoll_event events[4] = {0};
  int count = epoll_wait(set, events, 4, 0);
  say("%s: %d %s data %llx", when, count, count > 0 ? event_names(events[0].events) : "",
      count > 0 ? (unsigned long long)events[0].data.u64 : 0);
}

static void observe_level(int a, int b) {
  char buffer[8];
  look("before data");
  OBS("send", send(a, "abc", 3, 0));
  await_bytes(b, 3);
  look("with data");
  look("again");
  OBS("recv 1", recv(b, buffer, 1, 0));
  look("with less data");
  OBS("recv", recv(b, buffer, 8, 0));
  look("drained");
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .data.u64 = 0x123456789abcdef0};
  OBS("MOD", epoll_ctl(set, EPOLL_CTL_MOD, b, &event));
  look("interested in OUT too");
  OBS("send", send(a, "x", 1, 0));
  await_bytes(b, 1);
  look("with data");
  event.events = 0;
  OBS("MOD", epoll_ctl(set, EPOLL_CTL_MOD, b, &event));
  look("interested in nothing");
  OBS("DEL", epoll_ctl(set, EPOLL_CTL_DEL, b, NULL));
  look("deleted");
  event.events = EPOLLIN | EPOLLRDHUP;
  OBS("ADD", epoll_ctl(set, EPOLL_CTL_ADD, b, &event));
  look("added with data pending");
  OBS("recv", recv(b, buffer, 8, 0));
  OBS("shutdown", shutdown(a, SHUT_WR));
  await_events(b, POLLRDHUP);
  look("at the end");
  OBS("recv", recv(b, buffer, 8, 0));
  look("after reading the end");
  OBS("shutdown", shutdown(b, SHUT_WR));
  await_events(b, POLLHUP);
  look("both ends done");
  OBS("close", close(b));
  look("closed");
}

int main(void) {
  for (int flip = 0; flip < 2; flip++)
    for (int early = 0; early < 2; early++) {
      int fds[2];
      struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0xfeedface00112233};
      make_pair(fds, PAIR_V4);
      set = epoll_create1(EPOLL_CLOEXEC);
      say("-- registered %s, role %d", early ? "before the traffic" : "after it", flip);
      if (early) OBS("ADD", epoll_ctl(set, EPOLL_CTL_ADD, fds[!flip], &event));
      settle(fds);
      if (!early) OBS("ADD", epoll_ctl(set, EPOLL_CTL_ADD, fds[!flip], &event));
      observe_level(fds[flip], fds[!flip]);
      close(set);
    }
  return 0;
}
