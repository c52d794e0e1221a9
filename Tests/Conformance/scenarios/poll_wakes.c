// A sleeping poll, ppoll, select, pselect and epoll_wait is woken by data, by the end, by room, and by a pipe beside.
#include "observe.h"

static int fds[2], side[2];
static volatile pid_t sleeper;
enum cause { by_data, by_end, by_pipe, causes };
static const char *const cause_names[] = {"data", "the end", "the pipe"};
static enum cause cause;

static void *wake(void *argument) {
  (void)argument;
  await_asleep(sleeper);
  if (cause == by_data) send(fds[0], "x", 1, 0);
  if (cause == by_end) shutdown(fds[0], SHUT_WR);
  if (cause == by_pipe && write(side[1], "x", 1) != 1) give_up("pipe");
  return NULL;
}

static void wait_with(int way) {
  struct pollfd set[2] = {{fds[1], POLLIN, 0}, {side[0], POLLIN, 0}};
  fd_set readable;
  FD_ZERO(&readable);
  FD_SET(fds[1], &readable);
  FD_SET(side[0], &readable);
  int most = fds[1] > side[0] ? fds[1] : side[0];
  struct timeval time = {.tv_sec = 8};
  struct timespec fine = {.tv_sec = 8};
  struct epoll_event event = {.events = EPOLLIN};
  int epoll = epoll_create1(0);
  event.data.u32 = 1;
  epoll_ctl(epoll, EPOLL_CTL_ADD, fds[1], &event);
  event.data.u32 = 2;
  epoll_ctl(epoll, EPOLL_CTL_ADD, side[0], &event);
  pthread_t thread = start_thread(wake, NULL);
  long result;
  bool lane = false, other = false;
  if (way == 0 || way == 1) {
    result = way ? ppoll(set, 2, &fine, NULL) : poll(set, 2, 8000);
    lane = set[0].revents, other = set[1].revents;
  } else if (way == 2 || way == 3) {
    result = way == 2 ? select(most + 1, &readable, NULL, NULL, &time)
                      : pselect(most + 1, &readable, NULL, NULL, &fine, NULL);
    lane = FD_ISSET(fds[1], &readable), other = FD_ISSET(side[0], &readable);
  } else {
    result = epoll_wait(epoll, &event, 1, 8000);
    lane = event.data.u32 == 1, other = event.data.u32 == 2;
  }
  join_thread(thread);
  say("way %d by %s = %ld, connection %d, pipe %d", way, cause_names[cause], result, lane, other);
  char byte;
  if (cause == by_data) OBS("recv", recv(fds[1], &byte, 1, MSG_DONTWAIT));
  if (cause == by_pipe) OBS("read", read(side[0], &byte, 1));
  close(epoll);
}

int main(void) {
  sleeper = thread_id();
  if (pipe(side)) give_up("pipe");
  for (int flip = 0; flip < 2; flip++)
    for (int way = 0; way < 5; way++) {
      int ends[2];
      lane_pair(ends, PAIR_V4);
      fds[0] = ends[flip];
      fds[1] = ends[!flip];
      static const enum cause order[] = {by_data, by_pipe, by_data, by_end};
      for (int i = 0; i < 4; i++) {
        cause = order[i];
        wait_with(way);
      }
      close(fds[0]);
      close(fds[1]);
    }
  return 0;
}
