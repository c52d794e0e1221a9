// The error of a reset is told once: here SO_ERROR takes it.
#include "observe.h"

static void body(int a, int b) {
  char buffer[16];
  int error = -1;
  socklen_t length = sizeof error;
  signal(SIGPIPE, SIG_IGN);
  OBS("SO_ERROR at first", getsockopt(b, SOL_SOCKET, SO_ERROR, &error, &length));
  say("error %s", error ? errno_name(error) : "none");
  OBS("b sends", send(b, "never read", 10, 0));
  await_bytes(a, 10);
  OBS("a closes", close(a));
  await_events(b, POLLERR);
  for (int i = 0; i < 2; i++) {
    OBS("SO_ERROR", getsockopt(b, SOL_SOCKET, SO_ERROR, &error, &length));
    say("error %s", error ? errno_name(error) : "none");
  }
  say("events %s", event_names(ready(b, POLLIN | POLLOUT | POLLRDHUP)));
  OBS("recv", recv(b, buffer, 16, 0));
  OBS("send", send(b, "x", 1, 0));
}

BOTH_WAYS(body)
