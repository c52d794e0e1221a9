// Children are forked while another thread closes connections under their readers: each child uses a lane that it
// shares with its parent, and ends as it should.
#include "observe.h"

enum { CHILDREN = 50 };

static _Atomic bool stopped;
static _Atomic int closed;

static _Atomic pid_t reader_id;

static void *read_once(void *argument) {
  char byte;
  reader_id = thread_id();
  return (void *)(intptr_t)recv((int)(intptr_t)argument, &byte, 1, 0);
}

// A close under a reader is put off until the reader returns; so it is the reader, or whoever leaves last, that ends
// the connection.
static void *close_many(void *unused) {
  while (!stopped) {
    int fds[2];
    lane_pair(fds, PAIR_V4);
    reader_id = 0;
    pthread_t reader = start_thread(read_once, (void *)(intptr_t)fds[1]);
    while (reader_id == 0) sched_yield();
    // A number that is closed before it is read may be somebody else's by then.
    await_asleep(reader_id);
    close(fds[1]);
    send(fds[0], "x", 1, MSG_NOSIGNAL);
    join_thread(reader);
    close(fds[0]);
    closed++;
  }
  return unused;
}

static void in_child(const int fds[2], int number) {
  char byte = (char)number, got = 0;
  struct pollfd both[] = {{.fd = fds[0], .events = POLLOUT}, {.fd = fds[1], .events = POLLIN}};
  // In the first wait of a child it comes to watch what it has inherited.
  if (poll(both, 2, 5000) < 1 || send(fds[0], &byte, 1, 0) != 1 || recv(fds[1], &got, 1, 0) != 1 || got != byte)
    _exit(1);
  _exit(0);
}

int main(void) {
  int fds[2], wrong = 0;
  lane_pair(fds, PAIR_V4);
  pthread_t closer = start_thread(close_many, NULL);
  while (closed < 3) sched_yield();
  for (int i = 0; i < CHILDREN; i++) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) in_child(fds, i);
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) wrong++;
  }
  stopped = true;
  join_thread(closer);
  say("%d children, %d of them wrong", CHILDREN, wrong);
  OBS("send", send(fds[0], "z", 1, 0));
  char byte = 0;
  OBS("recv", recv(fds[1], &byte, 1, 0));
  return 0;
}
