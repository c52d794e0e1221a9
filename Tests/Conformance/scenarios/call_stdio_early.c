// A FILE that is there before any traffic, used for both directions, and other calls beside it.
#include "observe.h"

int main(void) {
  int fds[2];
  char line[64];
  make_pair(fds, PAIR_V4);
  FILE *both = fdopen(fds[0], "r+");
  exchange(fds);
  for (int i = 0; i < 200; i++) {
    if (fprintf(both, "line %d\n", i) < 0 || fflush(both)) give_up("fprintf failed");
    char expected[32];
    int length = snprintf(expected, sizeof expected, "line %d\n", i);
    if (!read_all(fds[1], line, (size_t)length) || memcmp(line, expected, (size_t)length))
      give_up("line %d is wrong", i);
    if (!write_all(fds[1], line, (size_t)length)) give_up("write failed");
    if (!fgets(line, sizeof line, both) || strcmp(line, expected)) give_up("line %d did not come back", i);
  }
  say("200 lines went there and back");
  close(fds[1]);
  say("fgets at the end: %s", fgets(line, sizeof line, both) ? "data" : "nothing");
  say("fclose = %d", fclose(both));
  return 0;
}
