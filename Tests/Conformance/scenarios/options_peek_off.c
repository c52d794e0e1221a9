// SO_PEEK_OFF, where the kernel has it for TCP: a peek goes on behind the last one, and a read takes the offset back.
#include "observe.h"

static void body(int a, int b) {
  char bytes[16] = {0};
  int off = 2, value = 0;
  socklen_t length = sizeof value;
  if (setsockopt(b, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof off)) return say("no SO_PEEK_OFF for TCP here");
  OBS("send", send(a, "0123456789", 10, 0));
  await_bytes(b, 10);
  for (int i = 0; i < 3; i++) {
    OBS("peek", recv(b, bytes, 3, MSG_PEEK));
    say("%.3s", bytes);
  }
  OBS("read", recv(b, bytes, 4, 0));
  say("%.4s", bytes);
  OBS("SO_PEEK_OFF", getsockopt(b, SOL_SOCKET, SO_PEEK_OFF, &value, &length));
  say("offset %d", value);
  off = -1;
  OBS("no SO_PEEK_OFF", setsockopt(b, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof off));
  OBS("peek", recv(b, bytes, 3, MSG_PEEK));
  say("%.3s", bytes);
}

BOTH_WAYS(body)
