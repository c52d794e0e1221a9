// A peer is killed on its way from the lane back to TCP, held up there by buffers that are too small for what it has to
// send again. The kernel has the end of its stream, and before that a part of its bytes: whoever the connection is
// passed to reads all of them.
#include "observe.h"

enum { size = 50000 };
static char bytes[size], got[size + 1];

static int pass(int fd) {
  int channel[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, channel)) give_up("socketpair");
  char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 'x';
  struct iovec vector = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (sendmsg(channel[0], &message, 0) != 1) give_up("passing: %s", errno_name(errno));
  close(fd);
  if (recvmsg(channel[1], &message, 0) != 1) give_up("receiving: %s", errno_name(errno));
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  close(channel[0]), close(channel[1]);
  return fd;
}

static void set_buffer(int fd, int option) {
  int small = 2048;
  setsockopt(fd, SOL_SOCKET, option, &small, sizeof small);
}

static bool is_open(int fd) {
  struct tcp_info info;
  socklen_t length = sizeof info;
  return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && info.tcpi_state == TCP_ESTABLISHED;
}

int main(void) {
  fill(bytes, size, 5, 0);
  size_t length = fits_unread(size), at = 0;
  int to[2], from[2], fd;
  if (pipe(to) || pipe(from)) give_up("pipe");
  char byte = 0;
  pid_t child = fork_pair(&fd, PAIR_V4);
  if (child == 0) {
    if (!write_all(fd, bytes, length)) end_child(1);
    set_buffer(fd, SO_SNDBUF);
    if (write(from[1], &byte, 1) != 1 || read(to[0], &byte, 1) != 1) end_child(2);
    // Nothing is sent, but for this a connection has to be TCP's.
    send(fd, "", 0, MSG_OOB);
    for (;;) pause();
  }
  if (read(from[0], &byte, 1) != 1) give_up("read");
  set_buffer(fd, SO_RCVBUF);
  if (write(to[1], &byte, 1) != 1) give_up("write");
  int path = 0;
  socklen_t size_of_path = sizeof path;
  while (lanes_expected() && getsockopt(fd, SOL_MILLRACE, MILLRACE_PATH, &path, &size_of_path) == 0 && path == 2)
    sched_yield();
  // Who sends again has read the answer.
  await_bytes(fd, 1);
  kill(child, SIGKILL);
  join_child(child);
  // The FIN comes when there is room for what precedes it.
  while (is_open(fd) && at < length) {
    ssize_t r = recv(fd, got + at, length - at < 100 ? length - at : 100, MSG_DONTWAIT);
    if (r > 0) at += (size_t)r;
    if (r == 0 || (r < 0 && errno != EAGAIN)) give_up("recv: %zd %s", r, errno_name(errno));
  }
  fd = pass(fd);
  ssize_t r;
  while ((r = recv(fd, got + at, sizeof got - at, 0)) > 0) at += (size_t)r;
  OBS("bytes", (long)at - (long)length);
  check_that("they are right", matches(got, length, 5, 0));
  OBS("then", r);
  return 0;
}
