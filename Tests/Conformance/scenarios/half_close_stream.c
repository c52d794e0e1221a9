// After a half-close, megabytes go the other way.
#include "observe.h"

enum { size = 3 << 20 };

static void *send_all(void *argument) {
  int fd = *(int *)argument;
  char *bytes = malloc(size);
  fill(bytes, size, 77, 0);
  bool ok = write_all(fd, bytes, size);
  free(bytes);
  shutdown(fd, SHUT_WR);
  return ok ? argument : NULL;
}

static void body(int a, int b) {
  char *bytes = malloc(size), byte;
  OBS("send", send(a, "request", 7, 0));
  OBS("shutdown WR", shutdown(a, SHUT_WR));
  OBS("request", recv(b, bytes, 7, MSG_WAITALL));
  OBS("its end", recv(b, bytes, 7, 0));
  pthread_t thread = start_thread(send_all, &b);
  check_that("the answer arrives", read_all(a, bytes, size) && matches(bytes, size, 77, 0));
  OBS("its end", recv(a, &byte, 1, 0));
  check_that("sender done", join_thread(thread) != NULL);
  free(bytes);
}

BOTH_WAYS(body)
