// An io_uring that is set up while there are lanes: the connections go back to TCP first, and the ring reads and writes
// their streams where they stand. One that the kernel refuses changes nothing.
#include <linux/io_uring.h>
#include <sys/mman.h>

#include "observe.h"

enum { ON_LANE = 2, ON_TCP_AGAIN = 3, IO_URING_REASON = 19 };

struct ring {
  int fd;
  struct io_uring_params p;
  char *submissions, *completions;
  struct io_uring_sqe *entries;
};

static int option(int fd, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  return getsockopt(fd, SOL_MILLRACE, name, &value, &length) == 0 ? value : -1;
}

static void expect_path(const int fds[2], int path, int reason) {
  if (!lanes_expected()) return;
  for (int i = 0; i < 2; i++)
    if (option(fds[i], MILLRACE_PATH) != path || (reason && option(fds[i], MILLRACE_REASON) != reason))
      give_up("end %d is on path %d for reason %d", i, option(fds[i], MILLRACE_PATH), option(fds[i], MILLRACE_REASON));
}

// As libc's callers do it, or past libc, which nobody sees.
static long set_up(unsigned entries, struct io_uring_params *p, bool unseen) {
  if (!unseen) return syscall(SYS_io_uring_setup, entries, p);
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_io_uring_setup), "D"(entries), "S"(p) : "rcx", "r11", "memory");
  if (result >= 0) return result;
  errno = (int)-result;
  return -1;
}

static void open_ring(struct ring *ring, bool unseen) {
  memset(ring, 0, sizeof *ring);
  ring->fd = (int)set_up(4, &ring->p, unseen);
  if (ring->fd < 0) give_up("io_uring_setup: %s", errno_name(errno));
  size_t in = ring->p.sq_off.array + ring->p.sq_entries * sizeof(unsigned);
  size_t out = ring->p.cq_off.cqes + ring->p.cq_entries * sizeof(struct io_uring_cqe);
  int both = PROT_READ | PROT_WRITE;
  ring->submissions = mmap(NULL, in, both, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
  ring->completions = mmap(NULL, out, both, MAP_SHARED, ring->fd, IORING_OFF_CQ_RING);
  ring->entries = mmap(NULL, ring->p.sq_entries * sizeof *ring->entries, both, MAP_SHARED, ring->fd, IORING_OFF_SQES);
  if (ring->submissions == MAP_FAILED || ring->completions == MAP_FAILED || ring->entries == MAP_FAILED)
    give_up("mmap of a ring");
}

// One request, and its result.
static int request(struct ring *ring, int operation, int fd, void *bytes, unsigned length) {
  unsigned *tail = (unsigned *)(ring->submissions + ring->p.sq_off.tail);
  unsigned *array = (unsigned *)(ring->submissions + ring->p.sq_off.array);
  unsigned at = *tail & (ring->p.sq_entries - 1);
  ring->entries[at] = (struct io_uring_sqe){.opcode = operation, .fd = fd, .addr = (uintptr_t)bytes, .len = length};
  array[at] = at;
  __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
  if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
    give_up("io_uring_enter: %s", errno_name(errno));
  unsigned *head = (unsigned *)(ring->completions + ring->p.cq_off.head);
  struct io_uring_cqe *done = (struct io_uring_cqe *)(ring->completions + ring->p.cq_off.cqes);
  int result = done[*head & (ring->p.cq_entries - 1)].res;
  __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
  return result;
}

static void use(struct ring *ring, const int fds[2]) {
  char out[600], in[600];
  for (int i = 0; i < 4; i++) {
    int from = fds[i & 1], to = fds[!(i & 1)];
    fill(out, sizeof out, 5, (uint64_t)i * sizeof out);
    say("the ring sends %d", request(ring, IORING_OP_SEND, from, out, sizeof out));
    await_bytes(to, sizeof out);
    say("and receives %d", request(ring, IORING_OP_RECV, to, in, sizeof in));
    say("exact: %d", memcmp(in, out, sizeof in) == 0);
  }
}

static void come_to_tcp(const int fds[2]) {
  for (double start = now(); lanes_expected() && now() - start < 20; poll(NULL, 0, 5))
    if (option(fds[0], MILLRACE_PATH) == ON_TCP_AGAIN && option(fds[1], MILLRACE_PATH) == ON_TCP_AGAIN) return;
}

static void in_process(bool unseen) {
  int first[2], second[2];
  struct ring ring = {0};
  char byte = 0;
  lane_pair(first, PAIR_V4);
  OBS("a ring that is refused", syscall(SYS_io_uring_setup, 0, &ring.p));
  expect_path(first, ON_LANE, 0);
  lane_pair(second, PAIR_V4);
  // Bytes that are in the ring of a lane when it is left.
  OBS("send", send(second[0], "abc", 3, 0));
  open_ring(&ring, unseen);
  if (unseen) come_to_tcp(first), come_to_tcp(second);
  expect_path(first, ON_TCP_AGAIN, IO_URING_REASON);
  expect_path(second, ON_TCP_AGAIN, IO_URING_REASON);
  for (int i = 0; i < 3; i++) OBS("recv", recv(second[1], &byte, 1, 0)), say("%c", byte);
  use(&ring, first);
  use(&ring, second);
  // A connection of the process's that comes later.
  make_pair(first, PAIR_V4);
  exchange(first);
  use(&ring, first);
}

int main(void) {
  for (int unseen = 0; unseen < 2; unseen++) {
    pid_t child = fork_logged();
    if (child == 0) {
      in_process(unseen);
      end_child(0);
    }
    join_child(child);
  }
  return 0;
}
