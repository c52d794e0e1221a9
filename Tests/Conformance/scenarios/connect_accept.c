// accept4 with flags, the flags that are and are not inherited, and data and ends that come before accept.
#include "observe.h"

int main(void) {
  struct sockaddr_storage address, peer;
  socklen_t length, peer_length = sizeof peer;
  char buffer[16];
  int listener = make_listener(PAIR_V4, &address, &length);
  int client = connect_to(PAIR_V4, &address, length);
  int fd = accept4(listener, (struct sockaddr *)&peer, &peer_length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  say("accepted: nonblocking %d, close-on-exec %d, address length %u", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0,
      fcntl(fd, F_GETFD), peer_length);
  OBS("recv", recv(fd, buffer, 1, 0));
  OBS("accept4 with a strange flag", accept4(listener, NULL, NULL, 12345));
  close(fd), close(client);
  client = connect_to(PAIR_V4, &address, length);
  OBS("send before accept", send(client, "early", 5, 0));
  OBS("shutdown before accept", shutdown(client, SHUT_WR));
  fd = accept(listener, NULL, NULL);
  say("accepted: nonblocking %d, close-on-exec %d", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0, fcntl(fd, F_GETFD));
  OBS("recv", recv(fd, buffer, 16, MSG_WAITALL));
  OBS("recv at the end", recv(fd, buffer, 16, 0));
  OBS("send back", send(fd, "late", 4, 0));
  OBS("recv", recv(client, buffer, 4, MSG_WAITALL));
  close(fd), close(client);
  client = connect_to(PAIR_V4, &address, length);
  OBS("send before accept", send(client, "gone", 4, 0));
  OBS("close before accept", close(client));
  fd = accept(listener, NULL, NULL);
  OBS("recv", recv(fd, buffer, 16, MSG_WAITALL));
  OBS("recv at the end", recv(fd, buffer, 16, 0));
  close(fd);
  set_nonblocking(listener, true);
  OBS("accept of nobody", accept(listener, NULL, NULL));
  client = connect_to(PAIR_V4, &address, length);
  say("listener %s", event_names(await_events(listener, POLLIN)));
  fd = accept(listener, NULL, NULL);
  say("accepted from a nonblocking listener: nonblocking %d", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
  OBS("recv of a listener", recv(listener, buffer, 1, 0));
  OBS("send to a listener", send(listener, buffer, 1, MSG_NOSIGNAL));
  OBS("accept on a connection", accept(fd, NULL, NULL));
  OBS("listen on a connection", listen(fd, 1));
  OBS("connect of a connection", connect(client, (struct sockaddr *)&address, length));
  return 0;
}
