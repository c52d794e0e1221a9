// libc's second names for its calls, which are public too.
#include "observe.h"

ssize_t __read(int, void *, size_t);
ssize_t __write(int, const void *, size_t);
ssize_t __send(int, const void *, size_t, int);
int __connect(int, const struct sockaddr *, socklen_t);
int __close(int);
int __poll(struct pollfd *, nfds_t, int);
int __select(int, fd_set *, fd_set *, fd_set *, struct timeval *);
int __fcntl(int, int, ...);
int __dup2(int, int);
pid_t __fork(void);

int main(void) {
  struct sockaddr_storage address;
  socklen_t length;
  char text[32];
  int listener = make_listener(PAIR_V4, &address, &length), fds[2];
  fds[0] = socket(AF_INET, SOCK_STREAM, 0);
  OBS("__connect", __connect(fds[0], (struct sockaddr *)&address, length));
  fds[1] = accept(listener, NULL, NULL);
  settle(fds);
  OBS("__write", __write(fds[0], "abc", 3));
  OBS("__send", __send(fds[0], "def", 3, 0));
  struct pollfd one = {.fd = fds[1], .events = POLLIN};
  OBS("__poll", __poll(&one, 1, 5000));
  await_bytes(fds[1], 6);
  fd_set set;
  FD_ZERO(&set);
  FD_SET(fds[1], &set);
  OBS("__select", __select(fds[1] + 1, &set, NULL, NULL, NULL));
  OBS("__read", __read(fds[1], text, 6));
  say("bytes %.6s", text);
  OBS("__fcntl", __fcntl(fds[1], F_SETFL, O_NONBLOCK));
  OBS("recv of nothing", recv(fds[1], text, 1, 0));
  OBS("__fcntl", __fcntl(fds[1], F_SETFL, 0));
  int copy = __fcntl(fds[0], F_DUPFD, 40);
  OBS("__dup2", __dup2(fds[0], copy));
  OBS("__close", __close(fds[0]));
  OBS("write to what is closed", write(fds[0], "x", 1));
  pid_t child = __fork();
  if (child == 0) _exit(send(copy, "child", 5, 0) == 5 ? 0 : 1);
  int status;
  waitpid(child, &status, 0);
  say("the child ended with %d", status);
  OBS("send", send(copy, "parent", 6, 0));
  OBS("recv", recv(fds[1], text, 11, MSG_WAITALL));
  say("bytes %.11s", text);
  OBS("__close", __close(copy));
  OBS("recv at the end", recv(fds[1], text, 1, 0));
  return 0;
}
