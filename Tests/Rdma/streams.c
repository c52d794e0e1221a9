/// Streams both ways through many connections, every byte of which is checked, while whatever happens to the lanes
/// below.
///
///   streams serve PORT [option...]                 until SIGTERM
///   streams run ADDRESS PORT [option...]           until every connection has ended; SIGTERM ends those without a
///   length
///
///   -c COUNT    connections at once                -b BYTES   per connection and direction; 0: until SIGTERM
///   -r ROUNDS   connections one after the other, in the place of each of those at once
///   -e          one thread and epoll, not two threads for each connection
///   -p MICROS   a pause after every send, until SIGUSR1
///   -k          a broken connection is counted, and is no failure
///
/// A byte is a function of its position, its direction and the port of the end that connected. Sizes of calls are
/// random. Now and then it says what has been exchanged, and how many connections ride verbs lanes at this moment; at
/// its end how much it has sent and received in all, which has to be what the other end says.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LARGEST = 64 << 10, MOST = 4096, VERBS = 2 };

struct stream {
  uint64_t seed, position;
};

struct connection {
  _Atomic int fd;
  struct stream out, in;
  uint64_t dice;
  bool out_over, in_over;
  int rounds;
  pthread_t sender;
};

static const char *address;
static int port, count = 1, rounds = 1;
static _Atomic int pause_micros;
static uint64_t limit;
static bool is_server, uses_epoll, may_break;
static atomic_bool is_over;
static _Atomic uint64_t sent, received, ended, broken, connected;
static struct connection connections[MOST];

static _Noreturn void fail(const char *what) {
  printf("FAILED: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

static void fill(const struct stream *stream, unsigned char *to, size_t bytes) {
  for (size_t i = 0; i < bytes;) {
    uint64_t at = stream->position + i, word = mix(stream->seed + at / 8);
    for (unsigned j = at % 8; j < 8 && i < bytes; j++) to[i++] = (unsigned char)(word >> (8 * j));
  }
}

/// Mostly small, sometimes large.
static size_t some(struct connection *c, uint64_t salt) {
  uint64_t dice = c->dice = mix(c->dice + 0x9e3779b97f4a7c15 + salt);
  unsigned shift = dice % 8 == 0 ? 16 : dice % 8 < 4 ? 12 : 7;
  return 1 + (dice >> 8) % (1u << shift);
}

static void take(struct connection *c, const unsigned char *bytes, size_t length) {
  static _Thread_local unsigned char expected[LARGEST];
  fill(&c->in, expected, length);
  if (memcmp(bytes, expected, length) != 0) {
    size_t i = 0;
    while (bytes[i] == expected[i]) i++;
    printf("FAILED: byte %llu of a stream is wrong\n", (unsigned long long)(c->in.position + i));
    exit(1);
  }
  c->in.position += length;
  received += length;
}

/// 1: something was sent; 0: not now; -1: that was all.
static int send_some(struct connection *c) {
  static _Thread_local unsigned char bytes[LARGEST];
  bool is_all = limit > 0 ? c->out.position == limit : atomic_load(&is_over) || c->in_over;
  if (is_all) return -1;
  size_t length = some(c, 1);
  if (limit > 0 && length > limit - c->out.position) length = limit - c->out.position;
  fill(&c->out, bytes, length);
  ssize_t r = send(c->fd, bytes, length, MSG_NOSIGNAL);
  if (r < 0 && errno == EAGAIN) return 0;
  if (r < 0 && may_break) {
    broken++;
    return -1;
  }
  if (r < 0) fail("send");
  c->out.position += (uint64_t)r;
  sent += (uint64_t)r;
  if (pause_micros > 0) usleep(pause_micros);
  return 1;
}

static int receive_some(struct connection *c) {
  static _Thread_local unsigned char bytes[LARGEST];
  ssize_t r = recv(c->fd, bytes, some(c, 2), 0);
  if (r < 0 && errno == EAGAIN) return 0;
  if (r < 0 && may_break) {
    broken++;
    return -1;
  }
  if (r < 0) fail("recv");
  if (r == 0) return -1;
  take(c, bytes, (size_t)r);
  return 1;
}

static void begin(struct connection *c, int fd) {
  struct sockaddr_in name;
  socklen_t length = sizeof name;
  if ((is_server ? getpeername : getsockname)(fd, (struct sockaddr *)&name, &length) != 0) fail("name");
  uint64_t seed = (uint64_t)ntohs(name.sin_port) << 48;
  c->out = (struct stream){.seed = mix(seed + is_server)};
  c->in = (struct stream){.seed = mix(seed + !is_server)};
  c->dice = mix(c->out.seed ^ (uint64_t)getpid());
  c->out_over = c->in_over = false;
  c->fd = fd;
  connected++;
}

static int open_one(void) {
  struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  inet_pton(AF_INET, address, &peer.sin_addr);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&peer, sizeof peer) != 0) fail("connect");
  return fd;
}

static void end(struct connection *c) {
  int fd = c->fd;
  c->fd = -1;
  close(fd);
  ended++;
}

// Two threads for each connection

static void *send_all(void *argument) {
  struct connection *c = argument;
  while (send_some(c) > 0) continue;
  shutdown(c->fd, SHUT_WR);
  return NULL;
}

static void *serve_one(void *argument) {
  struct connection *c = argument;
  do {
    if (!is_server) begin(c, open_one());
    if (pthread_create(&c->sender, NULL, send_all, c) != 0) fail("thread");
    while (receive_some(c) > 0) continue;
    c->in_over = true;
    pthread_join(c->sender, NULL);
    end(c);
  } while (!is_server && --c->rounds > 0);
  return NULL;
}

// One thread and epoll

static int set;

static void enlist(struct connection *c) {
  fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
  if (epoll_ctl(set, EPOLL_CTL_ADD, c->fd, &event) != 0) fail("epoll_ctl");
}

/// False when the connection has ended.
static bool turn(struct connection *c, uint32_t events) {
  if (!c->in_over && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && receive_some(c) < 0) c->in_over = true;
  bool may_send = (events & (EPOLLOUT | EPOLLERR)) != 0 || (c->in_over && limit == 0);
  if (!c->out_over && may_send && send_some(c) < 0) {
    c->out_over = true;
    shutdown(c->fd, SHUT_WR);
    if (!c->in_over) {
      struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
      epoll_ctl(set, EPOLL_CTL_MOD, c->fd, &event);
    }
  } else if (c->in_over && !c->out_over) {
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    epoll_ctl(set, EPOLL_CTL_MOD, c->fd, &event);
  }
  return !c->in_over || !c->out_over;
}

static void *serve_all(void *argument) {
  struct epoll_event events[64];
  for (;;) {
    int ready = epoll_wait(set, events, 64, -1);
    for (int i = 0; i < ready; i++) {
      struct connection *c = events[i].data.ptr;
      if (turn(c, events[i].events)) continue;
      end(c);
      if (!is_server && --c->rounds > 0) {
        begin(c, open_one());
        enlist(c);
      }
    }
  }
  return argument;
}

// Both

static int lanes(void) {
  int riding = 0;
  for (int i = 0; i < MOST; i++) {
    int fabric = 0, fd = connections[i].fd;
    socklen_t length = sizeof fabric;
    if (fd > 0 && getsockopt(fd, 0x4d4c, 1, &fabric, &length) == 0 && fabric == VERBS) riding++;
  }
  return riding;
}

static double processor_time(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void say(const char *what) {
  printf("%s: connected %llu ended %llu broken %llu sent %llu received %llu lanes %d cpu %.3f\n", what,
         (unsigned long long)connected, (unsigned long long)ended, (unsigned long long)broken, (unsigned long long)sent,
         (unsigned long long)received, lanes(), processor_time());
  fflush(stdout);
}

static void start(struct connection *c) {
  pthread_t thread;
  if (uses_epoll) return enlist(c);
  if (pthread_create(&thread, NULL, serve_one, c) != 0) fail("thread");
  pthread_detach(thread);
}

static void *accept_all(void *argument) {
  int listener = *(int *)argument;
  for (int i = 0;; i = (i + 1) % MOST) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) fail("accept");
    while (connections[i].fd > 0) i = (i + 1) % MOST;
    begin(&connections[i], fd);
    start(&connections[i]);
  }
}

static void be_server(void) {
  static int listener;
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (bind(listener, (struct sockaddr *)&own, sizeof own) != 0 || listen(listener, 1024) != 0) fail("listen");
  pthread_t thread;
  if (pthread_create(&thread, NULL, accept_all, &listener) != 0) fail("thread");
}

static void be_client(void) {
  for (int i = 0; i < count; i++) {
    connections[i].rounds = rounds;
    if (uses_epoll) begin(&connections[i], open_one());
    start(&connections[i]);
  }
}

static void stop(int number) {
  pause_micros = 0;
  if (number == SIGTERM) is_over = true;
}

int main(int argc, char **argv) {
  is_server = argc > 2 && strcmp(argv[1], "serve") == 0;
  if (argc < (is_server ? 3 : 4)) return 2;
  address = argv[2];
  port = atoi(argv[is_server ? 2 : 3]);
  optind = is_server ? 3 : 4;
  for (int option; (option = getopt(argc, argv, "c:b:r:p:ek")) != -1;) {
    if (option == 'c') count = atoi(optarg);
    if (option == 'b') limit = strtoull(optarg, NULL, 0);
    if (option == 'r') rounds = atoi(optarg);
    if (option == 'p') pause_micros = atoi(optarg);
    if (option == 'e') uses_epoll = true;
    if (option == 'k') may_break = true;
  }
  struct sigaction action = {.sa_handler = stop, .sa_flags = SA_RESTART};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGUSR1, &action, NULL);
  set = epoll_create1(EPOLL_CLOEXEC);
  (is_server ? be_server : be_client)();
  pthread_t thread;
  if (uses_epoll && pthread_create(&thread, NULL, serve_all, NULL) != 0) fail("thread");
  say("ready");
  uint64_t due = (uint64_t)count * (uint64_t)rounds;
  // A server is told to end when its clients have ended.
  while (is_server ? !is_over || ended < connected : ended < due) {
    usleep(200000);
    say("now");
  }
  say("end");
  return 0;
}
