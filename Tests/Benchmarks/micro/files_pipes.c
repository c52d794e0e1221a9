/* A program that knows no sockets: files written and read back, and messages through pipes. Prints rounds per second.
   Usage: files_pipes FILE SECONDS */
#include <fcntl.h>
#include <poll.h>

#include "micro.h"

enum { BLOCK = 4096, BLOCKS = 8, MESSAGES = 32 };

static void use_file(const char *path, char *buffer) {
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) fail("open");
  for (int i = 0; i < BLOCKS; i++) {
    if (write(fd, buffer, BLOCK) != BLOCK) fail("write");
  }
  if (lseek(fd, 0, SEEK_SET) != 0) fail("lseek");
  for (int i = 0; i < BLOCKS; i++) {
    if (read(fd, buffer, BLOCK) != BLOCK) fail("read");
  }
  close(fd);
}

static void use_pipe(char *buffer) {
  int ends[2];
  if (pipe(ends) != 0) fail("pipe");
  struct pollfd wanted = {.fd = ends[0], .events = POLLIN};
  for (int i = 0; i < MESSAGES; i++) {
    if (write(ends[1], buffer, 64) != 64) fail("write");
    if (poll(&wanted, 1, -1) != 1) fail("poll");
    if (read(ends[0], buffer, 64) != 64) fail("read");
  }
  close(ends[0]);
  close(ends[1]);
}

int main(int count, char **arguments) {
  if (count < 3) return 2;
  static char buffer[BLOCK];
  double seconds = atof(arguments[2]), start = now(), end = start;
  uint64_t rounds = 0;
  while (end - start < seconds) {
    for (int i = 0; i < 10; i++, rounds++) {
      use_file(arguments[1], buffer);
      use_pipe(buffer);
    }
    end = now();
  }
  printf("%.1f\n", (double)rounds / (end - start));
  return 0;
}
