// A stream under a storm of signals stays exact: SA_RESTART handlers, a timer, both ends blocking.
#include "observe.h"

enum { size = 16 << 20 };

static void *sender(void *argument) {
  char *bytes = malloc(size);
  fill(bytes, size, 55, 0);
  bool ok = write_all(*(int *)argument, bytes, size);
  free(bytes);
  return ok ? argument : NULL;
}

static void body(int a, int b) {
  char *bytes = malloc(size);
  count_signal(SIGALRM, SA_RESTART);
  struct itimerval often = {{0, 500}, {0, 500}}, never = {0};
  setitimer(ITIMER_REAL, &often, NULL);
  pthread_t thread = start_thread(sender, &a);
  check_that("all read", read_all(b, bytes, size) && matches(bytes, size, 55, 0));
  check_that("all sent", join_thread(thread) != NULL);
  setitimer(ITIMER_REAL, &never, NULL);
  free(bytes);
}

BOTH_WAYS(body)
