// Calls of no length, with and without data queued, at the end of the stream and after it.
#include "observe.h"

static void calls(const char *when, int a, int b) {
  char buffer[4];
  struct iovec empty = {buffer, 0};
  struct msghdr message = {.msg_iov = &empty, .msg_iovlen = 1};
  say("- %s", when);
  OBS("read 0", read(b, buffer, 0));
  OBS("recv 0 DONTWAIT", recv(b, buffer, 0, MSG_DONTWAIT));
  OBS("recv 0 PEEK DONTWAIT", recv(b, buffer, 0, MSG_PEEK | MSG_DONTWAIT));
  OBS("readv 0", readv(b, &empty, 1));
  OBS("recvmsg 0 DONTWAIT", recvmsg(b, &message, MSG_DONTWAIT));
  OBS("write 0", write(a, buffer, 0));
  OBS("write 0 of nothing", write(a, NULL, 0));
  OBS("send 0", send(a, buffer, 0, MSG_NOSIGNAL));
  OBS("sendmsg 0", sendmsg(a, &message, MSG_NOSIGNAL));
}

static void body(int a, int b) {
  char buffer[4];
  signal(SIGPIPE, SIG_IGN);
  calls("nothing queued", a, b);
  OBS("send", send(a, "x", 1, 0));
  await_bytes(b, 1);
  calls("one byte queued", a, b);
  OBS("recv 0 without DONTWAIT", recv(b, buffer, 0, 0));
  OBS("recv", recv(b, buffer, 4, 0));
  OBS("shutdown", shutdown(a, SHUT_WR));
  await_events(b, POLLRDHUP);
  calls("after shutdown", a, b);
}

BOTH_WAYS(body)
