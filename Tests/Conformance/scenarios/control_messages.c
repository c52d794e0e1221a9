// Options that make recvmsg deliver control messages: TCP_INQ tells what is left in the queue.
#include "observe.h"

#ifndef TCP_INQ
#define TCP_INQ 36
#endif

int main(void) {
  for (int flip = 0; flip < 2; flip++) {
    int fds[2], on = 1;
    char buffer[8], control[256];
    make_pair(fds, PAIR_V4);
    int a = fds[flip], b = fds[!flip];
    OBS("TCP_INQ", setsockopt(b, IPPROTO_TCP, TCP_INQ, &on, sizeof on));
    exchange(fds);
    OBS("send", send(a, "abcdefghij", 10, 0));
    await_bytes(b, 10);
    for (int i = 0; i < 3; i++) {
      struct iovec in = {buffer, 4};
      struct msghdr message = {
          .msg_iov = &in, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
      OBS("recvmsg", recvmsg(b, &message, 0));
      struct cmsghdr *header = CMSG_FIRSTHDR(&message);
      int left = -1;
      if (header) memcpy(&left, CMSG_DATA(header), sizeof left);
      say("control message %d %d: %d", header ? header->cmsg_level : -1, header ? header->cmsg_type : -1, left);
    }
    close(a), close(b);
  }
  return 0;
}
