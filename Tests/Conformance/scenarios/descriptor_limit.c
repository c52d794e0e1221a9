// A program that uses all descriptors that it may have gets as many as without Millrace, and its connections go on.
#include "observe.h"

int main(void) {
  struct rlimit limit;
  int fds[2], count = 0, last = -1;
  char byte;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = 64;
  OBS("setrlimit", setrlimit(RLIMIT_NOFILE, &limit));
  lane_pair(fds, PAIR_V4);
  for (;;) {
    int fd = open("/dev/null", O_RDONLY);
    if (fd < 0) break;
    count++;
    last = fd;
  }
  obs("open", -1);
  say("%d opened, the last is %d", count, last);
  OBS("send", send(fds[0], "x", 1, 0));
  OBS("recv", recv(fds[1], &byte, 1, 0));
  getrlimit(RLIMIT_NOFILE, &limit);
  say("limit %lu", (unsigned long)limit.rlim_cur);
  OBS("dup2 to the limit", dup2(0, 64));
  OBS("dup2 below it", dup2(0, 63));
  OBS("fcntl F_DUPFD at the limit", fcntl(0, F_DUPFD, 64));
  OBS("poll of more than the limit", poll((struct pollfd[65]){{0}}, 65, 0));
  return 0;
}
