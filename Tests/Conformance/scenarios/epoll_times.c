// Timeouts of epoll_wait, epoll_pwait and epoll_pwait2 on quiet connections, and none when something is there.
#include "observe.h"

static void body(int a, int b) {
  int set = epoll_create1(0);
  char byte;
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(set, EPOLL_CTL_ADD, b, &event);
  double start = now();
  OBS("epoll_wait 60", epoll_wait(set, &event, 1, 60));
  check_that("it took the time", took(start, 0.055, 2));
  start = now();
  OBS("epoll_pwait 60", epoll_pwait(set, &event, 1, 60, NULL));
  check_that("it took the time", took(start, 0.055, 2));
  start = now();
  OBS("epoll_pwait2 60", epoll_pwait2(set, &event, 1, &(struct timespec){.tv_nsec = 60000000}, NULL));
  check_that("it took the time", took(start, 0.055, 2));
  start = now();
  OBS("epoll_pwait2 a little", epoll_pwait2(set, &event, 1, &(struct timespec){.tv_nsec = 200000}, NULL));
  check_that("it took little", took(start, 0.0001, 1));
  OBS("epoll_pwait2 0", epoll_pwait2(set, &event, 1, &(struct timespec){0}, NULL));
  OBS("send", send(a, "x", 1, 0));
  OBS("epoll_pwait2 for ever", epoll_pwait2(set, &event, 1, NULL, NULL));
  OBS("epoll_wait -1", epoll_wait(set, &event, 1, -1));
  start = now();
  OBS("epoll_wait 9000", epoll_wait(set, &event, 1, 9000));
  check_that("at once", took(start, 0, 2));
  OBS("recv", recv(b, &byte, 1, 0));
  close(set);
}

BOTH_WAYS(body)
