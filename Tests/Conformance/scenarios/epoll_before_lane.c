// A thread sleeps in a set while its connections come to life and move: every message is seen, level and edge.
#include "observe.h"

enum { connections = 3, rounds = 300 };

static int set, fds[connections][2];

static void *echo(void *argument) {
  bool edge = argument != NULL;
  for (int left = connections; left;) {
    struct epoll_event events[connections];
    int count = epoll_wait(set, events, connections, 5000);
    if (count <= 0) give_up("nothing came: %d %s", count, errno_name(errno));
    for (int i = 0; i < count; i++) {
      char buffer[64];
      int fd = events[i].data.fd;
      do {
        ssize_t got = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN) break;
        if (got < 0) give_up("recv: %s", errno_name(errno));
        if (got == 0) {
          left--;
          epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL);
          break;
        }
        if (send(fd, buffer, (size_t)got, 0) != got) give_up("send");
      } while (edge);
    }
  }
  return NULL;
}

int main(void) {
  for (int edge = 0; edge < 2; edge++) {
    set = epoll_create1(0);
    for (int i = 0; i < connections; i++) {
      make_pair(fds[i], PAIR_V4);
      struct epoll_event event = {.events = EPOLLIN | (edge ? EPOLLET : 0), .data.fd = fds[i][i & 1]};
      epoll_ctl(set, EPOLL_CTL_ADD, fds[i][i & 1], &event);
    }
    pthread_t thread = start_thread(echo, edge ? &set : NULL);
    for (int round = 0; round < rounds; round++)
      for (int i = 0; i < connections; i++) {
        char out[16], back[16];
        int fd = fds[i][!(i & 1)];
        snprintf(out, sizeof out, "%d.%d", round, i);
        if (!write_all(fd, out, sizeof out) || !read_all(fd, back, sizeof back) || strcmp(out, back))
          give_up("round %d of connection %d is wrong", round, i);
      }
    for (int i = 0; i < connections; i++) shutdown(fds[i][!(i & 1)], SHUT_WR);
    join_thread(thread);
    say("%d rounds on %d connections, edge %d", rounds, connections, edge);
    for (int i = 0; i < connections; i++) close(fds[i][0]), close(fds[i][1]);
    close(set);
  }
  return 0;
}
