// A sleeper on an outer set, in epoll_wait, poll and select, is woken by data of a connection in the inner one.
#include "observe.h"

static int from;
static volatile pid_t sleeper;

static void *wake(void *argument) {
  (void)argument;
  await_asleep(sleeper);
  send(from, "x", 1, 0);
  return NULL;
}

static void body(int a, int b) {
  char byte;
  from = a;
  sleeper = thread_id();
  int inner = epoll_create1(0), outer = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(inner, EPOLL_CTL_ADD, b, &event);
  epoll_ctl(outer, EPOLL_CTL_ADD, inner, &event);
  for (int way = 0; way < 5; way++) {
    struct pollfd one = {way == 1 ? outer : inner, POLLIN, 0};
    fd_set r;
    FD_ZERO(&r);
    FD_SET(inner, &r);
    pthread_t thread = start_thread(wake, NULL);
    long result = 0;
    if (way == 0) result = epoll_wait(outer, &event, 1, 8000);
    if (way == 1 || way == 2) result = poll(&one, 1, 8000);
    if (way == 3) result = select(inner + 1, &r, NULL, NULL, &(struct timeval){.tv_sec = 8});
    if (way == 4) result = epoll_wait(inner, &event, 1, -1);
    join_thread(thread);
    say("way %d = %ld", way, result);
    OBS("recv", recv(b, &byte, 1, 0));
  }
  close(inner);
  close(outer);
}

BOTH_WAYS(body)
