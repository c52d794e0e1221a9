// Connections under a limit so low that nothing hidden fits: everything works all the same.
#include "observe.h"

int main(void) {
  int fds[2], count = 0;
  char byte;
  struct rlimit limit;
  make_pair(fds, PAIR_V4);
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max = (rlim_t)fds[0] + 2;
  OBS("setrlimit", setrlimit(RLIMIT_NOFILE, &limit));
  while (open("/dev/null", O_RDONLY) >= 0) count++;
  say("descriptors left: %d", count);
  exchange(fds);
  OBS("send", send(fds[0], "x", 1, 0));
  OBS("recv", recv(fds[1], &byte, 1, 0));
  OBS("close", close(fds[0]));
  OBS("open", open("/dev/null", O_RDONLY) >= 0);
  OBS("recv at the end", recv(fds[1], &byte, 1, 0));
  return 0;
}
