// A connection that goes from one thread's set to another's, as servers with a pool of connections do it: what arrives
// wakes the thread that has it now, though the other one sleeps in the set that it was taken out of.
#include "observe.h"

enum { ROUNDS = 3000 };

static int sets[2], over[2], fds[2];

static void *former(void *nothing) {
  struct epoll_event event;
  while (epoll_wait(sets[0], &event, 1, -1) != 1 || event.data.fd != over[0]) continue;
  return nothing;
}

static void *present(void *nothing) {
  struct epoll_event event;
  char byte;
  for (int i = 0; i < ROUNDS; i++)
    if (epoll_wait(sets[1], &event, 1, 10000) != 1 || recv(fds[1], &byte, 1, 0) != 1 || send(fds[1], &byte, 1, 0) != 1)
      break;
  return nothing;
}

int main(void) {
  lane_pair(fds, PAIR_V4);
  set_timeout(fds[0], SO_RCVTIMEO, 5000);
  if (pipe(over)) give_up("pipe: %s", errno_name(errno));
  for (int i = 0; i < 2; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[1]};
    sets[i] = epoll_create1(0);
    OBS("add", epoll_ctl(sets[i], EPOLL_CTL_ADD, fds[1], &event));
  }
  struct epoll_event end = {.events = EPOLLIN, .data.fd = over[0]};
  OBS("add the pipe", epoll_ctl(sets[0], EPOLL_CTL_ADD, over[0], &end));
  OBS("take out", epoll_ctl(sets[0], EPOLL_CTL_DEL, fds[1], NULL));
  pthread_t threads[2] = {start_thread(former, NULL), start_thread(present, NULL)};
  int round = 0;
  char byte = 'x';
  while (round < ROUNDS && send(fds[0], &byte, 1, 0) == 1 && recv(fds[0], &byte, 1, 0) == 1) round++;
  say("%d rounds", round);
  if (write(over[1], "e", 1) != 1) give_up("write");
  join_thread(threads[0]);
  join_thread(threads[1]);
  return 0;
}
