// Urgent data: the mark, the byte out of line, POLLPRI, and the stream around it.
#include "observe.h"

static void body(int a, int b) {
  char buffer[16];
  int mark = -1, on = 1;
  setsockopt(a, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  OBS("send", send(a, "abc", 3, 0));
  OBS("send OOB", send(a, "!", 1, MSG_OOB));
  say("events %s", event_names(await_events(b, POLLPRI | POLLIN)));
  OBS("send", send(a, "def", 3, 0));
  await_bytes(b, 3);
  OBS("recv OOB", recv(b, buffer, 1, MSG_OOB));
  say("byte %c", buffer[0]);
  OBS("recv OOB again", recv(b, buffer, 1, MSG_OOB));
  OBS("recv stops at the mark", recv(b, buffer, 16, 0));
  OBS("SIOCATMARK", ioctl(b, SIOCATMARK, &mark));
  say("at mark %d", mark);
  OBS("recv", recv(b, buffer, 3, MSG_WAITALL));
  say("bytes %.3s", buffer);
  OBS("SIOCATMARK", ioctl(b, SIOCATMARK, &mark));
  say("at mark %d", mark);
  OBS("send back", send(b, "xyz", 3, 0));
  OBS("recv", recv(a, buffer, 3, MSG_WAITALL));
}

int main(void) {
  for (int flip = 0; flip < 2; flip++)
    for (int settled = 0; settled < 2; settled++) {
      int fds[2];
      make_pair(fds, PAIR_V4);
      if (settled) exchange(fds);
      say("-- after traffic %d, role %d", settled, flip);
      body(fds[flip], fds[!flip]);
      close(fds[0]), close(fds[1]);
    }
  return 0;
}
