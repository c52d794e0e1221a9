// A socket that is connected to itself, as Linux allows: what it sends, it receives.
#include "observe.h"

int main(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof own;
  char buffer[16];
  if (bind(fd, (struct sockaddr *)&own, sizeof own)) give_up("bind");
  getsockname(fd, (struct sockaddr *)&own, &length);
  OBS("connect", connect(fd, (struct sockaddr *)&own, sizeof own));
  int wrong = 0;
  for (int i = 0; i < 100; i++) {
    char text[16] = {0};
    snprintf(text, sizeof text, "%d", i);
    if (send(fd, text, 16, 0) != 16 || recv(fd, buffer, 16, MSG_WAITALL) != 16 || memcmp(text, buffer, 16)) wrong++;
  }
  say("%d wrong", wrong);
  OBS("recv of nothing", recv(fd, buffer, 16, MSG_DONTWAIT));
  OBS("shutdown", shutdown(fd, SHUT_WR));
  await_events(fd, POLLRDHUP);
  OBS("recv at the end", recv(fd, buffer, 16, 0));
  return 0;
}
