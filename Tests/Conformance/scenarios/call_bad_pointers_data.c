// Buffers that are not mapped give EFAULT, and the stream goes on.
#include "observe.h"

static void body(int a, int b) {
  char *wild = (char *)16;
  char buffer[16];
  OBS("send of a wild address", send(a, wild, 4, 0));
  OBS("write of a wild address", write(a, wild, 4));
  OBS("nothing arrived", recv(b, buffer, 16, MSG_DONTWAIT));
  OBS("send", send(a, "0123456789", 10, 0));
  await_bytes(b, 10);
  OBS("recv to a wild address", recv(b, wild, 4, 0));
  OBS("read to a wild address", read(b, wild, 4));
  long count = OBS("recv of what was sent", recv(b, buffer, 16, MSG_DONTWAIT));
  say("bytes %.*s", (int)count, buffer);
}

BOTH_WAYS(body)
