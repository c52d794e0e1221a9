// shutdown by a child is for all who hold the connection.
#include "observe.h"

static void body(int a, int b) {
  char buffer[8];
  OBS("send", send(a, "x", 1, 0));
  pid_t child = fork_logged();
  if (child == 0) {
    OBS("shutdown", shutdown(a, SHUT_WR));
    end_child(0);
  }
  join_child(child);
  await_events(b, POLLRDHUP);
  OBS("recv", recv(b, buffer, 8, 0));
  OBS("recv at the end", recv(b, buffer, 8, 0));
  OBS("the parent's send", send(a, "y", 1, MSG_NOSIGNAL));
  OBS("the other direction", send(b, "z", 1, 0));
  OBS("recv", recv(a, buffer, 8, 0));
}

BOTH_WAYS(body)
