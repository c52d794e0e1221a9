// system, popen and wordexp start programs inside libc, past fork and exec: what they inherit is a TCP socket.
#include <wordexp.h>
#include "observe.h"

static void body(int a, int b) {
  char text[64], command[64];
  OBS("send before", send(a, "before ", 7, 0));
  snprintf(command, sizeof command, "echo from the shell >&%d", a);
  OBS("system", system(command));
  OBS("send behind", send(a, "behind", 6, 0));
  long got = OBS("recv", recv(b, text, 28, MSG_WAITALL));
  say("bytes %.*s", (int)got, text);
  snprintf(command, sizeof command, "head -c 4 <&%d", b);
  OBS("send for the child", send(a, "kid!mine", 8, 0));
  FILE *pipe = popen(command, "r");
  got = (long)fread(text, 1, sizeof text, pipe);
  say("the child read %.*s", (int)got, text);
  OBS("pclose", pclose(pipe));
  OBS("recv", recv(b, text, 4, MSG_WAITALL));
  say("bytes %.4s", text);
  wordexp_t words;
  snprintf(command, sizeof command, "$(echo expanded >&%d)", a);
  OBS("wordexp", wordexp(command, &words, 0));
  got = OBS("recv", recv(b, text, 9, MSG_WAITALL));
  say("bytes %.*s", (int)got, text);
  OBS("close", close(a));
  OBS("recv at the end", recv(b, text, 1, 0));
}

BOTH_WAYS(body)
