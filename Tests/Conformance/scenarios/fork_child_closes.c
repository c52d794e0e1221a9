// A child closes what it inherited, or exits, without use: the parent's connection goes on, and no end is seen.
#include "observe.h"

static void body(int a, int b) {
  char buffer[8];
  for (int way = 0; way < 4; way++) {
    pid_t child = fork();
    if (child == 0) {
      if (way == 0) close(a), close(b);
      if (way == 1) exit(0);
      if (way == 2) kill(getpid(), SIGKILL);
      _exit(0);
    }
    waitpid(child, NULL, 0);
    say("a sees %s, b sees %s", event_names(ready(a, POLLIN | POLLRDHUP)), event_names(ready(b, POLLIN | POLLRDHUP)));
    OBS("send", send(a, "x", 1, 0));
    OBS("recv", recv(b, buffer, 8, 0));
    OBS("send back", send(b, "y", 1, 0));
    OBS("recv", recv(a, buffer, 8, 0));
  }
  pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  OBS("close while the child holds a copy", close(a));
  say("b sees %s", event_names(ready(b, POLLIN | POLLRDHUP)));
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  say("b sees %s", event_names(await_events(b, POLLIN | POLLRDHUP)));
  OBS("recv", recv(b, buffer, 8, 0));
}

BOTH_WAYS(body)
