// What can go wrong between the wireup and the lane: at each step the peer hangs up, ends, stops or lies.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "peer.h"

static void first_steps(struct peer *p) {
  wire_up(p);
  cut_over(p, p->number);
}

static void hang_up_at(struct peer *p) {
  first_steps(p);
  close(p->bell);
}

// One that gives up says so first. Before anything is agreed, that is its right.
static void give_up_at(struct peer *p) {
  first_steps(p);
  p->page->stage = ABORTED;
  close(p->bell);
}

static void end_at(struct peer *p) {
  first_steps(p);
  shutdown(p->tcp, SHUT_WR);
}

static void reset_at(struct peer *p) {
  first_steps(p);
  struct linger none = {1, 0};
  setsockopt(p->tcp, SOL_SOCKET, SO_LINGER, &none, sizeof none);
  close(p->tcp);
}

static void stall_at(struct peer *p) {
  first_steps(p);
}

// Bytes of the application's where a mark or a record is due, or nothing is.
static void bytes_at(struct peer *p) {
  first_steps(p);
  unsigned char bytes[1000];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = random_word();
  tcp_send(p, bytes, sizeof bytes);
}

static void few_bytes_at(struct peer *p) {
  first_steps(p);
  tcp_send(p, "12345", 5);
}

static void change_stage(struct peer *p, uint64_t random) {
  p->page->stage = random & 8 ? random & 3 : random;
}

static void stage_changes(struct peer *p) {
  first_steps(p);
  keep_changing(p, change_stage);
}

static void stage_is_garbage(struct peer *p) {
  first_steps(p);
  p->page->stage = 77;
  ring_bell(p);
}

// Cuts.

static void leaders_cut(struct peer *p) {
  wire_up(p);
  publish_cut(p, p->written + p->number);
}

static void followers_cut(struct peer *p) {
  wire_up(p);
  cut_over(p, 2);
  publish_cut(p, p->written + p->number);
}

static void change_cut(struct peer *p, uint64_t random) {
  p->own->cut = random & 1 ? random : p->written + (random >> 1 & 15);
  p->own->fixed_cut = random >> 8;
}

static void cuts_change(struct peer *p) {
  first_steps(p);
  keep_changing(p, change_cut);
  if (p->leads) publish_cut(p, p->written);
  ring_bell(p);
}

// Dead in the middle, with absurd words left behind: where does the dead one's ring continue?
static void absurd_legacy(struct peer *p) {
  first_steps(p);
  p->own->cut = p->own->fixed_cut = p->number;
  p->own->tail = p->number - 1;
  p->own->head = ~p->number;
  close(p->bell);
  shutdown(p->tcp, SHUT_WR);
}

// Marks. The lane begins as it should; the mark does not.

enum { BEFORE_LEADERS_MARK = 2, BEFORE_FOLLOWERS_MARK = 4 };

static void up_to_mark(struct peer *p) {
  wire_up(p);
  cut_over(p, p->leads ? BEFORE_LEADERS_MARK : BEFORE_FOLLOWERS_MARK);
}

static void wrong_mark(struct peer *p) {
  up_to_mark(p);
  p->low ^= p->number;
  if (p->number == 0) p->high = ~p->high;
  write_mark(p);
}

static void half_a_mark(struct peer *p) {
  up_to_mark(p);
  uint64_t high = __builtin_bswap64(p->leads ? p->high : ~p->high);
  tcp_send(p, &high, p->number);
}

// TCP may cut a mark in any way.
static void mark_in_pieces(struct peer *p) {
  up_to_mark(p);
  uint64_t words[] = {__builtin_bswap64(p->leads ? p->high : ~p->high), __builtin_bswap64(p->low)};
  for (size_t i = 0; i < sizeof words; i += p->number) tcp_send(p, (char *)words + i, p->number);
  if (p->leads) {
    await_cut(p);
    write_learned(p);
    read_mark(p);
  }
}

static void two_marks(struct peer *p) {
  up_to_mark(p);
  write_mark(p);
  write_mark(p);
}

// A leader's answer that is none.

static void up_to_learned(struct peer *p) {
  wire_up(p);
  cut_over(p, 4);
}

static void detach_for_learned(struct peer *p) {
  up_to_learned(p);
  write_detach(p, p->number);
}

static void garbage_for_learned(struct peer *p) {
  up_to_learned(p);
  uint64_t words[] = {random_word(), random_word()};
  tcp_send(p, words, sizeof words);
}

#define AT_EACH_STEP(name, act, after)                                                                              \
  {name "-0", "lf", act, "", after, 0}, {name "-1", "lf", act, "", after, 1}, {name "-2", "lf", act, "", after, 2}, \
      {name "-3", "lf", act, "", after, 3}, {name "-4", "lf", act, "", after, 4},                                   \
      {name "-5", "lf", act, "", after, 5}, {                                                                       \
    name "-6", "l", act, "", after, 6                                                                               \
  }

const struct test cutover_tests[] = {
    AT_EACH_STEP("hang-up-at", hang_up_at, "any"),
    AT_EACH_STEP("give-up-at", give_up_at, "any"),
    AT_EACH_STEP("end-at", end_at, "any"),
    AT_EACH_STEP("reset-at", reset_at, "any"),
    AT_EACH_STEP("stall-at", stall_at, "any"),
    AT_EACH_STEP("bytes-at", bytes_at, "any"),
    AT_EACH_STEP("few-bytes-at", few_bytes_at, "any"),
    AT_EACH_STEP("stage-changes-at", stage_changes, "any"),
    AT_EACH_STEP("stage-is-garbage-at", stage_is_garbage, "any"),
    AT_EACH_STEP("cuts-change-at", cuts_change, "any"),
    AT_EACH_STEP("absurd-legacy-at", absurd_legacy, "any"),
    {"gives-up-at-once", "lf", give_up_at, "attach-aborts", "exact", 0},
    {"hangs-up-at-once", "lf", hang_up_at, "attach-aborts", "exact", 0},
    {"leaders-cut-too-low", "l", leaders_cut, "busy", "exact", (uint64_t)-1},
    {"leaders-cut-too-high", "l", leaders_cut, "busy", "exact", 1000},
    {"leaders-cut-huge", "l", leaders_cut, "busy", "exact", 1ull << 60},
    {"followers-cut-too-low", "f", followers_cut, "hostile-messages", "over", (uint64_t)-1},
    {"followers-cut-too-high", "f", followers_cut, "busy", "any", 1000},
    {"followers-cut-huge", "f", followers_cut, "busy", "any", 1ull << 60},
    {"mark-of-another-lane", "lf", wrong_mark, "hostile-messages", "over", 1},
    {"mark-reflected", "lf", wrong_mark, "hostile-messages", "over", 0},
    {"half-a-mark", "lf", half_a_mark, "", "any", 8},
    {"byte-of-a-mark", "lf", half_a_mark, "", "any", 1},
    {"mark-in-bytes", "lf", mark_in_pieces, "attaches", "lane", 1},
    {"mark-in-halves", "lf", mark_in_pieces, "attaches", "lane", 8},
    {"two-marks", "lf", two_marks, "hostile-messages", "over", 0},
    {"detach-for-learned-at-5", "l", detach_for_learned, "hostile-messages", "over", 5},
    {"detach-for-learned-at-largest", "l", detach_for_learned, "hostile-messages", "over", UINT64_MAX},
    {"garbage-for-learned", "l", garbage_for_learned, "hostile-messages", "over", 0},
    {NULL, NULL, NULL, NULL, NULL, 0},
};
