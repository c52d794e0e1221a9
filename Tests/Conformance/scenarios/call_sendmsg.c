// sendmsg: vectors, a name that is ignored, control messages that mean nothing here and one that is malformed.
#include "observe.h"

static void body(int a, int b) {
  char buffer[64];
  struct sockaddr_in peer;
  socklen_t length = sizeof peer;
  getpeername(a, (struct sockaddr *)&peer, &length);
  struct iovec out[3] = {{"ab", 2}, {"", 0}, {"cde", 3}};
  struct msghdr message = {.msg_iov = out, .msg_iovlen = 3};
  OBS("sendmsg", sendmsg(a, &message, 0));
  message.msg_name = &peer;
  message.msg_namelen = sizeof peer;
  OBS("sendmsg with a name", sendmsg(a, &message, MSG_NOSIGNAL));
  message.msg_flags = MSG_OOB;
  OBS("sendmsg with a flag in the header", sendmsg(a, &message, 0));
  message.msg_iovlen = 0;
  OBS("sendmsg of no vector", sendmsg(a, &message, 0));
  message.msg_iovlen = IOV_MAX + 1;
  OBS("sendmsg of too many vectors", sendmsg(a, &message, 0));
  await_bytes(b, 15);
  long count = OBS("recv", recv(b, buffer, sizeof buffer, MSG_DONTWAIT));
  say("bytes %.*s", (int)count, buffer);
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct cmsghdr *header = (struct cmsghdr *)control;
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = 0x7777;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  message = (struct msghdr){.msg_iov = out, .msg_iovlen = 3, .msg_control = control, .msg_controllen = sizeof control};
  OBS("sendmsg with an unknown control message", sendmsg(a, &message, 0));
  header->cmsg_len = 1;
  OBS("sendmsg with a malformed control message", sendmsg(a, &message, 0));
  OBS("recv", recv(b, buffer, sizeof buffer, MSG_DONTWAIT));
}

BOTH_WAYS(body)
