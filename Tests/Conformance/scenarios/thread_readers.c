// Four threads sleep in recv of one byte on one connection: four bytes give each of them exactly one.
#include "observe.h"

enum { threads = 4 };

struct reader {
  int fd;
  volatile pid_t tid;
  long count;
  char byte;
};

static void *reader(void *argument) {
  struct reader *self = argument;
  self->tid = thread_id();
  self->count = recv(self->fd, &self->byte, 1, 0);
  return NULL;
}

static void body(int a, int b) {
  for (int way = 0; way < 2; way++) {
    struct reader readers[threads] = {0};
    pthread_t ids[threads];
    for (int i = 0; i < threads; i++) {
      readers[i].fd = b;
      ids[i] = start_thread(reader, &readers[i]);
      while (!readers[i].tid) sched_yield();
      await_asleep(readers[i].tid);
    }
    if (way == 0) {
      OBS("four bytes at once", send(a, "wxyz", 4, 0));
    } else {
      for (int i = 0; i < 4; i++) send(a, &"wxyz"[i], 1, 0);
    }
    int seen[4] = {0};
    for (int i = 0; i < threads; i++) {
      join_thread(ids[i]);
      if (readers[i].count == 1 && readers[i].byte >= 'w' && readers[i].byte <= 'z') seen[readers[i].byte - 'w']++;
    }
    say("w %d x %d y %d z %d", seen[0], seen[1], seen[2], seen[3]);
  }
  struct reader readers[threads] = {0};
  pthread_t ids[threads];
  for (int i = 0; i < threads; i++) {
    readers[i].fd = b;
    ids[i] = start_thread(reader, &readers[i]);
    while (!readers[i].tid) sched_yield();
    await_asleep(readers[i].tid);
  }
  OBS("shutdown", shutdown(a, SHUT_WR));
  for (int i = 0; i < threads; i++) {
    join_thread(ids[i]);
    say("reader %d got %ld", i, readers[i].count);
  }
}

BOTH_WAYS(body)
