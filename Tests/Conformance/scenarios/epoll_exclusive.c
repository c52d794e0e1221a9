// EPOLLEXCLUSIVE: what may be combined with it, that it reports like any other, and that a waiter is woken.
#include "observe.h"

static int sets[2];

static void *wait_on(void *argument) {
  struct epoll_event event;
  return (void *)(long)epoll_wait(*(int *)argument, &event, 1, 300);
}

static void body(int a, int b) {
  char buffer[8];
  struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE};
  for (int i = 0; i < 2; i++) sets[i] = epoll_create1(0);
  OBS("ADD", epoll_ctl(sets[0], EPOLL_CTL_ADD, b, &event));
  OBS("ADD to the other", epoll_ctl(sets[1], EPOLL_CTL_ADD, b, &event));
  OBS("MOD", epoll_ctl(sets[0], EPOLL_CTL_MOD, b, &event));
  event.events = EPOLLIN;
  OBS("MOD to plain", epoll_ctl(sets[0], EPOLL_CTL_MOD, b, &event));
  event.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
  OBS("DEL", epoll_ctl(sets[1], EPOLL_CTL_DEL, b, NULL));
  OBS("ADD with ONESHOT", epoll_ctl(sets[1], EPOLL_CTL_ADD, b, &event));
  event.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLRDHUP;
  OBS("ADD with RDHUP", epoll_ctl(sets[1], EPOLL_CTL_ADD, b, &event));
  event.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLET;
  OBS("ADD with ET", epoll_ctl(sets[1], EPOLL_CTL_ADD, b, &event));
  OBS("send", send(a, "x", 1, 0));
  await_bytes(b, 1);
  OBS("epoll_wait of the first", epoll_wait(sets[0], &event, 1, 0));
  OBS("epoll_wait of the second", epoll_wait(sets[1], &event, 1, 0));
  OBS("recv", recv(b, buffer, 8, 0));
  OBS("epoll_wait of the first", epoll_wait(sets[0], &event, 1, 0));
  OBS("epoll_wait of the second", epoll_wait(sets[1], &event, 1, 0));
  // Of two waiters at least one is woken; who else is, the kernel leaves open.
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) threads[i] = start_thread(wait_on, &sets[i]);
  OBS("send", send(a, "x", 1, 0));
  long woken = 0;
  for (int i = 0; i < 2; i++) woken += (long)join_thread(threads[i]);
  check_that("at least one was woken", woken >= 1);
  OBS("recv", recv(b, buffer, 8, 0));
  for (int i = 0; i < 2; i++) close(sets[i]);
}

BOTH_WAYS(body)
