// MSG_ZEROCOPY with and without SO_ZEROCOPY: the stream, and the notice in the error queue.
#include "observe.h"

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif
#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY 0x4000000
#endif

int main(void) {
  for (int flip = 0; flip < 2; flip++) {
    int fds[2], on = 1;
    static char bytes[8000], back[8000], control[256];
    make_pair(fds, PAIR_V4);
    int a = fds[flip], b = fds[!flip];
    fill(bytes, sizeof bytes, 2, 0);
    OBS("send ZEROCOPY without the option", send(a, bytes, 3000, MSG_ZEROCOPY));
    OBS("recv", recv(b, back, 3000, MSG_WAITALL));
    OBS("SO_ZEROCOPY", setsockopt(a, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on));
    exchange(fds);
    OBS("send ZEROCOPY", send(a, bytes, sizeof bytes, MSG_ZEROCOPY));
    OBS("recv", recv(b, back, sizeof back, MSG_WAITALL));
    check_that("bytes match", !memcmp(bytes, back, sizeof bytes));
    say("events %s", event_names(await_events(a, POLLERR)));
    struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
    OBS("recvmsg ERRQUEUE", recvmsg(a, &message, MSG_ERRQUEUE));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    say("control message %d %d", header ? header->cmsg_level : -1, header ? header->cmsg_type : -1);
    OBS("recvmsg ERRQUEUE again", recvmsg(a, &message, MSG_ERRQUEUE));
    OBS("send", send(a, "x", 1, 0));
    OBS("recv", recv(b, back, 1, 0));
    close(a), close(b);
  }
  return 0;
}
