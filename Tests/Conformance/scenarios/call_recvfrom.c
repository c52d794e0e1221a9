// recvfrom with address buffers: TCP leaves the address alone and says that it has no length.
// Also built with _FORTIFY_SOURCE.
#include "observe.h"

static void body(int a, int b) {
  char buffer[64];
  volatile size_t room = sizeof buffer;
  struct sockaddr_storage from;
  memset(&from, 0x5a, sizeof from);
  uint64_t untouched = digest(&from, sizeof from);
  socklen_t length = sizeof from;
  OBS("send", send(a, "abcdef", 6, 0));
  await_bytes(b, 6);
  OBS("recvfrom with an address", recvfrom(b, buffer, 2, 0, (struct sockaddr *)&from, &length));
  say("address length %u", length);
  check_that("address untouched", digest(&from, sizeof from) == untouched);
  OBS("recvfrom without", recvfrom(b, buffer, 2, 0, NULL, NULL));
  length = 0;
  OBS("recvfrom with an address of no length", recvfrom(b, buffer, room, 0, (struct sockaddr *)&from, &length));
  say("address length %u", length);
  length = sizeof from;
  OBS("recvfrom empty", recvfrom(b, buffer, room, MSG_DONTWAIT, (struct sockaddr *)&from, &length));
  say("address length %u", length);
  shutdown(a, SHUT_WR);
  await_events(b, POLLRDHUP);
  OBS("recvfrom at the end", recvfrom(b, buffer, room, 0, (struct sockaddr *)&from, &length));
  say("address length %u", length);
}

BOTH_WAYS(body)
