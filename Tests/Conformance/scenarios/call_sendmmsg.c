// sendmmsg and recvmmsg.
#include "observe.h"

static void body(int a, int b) {
  char room[4][8];
  struct iovec out[4] = {{"one", 3}, {"four", 4}, {"seven", 5}, {"x", 1}};
  struct mmsghdr messages[4] = {0};
  for (int i = 0; i < 4; i++) messages[i].msg_hdr = (struct msghdr){.msg_iov = &out[i], .msg_iovlen = 1};
  OBS("sendmmsg", sendmmsg(a, messages, 4, 0));
  for (int i = 0; i < 4; i++) say("length %u", messages[i].msg_len);
  OBS("sendmmsg of none", sendmmsg(a, messages, 0, 0));
  await_bytes(b, 13);
  struct iovec in[4];
  for (int i = 0; i < 4; i++) {
    in[i] = (struct iovec){room[i], 5};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
    messages[i].msg_len = 0;
  }
  OBS("recvmmsg of two", recvmmsg(b, messages, 2, 0, NULL));
  for (int i = 0; i < 2; i++) say("length %u bytes %.*s", messages[i].msg_len, (int)messages[i].msg_len, room[i]);
  OBS("recvmmsg WAITFORONE", recvmmsg(b, messages, 4, MSG_WAITFORONE, NULL));
  say("length %u bytes %.*s", messages[0].msg_len, (int)messages[0].msg_len, room[0]);
  OBS("recvmmsg DONTWAIT empty", recvmmsg(b, messages, 4, MSG_DONTWAIT, NULL));
  send(a, "abcdefg", 7, 0);
  await_bytes(b, 7);
  struct timespec limit = {.tv_sec = 5};
  OBS("recvmmsg with a limit, DONTWAIT", recvmmsg(b, messages, 4, MSG_DONTWAIT, &limit));
  for (int i = 0; i < 2; i++) say("length %u bytes %.*s", messages[i].msg_len, (int)messages[i].msg_len, room[i]);
  shutdown(a, SHUT_WR);
  await_events(b, POLLRDHUP);
  OBS("recvmmsg at the end", recvmmsg(b, messages, 3, 0, NULL));
  say("length %u", messages[0].msg_len);
}

BOTH_WAYS(body)
