// FIONREAD counts what can be read; SIOCOUTQ comes down to nothing; both are refused where they mean nothing.
#include "observe.h"

static int queued(int fd) {
  int value = -1;
  if (ioctl(fd, FIONREAD, &value)) return -1;
  return value;
}

static bool flushed(int fd) {
  double start = now();
  int value = -1;
  while (now() - start < 5) {
    if (ioctl(fd, SIOCOUTQ, &value)) return false;
    if (value == 0) return true;
    sched_yield();
  }
  return false;
}

static void body(int a, int b) {
  char buffer[64];
  say("queued %d", queued(b));
  check_that("flushed at first", flushed(a));
  OBS("send", send(a, "0123456789", 10, 0));
  await_bytes(b, 10);
  say("queued %d", queued(b));
  check_that("flushed without a read", flushed(a));
  OBS("recv 3", recv(b, buffer, 3, 0));
  say("queued %d", queued(b));
  OBS("peek", recv(b, buffer, 64, MSG_PEEK));
  say("queued %d", queued(b));
  OBS("send", send(a, "abc", 3, 0));
  await_bytes(b, 10);
  say("queued %d", queued(b));
  OBS("recv", recv(b, buffer, 64, 0));
  say("queued %d", queued(b));
  int value = -1;
  OBS("SIOCINQ", ioctl(b, SIOCINQ, &value));
  say("queued %d", value);
  OBS("SIOCOUTQNSD", ioctl(b, SIOCOUTQNSD, &value));
  OBS("SIOCATMARK", ioctl(b, SIOCATMARK, &value));
  say("at mark %d", value);
  set_nonblocking(a, true);
  uint64_t sent = write_until_full(a, 1, 0), got = 0;
  set_nonblocking(b, true);
  while (got < sent) {
    await_events(b, POLLIN);
    got += read_until_empty(b, 1, got);
  }
  check_that("flushed after a drain", flushed(a));
  say("queued %d", queued(b));
  OBS("shutdown", shutdown(a, SHUT_WR));
  await_events(b, POLLRDHUP);
  say("queued at the end %d", queued(b));
}

BOTH_WAYS(body)
