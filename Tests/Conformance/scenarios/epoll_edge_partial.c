// Edge-triggered with partial reads: no edge without an arrival, and no arrival is lost; blocking wait for each.
#include "observe.h"

enum { size = 4 << 20 };

static void *sender(void *argument) {
  static char bytes[size];
  fill(bytes, size, 8, 0);
  return write_all(*(int *)argument, bytes, size) ? argument : NULL;
}

static void body(int a, int b) {
  static char chunk[4096];
  int set = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN | EPOLLET};
  set_nonblocking(b, true);
  epoll_ctl(set, EPOLL_CTL_ADD, b, &event);
  pthread_t thread = start_thread(sender, &a);
  uint64_t got = 0, random = 1;
  while (got < size) {
    if (epoll_wait(set, &event, 1, 5000) != 1) give_up("no edge at %llu", (unsigned long long)got);
    for (;;) {
      ssize_t count = recv(b, chunk, 1 + next_random(&random) % sizeof chunk, 0);
      if (count < 0 && errno == EAGAIN) break;
      if (count <= 0 || !matches(chunk, (size_t)count, 8, got)) give_up("wrong bytes at %llu", (unsigned long long)got);
      got += (uint64_t)count;
    }
  }
  check_that("sender done", join_thread(thread) != NULL);
  check_that("all bytes arrived", got == size);
  close(set);
}

BOTH_WAYS(body)
