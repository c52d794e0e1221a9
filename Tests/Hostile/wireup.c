// What can go wrong before there is a lane: whoever is at the rendezvous, what he says, and the memory that he offers.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "peer.h"

enum { NOBODY = 65534, SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

// Where lingering sockets lead: nobody reads there.
static struct sockaddr_in sink = {.sin_family = AF_INET};

// Before any process of its own is made: the sink must outlive that.
static void open_sink(void) {
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  socklen_t length = sizeof sink;
  sink.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, (void *)&sink, length) != 0 || listen(listener, 16) != 0) fail("sink: %s", strerror(errno));
  getsockname(listener, (void *)&sink, &length);
}

// A socket that lingers for a minute when the last who holds it closes it.
static int lingering(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct linger linger = {1, 60};
  static char bytes[1 << 16];
  if (connect(fd, (void *)&sink, sizeof sink) != 0) fail("sink: %s", strerror(errno));
  while (send(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0) continue;
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  return fd;
}

// A process that is gone afterwards, and whatever it still held with it. It does not linger itself.
static void in_child(struct peer *p, void (*act)(struct peer *)) {
  pid_t child = fork();
  int status;
  if (child == 0) {
    act(p);
    _exit(0);
  }
  if (waitpid(child, &status, 0) != child || status != 0) fail("the child has failed");
}

static void become_nobody(void) {
  if (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0) fail("setuid: %s", strerror(errno));
}

// The other end is a program without Millrace.
static void plain(struct peer *p) {
  tcp_exchange(p, 1000);
}

// A process of another user is at the name: it must learn nothing, not even that there is an offer.
static void stranger(struct peer *p) {
  int ready[2];
  char c;
  if (p->leads) tcp_exchange(p, 100);
  if (pipe(ready) != 0) fail("pipe");
  pid_t child = fork();
  if (child == 0) {
    become_nobody();
    int fd = p->leads ? -1 : name_listen(p);
    if (write(ready[1], "", 1) != 1) _exit(1);
    fd = p->leads ? name_call(p) : name_accept(fd);
    struct message m;
    _exit(receive_message(fd, &m, NULL) ? 1 : 0);
  }
  if (read(ready[0], &c, 1) != 1) fail("the stranger has died");
  if (!p->leads) tcp_exchange(p, 100);
  int status;
  waitpid(child, &status, 0);
  if (status != 0) fail("the stranger was sent something");
  // The name stays for the true peer, who comes now.
  if (p->leads) attach(p);
}

// Strangers call without end; the true peer gets through all the same.
static void strangers(struct peer *p) {
  int ready[2];
  char c;
  tcp_exchange(p, 100);
  if (pipe(ready) != 0) fail("pipe");
  pid_t child = fork();
  if (child == 0) {
    become_nobody();
    if (!hangs_up(name_call(p)) || write(ready[1], "", 1) != 1) _exit(1);
    while (true) close(name_call(p));
  }
  if (read(ready[0], &c, 1) != 1) fail("the stranger has died");
  attach(p);
  kill(child, 9);
  waitpid(child, NULL, 0);
}

static void call_with_lingering(struct peer *p) {
  int descriptor = lingering();
  become_nobody();
  for (int i = 0; i < 4; i++) try_message(name_call(p), "first", 5, &descriptor, 1);
}

// Strangers who may still wait in the queue, with lingering sockets in their hands, when the name is given up.
static void strangers_in_the_queue(struct peer *p) {
  open_sink();
  tcp_exchange(p, 100);
  in_child(p, call_with_lingering);
  attach(p);
}

// Another process of the same user has bound the name first.
static void name_taken(struct peer *p) {
  p->listener = name_listen(p);
  tcp_exchange(p, 100);
}

// The peer's Unix sockets are made in a network namespace of its own; its TCP connection is the victim's.
static void other_namespace(struct peer *p) {
  if (unshare(CLONE_NEWNET) != 0) fail("unshare: %s", strerror(errno));
  p->listener = name_listen(p);
  tcp_exchange(p, 1000);
}

// Messages.

static struct message expected_message(const struct peer *p) {
  return p->leads ? message(OFFER, RING_BYTES) : message(ACCEPT, 0);
}

static void say(struct peer *p, const void *bytes, size_t count) {
  meet(p);
  send_message(p->bell, bytes, count, NULL, 0);
  if (!p->leads) {
    // The victim's offer comes first, unread until here.
    struct message m;
    receive_message(p->bell, &m, NULL);
  }
}

static void garbage(struct peer *p) {
  uint64_t words[512];
  for (int i = 0; i < 512; i++) words[i] = random_word();
  say(p, words, p->number);
}

static void cut_short(struct peer *p) {
  struct message m = expected_message(p);
  say(p, &m, p->number);
  if (!hangs_up(p->bell)) fail("the victim does not hang up");
}

static void other_version(struct peer *p) {
  struct message m = expected_message(p);
  m.version = p->number;
  say(p, &m, sizeof m);
  // The one that was offered something says no before it hangs up.
  if (p->leads && (!receive_message(p->bell, &m, NULL) || m.kind != DECLINE)) fail("no DECLINE");
  if (!hangs_up(p->bell)) fail("the victim does not hang up");
}

static void other_kind(struct peer *p) {
  struct message m = message(p->number, UINT32_MAX);
  say(p, &m, sizeof m);
}

static void no_message(struct peer *p) {
  meet(p);
}

static void hang_up(struct peer *p) {
  meet(p);
  close(p->bell);
}

static void hang_up_after_message(struct peer *p) {
  meet(p);
  struct message m = expected_message(p);
  if (p->leads)
    offer(p);
  else
    send_message(p->bell, &m, sizeof m, NULL, 0);
  close(p->bell);
}

// An answer that brings descriptors: they are refused, or closed.
static void answer_with_descriptors(struct peer *p) {
  meet(p);
  struct message m;
  int memory, passed[] = {0, 1, 2, p->tcp};
  if (!receive_message(p->bell, &m, &memory)) fail("the victim does not offer");
  map_memory(p, memory, m.detail);
  p->high = m.high;
  p->low = m.low;
  m = message(ACCEPT, 0);
  if (!try_message(p->bell, &m, sizeof m, passed, p->number)) send_message(p->bell, &m, sizeof m, NULL, 0);
}

const struct test wireup_tests[] = {
    {"plain", "lf", plain, "no-peer", "exact", 0},
    {"stranger", "l", stranger, "identity-mismatch", "lane", 0},
    {"stranger-at-the-name", "f", stranger, "identity-mismatch", "exact", 0},
    {"strangers-without-end", "l", strangers, "identity-mismatch", "lane", 0},
    {"strangers-in-the-queue", "l", strangers_in_the_queue, "", "lane", 0},
    {"name-taken", "l", name_taken, "name-taken", "exact", 0},
    {"other-namespace", "f", other_namespace, "no-peer", "exact", 0},
    {"garbage", "lf", garbage, "bad-wireup", "exact", MESSAGE_BYTES},
    {"garbage-long", "lf", garbage, "bad-wireup", "exact", 4096},
    {"garbage-one-byte", "lf", garbage, "bad-wireup", "exact", 1},
    {"message-cut-short", "lf", cut_short, "bad-wireup", "exact", 20},
    {"message-lacks-a-byte", "lf", cut_short, "bad-wireup", "exact", 63},
    {"version-2", "lf", other_version, "version-mismatch", "exact", 2},
    {"version-0", "lf", other_version, "version-mismatch", "exact", 0},
    {"kind-unknown", "lf", other_kind, "bad-wireup", "exact", 77},
    {"kind-offer-as-answer", "f", other_kind, "bad-wireup", "exact", OFFER},
    {"kind-accept-as-offer", "l", other_kind, "bad-wireup", "exact", ACCEPT},
    {"declined-for-no-reason", "f", other_kind, "peer-declined", "exact", DECLINE},
    {"no-message", "lf", no_message, "wireup-timeout", "exact", 0},
    {"hang-up-before-message", "lf", hang_up, "bad-wireup", "exact", 0},
    {"hang-up-after-message", "lf", hang_up_after_message, "", "exact", 0},
    {"answer-with-a-descriptor", "f", answer_with_descriptors, "", "any", 1},
    {"answer-with-descriptors", "f", answer_with_descriptors, "", "any", 4},
    {NULL, NULL, NULL, NULL, NULL, 0},
};

// The memory that a hostile leader offers.

static void offer_memory(struct peer *p, const int *descriptors, size_t count, uint32_t ring) {
  struct message m = message(OFFER, ring);
  send_message(p->bell, &m, sizeof m, descriptors, count);
}

static void expect_decline(struct peer *p) {
  struct message m;
  if (!receive_message(p->bell, &m, NULL) || m.kind != DECLINE) fail("no DECLINE");
  if (!hangs_up(p->bell)) fail("the victim does not hang up");
}

static void many_descriptors(struct peer *p) {
  int passed[16];
  for (size_t i = 0; i < p->number; i++) passed[i] = make_memory(CONTROL_BYTES + 2 * RING_BYTES, SEALS);
  meet(p);
  offer_memory(p, passed, p->number, RING_BYTES);
  if (!hangs_up(p->bell)) fail("the victim does not hang up");
}

static void no_memory(struct peer *p) {
  static const char *const paths[] = {"/dev/null", "/", "/dev/zero", "/proc/self/maps", "/dev/ptmx"};
  meet(p);
  int fd = open(paths[p->number], O_RDONLY);
  offer_memory(p, &fd, 1, RING_BYTES);
  expect_decline(p);
}

static void offer_lingering(struct peer *p) {
  int passed[4];
  for (size_t i = 0; i < p->number; i++) passed[i] = lingering();
  offer_memory(p, passed, p->number, RING_BYTES);
}

// Nobody but the victim holds them any more.
static void lingering_sockets(struct peer *p) {
  open_sink();
  meet(p);
  in_child(p, offer_lingering);
  if (!hangs_up(p->bell)) fail("the victim does not hang up");
}

static void send_lingering(struct peer *p) {
  int descriptor = lingering();
  struct message m = message(OFFER, RING_BYTES);
  send_message(p->bell, "short", 5, NULL, 0);
  // The victim may have hung up already, or refuse descriptors.
  for (int i = 0; i < 20; i++) try_message(p->bell, &m, sizeof m, &descriptor, 1);
}

// In messages that the victim never comes to read.
static void lingering_behind(struct peer *p) {
  open_sink();
  meet(p);
  in_child(p, send_lingering);
}

// Memory as promised but for its seals.
static void other_seals(struct peer *p) {
  meet(p);
  int fd = make_memory(CONTROL_BYTES + 2 * RING_BYTES, p->number);
  offer_memory(p, &fd, 1, RING_BYTES);
  expect_decline(p);
}

// Memory of as many bytes; rings of RING_BYTES are promised.
static void other_size(struct peer *p) {
  meet(p);
  int fd = make_memory(p->number, SEALS);
  offer_memory(p, &fd, 1, RING_BYTES);
  expect_decline(p);
}

// Rings of an absurd size, in memory that fits them where that is possible.
static void other_ring(struct peer *p) {
  meet(p);
  uint64_t bytes = CONTROL_BYTES + 2 * p->number;
  int fd = make_memory(bytes < 1 << 28 ? bytes : CONTROL_BYTES, SEALS);
  offer_memory(p, &fd, 1, p->number);
  expect_decline(p);
}

static void other_header(struct peer *p) {
  meet(p);
  map_memory(p, make_memory(CONTROL_BYTES + 2 * RING_BYTES, SEALS), RING_BYTES);
  fill_header(p);
  if (p->number == 0)
    p->page->magic++;
  else
    p->page->version++;
  offer_memory(p, &p->memory, 1, RING_BYTES);
  expect_decline(p);
}

// Positions that the victim's own words had before it came; then the attempt is given up, and what is in its ring is
// re-sent: that must be nothing.
static void positions_before(struct peer *p) {
  meet(p);
  map_memory(p, make_memory(CONTROL_BYTES + 2 * RING_BYTES, SEALS), RING_BYTES);
  fill_header(p);
  for (int i = 0; i < 2; i++) p->page->sides[i].words.tail = p->page->sides[i].words.head = p->number;
  struct message m = message(OFFER, RING_BYTES);
  send_message(p->bell, &m, sizeof m, &p->memory, 1);
  if (!receive_message(p->bell, &m, NULL) || m.kind != ACCEPT) return;
  p->page->stage = ABORTED;
  ring_bell(p);
}

// Once mapped, the memory stays: it can be neither cut off nor sealed.
static void shrinks_later(struct peer *p) {
  attach(p);
  if (ftruncate(p->memory, 0) == 0 || ftruncate(p->memory, CONTROL_BYTES) == 0) fail("the memory can be truncated");
  if (fcntl(p->memory, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == 0) fail("the memory can be sealed");
}

static void punch_holes(struct peer *p) {
  attach(p);
  for (int i = 0; i < 100; i++)
    fallocate(p->memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, CONTROL_BYTES + 2 * p->ring_bytes);
}

const struct test memory_tests[] = {
    {"no-descriptor", "l", many_descriptors, "bad-wireup", "exact", 0},
    {"two-descriptors", "l", many_descriptors, "bad-wireup", "exact", 2},
    {"sixteen-descriptors", "l", many_descriptors, "bad-wireup", "exact", 16},
    {"memory-is-a-device", "l", no_memory, "bad-segment", "exact", 0},
    {"memory-is-a-directory", "l", no_memory, "bad-segment", "exact", 1},
    {"memory-is-zero", "l", no_memory, "bad-segment", "exact", 2},
    {"memory-is-a-process", "l", no_memory, "bad-segment", "exact", 3},
    {"memory-is-a-terminal", "l", no_memory, "bad-segment", "exact", 4},
    {"memory-is-a-lingering-socket", "l", lingering_sockets, "bad-segment", "exact", 1},
    {"memory-is-lingering-sockets", "l", lingering_sockets, "bad-wireup", "exact", 4},
    {"lingering-sockets-behind", "lf", lingering_behind, "bad-wireup", "exact", 0},
    {"unsealed", "l", other_seals, "bad-segment", "exact", 0},
    {"unsealed-against-growth", "l", other_seals, "bad-segment", "exact", F_SEAL_SHRINK | F_SEAL_SEAL},
    {"unsealed-against-shrinking", "l", other_seals, "bad-segment", "exact", F_SEAL_GROW | F_SEAL_SEAL},
    {"unsealed-seals", "l", other_seals, "bad-segment", "exact", F_SEAL_SHRINK | F_SEAL_GROW},
    {"sealed-against-writing", "l", other_seals, "bad-segment", "exact", SEALS | F_SEAL_WRITE},
    {"memory-empty", "l", other_size, "bad-segment", "exact", 0},
    {"memory-truncated", "l", other_size, "bad-segment", "exact", CONTROL_BYTES + 2 * RING_BYTES - 1},
    {"memory-half", "l", other_size, "bad-segment", "exact", CONTROL_BYTES + RING_BYTES},
    {"memory-larger", "l", other_size, "bad-segment", "exact", 2 * CONTROL_BYTES + 2 * RING_BYTES},
    {"ring-of-nothing", "l", other_ring, "bad-segment", "exact", 0},
    {"ring-of-a-byte", "l", other_ring, "bad-segment", "exact", 1},
    {"ring-below-a-page", "l", other_ring, "bad-segment", "exact", 2048},
    {"ring-no-power-of-two", "l", other_ring, "bad-segment", "exact", 12288},
    {"ring-odd", "l", other_ring, "bad-segment", "exact", 65537},
    {"ring-too-large", "l", other_ring, "bad-segment", "exact", 1 << 27},
    {"ring-of-2-gigabytes", "l", other_ring, "bad-segment", "exact", 1u << 31},
    {"ring-largest-number", "l", other_ring, "bad-segment", "exact", UINT32_MAX},
    {"header-without-magic", "l", other_header, "bad-segment", "exact", 0},
    {"header-of-another-version", "l", other_header, "bad-segment", "exact", 1},
    {"positions-before-5", "l", positions_before, "", "exact", 5},
    {"positions-before-ring", "l", positions_before, "", "exact", RING_BYTES},
    {"positions-before-huge", "l", positions_before, "", "exact", 1ull << 40},
    {"positions-before-largest", "l", positions_before, "", "exact", UINT64_MAX},
    {"memory-shrinks-later", "lf", shrinks_later, "", "lane", 0},
    {"memory-gets-holes", "lf", punch_holes, "", "any", 0},
    {NULL, NULL, NULL, NULL, NULL, 0},
};
