// sendfile and sendfile64: with a position, with the file's own, beyond its end, and the wrong way round.
#include "observe.h"

enum { size = 100000 };

static void drain(int fd, uint64_t at, size_t count) {
  static char buffer[size];
  check_that("bytes arrive", read_all(fd, buffer, count) && matches(buffer, count, 7, at));
}

static void body(int a, int b) {
  static char content[size];
  FILE *file = tmpfile();
  int in = fileno(file);
  fill(content, size, 7, 0);
  if (write(in, content, size) != size) give_up("cannot write the file");
  off_t offset = 1000;
  OBS("sendfile from 1000", sendfile(a, in, &offset, 3000));
  say("offset %ld, file position %ld", (long)offset, (long)lseek(in, 0, SEEK_CUR));
  drain(b, 1000, 3000);
  lseek(in, 50, SEEK_SET);
  OBS("sendfile from the position", sendfile(a, in, NULL, 2500));
  say("file position %ld", (long)lseek(in, 0, SEEK_CUR));
  drain(b, 50, 2500);
  off64_t wide = size - 10;
  OBS("sendfile64 beyond the end", sendfile64(a, in, &wide, 5000));
  say("offset %ld", (long)wide);
  drain(b, size - 10, 10);
  OBS("sendfile64 at the end", sendfile64(a, in, &wide, 5000));
  OBS("sendfile of nothing", sendfile(a, in, NULL, 0));
  offset = -5;
  OBS("sendfile from a negative offset", sendfile(a, in, &offset, 10));
  offset = 0;
  OBS("sendfile to a file", sendfile(fileno(tmpfile()), in, &offset, 10));
  OBS("sendfile to a closed descriptor", sendfile(900, in, NULL, 10));
  OBS("sendfile from a closed descriptor", sendfile(a, 900, NULL, 10));
  int read_only = open("/proc/self/exe", O_RDONLY), write_only = open("/dev/null", O_WRONLY);
  OBS("sendfile from what cannot be read", sendfile(a, write_only, NULL, 10));
  OBS("sendfile from a socket with a position", sendfile(a, b, &offset, 10));
  close(read_only);
  close(write_only);
  fclose(file);
  OBS("nothing more has arrived", recv(b, content, 1, MSG_DONTWAIT));
}

BOTH_WAYS(body)
