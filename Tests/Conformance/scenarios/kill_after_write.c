// A peer that is killed: what it had written is delivered, then the stream ends (nothing was unread there).
#include "observe.h"

int main(void) {
  int fd;
  static char bytes[60000];
  size_t size = fits_unread(sizeof bytes);
  pid_t child = fork_pair(&fd, PAIR_V4);
  if (child == 0) {
    fill(bytes, size, 3, 0);
    if (!write_all(fd, bytes, size)) end_child(1);
    kill(getpid(), SIGKILL);
  }
  join_child(child);
  say("events %s", event_names(await_events(fd, POLLIN | POLLRDHUP)));
  check_that("all of it is read", read_all(fd, bytes, size) && matches(bytes, size, 3, 0));
  OBS("then", recv(fd, bytes, 1, 0));
  OBS("and then", recv(fd, bytes, 1, 0));
  OBS("send", send(fd, "x", 1, MSG_NOSIGNAL));
  await_events(fd, POLLHUP);
  OBS("send again", send(fd, "x", 1, MSG_NOSIGNAL));
  return 0;
}
