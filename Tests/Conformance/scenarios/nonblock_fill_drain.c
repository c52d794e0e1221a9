// Nonblocking through fcntl: write until EAGAIN, drain exactly, several times over.
#include "observe.h"

static void body(int a, int b) {
  char byte;
  set_nonblocking(a, true);
  set_nonblocking(b, true);
  OBS("recv of nothing", recv(b, &byte, 1, 0));
  OBS("read of nothing", read(b, &byte, 1));
  uint64_t sent = 0, got = 0;
  for (int round = 0; round < 3; round++) {
    sent += write_until_full(a, 31, sent);
    // Room may still open up while segments move from one buffer to the other: go on until it stays full.
    while (ready(a, POLLOUT)) sent += write_until_full(a, 31, sent);
    check_that("more than nothing fits", sent > got);
    OBS("send when full", send(a, "x", 1, 0));
    OBS("write when full", write(a, "x", 1));
    say("events when full: %s", event_names(ready(a, POLLIN | POLLOUT)));
    say("reader sees: %s", event_names(await_events(b, POLLIN | POLLOUT)));
    while (got < sent) {
      await_events(b, POLLIN);
      got += read_until_empty(b, 31, got);
    }
    check_that("exactly what was sent", got == sent);
    say("events after the drain: %s", event_names(await_events(a, POLLOUT)));
    say("reader sees: %s", event_names(ready(b, POLLIN | POLLOUT)));
    OBS("recv of nothing", recv(b, &byte, 1, 0));
  }
}

BOTH_WAYS(body)
