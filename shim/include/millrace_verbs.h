#ifndef MILLRACE_VERBS_H
#define MILLRACE_VERBS_H
/// The boundary between the library and its fabric module, libmillrace-verbs.so: one table of functions.
///
/// The module alone is linked with libibverbs, librdmacm and libnuma. It is loaded from beside the library when the
/// first verbs lane is tried, and makes no decision: each function is a verb or two, with -errno for a failure. Unless
/// a comment says otherwise, only the service thread calls it. What belongs to a lane's queue pair is called under the
/// lane's lock.
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/// Changes with anything in this file.
#define MRV_VERSION 2

/// One identifier of the connection manager, and the queue pair that hangs on it.
struct mrv_end;

enum mrv_event_kind {
  /// An address was resolved, and so the device (rdma_resolve_addr(3)).
  MRV_ADDRESS = 1,
  MRV_ROUTE = 2,
  /// Somebody calls at a listener: `end` is new.
  MRV_REQUEST = 3,
  MRV_ESTABLISHED = 4,
  /// Nobody listens there, or he says no.
  MRV_REJECTED = 5,
  /// The fabric does not lead there.
  MRV_UNREACHABLE = 6,
  MRV_DISCONNECTED = 7,
  /// The device is gone.
  MRV_REMOVED = 8,
};

struct mrv_event {
  int kind;
  int status;
  /// Of the end, or of the listener for MRV_REQUEST.
  uint64_t cookie;
  struct mrv_end *end;
  uint32_t data_length;
  uint8_t data[196];
};

/// The memory of a lane. `in` is what the peer writes into; nothing else of this process is open to it.
struct mrv_memory {
  void *out;
  void *in;
  size_t ring_bytes;
  /// `depth` buffers of `message_bytes` for what the peer sends.
  void *inbox;
  size_t message_bytes;
  uint32_t depth;
  /// Work requests of the send queue.
  uint32_t send_depth;
};

struct mrv_ready {
  /// Completion channel: readable when an armed completion queue has something.
  int channel;
  uint32_t remote_key;
  uint32_t largest_inline;
};

enum mrv_completion_kind {
  /// A signalled work request of this end's is done.
  MRV_SENT = 1,
  /// The peer has written `bytes` into the ring; `word` is its immediate.
  MRV_WRITTEN = 2,
  /// The peer has sent a message; it lies in the inbox's buffer `slot`.
  MRV_MESSAGE = 3,
  /// The queue pair is in error.
  MRV_FAILED = 4,
};

struct mrv_completion {
  uint32_t kind;
  uint32_t bytes;
  uint32_t word;
  uint32_t slot;
  /// MRV_FAILED: the status of the work completion (enum ibv_wc_status).
  uint32_t status;
};

#define MRV_SIGNALLED 1
/// The peer's sleeper is to be woken (IBV_SEND_SOLICITED).
#define MRV_SOLICITED 2

struct mrv_table {
  int version;
  /// Opens the event channel; its descriptor, non-blocking. `hide` moves a descriptor out of the application's way and
  /// gives its new number; `reveal` takes back that it is hidden, before it is closed; `empty` puts a descriptor of
  /// nothing in the place of a hidden one.
  /// `unloading` is called when the libraries are about to be taken down, at the end of the process.
  int (*open)(int (*hide)(int fd), void (*reveal)(int fd), void (*empty)(int fd), void (*unloading)(void));
  /// The next event, acknowledged: 1, 0 if there is none, or -errno.
  int (*next_event)(struct mrv_event *event);
  /// Listens at an address and port of RDMA_PS_TCP.
  int (*listen)(const struct sockaddr *own, uint64_t cookie, struct mrv_end **end);
  /// Begins to call: MRV_ADDRESS follows, or MRV_UNREACHABLE.
  int (*call)(const struct sockaddr *own, const struct sockaddr *peer, uint64_t cookie, int milliseconds,
              struct mrv_end **end);
  int (*resolve_route)(struct mrv_end *end, int milliseconds);
  /// Makes the queue pair and registers the memory, on the device's NUMA node.
  int (*prepare)(struct mrv_end *end, const struct mrv_memory *memory, struct mrv_ready *ready);
  int (*connect)(struct mrv_end *end, const void *data, size_t bytes);
  int (*accept)(struct mrv_end *end, uint64_t cookie, const void *data, size_t bytes);
  int (*reject)(struct mrv_end *end, const void *data, size_t bytes);
  void (*disconnect)(struct mrv_end *end);
  /// Gives up the queue pair, the memory and the identifier.
  void (*destroy)(struct mrv_end *end);
  /// The device is gone, and has to be let go of at once: gives up everything but the channel's number, which becomes a
  /// descriptor of nothing until `destroy`. Under the lane's lock; nothing else may be called for the end from then on.
  void (*release)(struct mrv_end *end);

  /// In the child of a fork: what is open is the parent's. Every descriptor of the module's is taken back from being
  /// hidden and made one of nothing, so that the parent's queue pairs go with the parent. The module is then good for
  /// nothing but unloading.
  void (*forget)(void);

  // The data path: any thread, under the lane's lock.

  /// Writes `bytes` from `offset` of the out ring into the peer's memory, with `word` as the immediate.
  int (*write)(struct mrv_end *end, size_t offset, size_t bytes, uint64_t remote, uint32_t key, uint32_t word,
               int flags);
  /// Sends a message of the caller's memory, which must fit inline.
  int (*send)(struct mrv_end *end, const void *message, size_t bytes, int flags);
  /// Takes up to `most` completions.
  int (*poll)(struct mrv_end *end, struct mrv_completion *completions, int most);
  /// Posts the receive requests of these inbox buffers anew.
  int (*repost)(struct mrv_end *end, const uint32_t *slots, int count);
  /// The next completion makes the channel readable; `solicited`: the next that its sender asks to be noticed.
  int (*arm)(struct mrv_end *end, int solicited);
  /// Takes the event out of the channel; 1, or 0 if there was none.
  int (*drain)(struct mrv_end *end);
};

/// What the module exports: its table, of MRV_VERSION.
__attribute__((visibility("default"))) const struct mrv_table *millrace_verbs(void);

#endif
