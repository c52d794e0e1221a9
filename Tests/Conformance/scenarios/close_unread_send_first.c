// The error of a reset is told once: here a send takes it.
#include "observe.h"

static void body(int a, int b) {
  char buffer[16];
  count_signal(SIGPIPE, 0);
  signals_seen[SIGPIPE] = 0;
  OBS("b sends", send(b, "never read", 10, 0));
  await_bytes(a, 10);
  OBS("a closes", close(a));
  await_events(b, POLLERR);
  OBS("send", send(b, "x", 1, 0));
  say("SIGPIPE %d", (int)signals_seen[SIGPIPE]);
  OBS("send again", send(b, "x", 1, 0));
  say("SIGPIPE %d", (int)signals_seen[SIGPIPE]);
  OBS("recv", recv(b, buffer, 16, 0));
}

BOTH_WAYS(body)
