// A signal that comes while a call is awake on its way to sleep interrupts it all the same.
#include "observe.h"

enum { rounds = 20 };
static volatile bool inside;
static volatile int needed;

static void *disturb(void *argument) {
  pid_t tid = *(pid_t *)argument;
  while (!inside) sched_yield();
  // A thread that spins for its data does so for ten milliseconds here; in the kernel it is asleep at once.
  for (double start = now(); now() - start < 0.003;) sched_yield();
  while (inside) {
    needed++;
    syscall(SYS_tgkill, getpid(), tid, SIGUSR1);
    for (double start = now(); inside && now() - start < 1;) sched_yield();
  }
  return NULL;
}

static long wait_in(int way, int fd) {
  char byte;
  struct pollfd one = {.fd = fd, .events = POLLIN};
  if (way == 0) return recv(fd, &byte, 1, 0);
  if (way == 1) return poll(&one, 1, -1);
  int set = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
  inside = true;
  long result = epoll_wait(set, &event, 1, -1);
  int error = errno;
  inside = false;
  close(set);
  errno = error;
  return result;
}

int main(int count, char **arguments) {
  if (count == 1) {
    // Spin for as long as can be.
    if (strcmp(getenv("MILLRACE_SPIN") ? getenv("MILLRACE_SPIN") : "", "0") != 0) setenv("MILLRACE_SPIN", "10000", 1);
    execl("/proc/self/exe", arguments[0], "again", (char *)NULL);
  }
  count_signal(SIGUSR1, 0);
  pid_t tid = thread_id();
  for (int way = 0; way < 3; way++) {
    int interrupted = 0;
    needed = 0;
    for (int i = 0; i < rounds; i++) {
      int fds[2];
      lane_pair(fds, PAIR_V4);
      inside = way != 2;
      pthread_t thread = start_thread(disturb, &tid);
      if (wait_in(way, fds[i & 1]) == -1 && errno == EINTR) interrupted++;
      inside = false;
      join_thread(thread);
      close(fds[0]);
      close(fds[1]);
    }
    say("way %d: %d of %d interrupted", way, interrupted, rounds);
    // On a busy machine the first may come before the call.
    check_that("mostly by the first signal", needed < 2 * rounds);
  }
  return 0;
}
