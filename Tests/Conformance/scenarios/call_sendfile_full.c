// A nonblocking sendfile of more than fits: short counts, EAGAIN, and the position says how far it came.
#include "observe.h"

enum { size = 24 << 20 };

static void body(int a, int b) {
  FILE *file = tmpfile();
  int in = fileno(file);
  char *content = malloc(size);
  fill(content, size, 11, 0);
  if (!write_all(in, content, 0) || write(in, content, size) != size) give_up("cannot write the file");
  set_nonblocking(a, true);
  set_nonblocking(b, true);
  off_t offset = 0;
  uint64_t sent = 0, got = 0;
  bool saw_again = false, offsets_right = true;
  while (got < size) {
    ssize_t count = sent < size ? sendfile(a, in, &offset, size - sent) : 0;
    if (count > 0) sent += (uint64_t)count;
    if (count < 0 && errno != EAGAIN) give_up("sendfile: %s", errno_name(errno));
    if (count < 0) saw_again = true;
    if ((uint64_t)offset != sent) offsets_right = false;
    if (count < 0 || sent == size) {
      await_events(b, POLLIN);
      got += read_until_empty(b, 11, got);
    }
  }
  check_that("EAGAIN was seen", saw_again);
  check_that("the offset was right all the time", offsets_right);
  check_that("all arrived", got == size && sent == size);
  fclose(file);
  free(content);
}

BOTH_WAYS(body)
