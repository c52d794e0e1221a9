// Streams of stdio over a connection that rides a lane already: one FILE per direction.
#include "observe.h"

static void body(int a, int b) {
  char line[64];
  FILE *out = fdopen(dup(a), "w"), *in = fdopen(dup(b), "r");
  say("fprintf = %d", fprintf(out, "first %d\nsecond %s\n", 1, "two"));
  say("fflush = %d", fflush(out));
  say("fgets %s", fgets(line, sizeof line, in) ? strtok(line, "\n") : "nothing");
  say("fgets %s", fgets(line, sizeof line, in) ? strtok(line, "\n") : "nothing");
  static char big[30000], back[30000];
  fill(big, sizeof big, 3, 0);
  say("fwrite = %zu", fwrite(big, 1, sizeof big, out));
  fflush(out);
  say("fread = %zu", fread(back, 1, sizeof back, in));
  check_that("bytes match", matches(back, sizeof back, 3, 0));
  say("fclose = %d", fclose(out));
  OBS("dprintf", dprintf(a, "plain %d\n", 5));
  say("fgets %s", fgets(line, sizeof line, in) ? strtok(line, "\n") : "nothing");
  shutdown(a, SHUT_WR);
  int last = fgetc(in);
  say("fgetc = %d eof %d error %d", last, feof(in) != 0, ferror(in) != 0);
  say("fileno is a descriptor: %s", fileno(in) > 2 ? "yes" : "no");
  say("fclose = %d", fclose(in));
  OBS("the connection still reads", recv(a, line, 1, MSG_DONTWAIT));
}

BOTH_WAYS(body)
