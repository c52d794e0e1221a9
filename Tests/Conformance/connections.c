// Loopback connections in one and in two processes, and the exchange that moves them onto lanes.
#include "observe.h"

void observe_log_to(int fd);

enum { plain_rounds = 4, lane_rounds = 20000, stall_milliseconds = 5000 };

bool lanes_expected(void) {
  const char *value = getenv("OBSERVE_LANE");
  return value && value[0] == '1';
}

static int read_option(int fd, int option) {
  int value = -1;
  socklen_t length = sizeof value;
  int saved = errno;
  if (getsockopt(fd, SOL_MILLRACE, option, &value, &length)) value = -1;
  errno = saved;
  return value;
}

static void no_lane(int fd) {
  give_up("LANE NOT ATTACHED (path %d, reason %d)", read_option(fd, MILLRACE_PATH), read_option(fd, MILLRACE_REASON));
}

int make_listener(int kind, struct sockaddr_storage *address, socklen_t *length) {
  bool six = kind & (PAIR_V6 | PAIR_MAPPED);
  int listener = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
  if (listener < 0) give_up("socket: %s", errno_name(errno));
  memset(address, 0, sizeof *address);
  if (six) {
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)address;
    in6->sin6_family = AF_INET6;
    in6->sin6_addr = in6addr_loopback;
    if (kind & PAIR_MAPPED) inet_pton(AF_INET6, "::ffff:127.0.0.1", &in6->sin6_addr);
    *length = sizeof *in6;
    int off = 0;
    setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  } else {
    struct sockaddr_in *in = (struct sockaddr_in *)address;
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *length = sizeof *in;
  }
  if (bind(listener, (struct sockaddr *)address, *length)) give_up("bind: %s", errno_name(errno));
  if (listen(listener, 128)) give_up("listen: %s", errno_name(errno));
  getsockname(listener, (struct sockaddr *)address, length);
  if (kind & PAIR_MAPPED) {
    in_port_t port = ((struct sockaddr_in6 *)address)->sin6_port;
    struct sockaddr_in *in = (struct sockaddr_in *)address;
    memset(address, 0, sizeof *address);
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in->sin_port = port;
    *length = sizeof *in;
  }
  return listener;
}

int connect_to(int kind, const struct sockaddr_storage *address, socklen_t length) {
  int fd = socket(kind & PAIR_V6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (const struct sockaddr *)address, length)) give_up("connect: %s", errno_name(errno));
  return fd;
}

void make_pair(int fds[2], int kind) {
  struct sockaddr_storage address;
  socklen_t length;
  int listener = make_listener(kind, &address, &length);
  fds[0] = connect_to(kind, &address, length);
  fds[1] = accept4(listener, NULL, NULL, kind & PAIR_NONBLOCK ? SOCK_NONBLOCK : 0);
  if (fds[1] < 0) give_up("accept4: %s", errno_name(errno));
  if (kind & PAIR_NONBLOCK) set_nonblocking(fds[0], true);
  close(listener);
}

// One byte, whatever the blocking mode and the timeouts of the descriptors are.
static void put_byte(int fd, char byte) {
  struct pollfd one = {.fd = fd, .events = POLLOUT};
  if (poll(&one, 1, stall_milliseconds) != 1) give_up("no room for one byte while settling");
  ssize_t count = write(fd, &byte, 1);
  if (count != 1) give_up("write while settling: %zd %s", count, errno_name(errno));
}

static char get_byte(int fd) {
  char byte = 0;
  struct pollfd one = {.fd = fd, .events = POLLIN};
  if (poll(&one, 1, stall_milliseconds) != 1)
    give_up("no byte came while settling (path %d)", read_option(fd, MILLRACE_PATH));
  ssize_t count = read(fd, &byte, 1);
  if (count != 1) give_up("read while settling: %zd %s", count, errno_name(errno));
  return byte;
}

// The attach is the work of other threads: let them run, and now and then for a whole millisecond.
static void let_others_run(int round) {
  sched_yield();
  if (round % 64 == 63) poll(NULL, 0, 1);
}

static void round_trip(const int fds[2]) {
  put_byte(fds[0], 'p');
  get_byte(fds[1]);
  put_byte(fds[1], 'q');
  get_byte(fds[0]);
}

void exchange(const int fds[2]) {
  int rounds = lanes_expected() ? 200 : plain_rounds;
  for (int round = 0; round < rounds; round++) {
    round_trip(fds);
    if (lanes_expected()) let_others_run(round);
  }
}

void settle(const int fds[2]) {
  if (!lanes_expected()) return exchange(fds);
  for (int round = 0; round < lane_rounds; round++) {
    round_trip(fds);
    if (read_option(fds[0], MILLRACE_PATH) == 2 && read_option(fds[1], MILLRACE_PATH) == 2) return;
    let_others_run(round);
  }
  no_lane(fds[0]);
}

void lane_pair(int fds[2], int kind) {
  make_pair(fds, kind);
  settle(fds);
}

// Each end says in every round whether it rides a lane; both stop after the round in which both said so.
void settle_end(int fd, bool first) {
  int limit = lanes_expected() ? lane_rounds : plain_rounds;
  for (int round = 0; round < limit; round++) {
    char theirs;
    if (!first) theirs = get_byte(fd);
    char mine = lanes_expected() && read_option(fd, MILLRACE_PATH) == 2 ? 'y' : 'n';
    put_byte(fd, mine);
    if (first) theirs = get_byte(fd);
    if (mine == 'y' && theirs == 'y') return;
    if (lanes_expected()) let_others_run(round);
  }
  if (lanes_expected()) no_lane(fd);
}

static int child_log = -1;

pid_t fork_logged(void) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC)) give_up("pipe2: %s", errno_name(errno));
  pid_t child = fork();
  if (child < 0) give_up("fork: %s", errno_name(errno));
  if (child == 0) {
    close(ends[0]);
    observe_log_to(ends[1]);
    return 0;
  }
  close(ends[1]);
  child_log = ends[0];
  return child;
}

pid_t fork_pair(int *fd, int kind) {
  struct sockaddr_storage address;
  socklen_t length;
  int listener = make_listener(kind, &address, &length);
  pid_t child = fork_logged();
  if (child == 0) {
    close(listener);
    *fd = connect_to(kind, &address, length);
    if (kind & PAIR_NONBLOCK) set_nonblocking(*fd, true);
    settle_end(*fd, true);
    return 0;
  }
  *fd = accept4(listener, NULL, NULL, kind & PAIR_NONBLOCK ? SOCK_NONBLOCK : 0);
  if (*fd < 0) give_up("accept4: %s", errno_name(errno));
  close(listener);
  settle_end(*fd, false);
  return child;
}

void end_child(int status) {
  _exit(status);
}

void join_child(pid_t child) {
  FILE *lines = fdopen(child_log, "r");
  char line[1024];
  while (lines && fgets(line, sizeof line, lines)) {
    line[strcspn(line, "\n")] = 0;
    say("peer: %s", line);
  }
  if (lines) fclose(lines);
  child_log = -1;
  int status = 0;
  if (waitpid(child, &status, 0) != child) give_up("waitpid: %s", errno_name(errno));
  if (WIFSIGNALED(status))
    say("peer was killed by signal %d", WTERMSIG(status));
  else
    say("peer exited with %d", WEXITSTATUS(status));
}
