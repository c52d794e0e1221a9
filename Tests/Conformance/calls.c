// The calls that move data, one as good as the other.
#include "observe.h"

enum { parts = 3 };

// The whole in parts of different lengths.
static void divide(struct iovec vector[parts], char *bytes, size_t length) {
  vector[0] = (struct iovec){bytes, length / 3};
  vector[1] = (struct iovec){bytes + length / 3, length / 4};
  vector[2] = (struct iovec){bytes + length / 3 + length / 4, length - length / 3 - length / 4};
}

ssize_t write_somehow(int fd, char *bytes, size_t length, int flags, unsigned way) {
  struct iovec out[parts];
  divide(out, bytes, length);
  struct msghdr message = {.msg_iov = out, .msg_iovlen = parts};
  struct mmsghdr several = {.msg_hdr = message};
  // Calls without flags would not do what is asked.
  if (flags != 0 && way < 3) way += 3;
  switch (way) {
    case 0: return write(fd, bytes, length);
    case 1: return writev(fd, out, parts);
    case 2: return pwritev2(fd, out, parts, -1, 0);
    case 3: return send(fd, bytes, length, flags);
    case 4: return sendmsg(fd, &message, flags | MSG_NOSIGNAL);
    case 5: return sendto(fd, bytes, length, flags, NULL, 0);
    case 6: return sendmmsg(fd, &several, 1, flags) == 1 ? (ssize_t)several.msg_len : -1;
    default: return send(fd, bytes, length, flags | MSG_MORE);
  }
}

static ssize_t read_in_two_calls(int fd, char *bytes, size_t length, unsigned way) {
  struct pollfd one = {fd, POLLIN, 0};
  if (way == READ_WAYS - 1) return poll(&one, 1, 5000) != 1 ? -1 : recv(fd, bytes, length, MSG_DONTWAIT);
  if (recv(fd, bytes, length, MSG_PEEK) <= 0) return -1;
  return recv(fd, bytes, length, 0);
}

ssize_t read_somehow(int fd, char *bytes, size_t length, int flags, unsigned way) {
  struct iovec in[parts];
  divide(in, bytes, length);
  struct msghdr message = {.msg_iov = in, .msg_iovlen = parts};
  struct mmsghdr several = {.msg_hdr = message};
  if (flags != 0 && way < 3) way += 3;
  switch (way) {
    case 0: return read(fd, bytes, length);
    case 1: return readv(fd, in, parts);
    case 2: return preadv2(fd, in, parts, -1, 0);
    case 3: return recv(fd, bytes, length, flags);
    case 4: return recvmsg(fd, &message, flags);
    case 5: return recvfrom(fd, bytes, length, flags, NULL, NULL);
    case 6: return recvmmsg(fd, &several, 1, flags, NULL) == 1 ? (ssize_t)several.msg_len : -1;
    default: return read_in_two_calls(fd, bytes, length, way);
  }
}
