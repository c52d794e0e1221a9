// close with everything read: the peer reads what is left, then the end, for ever.
#include "observe.h"

static void body(int a, int b) {
  char buffer[16];
  int queued = -1;
  OBS("send", send(a, "last words", 10, 0));
  OBS("close", close(a));
  OBS("use after close", send(a, "x", 1, MSG_NOSIGNAL));
  say("events %s", event_names(await_events(b, POLLIN | POLLRDHUP)));
  await_bytes(b, 10);
  OBS("recv 4", recv(b, buffer, 4, 0));
  say("events %s", event_names(ready(b, POLLIN | POLLRDHUP)));
  OBS("recv the rest", recv(b, buffer, 16, 0));
  OBS("FIONREAD", ioctl(b, FIONREAD, &queued));
  say("queued %d", queued);
  for (int i = 0; i < 2; i++) OBS("recv at the end", recv(b, buffer, 16, 0));
  OBS("read at the end", read(b, buffer, 16));
  OBS("recv PEEK at the end", recv(b, buffer, 16, MSG_PEEK));
  OBS("recv DONTWAIT at the end", recv(b, buffer, 16, MSG_DONTWAIT));
  say("events %s", event_names(ready(b, POLLIN | POLLOUT | POLLRDHUP)));
  OBS("close of the other end", close(b));
}

BOTH_WAYS(body)
