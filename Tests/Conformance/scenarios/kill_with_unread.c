// A peer that is killed with unread data: what it had written is delivered, then ECONNRESET.
#include "observe.h"

int main(void) {
  int fd;
  static char bytes[20000];
  size_t size = fits_unread(10000);
  pid_t child = fork_pair(&fd, PAIR_V4);
  if (child == 0) {
    fill(bytes, size, 3, 0);
    if (!write_all(fd, bytes, size)) end_child(1);
    await_bytes(fd, 10);
    kill(getpid(), SIGKILL);
  }
  OBS("send", send(fd, "never read", 10, 0));
  await_bytes(fd, (int)size);
  join_child(child);
  say("events %s", event_names(await_events(fd, POLLERR | POLLHUP)));
  check_that("all of it is read", read_all(fd, bytes, size) && matches(bytes, size, 3, 0));
  OBS("then", recv(fd, bytes, 1, 0));
  OBS("and then", recv(fd, bytes, 1, 0));
  OBS("send", send(fd, "x", 1, MSG_NOSIGNAL));
  return 0;
}
