// A connection that is passed with SCM_RIGHTS while its lane comes, at a later moment in each round: whoever receives
// it has every byte, those that nobody had read yet among them. Every other time with sendmmsg.
#include "observe.h"

enum { rounds = 120, step_microseconds = 10 };

static int pass(const int channel[2], int fd, bool several) {
  char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 'x';
  struct iovec vector = {&byte, 1};
  struct mmsghdr message = {.msg_hdr = {
                                .msg_iov = &vector,
                                .msg_iovlen = 1,
                                .msg_control = control,
                                .msg_controllen = sizeof control,
                            }};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message.msg_hdr);
  *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (several ? sendmmsg(channel[0], &message, 1, 0) != 1 : sendmsg(channel[0], &message.msg_hdr, 0) != 1)
    give_up("passing: %s", errno_name(errno));
  close(fd);
  if (recvmsg(channel[1], &message.msg_hdr, 0) != 1) give_up("receiving: %s", errno_name(errno));
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message.msg_hdr)), sizeof fd);
  return fd;
}

static void idle_for(double seconds) {
  for (double start = now(); now() - start < seconds;) sched_yield();
}

static void expect(const char *what, int fd, const char *bytes, int round) {
  char buffer[16] = {0};
  size_t length = strlen(bytes);
  if (!read_all(fd, buffer, length) || memcmp(buffer, bytes, length)) say("round %d: %s: '%.16s'", round, what, buffer);
}

int main(void) {
  int channel[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, channel)) give_up("socketpair");
  for (int flip = 0; flip < 2; flip++) {
    for (int round = 0; round < rounds; round++) {
      int fds[2];
      make_pair(fds, PAIR_V4);
      // Without waiting for its lane: that is on its way, and finds bytes that nobody reads, or has come.
      exchange(fds);
      int a = fds[flip], b = fds[!flip];
      if (!write_all(a, "queued", 6)) give_up("send");
      idle_for(round * step_microseconds * 1e-6);
      int c = pass(channel, b, round & 1);
      if (!write_all(a, "more", 4)) give_up("send");
      expect("what was sent before and behind the passing", c, "queuedmore", round);
      if (!write_all(c, "answer", 6)) give_up("send");
      expect("the answer", a, "answer", round);
      close(a);
      char byte;
      if (recv(c, &byte, 1, 0) != 0) say("round %d: no end", round);
      close(c);
    }
    say("%d times", rounds);
  }
  return 0;
}
