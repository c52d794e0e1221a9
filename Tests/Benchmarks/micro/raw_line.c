/* The physical limit: two processes, each on a processor of its own, hand a number back and forth through two cache
   lines of shared memory. Prints microseconds per round trip. Usage: raw_line SECONDS */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "micro.h"

struct lines {
  _Alignas(128) _Atomic uint64_t there;
  _Alignas(128) _Atomic uint64_t back;
};

static void pin(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) fail("sched_setaffinity");
}

static void answer(struct lines *lines) {
  for (uint64_t number = 1;; number++) {
    while (atomic_load_explicit(&lines->there, memory_order_acquire) != number) {
    }
    atomic_store_explicit(&lines->back, number, memory_order_release);
  }
}

int main(int count, char **arguments) {
  double seconds = count > 1 ? atof(arguments[1]) : 1;
  struct lines *lines = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (lines == MAP_FAILED) fail("mmap");
  pid_t child = fork();
  if (child < 0) fail("fork");
  pin(child == 0 ? 1 : 0);
  if (child == 0) answer(lines);
  uint64_t number = 0;
  double start = now(), end = start;
  while (end - start < seconds) {
    for (int i = 0; i < 10000; i++) {
      atomic_store_explicit(&lines->there, ++number, memory_order_release);
      while (atomic_load_explicit(&lines->back, memory_order_acquire) != number) {
      }
    }
    end = now();
  }
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  printf("%.6f\n", (end - start) * 1e6 / (double)number);
  return 0;
}
