/* What the small benchmark programs share: loopback sockets of both families, whole transfers, and the clock.
   Everything that goes wrong ends the program with a message: a benchmark has nothing to recover. */
#ifndef MICRO_H
#define MICRO_H

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* The question that only the preloaded library answers: on which path is this connection? */
#define SOL_MILLRACE 0x4d4c
#define MILLRACE_PATH 1
#define PATH_ON_LANE 2

static inline void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static inline double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* "unix" and a number name an abstract Unix socket, "tcp" and a number a port of the loopback address. */
static inline socklen_t make_address(const char *family, int number, struct sockaddr_storage *address) {
  memset(address, 0, sizeof *address);
  if (strcmp(family, "unix") == 0) {
    struct sockaddr_un *un = (struct sockaddr_un *)address;
    un->sun_family = AF_UNIX;
    int length = snprintf(un->sun_path + 1, sizeof un->sun_path - 1, "millrace-bench-%d", number);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
  }
  struct sockaddr_in *in = (struct sockaddr_in *)address;
  in->sin_family = AF_INET;
  in->sin_port = htons((uint16_t)number);
  in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return sizeof *in;
}

static inline int listen_at(const char *family, int number) {
  struct sockaddr_storage address;
  socklen_t length = make_address(family, number, &address);
  int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  if (fd < 0) fail("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&address, length) != 0) fail("bind");
  if (listen(fd, 1024) != 0) fail("listen");
  printf("listening\n");
  fflush(stdout);
  return fd;
}

static inline int connect_to(const char *family, int number) {
  struct sockaddr_storage address;
  socklen_t length = make_address(family, number, &address);
  int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  if (connect(fd, (struct sockaddr *)&address, length) != 0) fail("connect");
  return fd;
}

static inline int accept_from(int listener) {
  int fd = accept(listener, NULL, NULL);
  if (fd < 0) fail("accept");
  return fd;
}

static inline void no_delay(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* Fails on a Unix socket, which needs it not. */
}

/* Receives exactly `size` bytes; returns 0 at the end of the stream. */
static inline int receive_all(int fd, void *buffer, size_t size) {
  size_t got = 0;
  while (got < size) {
    ssize_t count = recv(fd, (char *)buffer + got, size - got, 0);
    if (count < 0) fail("recv");
    if (count == 0) return 0;
    got += (size_t)count;
  }
  return 1;
}

static inline void send_all(int fd, const void *buffer, size_t size) {
  size_t sent = 0;
  while (sent < size) {
    ssize_t count = send(fd, (const char *)buffer + sent, size - sent, MSG_NOSIGNAL);
    if (count < 0) fail("send");
    sent += (size_t)count;
  }
}

static inline int on_lane(int fd) {
  int path = 0;
  socklen_t length = sizeof path;
  return getsockopt(fd, SOL_MILLRACE, MILLRACE_PATH, &path, &length) == 0 && path == PATH_ON_LANE;
}

#endif
