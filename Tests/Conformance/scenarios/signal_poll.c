// Signals interrupt poll, ppoll, select, pselect, epoll_wait and epoll_pwait, SA_RESTART or not.
#include "observe.h"

static long wait_with(int way, int fd, int epoll) {
  struct pollfd one = {fd, POLLIN, 0};
  fd_set set;
  FD_ZERO(&set);
  FD_SET(fd, &set);
  struct epoll_event event;
  struct timespec fine = {.tv_sec = 8};
  sigset_t none;
  sigemptyset(&none);
  switch (way) {
    case 0: return poll(&one, 1, -1);
    case 1: return poll(&one, 1, 8000);
    case 2: return ppoll(&one, 1, NULL, NULL);
    case 3: return ppoll(&one, 1, &fine, &none);
    case 4: return select(fd + 1, &set, NULL, NULL, NULL);
    case 5: return pselect(fd + 1, &set, NULL, NULL, &fine, &none);
    case 6: return epoll_wait(epoll, &event, 1, -1);
    case 7: return epoll_wait(epoll, &event, 1, 8000);
    default: return epoll_pwait(epoll, &event, 1, -1, &none);
  }
}

static void body(int a, int b) {
  char byte;
  int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(epoll, EPOLL_CTL_ADD, b, &event);
  for (int restart = 0; restart < 2; restart++) {
    count_signal(SIGUSR1, restart ? SA_RESTART : 0);
    for (int way = 0; way < 9; way++) {
      signals_seen[SIGUSR1] = 0;
      pthread_t thread = signal_when_asleep(thread_id(), SIGUSR1);
      errno = 0;
      long result = wait_with(way, b, epoll);
      int error = errno;
      join_thread(thread);
      say("restart %d way %d = %ld %s, signals %d", restart, way, result, errno_name(error),
          (int)signals_seen[SIGUSR1]);
    }
  }
  OBS("send", send(a, "x", 1, 0));
  OBS("recv", recv(b, &byte, 1, 0));
  close(epoll);
}

BOTH_WAYS(body)
