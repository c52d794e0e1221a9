// A connection that is passed to another process with SCM_RIGHTS goes on there at the same byte.
#include "observe.h"

static void pass(int channel, int fd) {
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec out = {"x", 1};
  struct msghdr message = {.msg_iov = &out, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  OBS("sendmsg", sendmsg(channel, &message, 0));
}

static int take(int channel) {
  char control[CMSG_SPACE(sizeof(int))] = {0}, byte;
  struct iovec in = {&byte, 1};
  struct msghdr message = {.msg_iov = &in, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  int fd = -1;
  if (recvmsg(channel, &message, 0) == 1 && CMSG_FIRSTHDR(&message))
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  return fd;
}

int main(void) {
  for (int flip = 0; flip < 2; flip++) {
    int channel[2], fds[2];
    char buffer[16];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, channel)) give_up("socketpair");
    pid_t child = fork_logged();
    if (child == 0) {
      close(channel[0]);
      int fd = take(channel[1]);
      OBS("recv", recv(fd, buffer, 6, MSG_WAITALL));
      say("bytes %.6s", buffer);
      OBS("send", send(fd, "hello", 5, 0));
      OBS("recv", recv(fd, buffer, 3, MSG_WAITALL));
      say("bytes %.3s", buffer);
      OBS("recv at the end", recv(fd, buffer, 3, 0));
      end_child(0);
    }
    close(channel[1]);
    lane_pair(fds, PAIR_V4);
    int a = fds[flip], b = fds[!flip];
    OBS("send", send(a, "queued", 6, 0));
    pass(channel[0], b);
    OBS("close", close(b));
    OBS("recv", recv(a, buffer, 5, MSG_WAITALL));
    say("bytes %.5s", buffer);
    OBS("send", send(a, "bye", 3, 0));
    OBS("shutdown", shutdown(a, SHUT_WR));
    OBS("recv at the end", recv(a, buffer, 3, 0));
    join_child(child);
    close(a), close(channel[0]);
  }
  return 0;
}
