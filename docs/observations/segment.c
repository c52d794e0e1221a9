/// Memory that a stranger made: seals, and one file mapped twice in a row.
#include "common.h"

int main(void) {
  long page = sysconf(_SC_PAGESIZE);
  int fd = memfd_create("observation", MFD_ALLOW_SEALING | MFD_CLOEXEC);
  NEED(fd >= 0 && ftruncate(fd, page) == 0);
  char *memory = mmap(NULL, (size_t)(2 * page), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  NEED(memory != MAP_FAILED);
  for (int i = 0; i < 2; i++)
    NEED(mmap(memory + i * page, (size_t)page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED);
  memcpy(memory + page - 2, "wrap", 4);
  saw(memcmp(memory, "ap", 2) == 0, "a copy over the end of the first mapping goes on at the beginning");
  // What a peer could do to an unsealed file: the child dies of it.
  pid_t child = fork();
  NEED(child >= 0);
  if (child == 0) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    NEED(ftruncate(fd, 0) == 0);
    _exit(memory[0] == 'a');
  }
  int status;
  NEED(waitpid(child, &status, 0) == child);
  saw(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS, "a mapped file that shrinks kills its reader (SIGBUS)");
  NEED(ftruncate(fd, page) == 0);
  NEED(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
  errno = 0;
  saw(ftruncate(fd, 0) == -1 && errno == EPERM, "a sealed one cannot shrink");
  errno = 0;
  saw(ftruncate(fd, 2 * page) == -1 && errno == EPERM, "nor grow");
  errno = 0;
  saw(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == -1 && errno == EPERM, "nor get another seal");
  saw(memory[0] = 'x', "and stays writable");
  saw(fcntl(fd, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), "whoever has it can ask for its seals");
  saw(madvise(memory, (size_t)page, MADV_REMOVE) == 0 && memory[page] == 0,
      "MADV_REMOVE gives its pages back; they read 0");
  memory[0] = 'x';
  close(fd);
  saw(memory[page] == 'x', "the mapping outlives the descriptor");
  return unexpected;
}
