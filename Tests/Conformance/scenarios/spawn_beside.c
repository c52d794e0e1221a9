// vfork and exec, posix_spawn, system and popen beside live connections, which go on.
#include <spawn.h>
#include "observe.h"

extern char **environ;

static void still_works(int a, int b) {
  char buffer[8];
  OBS("send", send(a, "x", 1, 0));
  OBS("recv", recv(b, buffer, 8, 0));
  OBS("send back", send(b, "y", 1, 0));
  OBS("recv", recv(a, buffer, 8, 0));
}

static void body(int a, int b) {
  int status = -1;
  pid_t child = vfork();
  if (child == 0) {
    execl("/bin/true", "true", (char *)NULL);
    _exit(9);
  }
  waitpid(child, &status, 0);
  say("vfork and exec: %d", status);
  still_works(a, b);
  child = vfork();
  if (child == 0) {
    // What a vfork child closes and moves is its own table, though the memory is the parent's.
    close(a);
    dup2(0, b);
    _exit(7);
  }
  waitpid(child, &status, 0);
  say("vfork and close: %d", WEXITSTATUS(status));
  still_works(a, b);
  child = vfork();
  if (child == 0) {
    execl("/does/not/exist", "x", (char *)NULL);
    _exit(8);
  }
  waitpid(child, &status, 0);
  say("vfork and a failing exec: %d", WEXITSTATUS(status));
  still_works(a, b);
  char *arguments[] = {"sh", "-c", "exit 5", NULL};
  say("posix_spawn %d", posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environ));
  waitpid(child, &status, 0);
  say("ended with %d", WEXITSTATUS(status));
  say("posix_spawnp %d", posix_spawnp(&child, "sh", NULL, NULL, arguments, environ));
  waitpid(child, &status, 0);
  say("ended with %d", WEXITSTATUS(status));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addclose(&actions, a);
  posix_spawn_file_actions_addclose(&actions, b);
  say("posix_spawn with actions %d",
      posix_spawn(&child, "/bin/true", &actions, NULL, (char *[]){"true", NULL}, environ));
  waitpid(child, &status, 0);
  say("ended with %d", WEXITSTATUS(status));
  still_works(a, b);
  say("system %d", WEXITSTATUS(system("exit 6")));
  char line[32];
  FILE *pipe_in = popen("echo from popen", "r");
  say("popen %s", fgets(line, sizeof line, pipe_in) ? strtok(line, "\n") : "nothing");
  say("pclose %d", pclose(pipe_in));
  say("a failing exec %d", execl("/does/not/exist", "x", (char *)NULL));
  still_works(a, b);
}

BOTH_WAYS(body)
