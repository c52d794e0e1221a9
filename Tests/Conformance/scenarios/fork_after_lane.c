// A connection that was on a lane once, and is read by parent and child in turn up to the end of its stream.
#include "observe.h"

static void body(int a, int b) {
  char buffer[32];
  int one = 1;
  OBS("send", send(a, "abcdefghij", 10, 0));
  // Only the kernel can do that: the lane is left, with bytes in it.
  OBS("setsockopt", setsockopt(b, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof one));
  pid_t child = fork_logged();
  if (child == 0) {
    close(a);
    OBS("recv", recv(b, buffer, 4, MSG_WAITALL));
    say("bytes %.4s", buffer);
    end_child(0);
  }
  join_child(child);
  OBS("recv", recv(b, buffer, 6, MSG_WAITALL));
  say("bytes %.6s", buffer);
  OBS("close", close(a));
  OBS("the end", recv(b, buffer, sizeof buffer, 0));
  OBS("the end again", recv(b, buffer, sizeof buffer, 0));
}

BOTH_WAYS(body)
