// read and write: whole, partial and several messages in one read.
// Also built with _FORTIFY_SOURCE.
#include "observe.h"

static void body(int a, int b) {
  char buffer[64];
  volatile size_t room = 5;
  OBS("write", write(a, "hello world", 11));
  await_bytes(b, 11);
  OBS("read 5", read(b, buffer, room));
  say("bytes %.5s", buffer);
  OBS("write", write(a, "!!", 2));
  await_bytes(b, 8);
  room = sizeof buffer;
  long count = OBS("read the rest", read(b, buffer, room));
  say("bytes %.*s", (int)count, buffer);
  OBS("write back", write(b, "ok", 2));
  OBS("read back", read(a, buffer, room));
}

BOTH_WAYS(body)
