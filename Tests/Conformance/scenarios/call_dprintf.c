// dprintf and its kin write to the descriptor inside libc, past write: they need the connection to be TCP's.
// Also built with _FORTIFY_SOURCE.
#include "observe.h"

static int varied(int fd, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int count = vdprintf(fd, format, arguments);
  va_end(arguments);
  return count;
}

static void body(int a, int b) {
  char text[64];
  OBS("send before", send(a, "before ", 7, 0));
  OBS("dprintf", dprintf(a, "%s %d ", "number", 17));
  OBS("vdprintf", varied(a, "and %c ", 'x'));
  OBS("send behind", send(a, "behind", 6, 0));
  long got = OBS("recv", recv(b, text, 29, MSG_WAITALL));
  say("bytes %.*s", (int)got, text);
  OBS("dprintf the other way", dprintf(b, "back %d", 4711));
  got = OBS("recv", recv(a, text, 9, MSG_WAITALL));
  say("bytes %.*s", (int)got, text);
  OBS("close", close(a));
  OBS("recv at the end", recv(b, text, 1, 0));
  OBS("dprintf to what is closed", dprintf(a, "x"));
}

BOTH_WAYS(body)
