// MSG_DONTWAIT on a blocking socket, both directions, and the descriptor stays blocking.
#include "observe.h"

static void body(int a, int b) {
  static char chunk[65536];
  char byte;
  OBS("recv DONTWAIT", recv(b, &byte, 1, MSG_DONTWAIT));
  uint64_t sent = 0, got = 0;
  ssize_t count;
  do {
    fill(chunk, sizeof chunk, 5, sent);
    count = send(a, chunk, sizeof chunk, MSG_DONTWAIT);
    if (count > 0) sent += (uint64_t)count;
  } while (count > 0);
  obs("send DONTWAIT when full", count);
  check_that("something was sent", sent > 0);
  check_that("not writable", ready(a, POLLOUT) == 0);
  check_that("still blocking", !(fcntl(a, F_GETFL) & O_NONBLOCK));
  while (got < sent) {
    await_events(b, POLLIN);
    count = recv(b, chunk, sizeof chunk, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) continue;
    if (count <= 0 || !matches(chunk, (size_t)count, 5, got)) give_up("wrong bytes");
    got += (uint64_t)count;
  }
  check_that("all arrived", got == sent);
  check_that("writable again", await_events(a, POLLOUT) == POLLOUT);
  OBS("recv DONTWAIT", recv(b, &byte, 1, MSG_DONTWAIT));
}

BOTH_WAYS(body)
