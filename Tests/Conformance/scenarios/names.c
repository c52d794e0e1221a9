// getsockname and getpeername, over IPv4, IPv6 and mapped addresses, with room and without.
#include "observe.h"

static void show(const char *what, int result, const struct sockaddr_storage *address, socklen_t length) {
  char text[64] = "?";
  if (address->ss_family == AF_INET) inet_ntop(AF_INET, &((struct sockaddr_in *)address)->sin_addr, text, sizeof text);
  if (address->ss_family == AF_INET6)
    inet_ntop(AF_INET6, &((struct sockaddr_in6 *)address)->sin6_addr, text, sizeof text);
  say("%s = %d family %d length %u %s", what, result, address->ss_family, length, text);
}

int main(void) {
  static const int kinds[] = {PAIR_V4, PAIR_V6, PAIR_MAPPED};
  for (int k = 0; k < 3; k++) {
    int fds[2];
    struct sockaddr_storage own[2], peer[2];
    lane_pair(fds, kinds[k]);
    for (int i = 0; i < 2; i++) {
      socklen_t length = sizeof own[i];
      memset(&own[i], 0, sizeof own[i]);
      int result = getsockname(fds[i], (struct sockaddr *)&own[i], &length);
      show("getsockname", result, &own[i], length);
      length = sizeof peer[i];
      memset(&peer[i], 0, sizeof peer[i]);
      result = getpeername(fds[i], (struct sockaddr *)&peer[i], &length);
      show("getpeername", result, &peer[i], length);
      length = 4;
      OBS("with little room", getpeername(fds[i], (struct sockaddr *)&peer[i], &length));
      say("length %u", length);
    }
    in_port_t ports[4] = {((struct sockaddr_in *)&own[0])->sin_port, ((struct sockaddr_in *)&peer[1])->sin_port,
                          ((struct sockaddr_in *)&own[1])->sin_port, ((struct sockaddr_in *)&peer[0])->sin_port};
    check_that("the ports agree", ports[0] == ports[1] && ports[2] == ports[3]);
    OBS("send", send(fds[0], "x", 1, 0));
    OBS("recv", recv(fds[1], (char[4]){0}, 4, 0));
    close(fds[0]);
    await_events(fds[1], POLLRDHUP);
    socklen_t length = sizeof peer[0];
    OBS("getpeername at the end", getpeername(fds[1], (struct sockaddr *)&peer[0], &length));
  }
  return 0;
}
