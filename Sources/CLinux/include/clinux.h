#ifndef MILLRACE_CLINUX_H
#define MILLRACE_CLINUX_H
/// The kernel's interface for Swift: headers, one door for system calls, and the macros that Swift cannot import.
///
/// The library never goes through libc for its own I/O: libc's wrappers are cancellation points, set errno, and may be
/// interposed. ``cl_syscall6`` does none of that and returns -errno.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static inline long cl_syscall6(long number, long a, long b, long c, long d, long e, long f) {
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

/// TCP_INFO from linux/tcp.h, whose other declarations clash with netinet/tcp.h: the counters that the audit reads.
struct cl_tcp_counts {
  uint64_t bytes_acked;
  uint64_t bytes_received;
  uint8_t state;
};

/// Fills `counts` from TCP_INFO; 0 or -errno. Offsets are the kernel's ABI (include/uapi/linux/tcp.h): tcpi_bytes_acked
/// at 120, tcpi_bytes_received at 128.
static inline long cl_tcp_counts(int fd, struct cl_tcp_counts *counts) {
  uint64_t info[32];
  socklen_t length = sizeof info;
  long r = cl_syscall6(SYS_getsockopt, fd, IPPROTO_TCP, TCP_INFO, (long)info, (long)&length, 0);
  if (r < 0) return r;
  if (length < 136) return -ENOSYS;
  memcpy(&counts->bytes_acked, (char *)info + 120, 8);
  memcpy(&counts->bytes_received, (char *)info + 128, 8);
  counts->state = *(uint8_t *)info;
  return 0;
}

/// Sends `bytes` with up to one descriptor (none if `passed` < 0) on a Unix socket; bytes sent or -errno.
static inline long cl_send_descriptor(int fd, const void *buffer, size_t bytes, int passed) {
  struct iovec vector = {(void *)buffer, bytes};
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control;
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  if (passed >= 0) {
    memset(&control, 0, sizeof control);
    message.msg_control = &control;
    message.msg_controllen = sizeof control.space;
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &passed, sizeof(int));
  }
  return cl_syscall6(SYS_sendmsg, fd, (long)&message, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0, 0);
}

/// Closes a descriptor that a peer has passed and nobody wants. Without waiting: it may be the last one of a socket
/// that lingers (SO_LINGER), for as long as the peer likes.
static inline void cl_discard_descriptor(int fd) {
  static const struct linger none;
  if (fd < 0) return;
  cl_syscall6(SYS_setsockopt, fd, SOL_SOCKET, SO_LINGER, (long)&none, sizeof none, 0);
  cl_syscall6(SYS_close, fd, 0, 0, 0, 0, 0);
}

/// From here on a Unix socket lets nobody pass descriptors to it (Linux 6.16; older kernels know no such option).
static inline void cl_refuse_descriptors(int fd) {
  static const int off, pass_rights = 83;
  cl_syscall6(SYS_setsockopt, fd, SOL_SOCKET, pass_rights, (long)&off, sizeof off, 0);
}

/// Receives one message with at most one descriptor (`*passed`, -1 if none). A message that was cut, or that brought
/// more descriptors than asked for, is -EMSGSIZE; whatever came with it is closed.
static inline long cl_receive_descriptor(int fd, void *buffer, size_t bytes, int *passed) {
  struct iovec vector = {buffer, bytes};
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int) * 4)];
  } control;
  struct msghdr message = {
      .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
  *passed = -1;
  long r = cl_syscall6(SYS_recvmsg, fd, (long)&message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, 0, 0, 0);
  if (r < 0) return r;
  int count = 0;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < n; i++) {
      int received;
      memcpy(&received, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      if (count++ == 0)
        *passed = received;
      else
        cl_discard_descriptor(received);
    }
  }
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 && count <= 1) return r;
  cl_discard_descriptor(*passed);
  *passed = -1;
  return -EMSGSIZE;
}

/// Throws away what has come to a Unix socket, at most `bytes` (up to 256) and up to the next message with descriptors;
/// bytes or -errno. Descriptors would be closed by the kernel, wherever this thread is then; here they are closed
/// without waiting. SCM_MAX_FD of them fit into one message.
static inline long cl_drain(int fd, size_t bytes) {
  char thrown[256];
  struct iovec vector = {thrown, bytes < sizeof thrown ? bytes : sizeof thrown};
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int) * 253)];
  } control;
  struct msghdr message = {
      .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
  long r = cl_syscall6(SYS_recvmsg, fd, (long)&message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, 0, 0, 0);
  if (r < 0 || message.msg_controllen == 0) return r;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < n; i++) {
      int received;
      memcpy(&received, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      cl_discard_descriptor(received);
    }
  }
  return r;
}

/// Receives without blocking into the part of a vector behind its first `skip` bytes, at most `most` bytes; bytes or
/// -errno. With MSG_TRUNC the bytes are discarded, and the vector's memory is not touched.
static inline long cl_receive_vector(int fd, const struct iovec *vector, size_t count, size_t skip, size_t most,
                                     int flags) {
  struct iovec limited[1024];
  struct msghdr message = {.msg_iov = limited};
  for (size_t i = 0; i < count && most > 0 && message.msg_iovlen < 1024; i++) {
    if (skip >= vector[i].iov_len) {
      skip -= vector[i].iov_len;
      continue;
    }
    size_t bytes = vector[i].iov_len - skip;
    if (bytes > most) bytes = most;
    limited[message.msg_iovlen].iov_base = (char *)vector[i].iov_base + skip;
    limited[message.msg_iovlen++].iov_len = bytes;
    most -= bytes;
    skip = 0;
  }
  return cl_syscall6(SYS_recvmsg, fd, (long)&message, flags | MSG_DONTWAIT, 0, 0, 0);
}

/// Constants that are function-like or typed macros in the headers.
static const unsigned long CL_FIONREAD = FIONREAD;
static const unsigned long CL_FIONBIO = FIONBIO;
static const unsigned long CL_FIOASYNC = FIOASYNC;
static const unsigned long CL_SIOCOUTQ = SIOCOUTQ;
static const unsigned long CL_SIOCOUTQNSD = SIOCOUTQNSD;
static const unsigned long CL_SIOCATMARK = SIOCATMARK;
static const unsigned int CL_MFD_FLAGS = MFD_CLOEXEC | MFD_ALLOW_SEALING;
static const int CL_SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

#endif
