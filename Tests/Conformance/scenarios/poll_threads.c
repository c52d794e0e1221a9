// Two threads sleep in poll on one connection: for the same, one for bytes and one for room, alone or beside a pipe.
// Both are woken by what concerns them, whoever runs first; and so by a shutdown in a third thread.
#include "observe.h"

struct sleeper {
  int fd, beside;
  short events;
  volatile pid_t tid;
  short seen;
};

static void *sleep_in_poll(void *argument) {
  struct sleeper *s = argument;
  struct pollfd polled[2] = {{s->fd, s->events, 0}, {s->beside, POLLIN, 0}};
  s->tid = thread_id();
  int r = poll(polled, s->beside < 0 ? 1 : 2, 8000);
  s->seen = polled[0].revents;
  return (void *)(long)r;
}

static void start(struct sleeper *s, pthread_t threads[2]) {
  for (int i = 0; i < 2; i++) {
    s[i].tid = 0;
    threads[i] = start_thread(sleep_in_poll, &s[i]);
    while (!s[i].tid) sched_yield();
    await_asleep(s[i].tid);
  }
}

static void finish(const char *when, struct sleeper *s, pthread_t threads[2]) {
  for (int i = 0; i < 2; i++) {
    long r = (long)join_thread(threads[i]);
    say("%s: thread %d has %ld %s", when, i, r, r > 0 ? event_names((unsigned)s[i].seen) : "");
  }
}

static void both_for_bytes(int a, int b, int first_beside, int second_beside) {
  struct sleeper s[2] = {{b, first_beside, POLLIN, 0, 0}, {b, second_beside, POLLIN, 0, 0}};
  pthread_t threads[2];
  char buffer[8];
  for (int i = 0; i < 20; i++) {
    start(s, threads);
    send(a, "x", 1, 0);
    for (int j = 0; j < 2; j++) {
      long r = (long)join_thread(threads[j]);
      if (r != 1 || s[j].seen != POLLIN) say("round %d: thread %d has %ld", i, j, r);
    }
    if (recv(b, buffer, 8, 0) != 1) give_up("recv");
  }
  say("both for bytes: done");
}

static void bytes_and_room(int a, int b, int first_beside, int second_beside) {
  struct sleeper s[2] = {{b, first_beside, POLLIN, 0, 0}, {b, second_beside, POLLOUT, 0, 0}};
  pthread_t threads[2];
  char buffer[8];
  set_nonblocking(a, true), set_nonblocking(b, true);
  uint64_t sent = write_until_full(b, 1, 0);
  start(s, threads);
  OBS("send", send(a, "x", 1, 0));
  OBS("the reader has", (long)join_thread(threads[0]));
  OBS("recv", recv(b, buffer, 8, 0));
  uint64_t got = 0;
  // Until the writer has been woken, there may be more on its way.
  while (got < sent) got += read_until_empty(a, 1, got);
  OBS("the writer has", (long)join_thread(threads[1]));
  set_nonblocking(a, false), set_nonblocking(b, false);
}

static void shut_down(int a, int b) {
  (void)a;
  struct sleeper s[2] = {{b, -1, POLLIN, 0, 0}, {b, -1, (short)POLLRDHUP, 0, 0}};
  pthread_t threads[2];
  start(s, threads);
  OBS("shutdown", shutdown(b, SHUT_RD));
  finish("after the shutdown", s, threads);
}

static void body(int a, int b) {
  int side[2];
  if (pipe(side)) give_up("pipe");
  both_for_bytes(a, b, -1, -1);
  both_for_bytes(a, b, side[0], side[0]);
  both_for_bytes(a, b, side[0], -1);
  bytes_and_room(a, b, -1, -1);
  bytes_and_room(a, b, side[0], side[0]);
  shut_down(a, b);
  close(side[0]), close(side[1]);
}

BOTH_WAYS(body)
