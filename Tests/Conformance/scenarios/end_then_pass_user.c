// As end_then_pass, by a process without any privilege. Whoever receives the connection reads all of the peer's bytes,
// or is told of a reset: never of an end that comes too early.
#define _GNU_SOURCE
#include <grp.h>
#include "observe.h"

static void receive(int channel, size_t length) {
  static char got[40000];
  char control[CMSG_SPACE(sizeof(int))] = {0}, byte;
  struct iovec vector = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  if (recvmsg(channel, &message, 0) != 1) give_up("receiving: %s", errno_name(errno));
  int fd;
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  size_t at = 0;
  ssize_t r;
  while ((r = recv(fd, got + at, sizeof got - at, 0)) > 0) at += (size_t)r;
  check_that("what comes is right", matches(got, at, 5, 0));
  check_that("all of it, or a reset", r == 0 ? at == length : errno == ECONNRESET);
  close(fd);
}

static void body(int a, int b) {
  static char bytes[40000];
  size_t length = fits_unread(sizeof bytes);
  fill(bytes, length, 5, 0);
  if (!write_all(a, bytes, length)) give_up("write");
  close(a);
  await_fin(b);
  int channel[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, channel)) give_up("socketpair");
  char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 'x';
  struct iovec vector = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(header), &b, sizeof b);
  OBS("sendmsg", sendmsg(channel[0], &message, 0));
  close(b);
  receive(channel[1], length);
  close(channel[0]), close(channel[1]);
}

int main(void) {
  // Before there is anything that belongs to a user.
  if (geteuid() == 0 && (setgroups(0, NULL) || setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)))
    give_up("giving up privileges: %s", errno_name(errno));
  for (int flip = 0; flip < 2; flip++) {
    int fds[2];
    lane_pair(fds, PAIR_V4);
    body(fds[flip], fds[!flip]);
  }
  return 0;
}
