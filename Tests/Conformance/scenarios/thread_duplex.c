// Two threads on each end of one connection, one reads while the other writes, megabytes both ways at once.
#include "observe.h"

enum { size = 8 << 20 };

struct work {
  int fd;
  uint64_t seed;
  bool ok;
};

static void *sender(void *argument) {
  struct work *work = argument;
  char *bytes = malloc(size);
  uint64_t random = work->seed;
  fill(bytes, size, work->seed, 0);
  work->ok = true;
  for (size_t done = 0; done < size && work->ok;) {
    size_t piece = 1 + next_random(&random) % 70000;
    if (piece > size - done) piece = size - done;
    work->ok = write_all(work->fd, bytes + done, piece);
    done += piece;
  }
  free(bytes);
  return NULL;
}

static void *receiver(void *argument) {
  struct work *work = argument;
  static _Thread_local char chunk[70000];
  uint64_t random = work->seed * 3, got = 0;
  work->ok = true;
  while (got < size && work->ok) {
    ssize_t count = recv(work->fd, chunk, 1 + next_random(&random) % sizeof chunk, 0);
    work->ok = count > 0 && matches(chunk, (size_t)count, work->seed, got);
    if (count > 0) got += (uint64_t)count;
  }
  return NULL;
}

static void body(int a, int b) {
  struct work work[4] = {{a, 1, 0}, {b, 1, 0}, {b, 2, 0}, {a, 2, 0}};
  pthread_t ids[4];
  for (int i = 0; i < 4; i++) ids[i] = start_thread(i & 1 ? receiver : sender, &work[i]);
  for (int i = 0; i < 4; i++) join_thread(ids[i]);
  for (int i = 0; i < 4; i++) check_that(i & 1 ? "received" : "sent", work[i].ok);
}

BOTH_WAYS(body)
