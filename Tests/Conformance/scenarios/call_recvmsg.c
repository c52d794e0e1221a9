// recvmsg: vectors, and what it leaves in the name, control and flags fields.
#include "observe.h"

static void receive(const char *what, int fd, int flags, int vectors) {
  char x[3], y[5], control[128];
  struct sockaddr_storage name;
  struct iovec in[2] = {{x, sizeof x}, {y, sizeof y}};
  struct msghdr message = {.msg_name = &name,
                           .msg_namelen = sizeof name,
                           .msg_iov = in,
                           .msg_iovlen = vectors,
                           .msg_control = control,
                           .msg_controllen = sizeof control,
                           .msg_flags = 0x7ff};
  long count = OBS(what, recvmsg(fd, &message, flags));
  say("namelen %u controllen %zu flags %#x", message.msg_namelen, message.msg_controllen,
      count < 0 ? 0 : message.msg_flags);
  if (count > 0) say("bytes %.*s %.*s", count > 3 ? 3 : (int)count, x, count > 3 ? (int)count - 3 : 0, y);
}

static void body(int a, int b) {
  OBS("send", send(a, "abcdefghijklmnopqrst", 20, 0));
  await_bytes(b, 20);
  receive("recvmsg", b, 0, 2);
  receive("recvmsg PEEK", b, MSG_PEEK, 2);
  receive("recvmsg WAITALL", b, MSG_WAITALL, 2);
  receive("recvmsg of one vector", b, 0, 1);
  receive("recvmsg of no vector", b, 0, 0);
  receive("recvmsg of the rest", b, 0, 2);
  receive("recvmsg empty", b, MSG_DONTWAIT, 2);
  shutdown(a, SHUT_WR);
  await_events(b, POLLRDHUP);
  receive("recvmsg at the end", b, 0, 2);
}

BOTH_WAYS(body)
