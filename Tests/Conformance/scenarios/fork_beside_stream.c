// Children come and go (fork, posix_spawn, system) while threads move megabytes both ways: the streams stay exact.
#include <spawn.h>
#include "observe.h"

extern char **environ;
enum { size = 8 << 20 };

struct work {
  int fd;
  uint64_t seed;
};

static volatile int running;

static void *sender(void *argument) {
  struct work *work = argument;
  char *bytes = malloc(size);
  fill(bytes, size, work->seed, 0);
  bool ok = write_all(work->fd, bytes, size);
  free(bytes);
  __atomic_sub_fetch(&running, 1, __ATOMIC_SEQ_CST);
  return ok ? argument : NULL;
}

static void *receiver(void *argument) {
  struct work *work = argument;
  char *bytes = malloc(size);
  bool ok = read_all(work->fd, bytes, size) && matches(bytes, size, work->seed, 0);
  free(bytes);
  __atomic_sub_fetch(&running, 1, __ATOMIC_SEQ_CST);
  return ok ? argument : NULL;
}

static void body(int a, int b) {
  struct work work[4] = {{a, 1}, {b, 1}, {b, 2}, {a, 2}};
  pthread_t threads[4];
  char byte;
  running = 4;
  for (int i = 0; i < 4; i++) threads[i] = start_thread(i & 1 ? receiver : sender, &work[i]);
  for (int turn = 0; turn < 8 || (running && turn < 100); turn++) {
    pid_t child = -1;
    if (turn % 3 == 0 && (child = fork()) == 0) _exit(0);
    if (turn % 3 == 1 && posix_spawn(&child, "/bin/true", NULL, NULL, (char *[]){"true", NULL}, environ))
      give_up("spawn");
    if (turn % 3 == 2 && system(":") != 0) give_up("system");
    if (child > 0) waitpid(child, NULL, 0);
  }
  for (int i = 0; i < 4; i++) check_that(i & 1 ? "received" : "sent", join_thread(threads[i]) != NULL);
  OBS("send", send(a, "x", 1, 0));
  OBS("recv", recv(b, &byte, 1, 0));
}

BOTH_WAYS(body)
