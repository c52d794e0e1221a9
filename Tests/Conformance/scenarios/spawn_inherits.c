// A program that has inherited a connection uses it whenever it likes: long after it was started, and beside its
// parent.
#include <spawn.h>
#include "observe.h"

extern char **environ;

// Traffic that would earn a lane.
static void traffic(int a, int b) {
  char buffer[64];
  for (int i = 0; i < 3000; i++)
    if (!write_all(a, "0123456789abcdef", 16) || !read_all(b, buffer, 16) || !write_all(b, buffer, 16) ||
        !read_all(a, buffer, 16))
      give_up("traffic");
}

// The child reads four bytes when it is told to, and answers.
static void let_it_go(const char *how, pid_t child, int told, int a, int b) {
  char text[32] = "";
  traffic(a, b);
  OBS("send", send(b, "four", 4, 0));
  if (write(told, "go\n", 3) != 3) give_up("write to the child");
  long got = OBS("recv", recv(b, text, 11, MSG_WAITALL));
  say("%s: bytes %.*s", how, (int)got, text);
  int status = -1;
  waitpid(child, &status, 0);
  say("the child ended with %d", WEXITSTATUS(status));
  traffic(a, b);
  close(told);
}

// bash, because dash reads a descriptor number of two digits as an error.
static void make_command(char *command, size_t size, int words, int in, int out) {
  snprintf(command, size, "read word <&%d; printf %%s \"$(head -c 4 <&%d) by it\" >&%d; printf x >&%d; exit 3", words,
           in, out, out);
}

static void spawned(int a, int b) {
  int ends[2];
  char command[128], *arguments[] = {"bash", "-c", command, NULL};
  pid_t child;
  if (pipe(ends)) give_up("pipe");
  fcntl(ends[1], F_SETFD, FD_CLOEXEC);
  make_command(command, sizeof command, ends[0], a, a);
  say("posix_spawn = %d", posix_spawn(&child, "/bin/bash", NULL, NULL, arguments, environ));
  close(ends[0]);
  let_it_go("spawned", child, ends[1], a, b);
}

static void as_stdio(int a, int b, bool keeps) {
  int ends[2];
  char command[128], *arguments[] = {"bash", "-c", command, NULL};
  if (pipe(ends)) give_up("pipe");
  fcntl(ends[1], F_SETFD, FD_CLOEXEC);
  make_command(command, sizeof command, ends[0], 0, 1);
  pid_t child = vfork();
  if (child == 0) {
    dup2(a, 0);
    dup2(a, 1);
    if (!keeps) close(a);
    execve("/bin/bash", arguments, environ);
    _exit(9);
  }
  close(ends[0]);
  let_it_go(keeps ? "vfork" : "vfork, closed before the exec", child, ends[1], a, b);
}

static void body(int a, int b) {
  int fds[2];
  for (int turn = 0; turn < 6; turn++) {
    // Once on a lane, and once before it has one.
    if (turn % 2 == 0)
      lane_pair(fds, PAIR_V4);
    else
      make_pair(fds, PAIR_V4);
    int mine = a < b ? fds[0] : fds[1], other = a < b ? fds[1] : fds[0];
    switch (turn / 2) {
      case 0: spawned(mine, other); break;
      case 1: as_stdio(mine, other, true); break;
      default: as_stdio(mine, other, false); break;
    }
    close(mine);
    char byte;
    OBS("recv at the end", recv(other, &byte, 1, 0));
    close(other);
  }
}

BOTH_WAYS(body)
