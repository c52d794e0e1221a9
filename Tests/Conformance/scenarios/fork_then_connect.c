// A process that had connections forks, and the child makes connections of its own, also to its parent.
#include "observe.h"

static int talk(int fd, bool first, int rounds) {
  char message[16], back[16];
  for (int i = 0; i < rounds; i++) {
    snprintf(message, sizeof message, "round %d", i);
    if (first && !write_all(fd, message, 16)) return 1;
    if (!read_all(fd, back, 16) || strcmp(message, back)) return 2;
    if (!first && !write_all(fd, message, 16)) return 3;
  }
  return 0;
}

static void body(int a, int b) {
  struct sockaddr_storage address;
  socklen_t length;
  char byte;
  int listener = make_listener(PAIR_V4, &address, &length);
  pid_t child = fork_logged();
  if (child == 0) {
    int own[2];
    close(a), close(b), close(listener);
    int fd = connect_to(PAIR_V4, &address, length);
    settle_end(fd, true);
    say("with the parent: %d", talk(fd, true, 100));
    lane_pair(own, PAIR_V4);
    OBS("its own send", send(own[0], "x", 1, 0));
    OBS("its own recv", recv(own[1], &byte, 1, 0));
    OBS("recv at the end", recv(fd, &byte, 1, 0));
    end_child(0);
  }
  int fd = accept(listener, NULL, NULL);
  settle_end(fd, false);
  say("with the child: %d", talk(fd, false, 100));
  OBS("close", close(fd));
  join_child(child);
  OBS("the old connection: send", send(a, "x", 1, 0));
  OBS("recv", recv(b, &byte, 1, 0));
  close(listener);
}

BOTH_WAYS(body)
