// stdio on a connection whose peer has closed: what it had sent is read through it.
#include "observe.h"

static void body(int a, int b) {
  OBS("send", send(a, "first line\nsecond line\n", 23, 0));
  close(a);
  await_fin(b);
  FILE *stream = fdopen(b, "r");
  char line[32];
  check_that("the first line", fgets(line, sizeof line, stream) && !strcmp(line, "first line\n"));
  check_that("the second line", fgets(line, sizeof line, stream) && !strcmp(line, "second line\n"));
  check_that("the end", !fgets(line, sizeof line, stream) && feof(stream));
  fclose(stream);
}

BOTH_WAYS(body)
