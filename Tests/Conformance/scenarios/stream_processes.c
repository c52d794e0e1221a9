// Checked random streams, 8 MiB each way at once, between two processes: random sizes, blocking and nonblocking.
#include "observe.h"

enum { size = 8 << 20 };

struct work {
  int fd;
  uint64_t seed;
};

static void *send_stream(void *argument) {
  struct work *work = argument;
  static char chunk[100000];
  uint64_t random = work->seed, at = 0;
  while (at < size) {
    size_t piece = 1 + next_random(&random) % (next_random(&random) % 8 ? 3000 : sizeof chunk);
    if (piece > size - at) piece = size - at;
    fill(chunk, piece, work->seed, at);
    for (size_t done = 0; done < piece;) {
      ssize_t count = send(work->fd, chunk + done, piece - done, MSG_NOSIGNAL);
      if (count < 0 && errno == EAGAIN) {
        await_events(work->fd, POLLOUT);
        continue;
      }
      if (count <= 0) return NULL;
      done += (size_t)count;
    }
    at += piece;
  }
  return argument;
}

static bool receive_stream(int fd, uint64_t seed) {
  static char chunk[100000];
  uint64_t random = seed * 7, at = 0;
  while (at < size) {
    size_t room = 1 + next_random(&random) % (next_random(&random) % 8 ? 3000 : sizeof chunk);
    if (room > size - at) room = size - at;
    ssize_t count = recv(fd, chunk, room, 0);
    if (count < 0 && errno == EAGAIN) {
      await_events(fd, POLLIN);
      continue;
    }
    if (count <= 0 || !matches(chunk, (size_t)count, seed, at)) return false;
    at += (uint64_t)count;
  }
  return true;
}

static bool both_ways(int fd, uint64_t out, uint64_t in) {
  struct work work = {fd, out};
  pthread_t thread = start_thread(send_stream, &work);
  bool received = receive_stream(fd, in);
  return join_thread(thread) && received;
}

int main(void) {
  static const int kinds[] = {PAIR_V4, PAIR_V6 | PAIR_NONBLOCK};
  for (int k = 0; k < 2; k++) {
    int fd;
    char byte;
    pid_t child = fork_pair(&fd, kinds[k]);
    if (child == 0) {
      bool right = both_ways(fd, 1, 2);
      check_that("both directions are exact", right);
      await_events(fd, POLLIN);
      OBS("the end", recv(fd, &byte, 1, 0));
      end_child(0);
    }
    check_that("both directions are exact", both_ways(fd, 2, 1));
    shutdown(fd, SHUT_WR);
    await_events(fd, POLLIN);
    OBS("the end", recv(fd, &byte, 1, 0));
    join_child(child);
    close(fd);
  }
  return 0;
}
