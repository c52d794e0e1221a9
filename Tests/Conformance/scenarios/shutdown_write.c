// shutdown(SHUT_WR): the peer reads what was sent, then the end; the other direction goes on.
#include "observe.h"

static void body(int a, int b) {
  char buffer[16];
  signal(SIGPIPE, SIG_IGN);
  OBS("send", send(a, "last", 4, 0));
  OBS("shutdown WR", shutdown(a, SHUT_WR));
  OBS("send after it", send(a, "x", 1, 0));
  OBS("write after it", write(a, "x", 1));
  OBS("send DONTWAIT after it", send(a, "x", 1, MSG_DONTWAIT));
  say("own events %s", event_names(ready(a, POLLIN | POLLOUT | POLLRDHUP)));
  say("peer's events %s", event_names(await_events(b, POLLIN | POLLOUT | POLLRDHUP)));
  OBS("recv", recv(b, buffer, 16, 0));
  OBS("recv at the end", recv(b, buffer, 16, 0));
  OBS("recv at the end again", recv(b, buffer, 16, 0));
  say("peer's events %s", event_names(ready(b, POLLIN | POLLOUT | POLLRDHUP)));
  OBS("peer's send", send(b, "back", 4, 0));
  await_bytes(a, 4);
  OBS("recv of the other direction", recv(a, buffer, 16, 0));
  OBS("recv of nothing", recv(a, buffer, 16, MSG_DONTWAIT));
  OBS("shutdown WR again", shutdown(a, SHUT_WR));
  OBS("peer shuts down too", shutdown(b, SHUT_WR));
  say("own events %s", event_names(await_events(a, POLLHUP)));
  say("peer's events %s", event_names(await_events(b, POLLHUP)));
  OBS("recv", recv(a, buffer, 16, 0));
  OBS("send", send(a, "x", 1, 0));
  OBS("peer's send", send(b, "x", 1, 0));
  OBS("shutdown WR when all is over", shutdown(a, SHUT_WR));
}

BOTH_WAYS(body)
