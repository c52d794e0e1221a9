// Built as a library: what a constructor does before the one of Millrace may run.  It makes a connection of its own,
// leaves it open, and uses whatever else comes early.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void give_up(const char *what) {
  perror(what);
  _exit(7);
}

__attribute__((constructor(101))) static void early(void) {
  struct sockaddr_in address = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {0}};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1)) give_up("listen");
  getsockname(listener, (struct sockaddr *)&address, &length);
  if (connect(client, (struct sockaddr *)&address, length)) give_up("connect");
  int server = accept(listener, NULL, NULL), set = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN};
  if (epoll_ctl(set, EPOLL_CTL_ADD, server, &event)) give_up("epoll_ctl");
  char text[6];
  for (int i = 0; i < 100; i++)
    if (send(client, "early", 5, 0) != 5 || epoll_wait(set, &event, 1, 5000) != 1 ||
        recv(server, text, 5, MSG_WAITALL) != 5 || memcmp(text, "early", 5) != 0)
      give_up("exchange");
  pid_t child = fork();
  if (child == 0) _exit(write(server, "x", 1) == 1 ? 0 : 1);
  int status = 1;
  struct pollfd one = {.fd = client, .events = POLLIN};
  if (waitpid(child, &status, 0) != child || status != 0 || poll(&one, 1, 5000) != 1) give_up("child");
  close(set);
  close(listener);
  fputs("early: done\n", stderr);
}
