/// What a read of no bytes does: the calls differ.
#include "common.h"

static int fd;
static _Atomic pid_t sleeper;
static _Atomic long result = -2;

static void *receive_nothing(void *unused) {
  char byte;
  sleeper = (pid_t)syscall(SYS_gettid);
  result = recv(fd, &byte, 0, 0);
  return unused;
}

int main(void) {
  struct pair ends = make_pair();
  char byte;
  pthread_t thread;
  fd = ends.accepted;
  saw(read(fd, &byte, 0) == 0, "read of 0 bytes from an empty socket returns 0 at once");
  errno = 0;
  saw(recv(fd, &byte, 0, MSG_DONTWAIT) == -1 && errno == EAGAIN, "recv of 0 bytes from an empty socket: EAGAIN");
  NEED(pthread_create(&thread, NULL, receive_nothing, NULL) == 0);
  while (sleeper == 0) sched_yield();
  wait_until_asleep(sleeper);
  saw(result == -2, "a blocking recv of 0 bytes sleeps");
  NEED(send(ends.connected, "x", 1, 0) == 1);
  NEED(pthread_join(thread, NULL) == 0);
  saw(result == 0, "it returns 0 when a byte comes");
  saw(recv(fd, &byte, 1, MSG_DONTWAIT) == 1, "and the byte is still there");
  return unexpected;
}
