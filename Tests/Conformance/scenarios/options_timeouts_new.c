// The second names of the timeouts, which are the first ones on this architecture or take the same structure.
#include "observe.h"

#ifndef SO_RCVTIMEO_NEW
#define SO_RCVTIMEO_NEW 66
#endif

static void body(int a, int b) {
  struct timeval limit = {.tv_usec = 20000};
  (void)a;
  OBS("SO_RCVTIMEO_NEW", setsockopt(b, SOL_SOCKET, SO_RCVTIMEO_NEW, &limit, sizeof limit));
  double start = now();
  OBS("recv", recv(b, (char[1]){0}, 1, 0));
  check_that("after that time", took(start, 0.015, 3));
}

BOTH_WAYS(body)
