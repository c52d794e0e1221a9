// Kills one end of a connection at its n-th system call, for every n: the other end must be left with what TCP would
// have left it.
//
//   sweep LIBRARY accept|connect CHAOS FIRST STRIDE
//
// Three processes. The parent is never preloaded; it traces the victim with ptrace and counts the system calls of all
// its threads from the moment that the connection is there. The victim and the survivor are this same program under the
// library, exchanging chunks of a known stream both ways. The victim notes how much of its stream the library has
// taken; all of that must reach the survivor, exactly, and then an end or a reset, soon.
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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { page_fd = 100, most_exchanges = 400, after_attach = 40, longest = 3000, patience_seconds = 10 };
enum { level = 0x4d4c, path_option = 1, path_lane = 2 };

// What the three processes share.
struct page {
  _Atomic int port;
  _Atomic int connected;      // Ends that have their connection.
  _Atomic uint64_t taken;     // Bytes of the victim's stream that its calls have taken.
  _Atomic int lanes;          // Times that the victim saw itself on a lane, up to 1.
  _Atomic uint64_t received;  // By the survivor.
  _Atomic int wrong;          // The survivor has seen a byte that is not the victim's.
  _Atomic int error;          // With which its stream ended, 0 for an end.
  _Atomic int sockets;        // It still has open after closing the connection.
};

static struct page *page;

static void fail(const char *what) {
  perror(what);
  _exit(3);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint8_t byte_at(uint64_t position) {
  return (uint8_t)((position * 0x9e3779b97f4a7c15u) >> 56);
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
  while (!page->port) sched_yield();
  address.sin_port = (in_port_t)page->port;
  if (connect(fd, (void *)&address, length)) fail("connect");
  return fd;
}

static bool on_lane(int fd) {
  int path = -1;
  socklen_t length = sizeof path;
  return getsockopt(fd, level, path_option, &path, &length) == 0 && path == path_lane;
}

// Sends the next chunk of the own stream; false at the end of the connection.
static bool send_chunk(int fd, uint64_t *sent, size_t count) {
  uint8_t chunk[longest];
  for (size_t i = 0; i < count; i++) chunk[i] = byte_at(*sent + i);
  for (size_t done = 0; done < count;) {
    ssize_t n = send(fd, chunk + done, count - done, MSG_NOSIGNAL);
    if (n <= 0) return false;
    done += (size_t)n;
    *sent += (uint64_t)n;
  }
  return true;
}

// Receives `count` bytes of the other's stream; false at the end, with errno set or 0.
static bool receive_chunk(int fd, uint64_t *received, size_t count, _Atomic int *wrong) {
  uint8_t chunk[longest];
  while (count) {
    errno = 0;
    ssize_t n = recv(fd, chunk, count < sizeof chunk ? count : sizeof chunk, 0);
    if (n <= 0) return false;
    for (ssize_t i = 0; i < n; i++)
      if (chunk[i] != byte_at(*received + (uint64_t)i)) *wrong = 1;
    *received += (uint64_t)n;
    count -= (size_t)n;
  }
  return true;
}

// The sizes that both ends agree on: of the survivor's question and of the victim's answer.
static size_t size_of(int exchange, int salt) {
  return 1 + (size_t)(exchange * 2654435761u + salt * 40503u) % longest;
}

static void victim(bool accepts, bool chaos) {
  _Atomic int wrong = 0;
  uint64_t sent = 0, received = 0;
  int fd = establish(accepts);
  page->connected++;
  int left = most_exchanges;
  for (int i = 0; left > 0 && i < most_exchanges; i++, left--) {
    if (!send_chunk(fd, &sent, size_of(i, 1))) break;
    page->taken = sent;
    if (!receive_chunk(fd, &received, size_of(i, 2), &wrong)) break;
    if (!page->lanes && on_lane(fd)) {
      page->lanes = 1;
      if (!chaos) left = after_attach;
    }
  }
  close(fd);
  _exit(wrong);
}

static int open_sockets(void) {
  int count = 0;
  for (int fd = 3; fd < 4096; fd++) {
    char name[32], target[64] = "";
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    if (readlink(name, target, sizeof target - 1) > 0 && strncmp(target, "socket:", 7) == 0) count++;
  }
  return count;
}

static void survivor(bool accepts) {
  uint64_t sent = 0, received = 0;
  int fd = establish(accepts);
  page->connected++;
  for (int i = 0;; i++) {
    if (!receive_chunk(fd, &received, size_of(i, 1), &page->wrong)) break;
    page->received = received;
    // A send that fails is no reason to stop reading what was sent before.
    send_chunk(fd, &sent, size_of(i, 2));
  }
  page->error = errno;
  page->received = received;
  close(fd);
  // The service thread may be about to close its own.
  for (double start = now(); (page->sockets = open_sockets()) && now() - start < 2;) sched_yield();
  _exit(0);
}

// MARK: The parent

static pid_t start(const char *library, const char *role, bool accepts, int chaos, bool traced) {
  pid_t pid = fork();
  if (pid) return pid;
  char setting[32];
  snprintf(setting, sizeof setting, "7,%d", chaos);
  setenv("MILLRACE_ATTACH", "0", 1);
  // On a lane a call makes no system call to be killed at, unless it has to sleep.
  setenv("MILLRACE_SPIN", "0", 1);
  setenv("MILLRACE_RING", "4K", 1);
  if (chaos) setenv("MILLRACE_CHAOS", setting, 1);
  setenv("LD_PRELOAD", library, 1);
  if (traced && ptrace(PTRACE_TRACEME, 0, NULL, NULL)) fail("ptrace");
  execl("/proc/self/exe", "sweep", role, accepts ? "accept" : "connect", chaos ? "chaos" : "calm", (char *)NULL);
  fail("exec");
  return -1;
}

// The survivor, until it has been waited for, and what became of it. It is waited for among the victim's threads: the
// first of these cannot be waited for before all others are.
static pid_t survivor_pid;
static int survivor_status;

// Waits for the next event of the victim's, whose thread it gives.
static pid_t next_event(int *status) {
  while (true) {
    pid_t who = waitpid(-1, status, __WALL);
    if (who < 0) fail("waitpid");
    if (who != survivor_pid) return who;
    survivor_status = *status;
    survivor_pid = 0;
  }
}

// Runs the victim until its n-th system call after the connection was made, and kills it there. False if it ended
// first.
static bool kill_at(pid_t pid, long n) {
  int status;
  if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) fail("the victim did not start");
  long options = PTRACE_O_TRACECLONE | PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
  if (ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)options)) fail("ptrace");
  ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
  long seen = 0;
  bool killed = false;
  while (true) {
    pid_t thread = next_event(&status);
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (thread == pid) return killed;
      continue;
    }
    int signal = WSTOPSIG(status);
    bool is_call = signal == (SIGTRAP | 0x80);
    if (!killed && is_call && page->connected >= 2 && ++seen >= n) {
      killed = true;
      kill(pid, SIGKILL);
    }
    bool is_ptrace = is_call || signal == SIGTRAP || signal == SIGSTOP;
    ptrace(PTRACE_SYSCALL, thread, NULL, (void *)(long)(is_ptrace ? 0 : signal));
  }
}

static bool survivor_ends(long n) {
  double start = now();
  pid_t pid = survivor_pid;
  while (survivor_pid && waitpid(pid, &survivor_status, WNOHANG | __WALL) == 0) {
    if (now() - start > patience_seconds) {
      printf("call %ld: the survivor did not come to an end; it has %llu of %llu bytes\n", n,
             (unsigned long long)page->received, (unsigned long long)page->taken);
      kill(pid, SIGKILL);
      waitpid(pid, &survivor_status, 0);
      return false;
    }
    usleep(200);
  }
  return true;
}

static bool ended_well(long n, bool killed) {
  if (!survivor_ends(n)) return false;
  bool well = survivor_status == 0 && !page->wrong && page->received >= page->taken &&
              (page->error == 0 || page->error == ECONNRESET) && page->sockets == 0;
  if (!well)
    printf("call %ld%s: status %x, received %llu of %llu, wrong bytes %d, error %d, sockets left %d\n", n,
           killed ? "" : " (not reached)", survivor_status, (unsigned long long)page->received,
           (unsigned long long)page->taken, page->wrong, page->error, page->sockets);
  return well;
}

static void map_page(int fd) {
  page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) fail("mmap");
}

int main(int argc, char **argv) {
  if (argc == 4) {
    map_page(page_fd);
    bool accepts = strcmp(argv[2], "accept") == 0;
    if (strcmp(argv[1], "victim") == 0) victim(accepts, strcmp(argv[3], "chaos") == 0);
    survivor(accepts);
  }
  if (argc != 6) return 2;
  bool victim_accepts = strcmp(argv[2], "accept") == 0;
  int chaos = atoi(argv[3]);
  long first = atol(argv[4]), stride = atol(argv[5]);
  int memory = memfd_create("sweep", 0);
  if (memory < 0 || ftruncate(memory, sizeof *page) || dup2(memory, page_fd) < 0) fail("memfd");
  map_page(page_fd);
  int passed = 0, failed = 0, lanes = 0;
  for (long n = first;; n += stride) {
    memset(page, 0, sizeof *page);
    survivor_pid = start(argv[1], "survivor", !victim_accepts, chaos, false);
    pid_t dead = start(argv[1], "victim", victim_accepts, chaos, true);
    bool killed = kill_at(dead, n);
    lanes += page->lanes;
    if (ended_well(n, killed))
      passed++;
    else
      failed++;
    if (!killed || failed > 10) break;
  }
  printf("%d kills of the end that %s, %d of them after it had been on a lane: %d passed, %d failed\n", passed + failed,
         victim_accepts ? "accepted" : "connected", lanes, passed, failed);
  return failed != 0 || lanes == 0;
}
