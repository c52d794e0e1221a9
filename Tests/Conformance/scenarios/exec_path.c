// execvp(3) tries one directory of PATH after the other: only the first attempt may have to wait for the peer, although
// it has sent more than the kernel's buffers take, and nobody reads.
#include "observe.h"

static void child(int b) {
  char *arguments[] = {"none", NULL};
  double start = now();
  for (int i = 0; i < 200; i++) {
    if (execv("/nonexistent/none", arguments) != -1 || errno != ENOENT) give_up("execv: %s", errno_name(errno));
  }
  check_that("200 programs that are not there take less than 2 seconds", took(start, 0, 2));
  set_nonblocking(b, true);
  char buffer[4096];
  await_events(b, POLLIN);
  check_that("the stream goes on", recv(b, buffer, sizeof buffer, 0) > 0 && matches(buffer, 64, 1, 0));
  end_child(0);
}

static void body(int a, int b) {
  set_nonblocking(a, true);
  check_that("the peer has sent", write_until_full(a, 1, 0) > 0);
  pid_t pid = fork_logged();
  if (pid == 0) {
    close(a);
    child(b);
  }
  close(b);
  join_child(pid);
}

BOTH_WAYS(body)
