// A program that closes every number but its connection, as daemons do: the connection goes on.
#include "observe.h"

static void close_others(int way, int keep, int also) {
  if (way == 0)
    for (int fd = 3; fd < 1024; fd++)
      if (fd != keep && fd != also) close(fd);
  int low = keep < also ? keep : also, high = keep < also ? also : keep;
  if (way == 1) {
    if (low > 3) close_range(3, (unsigned)low - 1, 0);
    if (high > low + 1) close_range((unsigned)low + 1, (unsigned)high - 1, 0);
    close_range((unsigned)high + 1, ~0u, 0);
  }
  if (way == 2) closefrom(high + 1);
}

static void body(int a, int b) {
  char buffer[8];
  for (int way = 0; way < 3; way++) {
    close_others(way, a, b);
    OBS("send", send(a, "x", 1, 0));
    OBS("recv", recv(b, buffer, 8, 0));
    OBS("send back", send(b, "y", 1, 0));
    struct pollfd one = {a, POLLIN, 0};
    OBS("poll", poll(&one, 1, 5000));
    OBS("recv", recv(a, buffer, 8, 0));
    set_timeout(a, SO_RCVTIMEO, 30);
    OBS("recv with a timeout", recv(a, buffer, 8, 0));
    set_timeout(a, SO_RCVTIMEO, 0);
    int next[2];
    make_pair(next, PAIR_V4);
    exchange(next);
    OBS("a new connection", send(next[0], "z", 1, 0));
    OBS("recv", recv(next[1], buffer, 8, 0));
    close(next[0]), close(next[1]);
  }
}

BOTH_WAYS(body)
