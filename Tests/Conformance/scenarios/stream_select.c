// An event loop with select at one end and blocking calls at the other.
#include "observe.h"

enum { size = 4 << 20 };

static void *blocking_echo(void *argument) {
  int fd = *(int *)argument;
  static char chunk[20000];
  for (;;) {
    ssize_t count = recv(fd, chunk, sizeof chunk, 0);
    if (count <= 0) break;
    if (!write_all(fd, chunk, (size_t)count)) return NULL;
  }
  shutdown(fd, SHUT_WR);
  return argument;
}

static void body(int a, int b) {
  static char chunk[20000];
  pthread_t thread = start_thread(blocking_echo, &b);
  uint64_t sent = 0, got = 0;
  bool ended = false;
  set_nonblocking(a, true);
  while (!ended) {
    fd_set r, w;
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_SET(a, &r);
    if (sent < size) FD_SET(a, &w);
    if (select(a + 1, &r, &w, NULL, &(struct timeval){.tv_sec = 5}) <= 0) give_up("select");
    if (FD_ISSET(a, &w)) {
      size_t piece = size - sent < sizeof chunk ? size - sent : sizeof chunk;
      fill(chunk, piece, 4, sent);
      ssize_t count = send(a, chunk, piece, 0);
      if (count > 0) sent += (uint64_t)count;
      if (sent == size) shutdown(a, SHUT_WR);
    }
    if (FD_ISSET(a, &r)) {
      ssize_t count = recv(a, chunk, sizeof chunk, 0);
      if (count < 0) give_up("recv: %s", errno_name(errno));
      if (count == 0) ended = true;
      if (count > 0 && !matches(chunk, (size_t)count, 4, got)) give_up("wrong bytes");
      got += (uint64_t)count;
    }
  }
  check_that("echo done", join_thread(thread) != NULL);
  check_that("exact", sent == size && got == size);
}

BOTH_WAYS(body)
