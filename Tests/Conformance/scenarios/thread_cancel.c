// A thread that is cancelled in a blocked recv, send, poll, select or epoll_wait: it ends, its clean-up handlers run,
// and the connection goes on.
#include "observe.h"

static int fd, set;
static volatile pid_t tid;
static volatile int cleaned;

static void clean(void *argument) {
  (void)argument;
  cleaned++;
}

static void *blocked(void *argument) {
  long way = (long)argument;
  char byte;
  struct pollfd one = {fd, POLLIN, 0};
  struct epoll_event event;
  struct iovec in = {&byte, 1};
  struct msghdr message = {.msg_iov = &in, .msg_iovlen = 1};
  fd_set r;
  FD_ZERO(&r);
  FD_SET(fd, &r);
  pthread_cleanup_push(clean, NULL);
  tid = thread_id();
  if (way == 0) recv(fd, &byte, 1, 0);
  if (way == 1) read(fd, &byte, 1);
  if (way == 2) recvmsg(fd, &message, 0);
  if (way == 3) poll(&one, 1, -1);
  if (way == 4) select(fd + 1, &r, NULL, NULL, NULL);
  if (way == 5) epoll_wait(set, &event, 1, -1);
  if (way == 6) {
    size_t size = 64 << 20;
    char *bytes = calloc(1, size);
    pthread_cleanup_push(free, bytes);
    send(fd, bytes, size, 0);
    pthread_cleanup_pop(1);
  }
  pthread_cleanup_pop(0);
  return NULL;
}

static void body(int a, int b) {
  char byte;
  fd = b;
  set = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(set, EPOLL_CTL_ADD, b, &event);
  for (long way = 0; way < 7; way++) {
    tid = 0;
    cleaned = 0;
    if (way == 6) fd = b;
    pthread_t thread = start_thread(blocked, (void *)way);
    while (!tid) sched_yield();
    await_asleep(tid);
    pthread_cancel(thread);
    void *result = join_thread(thread);
    say("way %ld: %s, cleaned up %d", way, result == PTHREAD_CANCELED ? "cancelled" : "returned", cleaned);
    if (way == 6) break;
    OBS("send", send(a, "x", 1, 0));
    OBS("recv", recv(b, &byte, 1, 0));
  }
  OBS("the other direction goes on", send(a, "y", 1, 0));
  OBS("recv", recv(b, &byte, 1, 0));
  close(set);
}

BOTH_WAYS(body)
