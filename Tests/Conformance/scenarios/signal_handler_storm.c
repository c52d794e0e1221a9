// A handler that sends and receives on the very connection that its thread is busy with, at any moment: nothing is
// lost, and nobody waits for himself.
#include "observe.h"

static int handler_fd, handler_peer;
static volatile long handler_sent, handler_got;

static void handler(int number) {
  (void)number;
  int saved = errno;
  char bytes[8];
  if (write(handler_fd, "h", 1) == 1) handler_sent++;
  ssize_t got = recv(handler_peer, bytes, sizeof bytes, MSG_DONTWAIT);
  if (got > 0) handler_got += got;
  struct pollfd both[2] = {{handler_fd, POLLIN, 0}, {handler_peer, POLLIN | POLLOUT, 0}};
  poll(both, 2, 0);
  errno = saved;
}

static void body(int a, int b) {
  handler_fd = a;
  handler_peer = b;
  handler_sent = handler_got = 0;
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  set_nonblocking(a, true);
  set_nonblocking(b, true);
  struct itimerval often = {{0, 50}, {0, 50}}, never = {0};
  setitimer(ITIMER_REAL, &often, NULL);
  long sent = 0, got = 0;
  char bytes[64];
  for (double start = now(); now() - start < 1 || handler_sent < 1000;) {
    ssize_t r = send(a, "0123456789", 10, 0);
    if (r > 0) sent += r;
    r = recv(b, bytes, sizeof bytes, 0);
    if (r > 0) got += r;
  }
  setitimer(ITIMER_REAL, &never, NULL);
  close(a);
  set_nonblocking(b, false);
  for (ssize_t r; (r = recv(b, bytes, sizeof bytes, 0)) > 0;) got += r;
  check_that("all that was sent has come", sent + handler_sent == got + handler_got);
}

BOTH_WAYS(body)
