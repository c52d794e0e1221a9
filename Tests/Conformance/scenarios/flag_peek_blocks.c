// A blocking peek waits for data, and leaves it for the recv that follows; two peekers see the same.
#include "observe.h"

struct peeker {
  int fd;
  volatile pid_t tid;
  long count;
  char bytes[8];
};

static void *peek(void *argument) {
  struct peeker *self = argument;
  self->tid = thread_id();
  self->count = recv(self->fd, self->bytes, sizeof self->bytes, MSG_PEEK);
  return NULL;
}

static void body(int a, int b) {
  struct peeker peekers[2] = {{.fd = b}, {.fd = b}};
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) {
    threads[i] = start_thread(peek, &peekers[i]);
    while (!peekers[i].tid) sched_yield();
    await_asleep(peekers[i].tid);
  }
  OBS("send", send(a, "abc", 3, 0));
  for (int i = 0; i < 2; i++) join_thread(threads[i]);
  for (int i = 0; i < 2; i++) say("peeker saw %ld %.3s", peekers[i].count, peekers[i].bytes);
  char buffer[8];
  OBS("recv", recv(b, buffer, 8, MSG_DONTWAIT));
}

BOTH_WAYS(body)
