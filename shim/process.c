/// fork, exec, and the system calls that a program makes by number.
#include <alloca.h>

#include "real.h"

extern char **environ;

PUBLIC pid_t fork(void) {
  ENTER();
  // A vfork child that forks (nobody should) has nothing of ours to prepare.
  if (shim_is_borrowed()) return real.fork();
  millrace_before_fork();
  pid_t child = real.fork();
  if (child == 0) {
    shim_forked();
    millrace_forked_child();
  } else {
    int error = errno;
    millrace_after_fork(child);
    errno = error;
  }
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

/// The new image knows nothing of lanes: what survives the exec has to be a plain TCP socket by then. Should the exec
/// fail, the connections are on TCP, and may earn a lane again.
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

/// The child of a later posix_spawn gets the connection under another number, whatever its close-on-exec flag says.
PUBLIC int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *actions, int fd, int copy) {
  ENTER();
  if (shim_connection(fd) != NULL && !shim_is_borrowed()) millrace_decline_passed(fd);
  return real.posix_spawn_file_actions_adddup2(actions, fd, copy);
}

/// A call by number goes through the entry of its name, where it has one.
PUBLIC long syscall(long number, ...) {
  ENTER();
  va_list list;
  va_start(list, number);
  long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long);
  long d = va_arg(list, long), e = va_arg(list, long), f = va_arg(list, long);
  va_end(list);
  switch (number) {
    case SYS_read: return read((int)a, (void *)b, (size_t)c);
    case SYS_write: return write((int)a, (const void *)b, (size_t)c);
    case SYS_readv: return readv((int)a, (const struct iovec *)b, (int)c);
    case SYS_writev: return writev((int)a, (const struct iovec *)b, (int)c);
    case SYS_recvfrom: return recvfrom((int)a, (void *)b, (size_t)c, (int)d, (struct sockaddr *)e, (socklen_t *)f);
    case SYS_recvmsg: return recvmsg((int)a, (struct msghdr *)b, (int)c);
    case SYS_recvmmsg: return recvmmsg((int)a, (struct mmsghdr *)b, (unsigned)c, (int)d, (struct timespec *)e);
    case SYS_sendto:
      return sendto((int)a, (const void *)b, (size_t)c, (int)d, (const struct sockaddr *)e, (socklen_t)f);
    case SYS_sendmsg: return sendmsg((int)a, (const struct msghdr *)b, (int)c);
    case SYS_sendmmsg: return sendmmsg((int)a, (struct mmsghdr *)b, (unsigned)c, (int)d);
    case SYS_sendfile: return sendfile((int)a, (int)b, (off_t *)c, (size_t)d);
    case SYS_splice: return splice((int)a, (off64_t *)b, (int)c, (off64_t *)d, (size_t)e, (unsigned)f);
    case SYS_socket: return socket((int)a, (int)b, (int)c);
    case SYS_listen: return listen((int)a, (int)b);
    case SYS_connect: return connect((int)a, (const struct sockaddr *)b, (socklen_t)c);
    case SYS_accept: return accept((int)a, (struct sockaddr *)b, (socklen_t *)c);
    case SYS_accept4: return accept4((int)a, (struct sockaddr *)b, (socklen_t *)c, (int)d);
    case SYS_shutdown: return shutdown((int)a, (int)b);
    case SYS_close: return close((int)a);
    case SYS_close_range: return close_range((unsigned)a, (unsigned)b, (int)c);
    case SYS_dup: return dup((int)a);
    case SYS_dup2: return dup2((int)a, (int)b);
    case SYS_dup3: return dup3((int)a, (int)b, (int)c);
    case SYS_fcntl: return fcntl((int)a, (int)b, c);
    case SYS_ioctl: return ioctl((int)a, (unsigned long)b, (void *)c);
    case SYS_getsockopt: return getsockopt((int)a, (int)b, (int)c, (void *)d, (socklen_t *)e);
    case SYS_setsockopt: return setsockopt((int)a, (int)b, (int)c, (const void *)d, (socklen_t)e);
    case SYS_poll: return poll((struct pollfd *)a, (nfds_t)b, (int)c);
    case SYS_epoll_ctl: return epoll_ctl((int)a, (int)b, (int)c, (struct epoll_event *)d);
    case SYS_epoll_wait: return epoll_wait((int)a, (struct epoll_event *)b, (int)c, (int)d);
    case SYS_epoll_pwait: return epoll_pwait((int)a, (struct epoll_event *)b, (int)c, (int)d, (const sigset_t *)e);
    case SYS_io_uring_setup: millrace_uring(); break;
    default: break;
  }
  return real.syscall(number, a, b, c, d, e, f);
}
