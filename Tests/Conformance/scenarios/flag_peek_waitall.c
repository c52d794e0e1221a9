// A peek that waits for all of what it asks for: it sees each byte once, sleeps while there is less, and leaves
// everything.
#include "observe.h"

struct peeker {
  int fd;
  volatile pid_t tid;
  long count;
  char bytes[16];
};

static void *peek(void *argument) {
  struct peeker *self = argument;
  self->tid = thread_id();
  self->count = recv(self->fd, self->bytes, 8, MSG_PEEK | MSG_WAITALL);
  return NULL;
}

static void body(int a, int b) {
  struct peeker peeker = {.fd = b};
  pthread_t thread = start_thread(peek, &peeker);
  while (!peeker.tid) sched_yield();
  await_asleep(peeker.tid);
  OBS("send", send(a, "abc", 3, 0));
  await_bytes(b, 3);
  await_asleep(peeker.tid);
  OBS("send", send(a, "defghij", 7, 0));
  join_thread(thread);
  say("peeker saw %ld %.8s", peeker.count, peeker.bytes);

  char buffer[32] = {0};
  set_timeout(b, SO_RCVTIMEO, 50);
  OBS("peek for more than there is", recv(b, buffer, 20, MSG_PEEK | MSG_WAITALL));
  say("saw %s", buffer);
  OBS("recv of nothing", recv(b, buffer, 0, 0));
  OBS("recv", recv(b, buffer, 20, 0));
  OBS("recv of nothing, with nothing there", recv(b, buffer, 0, 0));

  OBS("send", send(a, "xyz", 3, 0));
  OBS("shutdown", shutdown(a, SHUT_WR));
  await_events(b, POLLRDHUP);
  OBS("peek at the end", recv(b, buffer, 20, MSG_PEEK | MSG_WAITALL));
  OBS("recv", recv(b, buffer, 20, MSG_WAITALL));
}

BOTH_WAYS(body)
