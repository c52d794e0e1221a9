// A child that closes every number with a loop, with closefrom or with close_range, disturbs nobody.
#include "observe.h"

static void body(int a, int b) {
  char buffer[8];
  for (int way = 0; way < 3; way++) {
    pid_t child = fork();
    if (child == 0) {
      if (way == 0)
        for (int fd = 3; fd < 1024; fd++) close(fd);
      if (way == 1) closefrom(3);
      if (way == 2) close_range(3, ~0u, 0);
      _exit(open("/dev/null", O_RDONLY));
    }
    int status = 0;
    waitpid(child, &status, 0);
    say("the child's next descriptor is %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    OBS("send", send(a, "x", 1, 0));
    OBS("recv", recv(b, buffer, 8, 0));
    OBS("send back", send(b, "y", 1, 0));
    OBS("recv", recv(a, buffer, 8, 0));
  }
  int next[2];
  lane_pair(next, PAIR_V4);
  OBS("a new connection", send(next[0], "z", 1, 0));
  OBS("recv", recv(next[1], buffer, 8, 0));
}

BOTH_WAYS(body)
