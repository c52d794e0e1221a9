// What a program installs for a signal, what it is told of it, and what its handler gets.
#include "observe.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static volatile int runs, last_code, last_value, nested;

static void plain(int number) {
  (void)number;
  runs++;
}

static void other(int number) {
  (void)number;
  runs += 100;
}

static void informed(int number, siginfo_t *info, void *context) {
  runs++;
  last_code = info->si_code;
  last_value = info->si_value.sival_int;
  if (number == SIGUSR2 && !nested++) raise(SIGUSR2);
  check_that("a context", context != NULL);
}

static const char *name_of(void *function) {
  return function == (void *)SIG_DFL    ? "default"
         : function == (void *)SIG_IGN  ? "ignore"
         : function == (void *)plain    ? "plain"
         : function == (void *)other    ? "other"
         : function == (void *)informed ? "informed"
                                        : "another";
}

static void show(int number) {
  struct sigaction now;
  sigaction(number, NULL, &now);
  say("signal %d: %s, flags %x, mask %d", number, name_of((void *)now.sa_handler), now.sa_flags & ~0x04000000u,
      sigismember(&now.sa_mask, SIGHUP));
}

static void by_the_older_calls(void) {
  say("signal: %s", name_of((void *)signal(SIGUSR1, plain)));
  show(SIGUSR1);
  say("signal: %s", name_of((void *)signal(SIGUSR1, other)));
  raise(SIGUSR1);
  say("runs %d", runs);
  say("siginterrupt: %d", siginterrupt(SIGUSR1, 1));
  show(SIGUSR1);
  say("signal: %s", name_of((void *)signal(SIGUSR1, SIG_IGN)));
  raise(SIGUSR1);
  say("sysv: %s", name_of((void *)sysv_signal(SIGUSR1, plain)));
  show(SIGUSR1);
  raise(SIGUSR1);
  show(SIGUSR1);
  say("sigset: %s", name_of((void *)sigset(SIGUSR1, plain)));
  show(SIGUSR1);
  say("sigset: %s", name_of((void *)sigset(SIGUSR1, SIG_DFL)));
  say("runs %d", runs);
  OBS("a signal that cannot be caught", signal(SIGKILL, plain) == SIG_ERR ? -1 : 0);
  OBS("no signal", signal(1000, plain) == SIG_ERR ? -1 : 0);
}

static void by_sigaction(void) {
  struct sigaction action = {.sa_sigaction = informed, .sa_flags = SA_SIGINFO | SA_RESTART}, old;
  sigaddset(&action.sa_mask, SIGHUP);
  OBS("sigaction", sigaction(SIGUSR1, &action, &old));
  say("before: %s", name_of((void *)old.sa_handler));
  show(SIGUSR1);
  OBS("sigqueue", sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 4711}));
  say("runs %d code %d value %d", runs, last_code, last_value);
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  OBS("sigaction", sigaction(SIGUSR2, &action, NULL));
  raise(SIGUSR2);
  say("runs %d, nested %d", runs, nested);
  action = (struct sigaction){.sa_handler = plain, .sa_flags = SA_RESETHAND};
  OBS("sigaction", sigaction(SIGUSR1, &action, &old));
  say("before: %s, flags %x", name_of((void *)old.sa_handler), old.sa_flags & ~0x04000000u);
  raise(SIGUSR1);
  show(SIGUSR1);
  OBS("sigaction of a signal that cannot be caught", sigaction(SIGSTOP, &action, NULL));
  OBS("sigaction of libc's own signal", sigaction(32, &action, NULL));
  OBS("sigaction of no signal", sigaction(0, &action, NULL));
}

static void on_another_stack(void) {
  static char space[65536];
  stack_t stack = {.ss_sp = space, .ss_size = sizeof space};
  sigaltstack(&stack, NULL);
  struct sigaction action = {.sa_handler = plain, .sa_flags = SA_ONSTACK};
  sigaction(SIGUSR1, &action, NULL);
  raise(SIGUSR1);
  show(SIGUSR1);
  say("runs %d", runs);
}

int main(void) {
  by_the_older_calls();
  by_sigaction();
  on_another_stack();
  pid_t child = fork();
  if (child == 0) {
    raise(SIGUSR1);
    _exit(runs & 0x7f);
  }
  int status;
  waitpid(child, &status, 0);
  say("the child has run %d", WEXITSTATUS(status));
  signal(SIGUSR1, SIG_DFL);
  child = fork();
  if (child == 0) raise(SIGUSR1);
  waitpid(child, &status, 0);
  say("the child ended by %d", WTERMSIG(status));
  return 0;
}
