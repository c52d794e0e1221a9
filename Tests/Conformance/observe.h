// What every conformance scenario needs: connections over loopback, a way to wait until they ride lanes, and a
// log of what the program saw.  The log is the result: it has to be the same on the bare kernel and on a lane.
#ifndef OBSERVE_H
#define OBSERVE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// The library answers these on a connection; on the bare kernel the call fails.
#define SOL_MILLRACE 0x4d4c
#define MILLRACE_PATH 1
#define MILLRACE_REASON 2

// Kinds of connection that make_pair() can make.  The default is IPv4 at both ends.
enum {
  PAIR_V4 = 0,
  PAIR_V6 = 1,       // AF_INET6 at both ends
  PAIR_MAPPED = 2,   // AF_INET6 listener, AF_INET client
  PAIR_NONBLOCK = 4  // both ends nonblocking from the start (SOCK_NONBLOCK, accept4)
};

// -- The log ----------------------------------------------------------------------------------------------------

// One line of the log.  Lines of a child made by fork_pair() appear when the parent calls join_child().
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Logs a call's result: the value, or -1 and the symbol of errno.  Returns the value; errno is unchanged.
long obs(const char *what, long result);
#define OBS(what, call) obs(what, (errno = 0, (long)(call)))
// Logs a condition as yes or no.
void check_that(const char *what, bool holds);
// Ends the scenario at once, for what should never happen on any path.
void give_up(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
const char *errno_name(int number);
// "IN|OUT|RDHUP", in a fixed order; the values of poll and epoll are the same.  Up to eight live at a time.
const char *event_names(unsigned events);
uint64_t digest(const void *bytes, size_t length);

// -- Connections ------------------------------------------------------------------------------------------------

// A listening socket on an unused loopback port.
int make_listener(int kind, struct sockaddr_storage *address, socklen_t *length);
// A blocking socket connected to that address.
int connect_to(int kind, const struct sockaddr_storage *address, socklen_t length);
// A real TCP connection, both ends in this process: fds[0] connected, fds[1] was accepted.
void make_pair(int fds[2], int kind);
// Exchanges single bytes both ways until both ends ride a lane (OBSERVE_LANE=1), or a few times (otherwise).
void settle(const int fds[2]);
// The same, for connections that are allowed to stay on the kernel path (the exchange only).
void exchange(const int fds[2]);
// make_pair and settle.
void lane_pair(int fds[2], int kind);
// The ends of one connection in two processes: the child holds the connected end (and gets 0), the parent the
// accepted one (and gets the child's pid).  Settled at both ends.
pid_t fork_pair(int *fd, int kind);
// settle() for one end of a connection whose other end is calling it too.  Exactly one end is the `first`.
void settle_end(int fd, bool first);
// Ends a child of fork_pair(): hands its log to the parent and exits.
void end_child(int status) __attribute__((noreturn));
// Waits for the child, prints its log (each line with "peer: ") and how it ended.
void join_child(pid_t child);
// A process of this program's own for other purposes; its log is joined in the same way.
pid_t fork_logged(void);
bool lanes_expected(void);

// A main() that runs `body` with the connected end as `a`, and again with the accepted end as `a`.  What body
// closes is its own affair; whatever is left is closed with the process.
#define BOTH_WAYS(body)                                                \
  int main(void) {                                                     \
    for (int flip = 0; flip < 2; flip++) {                             \
      int fds[2];                                                      \
      lane_pair(fds, PAIR_V4);                                         \
      say("-- a is the end that %s", flip ? "accepted" : "connected"); \
      body(fds[flip], fds[!flip]);                                     \
    }                                                                  \
    return 0;                                                          \
  }

// -- Waiting without sleeping -----------------------------------------------------------------------------------

double now(void);
// Whether at least `low` and less than `high` seconds have passed since `start`.
bool took(double start, double low, double high);
// Polls until all of `events` are there (at most 5 s), and returns what poll said last.
short await_events(int fd, short events);
// Waits until the kernel has the peer's FIN, or a reset (at most 5 s).
void await_fin(int fd);
// Waits until at least `count` bytes can be read (FIONREAD; at most 5 s).
void await_bytes(int fd, int count);
// What poll says at this moment.
short ready(int fd, short events);
// Waits until thread `tid` of this process sleeps in the kernel (at most 5 s).
void await_asleep(pid_t tid);
// The same for the main thread of another process.
void await_process_asleep(pid_t pid);
pid_t thread_id(void);

typedef void *(*thread_body)(void *);
pthread_t start_thread(thread_body body, void *argument);
void *join_thread(pthread_t thread);

// -- Data -------------------------------------------------------------------------------------------------------

// Bytes of stream `seed` from position `at` on.
void fill(void *bytes, size_t length, uint64_t seed, uint64_t at);
// Whether bytes are those of stream `seed` from position `at` on.
bool matches(const void *bytes, size_t length, uint64_t seed, uint64_t at);
uint64_t next_random(uint64_t *state);
// Writes or reads with one of the many calls that do; the first seven understand `flags`, and the last ways to read
// take two calls and wait.
enum { WRITE_WAYS = 8, FLAGGED_WAYS = 7, READ_WAYS = 9 };
ssize_t write_somehow(int fd, char *bytes, size_t length, int flags, unsigned way);
ssize_t read_somehow(int fd, char *bytes, size_t length, int flags, unsigned way);
// Writes or reads exactly that much on a blocking descriptor; false when it ends before.
bool write_all(int fd, const void *bytes, size_t length);
bool read_all(int fd, void *bytes, size_t length);
// Writes until EAGAIN on a nonblocking descriptor, bytes of `seed` from `at` on; returns the count.
uint64_t write_until_full(int fd, uint64_t seed, uint64_t at);
// Reads until EAGAIN and checks; returns the count, and says so when bytes are wrong.
uint64_t read_until_empty(int fd, uint64_t seed, uint64_t at);
// How many bytes a scenario may write while nobody reads: `count`, or less when the ring was made very small.
size_t fits_unread(size_t count);
void set_nonblocking(int fd, bool on);
void set_timeout(int fd, int option, long milliseconds);

// -- Signals ----------------------------------------------------------------------------------------------------

// Counts deliveries of `number` in signals_seen[number].
extern volatile sig_atomic_t signals_seen[65];
void count_signal(int number, int flags);
// A thread that sends `number` to thread `tid` once that thread sleeps.
pthread_t signal_when_asleep(pid_t tid, int number);

#endif
