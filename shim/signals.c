/// Signals. While a thread is on our side of the boundary it may hold locks, and a handler that used the same
/// connection would wait for its own thread for ever, or leave by siglongjmp with a lock held. So handlers run through
/// one function of ours, which puts a signal off until the thread is back: it queues it again, blocked, and
/// shim_deliver unblocks it.
#include <signal.h>
#include <ucontext.h>

#include "real.h"

__thread struct shim_thread shim_thread;

/// What the program has installed, where the kernel has `on_signal`.
struct handler {
  void (*function)(int, siginfo_t *, void *);
  int flags;
};
static struct handler handlers[_NSIG];

/// Raised by what the thread itself has just done: it cannot go on before it is handled.
static bool is_synchronous(int number, const siginfo_t *info) {
  switch (number) {
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
    case SIGSYS: return info->si_code > 0;
    default: return false;
  }
}

static void on_signal(int number, siginfo_t *info, void *context);

/// False if the signal cannot be queued again.
static bool put_off(int number, siginfo_t *info, ucontext_t *context) {
  long pid = shim_raw(SYS_getpid, 0, 0, 0, 0, 0, 0), tid = shim_raw(SYS_gettid, 0, 0, 0, 0, 0, 0);
  // It would be delivered to the default action otherwise, which the kernel has put in the place of ours.
  if ((handlers[number].flags & SA_RESETHAND) != 0) {
    struct sigaction again = {.sa_sigaction = on_signal, .sa_flags = handlers[number].flags | SA_SIGINFO};
    real.sigaction(number, &again, NULL);
  }
  if (shim_raw(SYS_rt_tgsigqueueinfo, pid, tid, number, (long)info, 0, 0) != 0) return false;
  sigaddset(&context->uc_sigmask, number);
  __atomic_fetch_or(&shim_thread.put_off, UINT64_C(1) << (number - 1), __ATOMIC_RELAXED);
  return true;
}

static void on_signal(int number, siginfo_t *info, void *context) {
  struct shim_thread *thread = &shim_thread;
  if (UNLIKELY(thread->inside != 0) && !is_synchronous(number, info) && put_off(number, info, context)) return;
  struct handler handler = handlers[number];
  // A handler may leave by siglongjmp: nothing is counted that it would have to undo.
  thread->handled++;
  if ((handler.flags & SA_RESTART) == 0) thread->interrupted++;
  int inside = thread->inside;
  thread->inside = 0;
  handler.function(number, info, context);
  thread->inside = inside;
}

void shim_deliver(void) {
  uint64_t signals = __atomic_exchange_n(&shim_thread.put_off, 0, __ATOMIC_RELAXED);
  shim_raw(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&signals, 0, sizeof signals, 0, 0);
}

static bool is_function(void (*function)(int, siginfo_t *, void *)) {
  // SIG_DFL, SIG_IGN and the SIG_HOLD of sigset.
  return (uintptr_t)function > 2;
}

/// Shows the program what it has installed itself.
static void translate(struct handler was, struct sigaction *action) {
  bool is_ours = action->sa_sigaction == on_signal;
  // SA_RESETHAND leaves the flags.
  bool was_ours = (was.flags & SA_RESETHAND) != 0 && action->sa_handler == SIG_DFL;
  if (is_ours) action->sa_sigaction = was.function;
  if ((is_ours || was_ours) && (was.flags & SA_SIGINFO) == 0) action->sa_flags &= ~SA_SIGINFO;
}

PUBLIC int sigaction(int number, const struct sigaction *action, struct sigaction *old) {
  ENTER();
  if (number < 1 || number >= _NSIG || !shim_is_on) return real.sigaction(number, action, old);
  struct handler was = handlers[number];
  struct sigaction ours, seen;
  const struct sigaction *installed = action;
  if (action != NULL && is_function(action->sa_sigaction) && action->sa_sigaction != on_signal && !shim_is_borrowed()) {
    ours = *action;
    ours.sa_sigaction = on_signal;
    ours.sa_flags |= SA_SIGINFO;
    installed = &ours;
    // Before the kernel has it: the signal may come at once.
    handlers[number] = (struct handler){action->sa_sigaction, action->sa_flags};
  }
  int r = real.sigaction(number, installed, &seen);
  if (r != 0) {
    if (installed == &ours) handlers[number] = was;
    return r;
  }
  if (installed == action && action != NULL) handlers[number].flags &= ~SA_RESETHAND;
  translate(was, &seen);
  if (old != NULL) *old = seen;
  return 0;
}
ALIAS(__sigaction, sigaction);

/// The older calls differ in flags and masks. libc installs what they ask for, and ours is put in its place.
static __sighandler_t installed(int number, __sighandler_t before, struct handler was) {
  if (before == SIG_ERR || !shim_is_on) return before;
  struct sigaction now;
  if (real.sigaction(number, NULL, &now) == 0 && is_function(now.sa_sigaction)) sigaction(number, &now, NULL);
  return before == (__sighandler_t)(uintptr_t)on_signal ? (__sighandler_t)(uintptr_t)was.function : before;
}

#define OLDER(name)                                                                                 \
  PUBLIC __sighandler_t name(int number, __sighandler_t function);                                  \
  PUBLIC __sighandler_t name(int number, __sighandler_t function) {                                 \
    ENTER();                                                                                        \
    struct handler was = number >= 1 && number < _NSIG ? handlers[number] : (struct handler){0, 0}; \
    return installed(number, real.name(number, function), was);                                     \
  }
OLDER(signal)
OLDER(ssignal)
OLDER(sysv_signal)
OLDER(__sysv_signal)
OLDER(sigset)

// What a thread holds while it is in the kernel or asleep for a data call, for a handler that leaves it by siglongjmp.

static bool is_on_alternate_stack(void) {
  stack_t stack;
  return shim_raw(SYS_sigaltstack, 0, (long)&stack, 0, 0, 0, 0) == 0 && (stack.ss_flags & SS_ONSTACK) != 0;
}

void shim_let_go(char *frame) {
  // The kernel leaves more than this between a handler and what it has interrupted.
  const size_t slack = 512;
  struct shim_thread *thread = &shim_thread;
  while (thread->holds > 0) {
    int innermost = thread->holds <= SHIM_HOLDS ? thread->holds - 1 : SHIM_HOLDS - 1;
    struct shim_hold last = thread->held[innermost];
    // Whoever calls may be a handler that has interrupted that call, which then goes on.
    if (frame + slack <= last.frame || is_on_alternate_stack()) return;
    thread->holds = innermost;
    struct mr_call left = {.connection = last.connection, .pin = last.pin, .fd = -1};
    millrace_call_abandoned(&left);
  }
}
