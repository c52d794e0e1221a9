// ppoll, pselect, epoll_pwait and epoll_pwait2 with a mask: a signal that is pending outside is delivered inside, and
// the mask is as before afterwards; a signal that the mask blocks stays pending.
#include "observe.h"

static long wait_with(int way, int fd, int epoll, const sigset_t *mask, int milliseconds) {
  struct pollfd one = {fd, POLLIN, 0};
  fd_set set;
  FD_ZERO(&set);
  FD_SET(fd, &set);
  struct epoll_event event;
  struct timespec fine = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};
  switch (way) {
    case 0: return ppoll(&one, 1, &fine, mask);
    case 1: return pselect(fd + 1, &set, NULL, NULL, &fine, mask);
    case 2: return epoll_pwait(epoll, &event, 1, milliseconds, mask);
    default: return epoll_pwait2(epoll, &event, 1, &fine, mask);
  }
}

static void report(const char *what, int way, long result, int error) {
  sigset_t mask;
  sigprocmask(SIG_BLOCK, NULL, &mask);
  say("%s, way %d = %ld %s, signals %d, blocked afterwards %d", what, way, result, result < 0 ? errno_name(error) : "-",
      (int)signals_seen[SIGUSR1], sigismember(&mask, SIGUSR1));
  signals_seen[SIGUSR1] = 0;
}

static void body(int a, int b) {
  char byte;
  sigset_t blocked, none;
  sigemptyset(&none);
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  count_signal(SIGUSR1, SA_RESTART);
  sigprocmask(SIG_BLOCK, &blocked, NULL);
  int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(epoll, EPOLL_CTL_ADD, b, &event);
  for (int way = 0; way < 4; way++) {
    raise(SIGUSR1);
    long result = wait_with(way, b, epoll, &none, 5000);
    report("pending, unblocked inside", way, result, errno);
    result = wait_with(way, b, epoll, &blocked, 30);
    report("blocked inside", way, result, errno);
    raise(SIGUSR1);
    result = wait_with(way, b, epoll, &blocked, 30);
    report("pending, blocked inside", way, result, errno);
    send(a, "x", 1, 0);
    await_bytes(b, 1);
    // Data is there and a signal is pending: the call reports the data, and whether the signal was let in as well.
    result = wait_with(way, b, epoll, &blocked, 5000);
    report("ready, blocked inside", way, result, errno);
    recv(b, &byte, 1, 0);
    result = wait_with(way, b, epoll, &none, 5000);
    report("pending from before", way, result, errno);
    pthread_t thread = signal_when_asleep(thread_id(), SIGUSR1);
    result = wait_with(way, b, epoll, &none, 8000);
    int error = errno;
    join_thread(thread);
    report("arrives inside", way, result, error);
  }
  close(epoll);
}

BOTH_WAYS(body)
