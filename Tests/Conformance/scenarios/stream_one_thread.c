// Both ends in one thread: 4 MiB each way with nonblocking calls and poll between them.
#include "observe.h"

enum { size = 4 << 20 };

int main(void) {
  int fds[2];
  static char chunk[50000];
  uint64_t sent[2] = {0}, got[2] = {0}, random = 3;
  lane_pair(fds, PAIR_NONBLOCK);
  double start = now();
  while ((got[0] < size || got[1] < size) && now() - start < 20) {
    struct pollfd set[2];
    for (int i = 0; i < 2; i++) set[i] = (struct pollfd){fds[i], POLLIN | (sent[i] < size ? POLLOUT : 0), 0};
    if (poll(set, 2, 5000) <= 0) give_up("poll");
    for (int i = 0; i < 2; i++) {
      if (set[i].revents & POLLOUT) {
        size_t piece = 1 + next_random(&random) % sizeof chunk;
        if (piece > size - sent[i]) piece = size - sent[i];
        fill(chunk, piece, (uint64_t)i, sent[i]);
        ssize_t count = send(fds[i], chunk, piece, 0);
        if (count > 0) sent[i] += (uint64_t)count;
        if (count < 0 && errno != EAGAIN) give_up("send: %s", errno_name(errno));
      }
      if (set[i].revents & POLLIN) {
        ssize_t count = recv(fds[i], chunk, 1 + next_random(&random) % sizeof chunk, 0);
        if (count <= 0) give_up("recv after POLLIN: %zd %s", count, errno_name(errno));
        if (!matches(chunk, (size_t)count, (uint64_t)!i, got[i])) give_up("wrong bytes");
        got[i] += (uint64_t)count;
      }
    }
  }
  for (int i = 0; i < 2; i++) check_that("exact", sent[i] == size && got[i] == size);
  return 0;
}
