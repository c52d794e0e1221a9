/// Ordered start-up, and the few services that the Swift library needs from C.
#include <dlfcn.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/auxv.h>

#include "real.h"

extern char **environ;
extern char *program_invocation_short_name;

bool shim_ready;
bool shim_is_on;
static int starting;
static pid_t owner;

long shim_raw(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

static long answer(long result) {
  if (result >= 0 || result < -4095) return result;
  errno = (int)-result;
  return -1;
}

// What an allocator that starts up inside dlsym may call, straight to the kernel, until the look-ups are done.
static ssize_t early_read(int fd, void *b, size_t n) {
  return answer(shim_raw(SYS_read, fd, (long)b, n, 0, 0, 0));
}
static ssize_t early_write(int fd, const void *b, size_t n) {
  return answer(shim_raw(SYS_write, fd, (long)b, n, 0, 0, 0));
}
static int early_close(int fd) {
  return (int)answer(shim_raw(SYS_close, fd, 0, 0, 0, 0, 0));
}
static int early_fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  long argument = va_arg(list, long);
  va_end(list);
  return (int)answer(shim_raw(SYS_fcntl, fd, command, argument, 0, 0, 0));
}
static ssize_t early_readv(int fd, const struct iovec *v, int n) {
  return answer(shim_raw(SYS_readv, fd, (long)v, n, 0, 0, 0));
}
static ssize_t early_writev(int fd, const struct iovec *v, int n) {
  return answer(shim_raw(SYS_writev, fd, (long)v, n, 0, 0, 0));
}

static void look_up(void) {
  // 1. Enough for an allocator that initialises itself inside dlsym (jemalloc reads /proc and /etc).
  real.read = early_read;
  real.write = early_write;
  real.close = early_close;
  real.fcntl = early_fcntl;
  real.fcntl64 = early_fcntl;
  real.readv = early_readv;
  real.writev = early_writev;
  // 2. Everything. A name that this libc lacks stays null; nothing in the process can call it either.
  struct real_calls found = real;
  void *symbol;
#define RECEIVE(result, name, parameters, arguments, vector, flags, greedy) OTHER(result, name, parameters)
#define SEND(result, name, parameters, arguments, vector, flags) OTHER(result, name, parameters)
#define OTHER(result, name, parameters) \
  symbol = dlsym(RTLD_NEXT, #name);     \
  if (symbol != NULL) memcpy(&found.name, &symbol, sizeof symbol);
#include "calls.def"
#undef RECEIVE
#undef SEND
#undef OTHER
  real = found;
}

void shim_start(void) {
  // Re-entered from inside dlsym, or by a second thread before anybody is done: the early calls serve.
  int idle = 0;
  int error = errno;
  if (!__atomic_compare_exchange_n(&starting, &idle, 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return;
  look_up();
  // 3. The process that the tables belong to, before anything can be tracked.
  owner = (pid_t)shim_raw(SYS_getpid, 0, 0, 0, 0, 0, 0);
  // 4. Configuration, from the environment as the program was given it.
  static char *const nothing[] = {NULL};
  millrace_start(environ != NULL ? environ : nothing);
  shim_is_on = millrace_is_on();
  // 5. From here on, entries go straight through.
  __atomic_store_n(&shim_ready, true, __ATOMIC_RELEASE);
  errno = error;
}

__attribute__((constructor(101))) static void load(void) {
  if (!shim_ready) shim_start();
}

/// Whether the end of the process has been told: exit runs this and then _exit.
static bool told;

__attribute__((destructor)) static void unload(void) {
  shim_tell_end();
}

void shim_tell_end(void) {
  if (told || !shim_ready || shim_is_borrowed()) return;
  told = true;
  millrace_exit();
}

pid_t shim_owner(void) {
  return owner;
}

bool shim_is_borrowed(void) {
  return (pid_t)shim_raw(SYS_getpid, 0, 0, 0, 0, 0, 0) != owner;
}

void shim_forked(void) {
  owner = (pid_t)shim_raw(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

uint64_t shim_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/// A lane without shared memory has no word to sleep on: its bell is a descriptor, and so is what wakes from this
/// process.
static void sleep_on_bell(struct mr_call *call, struct shim_seen seen) {
  struct pollfd entries[2] = {{.fd = call->bell, .events = POLLIN}, {.fd = call->nudge, .events = POLLIN}};
  struct timespec timeout, *limit = NULL;
  int old;
  long r;
  do {
    if (call->deadline != 0 || call->nudge < 0) {
      uint64_t now = shim_now();
      uint64_t left = call->deadline > now ? call->deadline - now : 0;
      if (call->nudge < 0 && (call->deadline == 0 || left > 1000000)) left = 1000000;
      timeout = (struct timespec){.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
      limit = &timeout;
    }
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    r = shim_raw(SYS_ppoll, (long)entries, 2, (long)limit, 0, 0, 0);
    pthread_setcanceltype(old, NULL);
    // A wait with a time limit is not restarted (signal(7)), nor one that a handler without SA_RESTART has come into.
  } while (r == -EINTR && call->deadline == 0 && shim_thread.handled != seen.handled &&
           shim_thread.interrupted == seen.interrupted);
  call->rang = r > 0 && entries[0].revents != 0;
  bool over = r == 0 && call->deadline != 0 && shim_now() >= call->deadline;
  call->error = r == -EINTR ? EINTR : over ? ETIMEDOUT : 0;
}

void shim_sleep(struct mr_call *call, struct shim_seen seen) {
  // A handler has come while the thread was awake in this call: the futex would not know. It restarts calls without a
  // time limit if the handler asks for that (signal(7)).
  if (shim_is_interrupted(call, seen)) {
    call->error = EINTR;
    return;
  }
  if (call->word == NULL) {
    sleep_on_bell(call, seen);
    return;
  }
  struct timespec timeout, *limit = NULL;
  if (call->deadline != 0) {
    uint64_t now = shim_now();
    uint64_t left = call->deadline > now ? call->deadline - now : 1;
    timeout.tv_sec = (time_t)(left / 1000000000u);
    timeout.tv_nsec = (long)(left % 1000000000u);
    limit = &timeout;
  }
  // The calls that sleep here are cancellation points, and a raw system call is none by itself.
  int old;
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
  long r = shim_raw(SYS_futex, (long)call->word, FUTEX_WAIT, call->expected, (long)limit, 0, 0);
  pthread_setcanceltype(old, NULL);
  call->error = r < 0 ? (int)-r : 0;
}

static void *service(void *unused) {
  (void)unused;
  millrace_service();
  return NULL;
}

int shim_start_thread(void) {
  pthread_t thread;
  pthread_attr_t attributes;
  sigset_t all, old;
  int r = pthread_attr_init(&attributes);
  if (r != 0) return r;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 256 << 10);
  // The application's signals are for the application's threads.
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  r = pthread_create(&thread, &attributes, service, NULL);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  pthread_attr_destroy(&attributes);
  if (r == 0) pthread_setname_np(thread, "millrace");
  return r;
}

void shim_log(const char *text, size_t length, bool is_last) {
  char line[512] = "millrace: ";
  size_t at = strlen(line);
  if (length > sizeof line - at - 1) length = sizeof line - at - 1;
  memcpy(line + at, text, length);
  line[at + length] = '\n';
  // Standard error may be a pipe that nobody reads, or a file longer than RLIMIT_FSIZE allows: that is no reason to end
  // the program. Both signals are the writing thread's own, so what comes while they are blocked can be taken back.
  uint64_t fatal = UINT64_C(1) << (SIGPIPE - 1) | UINT64_C(1) << (SIGXFSZ - 1), before = 0, pending = 0;
  shim_raw(SYS_rt_sigprocmask, SIG_BLOCK, (long)&fatal, (long)&before, sizeof fatal, 0, 0);
  if (!is_last) shim_raw(SYS_rt_sigpending, (long)&pending, sizeof pending, 0, 0, 0, 0);
  long r = shim_raw(SYS_write, 2, (long)line, (long)(at + length + 1), 0, 0, 0);
  if (r == -EPIPE || r == -EFBIG) {
    // Who ends needs no signals any more, and may be confined to the system calls that ending takes.
    if (is_last) return;
    struct timespec none = {0, 0};
    fatal &= ~pending;
    if (fatal != 0) shim_raw(SYS_rt_sigtimedwait, (long)&fatal, 0, (long)&none, sizeof fatal, 0, 0);
  }
  shim_raw(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, sizeof before, 0, 0);
}

_Noreturn void shim_trap(void) {
  Dl_info where;
  char line[200];
  void *caller = __builtin_return_address(0);
  if (dladdr(caller, &where) == 0) where.dli_fbase = 0;
  int n = snprintf(line, sizeof line, "failed precondition at libmillrace.so+0x%zx",
                   (size_t)((char *)caller - (char *)where.dli_fbase));
  shim_log(line, (size_t)n, false);
  abort();
}

const struct mrv_table *shim_load_verbs(void) {
  static const char name[] = "libmillrace-verbs.so";
  Dl_info where;
  char path[PATH_MAX];
  if (dladdr(&real, &where) == 0 || where.dli_fname == NULL) return NULL;
  const char *slash = strrchr(where.dli_fname, '/');
  size_t length = slash == NULL ? 0 : (size_t)(slash + 1 - where.dli_fname);
  if (length + sizeof name > sizeof path) return NULL;
  memcpy(path, where.dli_fname, length);
  memcpy(path + length, name, sizeof name);
  // The child of a fork needs librdmacm without what it knows of the parent's devices.
  static void *module;
  if (module != NULL) dlclose(module);
  module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (module == NULL) return NULL;
  const struct mrv_table *(*table)(void);
  void *symbol = dlsym(module, "millrace_verbs");
  if (symbol == NULL) return NULL;
  memcpy(&table, &symbol, sizeof table);
  return table()->version == MRV_VERSION ? table() : NULL;
}

const char *shim_program(void) {
  return program_invocation_short_name;
}
