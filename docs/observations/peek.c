/// Why a mark behind unread bytes cannot be looked for with MSG_PEEK.
#include "common.h"

int main(void) {
  static char bytes[1 << 20];
  struct pair ends = make_pair();
  size_t sent = 0;
  ssize_t n;
  while ((n = send(ends.connected, bytes, sizeof bytes, MSG_DONTWAIT)) > 0) sent += (size_t)n;
  NEED(poll_until(ends.accepted, POLLIN) & POLLIN);
  ssize_t peeked = 0, more;
  while ((more = recv(ends.accepted, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT)) > peeked) peeked = more;
  saw((size_t)peeked < sent, "MSG_PEEK sees %zd of the %zu bytes that the peer has written: the rest has no room",
      peeked, sent);
  saw((poll_now(ends.accepted, POLLIN) & POLLIN) != 0, "and what was looked at goes on making the socket readable");
  size_t taken = 0;
  while (taken < sent) {
    n = recv(ends.accepted, bytes, sizeof bytes, 0);
    NEED(n > 0);
    taken += (size_t)n;
  }
  saw(poll_now(ends.accepted, POLLIN) == 0, "reading reaches the last byte and leaves the socket quiet");
  return unexpected;
}
