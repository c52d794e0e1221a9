// The two ends in two processes: messages both ways, over IPv4, IPv6 and mapped addresses, then the end.
#include "observe.h"

int main(void) {
  static const int kinds[] = {PAIR_V4, PAIR_V6, PAIR_MAPPED, PAIR_V4 | PAIR_NONBLOCK};
  for (int k = 0; k < 4; k++) {
    int fd;
    char text[32], back[32];
    pid_t child = fork_pair(&fd, kinds[k]);
    if (child == 0) {
      for (int i = 0; i < 100; i++) {
        await_bytes(fd, 32);
        if (recv(fd, back, 32, MSG_WAITALL) != 32) end_child(1);
        back[0] = 'r';
        if (send(fd, back, 32, 0) != 32) end_child(2);
      }
      await_events(fd, POLLRDHUP);
      OBS("recv at the end", recv(fd, back, 32, 0));
      end_child(0);
    }
    int wrong = 0;
    for (int i = 0; i < 100; i++) {
      memset(text, 0, sizeof text);
      snprintf(text, sizeof text, "message %d", i);
      if (send(fd, text, 32, 0) != 32) give_up("send");
      await_bytes(fd, 32);
      text[0] = 'r';
      if (recv(fd, back, 32, MSG_WAITALL) != 32 || memcmp(text, back, 32)) wrong++;
    }
    say("kind %d: %d wrong", kinds[k], wrong);
    OBS("shutdown", shutdown(fd, SHUT_RDWR));
    join_child(child);
    close(fd);
  }
  return 0;
}
