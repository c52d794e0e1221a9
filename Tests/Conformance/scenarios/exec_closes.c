// exec in a process whose connection is close-on-exec: the peer sees the end, not before and not never.
#include "observe.h"

int main(int count, char **arguments) {
  if (count > 1) {
    // The new image: nothing of the connection is left.
    char byte;
    if (write(atoi(arguments[1]), "x", 1) != 1) return 21;
    if (read(atoi(arguments[2]), &byte, 1) != 1) return 22;
    return 20;
  }
  int fd, up[2], down[2];
  char buffer[8];
  if (pipe(up) || pipe(down)) give_up("pipe");
  pid_t child = fork_pair(&fd, PAIR_V4);
  if (child == 0) {
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (send(fd, "last", 4, 0) != 4) end_child(1);
    char one[16], two[16];
    snprintf(one, sizeof one, "%d", up[1]);
    snprintf(two, sizeof two, "%d", down[0]);
    execl("/proc/self/exe", arguments[0], one, two, (char *)NULL);
    end_child(2);
  }
  OBS("the image is replaced", read(up[0], buffer, 1));
  say("events %s", event_names(await_events(fd, POLLIN | POLLRDHUP)));
  OBS("recv", recv(fd, buffer, 8, 0));
  OBS("recv at the end", recv(fd, buffer, 8, 0));
  if (write(down[1], "x", 1) != 1) give_up("pipe");
  join_child(child);
  return 0;
}
