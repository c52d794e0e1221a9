// SO_SNDTIMEO: a send into a full buffer gives EAGAIN in time, and one that got something in gives a short count.
#include "observe.h"

enum { size = 40 << 20 };

static void body(int a, int b) {
  char *bytes = malloc(size);
  fill(bytes, size, 13, 0);
  set_timeout(a, SO_SNDTIMEO, 150);
  double start = now();
  ssize_t first = send(a, bytes, size, 0);
  check_that("a short count", first > 0 && first < size);
  check_that("in bounds", took(start, 0.1, 5));
  size_t sent = (size_t)first;
  // The kernel may find a little more room afterwards: fill it up.
  ssize_t more;
  while ((more = send(a, bytes + sent, size - sent, MSG_DONTWAIT)) > 0) sent += (size_t)more;
  start = now();
  OBS("send when full", send(a, bytes + sent, 1, 0));
  check_that("in bounds", took(start, 0.1, 3));
  start = now();
  OBS("write when full", write(a, bytes + sent, 1));
  check_that("in bounds", took(start, 0.1, 3));
  char *back = malloc(size);
  check_that("exactly that much arrives", read_all(b, back, sent) && !memcmp(bytes, back, sent));
  OBS("and no more", recv(b, back, 1, MSG_DONTWAIT));
  OBS("there is room again", send(a, "x", 1, 0));
  OBS("which arrives", recv(b, back, 1, 0));
  free(bytes);
  free(back);
}

BOTH_WAYS(body)
