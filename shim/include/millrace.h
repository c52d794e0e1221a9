#ifndef MILLRACE_H
#define MILLRACE_H
/// The whole boundary between the C interposer and the Swift library.
///
/// C owns three things that the ABI demands of it: the exported names, variadic functions, and blocking. A thread that
/// blocks is in a C frame, because Embedded Swift has no unwind tables and a thread may be cancelled there. So a data
/// call is a conversation: Swift says what to do next (``mr_step``), C does it, and asks again.
#ifndef _GNU_SOURCE
// As everywhere else: the two modules that Swift imports must see the same declarations of libc.
#define _GNU_SOURCE
#endif
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "millrace_verbs.h"

struct pollfd;
struct epoll_event;

/// What a descriptor is to Millrace: the first byte of whatever its table entry points to.
enum mr_kind {
  MR_NONE = 0,
  /// A TCP socket that is, or may become, a connection.
  MR_CONNECTION = 1,
  /// A TCP socket that listens.
  MR_LISTENER = 2,
  /// An epoll set that holds connections.
  MR_EPOLL = 3,
  /// A descriptor of Millrace's own. The application does not know it, and cannot close it.
  MR_HIDDEN = 4,
};

/// Descriptors from this number on are never tracked.
#define MR_TABLE_SIZE (1 << 20)

/// One entry per descriptor, null for those that are left alone. Zero pages until something is tracked.
extern void *mr_table[MR_TABLE_SIZE];

static inline void *mr_entry(int fd) {
  return (unsigned)fd < MR_TABLE_SIZE ? __atomic_load_n(&mr_table[fd], __ATOMIC_SEQ_CST) : NULL;
}
static inline void mr_set_entry(int fd, void *entry) {
  if ((unsigned)fd < MR_TABLE_SIZE) __atomic_store_n(&mr_table[fd], entry, __ATOMIC_SEQ_CST);
}
static inline enum mr_kind mr_entry_kind(int fd) {
  const uint8_t *entry = mr_entry(fd);
  return entry == NULL ? MR_NONE : (enum mr_kind) * entry;
}

/// What C does next for a data call.
enum mr_step {
  /// Return `result`, or -1 with errno `error` if that is not 0.
  MR_DONE = 0,
  /// Make the real call, and resume with its result.
  MR_KERNEL = 1,
  /// Sleep on `word` while it is `expected`, or without one until `bell` or `nudge` is readable; then resume.
  MR_SLEEP = 2,
  /// Make the real call for what is left behind the first `moved` bytes, and resume with its result.
  MR_REST = 3,
};

/// In ``mr_call.flags``: the call is read or one of its kin, which answer a request for nothing at once; recv waits.
#define MR_AS_FILE 0x10000000

/// Which pin on its connection a call holds while it is in C; see Connection.pins.
enum mr_pin { MR_PIN_NONE = 0, MR_PIN_READER = 1, MR_PIN_SENDER = 2, MR_PIN_SLEEPER = 3, MR_PIN_GREEDY = 4 };

/// One data call of an application on one descriptor, on its stack.
struct mr_call {
  void *connection;
  const struct iovec *vector;
  size_t vector_count;
  int fd;
  /// MSG_ flags of the call.
  int flags;
  /// Result of the real call on resume, and of the whole call when done.
  ssize_t result;
  int error;
  /// An ``mr_pin``, released by the cleanup handler if the thread is cancelled.
  int pin;
  /// Bytes moved by earlier rounds of the same call (MSG_WAITALL, blocking send).
  size_t moved;
  /// MR_SLEEP: futex word, expected value, and CLOCK_MONOTONIC deadline in nanoseconds (0: none).
  uint32_t *word;
  uint64_t deadline;
  uint32_t expected;
  /// The sleep is one bounded slice: the call goes on when it ends, whatever the reason.
  bool slice;
  /// Set when the call has begun to count time.
  bool timed;
  /// MR_SLEEP without a word: the descriptors to wait for, a lane's bell and the eventfd of the thread's place among
  /// those that sleep so (-1: none, then the sleep is one of a millisecond), and whether the bell was found readable.
  bool rang;
  int bell;
  int nudge;
  int place;
  /// It has been in the kernel or asleep: a close does not take the connection away from it.
  bool resumed;
  /// The real call waits for more than one arrival (MSG_WAITALL, splice): the mark would not wake it.
  bool greedy;
  /// Source of a sendfile: descriptor and offset, or -1.
  int file;
  off_t *file_offset;
};

// Start-up and life of a process (Entry/Process.swift).

/// Called once, before any other entry, by whoever comes first: our constructor or somebody's first call.
void millrace_start(char *const *environment);
/// Whether this process may have lanes at all.
bool millrace_is_on(void);
/// After fork, in the child, before anything else runs there.
void millrace_forked_child(void);
/// Before fork and, in the parent, after it. `child` is the result of fork.
void millrace_before_fork(void);
void millrace_after_fork(pid_t child);
/// The process ends.
void millrace_exit(void);
/// An exec is about to happen, here or in a child that libc makes. Connections whose descriptors survive it are TCP's
/// from now on. `borrowed`: in a vfork child, whose descriptors the table does not describe. `replaces`: it is this
/// process that becomes another program.
void millrace_before_exec(bool borrowed, bool replaces);
void millrace_exec_failed(void);

// Life of a descriptor (Entry/Descriptors.swift).

void millrace_socket(int fd, int domain, int type);
void millrace_connected(int fd);
void millrace_listening(int fd);
void millrace_accepted(int fd, int listener, int flags);
/// A new epoll set.
void millrace_epoll_created(int fd);
/// Somebody waits for the set itself to become readable: poll, select, or a set around it.
void millrace_epoll_nested(int fd);
/// The set `inner` is registered in the set `outer`.
void millrace_epoll_inside(int outer, int inner);
/// connect(2) to AF_UNSPEC is about to dissolve the connection.
void millrace_disconnecting(int fd);
/// libc itself reaches the descriptor from now on, past our entries: stdio, dprintf, asynchronous requests.
void millrace_decline_stdio(int fd);
/// Before the real close. True: nothing of ours, or the last use; go on. False: a hidden descriptor, answer EBADF.
bool millrace_close(int fd);
/// A new descriptor that is not to be tracked: whatever had its number was closed past us.
void millrace_forget(int fd);
/// Before the real dup2 onto `to`; false as above.
void millrace_duplicated(int from, int to);
bool millrace_shutdown(int fd, int how, int *error);
void millrace_flags_changed(int fd, bool nonblocking);
/// An application asked for something that only the kernel can do for this socket.
/// A connection that is on a lane leaves it first: these return when it is TCP's.
void millrace_decline_option(int fd);
void millrace_decline_splice(int fd);
void millrace_decline_passed(int fd);
void millrace_decline_urgent(int fd);
void millrace_decline_signals(int fd);
void millrace_decline_file(int fd);
/// The process has made an io_uring: nothing of it is a candidate any more, and when this returns nothing rides a lane.
void millrace_uring(void);
/// Whether calls on this connection no longer go to the kernel.
bool millrace_on_lane(int fd);

// Data (Entry/Data.swift).

enum mr_step millrace_receive(struct mr_call *call);
enum mr_step millrace_receive_resume(struct mr_call *call);
enum mr_step millrace_send(struct mr_call *call);
enum mr_step millrace_send_resume(struct mr_call *call);
/// Releases the pin of a call whose thread is being cancelled.
void millrace_call_abandoned(struct mr_call *call);

// Options and queries (Entry/Options.swift). True: answered, result in *result (-errno on failure).

bool millrace_getsockopt(int fd, int level, int name, void *value, socklen_t *length, int *result);
/// Before the kernel sets an option that only it can honour.
void millrace_setsockopt_before(int fd, int level, int name);
void millrace_setsockopt_done(int fd, int level, int name, const void *value, socklen_t length);
bool millrace_ioctl(int fd, unsigned long request, void *argument, int *result);

// Waiting (Entry/Waits.swift).

/// One poll or select of an application that names at least one connection.
struct mr_wait {
  /// The application's descriptors.
  struct pollfd *polled;
  /// Room for twice as many and one: the kernel's part, a descriptor to be woken by, then notes about each.
  struct pollfd *kernel;
  size_t count;
  /// CLOCK_MONOTONIC deadline in nanoseconds; 0: do not wait; UINT64_MAX: no deadline.
  uint64_t deadline;
  /// MR_KERNEL: nanoseconds to wait, UINT64_MAX for ever.
  uint64_t timeout;
  int result;
  int error;
  bool pinned;
  /// There is a signal mask to change for the sleep: that only the kernel's poll can.
  bool masked;
  /// MR_SLEEP: futex word and expected value.
  uint32_t *word;
  uint32_t expected;
  /// The thread is one of those that sleep in poll, and which.
  bool sleeps;
  int place;
};
enum mr_step millrace_poll(struct mr_wait *wait);
enum mr_step millrace_poll_resume(struct mr_wait *wait);
void millrace_poll_abandoned(struct mr_wait *wait);

/// One wait on an epoll set that holds lanes.
struct mr_epoll_wait {
  void *set;
  struct epoll_event *events;
  int capacity;
  int epfd;
  /// Events that are in `events` already when the kernel is asked for more.
  int found;
  uint64_t deadline;
  /// MR_KERNEL: nanoseconds to wait, 0 just to look, UINT64_MAX for ever.
  uint64_t timeout;
  int result;
  int error;
  bool asleep;
};
enum mr_step millrace_epoll_wait(struct mr_epoll_wait *wait);
enum mr_step millrace_epoll_resume(struct mr_epoll_wait *wait);
void millrace_epoll_abandoned(struct mr_epoll_wait *wait);
/// True: done, *result is 0 or -errno. False: not our business.
bool millrace_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event, int *result);

// What the shim offers to Swift.

/// Starts the service thread with all signals blocked; 0 or an errno.
int shim_start_thread(void);
/// Body of the service thread (Service/Service.swift).
void millrace_service(void);
/// The process that the tables describe. In a vfork child it is the parent.
pid_t shim_owner(void);
/// The child of a fork is a process of its own from now on.
void shim_forked(void);
/// Writes a message to standard error, preceded by "millrace: ", whatever descriptor 2 is. Never allocates.
void shim_log(const char *text, size_t length, bool is_last);
_Noreturn void shim_trap(void);
/// Loads the verbs module from beside the library, anew if it was loaded before: its table, or null.
const struct mrv_table *shim_load_verbs(void);
/// Name of the running program, without its directory.
const char *shim_program(void);

#endif
