// With room for one event, several ready connections and a pipe take turns: none starves.
#include "observe.h"

int main(void) {
  enum { connections = 3 };
  int fds[connections][2], ends[2], seen[connections + 1] = {0};
  int set = epoll_create1(0);
  if (pipe(ends) || write(ends[1], "x", 1) != 1) give_up("pipe");
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = connections};
  epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event);
  for (int i = 0; i < connections; i++) {
    lane_pair(fds[i], PAIR_V4);
    event.data.u32 = (uint32_t)i;
    epoll_ctl(set, EPOLL_CTL_ADD, fds[i][1], &event);
    send(fds[i][0], "x", 1, 0);
    await_bytes(fds[i][1], 1);
  }
  for (int turn = 0; turn < 400; turn++) {
    if (epoll_wait(set, &event, 1, 1000) != 1) give_up("nothing");
    seen[event.data.u32]++;
  }
  for (int i = 0; i <= connections; i++)
    say("%s %d was seen: %s", i < connections ? "connection" : "pipe", i, seen[i] ? "yes" : "no");
  // One wait may leave some of them out, several may not.
  struct epoll_event events[8];
  unsigned mask = 0;
  for (int turn = 0; turn < 200; turn++)
    for (int i = epoll_wait(set, events, 8, 0); i > 0; i--) mask |= 1u << events[i - 1].data.u32;
  say("all together %#x", mask);
  char byte;
  for (int i = 0; i < connections; i++) OBS("recv", recv(fds[i][1], &byte, 1, 0));
  OBS("the pipe is left", epoll_wait(set, events, 8, 0));
  return 0;
}
