// What poll says of a connection in every state, and that it only says what was asked for, and ERR, HUP and NVAL.
#include "observe.h"

static void look(const char *when, int fd) {
  say("%s: asked all %s, asked nothing %s, asked OUT %s, asked RDNORM|WRNORM %s, asked PRI|RDBAND %s", when,
      event_names(ready(fd, POLLIN | POLLOUT | POLLRDHUP | POLLPRI)), event_names(ready(fd, 0)),
      event_names(ready(fd, POLLOUT)), event_names(ready(fd, POLLRDNORM | POLLWRNORM)),
      event_names(ready(fd, POLLPRI | POLLRDBAND)));
}

static void body(int a, int b) {
  char buffer[8];
  look("before data", b);
  OBS("send", send(a, "abc", 3, 0));
  await_bytes(b, 3);
  look("with data", b);
  OBS("recv 1", recv(b, buffer, 1, 0));
  look("with less data", b);
  OBS("recv", recv(b, buffer, 8, 0));
  look("drained", b);
  OBS("shutdown", shutdown(a, SHUT_WR));
  await_events(b, POLLRDHUP);
  look("at the end of the stream", b);
  OBS("recv", recv(b, buffer, 8, 0));
  look("after reading the end", b);
  OBS("shutdown", shutdown(b, SHUT_WR));
  await_events(b, POLLHUP);
  look("both ends done", b);
  await_events(a, POLLHUP);
  look("both ends done, other end", a);
  close(b);
  look("closed", b);
  look("never open", 901);
}

BOTH_WAYS(body)
