// Several readers share a stream without losing or repeating a byte: what they got adds up, whatever the split.
#include "observe.h"

enum { threads = 3, size = 2 << 20 };

static int fd;
static volatile uint64_t total, sum;

static void *reader(void *argument) {
  uint8_t chunk[3000];
  uint64_t count = 0, local = 0, random = (uint64_t)(long)argument;
  for (;;) {
    ssize_t got = recv(fd, chunk, 1 + next_random(&random) % sizeof chunk, 0);
    if (got <= 0) break;
    count += (uint64_t)got;
    for (ssize_t i = 0; i < got; i++) local += (uint64_t)chunk[i] + 1;
  }
  __atomic_add_fetch(&total, count, __ATOMIC_SEQ_CST);
  __atomic_add_fetch(&sum, local, __ATOMIC_SEQ_CST);
  return NULL;
}

static void body(int a, int b) {
  uint8_t *bytes = malloc(size);
  uint64_t expected = 0;
  pthread_t ids[threads];
  fill(bytes, size, 3, 0);
  for (int i = 0; i < size; i++) expected += (uint64_t)bytes[i] + 1;
  total = sum = 0;
  fd = b;
  for (int i = 0; i < threads; i++) ids[i] = start_thread(reader, (void *)(long)i);
  check_that("all sent", write_all(a, bytes, size));
  shutdown(a, SHUT_WR);
  for (int i = 0; i < threads; i++) join_thread(ids[i]);
  check_that("the count is right", total == size);
  check_that("the sum is right", sum == expected);
  free(bytes);
}

BOTH_WAYS(body)
