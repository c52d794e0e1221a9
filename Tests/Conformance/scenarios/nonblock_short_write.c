// A nonblocking write that is larger than any buffer is short, and the rest follows as room comes.
#include "observe.h"

enum { size = 40 << 20 };

static void body(int a, int b) {
  char *bytes = malloc(size), *back = malloc(size);
  fill(bytes, size, 9, 0);
  set_nonblocking(a, true);
  set_nonblocking(b, true);
  size_t sent = 0, got = 0;
  bool was_short = false, again = false;
  while (got < size) {
    if (sent < size) {
      ssize_t count = write(a, bytes + sent, size - sent);
      if (count > 0) {
        if ((size_t)count < size - sent) was_short = true;
        sent += (size_t)count;
      } else if (errno == EAGAIN) {
        again = true;
      } else {
        give_up("write: %s", errno_name(errno));
      }
    }
    if (!(await_events(b, POLLIN) & POLLIN)) give_up("nothing comes");
    for (;;) {
      ssize_t count = read(b, back + got, size - got);
      if (count <= 0) break;
      got += (size_t)count;
    }
  }
  check_that("a write was short", was_short);
  (void)again;
  check_that("all bytes match", !memcmp(bytes, back, size));
  free(bytes);
  free(back);
}

BOTH_WAYS(body)
