// close with unread data resets the connection: the peer reads what was queued for it, then ECONNRESET, once.
#include "observe.h"

static void body(int a, int b) {
  char buffer[16];
  int error = -1;
  socklen_t length = sizeof error;
  signal(SIGPIPE, SIG_IGN);
  OBS("b sends", send(b, "never read", 10, 0));
  OBS("a sends", send(a, "queued", 6, 0));
  await_bytes(a, 10);
  await_bytes(b, 6);
  OBS("a closes", close(a));
  say("events %s", event_names(await_events(b, POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP)));
  OBS("recv of what was queued", recv(b, buffer, 16, 0));
  OBS("recv", recv(b, buffer, 16, 0));
  OBS("recv again", recv(b, buffer, 16, 0));
  OBS("send", send(b, "x", 1, 0));
  OBS("SO_ERROR", getsockopt(b, SOL_SOCKET, SO_ERROR, &error, &length));
  say("error %s", error ? errno_name(error) : "none");
  say("events %s", event_names(ready(b, POLLIN | POLLOUT | POLLRDHUP)));
  OBS("getpeername", getpeername(b, (struct sockaddr *)&(struct sockaddr_in){0}, &(socklen_t){16}));
  OBS("b closes", close(b));
}

BOTH_WAYS(body)
