// A splice from an empty blocking socket waits for data, SPLICE_F_NONBLOCK or not: that flag is about the pipe.
#include "observe.h"

static volatile pid_t waiting;

static void *feed(void *argument) {
  while (!waiting) sched_yield();
  await_asleep(waiting);
  OBS("send", send(*(int *)argument, "late", 4, 0));
  return NULL;
}

static void body(int a, int b) {
  int ends[2];
  char buffer[8];
  if (pipe(ends)) give_up("pipe");
  waiting = 0;
  pthread_t thread = start_thread(feed, &a);
  waiting = thread_id();
  ssize_t count = splice(b, NULL, ends[1], NULL, 64, SPLICE_F_NONBLOCK);
  join_thread(thread);
  OBS("splice", count);
  OBS("read the pipe", read(ends[0], buffer, sizeof buffer));
  close(ends[0]);
  close(ends[1]);
}

BOTH_WAYS(body)
