// Event loops at both ends, edge-triggered for both directions: 6 MiB each way.
#include "observe.h"

enum { size = 6 << 20 };

struct end {
  int fd;
  uint64_t out, in;
  bool ok;
};

static bool push(struct end *end, uint64_t *sent) {
  static _Thread_local char chunk[40000];
  while (*sent < size) {
    size_t piece = size - *sent < sizeof chunk ? size - *sent : sizeof chunk;
    fill(chunk, piece, end->out, *sent);
    ssize_t count = send(end->fd, chunk, piece, 0);
    if (count < 0) return errno == EAGAIN;
    *sent += (uint64_t)count;
  }
  return true;
}

static bool pull(struct end *end, uint64_t *got) {
  static _Thread_local char chunk[30000];
  for (;;) {
    ssize_t count = recv(end->fd, chunk, sizeof chunk, 0);
    if (count < 0) return errno == EAGAIN;
    if (count == 0) return *got == size;
    if (!matches(chunk, (size_t)count, end->in, *got)) return false;
    *got += (uint64_t)count;
  }
}

static void *loop(void *argument) {
  struct end *end = argument;
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
  int set = epoll_create1(0);
  uint64_t sent = 0, got = 0;
  set_nonblocking(end->fd, true);
  epoll_ctl(set, EPOLL_CTL_ADD, end->fd, &event);
  end->ok = true;
  while (end->ok && (sent < size || got < size)) {
    if (epoll_wait(set, &event, 1, 5000) != 1) {
      say("no edge: sent %llu got %llu", (unsigned long long)sent, (unsigned long long)got);
      end->ok = false;
      break;
    }
    if (event.events & EPOLLOUT) end->ok = push(end, &sent);
    if (end->ok && event.events & EPOLLIN) end->ok = pull(end, &got);
  }
  close(set);
  return NULL;
}

static void body(int a, int b) {
  struct end ends[2] = {{a, 1, 2, false}, {b, 2, 1, false}};
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) threads[i] = start_thread(loop, &ends[i]);
  for (int i = 0; i < 2; i++) join_thread(threads[i]);
  for (int i = 0; i < 2; i++) check_that("exact", ends[i].ok);
}

BOTH_WAYS(body)
