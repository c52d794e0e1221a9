// Another program gets a connection whose peer has closed, with bytes of the peer's unread: by exec, spawned, and from
// a child that shares it.
#include <spawn.h>
#include "observe.h"

enum { size = 50000 };
static char bytes[size];

// In the new image: all of standard input.
static int new_image(size_t length) {
  static char got[size];
  for (size_t at = 0; at < length;) {
    ssize_t r = recv(0, got + at, length - at, 0);
    if (r <= 0) return r == 0 ? 21 : errno == ECONNRESET ? 24 : 25;
    at += (size_t)r;
  }
  if (!matches(got, length, 5, 0)) return 22;
  return recv(0, got, 1, 0) == 0 ? 20 : 23;
}

static int connection(int flip, size_t length, int *peer) {
  int fds[2];
  lane_pair(fds, PAIR_V4);
  *peer = fds[flip];
  if (!write_all(fds[flip], bytes, length)) give_up("write");
  return fds[!flip];
}

static void tell(const char *what, pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  say("%s ended with %d", what, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
}

int main(int count, char **arguments) {
  if (count > 1) return new_image(strtoul(arguments[1], NULL, 10));
  fill(bytes, size, 5, 0);
  size_t length = fits_unread(size);
  char number[16];
  snprintf(number, sizeof number, "%zu", length);
  char *next[] = {arguments[0], number, NULL};
  extern char **environ;
  for (int flip = 0; flip < 2; flip++) {
    int peer, fd = connection(flip, length, &peer);
    close(peer);
    await_fin(fd);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, 0);
    pid_t child;
    if (posix_spawn(&child, "/proc/self/exe", &actions, NULL, next, environ)) give_up("posix_spawn");
    posix_spawn_file_actions_destroy(&actions);
    close(fd);
    tell("spawned", child);

    fd = connection(flip, length, &peer);
    close(peer);
    await_fin(fd);
    child = fork();
    if (child == 0) {
      dup2(fd, 0);
      close(fd);
      execv("/proc/self/exe", next);
      _exit(9);
    }
    close(fd);
    tell("executed", child);

    // The lane is a family's when its peer goes.
    fd = connection(flip, length, &peer);
    child = fork();
    if (child == 0) {
      close(peer);
      await_fin(fd);
      dup2(fd, 0);
      close(fd);
      execv("/proc/self/exe", next);
      _exit(9);
    }
    close(peer);
    tell("executed by a relative", child);
    char byte;
    OBS("the other relative", recv(fd, &byte, 1, 0));
    close(fd);

    fd = connection(flip, length, &peer);
    close(peer);
    await_fin(fd);
    child = vfork();
    if (child == 0) {
      dup2(fd, 0);
      execv("/proc/self/exe", next);
      _exit(9);
    }
    close(fd);
    tell("executed in a vfork child", child);
  }
  return 0;
}
