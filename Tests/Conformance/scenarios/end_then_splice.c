// splice from a connection whose peer has closed: what it had sent is still there, then the end.
#include "observe.h"

static void body(int a, int b) {
  static char bytes[40000], got[40000];
  size_t length = fits_unread(sizeof bytes), at = 0;
  fill(bytes, length, 9, 0);
  if (!write_all(a, bytes, length)) give_up("write");
  close(a);
  await_fin(b);
  int pipes[2];
  if (pipe(pipes)) give_up("pipe");
  ssize_t moved;
  while ((moved = splice(b, NULL, pipes[1], NULL, sizeof got - at, SPLICE_F_MOVE)) > 0)
    for (ssize_t left = moved; left > 0;) {
      ssize_t r = read(pipes[0], got + at, (size_t)left);
      if (r <= 0) give_up("read");
      at += (size_t)r, left -= r;
    }
  OBS("the last splice", moved);
  OBS("bytes left out", (long)(length - at));
  check_that("the bytes are right", matches(got, at, 9, 0));
  OBS("recv", recv(b, got, 1, 0));
  OBS("nothing into a connection", splice(b, NULL, b, NULL, 1, 0));
}

BOTH_WAYS(body)
