// shutdown(SHUT_RD): own reads end, yet what the peer sends afterwards still arrives, as Linux does it.
#include "observe.h"

static void body(int a, int b) {
  char buffer[16];
  OBS("peer's send", send(b, "before", 6, 0));
  await_bytes(a, 6);
  OBS("shutdown RD", shutdown(a, SHUT_RD));
  say("own events %s", event_names(ready(a, POLLIN | POLLOUT | POLLRDHUP)));
  say("peer's events %s", event_names(ready(b, POLLIN | POLLOUT | POLLRDHUP)));
  OBS("recv of what was queued", recv(a, buffer, 16, 0));
  OBS("recv of nothing", recv(a, buffer, 16, 0));
  OBS("recv WAITALL of nothing", recv(a, buffer, 16, MSG_WAITALL));
  OBS("recv DONTWAIT of nothing", recv(a, buffer, 16, MSG_DONTWAIT));
  OBS("peer's send", send(b, "after", 5, 0));
  await_bytes(a, 5);
  OBS("recv of it", recv(a, buffer, 16, 0));
  OBS("recv of nothing", recv(a, buffer, 16, 0));
  OBS("own send", send(a, "still", 5, 0));
  await_bytes(b, 5);
  OBS("peer's recv", recv(b, buffer, 16, 0));
  OBS("shutdown WR", shutdown(a, SHUT_WR));
  say("own events %s", event_names(await_events(a, POLLHUP)));
  await_events(b, POLLRDHUP);
  OBS("peer's recv", recv(b, buffer, 16, 0));
}

BOTH_WAYS(body)
