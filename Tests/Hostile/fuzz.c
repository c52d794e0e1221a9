// A hostile peer that a seed makes: it wires up, goes through as much of the cutover as the seed says, and then does
// what it likes to the words in shared memory, the rings, the bell and the kernel stream.
//
// A line "SEED l" or "SEED f PORT" on standard input is one peer, a process of its own; for one that leads "port N"
// says where the victim is to connect. "end" follows when it is gone. What becomes of its own connection does not
// matter.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "peer.h"

// Longer than any honest step takes on a busy machine; a peer that waits in vain is one that the victim has seen
// through.
enum { WIRE_MS = 2000, ACTIONS_MS = 100 };

static uint64_t state;

uint64_t random_word(void) {
  uint64_t word = state += 0x9e3779b97f4a7c15u;
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
  word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
  return word ^ (word >> 31);
}

static uint64_t below(uint64_t limit) {
  return random_word() % limit;
}

void fail(const char *format, ...) {
  (void)format;
  _exit(0);
}

static void limit_time(int ms) {
  struct itimerval timer = {.it_value = {ms / 1000, ms % 1000 * 1000}};
  setitimer(ITIMER_REAL, &timer, NULL);
}

// -- What it does -------------------------------------------------------------------------------------------------

// A value that is nearly right, or not at all.
static uint64_t some_value(struct peer *p) {
  const uint64_t near[] = {p->own->tail,
                           p->own->head,
                           p->other->tail,
                           p->other->head,
                           p->ring_bytes,
                           p->written,
                           p->received,
                           p->own->cut,
                           p->other->cut,
                           0,
                           1,
                           (uint64_t)1 << 63,
                           UINT64_MAX,
                           UINT32_MAX};
  uint64_t value = near[below(sizeof near / sizeof near[0])];
  switch (below(5)) {
    case 0: return random_word();
    case 1: return value + below(40) - 20;
    case 2: return value + (below(3) - 1) * p->ring_bytes;
    case 3: return value ^ (uint64_t)1 << below(64);
    default: return value;
  }
}

static void change_word(struct peer *p) {
  uint64_t value = some_value(p);
  struct side *side = below(4) ? p->own : p->other;
  switch (below(11)) {
    case 0: side->tail = value; break;
    case 1: side->head = value; break;
    case 2: side->finish = value; break;
    case 3: side->reader_arm = value; break;
    case 4: side->writer_arm = value; break;
    case 5: side->reader_ticket = value; break;
    case 6: side->cut = value; break;
    case 7: side->fixed_cut = value; break;
    case 8: side->records_taken = value; break;
    case 9: p->page->stage = below(6); break;
    default: ((_Atomic uint32_t *)p->page)[below(CONTROL_BYTES / 4)] = value;
  }
}

static void put_bytes(struct peer *p) {
  unsigned char bytes[5000];
  size_t count = 1 + below(below(2) ? 16 : sizeof bytes);
  for (size_t i = 0; i < count; i++) bytes[i] = random_word();
  lane_put(p, bytes, count);
}

static void scribble(struct peer *p) {
  unsigned char *ring = below(2) ? p->ring_out : p->ring_in;
  for (uint64_t i = below(5000), at = below(p->ring_bytes); i > 0; i--) ring[(at + i) % p->ring_bytes] = random_word();
}

// A mark or a record, right or nearly, whole or in part, once or several times.
static void say_record(struct peer *p) {
  static const uint64_t tags[] = {0, ~(uint64_t)0, 0x4d696c6c4c726e64, 0x4d696c6c44746368, 0x4d696c6c44746368};
  for (uint64_t times = 1 + below(2); times > 0; times--) {
    uint64_t tag = tags[below(5)], low = tag == tags[3] ? some_value(p) : p->low;
    uint64_t words[] = {__builtin_bswap64(p->high ^ tag), __builtin_bswap64(low)};
    if (below(4) == 0) ((unsigned char *)words)[below(sizeof words)] ^= 1 << below(8);
    tcp_send(p, words, below(4) ? sizeof words : 1 + below(sizeof words));
  }
}

static void say_bytes(struct peer *p) {
  unsigned char bytes[300];
  size_t count = 1 + below(sizeof bytes);
  for (size_t i = 0; i < count; i++) bytes[i] = random_word();
  tcp_send(p, bytes, count);
}

static void ring(struct peer *p) {
  struct message m = message(below(5), some_value(p));
  int descriptors[2] = {p->tcp, p->memory};
  if (below(4)) return ring_bell(p);
  ((unsigned char *)&m)[below(sizeof m)] ^= 1 << below(8);
  try_message(p->bell, &m, 1 + below(sizeof m), descriptors, below(3));
}

static void act(struct peer *p) {
  static void (*const acts[])(struct peer *) = {change_word, change_word, put_bytes, scribble,   say_record,
                                                say_record,  say_bytes,   ring,      wake_victim};
  acts[below(sizeof acts / sizeof acts[0])](p);
  if (below(2)) wake_victim(p);
  if (below(8) == 0) poll(NULL, 0, 1);
}

static void end(struct peer *p) {
  switch (below(6)) {
    case 0: {
      struct linger at_once = {1, 0};
      setsockopt(p->tcp, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
      break;
    }
    case 1: shutdown(p->tcp, SHUT_WR); break;
    case 2: shutdown(p->bell, SHUT_RDWR); break;
    case 3: raise(SIGKILL); break;
    case 4:
      p->own->finish = below(8);
      wake_victim(p);
      break;
    default: break;
  }
}

// -- One peer -----------------------------------------------------------------------------------------------------

static int tcp_open(bool leads, int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof at;
  if (!leads && connect(fd, (void *)&at, length) != 0) _exit(0);
  if (leads) {
    if (bind(fd, (void *)&at, length) != 0 || listen(fd, 1) != 0) _exit(2);
    getsockname(fd, (void *)&at, &length);
    printf("port %d\n", ntohs(at.sin_port));
    fflush(stdout);
    fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

_Noreturn static void be(uint64_t seed, bool leads, int port) {
  struct peer p = {.leads = leads, .listener = -1, .bell = -1, .memory = -1};
  signal(SIGPIPE, SIG_IGN);
  limit_time(WIRE_MS);
  p.tcp = tcp_open(leads, port);
  state = seed * 2 + leads;
  wire_up(&p);
  int steps = below(3) ? LEADER_STEPS : (int)below(LEADER_STEPS);
  cut_over(&p, steps);
  if (steps == LEADER_STEPS && below(2)) lane_exchange(&p, 1 + below(9000));
  limit_time(ACTIONS_MS);
  for (uint64_t count = 1 + below(30); count > 0; count--) act(&p);
  end(&p);
  _exit(0);
}

int main(void) {
  unsigned long long seed;
  char line[100], role;
  int port = 0;
  while (fgets(line, sizeof line, stdin) != NULL && sscanf(line, "%llu %c %d", &seed, &role, &port) >= 2) {
    pid_t child = fork();
    if (child == 0) be(seed, role == 'l', port);
    int status = 0;
    waitpid(child, &status, 0);
    // A peer that has broken itself, or found no port, has tried nothing.
    if ((WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) || (WIFEXITED(status) && WEXITSTATUS(status) != 0))
      return 1;
    puts("end");
    fflush(stdout);
  }
  return 0;
}
