// Epoll sets at random: both ends of a connection in two sets, by level, by edge and once, with data that comes and
// goes in between. Every event is determined, for all that was sent has arrived before a look. FIRST_SEED as in
// random_calls.
#include "observe.h"

enum { seeds = 40, steps = 120, most = 900, most_unread = 2400, sets = 2 };

struct end {
  const char *name;
  int fd;
  uint64_t sent, received;
  bool shut, in[sets];
  struct end *peer;
};

static uint64_t state;
static int set[sets];

static uint64_t below(uint64_t limit) {
  return next_random(&state) % limit;
}

static void arrive(const struct end *e) {
  await_bytes(e->fd, (int)(e->peer->sent - e->received));
  if (e->peer->shut) await_events(e->fd, POLLRDHUP);
}

static void send_some(struct end *e) {
  char bytes[most];
  size_t length = 1 + below(most - 1);
  if (e->shut || e->sent - e->peer->received + length > most_unread) return;
  fill(bytes, length, (uint64_t)e->name[0], e->sent);
  say("%s sends %zd", e->name, send(e->fd, bytes, length, 0));
  e->sent += length;
}

static void receive_some(struct end *e) {
  char bytes[most_unread];
  size_t length = below(2) ? sizeof bytes : 1 + below(most);
  ssize_t count = recv(e->fd, bytes, length, MSG_DONTWAIT);
  bool good = count <= 0 || matches(bytes, (size_t)count, (uint64_t)e->peer->name[0], e->received);
  say("%s reads %zd%s", e->name, count, good ? "" : " WRONG BYTES");
  if (count > 0) e->received += (uint64_t)count;
}

static void change(struct end *e) {
  static const uint32_t events[] = {EPOLLIN,    EPOLLIN, EPOLLOUT, EPOLLIN | EPOLLOUT, EPOLLIN | EPOLLRDHUP,
                                    EPOLLRDHUP, 0};
  static const uint32_t kinds[] = {0, 0, EPOLLET, EPOLLET, EPOLLONESHOT, EPOLLET | EPOLLONESHOT};
  int which = (int)below(sets);
  uint32_t wanted = events[below(7)] | kinds[below(6)];
  // The kernel tells of room once more when it feels like it.
  if (wanted & EPOLLET) wanted &= ~(uint32_t)EPOLLOUT;
  struct epoll_event event = {.events = wanted, .data.u32 = (uint32_t)e->name[0]};
  int how = !e->in[which] ? EPOLL_CTL_ADD : below(5) ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;
  int result = epoll_ctl(set[which], how, e->fd, &event);
  say("%s in set %d: %s %x = %d", e->name, which,
      how == EPOLL_CTL_ADD   ? "add"
      : how == EPOLL_CTL_MOD ? "change"
                             : "take out",
      event.events, result);
  e->in[which] = how != EPOLL_CTL_DEL;
}

static void wait_in(int which) {
  struct epoll_event events[4];
  int count = epoll_wait(set[which], events, 4, (int)below(2));
  // Their order is nobody's to rely on.
  if (count == 2 && events[0].data.u32 > events[1].data.u32) {
    struct epoll_event first = events[0];
    events[0] = events[1], events[1] = first;
  }
  say("set %d tells %d:", which, count);
  for (int i = 0; i < count; i++) say("  %c %s", (char)events[i].data.u32, event_names(events[i].events));
}

static void one_step(struct end *e) {
  switch (below(16)) {
    case 0:
    case 1:
    case 2:
    case 3: return send_some(e);
    case 4:
    case 5:
    case 6: return receive_some(e);
    case 7:
    case 8:
    case 9: return change(e);
    case 10:
      if (e->shut || below(12)) return;
      say("%s ends its stream = %d", e->name, shutdown(e->fd, SHUT_WR));
      e->shut = true;
      return;
    default: return wait_in((int)below(sets));
  }
}

static void run(uint64_t seed) {
  int fds[2];
  state = digest(&seed, sizeof seed);
  for (int i = 0; i < sets; i++) set[i] = epoll_create1(EPOLL_CLOEXEC);
  lane_pair(fds, PAIR_V4);
  say("-- seed %llu", (unsigned long long)seed);
  struct end a = {.name = "a", .fd = fds[0]}, b = {.name = "b", .fd = fds[1]};
  a.peer = &b, b.peer = &a;
  for (int i = 0; i < 2; i++) {
    int one = 1;
    setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  }
  for (int i = 0; i < steps; i++) {
    one_step(below(2) ? &a : &b);
    arrive(&a), arrive(&b);
  }
  close(a.fd);
  // Over RDMA the word of it takes its time.
  await_events(b.fd, POLLRDHUP);
  wait_in(0), wait_in(1);
  close(b.fd);
  for (int i = 0; i < sets; i++) close(set[i]);
}

int main(void) {
  const char *first = getenv("FIRST_SEED");
  uint64_t from = first ? strtoull(first, NULL, 10) : 1;
  for (uint64_t seed = from; seed < from + (getenv("ONE_SEED") ? 1 : seeds); seed++) run(seed);
  return 0;
}
