/// Which sleeps a signal handler with SA_RESTART restarts, and which it ends with EINTR.
#include "common.h"

static volatile sig_atomic_t handled;
static void handle(int signal) {
  (void)signal;
  handled = 1;
}

enum way { RECV, RECV_TIMED, FUTEX, FUTEX_TIMED, POLL, POLL_TIMED, EPOLL };
static const char *const names[] = {"recv", "recv with SO_RCVTIMEO", "futex",     "futex with a timeout",
                                    "poll", "poll with a timeout",   "epoll_wait"};
static enum way way;
static int fd;
static uint32_t word;
static _Atomic pid_t sleeper;
static long result;
static int error;

static void *sleep_that_way(void *unused) {
  (void)unused;
  struct timespec long_time = {60, 0};
  struct timeval long_timeout = {60, 0};
  struct pollfd entry = {fd, POLLIN, 0};
  struct epoll_event event = {.events = EPOLLIN};
  char byte;
  int set = epoll_create1(0);
  NEED(set >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
  if (way == RECV_TIMED) NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &long_timeout, sizeof long_timeout) == 0);
  sleeper = (pid_t)syscall(SYS_gettid);
  errno = 0;
  if (way == RECV || way == RECV_TIMED) result = recv(fd, &byte, 1, 0);
  if (way == FUTEX) result = syscall(SYS_futex, &word, 0, 0, NULL, NULL, 0);
  if (way == FUTEX_TIMED) result = syscall(SYS_futex, &word, 0, 0, &long_time, NULL, 0);
  if (way == POLL) result = poll(&entry, 1, -1);
  if (way == POLL_TIMED) result = poll(&entry, 1, 60000);
  if (way == EPOLL) result = epoll_wait(set, &event, 1, -1);
  error = errno;
  close(set);
  return NULL;
}

/// Whether the sleep went on after the signal.
static int restarts(enum way tried) {
  struct pair ends = make_pair();
  pthread_t thread;
  way = tried;
  fd = ends.accepted;
  word = 0;
  sleeper = 0;
  handled = 0;
  NEED(pthread_create(&thread, NULL, sleep_that_way, NULL) == 0);
  while (sleeper == 0) sched_yield();
  wait_until_asleep(sleeper);
  NEED(pthread_kill(thread, SIGUSR1) == 0);
  while (!handled) sched_yield();
  // Then it either sleeps again, and is woken by what it waits for, or has come back with EINTR.
  word = 1;
  NEED(send(ends.connected, "x", 1, 0) == 1);
  while (pthread_tryjoin_np(thread, NULL) != 0) syscall(SYS_futex, &word, 1, 1, NULL, NULL, 0);
  close_pair(ends);
  return !(result < 0 && error == EINTR);
}

int main(void) {
  struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
  const int expected[] = {1, 0, 1, 0, 0, 0, 0};
  NEED(sigaction(SIGUSR1, &action, NULL) == 0);
  for (enum way each = RECV; each <= EPOLL; each++) {
    int seen = restarts(each);
    saw(seen == expected[each], "%s %s", names[each], seen ? "goes on" : "ends with EINTR");
  }
  return unexpected;
}
