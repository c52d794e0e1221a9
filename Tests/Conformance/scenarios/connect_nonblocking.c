// A nonblocking connect: EINPROGRESS, then POLLOUT or EPOLLOUT, SO_ERROR, and a connection like any other.
#include "observe.h"

static void finish(int fd, int listener, const struct sockaddr_storage *address, socklen_t length) {
  int error = -1;
  socklen_t size = sizeof error;
  char buffer[8];
  OBS("SO_ERROR", getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
  say("error %d", error);
  int fds[2] = {fd, accept(listener, NULL, NULL)};
  OBS("connect again", connect(fd, (const struct sockaddr *)address, length));
  say("events %s", event_names(ready(fd, POLLIN | POLLOUT)));
  OBS("recv of nothing", recv(fd, buffer, 8, 0));
  settle(fds);
  OBS("send", send(fds[1], "hello", 5, 0));
  await_bytes(fd, 5);
  OBS("recv", recv(fd, buffer, 8, 0));
  OBS("recv of nothing", recv(fd, buffer, 8, 0));
  OBS("send back", send(fd, "ok", 2, 0));
  OBS("recv", recv(fds[1], buffer, 2, MSG_WAITALL));
  close(fds[0]), close(fds[1]);
}

int main(void) {
  struct sockaddr_storage address;
  socklen_t length;
  int listener = make_listener(PAIR_V4, &address, &length);
  for (int way = 0; way < 3; way++) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), set = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | (way == 2 ? EPOLLET : 0), .data.u32 = 3};
    if (way) {
      OBS("ADD before connect", epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
      while (epoll_wait(set, &event, 1, 0) > 0 && way == 2) continue;
    }
    OBS("connect", connect(fd, (struct sockaddr *)&address, length));
    if (way == 0) say("events %s", event_names(await_events(fd, POLLOUT)));
    if (way) {
      await_events(fd, POLLOUT);
      OBS("epoll_wait", epoll_wait(set, &event, 1, 5000));
      say("events %s", event_names(event.events & ~(unsigned)EPOLLHUP));
    }
    finish(fd, listener, &address, length);
    close(set);
  }
  return 0;
}
