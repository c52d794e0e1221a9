// Kills a process that leaves a lane for its family, at its n-th system call, for every n: its relatives go on.
//
//   relatives LIBRARY accept|connect FIRST STRIDE
//
// The tracer is not preloaded. The peer and the parent are this same program under the library, with bytes of both in
// the rings when the parent's child makes the connection leave the lane, and is killed in the middle of that. The
// parent, who has done nothing yet, exchanges the rest of the streams then: all of it must come, exactly, and soon.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { page_fd = 100, chunk = 3000, patience_seconds = 10 };
enum { level = 0x4d4c, path_option = 1, path_lane = 2 };

struct page {
  _Atomic int port;
  _Atomic int filled;   // Ends that have put their first chunk into the ring.
  _Atomic int victim;   // Its process, once it is there.
  _Atomic int traced;   // It may begin.
  _Atomic int left;     // It has left the lane, and lives.
  _Atomic int dead;     // The others may go on.
  _Atomic int on_lane;  // The parent was, before.
  _Atomic int again;    // And is once more, or still, although its child never let go.
};

static struct page *page;

static void fail(const char *what) {
  perror(what);
  _exit(3);
}

static void await(_Atomic int *word, int value) {
  while (*word < value) sched_yield();
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint8_t byte_at(uint64_t position, int salt) {
  return (uint8_t)(((position + 1) * 0x9e3779b97f4a7c15u * (2 * salt + 1)) >> 56);
}

// MARK: The two ends

static int establish(bool accepts) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (accepts) {
    if (bind(fd, (void *)&address, length) || listen(fd, 1) || getsockname(fd, (void *)&address, &length))
      fail("listen");
    page->port = address.sin_port;
    int connection = accept(fd, NULL, NULL);
    if (connection < 0) fail("accept");
    close(fd);
    return connection;
  }
  await(&page->port, 1);
  address.sin_port = (in_port_t)page->port;
  if (connect(fd, (void *)&address, length)) fail("connect");
  return fd;
}

static bool on_lane(int fd) {
  int path = -1;
  socklen_t length = sizeof path;
  return getsockopt(fd, level, path_option, &path, &length) == 0 && path == path_lane;
}

static void put(int fd, uint64_t *sent, int salt) {
  uint8_t bytes[chunk];
  for (size_t i = 0; i < chunk; i++) bytes[i] = byte_at(*sent + i, salt);
  for (size_t done = 0; done < chunk;) {
    ssize_t n = send(fd, bytes + done, chunk - done, MSG_NOSIGNAL);
    if (n <= 0) fail("send");
    done += (size_t)n;
  }
  *sent += chunk;
}

static void get(int fd, uint64_t *received, int salt) {
  uint8_t bytes[chunk];
  for (size_t left = chunk; left > 0;) {
    ssize_t n = recv(fd, bytes, left, 0);
    if (n <= 0) fail("recv");
    for (ssize_t i = 0; i < n; i++)
      if (bytes[i] != byte_at(*received + (uint64_t)i, salt)) fail("a byte that is not the other's");
    *received += (uint64_t)n;
    left -= (size_t)n;
  }
}

// What both do once the victim is out of the way. A connection earns another lane as its traffic doubles.
static void go_on(int fd, uint64_t sent, int own, int others) {
  uint64_t received = 0;
  for (int i = 0; i < 40; i++) {
    get(fd, &received, others);
    put(fd, &sent, own);
  }
  get(fd, &received, others);
  if (own == 0) page->again = on_lane(fd);
  if (shutdown(fd, SHUT_WR)) fail("shutdown");
  char byte;
  if (recv(fd, &byte, 1, 0) != 0) fail("no end");
  close(fd);
}

static void peer(bool accepts) {
  int fd = establish(accepts);
  char byte;
  do {
    if (recv(fd, &byte, 1, 0) != 1 || send(fd, &byte, 1, MSG_NOSIGNAL) != 1) fail("settling");
  } while (byte != 'x');
  uint64_t sent = 0;
  put(fd, &sent, 1);
  page->filled++;
  await(&page->dead, 1);
  go_on(fd, sent, 1, 0);
  _exit(0);
}

// Leaves the lane for the family, as the kernel's signals on a descriptor demand.
static void victim(int fd) {
  page->victim = getpid();
  await(&page->traced, 1);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC);
  page->left = 1;
  for (;;) pause();
}

static void parent(bool accepts) {
  int fd = establish(accepts);
  for (char byte = '.'; byte != 'x';) {
    byte = on_lane(fd) ? 'x' : '.';
    if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1) fail("settling");
  }
  uint64_t sent = 0;
  put(fd, &sent, 0);
  page->filled++;
  await(&page->filled, 2);
  page->on_lane = on_lane(fd);
  pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) victim(fd);
  await(&page->dead, 1);
  // The child is a zombie all the time.
  go_on(fd, sent, 0, 1);
  _exit(0);
}

// MARK: The tracer

static pid_t start(const char *library, const char *who, bool accepts) {
  pid_t pid = fork();
  if (pid) return pid;
  setenv("MILLRACE_ATTACH", "0", 1);
  setenv("MILLRACE_SPIN", "0", 1);
  setenv("MILLRACE_RING", "4K", 1);
  setenv("LD_PRELOAD", library, 1);
  execl("/proc/self/exe", "relatives", who, accepts ? "accept" : "connect", (char *)NULL);
  fail("exec");
  return -1;
}

// Lets the victim leave, and kills it at its n-th system call. False if it had left before.
static bool kill_at(long n) {
  await(&page->victim, 1);
  pid_t pid = page->victim;
  int status;
  if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)(long)PTRACE_O_TRACESYSGOOD)) fail("ptrace");
  if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) || waitpid(pid, &status, __WALL) != pid) fail("ptrace");
  page->traced = 1;
  // Those of waiting for the tracer do not count.
  long seen = 0;
  bool begun = false;
  while (true) {
    ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
    if (waitpid(pid, &status, __WALL) != pid) fail("waitpid");
    if (WIFEXITED(status) || WIFSIGNALED(status)) return true;
    struct __ptrace_syscall_info call;
    if (WSTOPSIG(status) != (SIGTRAP | 0x80)) continue;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof call, &call) <= 0) fail("ptrace");
    if (call.op == PTRACE_SYSCALL_INFO_ENTRY && call.entry.nr != SYS_sched_yield) begun = true;
    bool is_over = page->left;
    if (!begun || (!is_over && ++seen < n)) continue;
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, __WALL) == pid && !WIFSIGNALED(status)) continue;
    return !is_over;
  }
}

static bool ends_well(pid_t pid, const char *who, long n) {
  int status = 0;
  double start = now();
  while (waitpid(pid, &status, WNOHANG) == 0) {
    if (now() - start > patience_seconds) {
      printf("call %ld: the %s did not come to an end\n", n, who);
      kill(pid, SIGKILL);
      waitpid(pid, &status, 0);
      return false;
    }
    usleep(200);
  }
  if (status) printf("call %ld: the %s ended with status %x\n", n, who, status);
  return status == 0;
}

int main(int argc, char **argv) {
  if (argc == 3) {
    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, page_fd, 0);
    if (page == MAP_FAILED) fail("mmap");
    bool accepts = strcmp(argv[2], "accept") == 0;
    if (strcmp(argv[1], "peer") == 0) peer(accepts);
    parent(accepts);
  }
  if (argc != 5) return 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  bool accepts = strcmp(argv[2], "accept") == 0;
  int fd = memfd_create("page", 0);
  if (fd < 0 || dup2(fd, page_fd) < 0 || ftruncate(page_fd, sizeof *page)) fail("page");
  page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, page_fd, 0);
  if (page == MAP_FAILED) fail("mmap");
  int passed = 0, failed = 0, lanes = 0, again = 0;
  bool killed = true;
  for (long n = atol(argv[3]); killed; n += atol(argv[4])) {
    memset(page, 0, sizeof *page);
    pid_t other = start(argv[1], "peer", !accepts);
    pid_t family = start(argv[1], "parent", accepts);
    killed = kill_at(n);
    page->dead = 1;
    bool well = ends_well(family, "parent", n);
    well = ends_well(other, "peer", n) && well;
    lanes += page->on_lane;
    again += page->again;
    *(well ? &passed : &failed) += 1;
  }
  printf(
      "relatives of the end that does %s: %d runs, in %d lanes again, %d of them left a lane: %d passed, %d failed\n",
      argv[2], passed + failed, again, lanes, passed, failed);
  return failed || !lanes;
}
