// A peer that does not keep to the protocol. It speaks the wireup, the cutover and the ring by itself, from what the
// sources of the library say of them, and is never preloaded.
#ifndef HOSTILE_PEER_H
#define HOSTILE_PEER_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

enum {
  MESSAGE_BYTES = 64,
  RECORD_BYTES = 16,
  CONTROL_BYTES = 4096,
  NAME_BYTES = 48,
  RING_BYTES = 1 << 16,
  LAYOUT_VERSION = 3
};
enum message_kind { OFFER = 1, ACCEPT = 2, DECLINE = 3 };
enum stage { FRESH = 0, OFFERED = 1, LEARNED = 2, ABORTED = 3 };
enum { FINISHED = 1, CLOSED = 2, RESET = 4, ARM_FUTEX = 1, ARM_BELL = 2, ARM_GROUP = 4 };

struct message {
  uint64_t magic;
  uint32_t version, kind, detail, unused;
  uint64_t high, low, more[3];
};

// The words of one end in the control page (LaneLayout.swift).
struct side {
  _Alignas(64) _Atomic uint64_t tail;
  _Atomic uint32_t finish;
  _Alignas(64) _Atomic uint64_t head;
  _Alignas(64) _Atomic uint32_t reader_arm;
  _Atomic uint64_t reader_ticket;
  _Alignas(64) _Atomic uint32_t writer_arm;
  _Alignas(64) _Atomic uint64_t cut;
  uint64_t unused;
  _Atomic uint64_t fixed_cut;
  _Atomic uint64_t records_taken;
};

struct page {
  uint64_t magic;
  uint32_t version, ring_bytes;
  unsigned char unused[48];
  _Atomic uint32_t stage;
  unsigned char fill[444];
  struct {
    struct side words;
    unsigned char fill[512 - sizeof(struct side)];
  } sides[2];
};

// The connection to the victim, and what has been agreed beside it.
struct peer {
  int tcp;
  // This end has accepted the connection: it leads, and the victim binds the name.
  bool leads;
  // Bytes on the kernel path, marks and records included.
  uint64_t written, received;
  int listener, bell, memory;
  struct page *page;
  struct side *own, *other;
  unsigned char *ring_out, *ring_in;
  size_t ring_bytes;
  uint64_t high, low;
  // The test's.
  uint64_t number;
};

struct test {
  const char *name;
  // "l": the peer leads; "f": it follows.
  const char *roles;
  void (*act)(struct peer *);
  // What the victim is to count: a decline reason or a counter of `millrace ss`, or "".
  const char *counts;
  // What becomes of the connection afterwards: "exact" (goes on over TCP), "lane" (goes on over the lane), "over"
  // (reset or ended by the victim), "stopped" and "killed" (the peer is), "any".
  const char *after;
  uint64_t number;
};

extern const struct test wireup_tests[], memory_tests[], cutover_tests[], lane_tests[];

// Ends the program: the peer itself could not do what it wanted, or the victim did not do what it must.
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// The kernel path.
void send_all(int fd, const void *bytes, size_t count);
void tcp_send(struct peer *, const void *bytes, size_t count);
void tcp_receive(struct peer *, void *bytes, size_t count);
// Sends `count` bytes and has them echoed.
void tcp_exchange(struct peer *, size_t count);
// True if the connection ends or fails before anything else comes; what comes is thrown away.
bool tcp_is_over(struct peer *);

// The rendezvous.
int name_listen(const struct peer *);
int name_call(const struct peer *);
int name_accept(int listener);
struct message message(uint32_t kind, uint32_t detail);
// False if the victim, or the kernel on its behalf, does not take it.
bool try_message(int fd, const void *bytes, size_t count, const int *descriptors, size_t descriptor_count);
void send_message(int fd, const void *bytes, size_t count, const int *descriptors, size_t descriptor_count);
// Receives one message, with its descriptor if there is one. False at the end.
bool receive_message(int fd, struct message *, int *descriptor);
// Waits for the other end of a Unix socket to hang up.
bool hangs_up(int fd);

// The steps of an honest peer, for those who want to go wrong later.
int make_memory(size_t bytes, unsigned seals);
void map_memory(struct peer *, int memory, size_t ring_bytes);
void fill_header(struct peer *);
// Binds the name (follower), then has the victim begin. The leader calls.
void meet(struct peer *);
void offer(struct peer *);
void wire_up(struct peer *);
void ring_bell(struct peer *);
void await_bell(struct peer *);
void publish_cut(struct peer *, uint64_t cut);
void learn(struct peer *);
void await_learned(struct peer *);
void write_mark(struct peer *);
void read_mark(struct peer *);
void await_cut(struct peer *);
void write_learned(struct peer *);
void read_learned(struct peer *);
void write_detach(struct peer *, uint64_t consumed);
// The first `steps` steps of the cutover, as the end that this is.
enum { LEADER_STEPS = 6, FOLLOWER_STEPS = 5 };
void cut_over(struct peer *, int steps);
// Wires up, cuts over, and has bytes echoed on the lane.
void attach(struct peer *);

// The lane.
void lane_put(struct peer *, const void *bytes, size_t count);
// Waits until the victim has put something in.
void await_bytes(struct peer *);
size_t lane_get(struct peer *, void *bytes, size_t count);
void lane_exchange(struct peer *, size_t count);
void wake_victim(struct peer *);

// A thread that keeps calling `change` until `stop_changing`.
void keep_changing(struct peer *, void (*change)(struct peer *, uint64_t random));
void stop_changing(void);
uint64_t random_word(void);
// Tells the runner that the deed is done, and waits until it has looked.
void done(void);

#endif
