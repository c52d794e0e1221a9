// Rings that have been used give their memory back when they are idle, but for what nobody has read yet; also when a
// child shares them. What they carry stays exact.
#include "observe.h"

enum { traffic = 4 << 20, unread = 5000, used = 100, little = 64, pairs = 2 };

static int fds[pairs][2];
static uint64_t at;

// Memory of lanes that this process has resident, in KiB. Both ends are here, and each has its own mapping.
static long resident(void) {
  FILE *file = fopen("/proc/self/smaps", "re");
  char line[512];
  bool ours = false;
  long sum = 0, count;
  if (file == NULL) give_up("no smaps");
  while (fgets(line, sizeof line, file) != NULL) {
    if (strchr(line, '-') != NULL && strstr(line, " r") != NULL) ours = strstr(line, "millrace-lane") != NULL;
    if (ours && sscanf(line, "Rss: %ld kB", &count) == 1) sum += count;
  }
  fclose(file);
  return sum;
}

static bool becomes_little(void) {
  double start = now();
  while (took(start, 0, 15)) {
    if (resident() <= little * pairs) return true;
    poll(NULL, 0, 50);
  }
  return false;
}

static void carry(int from, int to, size_t count, uint64_t seed, bool *right) {
  static char chunk[3000], got[3000];
  for (uint64_t end = at + count, position = at; position < end;) {
    size_t piece = end - position < sizeof chunk ? end - position : sizeof chunk;
    fill(chunk, piece, seed, position);
    *right = *right && write_all(from, chunk, piece) && read_all(to, got, piece) && matches(got, piece, seed, position);
    position += piece;
  }
}

// All connections are used, and on the last of them something stays unread each way.
static void use(const char *when) {
  static char rest[unread];
  size_t left = fits_unread(unread);
  bool right = true;
  for (int i = 0; i < pairs; i++) {
    carry(fds[i][0], fds[i][1], traffic, 1, &right);
    carry(fds[i][1], fds[i][0], traffic, 2, &right);
  }
  at += traffic;
  say("-- %s", when);
  check_that("the stream is exact", right);
  for (int end = 0; end < 2; end++) {
    fill(rest, left, (uint64_t)end + 1, at);
    check_that("more is sent", write_all(fds[pairs - 1][end], rest, left));
  }
  bool is_small = fits_unread(1 << 20) < (64 << 10);
  check_that("the rings are in memory", !lanes_expected() || is_small || resident() > used);
  check_that("little of them stays", !lanes_expected() || becomes_little());
  for (int end = 0; end < 2; end++) {
    bool whole = read_all(fds[pairs - 1][!end], rest, left);
    check_that("what was unread is exact", whole && matches(rest, left, (uint64_t)end + 1, at));
  }
}

int main(void) {
  for (int i = 0; i < pairs; i++) lane_pair(fds[i], PAIR_V4);
  use("alone");
  int held[2];
  char byte;
  if (pipe(held) != 0) give_up("no pipe");
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    // It holds what it has inherited, and uses none of it.
    close(held[1]);
    (void)!read(held[0], &byte, 1);
    _exit(0);
  }
  close(held[0]);
  use("with a child that shares them");
  close(held[1]);
  waitpid(child, NULL, 0);
  return 0;
}
