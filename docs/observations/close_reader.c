/// A descriptor that is closed while another thread sleeps in recv on it.
#include "common.h"

static int fd;
static _Atomic pid_t sleeper;
static char byte;
static long first, second;

static void *reader(void *unused) {
  sleeper = (pid_t)syscall(SYS_gettid);
  first = recv(fd, &byte, 1, 0);
  second = recv(fd, &byte, 1, 0);
  if (second < 0) second = -errno;
  return unused;
}

int main(void) {
  struct pair ends = make_pair();
  pthread_t thread;
  fd = ends.accepted;
  NEED(pthread_create(&thread, NULL, reader, NULL) == 0);
  while (sleeper == 0) sched_yield();
  wait_until_asleep(sleeper);
  NEED(close(fd) == 0);
  saw(poll_now(ends.connected, POLLRDHUP) == 0, "the peer is not told while the call still sleeps");
  NEED(send(ends.connected, "x", 1, 0) == 1);
  NEED(pthread_join(thread, NULL) == 0);
  saw(first == 1 && byte == 'x', "the sleeping call gets the next byte");
  saw(second == -EBADF, "the next call is told that the descriptor is none");
  saw((poll_until(ends.connected, POLLRDHUP) & POLLRDHUP) != 0, "and then the peer is told");
  return unexpected;
}
