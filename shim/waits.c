/// poll, select and epoll: C keeps the arrays and does the blocking, Swift knows what is ready.
#include <alloca.h>
#include <sys/mman.h>

#include "real.h"

/// Descriptors whose arrays fit on the stack; a signal handler may call poll, so nothing is allocated below that.
#define STACK_COUNT 1024

static uint64_t deadline_of(const struct timespec *timeout) {
  if (timeout == NULL) return UINT64_MAX;
  if (timeout->tv_sec == 0 && timeout->tv_nsec == 0) return 0;
  if (timeout->tv_sec > 1000000000) return UINT64_MAX;
  return shim_now() + (uint64_t)timeout->tv_sec * 1000000000u + (uint64_t)timeout->tv_nsec;
}

/// Whether a time is one; the kernel refuses those that are not, and is asked to.
static bool is_time(const struct timespec *time) {
  return time == NULL || (time->tv_sec >= 0 && time->tv_nsec >= 0 && time->tv_nsec < 1000000000);
}

static void poll_cancelled(void *wait) {
  millrace_poll_abandoned(wait);
}

/// Whether a poll names anything that is in the table.
static inline bool is_known(const struct pollfd *polled, nfds_t count) {
  if (count > MR_TABLE_SIZE) return false;
  for (nfds_t i = 0; i < count; i++) {
    if (UNLIKELY(mr_entry(polled[i].fd) != NULL)) return true;
  }
  return false;
}

/// Whether there is work for us in a poll. A set that holds lanes is made to show them to the kernel.
static bool names_connection(const struct pollfd *polled, nfds_t count) {
  bool names = false;
  // A count or an array that the kernel will refuse is not ours to read.
  if (count > MR_TABLE_SIZE) return false;
  for (nfds_t i = 0; i < count; i++) {
    enum mr_kind kind = mr_entry_kind(polled[i].fd);
    if (LIKELY(kind == MR_NONE)) continue;
    if (kind == MR_EPOLL) millrace_epoll_nested(polled[i].fd);
    if (kind == MR_CONNECTION) names = true;
  }
  return names;
}

/// A futex that sleeps without a time limit goes on after a handler with SA_RESTART, and poll never does (signal(7)).
static void sleep_on_word(struct mr_wait *wait, struct shim_seen seen) {
  uint64_t deadline = wait->deadline == UINT64_MAX ? shim_now() + (UINT64_C(1) << 55) : wait->deadline;
  struct mr_call call = {.word = wait->word, .expected = wait->expected, .deadline = deadline};
  shim_sleep(&call, seen);
  wait->error = call.error;
}

/// How long the kernel is to wait. It only looks when a handler has come while the thread was awake in this call, since
/// then the call is over.
static struct timespec *remaining(uint64_t timeout, struct shim_seen seen, struct timespec *space) {
  if (shim_thread.handled != seen.handled) timeout = 0;
  if (timeout == UINT64_MAX) return NULL;
  space->tv_sec = (time_t)(timeout / 1000000000u);
  space->tv_nsec = (long)(timeout % 1000000000u);
  return space;
}

/// What the kernel has answered after ``remaining``.
static int answered(int result, uint64_t timeout, struct shim_seen seen) {
  return result == 0 && timeout != 0 && shim_thread.handled != seen.handled ? (errno = EINTR, -1) : result;
}

/// poll with everything in place: `kernel` has room for twice `count` entries and one.
/// The place behind the program's own is for the eventfd of a thread that sleeps for a lane. The kernel refuses more
/// places than RLIMIT_NOFILE, and what the program asks for may be as many: then this wait looks again before long.
static int poll_kernel(struct mr_wait *wait, const struct timespec *limit, const sigset_t *mask) {
  static const struct timespec slice = {0, 1000000};
  if (wait->kernel[wait->count].fd < 0) return real.ppoll(wait->kernel, wait->count, limit, mask);
  int r = real.ppoll(wait->kernel, wait->count + 1, limit, mask);
  if (r >= 0 || errno != EINVAL) return r;
  bool is_short = limit != NULL && limit->tv_sec == 0 && limit->tv_nsec < slice.tv_nsec;
  return real.ppoll(wait->kernel, wait->count, is_short ? limit : &slice, mask);
}

static int converse(struct pollfd *polled, struct pollfd *kernel, nfds_t count, uint64_t deadline,
                    const sigset_t *mask) {
  struct mr_wait wait = {
      .polled = polled, .kernel = kernel, .count = count, .deadline = deadline, .masked = mask != NULL};
  struct shim_seen seen = shim_look();
  enum mr_step step = millrace_poll(&wait);
  while (step != MR_DONE) {
    struct timespec space;
    pthread_cleanup_push(poll_cancelled, &wait);
    if (step == MR_SLEEP) {
      sleep_on_word(&wait, seen);
    } else {
      wait.result = poll_kernel(&wait, remaining(wait.timeout, seen, &space), mask);
      wait.result = answered(wait.result, wait.timeout, seen);
      wait.error = wait.result < 0 ? errno : 0;
    }
    pthread_cleanup_pop(0);
    step = millrace_poll_resume(&wait);
  }
  if (wait.error != 0) return errno = wait.error, -1;
  return wait.result;
}

static int poll_lanes(struct pollfd *polled, nfds_t count, uint64_t deadline, const sigset_t *mask) {
  if (count <= STACK_COUNT) return converse(polled, alloca((2 * count + 1) * sizeof *polled), count, deadline, mask);
  size_t bytes = (2 * count + 1) * sizeof *polled;
  void *space = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (space == MAP_FAILED) return errno = ENOMEM, -1;
  int r = converse(polled, space, count, deadline, mask), error = errno;
  munmap(space, bytes);
  errno = error;
  return r;
}

static NOINLINE int poll_known(struct pollfd *polled, nfds_t count, int timeout) {
  ENTER();
  if (!names_connection(polled, count)) return real.poll(polled, count, timeout);
  uint64_t deadline = timeout < 0 ? UINT64_MAX : timeout == 0 ? 0 : shim_now() + (uint64_t)timeout * 1000000u;
  return poll_lanes(polled, count, deadline, NULL);
}

PUBLIC int poll(struct pollfd *polled, nfds_t count, int timeout) {
  if (LIKELY(!is_known(polled, count)) && LIKELY(shim_ready)) return real.poll(polled, count, timeout);
  return poll_known(polled, count, timeout);
}

PUBLIC int ppoll(struct pollfd *polled, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
  ENTER();
  if (LIKELY(!names_connection(polled, count)) || !is_time(timeout)) return real.ppoll(polled, count, timeout, mask);
  return poll_lanes(polled, count, deadline_of(timeout), mask);
}

PUBLIC int __poll_chk(struct pollfd *polled, nfds_t count, int timeout, size_t size) {
  ENTER();
  if (size / sizeof *polled < count) return real.__poll_chk(polled, count, timeout, size);
  return poll(polled, count, timeout);
}

PUBLIC int __ppoll_chk(struct pollfd *polled, nfds_t count, const struct timespec *timeout, const sigset_t *mask,
                       size_t size) {
  ENTER();
  if (size / sizeof *polled < count) return real.__ppoll_chk(polled, count, timeout, mask, size);
  return ppoll(polled, count, timeout, mask);
}

static bool in_set(const fd_set *set, int fd) {
  return set != NULL && ((const unsigned long *)set)[fd / 64] >> (fd % 64) & 1;
}

static void put_in_set(fd_set *set, int fd) {
  ((unsigned long *)set)[fd / 64] |= 1ul << (fd % 64);
}

static bool selects_connection(int count, const fd_set *r, const fd_set *w, const fd_set *e) {
  bool selects = false;
  for (int fd = 0; fd < count; fd++) {
    enum mr_kind kind = mr_entry_kind(fd);
    if (LIKELY(kind == MR_NONE) || !(in_set(r, fd) || in_set(w, fd) || in_set(e, fd))) continue;
    if (kind == MR_EPOLL) millrace_epoll_nested(fd);
    if (kind == MR_CONNECTION) selects = true;
  }
  return selects;
}

/// select as poll: the same waits, with the events that select(2) says each set stands for.
static int select_lanes(int count, fd_set *r, fd_set *w, fd_set *e, uint64_t deadline, const sigset_t *mask) {
  struct pollfd *polled = alloca(((size_t)count * 3 + 1) * sizeof *polled);
  nfds_t n = 0;
  for (int fd = 0; fd < count; fd++) {
    short events = (short)((in_set(r, fd) ? POLLIN | POLLRDNORM | POLLRDBAND : 0) |
                           (in_set(w, fd) ? POLLOUT | POLLWRNORM | POLLWRBAND : 0) | (in_set(e, fd) ? POLLPRI : 0));
    if (in_set(r, fd) || in_set(w, fd) || in_set(e, fd)) polled[n++] = (struct pollfd){fd, events, 0};
  }
  int result = converse(polled, polled + n, n, deadline, mask);
  if (result < 0) return result;
  for (nfds_t i = 0; i < n; i++)
    if ((polled[i].revents & POLLNVAL) != 0) return errno = EBADF, -1;
  size_t bytes = ((size_t)count + 63) / 64 * 8;
  if (r != NULL) memset(r, 0, bytes);
  if (w != NULL) memset(w, 0, bytes);
  if (e != NULL) memset(e, 0, bytes);
  int ready = 0;
  for (nfds_t i = 0; i < n; i++) {
    short asked = polled[i].events, seen = polled[i].revents;
    if ((asked & POLLIN) != 0 && (seen & (POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR)) != 0)
      put_in_set(r, polled[i].fd), ready++;
    if ((asked & POLLOUT) != 0 && (seen & (POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR)) != 0)
      put_in_set(w, polled[i].fd), ready++;
    if ((asked & POLLPRI) != 0 && (seen & POLLPRI) != 0) put_in_set(e, polled[i].fd), ready++;
  }
  return ready;
}

PUBLIC int select(int count, fd_set *r, fd_set *w, fd_set *e, struct timeval *timeout) {
  ENTER();
  if (LIKELY(!selects_connection(count, r, w, e)) || (timeout != NULL && (timeout->tv_sec < 0 || timeout->tv_usec < 0)))
    return real.select(count, r, w, e, timeout);
  uint64_t deadline = UINT64_MAX;
  if (timeout != NULL) {
    struct timespec limit = {timeout->tv_sec, timeout->tv_usec * 1000};
    deadline = deadline_of(&limit);
  }
  int result = select_lanes(count, r, w, e, deadline, NULL);
  if (timeout != NULL && deadline != UINT64_MAX) {
    // Linux leaves the time that was not slept.
    uint64_t now = shim_now(), left = deadline > now ? deadline - now : 0;
    timeout->tv_sec = (time_t)(left / 1000000000u);
    timeout->tv_usec = (suseconds_t)(left % 1000000000u / 1000u);
  }
  return result;
}

PUBLIC int pselect(int count, fd_set *r, fd_set *w, fd_set *e, const struct timespec *timeout, const sigset_t *mask) {
  ENTER();
  if (LIKELY(!selects_connection(count, r, w, e)) || !is_time(timeout))
    return real.pselect(count, r, w, e, timeout, mask);
  return select_lanes(count, r, w, e, deadline_of(timeout), mask);
}

PUBLIC int epoll_create1(int flags) {
  ENTER();
  int fd = real.epoll_create1(flags);
  if (fd >= 0) millrace_epoll_created(fd);
  return fd;
}

PUBLIC int epoll_create(int size) {
  ENTER();
  int fd = real.epoll_create(size);
  if (fd >= 0) millrace_epoll_created(fd);
  return fd;
}

PUBLIC int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event) {
  ENTER();
  int result;
  if (op == EPOLL_CTL_ADD && mr_entry_kind(fd) == MR_EPOLL) millrace_epoll_inside(epfd, fd);
  if (UNLIKELY(shim_connection(fd) != NULL || mr_entry_kind(epfd) == MR_EPOLL) &&
      millrace_epoll_ctl(epfd, op, fd, event, &result))
    return result == 0 ? 0 : (errno = -result, -1);
  return real.epoll_ctl(epfd, op, fd, event);
}

static void epoll_cancelled(void *wait) {
  millrace_epoll_abandoned(wait);
}

/// Asks the kernel, behind what was found on lanes already. epoll_pwait2 is not in every kernel that epoll_pwait is in.
static void ask_set(struct mr_epoll_wait *wait, const struct timespec *timeout, const sigset_t *mask) {
  struct epoll_event *rest = wait->events + wait->found;
  int room = wait->capacity - wait->found;
  if (timeout == NULL || (timeout->tv_sec == 0 && timeout->tv_nsec == 0))
    wait->result = real.epoll_pwait(wait->epfd, rest, room, timeout == NULL ? -1 : 0, mask);
  else
    wait->result = real.epoll_pwait2(wait->epfd, rest, room, timeout, mask);
}

static int wait_on_set(void *set, int epfd, struct epoll_event *events, int capacity, uint64_t deadline,
                       const sigset_t *mask) {
  struct mr_epoll_wait wait = {.set = set, .events = events, .capacity = capacity, .epfd = epfd, .deadline = deadline};
  struct shim_seen seen = shim_look();
  enum mr_step step = millrace_epoll_wait(&wait);
  while (step != MR_DONE) {
    struct timespec space;
    pthread_cleanup_push(epoll_cancelled, &wait);
    ask_set(&wait, remaining(wait.timeout, seen, &space), mask);
    wait.result = answered(wait.result, wait.timeout, seen);
    wait.error = wait.result < 0 ? errno : 0;
    pthread_cleanup_pop(0);
    step = millrace_epoll_resume(&wait);
  }
  if (wait.error != 0) return errno = wait.error, -1;
  return wait.result;
}

static inline void *lanes_of_set(int epfd) {
  const uint8_t *entry = mr_entry(epfd);
  return entry != NULL && *entry == MR_EPOLL ? (void *)entry : NULL;
}

PUBLIC int epoll_pwait(int epfd, struct epoll_event *events, int capacity, int timeout, const sigset_t *mask) {
  ENTER();
  void *set = lanes_of_set(epfd);
  if (LIKELY(set == NULL) || capacity <= 0) return real.epoll_pwait(epfd, events, capacity, timeout, mask);
  uint64_t deadline = timeout < 0 ? UINT64_MAX : timeout == 0 ? 0 : shim_now() + (uint64_t)timeout * 1000000u;
  return wait_on_set(set, epfd, events, capacity, deadline, mask);
}

PUBLIC int epoll_wait(int epfd, struct epoll_event *events, int capacity, int timeout) {
  ENTER();
  if (LIKELY(lanes_of_set(epfd) == NULL)) return real.epoll_wait(epfd, events, capacity, timeout);
  return epoll_pwait(epfd, events, capacity, timeout, NULL);
}

PUBLIC int epoll_pwait2(int epfd, struct epoll_event *events, int capacity, const struct timespec *timeout,
                        const sigset_t *mask) {
  ENTER();
  void *set = lanes_of_set(epfd);
  if (LIKELY(set == NULL) || capacity <= 0 || !is_time(timeout))
    return real.epoll_pwait2(epfd, events, capacity, timeout, mask);
  return wait_on_set(set, epfd, events, capacity, deadline_of(timeout), mask);
}

ALIAS(__poll, poll);
ALIAS(__select, select);
