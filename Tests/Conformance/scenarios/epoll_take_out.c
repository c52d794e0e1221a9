// A connection is taken out of a set and put in again, as some programs do for every request: with data pending, in two
// sets, while a thread sleeps in one of them, and with calls that must fail.
#include "observe.h"

static int sets[2];

static void *sleeper(void *argument) {
  struct epoll_event event;
  *(volatile pid_t *)argument = thread_id();
  int count = epoll_wait(sets[0], &event, 1, 8000);
  return (void *)(long)(count == 1 ? event.data.u32 : 0);
}

static void look(const char *when) {
  struct epoll_event event[2];
  int first = epoll_wait(sets[0], event, 1, 0), second = epoll_wait(sets[1], event + 1, 1, 0);
  say("%s: %s, %s", when, first ? event_names(event[0].events) : "-", second ? event_names(event[1].events) : "-");
}

static int change(int which, int op, int fd, unsigned events, unsigned data) {
  struct epoll_event event = {.events = events, .data.u32 = data};
  return epoll_ctl(sets[which], op, fd, &event);
}

static void toggle(int a, int b) {
  char buffer[8];
  for (int i = 0; i < 200; i++) {
    if (change(i & 1, EPOLL_CTL_ADD, b, i & 2 ? EPOLLIN | EPOLLET : EPOLLIN, 1)) give_up("ADD");
    struct epoll_event event;
    if (epoll_wait(sets[i & 1], &event, 1, 0) != 0) give_up("told of nothing in round %d", i);
    send(a, "x", 1, 0);
    if (epoll_wait(sets[i & 1], &event, 1, 5000) != 1) give_up("not told in round %d", i);
    if (change(i & 1, EPOLL_CTL_DEL, b, 0, 0)) give_up("DEL");
    if (epoll_wait(sets[i & 1], &event, 1, 0) != 0) give_up("told of what is taken out in round %d", i);
    if (recv(b, buffer, 8, 0) != 1) give_up("recv");
  }
}

static void sleep_beside(int a, int b) {
  volatile pid_t tid = 0;
  char buffer[8];
  // Data comes while the connection is out; putting it in wakes the sleeper.
  pthread_t thread = start_thread(sleeper, (void *)&tid);
  while (!tid) sched_yield();
  await_asleep(tid);
  OBS("send", send(a, "x", 1, 0));
  await_bytes(b, 1);
  OBS("ADD", change(0, EPOLL_CTL_ADD, b, EPOLLIN, 7));
  OBS("the sleeper has", (long)join_thread(thread));
  OBS("recv", recv(b, buffer, 8, 0));
  // It is taken out and put in again under the sleeper; then data comes.
  tid = 0;
  thread = start_thread(sleeper, (void *)&tid);
  while (!tid) sched_yield();
  await_asleep(tid);
  OBS("DEL", change(0, EPOLL_CTL_DEL, b, 0, 0));
  OBS("ADD", change(0, EPOLL_CTL_ADD, b, EPOLLIN, 8));
  await_asleep(tid);
  OBS("send", send(a, "x", 1, 0));
  OBS("the sleeper has", (long)join_thread(thread));
  OBS("recv", recv(b, buffer, 8, 0));
  OBS("DEL", change(0, EPOLL_CTL_DEL, b, 0, 0));
}

static void body(int a, int b) {
  char buffer[8];
  for (int i = 0; i < 2; i++) sets[i] = epoll_create1(0);
  OBS("ADD", change(0, EPOLL_CTL_ADD, b, EPOLLIN, 1));
  OBS("ADD again", change(0, EPOLL_CTL_ADD, b, EPOLLIN, 1));
  OBS("ADD to the other", change(1, EPOLL_CTL_ADD, b, EPOLLIN | EPOLLOUT | EPOLLET, 2));
  look("in both");
  OBS("send", send(a, "x", 1, 0));
  await_bytes(b, 1);
  look("with data");
  OBS("DEL", change(0, EPOLL_CTL_DEL, b, 0, 0));
  look("out of the first");
  OBS("DEL again", change(0, EPOLL_CTL_DEL, b, 0, 0));
  OBS("MOD of what is out", change(0, EPOLL_CTL_MOD, b, EPOLLIN, 1));
  OBS("ADD that cannot be", change(0, EPOLL_CTL_ADD, b, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 1));
  OBS("ADD once more", change(0, EPOLL_CTL_ADD, b, EPOLLIN | EPOLLET, 1));
  look("in again, by edges");
  look("and then");
  OBS("DEL", change(1, EPOLL_CTL_DEL, b, 0, 0));
  OBS("ADD", change(1, EPOLL_CTL_ADD, b, EPOLLOUT | EPOLLONESHOT, 2));
  look("the other for room, once");
  look("and then");
  OBS("recv", recv(b, buffer, 8, 0));
  for (int i = 0; i < 2; i++) OBS("DEL", change(i, EPOLL_CTL_DEL, b, 0, 0));
  toggle(a, b);
  sleep_beside(a, b);
  OBS("ADD", change(0, EPOLL_CTL_ADD, b, EPOLLIN, 1));
  OBS("DEL", change(0, EPOLL_CTL_DEL, b, 0, 0));
  close(a), close(b);
  look("closed");
  close(sets[0]), close(sets[1]);
}

BOTH_WAYS(body)
