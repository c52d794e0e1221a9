// A process that exits with everything open: what it had written is delivered, in large amounts too.
#include "observe.h"

int main(void) {
  for (int way = 0; way < 3; way++) {
    int fd;
    enum { size = 300000 };
    static char bytes[size];
    pid_t child = fork_pair(&fd, PAIR_V4);
    if (child == 0) {
      fill(bytes, size, 4, 0);
      if (!write_all(fd, bytes, size)) end_child(1);
      if (way == 0) _exit(0);
      if (way == 1) exit(0);
      abort();
    }
    check_that("all of it is read", read_all(fd, bytes, size) && matches(bytes, size, 4, 0));
    OBS("then", recv(fd, bytes, 1, 0));
    join_child(child);
    close(fd);
  }
  return 0;
}
