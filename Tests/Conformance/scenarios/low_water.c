// SO_RCVLOWAT: poll, epoll and blocking reads wait for that many bytes.
#include "observe.h"

static volatile pid_t sleeper;

static void *feed(void *argument) {
  await_asleep(sleeper);
  send(*(int *)argument, "cdef", 4, 0);
  return NULL;
}

static void body(int a, int b) {
  char buffer[16];
  int low = 4, one = 1, value = 0;
  socklen_t length = sizeof value;
  sleeper = thread_id();
  OBS("SO_RCVLOWAT", setsockopt(b, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low));
  getsockopt(b, SOL_SOCKET, SO_RCVLOWAT, &value, &length);
  say("value %d", value);
  OBS("send", send(a, "ab", 2, 0));
  await_bytes(b, 2);
  say("poll %s", event_names(ready(b, POLLIN)));
  OBS("recv DONTWAIT", recv(b, buffer, 1, MSG_DONTWAIT));
  pthread_t thread = start_thread(feed, &a);
  long count = recv(b, buffer, 16, 0);
  join_thread(thread);
  OBS("recv", count);
  OBS("send", send(a, "ghij", 4, 0));
  await_bytes(b, 4);
  say("poll %s", event_names(ready(b, POLLIN)));
  OBS("SO_RCVLOWAT 1", setsockopt(b, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof one));
  OBS("recv", recv(b, buffer, 16, 0));
}

BOTH_WAYS(body)
