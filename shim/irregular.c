/// Entries that do not fit the table's shape: addresses and messages, several calls in one, files.
#include <limits.h>

#include "real.h"

#define RECEIVE_WITH(result, fd_, vector_, count_, flags_, greedy_, REAL) \
  do {                                                                    \
    struct mr_call call = {.connection = connection,                      \
                           .fd = (fd_),                                   \
                           .vector = (vector_),                           \
                           .vector_count = (count_),                      \
                           .flags = (flags_),                             \
                           .greedy = (greedy_),                           \
                           .file = -1};                                   \
    CONVERSE(call, millrace_receive, REAL);                               \
    result = shim_return(&call);                                          \
  } while (0)
#define SEND_WITH(result, fd_, vector_, count_, flags_, REAL) \
  do {                                                        \
    struct mr_call call = {.connection = connection,          \
                           .fd = (fd_),                       \
                           .vector = (vector_),               \
                           .vector_count = (count_),          \
                           .flags = (flags_),                 \
                           .file = -1};                       \
    CONVERSE(call, millrace_send, REAL);                      \
    result = shim_return(&call);                              \
  } while (0)

/// The part of a vector behind its first `skip` bytes.
static size_t behind(const struct iovec *vector, size_t count, size_t skip, struct iovec *rest) {
  size_t n = 0;
  for (size_t i = 0; i < count; i++) {
    if (skip >= vector[i].iov_len) {
      skip -= vector[i].iov_len;
      continue;
    }
    rest[n].iov_base = (char *)vector[i].iov_base + skip;
    rest[n++].iov_len = vector[i].iov_len - skip;
    skip = 0;
  }
  return n;
}

/// Waits until the real call will move something. The kernel does not know that the call has moved bytes on a lane: by
/// itself it would restart it behind a handler with SA_RESTART, where a call that has moved something returns.
static bool await_rest(struct mr_call *call, bool sends) {
  if ((call->flags & MSG_DONTWAIT) != 0 || (shim_raw(SYS_fcntl, call->fd, F_GETFL, 0, 0, 0, 0) & O_NONBLOCK) != 0)
    return true;
  struct timeval limit = {0, 0};
  socklen_t length = sizeof limit;
  uint64_t left = 0;
  if (call->deadline != 0) {
    uint64_t now = shim_now();
    left = call->deadline > now ? call->deadline - now : 1;
  } else if (real.getsockopt(call->fd, SOL_SOCKET, sends ? SO_SNDTIMEO : SO_RCVTIMEO, &limit, &length) == 0) {
    left = (uint64_t)limit.tv_sec * 1000000000u + (uint64_t)limit.tv_usec * 1000u;
  }
  struct timespec timeout = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
  struct pollfd socket = {.fd = call->fd, .events = sends ? POLLOUT : POLLIN};
  int r = real.ppoll(&socket, 1, left != 0 ? &timeout : NULL, NULL);
  if (r == 0) errno = EAGAIN;
  return r > 0;
}

ssize_t shim_rest(struct mr_call *call, bool sends) {
  if (call->moved > 0 && !await_rest(call, sends)) return -1;
  if (call->file >= 0)
    return real.sendfile(call->fd, call->file, call->file_offset, call->vector[0].iov_len - call->moved);
  struct iovec rest[UIO_MAXIOV];
  struct msghdr message = {.msg_iov = rest};
  message.msg_iovlen = behind(call->vector, call->vector_count, call->moved, rest);
  int flags = call->flags & ~MR_AS_FILE;
  return sends ? real.sendmsg(call->fd, &message, flags) : real.recvmsg(call->fd, &message, flags);
}

PUBLIC ssize_t recvfrom(int fd, void *buffer, size_t bytes, int flags, struct sockaddr *from, socklen_t *length) {
  ENTER();
  void *connection = shim_connection(fd);
  if (LIKELY(connection == NULL)) return real.recvfrom(fd, buffer, bytes, flags, from, length);
  struct iovec one = {buffer, bytes};
  ssize_t r;
  RECEIVE_WITH(r, fd, &one, 1, flags, (flags & MSG_WAITALL) != 0,
               real.recvfrom(fd, buffer, bytes, flags, from, length));
  // TCP gives no address, and says so by a length of 0.
  if (r >= 0 && from != NULL && length != NULL) *length = 0;
  return r;
}

PUBLIC ssize_t __recvfrom_chk(int fd, void *buffer, size_t bytes, size_t size, int flags, struct sockaddr *from,
                              socklen_t *length) {
  ENTER();
  if (LIKELY(shim_connection(fd) == NULL) || bytes > size)
    return real.__recvfrom_chk(fd, buffer, bytes, size, flags, from, length);
  return recvfrom(fd, buffer, bytes, flags, from, length);
}

#define KNOWN_RWF (RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND)

PUBLIC ssize_t preadv2(int fd, const struct iovec *vector, int count, off_t offset, int flags) {
  ENTER();
  void *connection = shim_connection(fd);
  // An unknown flag is refused before anything is read.
  if (LIKELY(connection == NULL) || offset != -1 || (flags & ~KNOWN_RWF) != 0)
    return real.preadv2(fd, vector, count, offset, flags);
  ssize_t r;
  RECEIVE_WITH(r, fd, vector, (size_t)count, MR_AS_FILE | ((flags & RWF_NOWAIT) != 0 ? MSG_DONTWAIT : 0), false,
               real.preadv2(fd, vector, count, offset, flags));
  return r;
}

PUBLIC ssize_t preadv64v2(int fd, const struct iovec *vector, int count, off64_t offset, int flags) {
  return preadv2(fd, vector, count, offset, flags);
}

PUBLIC ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
  ENTER();
  void *connection = shim_connection(fd);
  if (LIKELY(connection == NULL) || message == NULL) return real.recvmsg(fd, message, flags);
  // The error queue is the kernel's; too many vectors are refused before anything is read.
  if ((flags & MSG_ERRQUEUE) != 0 || message->msg_iovlen > UIO_MAXIOV) return real.recvmsg(fd, message, flags);
  ssize_t r;
  bool from_kernel = false;
  RECEIVE_WITH(r, fd, message->msg_iov, message->msg_iovlen, flags, (flags & MSG_WAITALL) != 0,
               (from_kernel = true, real.recvmsg(fd, message, flags)));
  if (r >= 0 && !from_kernel) {
    message->msg_namelen = 0;
    message->msg_controllen = 0;
    message->msg_flags = 0;
  }
  return r;
}

PUBLIC int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout) {
  ENTER();
  if (LIKELY(shim_connection(fd) == NULL)) return real.recvmmsg(fd, messages, count, flags, timeout);
  uint64_t deadline = 0;
  if (timeout != NULL) deadline = shim_now() + (uint64_t)timeout->tv_sec * 1000000000u + (uint64_t)timeout->tv_nsec;
  unsigned done = 0;
  if (count > UIO_MAXIOV) count = UIO_MAXIOV;
  while (done < count) {
    ssize_t r = recvmsg(fd, &messages[done].msg_hdr, flags & ~MSG_WAITFORONE);
    if (r < 0) break;
    messages[done++].msg_len = (unsigned)r;
    if ((flags & MSG_WAITFORONE) != 0) flags |= MSG_DONTWAIT;
    // recvmmsg(2): the timeout is looked at after each message only.
    if (timeout != NULL && shim_now() >= deadline) break;
  }
  return done > 0 || count == 0 ? (int)done : -1;
}

PUBLIC ssize_t pwritev2(int fd, const struct iovec *vector, int count, off_t offset, int flags) {
  ENTER();
  void *connection = shim_connection(fd);
  if (LIKELY(connection == NULL) || offset != -1 || (flags & ~KNOWN_RWF) != 0)
    return real.pwritev2(fd, vector, count, offset, flags);
  ssize_t r;
  SEND_WITH(r, fd, vector, (size_t)count, (flags & RWF_NOWAIT) != 0 ? MSG_DONTWAIT : 0,
            real.pwritev2(fd, vector, count, offset, flags));
  return r;
}

PUBLIC ssize_t pwritev64v2(int fd, const struct iovec *vector, int count, off64_t offset, int flags) {
  return pwritev2(fd, vector, count, offset, flags);
}

PUBLIC ssize_t sendto(int fd, const void *buffer, size_t bytes, int flags, const struct sockaddr *to,
                      socklen_t length) {
  ENTER();
  void *connection = shim_connection(fd);
  if (LIKELY(connection == NULL)) return real.sendto(fd, buffer, bytes, flags, to, length);
  // A connection that begins with data in its SYN is the kernel's to count.
  // An absurd length is refused before anything is sent.
  if ((flags & MSG_FASTOPEN) != 0 || (to != NULL && length > sizeof(struct sockaddr_storage)))
    return real.sendto(fd, buffer, bytes, flags, to, length);
  struct iovec one = {(void *)buffer, bytes};
  ssize_t r;
  SEND_WITH(r, fd, &one, 1, flags, real.sendto(fd, buffer, bytes, flags, to, length));
  return r;
}

/// Whether a message carries something that only the kernel understands (timestamps, zero copy).
static bool is_plain(const struct msghdr *message) {
  return message->msg_control == NULL || message->msg_controllen == 0;
}

/// SCM_RIGHTS on a Unix socket: the receiver gets a TCP socket, so it has to be one.
static void leave_passed(const struct msghdr *message) {
  if (message == NULL || is_plain(message)) return;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR((struct msghdr *)message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < CMSG_LEN(0)) continue;
    for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
      int passed;
      memcpy(&passed, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      if (shim_connection(passed) != NULL) millrace_decline_passed(passed);
    }
  }
}

PUBLIC ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  ENTER();
  leave_passed(message);
  void *connection = shim_connection(fd);
  if (LIKELY(connection == NULL) || message == NULL) return real.sendmsg(fd, message, flags);
  if ((flags & MSG_FASTOPEN) != 0 || message->msg_iovlen > UIO_MAXIOV) return real.sendmsg(fd, message, flags);
  if (!is_plain(message) && millrace_on_lane(fd)) {
    // What the kernel says to the control messages, without any data.
    struct msghdr control_only = *message;
    control_only.msg_iovlen = 0;
    if (real.sendmsg(fd, &control_only, flags | MSG_DONTWAIT) < 0) return -1;
  }
  ssize_t r;
  SEND_WITH(r, fd, message->msg_iov, message->msg_iovlen, flags, real.sendmsg(fd, message, flags));
  return r;
}

PUBLIC int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
  ENTER();
  if (LIKELY(shim_connection(fd) == NULL)) {
    for (unsigned i = 0; messages != NULL && i < count && i < UIO_MAXIOV; i++) leave_passed(&messages[i].msg_hdr);
    return real.sendmmsg(fd, messages, count, flags);
  }
  unsigned done = 0;
  if (count > UIO_MAXIOV) count = UIO_MAXIOV;
  while (done < count) {
    ssize_t r = sendmsg(fd, &messages[done].msg_hdr, flags);
    if (r < 0) break;
    size_t wanted = 0;
    for (size_t i = 0; i < messages[done].msg_hdr.msg_iovlen; i++) wanted += messages[done].msg_hdr.msg_iov[i].iov_len;
    messages[done++].msg_len = (unsigned)r;
    if ((size_t)r < wanted) break;
  }
  return done > 0 || count == 0 ? (int)done : -1;
}

PUBLIC ssize_t sendfile(int out, int in, off_t *offset, size_t bytes) {
  ENTER();
  void *connection = shim_connection(out);
  if (shim_connection(in) != NULL) millrace_decline_file(in);
  if (LIKELY(connection == NULL)) return real.sendfile(out, in, offset, bytes);
  struct iovec whole = {NULL, bytes};
  struct mr_call call = {
      .connection = connection, .fd = out, .vector = &whole, .vector_count = 1, .file = in, .file_offset = offset};
  CONVERSE(call, millrace_send, real.sendfile(out, in, offset, bytes));
  return shim_return(&call);
}

PUBLIC ssize_t sendfile64(int out, int in, off64_t *offset, size_t bytes) {
  return sendfile(out, in, offset, bytes);
}

/// splice from a connection whose peer is gone and whose bytes are in memory: a page's worth at a time, since a pipe
/// that has room for anything has it for that.
static ssize_t splice_rest(int in, int out, size_t bytes, unsigned flags) {
  bool waits = (flags & SPLICE_F_NONBLOCK) == 0 && (shim_raw(SYS_fcntl, out, F_GETFL, 0, 0, 0, 0) & O_NONBLOCK) == 0;
  size_t moved = 0;
  while (moved < bytes) {
    struct pollfd pipe = {.fd = out, .events = POLLOUT};
    int r = real.poll(&pipe, 1, moved == 0 && waits ? -1 : 0);
    if (r == 0) errno = EAGAIN;
    if (r <= 0) break;
    char buffer[PIPE_BUF];
    size_t most = bytes - moved < sizeof buffer ? bytes - moved : sizeof buffer;
    ssize_t there = recv(in, buffer, most, MSG_PEEK | MSG_DONTWAIT);
    if (there == 0) return (ssize_t)moved;
    if (there < 0) break;
    ssize_t put = real.write(out, buffer, (size_t)there);
    if (put <= 0) break;
    recv(in, buffer, (size_t)put, MSG_DONTWAIT);
    moved += (size_t)put;
  }
  return moved > 0 ? (ssize_t)moved : -1;
}

static bool is_pipe(int fd) {
  return shim_raw(SYS_fcntl, fd, F_GETPIPE_SZ, 0, 0, 0, 0) > 0;
}

PUBLIC ssize_t splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t bytes, unsigned flags) {
  ENTER();
  // Pages move between kernel objects: the connection has to be one, before and for as long as it is spliced.
  if (shim_connection(in) != NULL) millrace_decline_splice(in);
  if (shim_connection(out) != NULL) millrace_decline_splice(out);
  // It stays on its lane only if its peer is gone.
  if (in_offset == NULL && out_offset == NULL && bytes > 0 && millrace_on_lane(in) && is_pipe(out))
    return splice_rest(in, out, bytes, flags);
  return real.splice(in, in_offset, out, out_offset, bytes, flags);
}

PUBLIC ssize_t tee(int in, int out, size_t bytes, unsigned flags) {
  ENTER();
  return real.tee(in, out, bytes, flags);
}

PUBLIC ssize_t vmsplice(int fd, const struct iovec *vector, size_t count, unsigned flags) {
  ENTER();
  return real.vmsplice(fd, vector, count, flags);
}
