// close by another thread does not wake a blocked recv; it still gets what comes, and only then the connection ends.
#include "observe.h"

static volatile pid_t reader_tid;
static char byte;

static void *reader(void *argument) {
  reader_tid = thread_id();
  return (void *)(long)recv(*(int *)argument, &byte, 1, 0);
}

static void body(int a, int b) {
  reader_tid = 0;
  pthread_t thread = start_thread(reader, &b);
  while (!reader_tid) sched_yield();
  await_asleep(reader_tid);
  OBS("close", close(b));
  OBS("recv of what is closed", recv(b, &byte, 1, MSG_DONTWAIT));
  await_asleep(reader_tid);
  say("the peer sees %s", event_names(ready(a, POLLIN | POLLRDHUP)));
  OBS("send", send(a, "x", 1, 0));
  say("the reader got %ld", (long)join_thread(thread));
  say("the peer sees %s", event_names(await_events(a, POLLIN | POLLRDHUP)));
  OBS("recv of the peer", recv(a, &byte, 1, 0));
}

BOTH_WAYS(body)
