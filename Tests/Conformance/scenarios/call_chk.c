// The checking twins that _FORTIFY_SOURCE puts in the place of calls whose length is not known to the compiler.
// Also built with _FORTIFY_SOURCE.
#include "observe.h"

static void body(int a, int b) {
  char buffer[32];
  volatile size_t room = sizeof buffer;
  volatile nfds_t one = 1;
  struct sockaddr_storage from;
  socklen_t length = sizeof from;
  struct pollfd set[2] = {{.fd = b, .events = POLLIN}, {.fd = a, .events = POLLOUT}};
  struct timespec none = {0};
  OBS("send", send(a, "abcdefghijkl", 12, 0));
  await_bytes(b, 12);
  OBS("poll", poll(set, one, 0));
  say("revents %s", event_names(set[0].revents));
  OBS("ppoll", ppoll(set, one + 1, &none, NULL));
  say("revents %s %s", event_names(set[0].revents), event_names(set[1].revents));
  room = 3;
  OBS("read", read(b, buffer, room));
  OBS("recv", recv(b, buffer, room, 0));
  OBS("recvfrom", recvfrom(b, buffer, room, 0, (struct sockaddr *)&from, &length));
  say("bytes %.3s", buffer);
  room = sizeof buffer;
  OBS("recv of the rest", recv(b, buffer, room, MSG_DONTWAIT));
  OBS("recv empty", recv(b, buffer, room, MSG_DONTWAIT));
  fd_set readable;
  FD_ZERO(&readable);
  volatile int where = b;
  FD_SET(where, &readable);
  struct timeval zero = {0};
  OBS("select", select(where + 1, &readable, NULL, NULL, &zero));
}

BOTH_WAYS(body)
