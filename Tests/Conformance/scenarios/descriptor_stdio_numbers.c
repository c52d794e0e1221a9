// A connection as standard input and output, as inetd and its like arrange it.
#include "observe.h"

static void body(int a, int b) {
  char line[32];
  int in = dup(0), out = dup(1);
  OBS("dup2 over 0", dup2(b, 0));
  OBS("send", send(a, "to stdin", 8, 0));
  await_bytes(0, 8);
  long count = read(0, line, sizeof line);
  dup2(in, 0);
  obs("read of 0", count);
  say("bytes %.8s", line);
  dup2(b, 1);
  count = write(1, "from stdout", 11);
  dup2(out, 1);
  obs("write to 1", count);
  OBS("recv", recv(a, line, 11, MSG_WAITALL));
  say("bytes %.11s", line);
  OBS("send", send(b, "end", 3, 0));
  OBS("recv", recv(a, line, 3, MSG_WAITALL));
  close(in), close(out);
}

BOTH_WAYS(body)
