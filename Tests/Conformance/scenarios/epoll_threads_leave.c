// Two threads sleep in one set. The one that is woken goes away with its event and does not come back for long: what
// arrives meanwhile, on another connection or on the same one, wakes the other thread.
#include "observe.h"

enum { connections = 3 };

static int set, fds[connections][2], let_go[2];
static volatile int seen[connections];
static volatile pid_t tids[2];

static void *taker(void *argument) {
  struct epoll_event event;
  char byte;
  *(volatile pid_t *)argument = thread_id();
  if (epoll_wait(set, &event, 1, 8000) != 1) return NULL;
  __atomic_add_fetch(&seen[event.data.u32], 1, __ATOMIC_SEQ_CST);
  // It is busy, and has not read anything.
  if (read(let_go[0], &byte, 1) != 1) give_up("pipe");
  return argument;
}

static bool comes(int which, int count) {
  double start = now();
  while (seen[which] < count && now() - start < 5) sched_yield();
  return seen[which] == count;
}

static void together(uint32_t events, int second, bool at_once) {
  pthread_t threads[2];
  char buffer[8];
  for (int i = 0; i < connections; i++) {
    seen[i] = 0;
    struct epoll_event event = {.events = events, .data.u32 = (uint32_t)i};
    epoll_ctl(set, EPOLL_CTL_ADD, fds[i][1], &event);
  }
  for (int i = 0; i < 2; i++) {
    tids[i] = 0;
    threads[i] = start_thread(taker, (void *)&tids[i]);
    while (!tids[i]) sched_yield();
    await_asleep(tids[i]);
  }
  send(fds[0][0], "a", 1, 0);
  bool first = at_once || comes(0, 1);
  send(fds[second][0], "b", 1, 0);
  bool other = comes(second, second == 0 ? 2 : 1);
  if (at_once) first = comes(0, 1);
  say("the first %s, the second on connection %d %s", first ? "came" : "is lost", second, other ? "came" : "is lost");
  if (write(let_go[1], "xx", 2) != 2) give_up("pipe");
  for (int i = 0; i < 2; i++) check_that("woken", join_thread(threads[i]) != NULL);
  for (int i = 0; i < connections; i++) {
    size_t sent = (size_t)((i == 0) + (i == second));
    check_that("what was sent", read_all(fds[i][1], buffer, sent));
    OBS("DEL", epoll_ctl(set, EPOLL_CTL_DEL, fds[i][1], NULL));
  }
}

int main(void) {
  set = epoll_create1(0);
  if (pipe(let_go)) give_up("pipe");
  for (int i = 0; i < connections; i++) lane_pair(fds[i], PAIR_V4);
  // Edge-triggered or one-shot, so that the first connection is not told to both.
  together(EPOLLIN | EPOLLET, 1, false);
  together(EPOLLIN | EPOLLET, 0, false);
  together(EPOLLIN | EPOLLET, 2, true);
  together(EPOLLIN | EPOLLONESHOT, 1, false);
  together(EPOLLIN | EPOLLONESHOT, 2, true);
  return 0;
}
