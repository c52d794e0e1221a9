// One stream written and read with a random mixture of all calls, in one process with two threads.
#include "observe.h"

enum { size = 6 << 20, most = 40000 };

static int fds[2];

static ssize_t write_somehow(int fd, char *bytes, size_t length, unsigned way) {
  struct iovec out[3] = {{bytes, length / 3},
                         {bytes + length / 3, length / 4},
                         {bytes + length / 3 + length / 4, length - length / 3 - length / 4}};
  struct msghdr message = {.msg_iov = out, .msg_iovlen = 3};
  struct mmsghdr several = {.msg_hdr = message};
  switch (way) {
    case 0: return write(fd, bytes, length);
    case 1: return send(fd, bytes, length, 0);
    case 2: return writev(fd, out, 3);
    case 3: return sendmsg(fd, &message, MSG_NOSIGNAL);
    case 4: return sendto(fd, bytes, length, 0, NULL, 0);
    case 5: return sendmmsg(fd, &several, 1, 0) == 1 ? (ssize_t)several.msg_len : -1;
    case 6: return pwritev2(fd, out, 3, -1, 0);
    default: return send(fd, bytes, length, MSG_MORE);
  }
}

static ssize_t read_somehow(int fd, char *bytes, size_t length, unsigned way) {
  struct iovec in[3] = {{bytes, length / 3},
                        {bytes + length / 3, length / 4},
                        {bytes + length / 3 + length / 4, length - length / 3 - length / 4}};
  struct msghdr message = {.msg_iov = in, .msg_iovlen = 3};
  struct mmsghdr several = {.msg_hdr = message};
  struct pollfd one = {fd, POLLIN, 0};
  switch (way) {
    case 0: return read(fd, bytes, length);
    case 1: return recv(fd, bytes, length, 0);
    case 2: return readv(fd, in, 3);
    case 3: return recvmsg(fd, &message, 0);
    case 4: return recvfrom(fd, bytes, length, 0, NULL, NULL);
    case 5: return recvmmsg(fd, &several, 1, 0, NULL) == 1 ? (ssize_t)several.msg_len : -1;
    case 6: return preadv2(fd, in, 3, -1, 0);
    case 7:
      if (poll(&one, 1, 5000) != 1) return -1;
      return recv(fd, bytes, length, MSG_DONTWAIT);
    default:
      if (recv(fd, bytes, length, MSG_PEEK) <= 0) return -1;
      return recv(fd, bytes, length, 0);
  }
}

static void *writer(void *argument) {
  (void)argument;
  static char chunk[most];
  uint64_t random = 5, at = 0;
  while (at < size) {
    size_t piece = 1 + next_random(&random) % (next_random(&random) % 4 ? 500 : most);
    if (piece > size - at) piece = size - at;
    fill(chunk, piece, 9, at);
    ssize_t count = write_somehow(fds[0], chunk, piece, (unsigned)(next_random(&random) % 8));
    if (count <= 0) give_up("a write failed: %s", errno_name(errno));
    at += (uint64_t)count;
  }
  shutdown(fds[0], SHUT_WR);
  return NULL;
}

static void body(int a, int b) {
  static char chunk[most];
  uint64_t random = 6, at = 0;
  fds[0] = a;
  pthread_t thread = start_thread(writer, NULL);
  for (;;) {
    size_t room = 1 + next_random(&random) % (next_random(&random) % 4 ? 500 : most);
    unsigned way = (unsigned)(next_random(&random) % 9);
    ssize_t count = read_somehow(b, chunk, room, way);
    if (count == 0 || (count < 0 && at == size)) break;
    if (count < 0) give_up("way %u failed at %llu: %s", way, (unsigned long long)at, errno_name(errno));
    if (!matches(chunk, (size_t)count, 9, at)) give_up("way %u gave wrong bytes at %llu", way, (unsigned long long)at);
    at += (uint64_t)count;
  }
  join_thread(thread);
  check_that("all bytes arrived", at == size);
}

BOTH_WAYS(body)
