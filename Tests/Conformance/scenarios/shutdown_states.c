// shutdown where there is nothing to shut down.
#include "observe.h"

int main(void) {
  struct sockaddr_storage address;
  socklen_t length;
  int fresh = socket(AF_INET, SOCK_STREAM, 0), listener = make_listener(PAIR_V4, &address, &length), fds[2];
  OBS("of a fresh socket", shutdown(fresh, SHUT_RDWR));
  OBS("of a listener", shutdown(listener, SHUT_RD));
  OBS("accept afterwards", accept(listener, NULL, NULL));
  OBS("of a closed descriptor", shutdown(900, SHUT_RD));
  lane_pair(fds, PAIR_V4);
  OBS("RD", shutdown(fds[0], SHUT_RD));
  OBS("then WR", shutdown(fds[0], SHUT_WR));
  await_events(fds[1], POLLRDHUP);
  OBS("the peer's RDWR", shutdown(fds[1], SHUT_RDWR));
  await_events(fds[0], POLLHUP);
  OBS("once more", shutdown(fds[0], SHUT_RDWR));
  OBS("once more", shutdown(fds[1], SHUT_WR));
  return 0;
}
