// The kinds of connection that ride lanes, one after the other: IPv4, IPv6, mapped; and both ends in one thread.
#include "observe.h"

int main(void) {
  static const int kinds[] = {PAIR_V4, PAIR_V6, PAIR_MAPPED, PAIR_V4 | PAIR_NONBLOCK, PAIR_V6 | PAIR_NONBLOCK};
  for (int k = 0; k < 5; k++) {
    int fds[2];
    char text[16], back[16];
    lane_pair(fds, kinds[k]);
    int wrong = 0;
    for (int i = 0; i < 1000; i++) {
      memset(text, 0, sizeof text);
      snprintf(text, sizeof text, "%d", i);
      if (!write_all(fds[i & 1], text, 16)) wrong++;
      await_bytes(fds[!(i & 1)], 16);
      if (!read_all(fds[!(i & 1)], back, 16) || memcmp(text, back, 16)) wrong++;
    }
    say("kind %d: %d wrong", kinds[k], wrong);
    OBS("close", close(fds[0]));
    await_events(fds[1], POLLRDHUP);
    OBS("recv at the end", recv(fds[1], back, 16, 0));
    close(fds[1]);
  }
  return 0;
}
