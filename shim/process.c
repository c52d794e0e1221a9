/// fork, exec, and what ends a process.
#include <alloca.h>
#include <pty.h>
#include <sched.h>
#include <utmp.h>

#include "real.h"

extern char **environ;

/// The rest of a fork, in parent and child. Before it come shim_enter and millrace_before_fork.
static pid_t forked(pid_t child) {
  int error = errno;
  if (child == 0) {
    shim_forked();
    millrace_forked_child();
  } else {
    millrace_after_fork(child);
  }
  shim_leave();
  errno = error;
  return child;
}

/// A vfork child that forks (nobody should) has nothing of ours to prepare.
#define FORK(REAL)                         \
  do {                                     \
    if (shim_is_borrowed()) return (REAL); \
    shim_enter();                          \
    millrace_before_fork();                \
    return forked((pid_t)(REAL));          \
  } while (0)

PUBLIC pid_t fork(void) {
  ENTER();
  FORK(real.fork());
}
ALIAS(__fork, fork);

PUBLIC pid_t _Fork(void) {
  ENTER();
  FORK(real._Fork());
}

long shim_fork_by_number(long number, long a, long b, long c, long d, long e) {
  FORK(real.syscall(number, a, b, c, d, e));
}

/// What a clone without CLONE_VM runs in its own copy of the parent's memory.
struct cloned {
  int (*body)(void *);
  void *argument;
};
static int in_clone(void *start) {
  struct cloned cloned = *(struct cloned *)start;
  // The thread's own data may be another's (CLONE_SETTLS).
  shim_thread.inside = 1;
  forked(0);
  return cloned.body(cloned.argument);
}

PUBLIC int clone(int (*body)(void *), void *stack, int flags, void *argument, ...) {
  ENTER();
  va_list list;
  va_start(list, argument);
  pid_t *parent_tid = va_arg(list, pid_t *);
  void *tls = va_arg(list, void *);
  pid_t *child_tid = va_arg(list, pid_t *);
  va_end(list);
  if ((flags & CLONE_VM) != 0 || body == NULL || stack == NULL || shim_is_borrowed())
    return real.clone(body, stack, flags, argument, parent_tid, tls, child_tid);
  struct cloned start = {body, argument};
  shim_enter();
  millrace_before_fork();
  return forked(real.clone(in_clone, stack, flags, &start, parent_tid, tls, child_tid));
}
ALIAS(__clone, clone);

/// forkpty(3) forks inside libc, past our fork.
PUBLIC int forkpty(int *controller, char *name, const struct termios *attributes, const struct winsize *size) {
  int terminal;
  if (openpty(controller, &terminal, name, attributes, size) == -1) return -1;
  pid_t child = fork();
  if (child == 0) {
    close(*controller);
    if (login_tty(terminal) != 0) _exit(1);
    return 0;
  }
  int error = errno;
  close(terminal);
  if (child == -1) close(*controller);
  errno = error;
  return child;
}

/// daemon(3) forks inside libc, past our fork.
PUBLIC int daemon(int stay, int keep) {
  ENTER();
  switch (fork()) {
    case -1: return -1;
    case 0: break;
    default: _exit(0);
  }
  if (setsid() == -1) return -1;
  if (stay == 0 && chdir("/") == -1) return -1;
  if (keep != 0) return 0;
  int null = open("/dev/null", O_RDWR);
  if (null < 0) return -1;
  for (int fd = 0; fd <= 2; fd++) dup2(null, fd);
  if (null > 2) close(null);
  return 0;
}

/// The new image knows nothing of lanes: what survives the exec is a plain TCP socket by then, for good. Should the
/// exec fail, the connections are on TCP, and may earn a lane again.
#define EXEC(REAL)                             \
  do {                                         \
    bool borrowed = shim_is_borrowed();        \
    millrace_before_exec(borrowed, !borrowed); \
    int r = (REAL), error = errno;             \
    if (!borrowed) millrace_exec_failed();     \
    errno = error;                             \
    return r;                                  \
  } while (0)

PUBLIC int execve(const char *path, char *const arguments[], char *const environment[]) {
  ENTER();
  EXEC(real.execve(path, arguments, environment));
}
PUBLIC int execv(const char *path, char *const arguments[]) {
  ENTER();
  EXEC(real.execv(path, arguments));
}
PUBLIC int execvp(const char *file, char *const arguments[]) {
  ENTER();
  EXEC(real.execvp(file, arguments));
}
PUBLIC int execvpe(const char *file, char *const arguments[], char *const environment[]) {
  ENTER();
  EXEC(real.execvpe(file, arguments, environment));
}
PUBLIC int execveat(int fd, const char *path, char *const arguments[], char *const environment[], int flags) {
  ENTER();
  EXEC(real.execveat(fd, path, arguments, environment, flags));
}
PUBLIC int fexecve(int fd, char *const arguments[], char *const environment[]) {
  ENTER();
  EXEC(real.fexecve(fd, arguments, environment));
}

/// The arguments of a variadic exec as an array on the stack; `list` is left behind the terminating null pointer.
#define COLLECT(list, first, arguments)                       \
  va_list list, counting;                                     \
  va_start(list, first);                                      \
  va_copy(counting, list);                                    \
  size_t count = 1;                                           \
  while (va_arg(counting, char *) != NULL) count++;           \
  va_end(counting);                                           \
  char **arguments = alloca((count + 1) * sizeof *arguments); \
  arguments[0] = (char *)first;                               \
  for (size_t i = 1; i <= count; i++) arguments[i] = va_arg(list, char *)

PUBLIC int execl(const char *path, const char *first, ...);
PUBLIC int execl(const char *path, const char *first, ...) {
  COLLECT(list, first, arguments);
  va_end(list);
  return execve(path, arguments, environ);
}
PUBLIC int execlp(const char *file, const char *first, ...);
PUBLIC int execlp(const char *file, const char *first, ...) {
  COLLECT(list, first, arguments);
  va_end(list);
  return execvp(file, arguments);
}
PUBLIC int execle(const char *path, const char *first, ...);
PUBLIC int execle(const char *path, const char *first, ...) {
  COLLECT(list, first, arguments);
  char **environment = va_arg(list, char **);
  va_end(list);
  return execve(path, arguments, environment);
}

/// A child of a fork that ends without the destructors still gives back what it shares.
PUBLIC _Noreturn void _exit(int status) {
  shim_tell_end();
  shim_raw(SYS_exit_group, status, 0, 0, 0, 0, 0);
  __builtin_unreachable();
}

PUBLIC _Noreturn void _Exit(int status) {
  _exit(status);
}

PUBLIC int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[]) {
  ENTER();
  millrace_before_exec(shim_is_borrowed(), false);
  return real.posix_spawn(pid, path, actions, attributes, arguments, environment);
}

PUBLIC int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[]) {
  ENTER();
  millrace_before_exec(shim_is_borrowed(), false);
  return real.posix_spawnp(pid, file, actions, attributes, arguments, environment);
}

// These spawn a shell inside libc.

PUBLIC int system(const char *command) {
  ENTER();
  if (command != NULL) millrace_before_exec(shim_is_borrowed(), false);
  return real.system(command);
}

PUBLIC FILE *popen(const char *command, const char *mode) {
  ENTER();
  millrace_before_exec(shim_is_borrowed(), false);
  return real.popen(command, mode);
}
PUBLIC FILE *_IO_popen(const char *command, const char *mode);
ALIAS(_IO_popen, popen);

PUBLIC int wordexp(const char *words, wordexp_t *expanded, int flags) {
  ENTER();
  // Only a command substitution does.
  if ((flags & WRDE_NOCMD) == 0 && strpbrk(words, "$`") != NULL) millrace_before_exec(shim_is_borrowed(), false);
  return real.wordexp(words, expanded, flags);
}

/// The child of a later posix_spawn gets the connection under another number, whatever its close-on-exec flag says.
PUBLIC int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *actions, int fd, int copy) {
  ENTER();
  if (shim_connection(fd) != NULL && !shim_is_borrowed()) millrace_decline_passed(fd);
  return real.posix_spawn_file_actions_adddup2(actions, fd, copy);
}
