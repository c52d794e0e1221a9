// sendto on a connected socket: an address is accepted and ignored, of whatever family it is.
#include "observe.h"

static void body(int a, int b) {
  char buffer[64];
  struct sockaddr_in peer, other = {.sin_family = AF_INET, .sin_port = htons(9)};
  socklen_t length = sizeof peer;
  getpeername(a, (struct sockaddr *)&peer, &length);
  other.sin_addr.s_addr = htonl(0x0a000001);
  OBS("sendto the peer", sendto(a, "one ", 4, 0, (struct sockaddr *)&peer, sizeof peer));
  OBS("sendto nobody", sendto(a, "two ", 4, 0, NULL, 0));
  OBS("sendto another address", sendto(a, "three ", 6, 0, (struct sockaddr *)&other, sizeof other));
  OBS("sendto NULL with a length", sendto(a, "four ", 5, 0, NULL, 16));
  OBS("sendto with an absurd length", sendto(a, "five ", 5, 0, (struct sockaddr *)&other, 4096));
  await_bytes(b, 14);
  long count = OBS("recv", recv(b, buffer, sizeof buffer, MSG_DONTWAIT));
  say("bytes %.*s", (int)count, buffer);
}

BOTH_WAYS(body)
