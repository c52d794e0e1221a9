// The positional calls: a socket has no position, so only offset -1 works, and only with the v2 calls.
#include "observe.h"

static void body(int a, int b) {
  char buffer[16];
  struct iovec out = {"abcdef", 6}, in = {buffer, 4};
  OBS("pwritev2 -1", pwritev2(a, &out, 1, -1, 0));
  OBS("pwritev2 0", pwritev2(a, &out, 1, 0, 0));
  OBS("pwritev2 bad flag", pwritev2(a, &out, 1, -1, 0x40000000));
  OBS("pwrite", pwrite(a, "x", 1, 0));
  OBS("pwritev", pwritev(a, &out, 1, 0));
  await_bytes(b, 6);
  OBS("preadv2 -1", preadv2(b, &in, 1, -1, 0));
  say("bytes %.4s", buffer);
  OBS("preadv2 0", preadv2(b, &in, 1, 0, 0));
  OBS("preadv2 bad flag", preadv2(b, &in, 1, -1, 0x40000000));
  OBS("pread", pread(b, buffer, 4, 0));
  OBS("preadv", preadv(b, &in, 1, 0));
  OBS("lseek", lseek(b, 0, SEEK_CUR));
  OBS("preadv2 NOWAIT", preadv2(b, &in, 1, -1, RWF_NOWAIT));
  OBS("preadv2 NOWAIT empty", preadv2(b, &in, 1, -1, RWF_NOWAIT));
  OBS("ftruncate", ftruncate(b, 0));
  OBS("fsync", fsync(b));
}

BOTH_WAYS(body)
