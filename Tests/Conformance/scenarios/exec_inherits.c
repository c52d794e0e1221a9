// exec with a connection that survives it: the new image goes on at the same byte.
#include "observe.h"

int main(int count, char **arguments) {
  char buffer[32];
  if (count > 1) {
    int fd = atoi(arguments[1]);
    ssize_t got = recv(fd, buffer, 6, MSG_WAITALL);
    if (got != 6 || memcmp(buffer, "queued", 6)) return 21;
    if (send(fd, "from the new image", 18, 0) != 18) return 22;
    got = recv(fd, buffer, 4, MSG_WAITALL);
    return got == 4 && !memcmp(buffer, "more", 4) ? 20 : 23;
  }
  int fd;
  pid_t child = fork_pair(&fd, PAIR_V4);
  if (child == 0) {
    await_bytes(fd, 6);
    if (send(fd, "from the old image ", 19, 0) != 19) end_child(1);
    char number[16];
    snprintf(number, sizeof number, "%d", fd);
    execl("/proc/self/exe", arguments[0], number, (char *)NULL);
    end_child(2);
  }
  OBS("send", send(fd, "queued", 6, 0));
  OBS("recv", recv(fd, buffer, 19, MSG_WAITALL));
  say("bytes %.19s", buffer);
  OBS("recv", recv(fd, buffer, 18, MSG_WAITALL));
  say("bytes %.18s", buffer);
  OBS("send", send(fd, "more", 4, 0));
  OBS("recv at the end", recv(fd, buffer, 1, 0));
  join_child(child);
  return 0;
}
