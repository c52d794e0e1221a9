// Every option of SOL_SOCKET and IPPROTO_TCP that Linux 6 has, and the numbers in between: what getsockopt says, what
// setsockopt says to 1 and to 0, and that the stream goes on.
#include "observe.h"

enum { SOCKET_OPTIONS = 90, TCP_OPTIONS = 50 };

// What differs from one connection to the next, or with the traffic on it: only whether it is answered is compared.
static bool is_volatile(int level, int name) {
  if (level == SOL_SOCKET)
    return name == SO_SNDBUF || name == SO_RCVBUF || name == SO_INCOMING_CPU || name == SO_MEMINFO ||
           name == SO_INCOMING_NAPI_ID || name == SO_COOKIE || name == SO_PEERCRED || name == SO_PEERNAME;
  return name == TCP_INFO || name == TCP_CC_INFO || name == TCP_TIMESTAMP || name == TCP_QUICKACK ||
         name == TCP_WINDOW_CLAMP || name == TCP_QUEUE_SEQ || name == TCP_ZEROCOPY_RECEIVE;
}

// Options that make the socket another thing than a stream: they are observed elsewhere, or by nobody.
static bool is_left_alone(int level, int name) {
  if (level == SOL_SOCKET) return name == SO_ATTACH_FILTER || name == SO_ATTACH_BPF || name == SO_LOCK_FILTER;
  return name == TCP_REPAIR || name == TCP_ULP;
}

static void show(const char *what, int fd, int level, int name) {
  unsigned char value[256] = {0};
  socklen_t length = sizeof value;
  long result = getsockopt(fd, level, name, value, &length);
  say("%s: %ld %s length %u value %016llx", what, result, result ? errno_name(errno) : "-", result ? 0 : length,
      is_volatile(level, name) || result ? 0ull : (unsigned long long)digest(value, length));
}

static void set(int fd, int level, int name, int value) {
  long result = setsockopt(fd, level, name, &value, sizeof value);
  say("set %d: %ld %s", value, result, result ? errno_name(errno) : "-");
}

static void exchange_byte(int from, int to, char byte) {
  char got = 0;
  long sent = send(from, &byte, 1, 0);
  if (sent != 1) return say("send: %ld %s", sent, errno_name(errno));
  say("readable %s", event_names(await_events(to, POLLIN) & (POLLIN | POLLERR | POLLHUP)));
  long read = recv(to, &got, 1, 0);
  say("recv %ld %s", read, got == byte ? "the same" : "another");
}

static void try(int level, int name) {
  int fds[2];
  lane_pair(fds, PAIR_V4);
  say("-- %s option %d", level == SOL_SOCKET ? "socket" : "tcp", name);
  show("at first", fds[1], level, name);
  for (int value = 1; value >= 0 && !is_left_alone(level, name); value--) {
    set(fds[1], level, name, value);
    show("then", fds[1], level, name);
    exchange_byte(fds[0], fds[1], 'a');
    exchange_byte(fds[1], fds[0], 'b');
  }
  close(fds[0]);
  say("the end: %ld", (long)recv(fds[1], (char[1]){0}, 1, 0));
  close(fds[1]);
}

int main(void) {
  for (int name = 1; name <= SOCKET_OPTIONS; name++) try(SOL_SOCKET, name);
  for (int name = 1; name <= TCP_OPTIONS; name++) try(IPPROTO_TCP, name);
  return 0;
}
