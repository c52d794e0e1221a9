/* The two ends of every small measurement in the RDMA machine. What is sent is checked.
   Usage: work serve|ask ADDRESS PORT KIND SIZE WAIT AMOUNT
   KIND   pingpong: SIZE bytes to and fro, AMOUNT times after a warm-up
          oneway:   messages of SIZE bytes from the asking end for AMOUNT milliseconds
          connect:  connect, four round trips of SIZE bytes, close, for AMOUNT milliseconds
   WAIT   block, poll, epoll (level-triggered), edge (EPOLLET)
   The warm-up of a ping-pong ends when the connection rides a lane, if it is to have one. With WORK_STOP in the
   environment each end raises SIGSTOP then, for who counts from there. The asking end prints a line of JSON; the
   serving end of a ping-pong one with its own use of the processor. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SOL_MILLRACE = 0x4d4c, MILLRACE_PATH = 1, PATH_ON_LANE = 2, WARM_UP = 300, LAST_COLD = 0x7f };
enum wait { BLOCK, POLL, EPOLL, EDGE };

static enum wait waiting;
static int set = -1, registered = -1;

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void count_from_or_to_here(void) {
  if (getenv("WORK_STOP")) raise(SIGSTOP);
}

/* Microseconds of processor time in the program itself, and in the kernel on its behalf. */
static void used(double *user, double *kernel) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  *user = (double)usage.ru_utime.tv_sec * 1e6 + (double)usage.ru_utime.tv_usec;
  *kernel = (double)usage.ru_stime.tv_sec * 1e6 + (double)usage.ru_stime.tv_usec;
}

/* RDMA packets that both devices of the pair have sent. The kernel renews the number every ten milliseconds. */
static long packets(void) {
  long total = 0;
  for (int device = 0; device < 2; device++) {
    char path[96], text[32] = "";
    snprintf(path, sizeof path, "/sys/class/infiniband/rxe%d/ports/1/hw_counters/sent_pkts", device);
    usleep(15000);
    FILE *file = fopen(path, "r");
    if (file && fgets(text, sizeof text, file)) total += atol(text);
    if (file) fclose(file);
  }
  return total;
}

static void prepare(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (waiting == BLOCK) return;
  if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) fail("fcntl");
  if (waiting == POLL) return;
  set = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN | (waiting == EDGE ? EPOLLOUT | EPOLLET : 0)};
  if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
  registered = EPOLLIN;
}

static void wait_for(int fd, int events) {
  if (waiting == BLOCK) return;
  if (waiting == POLL) {
    struct pollfd each = {.fd = fd, .events = events == EPOLLIN ? POLLIN : POLLOUT};
    if (poll(&each, 1, -1) < 0) fail("poll");
    return;
  }
  struct epoll_event event = {.events = (uint32_t)events};
  if (waiting == EPOLL && registered != events) {
    if (epoll_ctl(set, EPOLL_CTL_MOD, fd, &event) != 0) fail("epoll_ctl");
    registered = events;
  }
  if (epoll_wait(set, &event, 1, -1) < 0) fail("epoll_wait");
}

/* Receives exactly `size` bytes; returns 0 at the end of the stream. An edge is waited for only when nothing is left.
 */
static int receive_all(int fd, char *buffer, size_t size) {
  for (size_t got = 0; got < size;) {
    if (waiting != EDGE) wait_for(fd, EPOLLIN);
    ssize_t count = recv(fd, buffer + got, size - got, 0);
    if (count == 0) return 0;
    if (count < 0 && errno != EAGAIN) fail("recv");
    if (count < 0 && waiting == EDGE) wait_for(fd, EPOLLIN);
    if (count > 0) got += (size_t)count;
  }
  return 1;
}

static void send_all(int fd, const char *buffer, size_t size) {
  for (size_t sent = 0; sent < size;) {
    ssize_t count = send(fd, buffer + sent, size - sent, MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN) fail("send");
    if (count < 0) wait_for(fd, EPOLLOUT);
    if (count > 0) sent += (size_t)count;
  }
}

static struct sockaddr_in address_of(char **arguments) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[3]))};
  inet_pton(AF_INET, arguments[2], &address.sin_addr);
  return address;
}

static int connect_to(char **arguments) {
  struct sockaddr_in address = address_of(arguments);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) fail("socket");
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) fail("connect");
  return fd;
}

static int listen_at(char **arguments) {
  struct sockaddr_in address = address_of(arguments);
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  if (fd < 0) fail("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) fail("bind");
  if (listen(fd, 100) != 0) fail("listen");
  puts("listening");
  fflush(stdout);
  return fd;
}

static int on_lane(int fd) {
  int path = 0;
  socklen_t length = sizeof path;
  return getsockopt(fd, SOL_MILLRACE, MILLRACE_PATH, &path, &length) == 0 && path == PATH_ON_LANE;
}

/* Whether more rounds are wanted before anything is measured: the first ones, and those without a lane that is to come.
 */
static int is_cold(int fd, long round, double start) {
  int path = 0;
  socklen_t length = sizeof path;
  if (round < WARM_UP) return 1;
  if (getsockopt(fd, SOL_MILLRACE, MILLRACE_PATH, &path, &length) != 0 || path == PATH_ON_LANE) return 0;
  return now() - start < 15;
}

static void serve_rounds(int fd, char *buffer, size_t size) {
  double user[2] = {0}, kernel[2] = {0};
  long rounds = 0;
  int lane = 0;
  while (receive_all(fd, buffer, size)) {
    /* What is sent between two SIGSTOPs is between two of the other end's. */
    if (buffer[0] == LAST_COLD) {
      lane = on_lane(fd);
      count_from_or_to_here();
      used(&user[0], &kernel[0]);
      rounds = -1;
    }
    rounds++;
    send_all(fd, buffer, size);
  }
  used(&user[1], &kernel[1]);
  count_from_or_to_here();
  if (rounds > 0)
    printf("{\"user\": %.6f, \"kernel\": %.6f, \"lane\": %d}\n", (user[1] - user[0]) / (double)rounds,
           (kernel[1] - kernel[0]) / (double)rounds, lane);
  fflush(stdout);
}

static void serve_messages(int fd, char *buffer, size_t size) {
  uint64_t messages = 0;
  while (receive_all(fd, buffer, size)) {
    if (memcmp(buffer, &messages, sizeof messages) != 0) fail("a message is not the expected one");
    messages++;
  }
  send_all(fd, (char *)&messages, sizeof messages);
}

static void ask_once(int fd, char *buffer, size_t size, int content) {
  memset(buffer, content, size);
  send_all(fd, buffer, size);
  if (!receive_all(fd, buffer + size, size)) fail("the server hung up");
  if (memcmp(buffer, buffer + size, size) != 0) fail("the answer differs");
}

static void ask_rounds(int fd, char *buffer, size_t size, long amount) {
  double start = now(), user[2] = {0}, kernel[2] = {0};
  for (long round = 0; is_cold(fd, round, start); round++) ask_once(fd, buffer, size, (int)(round % LAST_COLD));
  ask_once(fd, buffer, size, LAST_COLD);
  int lane = on_lane(fd);
  long sent = packets();
  used(&user[0], &kernel[0]);
  count_from_or_to_here();
  start = now();
  for (long round = 0; round < amount; round++) ask_once(fd, buffer, size, (int)(round % LAST_COLD));
  double seconds = now() - start, rounds = (double)amount;
  count_from_or_to_here();
  used(&user[1], &kernel[1]);
  printf("{\"value\": %.3f, \"packets\": %.3f, \"user\": %.6f, \"kernel\": %.6f, \"lane\": %d}\n", rounds / seconds,
         (double)(packets() - sent) / rounds, (user[1] - user[0]) / rounds, (kernel[1] - kernel[0]) / rounds, lane);
}

static void ask_messages(int fd, char *buffer, size_t size, long amount) {
  uint64_t messages = 0, arrived = 0;
  long sent = packets();
  double start = now(), end = start;
  while (end - start < (double)amount / 1000) {
    for (int burst = 0; burst < 16; burst++, messages++) {
      memcpy(buffer, &messages, sizeof messages);
      send_all(fd, buffer, size);
    }
    end = now();
  }
  int lane = on_lane(fd);
  shutdown(fd, SHUT_WR);
  if (!receive_all(fd, (char *)&arrived, sizeof arrived)) fail("the server hung up");
  double seconds = now() - start;
  if (arrived != messages) fail("messages are missing");
  printf("{\"value\": %.3f, \"packets\": %.3f, \"lane\": %d}\n", (double)messages / seconds,
         (double)(packets() - sent) / (double)messages, lane);
}

static void ask_connections(char **arguments, char *buffer, size_t size, long amount) {
  long connections = 0;
  double start = now(), end = start;
  while (end - start < (double)amount / 1000) {
    int fd = connect_to(arguments);
    prepare(fd);
    for (int round = 0; round < 4; round++) {
      memset(buffer, (int)(connections & 0xff), size);
      send_all(fd, buffer, size);
      if (!receive_all(fd, buffer + size, size) || memcmp(buffer, buffer + size, size) != 0) fail("the answer differs");
    }
    close(fd);
    connections++;
    end = now();
  }
  printf("{\"value\": %.3f}\n", (double)connections / (end - start));
}

static void serve(char **arguments, const char *kind, char *buffer, size_t size) {
  int listener = listen_at(arguments), again = strcmp(kind, "connect") == 0;
  do {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) fail("accept");
    prepare(fd);
    if (strcmp(kind, "oneway") == 0) serve_messages(fd, buffer, size);
    if (strcmp(kind, "pingpong") == 0) serve_rounds(fd, buffer, size);
    while (again && receive_all(fd, buffer, size)) send_all(fd, buffer, size);
    close(fd);
    if (set >= 0) close(set);
  } while (again);
}

int main(int count, char **arguments) {
  if (count < 8) return 2;
  const char *kind = arguments[4], *names[] = {"block", "poll", "epoll", "edge"};
  size_t size = (size_t)atol(arguments[5]);
  char *buffer = calloc(2, size);
  for (enum wait each = BLOCK; each <= EDGE; each++)
    if (strcmp(arguments[6], names[each]) == 0) waiting = each;
  long amount = atol(arguments[7]);
  if (strcmp(arguments[1], "serve") == 0) {
    serve(arguments, kind, buffer, size);
    return 0;
  }
  if (strcmp(kind, "connect") == 0) {
    ask_connections(arguments, buffer, size, amount);
    return 0;
  }
  int fd = connect_to(arguments);
  prepare(fd);
  if (strcmp(kind, "oneway") == 0) ask_messages(fd, buffer, size, amount);
  if (strcmp(kind, "pingpong") == 0) ask_rounds(fd, buffer, size, amount);
  /* Some transports tell the other end nothing when a process just ends. */
  shutdown(fd, SHUT_RDWR);
  close(fd);
  return 0;
}
