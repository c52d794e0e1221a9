/// Entries about the life of a descriptor: how it comes, is copied, configured, and goes.
#include <linux/close_range.h>
#include <netinet/in.h>

#include "real.h"

PUBLIC int socket(int domain, int type, int protocol) {
  ENTER();
  int fd = real.socket(domain, type, protocol);
  if (fd >= 0 && shim_is_on && (domain == AF_INET || domain == AF_INET6) &&
      (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP))
    millrace_socket(fd, domain, type);
  return fd;
}

/// Two numbers that a pair has got may have been a connection's that was closed past us.
PUBLIC int socketpair(int domain, int type, int protocol, int ends[2]) {
  ENTER();
  int r = real.socketpair(domain, type, protocol, ends);
  for (int i = 0; r == 0 && i < 2; i++)
    if (UNLIKELY(mr_entry(ends[i]) != NULL) && !shim_is_borrowed()) millrace_forget(ends[i]);
  return r;
}

/// What looks for sockets among all its numbers, as a program that is handed some at its start may, finds none of ours.
PUBLIC int getsockname(int fd, struct sockaddr *address, socklen_t *length) {
  ENTER();
  if (mr_entry_kind(fd) == MR_HIDDEN) return errno = EBADF, -1;
  return real.getsockname(fd, address, length);
}

PUBLIC int getpeername(int fd, struct sockaddr *address, socklen_t *length) {
  ENTER();
  if (mr_entry_kind(fd) == MR_HIDDEN) return errno = EBADF, -1;
  return real.getpeername(fd, address, length);
}

PUBLIC int bind(int fd, const struct sockaddr *address, socklen_t length) {
  ENTER();
  return real.bind(fd, address, length);
}

PUBLIC int listen(int fd, int backlog) {
  ENTER();
  int r = real.listen(fd, backlog);
  if (r == 0 && shim_connection(fd) != NULL) millrace_listening(fd);
  return r;
}

PUBLIC int connect(int fd, const struct sockaddr *address, socklen_t length) {
  ENTER();
  if (shim_connection(fd) != NULL && address != NULL && length >= sizeof(sa_family_t) &&
      address->sa_family == AF_UNSPEC)
    millrace_disconnecting(fd);
  int r = real.connect(fd, address, length);
  if (shim_connection(fd) != NULL && (r == 0 || errno == EINPROGRESS || errno == EINTR)) millrace_connected(fd);
  return r;
}

static int accepted(int fd, int listener, int flags) {
  if (fd < 0 || !shim_is_on) return fd;
  if (mr_entry_kind(listener) == MR_LISTENER) {
    millrace_accepted(fd, listener, flags);
  } else {
    // A listener that came by exec, by a descriptor message, or from before we were loaded.
    int protocol = 0;
    socklen_t length = sizeof protocol;
    if (shim_raw(SYS_getsockopt, fd, SOL_SOCKET, SO_PROTOCOL, (long)&protocol, (long)&length, 0) == 0 &&
        protocol == IPPROTO_TCP)
      millrace_accepted(fd, listener, flags);
  }
  return fd;
}

PUBLIC int accept(int fd, struct sockaddr *address, socklen_t *length) {
  ENTER();
  return accepted(real.accept(fd, address, length), fd, 0);
}

PUBLIC int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
  ENTER();
  return accepted(real.accept4(fd, address, length, flags), fd, flags);
}

/// Closes what is ours, and what comes before our constructor.
static NOINLINE int close_known(int fd) {
  ENTER();
  if (mr_entry_kind(fd) == MR_HIDDEN) return errno = EBADF, -1;
  if (mr_entry(fd) != NULL && !shim_is_borrowed()) {
    if (UNLIKELY(shim_thread.holds != 0)) shim_let_go(__builtin_frame_address(0));
    millrace_close(fd);
  }
  return real.close(fd);
}

PUBLIC int close(int fd) {
  if (LIKELY(mr_entry(fd) == NULL) && LIKELY(shim_ready)) return real.close(fd);
  return close_known(fd);
}

/// Closes first...last but for Millrace's own descriptors, which the application does not know.
static int close_around_hidden(unsigned first, unsigned last, int flags) {
  bool borrowed = shim_is_borrowed();
  unsigned from = first;
  unsigned end = last < MR_TABLE_SIZE ? last : MR_TABLE_SIZE - 1;
  bool keeps = (flags & CLOSE_RANGE_CLOEXEC) != 0;
  for (unsigned fd = first; fd <= end; fd++) {
    if (LIKELY(mr_entry((int)fd) == NULL)) continue;
    if (mr_entry_kind((int)fd) != MR_HIDDEN) {
      if (!borrowed && !keeps) millrace_close((int)fd);
      continue;
    }
    // All of ours is closed by exec as it is.
    if (keeps) continue;
    if (fd > from && real.close_range(from, fd - 1, flags) != 0) return -1;
    from = fd + 1;
  }
  return from <= last ? real.close_range(from, last, flags) : 0;
}

PUBLIC int close_range(unsigned first, unsigned last, int flags) {
  ENTER();
  if (first > last || (flags & CLOSE_RANGE_UNSHARE) != 0) return real.close_range(first, last, flags);
  return close_around_hidden(first, last, flags);
}

PUBLIC void closefrom(int first) {
  ENTER();
  close_around_hidden(first > 0 ? (unsigned)first : 0, ~0u, 0);
}

PUBLIC int shutdown(int fd, int how) {
  ENTER();
  int error = 0;
  if (shim_connection(fd) != NULL && millrace_shutdown(fd, how, &error)) return error == 0 ? 0 : (errno = error, -1);
  return real.shutdown(fd, how);
}

PUBLIC int dup(int fd) {
  ENTER();
  if (mr_entry_kind(fd) == MR_HIDDEN) return errno = EBADF, -1;
  int copy = real.dup(fd);
  if (copy >= 0 && UNLIKELY(mr_entry(fd) != NULL) && !shim_is_borrowed()) millrace_duplicated(fd, copy);
  return copy;
}

/// What dup2 and dup3 do to their target, before and after.
static int duplicate_onto(int from, int to, int flags, bool is_dup2) {
  if (mr_entry_kind(from) == MR_HIDDEN || mr_entry_kind(to) == MR_HIDDEN) return errno = EBADF, -1;
  bool mine = (mr_entry(from) != NULL || mr_entry(to) != NULL) && from != to && !shim_is_borrowed();
  // A target that is tracked is closed by this; only if the source is good, though.
  if (mine && mr_entry(to) != NULL && shim_raw(SYS_fcntl, from, F_GETFD, 0, 0, 0, 0) >= 0) millrace_close(to);
  int r = is_dup2 ? real.dup2(from, to) : real.dup3(from, to, flags);
  if (r >= 0 && mine && mr_entry(from) != NULL) {
    millrace_duplicated(from, to);
    // stdin, stdout and stderr are read and written by libc's stdio, which does not come by here.
    if (to <= 2) millrace_decline_stdio(to);
  }
  return r;
}

PUBLIC int dup2(int from, int to) {
  ENTER();
  return duplicate_onto(from, to, 0, true);
}

PUBLIC int dup3(int from, int to, int flags) {
  ENTER();
  return duplicate_onto(from, to, flags, false);
}

PUBLIC FILE *fdopen(int fd, const char *mode) {
  ENTER();
  if (shim_connection(fd) != NULL) millrace_decline_stdio(fd);
  return real.fdopen(fd, mode);
}

static int control(int fd, int command, long argument) {
  int r = real.fcntl(fd, command, argument);
  if (LIKELY(mr_entry(fd) == NULL) || r < 0 || shim_is_borrowed()) return r;
  switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC: millrace_duplicated(fd, r); break;
    case F_SETFL:
      millrace_flags_changed(fd, (argument & O_NONBLOCK) != 0);
      if ((argument & O_ASYNC) != 0) millrace_decline_signals(fd);
      break;
    case F_SETOWN:
    case F_SETOWN_EX:
    case F_SETSIG: millrace_decline_signals(fd); break;
    default: break;
  }
  return r;
}

#define VARIADIC_CONTROL(name)                \
  PUBLIC int name(int fd, int command, ...) { \
    ENTER();                                  \
    va_list list;                             \
    va_start(list, command);                  \
    long argument = va_arg(list, long);       \
    va_end(list);                             \
    return control(fd, command, argument);    \
  }
VARIADIC_CONTROL(fcntl)
VARIADIC_CONTROL(fcntl64)

PUBLIC int ioctl(int fd, unsigned long request, ...) {
  ENTER();
  va_list list;
  va_start(list, request);
  void *argument = va_arg(list, void *);
  va_end(list);
  int result;
  if (LIKELY(shim_connection(fd) == NULL)) return real.ioctl(fd, request, argument);
  if (millrace_ioctl(fd, request, argument, &result)) return result >= 0 ? result : (errno = -result, -1);
  int r = real.ioctl(fd, request, argument);
  if (r == 0 && request == FIONBIO) millrace_flags_changed(fd, *(int *)argument != 0);
  if (r == 0 && request == FIOASYNC && *(int *)argument != 0) millrace_decline_signals(fd);
  return r;
}

PUBLIC int getsockopt(int fd, int level, int name, void *value, socklen_t *length) {
  ENTER();
  int result;
  if (shim_connection(fd) != NULL && millrace_getsockopt(fd, level, name, value, length, &result))
    return result >= 0 ? result : (errno = -result, -1);
  return real.getsockopt(fd, level, name, value, length);
}

PUBLIC int setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
  ENTER();
  if (shim_connection(fd) != NULL) millrace_setsockopt_before(fd, level, name);
  int r = real.setsockopt(fd, level, name, value, length);
  if (r == 0 && shim_connection(fd) != NULL) millrace_setsockopt_done(fd, level, name, value, length);
  return r;
}

ALIAS(__connect, connect);
ALIAS(__close, close);
ALIAS(__dup2, dup2);
ALIAS(__fcntl, fcntl);
