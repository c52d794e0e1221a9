// A wait without a timeout comes back with something, and a read behind it finds it: whoever is the only reader never
// meets 0 or EAGAIN, at whatever moment a lane comes or goes. Programs rely on both (libpq takes 0 for a timeout that
// has expired).
#include "observe.h"

enum { pairs = 2, rounds = 400 };

static void *echo(void *argument) {
  int fd = *(int *)argument;
  static __thread char chunk[9000];
  for (;;) {
    ssize_t count = recv(fd, chunk, sizeof chunk, 0);
    if (count <= 0) return count == 0 ? argument : NULL;
    if (!write_all(fd, chunk, (size_t)count)) return NULL;
  }
}

// Returns a bit for each descriptor that is readable.
static int wait_for(int way, int epoll, const int *fds) {
  int ready = 0;
  if (way == 0) {
    struct pollfd set[pairs];
    for (int i = 0; i < pairs; i++) set[i] = (struct pollfd){fds[i], POLLIN, 0};
    if (poll(set, pairs, -1) < 0) give_up("poll");
    for (int i = 0; i < pairs; i++) ready |= set[i].revents ? 1 << i : 0;
  } else if (way == 1) {
    fd_set set;
    FD_ZERO(&set);
    for (int i = 0; i < pairs; i++) FD_SET(fds[i], &set);
    if (select((fds[0] > fds[1] ? fds[0] : fds[1]) + 1, &set, NULL, NULL, NULL) < 0) give_up("select");
    for (int i = 0; i < pairs; i++) ready |= FD_ISSET(fds[i], &set) ? 1 << i : 0;
  } else {
    struct epoll_event events[pairs];
    int count = epoll_wait(epoll, events, pairs, -1);
    if (count < 0) give_up("epoll_wait");
    for (int i = 0; i < count; i++) ready |= 1 << events[i].data.u32;
  }
  return ready;
}

static int make_set(const int *fds) {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  for (int i = 0; i < pairs; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (unsigned)i};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event);
  }
  return epoll;
}

// Reads what a descriptor has, and asks for the next when all of the last has come back.
static bool take(int fd, int pair, uint64_t *sent, uint64_t *got, int *round) {
  static char chunk[9000];
  ssize_t count = recv(fd, chunk, sizeof chunk, MSG_DONTWAIT);
  if (count == -1 && errno == EAGAIN) return false;
  if (count <= 0 || !matches(chunk, (size_t)count, (uint64_t)pair, *got)) give_up("recv = %zd", count);
  *got += (uint64_t)count;
  if (*got == *sent && ++*round < rounds) {
    size_t size = 1 + (size_t)*round * 37 % sizeof chunk;
    fill(chunk, size, (uint64_t)pair, *sent);
    if (!write_all(fd, chunk, size)) give_up("send");
    *sent += size;
  }
  return true;
}

static void body(int way, int flip) {
  int ends[pairs][2], fds[pairs], others[pairs], round[pairs] = {0}, nothing = 0, vain = 0;
  uint64_t sent[pairs], got[pairs] = {0};
  pthread_t threads[pairs];
  for (int i = 0; i < pairs; i++) {
    lane_pair(ends[i], PAIR_V4);
    fds[i] = ends[i][flip];
    others[i] = ends[i][!flip];
    setsockopt(ends[i][0], IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    setsockopt(ends[i][1], IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    threads[i] = start_thread(echo, &others[i]);
  }
  int epoll = make_set(fds);
  for (int i = 0; i < pairs; i++) {
    char first;
    fill(&first, 1, (uint64_t)i, 0);
    sent[i] = 1;
    if (!write_all(fds[i], &first, 1)) give_up("send");
  }
  while (round[0] < rounds || round[1] < rounds) {
    int ready = wait_for(way, epoll, fds);
    if (ready == 0) nothing++;
    for (int i = 0; i < pairs; i++)
      if (ready & 1 << i && !take(fds[i], i, &sent[i], &got[i], &round[i])) vain++;
  }
  for (int i = 0; i < pairs; i++) {
    shutdown(fds[i], SHUT_WR);
    check_that("echo done", join_thread(threads[i]) != NULL);
    close(fds[i]);
    close(others[i]);
  }
  close(epoll);
  say("way %d: %d waits came back with nothing, %d reads found nothing", way, nothing, vain);
}

int main(void) {
  for (int flip = 0; flip < 2; flip++)
    for (int way = 0; way < 3; way++) body(way, flip);
  return 0;
}
