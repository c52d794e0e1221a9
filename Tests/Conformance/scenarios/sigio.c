// O_ASYNC: SIGIO comes when data does.
#include "observe.h"

int main(void) {
  int fds[2], on = 1;
  char byte;
  make_pair(fds, PAIR_V4);
  count_signal(SIGIO, SA_RESTART);
  OBS("F_SETOWN", fcntl(fds[1], F_SETOWN, getpid()));
  OBS("F_GETOWN is this process", fcntl(fds[1], F_GETOWN) == getpid());
  OBS("FIOASYNC", ioctl(fds[1], FIOASYNC, &on));
  check_that("O_ASYNC", fcntl(fds[1], F_GETFL) & O_ASYNC);
  exchange(fds);
  for (int i = 0; i < 5; i++) {
    signals_seen[SIGIO] = 0;
    send(fds[0], "x", 1, 0);
    double start = now();
    while (!signals_seen[SIGIO] && now() - start < 5) sched_yield();
    check_that("SIGIO came", signals_seen[SIGIO] > 0);
    OBS("recv", recv(fds[1], &byte, 1, 0));
  }
  signals_seen[SIGIO] = 0;
  shutdown(fds[0], SHUT_WR);
  double start = now();
  while (!signals_seen[SIGIO] && now() - start < 5) sched_yield();
  check_that("SIGIO came with the end", signals_seen[SIGIO] > 0);
  return 0;
}
