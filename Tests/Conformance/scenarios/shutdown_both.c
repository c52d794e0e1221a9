// shutdown(SHUT_RDWR), with nothing unread, and what both ends see before and after a close.
#include "observe.h"

static void body(int a, int b) {
  char buffer[16];
  signal(SIGPIPE, SIG_IGN);
  OBS("send", send(a, "bye", 3, 0));
  OBS("shutdown RDWR", shutdown(a, SHUT_RDWR));
  say("own events %s", event_names(ready(a, POLLIN | POLLOUT | POLLRDHUP)));
  OBS("own recv", recv(a, buffer, 16, 0));
  OBS("own send", send(a, "x", 1, 0));
  say("peer's events %s", event_names(await_events(b, POLLIN | POLLRDHUP)));
  OBS("peer's recv", recv(b, buffer, 16, 0));
  OBS("peer's recv at the end", recv(b, buffer, 16, 0));
  OBS("shutdown again", shutdown(a, SHUT_RDWR));
  OBS("close", close(a));
  OBS("peer's recv after close", recv(b, buffer, 16, 0));
  OBS("peer's close", close(b));
}

BOTH_WAYS(body)
