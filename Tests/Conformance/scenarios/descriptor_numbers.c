// Descriptor numbers are the lowest free ones: nothing hidden may take them.
#include "observe.h"

int main(void) {
  int fds[2], other[2], lowest = open("/dev/null", O_RDONLY);
  OBS("open at first", lowest);
  close(lowest);
  lane_pair(fds, PAIR_V4);
  say("the pair is %d %d", fds[0], fds[1]);
  lane_pair(other, PAIR_V6);
  say("another is %d %d", other[0], other[1]);
  for (int i = 0; i < 5; i++) {
    int fd = open("/dev/null", O_RDONLY);
    say("open = %d", fd);
    if (i == 2) close(fd);
  }
  close(fds[1]);
  OBS("socket", socket(AF_INET, SOCK_DGRAM, 0));
  int ends[2];
  pipe(ends);
  say("pipe %d %d", ends[0], ends[1]);
  OBS("epoll_create1", epoll_create1(0));
  OBS("dup", dup(0));
  FILE *file = tmpfile();
  say("tmpfile %d", fileno(file));
  return 0;
}
