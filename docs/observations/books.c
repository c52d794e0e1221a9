/// The kernel's own count of a connection's bytes, which the books of an application have to agree with.
#include "common.h"

#include <linux/sockios.h>
#include <linux/tcp.h>

static struct tcp_info info_of(int fd) {
  struct tcp_info info = {0};
  socklen_t length = sizeof info;
  NEED(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
  return info;
}

static uint64_t queued(int fd, unsigned long request) {
  int bytes = 0;
  NEED(ioctl(fd, request, &bytes) == 0);
  return (uint64_t)bytes;
}

static uint64_t written(int fd, int connected) {
  return info_of(fd).tcpi_bytes_acked + queued(fd, SIOCOUTQ) - (uint64_t)connected;
}

static uint64_t read_so_far(int fd) {
  return info_of(fd).tcpi_bytes_received - queued(fd, SIOCINQ);
}

int main(void) {
  static char bytes[1 << 16];
  struct pair ends = make_pair();
  uint64_t sent = 0, taken = 0;
  ssize_t n;
  saw(written(ends.connected, 1) == 0, "connected end, nothing written: acked + OUTQ - 1 = 0 (the SYN counts)");
  saw(written(ends.accepted, 0) == 0, "accepted end, nothing written: acked + OUTQ = 0");
  // Until both kernel buffers are full, so that bytes wait at each of the places where they can.
  while ((n = send(ends.connected, bytes, sizeof bytes, MSG_DONTWAIT)) > 0) sent += (uint64_t)n;
  saw(written(ends.connected, 1) == sent, "both buffers full: acked + OUTQ - 1 = %llu written, of which OUTQ is %llu",
      (unsigned long long)sent, (unsigned long long)queued(ends.connected, SIOCOUTQ));
  NEED(recv(ends.accepted, bytes, 1000, 0) == 1000);
  taken += 1000;
  saw(read_so_far(ends.accepted) == taken, "received - INQ = %llu read, of which INQ still holds %llu",
      (unsigned long long)taken, (unsigned long long)queued(ends.accepted, SIOCINQ));
  NEED(recv(ends.accepted, bytes, 100, MSG_PEEK) == 100);
  saw(read_so_far(ends.accepted) == taken, "MSG_PEEK counts nothing");
  NEED(send(ends.accepted, "answer", 6, 0) == 6);
  saw(written(ends.accepted, 0) == 6, "the other direction is a count of its own");
  NEED(syscall(SYS_sendto, ends.accepted, "unseen", 6, 0, NULL, 0) == 6);
  saw(written(ends.accepted, 0) == 12, "a raw system call shows in the count");
  NEED(shutdown(ends.connected, SHUT_WR) == 0);
  saw(written(ends.connected, 1) == sent + 1, "after shutdown(SHUT_WR) there is one more (the FIN)");
  return unexpected;
}
