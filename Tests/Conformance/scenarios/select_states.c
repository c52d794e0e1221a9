// select and pselect: the three sets, what is left in them, and the time that is left.
#include "observe.h"

static void look(const char *when, int a, int b) {
  fd_set r, w, e;
  FD_ZERO(&r);
  FD_ZERO(&w);
  FD_ZERO(&e);
  FD_SET(a, &r), FD_SET(b, &r), FD_SET(a, &w), FD_SET(b, &w), FD_SET(a, &e), FD_SET(b, &e);
  FD_SET(0, &r);
  int most = a > b ? a : b;
  long result = select(most + 1, &r, &w, &e, &(struct timeval){0});
  say("%s: select %ld, a %d%d%d, b %d%d%d, file %d", when, result, FD_ISSET(a, &r) != 0, FD_ISSET(a, &w) != 0,
      FD_ISSET(a, &e) != 0, FD_ISSET(b, &r) != 0, FD_ISSET(b, &w) != 0, FD_ISSET(b, &e) != 0, FD_ISSET(0, &r) != 0);
  FD_ZERO(&r);
  FD_SET(b, &r);
  result = pselect(most + 1, &r, NULL, NULL, &(struct timespec){0}, NULL);
  say("%s: pselect %ld, b %d", when, result, FD_ISSET(b, &r) != 0);
}

static void body(int a, int b) {
  char buffer[8];
  fd_set r;
  look("before data", a, b);
  OBS("send", send(a, "x", 1, 0));
  await_bytes(b, 1);
  look("with data", a, b);
  FD_ZERO(&r);
  FD_SET(b, &r);
  OBS("nfds too small to see it", select(b, &r, NULL, NULL, &(struct timeval){0}));
  OBS("recv", recv(b, buffer, 8, 0));
  look("drained", a, b);
  FD_ZERO(&r);
  FD_SET(b, &r);
  struct timeval time = {.tv_usec = 60000};
  double start = now();
  OBS("select of a quiet lane", select(b + 1, &r, NULL, NULL, &time));
  check_that("it took the time", took(start, 0.05, 2));
  check_that("nothing is set", !FD_ISSET(b, &r));
  say("time left %ld.%ld", (long)time.tv_sec, (long)time.tv_usec);
  OBS("send", send(a, "x", 1, 0));
  await_bytes(b, 1);
  FD_SET(b, &r);
  time = (struct timeval){.tv_sec = 9};
  OBS("select with time to spare", select(b + 1, &r, NULL, NULL, &time));
  check_that("time is left", time.tv_sec >= 7 && time.tv_sec < 9);
  struct timespec fine = {.tv_sec = 9};
  FD_SET(b, &r);
  OBS("pselect", pselect(b + 1, &r, NULL, NULL, &fine, NULL));
  check_that("pselect leaves its time alone", fine.tv_sec == 9);
  OBS("select -1", select(-1, &r, NULL, NULL, &time));
  time = (struct timeval){.tv_sec = -1};
  FD_SET(b, &r);
  OBS("select with a negative time", select(b + 1, &r, NULL, NULL, &time));
  shutdown(a, SHUT_WR);
  await_events(b, POLLRDHUP);
  recv(b, buffer, 8, 0);
  look("at the end", a, b);
  close(a);
  FD_ZERO(&r);
  FD_SET(a, &r);
  FD_SET(b, &r);
  OBS("select of a closed descriptor", select((a > b ? a : b) + 1, &r, NULL, NULL, &(struct timeval){0}));
}

BOTH_WAYS(body)
