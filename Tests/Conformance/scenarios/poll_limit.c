// As many descriptors in one poll as RLIMIT_NOFILE allows, with nothing left for anybody else.
#include "observe.h"

static void *answer(void *end) {
  char byte;
  int fd = *(int *)end;
  if (recv(fd, &byte, 1, 0) != 1 || send(fd, "!", 1, 0) != 1) give_up("the other end");
  return NULL;
}

static void body(int a, int b) {
  struct rlimit before, low = {2, 2};
  struct pollfd two[2] = {{.fd = a, .events = POLLIN}, {.fd = -1}};
  char byte;
  getrlimit(RLIMIT_NOFILE, &before);
  low.rlim_max = before.rlim_max;
  pthread_t thread = start_thread(answer, &b);
  if (setrlimit(RLIMIT_NOFILE, &low)) give_up("setrlimit");
  OBS("two, and nothing", poll(two, 2, 10));
  OBS("send", send(a, "?", 1, 0));
  OBS("two, and the answer", poll(two, 2, 5000));
  say("events %s", event_names((unsigned)two[0].revents));
  OBS("recv", recv(a, &byte, 1, 0));
  setrlimit(RLIMIT_NOFILE, &before);
  join_thread(thread);
}

BOTH_WAYS(body)
