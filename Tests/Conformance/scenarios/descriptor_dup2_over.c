// dup2 and dup3 over a connection close it: the peer sees the end; and a connection put over something else works
// there.
#include "observe.h"

static void body(int a, int b) {
  char buffer[8];
  int ends[2], other[2];
  if (pipe(ends)) give_up("pipe");
  lane_pair(other, PAIR_V4);
  OBS("dup2 of a pipe over it", dup2(ends[0], b) == b ? 0 : -1);
  say("the peer sees %s", event_names(await_events(a, POLLIN | POLLRDHUP)));
  OBS("recv of the peer", recv(a, buffer, 8, 0));
  if (write(ends[1], "pipe", 4) != 4) give_up("pipe");
  OBS("read of the number", read(b, buffer, 8));
  say("bytes %.4s", buffer);
  OBS("recv of the number", recv(b, buffer, 8, 0));
  OBS("dup2 of a connection over the pipe", dup2(other[0], b) == b ? 0 : -1);
  OBS("send to it", send(other[1], "conn", 4, 0));
  OBS("read of the number", read(b, buffer, 8));
  OBS("dup3 of it over the other connection", dup3(b, a, 0) == a ? 0 : -1);
  OBS("close of the original", close(other[0]));
  OBS("write to the number", write(a, "back", 4));
  OBS("recv", recv(other[1], buffer, 8, 0));
  say("bytes %.4s", buffer);
  OBS("close", close(a));
  OBS("close", close(b));
  say("its peer sees %s", event_names(await_events(other[1], POLLIN | POLLRDHUP)));
  close(other[1]), close(ends[0]), close(ends[1]);
}

BOTH_WAYS(body)
