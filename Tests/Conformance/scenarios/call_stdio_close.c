// fclose closes the descriptor inside libc, and freopen replaces it: the number is somebody else's afterwards.
#include "observe.h"

static void body(int a, int b) {
  char text[16];
  FILE *stream = fdopen(a, "r+");
  OBS("fputs", fputs("over stdio", stream) >= 0);
  OBS("fclose", fclose(stream));
  int file = open("/proc/self/exe", O_RDONLY);
  say("the number is used again: %d", file == a);
  OBS("read of the file", read(file, text, 4));
  say("an ELF file: %d", !memcmp(text, "\177ELF", 4));
  OBS("send to a file", send(file, "x", 1, 0));
  OBS("recv", recv(b, text, 10, MSG_WAITALL));
  OBS("recv at the end", recv(b, text, 1, 0));
  OBS("close of the file", close(file));
  int fds[2];
  lane_pair(fds, PAIR_V4);
  OBS("send on a new connection", send(fds[0], "new", 3, 0));
  OBS("recv", recv(fds[1], text, 3, MSG_WAITALL));
  close(fds[0]);
  close(fds[1]);
  OBS("close", close(b));
}

BOTH_WAYS(body)
