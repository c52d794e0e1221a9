// close with much unsent: all of it still reaches the peer, which reads slowly.
#include "observe.h"

static void body(int a, int b) {
  char *bytes = malloc(64 << 20);
  set_nonblocking(a, true);
  uint64_t sent = write_until_full(a, 17, 0), got = 0;
  OBS("close", close(a));
  for (;;) {
    ssize_t count = recv(b, bytes + got, 10000, 0);
    if (count <= 0) {
      OBS("the end", count);
      break;
    }
    got += (uint64_t)count;
  }
  check_that("all that was sent has arrived", got == sent && matches(bytes, got, 17, 0));
  free(bytes);
}

BOTH_WAYS(body)
