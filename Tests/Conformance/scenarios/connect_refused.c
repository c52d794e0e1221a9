// Connections that do not come about: refused, to oneself, unconnected, and a socket that is used again afterwards.
#include "observe.h"

int main(void) {
  struct sockaddr_storage address;
  socklen_t length;
  char buffer[8];
  int error = -1;
  socklen_t size = sizeof error;
  signal(SIGPIPE, SIG_IGN);
  int listener = make_listener(PAIR_V4, &address, &length);
  close(listener);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  OBS("recv unconnected", recv(fd, buffer, 8, 0));
  OBS("read unconnected", read(fd, buffer, 8));
  OBS("send unconnected", send(fd, "x", 1, 0));
  OBS("getpeername unconnected", getpeername(fd, (struct sockaddr *)&(struct sockaddr_storage){0}, &(socklen_t){128}));
  say("events %s", event_names(ready(fd, POLLIN | POLLOUT | POLLRDHUP)));
  OBS("connect", connect(fd, (struct sockaddr *)&address, length));
  OBS("recv", recv(fd, buffer, 8, 0));
  OBS("send", send(fd, "x", 1, 0));
  close(fd);

  fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  OBS("nonblocking connect", connect(fd, (struct sockaddr *)&address, length));
  say("events %s", event_names(await_events(fd, POLLOUT)));
  OBS("SO_ERROR", getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
  say("error %s", errno_name(error));
  OBS("recv", recv(fd, buffer, 8, 0));

  // The same socket connects to somebody who is there.
  listener = make_listener(PAIR_V4, &address, &length);
  set_nonblocking(fd, false);
  OBS("connect of the same socket", connect(fd, (struct sockaddr *)&address, length));
  OBS("and again", connect(fd, (struct sockaddr *)&address, length));
  int fds[2] = {fd, accept(listener, NULL, NULL)};
  settle(fds);
  OBS("send", send(fds[0], "x", 1, 0));
  OBS("recv", recv(fds[1], buffer, 8, 0));
  OBS("connect elsewhere", connect(fd, (struct sockaddr *)&address, length));
  close(fds[0]), close(fds[1]);

  struct sockaddr_un path = {.sun_family = AF_UNIX};
  fd = socket(AF_INET, SOCK_STREAM, 0);
  OBS("connect to another family", connect(fd, (struct sockaddr *)&path, sizeof path));
  OBS("connect with a short address", connect(fd, (struct sockaddr *)&address, 4));
  OBS("connect of a file", connect(0, (struct sockaddr *)&address, length));
  return 0;
}
