// A connection that is closed by a system call of the program's own, which nobody sees: the next descriptor with its
// number is what it is, and nothing of the old connection.
#include "observe.h"

static long close_itself(int fd) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_close), "D"((long)fd) : "rcx", "r11", "memory");
  return result;
}

int main(void) {
  char buffer[16];
  int fds[2], ends[2];
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  lane_pair(fds, PAIR_V4);
  OBS("close", close_itself(fds[0]));
  OBS("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  check_that("the number is used again", ends[0] == fds[0] || ends[1] == fds[0]);
  OBS("getsockname", getsockname(ends[0], (struct sockaddr *)&address, &length));
  say("family %d", address.ss_family);
  OBS("send", send(ends[0], "through the pair", 16, 0));
  OBS("recv", recv(ends[1], buffer, sizeof buffer, 0));
  check_that("the same bytes", memcmp(buffer, "through the pair", sizeof buffer) == 0);
  await_events(fds[1], POLLIN | POLLRDHUP);
  OBS("the old peer reads", recv(fds[1], buffer, sizeof buffer, 0));
  return 0;
}
