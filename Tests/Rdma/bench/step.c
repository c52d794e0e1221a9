/* Runs a program and counts its instructions in user space from its first SIGSTOP to its second, of which it feels
   neither. A system call is one instruction. Other threads run free and are not counted. Usage: step COMMAND... */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

int main(int count, char **arguments) {
  if (count < 2) return 2;
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
    if (stepping && signal == SIGTRAP) steps++;
    long deliver = signal == SIGSTOP || signal == SIGTRAP ? 0 : signal;
    if (ptrace(stepping ? PTRACE_SINGLESTEP : PTRACE_CONT, child, 0, deliver) != 0) fail("ptrace");
  }
  printf("{\"steps\": %ld}\n", steps);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
