/// When poll calls a stream socket writable: not at the first free byte.
#include "common.h"

#include <linux/sockios.h>

int main(void) {
  static char bytes[4096];
  struct pair ends = make_pair();
  int size = 64 << 10, small = 4096, queued = 0;
  socklen_t length = sizeof size;
  NEED(setsockopt(ends.connected, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
  NEED(setsockopt(ends.accepted, SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
  NEED(getsockopt(ends.connected, SOL_SOCKET, SO_SNDBUF, &size, &length) == 0);
  while (send(ends.connected, bytes, sizeof bytes, MSG_DONTWAIT) > 0) continue;
  saw((poll_now(ends.connected, POLLOUT) & POLLOUT) == 0, "a full socket is not writable");
  NEED(ioctl(ends.connected, SIOCOUTQ, &queued) == 0);
  int full = queued, room_but_not_writable = 0;
  while ((poll_now(ends.connected, POLLOUT) & POLLOUT) == 0) {
    if (recv(ends.accepted, bytes, 512, MSG_DONTWAIT) < 0) continue;
    NEED(ioctl(ends.connected, SIOCOUTQ, &queued) == 0);
    if (queued < full) room_but_not_writable = 1;
  }
  saw(room_but_not_writable, "it stays so while some of the bytes have gone");
  NEED(ioctl(ends.connected, SIOCOUTQ, &queued) == 0);
  saw(queued <= full - full / 4, "writable again with %d of %d bytes queued (buffer of %d with overhead)", queued, full,
      size);
  return unexpected;
}
