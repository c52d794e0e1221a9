/* Starts a program many times, one after the other, and prints milliseconds per start and end of it.
   With a third argument the started program is preloaded with that library; this program never is.
   Usage: spawn_loop PROGRAM COUNT [LIBRARY] */
#define _GNU_SOURCE
#include <spawn.h>
#include <sys/wait.h>

#include "micro.h"

int main(int count, char **arguments) {
  if (count < 3) return 2;
  int times = atoi(arguments[2]);
  char preload[4096] = "MILLRACE_BENCH=1";
  if (count > 3) snprintf(preload, sizeof preload, "LD_PRELOAD=%s", arguments[3]);
  char *environment[] = {"PATH=/usr/bin:/bin", preload, NULL}, *own[] = {arguments[1], NULL};
  double start = now();
  for (int i = 0; i < times; i++) {
    pid_t child;
    int status;
    errno = posix_spawn(&child, arguments[1], NULL, NULL, own, environment);
    if (errno != 0) fail("posix_spawn");
    if (waitpid(child, &status, 0) != child || status != 0) fail("the program");
  }
  printf("%.6f\n", (now() - start) * 1e3 / times);
  return 0;
}
