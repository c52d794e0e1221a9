// Numbers that are used again at once, a hundred times: each connection is a new one, with nothing of the old.
#include "observe.h"

int main(void) {
  struct sockaddr_storage address;
  socklen_t length;
  int listener = make_listener(PAIR_V4, &address, &length), numbers[2] = {-1, -1};
  int same = 0;
  char buffer[32];
  for (int i = 0; i < 100; i++) {
    int fds[2] = {connect_to(PAIR_V4, &address, length), -1};
    fds[1] = accept(listener, NULL, NULL);
    if (numbers[0] == fds[0] && numbers[1] == fds[1]) same++;
    memcpy(numbers, fds, sizeof fds);
    if (i % 5 == 0)
      settle(fds);
    else
      exchange(fds);
    char text[32];
    int size = snprintf(text, sizeof text, "connection %d", i);
    send(fds[i & 1], text, (size_t)size, 0);
    if (recv(fds[!(i & 1)], buffer, (size_t)size, MSG_WAITALL) != size || memcmp(text, buffer, (size_t)size))
      say("connection %d is wrong", i);
    // Every third leaves something unread, which the next must not see.
    if (i % 3 == 0) send(fds[0], "left over", 9, 0);
    close(fds[i & 1]);
    close(fds[!(i & 1)]);
  }
  say("the same numbers %d times", same);
  return 0;
}
