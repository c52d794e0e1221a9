// ADD, MOD and DEL while data is pending, while another thread sleeps in the set: it is woken when it becomes so.
#include "observe.h"

static int set;
static volatile pid_t sleeper;
static struct epoll_event seen;

static void *wait_on_set(void *argument) {
  (void)argument;
  sleeper = thread_id();
  return (void *)(long)epoll_wait(set, &seen, 1, 5000);
}

static pthread_t start_sleeper(void) {
  sleeper = 0;
  pthread_t thread = start_thread(wait_on_set, NULL);
  while (!sleeper) sched_yield();
  await_asleep(sleeper);
  return thread;
}

static void finish(const char *what, pthread_t thread) {
  long count = (long)join_thread(thread);
  say("%s: %ld %s data %u", what, count, event_names(seen.events), seen.data.u32);
}

static void body(int a, int b) {
  char buffer[8];
  set = epoll_create1(0);
  OBS("send", send(a, "abc", 3, 0));
  await_bytes(b, 3);
  pthread_t thread = start_sleeper();
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = 1};
  OBS("ADD", epoll_ctl(set, EPOLL_CTL_ADD, b, &event));
  finish("woken by ADD", thread);
  event = (struct epoll_event){.events = 0, .data.u32 = 2};
  OBS("MOD to nothing", epoll_ctl(set, EPOLL_CTL_MOD, b, &event));
  thread = start_sleeper();
  event = (struct epoll_event){.events = EPOLLIN, .data.u32 = 3};
  OBS("MOD", epoll_ctl(set, EPOLL_CTL_MOD, b, &event));
  finish("woken by MOD", thread);
  OBS("recv", recv(b, buffer, 8, 0));
  thread = start_sleeper();
  OBS("DEL under a sleeper", epoll_ctl(set, EPOLL_CTL_DEL, b, NULL));
  OBS("send", send(a, "x", 1, 0));
  await_bytes(b, 1);
  event = (struct epoll_event){.events = EPOLLOUT, .data.u32 = 4};
  OBS("ADD for OUT", epoll_ctl(set, EPOLL_CTL_ADD, b, &event));
  finish("woken by ADD for OUT", thread);
  event = (struct epoll_event){.events = EPOLLIN | EPOLLONESHOT, .data.u32 = 5};
  OBS("recv", recv(b, buffer, 8, 0));
  OBS("MOD to ONESHOT", epoll_ctl(set, EPOLL_CTL_MOD, b, &event));
  thread = start_sleeper();
  OBS("send", send(a, "y", 1, 0));
  finish("woken by data", thread);
  OBS("epoll_wait", epoll_wait(set, &event, 1, 0));
  close(set);
}

BOTH_WAYS(body)
