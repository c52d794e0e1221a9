// A peer that is killed while this end sleeps in recv, in send, in poll and in epoll_wait; both roles.
#include "observe.h"

static pid_t victim;

static void *killer(void *argument) {
  (void)argument;
  await_asleep(getpid());
  kill(victim, SIGKILL);
  return NULL;
}

// The parent of fork_pair() holds the accepted end; for the other role the parent connects.
static pid_t victim_pair(int *fd, bool connecting) {
  if (!connecting) return fork_pair(fd, PAIR_V4);
  struct sockaddr_storage address;
  socklen_t length;
  int listener = make_listener(PAIR_V4, &address, &length);
  pid_t child = fork_logged();
  if (child == 0) {
    *fd = accept(listener, NULL, NULL);
    settle_end(*fd, true);
    return 0;
  }
  close(listener);
  *fd = connect_to(PAIR_V4, &address, length);
  settle_end(*fd, false);
  return child;
}

static void wait_for(const char *what, int fd) {
  char byte;
  struct pollfd one = {.fd = fd, .events = POLLIN | POLLRDHUP};
  struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP};
  if (!strcmp(what, "recv")) {
    OBS("recv", recv(fd, &byte, 1, 0));
  } else if (!strcmp(what, "poll")) {
    OBS("poll", poll(&one, 1, 10000));
    say("events %s", event_names(await_events(fd, POLLIN | POLLRDHUP)));
  } else if (!strcmp(what, "epoll")) {
    int set = epoll_create1(0);
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
    OBS("epoll_wait", epoll_wait(set, &event, 1, 10000));
    close(set);
  } else if (!strcmp(what, "edge")) {
    // The end is an edge of its own, although the peer said nothing. That of the room is told before.
    int set = epoll_create1(0);
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
    while (epoll_wait(set, &event, 1, 0) > 0) continue;
    kill(victim, SIGKILL);
    // A stream that moves at this moment may tell of its room once more.
    int count;
    do count = epoll_wait(set, &event, 1, 10000);
    while (count == 1 && (event.events & EPOLLRDHUP) == 0);
    OBS("epoll_wait for the end", count);
    close(set);
  } else {
    size_t size = 64 << 20;
    char *bytes = calloc(1, size);
    long count = send(fd, bytes, size, MSG_NOSIGNAL);
    check_that("send is cut short", count < (long)size);
    await_events(fd, POLLHUP);
    // What the peer had not read makes this a reset.
    long first = send(fd, bytes, 1, MSG_NOSIGNAL), second;
    (void)first;
    second = OBS("send after it", send(fd, bytes, 1, MSG_NOSIGNAL));
    (void)second;
    free(bytes);
  }
}

int main(void) {
  static const char *const ways[] = {"recv", "poll", "epoll", "send", "edge"};
  for (int way = 0; way < 5; way++)
    for (int role = 0; role < 2; role++) {
      int fd, settled[2];
      char byte;
      if (pipe(settled)) give_up("pipe: %s", errno_name(errno));
      say("-- %s, %s", ways[way], role ? "connected" : "accepted");
      victim = victim_pair(&fd, role);
      if (victim == 0) {
        // It has read all that it was sent: what it leaves unread would be a reset.
        if (write(settled[1], "s", 1) != 1) end_child(1);
        for (;;) pause();
      }
      if (read(settled[0], &byte, 1) != 1) give_up("the victim did not settle");
      close(settled[0]), close(settled[1]);
      if (!strcmp(ways[way], "edge")) {
        wait_for(ways[way], fd);
      } else {
        pthread_t thread = start_thread(killer, NULL);
        wait_for(ways[way], fd);
        join_thread(thread);
      }
      join_child(victim);
      close(fd);
    }
  return 0;
}
