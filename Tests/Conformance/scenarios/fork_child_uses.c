// A child uses the connection that it inherited, while its parent does not: then the parent goes on at that byte.
#include "observe.h"

static void body(int a, int b) {
  char buffer[32];
  OBS("send", send(a, "before|", 7, 0));
  await_bytes(b, 7);
  pid_t child = fork_logged();
  if (child == 0) {
    OBS("recv", recv(b, buffer, 3, 0));
    OBS("send", send(b, "from child|", 11, 0));
    OBS("recv", recv(b, buffer, 32, 0));
    end_child(0);
  }
  join_child(child);
  OBS("recv", recv(a, buffer, 11, MSG_WAITALL));
  say("bytes %.11s", buffer);
  OBS("nothing is left", recv(b, buffer, 32, MSG_DONTWAIT));
  OBS("send", send(a, "after", 5, 0));
  OBS("recv", recv(b, buffer, 5, MSG_WAITALL));
  say("bytes %.5s", buffer);
  OBS("send back", send(b, "back", 4, 0));
  OBS("recv", recv(a, buffer, 4, MSG_WAITALL));
  say("bytes %.4s", buffer);
}

BOTH_WAYS(body)
