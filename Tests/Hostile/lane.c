// The cutover and the lane, as an honest peer goes through them: the steps that those who go wrong later need first.
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include "peer.h"

static const uint64_t LEARNED_TAG = 0x4d696c6c4c726e64, DETACH_TAG = 0x4d696c6c44746368;

void meet(struct peer *p) {
  if (p->leads) {
    tcp_exchange(p, 100);
    p->bell = name_call(p);
  } else {
    p->listener = name_listen(p);
    tcp_exchange(p, 100);
    p->bell = name_accept(p->listener);
  }
}

void offer(struct peer *p) {
  map_memory(p, make_memory(CONTROL_BYTES + 2 * RING_BYTES, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), RING_BYTES);
  fill_header(p);
  struct message m = message(OFFER, RING_BYTES);
  m.high = p->high = random_word();
  m.low = p->low = random_word();
  send_message(p->bell, &m, sizeof m, &p->memory, 1);
}

void wire_up(struct peer *p) {
  meet(p);
  struct message m;
  if (p->leads) {
    offer(p);
    if (!receive_message(p->bell, &m, NULL) || m.kind != ACCEPT) fail("the victim does not accept");
    return;
  }
  int memory;
  if (!receive_message(p->bell, &m, &memory) || m.kind != OFFER) fail("the victim does not offer");
  map_memory(p, memory, m.detail);
  p->high = m.high;
  p->low = m.low;
  m = message(ACCEPT, 0);
  send_message(p->bell, &m, sizeof m, NULL, 0);
}

// A full bell is readable already, and one that is hung up has no victim.
void ring_bell(struct peer *p) {
  send(p->bell, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

// Something may have changed; if nothing does for long, the victim has not done its part.
void await_bell(struct peer *p) {
  char bytes[64];
  ssize_t r = recv(p->bell, bytes, sizeof bytes, 0);
  if (r <= 0) fail("the victim never rings: %s", r == 0 ? "hung up" : strerror(errno));
}

void publish_cut(struct peer *p, uint64_t cut) {
  p->own->cut = cut + 1;
  uint32_t fresh = FRESH;
  if (p->leads) atomic_compare_exchange_strong(&p->page->stage, &fresh, OFFERED);
  ring_bell(p);
}

static void publish_own_cut(struct peer *p) {
  publish_cut(p, p->written);
}

static void await_stage(struct peer *p, uint32_t wanted) {
  while (p->page->stage != wanted) {
    if (p->page->stage == ABORTED) fail("the victim gave up");
    await_bell(p);
  }
}

void learn(struct peer *p) {
  await_stage(p, OFFERED);
  if (p->other->cut != p->received + 1) fail("the victim's cut is %lu, not %lu", p->other->cut - 1, p->received);
  p->own->fixed_cut = p->written + 1;
  uint32_t offered = OFFERED;
  if (!atomic_compare_exchange_strong(&p->page->stage, &offered, LEARNED)) fail("the victim gave up");
  ring_bell(p);
}

void await_learned(struct peer *p) {
  await_stage(p, LEARNED);
}

static void send_words(struct peer *p, uint64_t high, uint64_t low) {
  uint64_t words[] = {__builtin_bswap64(high), __builtin_bswap64(low)};
  tcp_send(p, words, sizeof words);
}

static void expect_words(struct peer *p, uint64_t high, uint64_t low, const char *what) {
  uint64_t words[2];
  tcp_receive(p, words, sizeof words);
  if (words[0] != __builtin_bswap64(high) || words[1] != __builtin_bswap64(low)) fail("no %s", what);
  p->own->records_taken = p->received;
}

void write_mark(struct peer *p) {
  send_words(p, p->leads ? p->high : ~p->high, p->low);
}
void read_mark(struct peer *p) {
  expect_words(p, p->leads ? ~p->high : p->high, p->low, "mark");
}
void write_learned(struct peer *p) {
  send_words(p, p->high ^ LEARNED_TAG, p->low);
}
void read_learned(struct peer *p) {
  expect_words(p, p->high ^ LEARNED_TAG, p->low, "LEARNED");
}
void write_detach(struct peer *p, uint64_t consumed) {
  send_words(p, p->high ^ DETACH_TAG, consumed);
}

void await_cut(struct peer *p) {
  while (p->other->cut == 0) await_bell(p);
  if (p->other->cut != p->received + 1) fail("the follower's cut is %lu, not %lu", p->other->cut - 1, p->received);
}

void cut_over(struct peer *p, int steps) {
  static void (*const leader[])(struct peer *) = {publish_own_cut, await_learned, write_mark,
                                                  await_cut,       write_learned, read_mark};
  static void (*const follower[])(struct peer *) = {learn, read_mark, publish_own_cut, read_learned, write_mark};
  for (int i = 0; i < steps && i < (p->leads ? LEADER_STEPS : FOLLOWER_STEPS); i++)
    (p->leads ? leader : follower)[i](p);
}

void attach(struct peer *p) {
  wire_up(p);
  cut_over(p, LEADER_STEPS);
  // The victim is on the lane once it echoes there.
  lane_exchange(p, 1000);
  const char *order = getenv("HOSTILE_ORDER");
  if (order == NULL) return;
  // The victim forks, and its child answers.
  char answer[5];
  lane_put(p, order, sizeof answer);
  for (size_t got = 0; got < sizeof answer;) got += lane_get(p, answer + got, sizeof answer - got);
}

static void wake(struct peer *p, _Atomic uint32_t *word) {
  uint32_t bits = atomic_fetch_and(word, ~(ARM_FUTEX | ARM_BELL | ARM_GROUP));
  if (bits & ARM_FUTEX) syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
  if (bits & (ARM_BELL | ARM_GROUP)) ring_bell(p);
}

void wake_victim(struct peer *p) {
  wake(p, &p->other->reader_arm);
  wake(p, &p->other->writer_arm);
}

void lane_put(struct peer *p, const void *bytes, size_t count) {
  for (size_t i = 0; i < count; i++)
    p->ring_out[(p->own->tail + i) & (p->ring_bytes - 1)] = ((const unsigned char *)bytes)[i];
  p->own->tail += count;
  wake(p, &p->other->reader_arm);
}

void await_bytes(struct peer *p) {
  while (p->other->tail == p->own->head) {
    p->own->reader_arm |= ARM_BELL;
    if (p->other->tail == p->own->head) await_bell(p);
  }
}

size_t lane_get(struct peer *p, void *bytes, size_t count) {
  await_bytes(p);
  size_t ready = p->other->tail - p->own->head;
  if (count > ready) count = ready;
  for (size_t i = 0; i < count; i++) ((unsigned char *)bytes)[i] = p->ring_in[(p->own->head + i) & (p->ring_bytes - 1)];
  p->own->head += count;
  wake(p, &p->other->writer_arm);
  return count;
}

void lane_exchange(struct peer *p, size_t count) {
  unsigned char out[4096], in[4096];
  while (count > 0) {
    size_t piece = count < sizeof out ? count : sizeof out;
    for (size_t i = 0; i < piece; i++) out[i] = random_word();
    lane_put(p, out, piece);
    for (size_t got = 0; got < piece;) got += lane_get(p, in + got, piece - got);
    if (memcmp(out, in, piece) != 0) fail("the stream on the lane is not exact");
    count -= piece;
  }
}

// A thread that never rests.

static atomic_bool changing;
static pthread_t changer;
static struct peer *changed;
static void (*changes)(struct peer *, uint64_t);

static void *change_all_the_time(void *unused) {
  (void)unused;
  uint64_t state = random_word() | 1;
  while (changing) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    changes(changed, state);
  }
  return NULL;
}

void keep_changing(struct peer *p, void (*change)(struct peer *, uint64_t)) {
  changed = p;
  changes = change;
  changing = true;
  if (pthread_create(&changer, NULL, change_all_the_time, NULL) != 0) fail("no thread");
}

void stop_changing(void) {
  if (!changing) return;
  changing = false;
  pthread_join(changer, NULL);
}
