// close_range over connections: closed, made close-on-exec, and what lies beside goes on.
#include "observe.h"

static void body(int a, int b) {
  char buffer[8];
  int first[2], second[2];
  lane_pair(first, PAIR_V4);
  lane_pair(second, PAIR_V4);
  dup2(first[1], 300), close(first[1]);
  dup2(second[1], 301), close(second[1]);
  OBS("close_range CLOEXEC", close_range(300, 301, CLOSE_RANGE_CLOEXEC));
  say("CLOEXEC %d %d", fcntl(300, F_GETFD), fcntl(301, F_GETFD));
  OBS("send", send(first[0], "x", 1, 0));
  OBS("recv", recv(300, buffer, 8, 0));
  OBS("close_range", close_range(300, 310, 0));
  say("the peers see %s %s", event_names(await_events(first[0], POLLIN | POLLRDHUP)),
      event_names(await_events(second[0], POLLIN | POLLRDHUP)));
  OBS("recv of a closed one", recv(301, buffer, 8, 0));
  OBS("recv", recv(first[0], buffer, 8, 0));
  OBS("close_range the wrong way round", close_range(310, 300, 0));
  OBS("close_range with a strange flag", close_range(300, 310, 999));
  OBS("the bystander sends", send(a, "y", 1, 0));
  OBS("and receives", recv(b, buffer, 8, 0));
  close(first[0]), close(second[0]);
}

BOTH_WAYS(body)
