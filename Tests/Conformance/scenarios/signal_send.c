// Signals and blocking writes: a short count when something went in; EINTR, or going on, when nothing did.
#include "observe.h"

enum { size = 64 << 20 };

static int drain_fd;
static uint64_t to_drain;
static pid_t writer;

static volatile bool finished;

// A signal whenever the writer sleeps, until its call has returned.
static void *disturb(void *argument) {
  (void)argument;
  while (!finished) {
    await_asleep(writer);
    if (!finished) syscall(SYS_tgkill, getpid(), writer, SIGUSR1);
  }
  return NULL;
}

static void *disturb_and_drain(void *argument) {
  static char chunk[65536];
  (void)argument;
  await_asleep(writer);
  int before = signals_seen[SIGUSR1];
  syscall(SYS_tgkill, getpid(), writer, SIGUSR1);
  double start = now();
  while (signals_seen[SIGUSR1] == before && now() - start < 5) sched_yield();
  await_asleep(writer);
  for (uint64_t got = 0; got < to_drain;) {
    uint64_t rest = to_drain - got;
    ssize_t count = recv(drain_fd, chunk, rest < sizeof chunk ? rest : sizeof chunk, 0);
    if (count <= 0) give_up("drain");
    got += (uint64_t)count;
  }
  return NULL;
}

static pthread_t start_disturbing(void) {
  finished = false;
  return start_thread(disturb, NULL);
}

static void drain(int fd, uint64_t count) {
  drain_fd = fd;
  to_drain = count;
  static char chunk[65536];
  while (to_drain) {
    ssize_t got = recv(fd, chunk, to_drain < sizeof chunk ? to_drain : sizeof chunk, 0);
    if (got <= 0) give_up("drain");
    to_drain -= (uint64_t)got;
  }
}

static uint64_t fill_up(int fd) {
  set_nonblocking(fd, true);
  uint64_t sent = 0;
  do sent += write_until_full(fd, 1, sent);
  while (ready(fd, POLLOUT));
  set_nonblocking(fd, false);
  return sent;
}

// Sends single bytes under signals until one finds no room: a buffer that was full may make some by itself, as the
// kernel packs what it holds.
static uint64_t send_until_stuck(int fd, const char *what) {
  uint64_t sent = 0;
  ssize_t count;
  int error;
  do {
    // What room there is already needs no signals to be found.
    while (send(fd, "x", 1, MSG_DONTWAIT) == 1) sent++;
    pthread_t thread = start_disturbing();
    errno = 0;
    count = send(fd, "x", 1, 0);
    error = errno;
    finished = true;
    join_thread(thread);
    if (count > 0) sent += (uint64_t)count;
  } while (count > 0);
  say("%s = %zd %s", what, count, errno_name(error));
  return sent;
}

static void body(int a, int b) {
  char *bytes = calloc(1, size);
  writer = thread_id();
  for (int restart = 0; restart < 2; restart++) {
    count_signal(SIGUSR1, restart ? SA_RESTART : 0);
    pthread_t thread = start_disturbing();
    long count = send(a, bytes, size, 0);
    finished = true;
    join_thread(thread);
    say("restart %d: a large send is short: %s", restart, count > 0 && count < size ? "yes" : "no");
    drain(b, (uint64_t)count);

    uint64_t sent = fill_up(a);
    set_timeout(a, SO_SNDTIMEO, 8000);
    sent += send_until_stuck(a, restart ? "restart 1: a send into a full buffer with a timeout"
                                        : "restart 0: a send into a full buffer with a timeout");
    set_timeout(a, SO_SNDTIMEO, 0);
    if (!restart) {
      sent += send_until_stuck(a, "a send into a full buffer");
      drain(b, sent);
    } else {
      drain_fd = b;
      to_drain = sent;
      thread = start_thread(disturb_and_drain, NULL);
      count = send(a, "x", 1, 0);
      finished = true;
      join_thread(thread);
      say("a send into a full buffer, restarted = %ld", count);
      OBS("it arrives", recv(b, bytes, 8, 0));
    }
  }
  free(bytes);
}

BOTH_WAYS(body)
