// forkpty forks inside libc, _Fork does without the handlers, and clone may be a fork: parent and child share the
// connection all the same.
#include <pty.h>
#include "observe.h"

pid_t _Fork(void);
int clone(int (*)(void *), void *, int, void *, ...);

static void take_turns(const char *how, pid_t child, int a, int b, int terminal) {
  char text[32];
  int status = 0;
  if (child == 0) {
    long sent = send(a, "child ", 6, 0), got = recv(a, text, 2, MSG_WAITALL);
    _exit(sent == 6 && got == 2 && !memcmp(text, "go", 2) ? 9 : 8);
  }
  long got = OBS("recv", recv(b, text, 6, MSG_WAITALL));
  say("%s: bytes %.*s", how, (int)got, text);
  OBS("send", send(b, "go", 2, 0));
  waitpid(child, &status, 0);
  say("the child ended with %d", WEXITSTATUS(status));
  if (terminal >= 0) close(terminal);
  OBS("send", send(a, "parent", 6, 0));
  OBS("recv", recv(b, text, 6, MSG_WAITALL));
  say("bytes %.6s", text);
}

static int cloned(void *argument) {
  const int *fds = argument;
  take_turns("clone", 0, fds[0], fds[1], -1);
  return 7;
}

static void body(int a, int b) {
  int terminal = -1;
  take_turns("_Fork", _Fork(), a, b, -1);
  pid_t child = forkpty(&terminal, NULL, NULL, NULL);
  take_turns("forkpty", child, a, b, terminal);
  static char stack[1 << 16];
  int fds[2] = {a, b};
  take_turns("clone", clone(cloned, stack + sizeof stack, SIGCHLD, fds), a, b, -1);
  char byte;
  OBS("close", close(a));
  OBS("recv at the end", recv(b, &byte, 1, 0));
}

BOTH_WAYS(body)
