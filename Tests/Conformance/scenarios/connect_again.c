// A socket that is disconnected with AF_UNSPEC and connected again; what was its peer sees a reset.  A lane is not
// asked for the second time: the socket has had one.
#include "observe.h"

int main(void) {
  struct sockaddr_storage address;
  socklen_t length;
  char buffer[16];
  struct sockaddr nobody = {.sa_family = AF_UNSPEC};
  int listener = make_listener(PAIR_V4, &address, &length);
  int fds[2] = {connect_to(PAIR_V4, &address, length), -1};
  fds[1] = accept(listener, NULL, NULL);
  settle(fds);
  OBS("send", send(fds[0], "first", 5, 0));
  OBS("recv", recv(fds[1], buffer, 5, MSG_WAITALL));
  OBS("disconnect", connect(fds[0], &nobody, sizeof nobody));
  say("its peer sees %s", event_names(await_events(fds[1], POLLIN | POLLERR)));
  OBS("its peer's recv", recv(fds[1], buffer, 5, 0));
  OBS("recv", recv(fds[0], buffer, 5, 0));
  OBS("send", send(fds[0], "x", 1, MSG_NOSIGNAL));
  close(fds[1]);
  OBS("connect again", connect(fds[0], (struct sockaddr *)&address, length));
  fds[1] = accept(listener, NULL, NULL);
  exchange(fds);
  OBS("send", send(fds[0], "second", 6, 0));
  OBS("recv", recv(fds[1], buffer, 6, MSG_WAITALL));
  say("bytes %.6s", buffer);
  OBS("send back", send(fds[1], "back", 4, 0));
  OBS("recv", recv(fds[0], buffer, 4, MSG_WAITALL));
  return 0;
}
