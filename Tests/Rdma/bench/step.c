/* Runs a program and counts its instructions in user space from its first SIGSTOP to its second, of which it feels
   neither. A system call is one instruction. Other threads run free and are not counted. Usage: step COMMAND...
   With STEP_WHERE each instruction's count is written to a file of that name and the process's number, with the
   mappings behind them, for where.py. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PLACES = 1 << 16 };
static struct {
  uint64_t address;
  long count;
} places[PLACES];

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static void note(pid_t child) {
  uint64_t address = (uint64_t)ptrace(PTRACE_PEEKUSER, child, offsetof(struct user, regs.rip), 0);
  size_t at = address * 0x9e3779b97f4a7c15u >> 48;
  while (places[at].count > 0 && places[at].address != address) at = (at + 1) % PLACES;
  places[at].address = address;
  places[at].count++;
}

static void tell_places(pid_t child, const char *name) {
  char path[256], line[512];
  snprintf(path, sizeof path, "%s.%d", name, child);
  FILE *out = fopen(path, "w");
  snprintf(path, sizeof path, "/proc/%d/maps", child);
  FILE *maps = fopen(path, "r");
  if (!out || !maps) fail(path);
  for (size_t at = 0; at < PLACES; at++) {
    if (places[at].count > 0) fprintf(out, "%lx %ld\n", (unsigned long)places[at].address, places[at].count);
  }
  while (fgets(line, sizeof line, maps)) fputs(line, out);
  fclose(maps);
  fclose(out);
}

int main(int count, char **arguments) {
  if (count < 2) return 2;
  const char *where = getenv("STEP_WHERE");
  pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) fail("ptrace");
    execvp(arguments[1], arguments + 1);
    fail(arguments[1]);
  }
  long steps = 0;
  int status, stepping = 0;
  for (;;) {
    if (waitpid(child, &status, 0) != child) fail("waitpid");
    if (!WIFSTOPPED(status)) break;
    int signal = WSTOPSIG(status);
    if (signal == SIGSTOP) stepping = !stepping;
    if (signal == SIGSTOP && !stepping && where) tell_places(child, where);
    if (stepping && signal == SIGTRAP) {
      steps++;
      if (where) note(child);
    }
    long deliver = signal == SIGSTOP || signal == SIGTRAP ? 0 : signal;
    if (ptrace(stepping ? PTRACE_SINGLESTEP : PTRACE_CONT, child, 0, deliver) != 0) fail("ptrace");
  }
  printf("{\"steps\": %ld}\n", steps);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
