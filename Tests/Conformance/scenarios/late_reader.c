// A reader that is late: much is written before it reads the first byte, then it reads slowly, and the other way round.
#include "observe.h"

static void body(int a, int b) {
  static char bytes[1 << 20];
  set_nonblocking(a, true);
  set_nonblocking(b, true);
  for (int round = 0; round < 4; round++) {
    int from = round & 1 ? b : a, to = round & 1 ? a : b;
    uint64_t sent = 0, got = 0;
    // In pieces with pauses, so that whatever happens beside has time to happen.
    while (sent < 40000) {
      size_t piece = 1 + sent % 3000;
      fill(bytes, piece, 4, sent);
      ssize_t count = send(from, bytes, piece, 0);
      if (count < 0 && errno == EAGAIN) break;
      if (count <= 0) give_up("send: %s", errno_name(errno));
      sent += (uint64_t)count;
      poll(NULL, 0, 1);
    }
    while (got < sent) {
      await_events(to, POLLIN);
      ssize_t count = recv(to, bytes, 1 + got % 777, 0);
      if (count <= 0) give_up("recv: %zd %s", count, errno_name(errno));
      if (!matches(bytes, (size_t)count, 4, got)) give_up("wrong bytes at %llu", (unsigned long long)got);
      got += (uint64_t)count;
    }
    check_that("exact", sent == got);
    OBS("nothing more", recv(to, bytes, 1, 0));
  }
}

int main(void) {
  for (int flip = 0; flip < 2; flip++)
    for (int settled = 0; settled < 2; settled++) {
      int fds[2];
      make_pair(fds, PAIR_V4);
      if (settled) settle(fds);
      say("-- after an exchange %d, role %d", settled, flip);
      body(fds[flip], fds[!flip]);
      close(fds[0]), close(fds[1]);
    }
  return 0;
}
