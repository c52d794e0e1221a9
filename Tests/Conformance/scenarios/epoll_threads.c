// Several threads in one set: with ONESHOT every message is handled once, and none is lost.
#include "observe.h"

enum { connections = 4, workers = 3, messages = 200 };

static int set, fds[connections][2];
static int handled[connections];
static volatile int total;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *worker(void *argument) {
  (void)argument;
  for (;;) {
    struct epoll_event event;
    if (epoll_wait(set, &event, 1, 5000) != 1) return NULL;
    int which = (int)event.data.u32;
    if (which == connections) return argument;
    char message[16];
    if (recv(fds[which][1], message, 16, MSG_WAITALL) != 16) give_up("a message is broken");
    if (send(fds[which][1], message, 16, 0) != 16) give_up("send");
    pthread_mutex_lock(&lock);
    handled[which]++;
    total++;
    pthread_mutex_unlock(&lock);
    event = (struct epoll_event){.events = EPOLLIN | EPOLLONESHOT, .data.u32 = (uint32_t)which};
    epoll_ctl(set, EPOLL_CTL_MOD, fds[which][1], &event);
  }
}

int main(void) {
  set = epoll_create1(0);
  int stop[2];
  if (pipe(stop)) give_up("pipe");
  for (int i = 0; i < connections; i++) {
    lane_pair(fds[i], PAIR_V4);
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u32 = (uint32_t)i};
    epoll_ctl(set, EPOLL_CTL_ADD, fds[i][1], &event);
  }
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = connections};
  epoll_ctl(set, EPOLL_CTL_ADD, stop[0], &event);
  pthread_t threads[workers];
  for (int i = 0; i < workers; i++) threads[i] = start_thread(worker, NULL);
  for (int round = 0; round < messages; round++) {
    char message[16], back[16];
    for (int i = 0; i < connections; i++) {
      snprintf(message, sizeof message, "%d/%d", round, i);
      if (!write_all(fds[i][0], message, 16)) give_up("send");
    }
    for (int i = 0; i < connections; i++) {
      snprintf(message, sizeof message, "%d/%d", round, i);
      if (!read_all(fds[i][0], back, 16) || strcmp(message, back)) give_up("the answer is wrong");
    }
  }
  if (write(stop[1], "x", 1) != 1) give_up("pipe");
  for (int i = 0; i < workers; i++) join_thread(threads[i]);
  for (int i = 0; i < connections; i++) say("connection %d: %d messages", i, handled[i]);
  say("in all %d", total);
  return 0;
}
