// Every way to make a socket nonblocking and blocking again, and that duplicates share it.
#include "observe.h"

static void state(const char *what, int fd) {
  char byte;
  say("%s: O_NONBLOCK %s", what, fcntl(fd, F_GETFL) & O_NONBLOCK ? "set" : "clear");
  if (fcntl(fd, F_GETFL) & O_NONBLOCK) OBS("  recv of nothing", recv(fd, &byte, 1, 0));
}

static void blocks(int to, int fd) {
  char byte;
  set_timeout(fd, SO_RCVTIMEO, 50);
  double start = now();
  OBS("  recv with a timeout", recv(fd, &byte, 1, 0));
  check_that("  it blocked", took(start, 0.04, 3));
  set_timeout(fd, SO_RCVTIMEO, 0);
  send(to, "x", 1, 0);
  OBS("  recv of one byte", recv(fd, &byte, 1, 0));
}

static void body(int a, int b) {
  int on = 1, off = 0, copy = dup(b);
  state("at first", b);
  OBS("FIONBIO on", ioctl(b, FIONBIO, &on));
  state("after FIONBIO", b);
  state("its duplicate", copy);
  OBS("FIONBIO off on the duplicate", ioctl(copy, FIONBIO, &off));
  state("the original", b);
  blocks(a, b);
  OBS("F_SETFL on the duplicate", fcntl(copy, F_SETFL, fcntl(copy, F_GETFL) | O_NONBLOCK));
  state("the original", b);
  OBS("F_SETFL clears on the original", fcntl(b, F_SETFL, fcntl(b, F_GETFL) & ~O_NONBLOCK));
  blocks(a, copy);
  OBS("SYS_ioctl FIONBIO", syscall(SYS_ioctl, b, FIONBIO, &on));
  state("after a direct system call", b);
  OBS("SYS_fcntl F_SETFL", syscall(SYS_fcntl, b, F_SETFL, O_RDWR));
  blocks(a, b);
  int three = fcntl(b, F_DUPFD, 50);
  set_nonblocking(three, true);
  state("F_DUPFD shares too", b);
  set_nonblocking(b, false);
  close(copy);
  close(three);
  blocks(a, b);
}

BOTH_WAYS(body)
