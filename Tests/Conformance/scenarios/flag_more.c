// MSG_MORE and TCP_CORK only delay: everything arrives once a call without them follows.
#include "observe.h"

static void body(int a, int b) {
  char buffer[64];
  OBS("send MORE", send(a, "abc", 3, MSG_MORE));
  OBS("send MORE", send(a, "def", 3, MSG_MORE));
  OBS("send", send(a, "ghi", 3, 0));
  OBS("recv", recv(b, buffer, 9, MSG_WAITALL));
  say("bytes %.9s", buffer);
  int on = 1, off = 0;
  OBS("TCP_CORK", setsockopt(a, IPPROTO_TCP, TCP_CORK, &on, sizeof on));
  OBS("send", send(a, "jkl", 3, 0));
  OBS("TCP_CORK off", setsockopt(a, IPPROTO_TCP, TCP_CORK, &off, sizeof off));
  OBS("recv", recv(b, buffer, 3, MSG_WAITALL));
  OBS("send MORE", send(a, "mno", 3, MSG_MORE));
  OBS("it flushes by itself", recv(b, buffer, 3, MSG_WAITALL));
  OBS("send MORE", send(a, "pqr", 3, MSG_MORE));
  shutdown(a, SHUT_WR);
  OBS("shutdown flushes", recv(b, buffer, 8, MSG_WAITALL));
}

BOTH_WAYS(body)
