#ifndef MILLRACE_REAL_H
#define MILLRACE_REAL_H
/// libc's own functions, looked up once behind ours.
#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <wordexp.h>

#include "millrace.h"

#define RECEIVE(result, name, parameters, arguments, vector, flags, greedy) OTHER(result, name, parameters)
#define SEND(result, name, parameters, arguments, vector, flags) OTHER(result, name, parameters)
#define OTHER(result, name, parameters) result(*name) parameters;
struct real_calls {
#include "calls.def"
};
#undef OTHER
#undef SEND
#undef RECEIVE

extern struct real_calls real;
extern bool shim_ready;

/// Looks everything up. Safe to call from any thread and from inside itself (an allocator that starts up in dlsym).
void shim_start(void);

#define PUBLIC __attribute__((visibility("default")))
#define NOINLINE __attribute__((noinline))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#include "inside.h"

/// A second public name of one of libc's calls.
#define ALIAS(second, name) PUBLIC __typeof__(name) second __attribute__((alias(#name)))

/// Every entry begins with this: calls arrive before our constructor does.
#define ENTER()                              \
  do {                                       \
    if (UNLIKELY(!shim_ready)) shim_start(); \
  } while (0)

/// Makes the system call itself; result as libc gives it.
long shim_raw(long number, long a, long b, long c, long d, long e, long f);

/// The process that the tables describe. A vfork child runs in its parent's memory and must not touch them.
bool shim_is_borrowed(void);

/// A fork by its number, or a clone that amounts to one.
long shim_fork_by_number(long number, long a, long b, long c, long d, long e);

/// The process ends: tells Swift, once.
void shim_tell_end(void);

/// Performs MR_SLEEP.
void shim_sleep(struct mr_call *call, struct shim_seen seen);

/// Performs MR_REST.
ssize_t shim_rest(struct mr_call *call, bool sends);

/// CLOCK_MONOTONIC in nanoseconds.
uint64_t shim_now(void);

/// A call's return, with errno set on failure only.
static inline ssize_t shim_return(const struct mr_call *call) {
  if (call->error == 0) return call->result;
  errno = call->error;
  return -1;
}

/// Runs when a thread is cancelled inside a call. Cleanup handlers of pthread.h and not of the compiler: those would
/// need libgcc_s at load. Only what blocks pays for them.
static inline void shim_cancelled(void *call) {
  shim_thread.holds--;
  millrace_call_abandoned(call);
}

static inline void *shim_connection(int fd) {
  const uint8_t *entry = mr_entry(fd);
  return UNLIKELY(entry != NULL && *entry == MR_CONNECTION) ? (void *)entry : NULL;
}

/// Whether a handler has come into a call while its thread was awake, for which the call is over: always without
/// SA_RESTART, and with it if the call has a time limit or has moved something (signal(7)).
static inline bool shim_is_interrupted(const struct mr_call *call, struct shim_seen seen) {
  return shim_thread.interrupted != seen.interrupted ||
         ((call->deadline != 0 || call->moved > 0) && shim_thread.handled != seen.handled);
}

/// Converses with Swift until the call is done; `REAL` is evaluated whenever the kernel is to be asked.
#define CONVERSE(call, entry, REAL)                                                              \
  do {                                                                                           \
    /* Data that is there must not hide that the thread is to be cancelled. */                   \
    pthread_testcancel();                                                                        \
    if (UNLIKELY(shim_thread.holds != 0)) shim_let_go(__builtin_frame_address(0));               \
    struct shim_seen seen = shim_look();                                                         \
    bool is_again = false;                                                                       \
    shim_enter();                                                                                \
    enum mr_step step = entry(&(call));                                                          \
    while (step != MR_DONE) {                                                                    \
      pthread_cleanup_push(shim_cancelled, &(call));                                             \
      /* What is held is noted before a signal may come. */                                      \
      shim_hold(&(call));                                                                        \
      shim_leave();                                                                              \
      if (step == MR_SLEEP) {                                                                    \
        shim_sleep(&(call), seen);                                                               \
      } else if (UNLIKELY(is_again) && shim_is_interrupted(&(call), seen)) {                     \
        /* From the lane back to the kernel in the middle of the call. */                        \
        (call).result = -1;                                                                      \
        (call).error = EINTR;                                                                    \
      } else {                                                                                   \
        (call).result = step == MR_KERNEL ? (REAL) : shim_rest(&(call), entry == millrace_send); \
        (call).error = (call).result < 0 ? errno : 0;                                            \
      }                                                                                          \
      is_again = true;                                                                           \
      shim_enter();                                                                              \
      shim_unhold();                                                                             \
      pthread_cleanup_pop(0);                                                                    \
      step = entry##_resume(&(call));                                                            \
    }                                                                                            \
    shim_leave();                                                                                \
  } while (0)

#endif
