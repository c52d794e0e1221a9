// Streams both ways at once, compared byte by byte at both ends, for as long as anybody likes.
//
//   stream serve            prints "port N"; a line "wrong ..." is a failure
//   stream ask PORT SEED    connects again and again until it is killed or told SIGTERM; a line for each connection
//
// Each connection carries as many bytes as its seed says, in pieces of any size, blocking and not. The server serves it
// with a thread, with a child, or with both in turn: a child is forked in mid-stream and goes on, and when it has ended
// so does the parent.
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIECE = 100000, STALL_MS = 60000 };
enum how { THREAD, CHILD, TURNS, HOWS };

struct header {
  uint64_t seed, up, down;
  uint32_t how, unused;
};

// How far one end has come; shared with a child that goes on.
struct progress {
  uint64_t sent, got;
  bool ended, wrong;
};

static uint64_t mix(uint64_t word) {
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
  word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
  return word ^ (word >> 31);
}

static uint64_t next(uint64_t *state) {
  return mix(*state += 0x9e3779b97f4a7c15u);
}

static unsigned char byte_at(uint64_t seed, uint64_t position) {
  return mix(seed + (position >> 3) * 0x9e3779b97f4a7c15u) >> (8 * (position & 7));
}

static size_t some_size(uint64_t *random, uint64_t most) {
  static const size_t sizes[] = {1, 13, 200, 4096, 30000, PIECE};
  uint64_t size = 1 + next(random) % sizes[next(random) % 6];
  return size < most ? size : most;
}

static bool say_wrong(const char *what, struct progress *p, uint64_t at) {
  p->wrong = true;
  printf("wrong: %s at %llu (%llu sent, %llu got, errno %d)\n", what, (unsigned long long)at,
         (unsigned long long)p->sent, (unsigned long long)p->got, errno);
  fflush(stdout);
  return false;
}

static bool put(int fd, struct progress *p, uint64_t seed, uint64_t total, uint64_t *random) {
  static _Thread_local unsigned char bytes[PIECE];
  size_t size = some_size(random, total - p->sent);
  for (size_t i = 0; i < size; i++) bytes[i] = byte_at(seed, p->sent + i);
  // A blocking call only where there is room for some of it: it must not keep this end from reading.
  bool blocks = next(random) % 4 == 0 && size < 4096;
  ssize_t r = send(fd, bytes, size, MSG_NOSIGNAL | (blocks ? 0 : MSG_DONTWAIT));
  if (r < 0) return errno == EAGAIN || errno == EINTR || !(p->ended = true);
  p->sent += r;
  return true;
}

// Which bytes of the stream came instead of those that were due.
static void tell_where(int fd, const unsigned char *bytes, size_t count, uint64_t seed, uint64_t due) {
  int path = -1, reason = -1;
  socklen_t length = sizeof path;
  if (getsockopt(fd, 0x4d4c, 1, &path, &length) || getsockopt(fd, 0x4d4c, 2, &reason, &length)) path = -1;
  printf("wrong: on path %d, reason %d, %zu bytes from %llu on", path, reason, count, (unsigned long long)due);
  for (uint64_t at = 0; count >= 8 && at < due + 4000000; at++) {
    size_t i = 0;
    while (i < count && i < 24 && bytes[i] == byte_at(seed, at + i)) i++;
    if (i >= 8) return (void)printf(" are those from %llu on\n", (unsigned long long)at);
  }
  printf(", among them");
  for (size_t i = 0; i < count && i < 40; i++) printf(" %02x", bytes[i]);
  printf("\n");
}

static bool get(int fd, struct progress *p, uint64_t seed, uint64_t total, uint64_t *random) {
  static _Thread_local unsigned char bytes[PIECE];
  size_t size = some_size(random, total - p->got);
  ssize_t r = recv(fd, bytes, size, next(random) % 2 ? MSG_DONTWAIT : 0);
  if (r < 0) return errno == EAGAIN || errno == EINTR || !(p->ended = true);
  if (r == 0) return !(p->ended = true);
  for (ssize_t i = 0; i < r; i++)
    if (bytes[i] != byte_at(seed, p->got + i))
      return tell_where(fd, bytes + i, r - i, seed, p->got + i), say_wrong("a byte", p, p->got + i);
  p->got += r;
  return true;
}

// Exchanges until `most` bytes more have gone one way or the other, or all of them. False if the stream has ended early
// or is wrong.
static bool exchange(int fd, struct progress *p, uint64_t out, uint64_t out_total, uint64_t in, uint64_t in_total,
                     uint64_t most, uint64_t *random) {
  uint64_t first = p->sent + p->got;
  while (p->sent < out_total || p->got < in_total) {
    if (p->sent + p->got - first > most) return true;
    struct pollfd one = {.fd = fd, .events = (p->sent < out_total ? POLLOUT : 0) | (p->got < in_total ? POLLIN : 0)};
    int r = poll(&one, 1, STALL_MS);
    if (r < 0 && errno == EINTR) continue;
    if (r == 0) return say_wrong("nothing moves", p, p->got);
    if (one.revents & POLLOUT && !put(fd, p, out, out_total, random)) return false;
    if (one.revents & ~POLLOUT && !get(fd, p, in, in_total, random)) return false;
  }
  return true;
}

// -- The server -------------------------------------------------------------------------------------------------

static bool serve_part(int fd, struct progress *p, const struct header *h, uint64_t most) {
  uint64_t random = h->seed ^ (p->sent + 1);
  return exchange(fd, p, h->seed + 1, h->down, h->seed, h->up, most, &random);
}

static void in_child(int fd, struct progress *p, const struct header *h, uint64_t most) {
  pid_t child = fork();
  if (child == 0) {
    serve_part(fd, p, h, most);
    if (h->how == CHILD && !p->ended && !p->wrong && send(fd, "k", 1, MSG_NOSIGNAL) != 1) p->ended = true;
    _exit(0);
  }
  if (child < 0) return (void)say_wrong("fork", p, 0);
  if (h->how == CHILD) close(fd);
  waitpid(child, NULL, 0);
}

static void *serve(void *argument) {
  int fd = (int)(intptr_t)argument;
  struct header h;
  struct progress *p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (recv(fd, &h, sizeof h, MSG_WAITALL) != sizeof h) {
    close(fd);
  } else if (h.how == CHILD) {
    in_child(fd, p, &h, UINT64_MAX);
  } else {
    uint64_t third = h.how == TURNS ? (h.up + h.down) / 3 : UINT64_MAX;
    bool goes_on = serve_part(fd, p, &h, third);
    if (goes_on && h.how == TURNS) in_child(fd, p, &h, third);
    if (goes_on && !p->ended && !p->wrong && serve_part(fd, p, &h, UINT64_MAX)) send(fd, "k", 1, MSG_NOSIGNAL);
    close(fd);
  }
  munmap(p, sizeof *p);
  return NULL;
}

static int serve_all(void) {
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof at;
  if (bind(listener, (void *)&at, length) || listen(listener, 128)) return 2;
  getsockname(listener, (void *)&at, &length);
  printf("port %d\n", ntohs(at.sin_port));
  fflush(stdout);
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  for (;;) {
    int fd = accept(listener, NULL, NULL);
    pthread_t thread;
    if (fd < 0 || pthread_create(&thread, &detached, serve, (void *)(intptr_t)fd) != 0) return 3;
  }
}

// -- The client -------------------------------------------------------------------------------------------------

static volatile sig_atomic_t stopped;
static void stop(int number) {
  (void)number;
  stopped = 1;
}

static bool ask(int port, uint64_t *random) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct progress p = {0};
  struct header h = {.seed = next(random), .how = next(random) % HOWS};
  h.up = next(random) % (next(random) % 4 ? 300000 : 4000000);
  h.down = next(random) % (next(random) % 4 ? 300000 : 4000000);
  if (connect(fd, (void *)&at, sizeof at)) return say_wrong("connect", &p, 0);
  if (send(fd, &h, sizeof h, MSG_NOSIGNAL) != sizeof h) return say_wrong("send", &p, 0);
  char verdict = 0;
  if (!exchange(fd, &p, h.seed, h.up, h.seed + 1, h.down, UINT64_MAX, random)) {
    if (!p.wrong) say_wrong("the stream ended early", &p, p.got);
  } else if (recv(fd, &verdict, 1, 0) != 1 || verdict != 'k') {
    say_wrong("no verdict", &p, p.got);
  } else if (recv(fd, &verdict, 1, 0) != 0) {
    say_wrong("no end", &p, p.got);
  }
  if (p.wrong)
    printf("wrong: seed %llx, up %llu, down %llu, served by %u\n", (unsigned long long)h.seed, (unsigned long long)h.up,
           (unsigned long long)h.down, h.how);
  close(fd);
  if (p.wrong) return false;
  printf("ok %llu\n", (unsigned long long)(h.up + h.down));
  return true;
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc == 2 && strcmp(argv[1], "serve") == 0) return serve_all();
  if (argc != 4) return 2;
  struct sigaction action = {.sa_handler = stop, .sa_flags = SA_RESTART};
  sigaction(SIGTERM, &action, NULL);
  puts("begun");
  uint64_t random = mix(strtoull(argv[3], NULL, 10) + 1);
  while (!stopped)
    if (!ask(atoi(argv[2]), &random)) return 1;
  return 0;
}
