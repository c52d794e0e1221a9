// dup, dup2, dup3 and F_DUPFD: one connection, several numbers; it ends with the last of them.
#include "observe.h"

static void body(int a, int b) {
  char buffer[8];
  int one = dup(b), two = fcntl(b, F_DUPFD, 100), three = fcntl(b, F_DUPFD_CLOEXEC, 100);
  OBS("F_DUPFD 100", two);
  OBS("F_DUPFD_CLOEXEC 100", three);
  say("CLOEXEC: %d %d %d", fcntl(one, F_GETFD), fcntl(two, F_GETFD), fcntl(three, F_GETFD));
  OBS("dup3 CLOEXEC", dup3(b, 200, O_CLOEXEC));
  say("CLOEXEC: %d", fcntl(200, F_GETFD));
  OBS("dup3 onto itself", dup3(b, b, 0));
  OBS("dup2 onto itself", dup2(b, b) == b ? 0 : -1);
  OBS("dup2 of a closed descriptor", dup2(950, b));
  OBS("dup of a closed descriptor", dup(950));
  OBS("dup2 to a bad number", dup2(b, -1));
  OBS("F_DUPFD from a bad number", fcntl(b, F_DUPFD, -1));
  int all[] = {b, one, two, three, 200};
  for (int i = 0; i < 5; i++) {
    OBS("send", send(a, "ab", 2, 0));
    await_bytes(all[i], 2);
    OBS("recv", recv(all[i], buffer, 1, 0));
    OBS("recv through the next", recv(all[(i + 1) % 5], buffer, 8, 0));
    OBS("send back", send(all[i], "c", 1, 0));
    OBS("recv", recv(a, buffer, 8, 0));
  }
  for (int i = 0; i < 5; i++) {
    OBS("close", close(all[i]));
    if (i < 4) {
      OBS("send", send(a, "d", 1, 0));
      OBS("recv through the last", recv(200, buffer, 8, 0));
      say("the peer sees %s", event_names(ready(a, POLLIN | POLLRDHUP)));
    }
  }
  say("the peer sees %s", event_names(await_events(a, POLLIN | POLLRDHUP)));
  OBS("recv", recv(a, buffer, 8, 0));
}

BOTH_WAYS(body)
