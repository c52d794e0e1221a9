// MSG_TRUNC without PEEK discards bytes of the stream and leaves the buffer alone.
#include "observe.h"

static void body(int a, int b) {
  char buffer[16] = "................";
  OBS("send", send(a, "abcdefgh", 8, 0));
  await_bytes(b, 8);
  OBS("recv TRUNC 3", recv(b, buffer, 3, MSG_TRUNC));
  say("buffer %.16s", buffer);
  OBS("recv TRUNC NULL 2", recv(b, NULL, 2, MSG_TRUNC));
  OBS("recv 1", recv(b, buffer, 1, 0));
  say("byte %c", buffer[0]);
  OBS("recv TRUNC 100", recv(b, buffer, 100, MSG_TRUNC));
  OBS("recv TRUNC of nothing", recv(b, buffer, 100, MSG_TRUNC | MSG_DONTWAIT));
  OBS("send", send(a, "xyz", 3, 0));
  OBS("recv TRUNC WAITALL", recv(b, buffer, 3, MSG_TRUNC | MSG_WAITALL));
  OBS("FIONREAD", ioctl(b, FIONREAD, &(int){0}));
  shutdown(a, SHUT_WR);
  await_events(b, POLLRDHUP);
  OBS("recv TRUNC at the end", recv(b, buffer, 16, MSG_TRUNC));
}

BOTH_WAYS(body)
