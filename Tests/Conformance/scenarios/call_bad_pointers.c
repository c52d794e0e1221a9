// Vectors, headers and arrays that are not mapped give EFAULT, and the stream goes on.
#include "observe.h"

static void body(int a, int b) {
  void *wild = (void *)16;
  char buffer[16];
  OBS("send", send(a, "0123456789", 10, 0));
  await_bytes(b, 10);
  OBS("readv with wild vectors", readv(b, wild, 2));
  OBS("writev with wild vectors", writev(a, wild, 2));
  OBS("recvmsg with a wild header", recvmsg(b, wild, 0));
  OBS("sendmsg with a wild header", sendmsg(a, wild, 0));
  OBS("poll with a wild array", poll(wild, 1, 0));
  OBS("epoll_ctl with a wild event", epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, b, wild));
  long count = OBS("recv of what was sent", recv(b, buffer, 16, MSG_DONTWAIT));
  say("bytes %.*s", (int)count, buffer);
}

BOTH_WAYS(body)
