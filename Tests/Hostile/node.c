// The honest program: the victim, and the partner of its honest connection. It echoes what comes on every connection
// but the driven one, on which it sends blocks of random bytes and compares what comes back.
//
//   node epoll|threads
//
// One thread with an epoll set (so that whatever holds up one connection holds up all), or one thread with blocking
// calls for each connection; there, what comes as "fork2" has a child take over the connection, which its parent keeps,
// and "fork1" one which its parent closes.
// Commands come on standard input: "connect PORT", "drive PORT", "report", "quit".
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 40000, PACE_NS = 2000000 };

struct connection {
  int fd;
  bool driven;
  size_t have, sent, got;
  uint64_t began;
  unsigned char bytes[MOST], back[MOST];
};

static bool threads;
static int set;
static atomic_long rounds, wrong, ended, failed, open_now;
static atomic_ulong worst;
static uint64_t seed = 88172645463325252u;
static struct connection *driven;

static void die(const char *what) {
  perror(what);
  exit(3);
}

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000u + t.tv_nsec;
}

static uint64_t rnd(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  return seed ^= seed << 17;
}

static void fill(struct connection *c) {
  c->have = 1 + rnd() % (MOST - 1);
  for (size_t i = 0; i < c->have; i++) c->bytes[i] = rnd();
  c->sent = c->got = 0;
  c->began = now();
}

static void round_done(struct connection *c) {
  uint64_t took = (now() - c->began) / 1000, old = worst;
  while (took > old && !atomic_compare_exchange_weak(&worst, &old, took)) continue;
  if (memcmp(c->bytes, c->back, c->have) != 0) wrong++;
  rounds++;
  c->have = 0;
}

// The connection has ended (0) or failed (-1). The honest one must do neither.
static void over(struct connection *c, long result) {
  if (c->driven) {
    wrong++;
    driven = NULL;
  }
  if (result == 0)
    ended++;
  else
    failed++;
  open_now--;
  close(c->fd);
  free(c);
}

// One thread for all.

static void watch(struct connection *c, int op, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = c};
  if (epoll_ctl(set, op, c->fd, &event) != 0) die("epoll_ctl");
}

static bool soft(long result) {
  return result < 0 && (errno == EAGAIN || errno == EINTR);
}

// Sends what is due. False if the connection is over.
static bool push(struct connection *c) {
  while (c->sent < c->have) {
    ssize_t r = send(c->fd, c->bytes + c->sent, c->have - c->sent, MSG_NOSIGNAL);
    if (soft(r)) {
      watch(c, EPOLL_CTL_MOD, EPOLLOUT | (c->driven ? EPOLLIN : 0));
      return true;
    }
    if (r < 0) return over(c, -1), false;
    c->sent += r;
  }
  if (!c->driven) c->have = c->sent = 0;
  watch(c, EPOLL_CTL_MOD, EPOLLIN);
  return true;
}

static void pull(struct connection *c) {
  if (!c->driven && c->have > 0) return;
  unsigned char *into = c->driven ? c->back + c->got : c->bytes;
  ssize_t r = recv(c->fd, into, c->driven ? c->have - c->got : MOST, 0);
  if (soft(r)) return;
  if (r <= 0) return over(c, r);
  if (!c->driven) {
    c->have = r;
    push(c);
  } else if ((c->got += r) == c->have) {
    round_done(c);
    watch(c, EPOLL_CTL_MOD, 0);
  }
}

static void handle(struct connection *c, uint32_t events) {
  if (events & EPOLLOUT && !push(c)) return;
  if (events & ~EPOLLOUT) pull(c);
}

// A thread for each.

static long all(struct connection *c, bool sends, size_t count) {
  for (size_t done = 0; done < count;) {
    ssize_t r =
        sends ? send(c->fd, c->bytes + done, count - done, MSG_NOSIGNAL) : recv(c->fd, c->back + done, count - done, 0);
    if (r < 0 && errno == EINTR) continue;
    if (r <= 0) return r;
    done += r;
  }
  return count;
}

// A child takes over in the middle: the two share the connection, and whatever is on it, from now on.
static void hand_over(struct connection *c, bool keeps) {
  pid_t child = fork();
  if (child != 0) {
    // The child is not reaped, which can take the kernel seconds while somebody looks through /proc.
    siginfo_t end = {0};
    if (!keeps) close(c->fd);
    if (child < 0 || waitid(P_PID, child, &end, WEXITED | WNOWAIT) != 0) wrong++;
    if (end.si_code != CLD_EXITED || end.si_status != 0) wrong++;
    if (keeps) close(c->fd);
    ended++;
    open_now--;
    free(c);
    pthread_exit(NULL);
  }
}

static void *own_thread(void *argument) {
  struct connection *c = argument;
  pid_t self = getpid();
  long r = 1;
  while (r > 0) {
    if (c->driven) {
      nanosleep(&(struct timespec){.tv_nsec = PACE_NS}, NULL);
      fill(c);
      r = all(c, true, c->have);
      if (r > 0) r = all(c, false, c->have);
      if (r > 0) round_done(c);
    } else {
      r = recv(c->fd, c->bytes, MOST, 0);
      if (r < 0 && errno == EINTR) {
        r = 1;
        continue;
      }
      if (r == 5 && getpid() == self && memcmp(c->bytes, "fork", 4) == 0) hand_over(c, c->bytes[4] == '2');
      if (r > 0) r = all(c, true, r);
    }
  }
  if (getpid() != self) _exit(0);
  over(c, r);
  return NULL;
}

// Both.

static void start(int fd, bool drives) {
  struct connection *c = calloc(1, sizeof *c);
  *c = (struct connection){.fd = fd, .driven = drives};
  if (drives) driven = c;
  open_now++;
  pthread_t thread;
  if (threads) {
    if (pthread_create(&thread, NULL, own_thread, c) != 0) die("pthread_create");
    pthread_detach(thread);
    return;
  }
  fcntl(fd, F_SETFL, O_NONBLOCK);
  watch(c, EPOLL_CTL_ADD, drives ? 0 : EPOLLIN);
}

static void call(int port, bool drives) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (connect(fd, (void *)&to, sizeof to) != 0) die("connect");
  start(fd, drives);
}

static void command(char *line) {
  int port = atoi(strchrnul(line, ' '));
  if (strncmp(line, "connect", 7) == 0)
    call(port, false);
  else if (strncmp(line, "drive", 5) == 0)
    call(port, true);
  else if (strncmp(line, "quit", 4) == 0)
    exit(wrong != 0);
  printf("rounds=%ld worst=%lu wrong=%ld ended=%ld failed=%ld open=%ld\n", rounds, atomic_exchange(&worst, 0), wrong,
         ended, failed, open_now);
  fflush(stdout);
}

// Commands are read byte by byte from the descriptor: nothing waits in a buffer of stdio's.
static bool read_command(void) {
  static char line[80];
  static size_t used;
  if (read(0, line + used, 1) <= 0) return false;
  if (line[used++] != '\n') return true;
  line[used - 1] = 0;
  used = 0;
  command(line);
  return true;
}

static void *accept_all(void *argument) {
  for (int fd; (fd = accept4(*(int *)argument, NULL, NULL, SOCK_CLOEXEC)) >= 0;) start(fd, false);
  return NULL;
}

static void loop(int listener) {
  set = epoll_create1(EPOLL_CLOEXEC);
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  struct itimerspec pace = {{0, PACE_NS}, {0, PACE_NS}};
  timerfd_settime(timer, 0, &pace, NULL);
  int plain[] = {0, timer, listener};
  for (int i = 0; i < 3; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &plain[i]};
    epoll_ctl(set, EPOLL_CTL_ADD, plain[i], &event);
  }
  while (true) {
    // One at a time: an event that was fetched earlier could be about a connection that is freed by now.
    struct epoll_event event;
    if (epoll_wait(set, &event, 1, -1) != 1) continue;
    if (event.data.ptr == &plain[0]) {
      if (!read_command()) return;
    } else if (event.data.ptr == &plain[1]) {
      uint64_t ticks;
      if (read(timer, &ticks, sizeof ticks) < 0 || driven == NULL || driven->have > 0) continue;
      fill(driven);
      push(driven);
    } else if (event.data.ptr == &plain[2]) {
      start(accept4(listener, NULL, NULL, SOCK_CLOEXEC), false);
    } else {
      handle(event.data.ptr, event.events);
    }
  }
}

int main(int argc, char **argv) {
  threads = argc > 1 && strcmp(argv[1], "threads") == 0;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof at;
  if (bind(listener, (void *)&at, length) != 0 || listen(listener, 64) != 0) die("listen");
  getsockname(listener, (void *)&at, &length);
  printf("port %d\n", ntohs(at.sin_port));
  fflush(stdout);
  if (!threads) {
    loop(listener);
    return 4;
  }
  pthread_t acceptor;
  pthread_create(&acceptor, NULL, accept_all, &listener);
  while (read_command()) continue;
  return 4;
}
