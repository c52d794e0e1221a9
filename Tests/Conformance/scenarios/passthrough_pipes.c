// splice, tee and vmsplice among pipes and files, which are nobody's connection.
#include "observe.h"

int main(void) {
  int one[2], two[2];
  char buffer[32];
  if (pipe(one) || pipe(two)) give_up("pipe");
  struct iovec vector = {"from memory", 11};
  OBS("vmsplice", vmsplice(one[1], &vector, 1, 0));
  OBS("tee", tee(one[0], two[1], 64, 0));
  OBS("read", read(two[0], buffer, 32));
  say("bytes %.11s", buffer);
  FILE *file = tmpfile();
  OBS("splice to a file", splice(one[0], NULL, fileno(file), NULL, 64, 0));
  loff_t offset = 5;
  OBS("splice from a file", splice(fileno(file), &offset, two[1], NULL, 64, 0));
  say("offset %ld", (long)offset);
  OBS("read", read(two[0], buffer, 32));
  say("bytes %.6s", buffer);
  OBS("tee NONBLOCK", tee(one[0], two[1], 64, SPLICE_F_NONBLOCK));
  return 0;
}
