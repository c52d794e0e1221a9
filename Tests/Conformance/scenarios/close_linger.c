// SO_LINGER: with zero time a close resets, and what was queued at the peer is still readable; with time it is a
// close like any other.
#include "observe.h"

static void body(int a, int b) {
  char buffer[32];
  struct linger linger = {.l_onoff = 1, .l_linger = 0};
  socklen_t length = sizeof linger;
  signal(SIGPIPE, SIG_IGN);
  OBS("setsockopt", setsockopt(a, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
  OBS("send", send(a, "delivered", 9, 0));
  await_bytes(b, 9);
  OBS("close", close(a));
  say("events %s", event_names(await_events(b, POLLERR | POLLHUP)));
  OBS("recv of what was delivered", recv(b, buffer, 32, 0));
  OBS("recv", recv(b, buffer, 32, 0));
  OBS("recv again", recv(b, buffer, 32, 0));
  OBS("send", send(b, "x", 1, 0));
  OBS("close", close(b));

  int fds[2];
  lane_pair(fds, PAIR_V4);
  linger.l_linger = 5;
  OBS("setsockopt 5 s", setsockopt(fds[0], SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
  OBS("getsockopt", getsockopt(fds[0], SOL_SOCKET, SO_LINGER, &linger, &length));
  say("linger %d %d", linger.l_onoff, linger.l_linger);
  OBS("send", send(fds[0], "kept", 4, 0));
  double start = now();
  OBS("close", close(fds[0]));
  check_that("at once", took(start, 0, 2));
  OBS("recv", recv(fds[1], buffer, 4, MSG_WAITALL));
  OBS("the end", recv(fds[1], buffer, 4, 0));
}

BOTH_WAYS(body)
