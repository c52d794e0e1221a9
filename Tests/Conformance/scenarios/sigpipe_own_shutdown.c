// SIGPIPE goes to the thread that wrote, also when it was this end that shut down; by default it kills.
#include "observe.h"

static void body(int a, int b) {
  (void)b;
  sigset_t set, pending;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  OBS("shutdown WR", shutdown(a, SHUT_WR));
  sigprocmask(SIG_BLOCK, &set, NULL);
  OBS("send", send(a, "x", 1, 0));
  sigpending(&pending);
  check_that("SIGPIPE is pending", sigismember(&pending, SIGPIPE) == 1);
  say("sigwait %d", sigtimedwait(&set, NULL, &(struct timespec){0}));
  OBS("send NOSIGNAL", send(a, "x", 1, MSG_NOSIGNAL));
  sigpending(&pending);
  check_that("SIGPIPE is pending", sigismember(&pending, SIGPIPE) == 1);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static int one_way(int flip) {
  int fds[2];
  lane_pair(fds, PAIR_V4);
  body(fds[flip], fds[!flip]);
  return fds[flip];
}

int main(void) {
  one_way(0);
  one_way(1);
  pid_t child = fork_logged();
  if (child == 0) {
    int fd = one_way(0);
    send(fd, "x", 1, 0);
    say("still alive");
    end_child(0);
  }
  join_child(child);
  return 0;
}
