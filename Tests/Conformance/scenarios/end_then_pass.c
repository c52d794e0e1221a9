// A connection is passed with SCM_RIGHTS when its peer has ended, in one of several ways, and bytes of the peer's are
// still unread: whoever receives it reads them all, and then the end.
#include "observe.h"

enum { size = 60000 };
static char bytes[size], got[size];

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

// `taken` bytes are read before the passing, the rest behind it.
static void expect_rest(int fd, size_t length, size_t taken) {
  await_fin(fd);
  OBS("read before", taken == 0 || read_all(fd, got, taken) ? (long)taken : -2);
  fd = pass(fd);
  check_that("poll says IN and RDHUP",
             (await_events(fd, POLLIN | POLLRDHUP) & (POLLIN | POLLRDHUP)) == (POLLIN | POLLRDHUP));
  check_that("the rest is read", read_all(fd, got + taken, length - taken) && matches(got, length, 5, 0));
  OBS("then", recv(fd, got, 1, 0));
  OBS("and then", recv(fd, got, 1, 0));
  OBS("send", send(fd, "x", 1, MSG_NOSIGNAL));
  await_events(fd, POLLHUP);
  OBS("send again", send(fd, "x", 1, MSG_NOSIGNAL));
  close(fd);
}

static void closed(int flip, size_t length, size_t taken, bool half_first) {
  int fds[2];
  lane_pair(fds, PAIR_V4);
  if (!write_all(fds[flip], bytes, length)) give_up("write");
  if (half_first) OBS("shutdown", shutdown(fds[flip], SHUT_WR));
  OBS("close", close(fds[flip]));
  expect_rest(fds[!flip], length, taken);
}

static void ended(size_t length, size_t taken, bool killed) {
  int fd;
  pid_t child = fork_pair(&fd, PAIR_V4);
  if (child == 0) {
    if (!write_all(fd, bytes, length)) end_child(1);
    if (killed) kill(getpid(), SIGKILL);
    end_child(0);
  }
  join_child(child);
  expect_rest(fd, length, taken);
}

int main(void) {
  fill(bytes, size, 5, 0);
  size_t length = fits_unread(size);
  for (int flip = 0; flip < 2; flip++)
    for (int half = 0; half < 2; half++) {
      say("-- the end that %s closes%s", flip ? "accepted" : "connected", half ? " behind a shutdown" : "");
      closed(flip, length, 0, half);
      closed(flip, length, 1000, half);
      closed(flip, 1, 0, half);
      closed(flip, 0, 0, half);
    }
  for (int killed = 0; killed < 2; killed++) {
    say("-- the peer %s", killed ? "is killed" : "exits");
    ended(length, 0, killed);
    ended(length, 999, killed);
  }
  return 0;
}
