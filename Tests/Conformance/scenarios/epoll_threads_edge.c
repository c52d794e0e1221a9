// Two threads sleep in one set on one edge-triggered connection: one arrival wakes exactly one of them.  One more wake
// in all is allowed, for the moment in which the connection changes its path.
#include "observe.h"

static int set;
static volatile int wakes;

static void *sleeper(void *argument) {
  struct epoll_event event;
  *(volatile pid_t *)argument = thread_id();
  while (epoll_wait(set, &event, 1, -1) == 1) {
    if (event.data.u32 == 2) return NULL;
    __atomic_add_fetch(&wakes, 1, __ATOMIC_SEQ_CST);
  }
  return NULL;
}

static void body(int a, int b) {
  volatile pid_t tids[2] = {0, 0};
  pthread_t threads[2];
  int stop[2];
  char byte;
  if (pipe(stop)) give_up("pipe");
  wakes = 0;
  set = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = 1};
  epoll_ctl(set, EPOLL_CTL_ADD, b, &event);
  event = (struct epoll_event){.events = EPOLLIN, .data.u32 = 2};
  epoll_ctl(set, EPOLL_CTL_ADD, stop[0], &event);
  for (int i = 0; i < 2; i++) {
    threads[i] = start_thread(sleeper, (void *)&tids[i]);
    while (!tids[i]) sched_yield();
  }
  for (int i = 1; i <= 20; i++) {
    for (int j = 0; j < 2; j++) await_asleep(tids[j]);
    send(a, "x", 1, 0);
    double start = now();
    while (wakes < i && now() - start < 5) sched_yield();
    for (int j = 0; j < 2; j++) await_asleep(tids[j]);
    if (wakes < i || wakes > i + 1) say("%d wakes after %d arrivals", wakes, i);
    if (recv(b, &byte, 1, 0) != 1) give_up("recv");
  }
  if (write(stop[1], "x", 1) != 1) give_up("pipe");
  for (int i = 0; i < 2; i++) join_thread(threads[i]);
  check_that("one wake for each", wakes == 20 || wakes == 21);
  close(set);
}

BOTH_WAYS(body)
