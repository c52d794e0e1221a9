#ifndef MILLRACE_INSIDE_H
#define MILLRACE_INSIDE_H
/// What a thread is doing on our side of the boundary, and the boundary's functions as C calls them: with signals put
/// off until the thread is back (signals.c).

/// What a data call holds while its thread is in the kernel or asleep.
struct shim_hold {
  void *connection;
  char *frame;
  int pin;
};
enum { SHIM_HOLDS = 4 };
struct shim_thread {
  /// Calls into Swift that it is in.
  int inside;
  /// Data calls that it is in the kernel for, or asleep; the innermost last.
  int holds;
  struct shim_hold held[SHIM_HOLDS];
  /// Signals that wait until it is outside.
  uint64_t put_off;
  /// Handlers that it has run; those without SA_RESTART.
  uint32_t handled, interrupted;
};
extern __thread struct shim_thread shim_thread __attribute__((visibility("hidden")));
/// Whether anything is tracked in this process, and handlers are put off. Off, a call costs no more than its look-up.
extern bool shim_is_on;
/// Lets the signals come that were put off.
void shim_deliver(void);
/// Releases what data calls of this thread hold that were left by siglongjmp; `frame` is that of a call that begins.
void shim_let_go(char *frame);

static inline void shim_enter(void) {
  shim_thread.inside++;
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
}
static inline void shim_leave(void) {
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  if (--shim_thread.inside == 0 && UNLIKELY(shim_thread.put_off != 0)) shim_deliver();
}

#define INSIDE(call)             \
  ({                             \
    shim_enter();                \
    __auto_type inside_r = call; \
    shim_leave();                \
    inside_r;                    \
  })
#define INSIDE_VOID(call) \
  do {                    \
    shim_enter();         \
    call;                 \
    shim_leave();         \
  } while (0)

#define millrace_call_abandoned(c) INSIDE_VOID(millrace_call_abandoned(c))
#define millrace_poll(w) INSIDE(millrace_poll(w))
#define millrace_poll_resume(w) INSIDE(millrace_poll_resume(w))
#define millrace_poll_abandoned(w) INSIDE_VOID(millrace_poll_abandoned(w))
#define millrace_epoll_wait(w) INSIDE(millrace_epoll_wait(w))
#define millrace_epoll_resume(w) INSIDE(millrace_epoll_resume(w))
#define millrace_epoll_abandoned(w) INSIDE_VOID(millrace_epoll_abandoned(w))
#define millrace_epoll_ctl(...) INSIDE(millrace_epoll_ctl(__VA_ARGS__))
#define millrace_epoll_created(fd) INSIDE_VOID(millrace_epoll_created(fd))
#define millrace_epoll_nested(fd) INSIDE_VOID(millrace_epoll_nested(fd))
#define millrace_epoll_inside(...) INSIDE_VOID(millrace_epoll_inside(__VA_ARGS__))
#define millrace_socket(...) INSIDE_VOID(millrace_socket(__VA_ARGS__))
#define millrace_connected(fd) INSIDE_VOID(millrace_connected(fd))
#define millrace_listening(fd) INSIDE_VOID(millrace_listening(fd))
#define millrace_accepted(...) INSIDE_VOID(millrace_accepted(__VA_ARGS__))
#define millrace_disconnecting(fd) INSIDE_VOID(millrace_disconnecting(fd))
#define millrace_close(fd) INSIDE(millrace_close(fd))
#define millrace_duplicated(...) INSIDE_VOID(millrace_duplicated(__VA_ARGS__))
#define millrace_shutdown(...) INSIDE(millrace_shutdown(__VA_ARGS__))
#define millrace_flags_changed(...) INSIDE_VOID(millrace_flags_changed(__VA_ARGS__))
#define millrace_decline_stdio(fd) INSIDE_VOID(millrace_decline_stdio(fd))
#define millrace_decline_splice(fd) INSIDE_VOID(millrace_decline_splice(fd))
#define millrace_decline_passed(fd) INSIDE_VOID(millrace_decline_passed(fd))
#define millrace_decline_signals(fd) INSIDE_VOID(millrace_decline_signals(fd))
#define millrace_decline_file(fd) INSIDE_VOID(millrace_decline_file(fd))
#define millrace_getsockopt(...) INSIDE(millrace_getsockopt(__VA_ARGS__))
#define millrace_setsockopt_before(...) INSIDE_VOID(millrace_setsockopt_before(__VA_ARGS__))
#define millrace_setsockopt_done(...) INSIDE_VOID(millrace_setsockopt_done(__VA_ARGS__))
#define millrace_ioctl(...) INSIDE(millrace_ioctl(__VA_ARGS__))
#define millrace_before_exec(...) INSIDE_VOID(millrace_before_exec(__VA_ARGS__))
#define millrace_exec_failed() INSIDE_VOID(millrace_exec_failed())
#define millrace_exit() INSIDE_VOID(millrace_exit())

/// Notes what a data call holds while it is outside, for when a handler does not come back.
static inline void shim_hold(const struct mr_call *call) {
  struct shim_thread *thread = &shim_thread;
  if (thread->holds < SHIM_HOLDS)
    thread->held[thread->holds] = (struct shim_hold){call->connection, __builtin_frame_address(0), call->pin};
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  thread->holds++;
}
static inline void shim_unhold(void) {
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  shim_thread.holds--;
}

/// The handlers that a thread had run when a call of it began. A blocking call that a handler has come into returns, as
/// it would from the kernel, though the thread was awake at that moment.
struct shim_seen {
  uint32_t handled, interrupted;
};
static inline struct shim_seen shim_look(void) {
  return (struct shim_seen){shim_thread.handled, shim_thread.interrupted};
}

#endif
