/// What the observations share: a TCP connection on loopback, and lines that say what was seen.
#ifndef OBSERVATIONS_COMMON_H
#define OBSERVATIONS_COMMON_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/// Ends the program if `ok` is false: the machinery of an observation failed, so it has seen nothing.
#define NEED(ok) ((ok) ? (void)0 : (fprintf(stderr, "line %d: %s: %s\n", __LINE__, #ok, strerror(errno)), exit(2)))

/// Says whether what the library relies on was seen, and remembers if it was not.
static int unexpected;
static inline void saw(int as_relied_on, const char *format, ...) {
  va_list list;
  va_start(list, format);
  printf("%s ", as_relied_on ? "yes" : "NO ");
  vprintf(format, list);
  putchar('\n');
  va_end(list);
  if (!as_relied_on) unexpected = 1;
}

struct pair {
  int connected, accepted;
};

/// Both ends of one TCP connection over loopback.
static inline struct pair make_pair(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  struct pair made;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  NEED(listener >= 0 && bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, 1) == 0);
  NEED(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
  made.connected = socket(AF_INET, SOCK_STREAM, 0);
  NEED(connect(made.connected, (struct sockaddr *)&address, sizeof address) == 0);
  made.accepted = accept(listener, NULL, NULL);
  NEED(made.accepted >= 0);
  close(listener);
  return made;
}

static inline void close_pair(struct pair ends) {
  close(ends.connected);
  close(ends.accepted);
}

static inline short poll_now(int fd, short events) {
  struct pollfd entry = {fd, events, 0};
  NEED(poll(&entry, 1, 0) >= 0);
  return entry.revents;
}

/// Waits until poll reports one of `events`, at most two seconds.
static inline short poll_until(int fd, short events) {
  struct pollfd entry = {fd, events, 0};
  NEED(poll(&entry, 1, 2000) >= 0);
  return entry.revents;
}

static inline double microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/// Returns once the other thread sleeps in the kernel: its state in /proc is S, several looks in a row.
static inline void wait_until_asleep(pid_t thread) {
  char path[64], text[512];
  int asleep = 0;
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
  while (asleep < 100) {
    FILE *file = fopen(path, "r");
    NEED(file != NULL);
    NEED(fgets(text, sizeof text, file) != NULL);
    fclose(file);
    const char *state = strrchr(text, ')');
    asleep = state != NULL && state[2] == 'S' ? asleep + 1 : 0;
  }
}

#endif
