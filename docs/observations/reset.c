/// Resets: how an end causes one without closing its descriptor, and what the other end can still read.
#include "common.h"

static void reset_by_linger(int fd) {
  struct linger now = {1, 0};
  NEED(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
  close(fd);
}

int main(void) {
  char bytes[64];
  struct pair ends = make_pair();
  NEED(send(ends.connected, "data", 4, 0) == 4);
  NEED(poll_until(ends.accepted, POLLIN) & POLLIN);
  reset_by_linger(ends.connected);
  NEED(poll_until(ends.accepted, POLLHUP) & POLLHUP);
  saw(recv(ends.accepted, bytes, sizeof bytes, 0) == 4, "bytes that came before a reset can be read after it");
  errno = 0;
  saw(recv(ends.accepted, bytes, 1, 0) == -1 && errno == ECONNRESET, "then recv says ECONNRESET, once");
  saw(recv(ends.accepted, bytes, 1, 0) == 0, "and the end of the stream from then on");
  close(ends.accepted);

  ends = make_pair();
  NEED(send(ends.connected, "unread", 6, 0) == 6);
  NEED(poll_until(ends.accepted, POLLIN) & POLLIN);
  close(ends.accepted);
  short seen = poll_until(ends.connected, POLLERR | POLLHUP);
  saw((seen & POLLERR) && (seen & POLLHUP), "close with bytes unread resets the other end");
  close(ends.connected);

  ends = make_pair();
  struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
  saw(connect(ends.connected, &nowhere, sizeof nowhere) == 0, "connect(AF_UNSPEC) succeeds on a connected socket");
  errno = 0;
  NEED(poll_until(ends.accepted, POLLERR) != 0);
  saw(recv(ends.accepted, bytes, 1, 0) == -1 && errno == ECONNRESET, "and resets the other end");
  saw(fcntl(ends.connected, F_GETFD) >= 0, "while the own descriptor stays open");
  close_pair(ends);
  return unexpected;
}
