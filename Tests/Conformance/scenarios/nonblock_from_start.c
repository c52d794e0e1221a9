// SOCK_NONBLOCK in socket() and accept4(): both ends are nonblocking before and on the lane.
#include "observe.h"

int main(void) {
  int fds[2];
  char byte;
  lane_pair(fds, PAIR_NONBLOCK);
  for (int i = 0; i < 2; i++) {
    check_that("O_NONBLOCK", fcntl(fds[i], F_GETFL) & O_NONBLOCK);
    OBS("recv", recv(fds[i], &byte, 1, 0));
    OBS("recv WAITALL", recv(fds[i], &byte, 1, MSG_WAITALL));
    OBS("send", send(fds[i], "x", 1, 0));
    await_bytes(fds[!i], 1);
    OBS("recv", recv(fds[!i], &byte, 1, 0));
    uint64_t sent = write_until_full(fds[i], 1, 0), got = 0;
    while (got < sent) {
      await_events(fds[!i], POLLIN);
      got += read_until_empty(fds[!i], 1, got);
    }
    check_that("drained", got == sent);
  }
  return 0;
}
