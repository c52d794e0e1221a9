// daemon() with a listener and a connection: the daemon serves both.
#include "observe.h"

int main(void) {
  struct sockaddr_storage address;
  socklen_t length;
  char buffer[16];
  int listener = make_listener(PAIR_V4, &address, &length);
  pid_t child = fork_logged();
  if (child == 0) {
    int early = accept(listener, NULL, NULL);
    settle_end(early, false);
    if (daemon(1, 1)) end_child(1);
    int late = accept(listener, NULL, NULL);
    OBS("early: recv", recv(early, buffer, 5, MSG_WAITALL));
    OBS("early: send", send(early, "EARLY", 5, 0));
    OBS("late: recv", recv(late, buffer, 4, MSG_WAITALL));
    OBS("late: send", send(late, "LATE", 4, 0));
    OBS("early: the end", recv(early, buffer, 5, 0));
    end_child(0);
  }
  int early = connect_to(PAIR_V4, &address, length);
  settle_end(early, true);
  int late = connect_to(PAIR_V4, &address, length);
  OBS("send", send(early, "early", 5, 0));
  OBS("send", send(late, "late", 4, 0));
  OBS("recv", recv(early, buffer, 5, MSG_WAITALL));
  say("bytes %.5s", buffer);
  OBS("recv", recv(late, buffer, 4, MSG_WAITALL));
  say("bytes %.4s", buffer);
  OBS("close", close(early));
  OBS("the end", recv(late, buffer, 4, 0));
  join_child(child);
  return 0;
}
