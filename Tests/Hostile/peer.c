// A hostile peer: runs one test against a victim, and says what has become of the connection.
//
//   peer --list                     the tests, a line each: name, roles, what the victim counts, what follows, and
//                                   whether it begins on a lane
//   peer NAME l                     accepts; prints "port N", to which the victim is to connect
//   peer NAME f PORT                connects to the victim
//
// It prints "done" when the deed is done, and goes on when a line comes on standard input; at the end "ok", or "failed"
// with the reason. The victim sends back what it receives. Once on the lane, it is sent HOSTILE_ORDER first, if that is
// set.
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  printf("failed: ");
  vprintf(format, arguments);
  printf("\n");
  fflush(stdout);
  _exit(1);
}

uint64_t random_word(void) {
  static uint64_t state;
  if (state == 0 && getrandom(&state, sizeof state, 0) != sizeof state) fail("no random numbers");
  state = state * 6364136223846793005u + 1442695040888963407u;
  return state >> 16;
}

void done(void) {
  printf("done\n");
  fflush(stdout);
  char c;
  if (read(0, &c, 1) != 1) _exit(2);
}

static int tcp_open(bool leads, int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof at;
  if (leads) {
    if (bind(fd, (void *)&at, length) != 0 || listen(fd, 1) != 0) fail("listen: %s", strerror(errno));
    getsockname(fd, (void *)&at, &length);
    printf("port %d\n", ntohs(at.sin_port));
    fflush(stdout);
    fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
  } else if (connect(fd, (void *)&at, length) != 0) {
    fail("connect: %s", strerror(errno));
  }
  struct timeval limit = {.tv_sec = 20};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

static void check(struct peer *p, const char *after) {
  if (strcmp(after, "exact") == 0) tcp_exchange(p, 50000);
  if (strcmp(after, "lane") == 0) lane_exchange(p, 3 * p->ring_bytes);
  if (strcmp(after, "over") == 0 && !tcp_is_over(p)) fail("the connection does not end");
}

static const struct test *const tables[] = {wireup_tests, memory_tests, cutover_tests, lane_tests};
enum { TABLES = sizeof tables / sizeof tables[0] };

static const struct test *find(const char *name) {
  for (int i = 0; i < TABLES; i++) {
    for (const struct test *t = tables[i]; t->name != NULL; t++) {
      if (strcmp(t->name, name) == 0) return t;
    }
  }
  fail("no test %s", name);
}

static int list(void) {
  for (int i = 0; i < TABLES; i++) {
    for (const struct test *t = tables[i]; t->name != NULL; t++)
      printf("%s %s %s %s %s\n", t->name, t->roles, t->counts[0] == 0 ? "-" : t->counts, t->after,
             tables[i] == lane_tests ? "lane" : "before");
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--list") == 0) return list();
  if (argc < 3) return 2;
  signal(SIGPIPE, SIG_IGN);
  const struct test *test = find(argv[1]);
  struct peer p = {.leads = argv[2][0] == 'l', .listener = -1, .bell = -1, .memory = -1, .number = test->number};
  p.tcp = tcp_open(p.leads, argc > 3 ? atoi(argv[3]) : 0);
  test->act(&p);
  done();
  stop_changing();
  check(&p, test->after);
  printf("ok\n");
  fflush(stdout);
  // Not a last word on the lane: what the peer has left behind is the victim's to live with.
  _exit(0);
}
