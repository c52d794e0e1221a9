// MSG_WAITALL for more than any buffer holds.
#include "observe.h"

enum { size = 12 << 20 };

static void *sender(void *argument) {
  char *bytes = malloc(size);
  fill(bytes, size, 21, 0);
  say("sender done: %s", write_all(*(int *)argument, bytes, size) ? "yes" : "no");
  free(bytes);
  return NULL;
}

static void body(int a, int b) {
  char *bytes = malloc(size);
  pthread_t thread = start_thread(sender, &a);
  long count = recv(b, bytes, size, MSG_WAITALL);
  join_thread(thread);
  OBS("WAITALL", count);
  check_that("bytes match", matches(bytes, size, 21, 0));
  free(bytes);
}

BOTH_WAYS(body)
