// Many connections in one process at once, each with its own bytes, opened, used and closed in various orders.
#include "observe.h"

int main(void) {
  enum { connections = 100 };
  static int fds[connections][2];
  char text[32], back[32];
  struct sockaddr_storage address;
  socklen_t length;
  int listener = make_listener(PAIR_V4, &address, &length), wrong = 0;
  for (int i = 0; i < connections; i++) {
    fds[i][0] = connect_to(PAIR_V4, &address, length);
    fds[i][1] = accept(listener, NULL, NULL);
    if (i % 4 == 0) settle(fds[i]);
  }
  for (int round = 0; round < 20; round++)
    for (int i = 0; i < connections; i++) {
      int which = (i * 31 + round) % connections, from = round & 1;
      memset(text, 0, sizeof text);
      snprintf(text, sizeof text, "%d on %d", round, which);
      if (!write_all(fds[which][from], text, 32)) wrong++;
      if (!read_all(fds[which][!from], back, 32) || memcmp(text, back, 32)) wrong++;
    }
  say("%d wrong", wrong);
  for (int i = 0; i < connections; i++) {
    int which = i * 17 % connections;
    close(fds[which][i & 1]);
    if (recv(fds[which][!(i & 1)], back, 1, 0) != 0) say("connection %d has no end", which);
    close(fds[which][!(i & 1)]);
  }
  OBS("the next number", open("/dev/null", O_RDONLY));
  return 0;
}
