// One stream written and read with a random mixture of all calls, in one process with two threads.
#include "observe.h"

enum { size = 6 << 20, most = 40000 };

static int fds[2];

static void *writer(void *argument) {
  (void)argument;
  static char chunk[most];
  uint64_t random = 5, at = 0;
  while (at < size) {
    size_t piece = 1 + next_random(&random) % (next_random(&random) % 4 ? 500 : most);
    if (piece > size - at) piece = size - at;
    fill(chunk, piece, 9, at);
    ssize_t count = write_somehow(fds[0], chunk, piece, 0, (unsigned)(next_random(&random) % WRITE_WAYS));
    if (count <= 0) give_up("a write failed: %s", errno_name(errno));
    at += (uint64_t)count;
  }
  shutdown(fds[0], SHUT_WR);
  return NULL;
}

static void body(int a, int b) {
  static char chunk[most];
  uint64_t random = 6, at = 0;
  fds[0] = a;
  pthread_t thread = start_thread(writer, NULL);
  for (;;) {
    size_t room = 1 + next_random(&random) % (next_random(&random) % 4 ? 500 : most);
    unsigned way = (unsigned)(next_random(&random) % READ_WAYS);
    ssize_t count = read_somehow(b, chunk, room, 0, way);
    if (count == 0 || (count < 0 && at == size)) break;
    if (count < 0) give_up("way %u failed at %llu: %s", way, (unsigned long long)at, errno_name(errno));
    if (!matches(chunk, (size_t)count, 9, at)) give_up("way %u gave wrong bytes at %llu", way, (unsigned long long)at);
    at += (uint64_t)count;
  }
  join_thread(thread);
  check_that("all bytes arrived", at == size);
}

BOTH_WAYS(body)
