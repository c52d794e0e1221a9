// recv and send, and the flags that have no effect on such a stream.
// Also built with _FORTIFY_SOURCE.
#include "observe.h"

static void body(int a, int b) {
  char buffer[64];
  volatile size_t room = sizeof buffer;
  OBS("send", send(a, "abc", 3, 0));
  OBS("send DONTWAIT", send(a, "def", 3, MSG_DONTWAIT));
  OBS("send NOSIGNAL", send(a, "ghi", 3, MSG_NOSIGNAL));
  OBS("send DONTROUTE", send(a, "jkl", 3, MSG_DONTROUTE));
  OBS("send CONFIRM", send(a, "mno", 3, MSG_CONFIRM));
  OBS("send EOR", send(a, "pqr", 3, MSG_EOR));
  await_bytes(b, 18);
  long count = OBS("recv", recv(b, buffer, room, 0));
  say("bytes %.*s", (int)count, buffer);
  OBS("recv DONTWAIT empty", recv(b, buffer, room, MSG_DONTWAIT));
  OBS("send back", send(b, "x", 1, 0));
  OBS("recv CMSG_CLOEXEC", recv(a, buffer, room, MSG_CMSG_CLOEXEC));
  OBS("recv ERRQUEUE", recv(a, buffer, room, MSG_ERRQUEUE | MSG_DONTWAIT));
  OBS("recv OOB", recv(a, buffer, room, MSG_OOB));
}

BOTH_WAYS(body)
