// One poll over connections, pipes, a listener, UDP, a Unix pair, a timer and a file: each shows only its own events.
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include "observe.h"

int main(void) {
  enum { lanes = 3, others = 6, all = lanes + others };
  int fds[lanes][2], ends[2], unix_pair[2];
  char byte;
  struct sockaddr_storage address;
  socklen_t length;
  for (int i = 0; i < lanes; i++) lane_pair(fds[i], PAIR_V4);
  if (pipe(ends) || socketpair(AF_UNIX, SOCK_STREAM, 0, unix_pair)) give_up("pipe");
  int listener = make_listener(PAIR_V4, &address, &length);
  int udp = socket(AF_INET, SOCK_DGRAM, 0), event = eventfd(0, 0), timer = timerfd_create(CLOCK_MONOTONIC, 0);
  struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  bind(udp, (struct sockaddr *)&local, sizeof local);
  socklen_t udp_length = sizeof local;
  getsockname(udp, (struct sockaddr *)&local, &udp_length);
  struct pollfd set[all] = {{fds[0][1], POLLIN, 0}, {ends[0], POLLIN, 0},      {fds[1][1], POLLIN, 0},
                            {listener, POLLIN, 0},  {udp, POLLIN, 0},          {fds[2][0], POLLIN, 0},
                            {event, POLLIN, 0},     {unix_pair[0], POLLIN, 0}, {timer, POLLIN, 0}};
  OBS("nothing", poll(set, all, 0));
  for (int cause = 0; cause < all; cause++) {
    int guest = -1;
    if (cause == 0) send(fds[0][0], "x", 1, 0);
    if (cause == 1 && write(ends[1], "x", 1) != 1) give_up("pipe");
    if (cause == 2) send(fds[1][0], "x", 1, 0);
    if (cause == 3) guest = connect_to(PAIR_V4, &address, length);
    if (cause == 4) sendto(udp, "x", 1, 0, (struct sockaddr *)&local, sizeof local);
    if (cause == 5) send(fds[2][1], "x", 1, 0);
    if (cause == 6) eventfd_write(event, 1);
    if (cause == 7) send(unix_pair[1], "x", 1, 0);
    if (cause == 8) timerfd_settime(timer, 0, &(struct itimerspec){.it_value.tv_nsec = 1000000}, NULL);
    OBS("poll", poll(set, all, 5000));
    for (int i = 0; i < all; i++)
      if (set[i].revents) say("cause %d entry %d %s", cause, i, event_names(set[i].revents));
    if (cause == 3) {
      close(accept(listener, NULL, NULL));
      close(guest);
    } else if (cause == 6 || cause == 8) {
      uint64_t count;
      OBS("read", read(set[cause].fd, &count, 8));
    } else {
      OBS("read", read(set[cause].fd, &byte, 1));
    }
    OBS("nothing", poll(set, all, 0));
  }
  for (int i = 0; i < lanes; i++) send(fds[i][i < 2 ? 0 : 1], "x", 1, 0);
  for (int i = 0; i < lanes; i++) await_bytes(fds[i][i < 2 ? 1 : 0], 1);
  if (write(ends[1], "x", 1) != 1) give_up("pipe");
  eventfd_write(event, 1);
  OBS("five at once", poll(set, all, 5000));
  for (int i = 0; i < all; i++) say("entry %d %s", i, event_names(set[i].revents));
  return 0;
}
