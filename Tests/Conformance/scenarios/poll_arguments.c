// Duplicate entries, negative descriptors, empty arrays, many entries, and timeouts.
#include "observe.h"

static void body(int a, int b) {
  struct pollfd set[6] = {{b, POLLIN, 77}, {-1, POLLIN, 77}, {b, POLLIN | POLLOUT, 77},
                          {a, POLLIN, 77}, {b, 0, 77},       {b, POLLRDHUP, 77}};
  OBS("poll before data", poll(set, 6, 0));
  for (int i = 0; i < 6; i++) say("entry %d %s", i, event_names(set[i].revents));
  OBS("send", send(a, "x", 1, 0));
  await_bytes(b, 1);
  OBS("poll", poll(set, 6, -1));
  for (int i = 0; i < 6; i++) say("entry %d %s", i, event_names(set[i].revents));
  double start = now();
  OBS("poll of nothing", poll(NULL, 0, 60));
  check_that("it took the time", took(start, 0.05, 2));
  start = now();
  OBS("poll of a quiet lane", poll(&set[3], 1, 60));
  check_that("it took the time", took(start, 0.05, 2));
  struct timespec time = {.tv_nsec = 60000000};
  start = now();
  OBS("ppoll of a quiet lane", ppoll(&set[3], 1, &time, NULL));
  check_that("it took the time", took(start, 0.05, 2));
  check_that("ppoll leaves its time alone", time.tv_nsec == 60000000);
  OBS("ppoll with a bad time", ppoll(&set[3], 1, &(struct timespec){.tv_nsec = -1}, NULL));
  struct pollfd *many = calloc(2000, sizeof *many);
  for (int i = 0; i < 2000; i++) many[i] = (struct pollfd){.fd = i % 3 ? -1 : b, .events = POLLIN};
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= 2000)
    OBS("poll of 2000", poll(many, 2000, 0));
  else
    say("poll of 2000 = 667");
  free(many);
  OBS("poll with an absurd count", poll(set, (nfds_t)-1, 0));
}

BOTH_WAYS(body)
