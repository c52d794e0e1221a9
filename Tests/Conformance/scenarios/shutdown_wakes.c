// shutdown by another thread wakes a blocked reader, a blocked writer, and a poll.
#include "observe.h"

static volatile pid_t blocked;

struct job {
  int fd, how;
};

static void *shut(void *argument) {
  struct job *job = argument;
  await_asleep(blocked);
  if (shutdown(job->fd, job->how)) give_up("shutdown");
  return NULL;
}

static void recv_woken(int kind, int how, const char *what) {
  int fds[2];
  char buffer[4];
  for (int flip = 0; flip < 2; flip++) {
    lane_pair(fds, kind);
    struct job job = {fds[flip], how};
    pthread_t thread = start_thread(shut, &job);
    long count = recv(fds[flip], buffer, 4, 0);
    join_thread(thread);
    OBS(what, count);
    close(fds[0]);
    close(fds[1]);
  }
}

int main(void) {
  int fds[2];
  blocked = thread_id();
  signal(SIGPIPE, SIG_IGN);
  recv_woken(PAIR_V4, SHUT_RD, "recv woken by RD");
  recv_woken(PAIR_V4, SHUT_RDWR, "recv woken by RDWR");
  for (int flip = 0; flip < 2; flip++) {
    lane_pair(fds, PAIR_V4);
    size_t size = 64 << 20;
    char *bytes = calloc(1, size);
    struct job job = {fds[flip], SHUT_WR};
    pthread_t thread = start_thread(shut, &job);
    long count = send(fds[flip], bytes, size, 0);
    join_thread(thread);
    check_that("send woken by WR with a short count", count > 0 && count < (long)size);
    OBS("send after it", send(fds[flip], bytes, 1, 0));
    job = (struct job){fds[!flip], SHUT_RDWR};
    struct pollfd one = {.fd = fds[!flip], .events = POLLRDHUP};
    lane_pair(fds, PAIR_V4);
    one.fd = job.fd = fds[flip];
    thread = start_thread(shut, &job);
    OBS("poll woken by RDWR", poll(&one, 1, 5000));
    join_thread(thread);
    await_events(fds[flip], POLLHUP | POLLRDHUP);
    free(bytes);
  }
  return 0;
}
