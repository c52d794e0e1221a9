// Sixty connections in one set: whichever is written to is told, alone and all together, and in one wait.
#include "observe.h"

// One wait may leave out descriptors of the kernel's beside lanes: asks until it has heard of `most`, or of no more.
static int wait_for(int set, int most) {
  struct epoll_event events[128];
  char seen[128] = {0};
  int found = 0, new;
  do {
    int count = epoll_wait(set, events, 128, found == 0 ? 5000 : 0);
    new = 0;
    for (int i = 0; i < count; i++)
      if (!seen[events[i].data.u32]) seen[events[i].data.u32] = 1, new ++;
    found += new;
  } while (new > 0 && found < most);
  return found;
}

int main(void) {
  enum { connections = 60 };
  static int fds[connections][2];
  struct epoll_event events[connections + 4], event;
  int set = epoll_create1(0);
  char byte;
  for (int i = 0; i < connections; i++) {
    make_pair(fds[i], PAIR_V4);
    event = (struct epoll_event){.events = EPOLLIN, .data.u32 = (uint32_t)i};
    epoll_ctl(set, EPOLL_CTL_ADD, fds[i][1], &event);
    settle(fds[i]);
  }
  int right = 0;
  for (int i = 0; i < connections; i++) {
    int which = i * 37 % connections;
    send(fds[which][0], "x", 1, 0);
    int count = epoll_wait(set, events, connections + 4, 5000);
    if (count == 1 && events[0].data.u32 == (uint32_t)which) right++;
    recv(fds[which][1], &byte, 1, 0);
  }
  say("%d of %d alone", right, connections);
  for (int i = 0; i < connections; i++) send(fds[i][0], "y", 1, 0);
  for (int i = 0; i < connections; i++) await_bytes(fds[i][1], 1);
  OBS("all together", wait_for(set, connections));
  for (int i = 0; i < connections; i++)
    if (recv(fds[i][1], &byte, 1, 0) != 1 || byte != 'y') say("connection %d is wrong", i);
  OBS("drained", epoll_wait(set, events, connections + 4, 0));
  for (int i = 0; i < connections; i += 2) close(fds[i][0]);
  for (int i = 0; i < connections; i += 2) await_events(fds[i][1], POLLRDHUP);
  OBS("every second one at its end", wait_for(set, connections));
  for (int i = 0; i < connections; i++) close(fds[i][1]);
  OBS("all closed", epoll_wait(set, events, connections + 4, 0));
  return 0;
}
