// Calls at random on both ends of a connection, one after the other, so that every result is determined: how much is
// read, what a wait reports, how the stream ends. A number in the environment variable FIRST_SEED begins elsewhere than
// with 1.
#include "observe.h"

enum { seeds = 40, calls = 120, most = 900, most_unread = 2400 };

struct end {
  const char *name;
  int fd, copy;  // The copy is -1, or a second descriptor.
  uint64_t sent, received;
  bool shut, closed;
  struct end *peer;
};

static uint64_t state;

static uint64_t below(uint64_t limit) {
  return next_random(&state) % limit;
}

static size_t unread(const struct end *e) {
  return e->peer->sent - e->received;
}

static int any(const struct end *e) {
  return e->copy >= 0 && below(2) ? e->copy : e->fd;
}

// What has been sent is there, and what has ended has.
static void arrive(const struct end *e) {
  if (e->closed || e->peer->closed) return;
  await_bytes(e->fd, (int)unread(e));
  if (e->peer->shut) await_events(e->fd, POLLRDHUP);
}

static void send_some(struct end *e) {
  static const int flags[] = {0, 0, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_DONTWAIT | MSG_NOSIGNAL};
  char bytes[most];
  size_t length = below(4) ? 1 + below(200) : below(most);
  if (unread(e->peer) + length > most_unread) return;
  fill(bytes, length, (uint64_t)e->name[0], e->sent);
  int flag = flags[below(5)];
  unsigned way = (unsigned)below(FLAGGED_WAYS);
  ssize_t count = write_somehow(any(e), bytes, length, flag, way);
  say("%s sends %zu, %x, way %u = %zd %s", e->name, length, flag, way, count, count < 0 ? errno_name(errno) : "");
  if (count > 0) e->sent += (uint64_t)count;
}

static void receive_some(struct end *e) {
  static const int flags[] = {
      0, 0, MSG_DONTWAIT, MSG_PEEK, MSG_PEEK | MSG_DONTWAIT, MSG_WAITALL, MSG_WAITALL | MSG_PEEK};
  char bytes[most];
  size_t length = below(4) ? below(300) : below(most);
  int flag = flags[below(7)];
  unsigned way = (unsigned)below(FLAGGED_WAYS);
  ssize_t count = read_somehow(any(e), bytes, length, flag, way);
  bool good = count <= 0 || matches(bytes, (size_t)count, (uint64_t)e->peer->name[0], e->received);
  say("%s reads %zu, %x, way %u = %zd %s%s", e->name, length, flag, way, count, count < 0 ? errno_name(errno) : "",
      good ? "" : "WRONG BYTES");
  if (count > 0 && !(flag & MSG_PEEK)) e->received += (uint64_t)count;
}

static void throw_away(struct end *e) {
  char byte;
  size_t length = below(300);
  // MSG_TRUNC reads without a place to put it.
  ssize_t count = recv(any(e), &byte, length, MSG_TRUNC | MSG_DONTWAIT);
  say("%s throws %zu away = %zd %s", e->name, length, count, count < 0 ? errno_name(errno) : "");
  if (count > 0) e->received += (uint64_t)count;
}

static void look(struct end *e) {
  int queued = -1, error = -1;
  socklen_t length = sizeof error;
  ioctl(any(e), FIONREAD, &queued);
  if (below(4) == 0) getsockopt(any(e), SOL_SOCKET, SO_ERROR, &error, &length);
  say("%s has %d unread, error %d", e->name, queued, error);
}

static void poll_both(struct end *e) {
  static const short events[] = {POLLIN, POLLOUT, POLLIN | POLLOUT, POLLIN | POLLRDHUP, POLLRDHUP, 0, POLLIN | POLLPRI};
  struct pollfd both[] = {{any(e), events[below(7)], 0}, {any(e->peer), events[below(7)], 0}};
  int count = poll(both, 2, (int)below(2));
  say("%s polls %s: %s; the peer %s: %s (%d)", e->name, event_names((unsigned)both[0].events),
      event_names((unsigned)both[0].revents), event_names((unsigned)both[1].events),
      event_names((unsigned)both[1].revents), count);
}

static void select_both(struct end *e) {
  fd_set in, out, odd;
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_ZERO(&odd);
  int a = any(e), b = any(e->peer);
  FD_SET(a, &in);
  FD_SET(b, &in);
  FD_SET(a, &odd);
  if (below(2)) FD_SET(b, &out);
  struct timeval time = {0, (suseconds_t)below(2) * 1000};
  int count = select((a > b ? a : b) + 1, &in, &out, &odd, &time);
  say("%s selects: %d, in %d %d, out %d, odd %d", e->name, count, FD_ISSET(a, &in) != 0, FD_ISSET(b, &in) != 0,
      FD_ISSET(b, &out) != 0, FD_ISSET(a, &odd) != 0);
}

static void change(struct end *e) {
  int value = 1 + (int)below(below(2) ? 400 : 2);
  switch (below(6)) {
    case 0: set_nonblocking(any(e), below(2)); break;
    case 1: {
      int on = (int)below(2);
      OBS("FIONBIO", ioctl(any(e), FIONBIO, &on));
      break;
    }
    case 2: OBS("low water", setsockopt(any(e), SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value)); break;
    case 3:
      if (e->copy < 0) e->copy = dup(e->fd);
      break;
    case 4:
      if (e->copy >= 0) OBS("close of a copy", close(e->copy));
      e->copy = -1;
      break;
    default: set_timeout(any(e), SO_RCVTIMEO, 1 + (long)below(3));
  }
}

static void end_stream(struct end *e) {
  if (below(3) || e->shut) return;
  say("%s ends its stream = %d", e->name, shutdown(any(e), SHUT_WR));
  e->shut = true;
}

static void one_call(struct end *e) {
  switch (below(24)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
    case 5:
    case 6: return send_some(e);
    case 7:
    case 8:
    case 9:
    case 10:
    case 11:
    case 12:
    case 13: return receive_some(e);
    case 14: return throw_away(e);
    case 15:
    case 16: return look(e);
    case 17:
    case 18: return poll_both(e);
    case 19: return select_both(e);
    case 20:
    case 21:
    case 22: return change(e);
    default: return below(8) ? look(e) : end_stream(e);
  }
}

// One end closes, with or without unread bytes, and the other sees how it ends.
static void finish(struct end *e) {
  char bytes[most];
  struct end *peer = e->peer;
  bool resets = unread(e) > 0;
  if (e->copy >= 0) close(e->copy);
  say("%s closes with %zu unread = %d", e->name, unread(e), close(e->fd));
  e->closed = true;
  short seen = await_events(peer->fd, resets ? POLLHUP : POLLRDHUP);
  say("the peer sees %s", event_names((unsigned)seen));
  set_nonblocking(peer->fd, true);
  for (int i = 0; i < 40; i++) {
    ssize_t count = recv(peer->fd, bytes, sizeof bytes, 0);
    say("the peer reads %zd %s", count, count < 0 ? errno_name(errno) : "");
    if (count <= 0) break;
  }
  close(peer->fd);
  if (peer->copy >= 0) close(peer->copy);
}

static void run(uint64_t seed) {
  int fds[2];
  state = digest(&seed, sizeof seed);
  lane_pair(fds, PAIR_V4);
  say("-- seed %llu", (unsigned long long)seed);
  struct end a = {.name = "a", .fd = fds[0], .copy = -1}, b = {.name = "b", .fd = fds[1], .copy = -1};
  a.peer = &b, b.peer = &a;
  for (int i = 0; i < 2; i++) {
    int one = 1;
    setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    set_timeout(fds[i], SO_RCVTIMEO, 2);
  }
  for (int i = 0; i < calls; i++) {
    arrive(&a), arrive(&b);
    one_call(below(2) ? &a : &b);
  }
  arrive(&a), arrive(&b);
  finish(below(2) ? &a : &b);
}

int main(void) {
  const char *first = getenv("FIRST_SEED");
  uint64_t from = first ? strtoull(first, NULL, 10) : 1;
  signal(SIGPIPE, SIG_IGN);
  for (uint64_t seed = from; seed < from + (getenv("ONE_SEED") ? 1 : seeds); seed++) run(seed);
  return 0;
}
