// What can go wrong on a lane: positions, flags, records, rings of the bell, and peers that vanish.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "peer.h"

// Positions, once.

static void tail_ahead(struct peer *p) {
  attach(p);
  p->own->tail += p->number;
  wake_victim(p);
}

// The victim looks at the head when its ring is full by what it knows.
static void head_ahead(struct peer *p) {
  attach(p);
  struct pollfd tcp = {.fd = p->tcp, .events = POLLIN};
  unsigned char bytes[1024] = {0};
  p->own->head = p->other->tail + p->number;
  while (poll(&tcp, 1, 0) == 0) {
    if (p->ring_bytes - (p->own->tail - p->other->head) >= sizeof bytes) lane_put(p, bytes, sizeof bytes);
    p->own->head = p->other->tail + p->number;
    wake_victim(p);
  }
}

static void unknown_flags(struct peer *p) {
  attach(p);
  p->own->finish = p->number;
  wake_victim(p);
}

// Words that change all the time, while the stream goes on as well as it can.

static void more_traffic(struct peer *p) {
  p->own->tail += 1;
  p->own->head = p->other->tail;
  wake_victim(p);
}

static void change_tail(struct peer *p, uint64_t random) {
  p->own->tail = p->other->head + (random & 1 ? random : random >> 50);
  wake_victim(p);
}

static void change_head(struct peer *p, uint64_t random) {
  more_traffic(p);
  p->own->head = p->other->tail - (random & 1 ? random : random >> 50);
}

// Never absurd for long enough to be caught at every look.
static void flip_head(struct peer *p, uint64_t random) {
  uint64_t tail = p->other->tail;
  p->own->tail = p->other->head + p->ring_bytes;
  p->own->head = tail + 1 + random;
  p->own->head = tail - p->ring_bytes;
  wake_victim(p);
}

static void change_victims_words(struct peer *p, uint64_t random) {
  more_traffic(p);
  if (random & 1) p->other->tail = random;
  if (random & 2) p->other->head = random >> 3;
  if (random & 4) p->other->reader_arm = random >> 5;
  if (random & 8) p->other->writer_arm = random >> 7;
  if (random & 16) p->other->finish = random >> 9;
}

static void change_arms(struct peer *p, uint64_t random) {
  more_traffic(p);
  p->own->reader_arm = random;
  p->own->writer_arm = random >> 8;
  p->other->reader_arm = random >> 16;
  p->other->writer_arm = random >> 24;
  // Somebody sleeps, under a ticket that was never, or is somebody else's.
  p->own->reader_ticket = random & 1 ? random >> 1 : p->other->reader_ticket;
  p->other->reader_ticket = random >> 2;
}

static void change_flags(struct peer *p, uint64_t random) {
  more_traffic(p);
  p->own->finish = random & 1 ? random : 0;
}

static void change_anything(struct peer *p, uint64_t random) {
  more_traffic(p);
  ((_Atomic uint32_t *)p->page)[random % (CONTROL_BYTES / 4)] = random >> 20;
}

static void (*const changes[])(struct peer *, uint64_t) = {
    change_tail, change_head, flip_head, change_victims_words, change_arms, change_flags, change_anything,
};

static void keeps_changing(struct peer *p) {
  attach(p);
  keep_changing(p, changes[p->number]);
}

// The bell.

static void ring_on(struct peer *p, uint64_t random) {
  (void)random;
  ring_bell(p);
}

static void bell_flood(struct peer *p) {
  attach(p);
  keep_changing(p, ring_on);
}

static void bell_hang_up(struct peer *p) {
  attach(p);
  close(p->bell);
}

// With bytes in the ring that the dead one never read, TCP would have reset the connection.
static void bell_hang_up_unread(struct peer *p) {
  attach(p);
  lane_put(p, "12345", 5);
  await_bytes(p);
  close(p->bell);
}

// A descriptor comes with a ring of the bell; the victim has no use for it.
static void bell_brings_descriptors(struct peer *p) {
  attach(p);
  int passed[] = {0, 1, 2};
  struct message m = message(OFFER, RING_BYTES);
  for (int i = 0; i < 20; i++) try_message(p->bell, &m, sizeof m, passed, 3);
}

// Records.

static void detach_at(struct peer *p) {
  attach(p);
  write_detach(p, p->number);
}

static void detach_ahead(struct peer *p) {
  attach(p);
  write_detach(p, p->other->tail + p->number);
}

// Bytes that the ring has not held for long are asked for again.
static void detach_behind(struct peer *p) {
  attach(p);
  lane_exchange(p, 8 * p->ring_bytes);
  write_detach(p, 0);
}

static void detach_in_pieces(struct peer *p) {
  attach(p);
  struct peer copy = *p;
  int pair[2];
  unsigned char record[RECORD_BYTES];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) fail("socketpair");
  copy.tcp = pair[0];
  write_detach(&copy, p->own->head);
  if (read(pair[1], record, sizeof record) != sizeof record) fail("record");
  for (size_t i = 0; i < sizeof record; i += p->number) tcp_send(p, record + i, p->number);
  // The victim's own DETACH: what it says was consumed is all that was sent.
  tcp_receive(p, record, sizeof record);
  p->own->records_taken = p->received;
  uint64_t consumed;
  memcpy(&consumed, record + 8, sizeof consumed);
  if (__builtin_bswap64(consumed) != p->own->tail) fail("the victim's DETACH is at another position");
}

static void half_a_detach(struct peer *p) {
  attach(p);
  uint64_t word = __builtin_bswap64(p->high ^ 0x4d696c6c44746368);
  tcp_send(p, &word, p->number);
}

static void learned_again(struct peer *p) {
  attach(p);
  write_learned(p);
}

static void mark_again(struct peer *p) {
  attach(p);
  write_mark(p);
}

static void bytes_on_tcp(struct peer *p) {
  attach(p);
  tcp_send(p, "sixteen bytes or", 16);
}

static void few_bytes_on_tcp(struct peer *p) {
  attach(p);
  tcp_send(p, "few", 3);
}

// Ends.

static void half_close_tcp(struct peer *p) {
  attach(p);
  shutdown(p->tcp, SHUT_WR);
}

static void reset_tcp(struct peer *p) {
  attach(p);
  struct linger none = {1, 0};
  setsockopt(p->tcp, SOL_SOCKET, SO_LINGER, &none, sizeof none);
  close(p->tcp);
}

static void stop(struct peer *p) {
  attach(p);
  lane_put(p, "12345", 5);
  done();
  raise(p->number);
}

enum { MANY = 40 };

// Many connections at once whose peer says farewell and does not go. A victim with one thread must not be held up for
// as long as it is for one, times many.
static void many_farewells(struct peer *p) {
  struct peer peers[MANY];
  struct sockaddr_storage to;
  socklen_t length = sizeof to;
  if (getpeername(p->tcp, (void *)&to, &length) != 0) fail("getpeername");
  attach(p);
  for (int i = 0; i < MANY; i++) {
    peers[i] = (struct peer){.tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (connect(peers[i].tcp, (void *)&to, length) != 0) fail("connect: %s", strerror(errno));
    attach(&peers[i]);
  }
  for (int i = 0; i < MANY; i++) {
    peers[i].own->finish = FINISHED | CLOSED;
    wake_victim(&peers[i]);
  }
}

const struct test lane_tests[] = {
    {"tail-beyond-the-ring", "lf", tail_ahead, "hostile-messages", "over", RING_BYTES * 16},
    {"tail-huge", "lf", tail_ahead, "hostile-messages", "over", 1ull << 63},
    {"tail-goes-back", "lf", tail_ahead, "hostile-messages", "over", (uint64_t)-1},
    {"head-ahead-of-tail", "lf", head_ahead, "hostile-messages", "over", RING_BYTES * 16},
    {"head-huge", "lf", head_ahead, "hostile-messages", "over", 1ull << 63},
    {"flags-unknown", "lf", unknown_flags, "", "any", 0xfffffff8},
    {"flags-all", "lf", unknown_flags, "", "any", UINT32_MAX},
    {"farewell-that-is-none", "lf", unknown_flags, "", "any", FINISHED | CLOSED},
    {"reset-that-is-none", "lf", unknown_flags, "", "any", FINISHED | CLOSED | RESET},
    {"farewells-that-are-none", "f", many_farewells, "", "any", 0},
    {"tail-changes", "lf", keeps_changing, "", "any", 0},
    {"head-changes", "lf", keeps_changing, "", "any", 1},
    {"head-flips", "lf", keeps_changing, "", "any", 2},
    {"victims-words-change", "lf", keeps_changing, "", "any", 3},
    {"arms-change", "lf", keeps_changing, "", "any", 4},
    {"flags-change", "lf", keeps_changing, "", "any", 5},
    {"anything-changes", "lf", keeps_changing, "", "any", 6},
    {"bell-flood", "lf", bell_flood, "", "lane", 0},
    {"bell-hang-up", "lf", bell_hang_up, "", "any", 0},
    {"bell-hang-up-unread", "lf", bell_hang_up_unread, "", "over", 0},
    {"bell-brings-descriptors", "lf", bell_brings_descriptors, "", "lane", 0},
    {"detach-at-largest", "lf", detach_at, "hostile-messages", "over", UINT64_MAX},
    {"detach-ahead", "lf", detach_ahead, "hostile-messages", "over", 1},
    {"detach-behind", "lf", detach_behind, "hostile-messages", "over", 0},
    {"detach-in-bytes", "lf", detach_in_pieces, "peer-left", "exact", 1},
    {"detach-in-halves", "lf", detach_in_pieces, "peer-left", "exact", 8},
    {"half-a-detach", "lf", half_a_detach, "", "any", 8},
    {"byte-of-a-detach", "lf", half_a_detach, "", "any", 1},
    {"learned-again", "lf", learned_again, "hostile-messages", "over", 0},
    {"mark-again", "lf", mark_again, "hostile-messages", "over", 0},
    {"bytes-on-tcp", "lf", bytes_on_tcp, "hostile-messages", "over", 0},
    {"few-bytes-on-tcp", "lf", few_bytes_on_tcp, "", "any", 0},
    {"half-close-of-tcp", "lf", half_close_tcp, "", "any", 0},
    {"reset-of-tcp", "lf", reset_tcp, "", "any", 0},
    {"stopped", "lf", stop, "", "stopped", SIGSTOP},
    {"killed", "lf", stop, "", "killed", SIGKILL},
    {NULL, NULL, NULL, NULL, NULL, 0},
};
