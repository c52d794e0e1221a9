// POLLOUT: gone when the buffers are full, and back, waking a sleeper, when the peer has read.
#include "observe.h"

static int fds[2];
static uint64_t sent;
static volatile pid_t sleeper;

static void *drain(void *argument) {
  (void)argument;
  static char chunk[65536];
  await_asleep(sleeper);
  for (uint64_t got = 0; got < sent;) {
    ssize_t count = recv(fds[1], chunk, sizeof chunk, 0);
    if (count <= 0 || !matches(chunk, (size_t)count, 41, got)) give_up("wrong bytes");
    got += (uint64_t)count;
  }
  return NULL;
}

static void fill_up(void) {
  sent = 0;
  do sent += write_until_full(fds[0], 41, sent);
  while (ready(fds[0], POLLOUT));
}

static void body(int a, int b) {
  fds[0] = a;
  fds[1] = b;
  sleeper = thread_id();
  set_nonblocking(a, true);
  for (int way = 0; way < 4; way++) {
    fill_up();
    struct pollfd one = {a, POLLOUT | POLLIN, 0};
    fd_set writable;
    FD_ZERO(&writable);
    FD_SET(a, &writable);
    struct timeval time = {.tv_sec = 8};
    struct epoll_event event = {.events = EPOLLOUT | (way == 3 ? EPOLLET : 0)};
    int epoll = epoll_create1(0);
    epoll_ctl(epoll, EPOLL_CTL_ADD, a, &event);
    OBS("poll when full", poll(&one, 1, 0));
    OBS("epoll_wait when full", epoll_wait(epoll, &event, 1, 0));
    pthread_t thread = start_thread(drain, NULL);
    if (way == 0) OBS("poll", poll(&one, 1, 8000)), say("events %s", event_names(one.revents));
    if (way == 1)
      OBS("select", select(a + 1, NULL, &writable, NULL, &time)), say("set %d", FD_ISSET(a, &writable) != 0);
    if (way >= 2) OBS("epoll_wait", epoll_wait(epoll, &event, 1, 8000)), say("events %s", event_names(event.events));
    OBS("send", send(a, "", 0, 0));
    join_thread(thread);
    close(epoll);
  }
}

BOTH_WAYS(body)
