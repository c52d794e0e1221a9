// readv and writev: several vectors, empty ones among them, no vector at all.
#include "observe.h"

static void body(int a, int b) {
  char x[4], y[16], z[16];
  struct iovec out[4] = {{"one", 3}, {NULL, 0}, {"two!", 4}, {"three", 5}};
  OBS("writev 4", writev(a, out, 4));
  await_bytes(b, 12);
  struct iovec in[3] = {{x, 4}, {y, 0}, {z, 3}};
  OBS("readv 4+0+3", readv(b, in, 3));
  say("bytes %.4s %.3s", x, z);
  in[1] = (struct iovec){y, 16};
  long count = OBS("readv more room than data", readv(b, in, 3));
  say("bytes %.4s %.*s", x, (int)count - 4, y);
  OBS("writev of nothing", writev(a, out, 0));
  struct iovec empty[2] = {{x, 0}, {y, 0}};
  OBS("writev of empty vectors", writev(a, empty, 2));
  OBS("write after it", write(a, "z", 1));
  await_bytes(b, 1);
  OBS("readv of nothing", readv(b, in, 0));
  OBS("readv of empty vectors", readv(b, empty, 2));
  OBS("readv of the rest", readv(b, in, 3));
}

BOTH_WAYS(body)
