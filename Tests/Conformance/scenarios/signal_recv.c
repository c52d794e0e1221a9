// Signals and blocking reads: SA_RESTART goes on without a timeout, and gives EINTR with SO_RCVTIMEO.
#include "observe.h"

static int feed_fd;

struct errand {
  pid_t tid;
  bool feed;
};

static void *disturb(void *argument) {
  struct errand *errand = argument;
  await_asleep(errand->tid);
  int before = signals_seen[SIGUSR1];
  syscall(SYS_tgkill, getpid(), errand->tid, SIGUSR1);
  double start = now();
  while (signals_seen[SIGUSR1] == before && now() - start < 5) sched_yield();
  if (!errand->feed) return NULL;
  await_asleep(errand->tid);
  send(feed_fd, "x", 1, 0);
  return NULL;
}

static long receive(int way, int fd) {
  char byte;
  struct iovec in = {&byte, 1};
  struct msghdr message = {.msg_iov = &in, .msg_iovlen = 1};
  switch (way) {
    case 0: return recv(fd, &byte, 1, 0);
    case 1: return read(fd, &byte, 1);
    case 2: return recvmsg(fd, &message, 0);
    case 3: return readv(fd, &in, 1);
    default: return recvfrom(fd, &byte, 1, MSG_WAITALL, NULL, NULL);
  }
}

static void body(int a, int b) {
  feed_fd = a;
  for (int restart = 0; restart < 2; restart++)
    for (int timeout = 0; timeout < 2; timeout++) {
      count_signal(SIGUSR1, restart ? SA_RESTART : 0);
      set_timeout(b, SO_RCVTIMEO, timeout ? 8000 : 0);
      for (int way = 0; way < 5; way++) {
        signals_seen[SIGUSR1] = 0;
        struct errand errand = {thread_id(), restart && !timeout};
        pthread_t thread = start_thread(disturb, &errand);
        errno = 0;
        long result = receive(way, b);
        int error = errno;
        join_thread(thread);
        say("restart %d timeout %d way %d = %ld %s, signals %d", restart, timeout, way, result, errno_name(error),
            (int)signals_seen[SIGUSR1]);
      }
    }
}

BOTH_WAYS(body)
