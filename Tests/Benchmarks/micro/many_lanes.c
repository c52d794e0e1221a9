/* Many connections between two processes that wait with epoll. The asking end opens IDLE + 1 connections, exchanges
   messages on each until all are on lanes (as far as there are any), and then talks on one of them only.
   It says what it has done on its standard output and waits for a line on its standard input between the steps, so that
   the harness can look at both processes in between: "started", "attached LANES", then for each line "go SECONDS" the
   round trips per second on the busy connection, and for "all COUNT" the number of lanes on which it made so many
   exchanges each, until the input ends. Usage: many_lanes serve NUMBER | many_lanes ask NUMBER IDLE */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <sys/resource.h>

#include "micro.h"

enum { MESSAGE = 64, EXCHANGES = 20, SECONDS_TO_ATTACH = 20 };

static void allow_many_descriptors(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static void watch(int set, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
}

static void serve(int listener) {
  int set = epoll_create1(EPOLL_CLOEXEC), open = 0, seen = 0;
  struct epoll_event events[64];
  char buffer[MESSAGE];
  watch(set, listener);
  while (!seen || open > 0) {
    int ready = epoll_wait(set, events, 64, -1);
    for (int i = 0; i < ready; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        int connection = accept_from(listener);
        no_delay(connection);
        watch(set, connection);
        open++;
        seen = 1;
      } else if (receive_all(fd, buffer, sizeof buffer)) {
        send_all(fd, buffer, sizeof buffer);
      } else {
        close(fd);
        open--;
      }
    }
  }
}

/* One question and its answer, waiting in epoll as a client with many connections does. */
static void exchange(int set, int fd, unsigned number) {
  struct epoll_event event;
  char sent[MESSAGE], got[MESSAGE];
  memset(sent, (int)number, sizeof sent);
  send_all(fd, sent, sizeof sent);
  while (epoll_wait(set, &event, 1, -1) < 1 || event.data.fd != fd) {
  }
  if (!receive_all(fd, got, sizeof got)) fail("the server hung up");
  if (memcmp(sent, got, sizeof got) != 0) fail("the answer differs");
}

/* Talks on every connection in turn until each has earned its lane; returns how many have one. */
static int attach_all(int set, const int *fds, int count) {
  double limit = now() + SECONDS_TO_ATTACH;
  int lanes = 0, path;
  socklen_t length = sizeof path;
  int library = getsockopt(fds[0], SOL_MILLRACE, MILLRACE_PATH, &path, &length) == 0;
  for (unsigned round = 0; lanes < count && now() < limit; round++) {
    lanes = 0;
    for (int i = 0; i < count; i++) {
      if (!on_lane(fds[i])) exchange(set, fds[i], round);
      lanes += on_lane(fds[i]);
    }
    if (!library && round == EXCHANGES) break; /* On the bare kernel no lane ever comes. */
  }
  return lanes;
}

int main(int count, char **arguments) {
  if (count < 3) return 2;
  int number = atoi(arguments[2]);
  allow_many_descriptors();
  if (strcmp(arguments[1], "serve") == 0) {
    serve(listen_at("tcp", number));
    return 0;
  }
  int connections = atoi(arguments[3]) + 1;
  char line[64];
  printf("started\n");
  fflush(stdout);
  if (!fgets(line, sizeof line, stdin)) return 0;
  int *fds = calloc((size_t)connections, sizeof *fds), set = epoll_create1(EPOLL_CLOEXEC);
  for (int i = 0; i < connections; i++) {
    fds[i] = connect_to("tcp", number);
    no_delay(fds[i]);
    watch(set, fds[i]);
  }
  printf("attached %d\n", attach_all(set, fds, connections));
  fflush(stdout);
  while (fgets(line, sizeof line, stdin)) {
    if (strncmp(line, "all ", 4) == 0) {
      int times = atoi(line + 4), lanes = 0;
      for (int i = 0; i < connections; i++) {
        if (!on_lane(fds[i])) continue;
        lanes++;
        for (int round = 0; round < times; round++) exchange(set, fds[i], (unsigned)round);
      }
      printf("%d\n", lanes);
      fflush(stdout);
      continue;
    }
    double seconds = atof(line + 3), start = now(), end = start;
    unsigned rounds = 0;
    while (end - start < seconds) {
      for (int i = 0; i < 20; i++) exchange(set, fds[0], rounds++);
      end = now();
    }
    printf("%.1f\n", rounds / (end - start));
    fflush(stdout);
  }
  return 0;
}
