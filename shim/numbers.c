/// The calls that a program makes by number: each goes through the entry of its name. Those whose entry would only pass
/// them on go to the kernel at once.
#include <linux/sched.h>
#include <sched.h>

#include "real.h"

struct numbered {
  long number, a, b, c, d, e, f;
};

static bool by_number_data(const struct numbered *n, long *r) {
  int fd = (int)n->a;
  switch (n->number) {
    case SYS_read: *r = read(fd, (void *)n->b, (size_t)n->c); return true;
    case SYS_write: *r = write(fd, (const void *)n->b, (size_t)n->c); return true;
    case SYS_readv: *r = readv(fd, (const struct iovec *)n->b, (int)n->c); return true;
    case SYS_writev: *r = writev(fd, (const struct iovec *)n->b, (int)n->c); return true;
    case SYS_preadv2: *r = preadv2(fd, (const struct iovec *)n->b, (int)n->c, (off_t)n->d, (int)n->f); return true;
    case SYS_pwritev2: *r = pwritev2(fd, (const struct iovec *)n->b, (int)n->c, (off_t)n->d, (int)n->f); return true;
    case SYS_recvfrom:
      *r = recvfrom(fd, (void *)n->b, (size_t)n->c, (int)n->d, (struct sockaddr *)n->e, (socklen_t *)n->f);
      return true;
    case SYS_recvmsg: *r = recvmsg(fd, (struct msghdr *)n->b, (int)n->c); return true;
    case SYS_recvmmsg:
      *r = recvmmsg(fd, (struct mmsghdr *)n->b, (unsigned)n->c, (int)n->d, (struct timespec *)n->e);
      return true;
    case SYS_sendto:
      *r = sendto(fd, (const void *)n->b, (size_t)n->c, (int)n->d, (const struct sockaddr *)n->e, (socklen_t)n->f);
      return true;
    case SYS_sendmsg: *r = sendmsg(fd, (const struct msghdr *)n->b, (int)n->c); return true;
    case SYS_sendmmsg: *r = sendmmsg(fd, (struct mmsghdr *)n->b, (unsigned)n->c, (int)n->d); return true;
    case SYS_sendfile: *r = sendfile(fd, (int)n->b, (off_t *)n->c, (size_t)n->d); return true;
    case SYS_splice:
      *r = splice(fd, (off64_t *)n->b, (int)n->c, (off64_t *)n->d, (size_t)n->e, (unsigned)n->f);
      return true;
    default: return false;
  }
}

static bool by_number_descriptor(const struct numbered *n, long *r) {
  int fd = (int)n->a;
  switch (n->number) {
    case SYS_socket: *r = socket(fd, (int)n->b, (int)n->c); return true;
    case SYS_listen: *r = listen(fd, (int)n->b); return true;
    case SYS_connect: *r = connect(fd, (const struct sockaddr *)n->b, (socklen_t)n->c); return true;
    case SYS_socketpair: *r = socketpair(fd, (int)n->b, (int)n->c, (int *)n->d); return true;
    case SYS_getsockname: *r = getsockname(fd, (struct sockaddr *)n->b, (socklen_t *)n->c); return true;
    case SYS_getpeername: *r = getpeername(fd, (struct sockaddr *)n->b, (socklen_t *)n->c); return true;
    case SYS_accept: *r = accept(fd, (struct sockaddr *)n->b, (socklen_t *)n->c); return true;
    case SYS_accept4: *r = accept4(fd, (struct sockaddr *)n->b, (socklen_t *)n->c, (int)n->d); return true;
    case SYS_shutdown: *r = shutdown(fd, (int)n->b); return true;
    case SYS_close: *r = close(fd); return true;
    case SYS_close_range: *r = close_range((unsigned)fd, (unsigned)n->b, (int)n->c); return true;
    case SYS_dup: *r = dup(fd); return true;
    case SYS_dup2: *r = dup2(fd, (int)n->b); return true;
    case SYS_dup3: *r = dup3(fd, (int)n->b, (int)n->c); return true;
    case SYS_fcntl: *r = fcntl(fd, (int)n->b, n->c); return true;
    case SYS_ioctl: *r = ioctl(fd, (unsigned long)n->b, (void *)n->c); return true;
    case SYS_getsockopt: *r = getsockopt(fd, (int)n->b, (int)n->c, (void *)n->d, (socklen_t *)n->e); return true;
    case SYS_setsockopt: *r = setsockopt(fd, (int)n->b, (int)n->c, (const void *)n->d, (socklen_t)n->e); return true;
    default: return false;
  }
}

/// The kernel's own ppoll and pselect6 leave the time that was not slept, which libc's do not show.
static void leave_rest(struct timespec *limit, uint64_t start) {
  if (limit == NULL || limit->tv_sec < 0 || limit->tv_nsec < 0 || limit->tv_nsec >= 1000000000) return;
  uint64_t slept = shim_now() - start;
  uint64_t whole = (uint64_t)limit->tv_sec * 1000000000u + (uint64_t)limit->tv_nsec;
  uint64_t left = whole > slept ? whole - slept : 0;
  // A limit of nothing may well lie in memory that cannot be written.
  if (left == whole) return;
  limit->tv_sec = (time_t)(left / 1000000000u);
  limit->tv_nsec = (long)(left % 1000000000u);
}

/// What pselect6 has in the place of a sixth argument.
struct masked {
  const sigset_t *mask;
  size_t size;
};

static bool by_number_wait(const struct numbered *n, long *r) {
  // A mask of another size than the kernel's is the kernel's to refuse.
  const size_t mask_size = 8;
  uint64_t start;
  switch (n->number) {
    case SYS_poll: *r = poll((struct pollfd *)n->a, (nfds_t)n->b, (int)n->c); return true;
    case SYS_ppoll:
      if (n->d != 0 && (size_t)n->e != mask_size) return false;
      start = shim_now();
      *r = ppoll((struct pollfd *)n->a, (nfds_t)n->b, (struct timespec *)n->c, (const sigset_t *)n->d);
      leave_rest((struct timespec *)n->c, start);
      return true;
    case SYS_select:
      *r = select((int)n->a, (fd_set *)n->b, (fd_set *)n->c, (fd_set *)n->d, (struct timeval *)n->e);
      return true;
    case SYS_pselect6: {
      const struct masked *masked = (const struct masked *)n->f;
      const sigset_t *mask = masked == NULL ? NULL : masked->mask;
      if (mask != NULL && masked->size != mask_size) return false;
      start = shim_now();
      *r = pselect((int)n->a, (fd_set *)n->b, (fd_set *)n->c, (fd_set *)n->d, (struct timespec *)n->e, mask);
      leave_rest((struct timespec *)n->e, start);
      return true;
    }
    case SYS_epoll_create: *r = epoll_create((int)n->a); return true;
    case SYS_epoll_create1: *r = epoll_create1((int)n->a); return true;
    case SYS_epoll_ctl: *r = epoll_ctl((int)n->a, (int)n->b, (int)n->c, (struct epoll_event *)n->d); return true;
    case SYS_epoll_wait: *r = epoll_wait((int)n->a, (struct epoll_event *)n->b, (int)n->c, (int)n->d); return true;
    case SYS_epoll_pwait:
      if (n->e != 0 && (size_t)n->f != mask_size) return false;
      *r = epoll_pwait((int)n->a, (struct epoll_event *)n->b, (int)n->c, (int)n->d, (const sigset_t *)n->e);
      return true;
    case SYS_epoll_pwait2:
      if (n->e != 0 && (size_t)n->f != mask_size) return false;
      *r = epoll_pwait2((int)n->a, (struct epoll_event *)n->b, (int)n->c, (const struct timespec *)n->d,
                        (const sigset_t *)n->e);
      return true;
    default: return false;
  }
}

static bool by_number_process(const struct numbered *n, long *r) {
  switch (n->number) {
    case SYS_fork:
    case SYS_vfork:
      // A child that returned through these frames could not share them with its parent.
      *r = shim_fork_by_number(SYS_fork, 0, 0, 0, 0, 0);
      return true;
    case SYS_clone:
      if ((n->a & CLONE_VM) != 0 || n->b != 0) return false;
      *r = shim_fork_by_number(n->number, n->a, n->b, n->c, n->d, n->e);
      return true;
    case SYS_clone3: {
      const struct clone_args *arguments = (const struct clone_args *)n->a;
      if (arguments == NULL || (arguments->flags & CLONE_VM) != 0 || arguments->stack != 0) return false;
      *r = shim_fork_by_number(n->number, n->a, n->b, n->c, n->d, n->e);
      return true;
    }
    case SYS_execve: *r = execve((const char *)n->a, (char *const *)n->b, (char *const *)n->c); return true;
    case SYS_execveat:
      *r = execveat((int)n->a, (const char *)n->b, (char *const *)n->c, (char *const *)n->d, (int)n->e);
      return true;
    case SYS_exit_group: _exit((int)n->a);
    case SYS_io_uring_setup:
      *r = real.syscall(n->number, n->a, n->b, n->c, n->d, n->e, n->f);
      if (*r >= 0) millrace_uring();
      return true;
    default: return false;
  }
}

PUBLIC long syscall(long number, ...) {
  ENTER();
  va_list list;
  va_start(list, number);
  struct numbered n = {.number = number};
  n.a = va_arg(list, long), n.b = va_arg(list, long), n.c = va_arg(list, long);
  n.d = va_arg(list, long), n.e = va_arg(list, long), n.f = va_arg(list, long);
  va_end(list);
  long r;
  if (by_number_data(&n, &r) || by_number_descriptor(&n, &r) || by_number_wait(&n, &r) || by_number_process(&n, &r))
    return r;
  return real.syscall(number, n.a, n.b, n.c, n.d, n.e, n.f);
}
