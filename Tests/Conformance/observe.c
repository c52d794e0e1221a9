// The log, the data and the waiting of the conformance scenarios.  Connections are in connections.c.
#include "observe.h"

static int log_fd = 1;

void observe_log_to(int fd) {
  log_fd = fd;
}

// One write per line, so that lines of several threads and processes never mix.
static void put_line(const char *format, va_list arguments) {
  char line[1024];
  int saved = errno;
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  if (length > (int)sizeof line - 2) length = sizeof line - 2;
  line[length++] = '\n';
  if (getenv("OBSERVE_TRACE")) dprintf(2, "[%d] %.*s", (int)getpid(), length, line);
  if (syscall(SYS_write, log_fd, line, (size_t)length) < 0) _exit(99);
  errno = saved;
}

void say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  put_line(format, arguments);
  va_end(arguments);
}

void give_up(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  put_line(format, arguments);
  va_end(arguments);
  _exit(4);
}

const char *errno_name(int number) {
  const char *name = strerrorname_np(number);
  return name ? name : "unknown";
}

long obs(const char *what, long result) {
  if (result == -1)
    say("%s = -1 %s", what, errno_name(errno));
  else
    say("%s = %ld", what, result);
  return result;
}

void check_that(const char *what, bool holds) {
  say("%s: %s", what, holds ? "yes" : "no");
}

const char *event_names(unsigned events) {
  static const struct {
    unsigned bit;
    const char *name;
  } names[] = {{POLLIN, "IN"},         {POLLPRI, "PRI"},       {POLLOUT, "OUT"},       {POLLERR, "ERR"},
               {POLLHUP, "HUP"},       {POLLNVAL, "NVAL"},     {POLLRDNORM, "RDNORM"}, {POLLRDBAND, "RDBAND"},
               {POLLWRNORM, "WRNORM"}, {POLLWRBAND, "WRBAND"}, {POLLRDHUP, "RDHUP"}};
  static _Thread_local char buffers[8][96];
  static _Thread_local unsigned turn;
  char *text = buffers[turn++ % 8];
  text[0] = 0;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (events & names[i].bit) {
      if (text[0]) strcat(text, "|");
      strcat(text, names[i].name);
    }
  return text[0] ? text : "none";
}

uint64_t digest(const void *bytes, size_t length) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < length; i++) hash = (hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
  return hash;
}

double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

bool took(double start, double low, double high) {
  double seconds = now() - start;
  return seconds >= low && seconds < high;
}

short await_events(int fd, short events) {
  double start = now();
  struct pollfd one = {.fd = fd, .events = events};
  while (now() - start < 5) {
    if (poll(&one, 1, 1000) > 0 && (one.revents & events) == events) break;
    sched_yield();
  }
  return one.revents;
}

void await_fin(int fd) {
  double start = now();
  struct tcp_info info;
  socklen_t length = sizeof info;
  while (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && info.tcpi_state == TCP_ESTABLISHED &&
         now() - start < 5)
    sched_yield();
}

void await_bytes(int fd, int count) {
  double start = now();
  int queued = 0;
  while (ioctl(fd, FIONREAD, &queued) == 0 && queued < count && now() - start < 5) sched_yield();
}

short ready(int fd, short events) {
  struct pollfd one = {.fd = fd, .events = events};
  int result = poll(&one, 1, 0);
  return result < 0 ? (short)-1 : one.revents;
}

// Field 3 of the stat file, which follows the last parenthesis of the name.
static char state_of(const char *path) {
  char text[512];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return '?';
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0) return '?';
  text[length] = 0;
  const char *end = strrchr(text, ')');
  return end && end[1] ? end[2] : '?';
}

static void await_state(const char *path) {
  double start = now();
  // Twice in a row, since a thread may nap on its way, for instance in a page fault.
  for (int asleep = 0; asleep < 3 && now() - start < 5; sched_yield()) asleep = state_of(path) == 'S' ? asleep + 1 : 0;
}

void await_asleep(pid_t tid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
  await_state(path);
}

void await_process_asleep(pid_t pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  await_state(path);
}

pid_t thread_id(void) {
  return (pid_t)syscall(SYS_gettid);
}

pthread_t start_thread(thread_body body, void *argument) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, body, argument)) give_up("pthread_create failed");
  return thread;
}

void *join_thread(pthread_t thread) {
  void *result = NULL;
  pthread_join(thread, &result);
  return result;
}

static uint64_t mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

uint64_t next_random(uint64_t *state) {
  return mix(*state += 0x9e3779b97f4a7c15u);
}

static uint8_t stream_byte(uint64_t seed, uint64_t at) {
  return (uint8_t)(mix(seed + (at >> 3)) >> ((at & 7) * 8));
}

void fill(void *bytes, size_t length, uint64_t seed, uint64_t at) {
  for (size_t i = 0; i < length; i++) ((uint8_t *)bytes)[i] = stream_byte(seed, at + i);
}

bool matches(const void *bytes, size_t length, uint64_t seed, uint64_t at) {
  for (size_t i = 0; i < length; i++)
    if (((const uint8_t *)bytes)[i] != stream_byte(seed, at + i)) return false;
  return true;
}

bool write_all(int fd, const void *bytes, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t count = send(fd, (const char *)bytes + done, length - done, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += (size_t)count;
  }
  return true;
}

bool read_all(int fd, void *bytes, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t count = recv(fd, (char *)bytes + done, length - done, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += (size_t)count;
  }
  return true;
}

uint64_t write_until_full(int fd, uint64_t seed, uint64_t at) {
  static _Thread_local char chunk[16384];
  uint64_t written = 0;
  for (;;) {
    fill(chunk, sizeof chunk, seed, at + written);
    ssize_t count = send(fd, chunk, sizeof chunk, MSG_NOSIGNAL);
    if (count < 0) {
      if (errno != EAGAIN) say("write_until_full ended with %s", errno_name(errno));
      return written;
    }
    written += (uint64_t)count;
  }
}

uint64_t read_until_empty(int fd, uint64_t seed, uint64_t at) {
  static _Thread_local char chunk[16384];
  uint64_t got = 0;
  for (;;) {
    ssize_t count = recv(fd, chunk, sizeof chunk, 0);
    if (count <= 0) {
      if (count == 0) say("read_until_empty met the end of the stream");
      if (count < 0 && errno != EAGAIN) say("read_until_empty ended with %s", errno_name(errno));
      return got;
    }
    if (!matches(chunk, (size_t)count, seed, at + got)) {
      say("WRONG BYTES at %llu", (unsigned long long)(at + got));
      return got;
    }
    got += (uint64_t)count;
  }
}

size_t fits_unread(size_t count) {
  const char *ring = getenv("MILLRACE_RING");
  size_t room = ring ? strtoul(ring, NULL, 10) << (strchr(ring, 'K') ? 10 : strchr(ring, 'M') ? 20 : 0) : count;
  return count < room * 3 / 4 ? count : room * 3 / 4;
}

void set_nonblocking(int fd, bool on) {
  int flags = fcntl(fd, F_GETFL);
  if (fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK)) give_up("F_SETFL failed");
}

void set_timeout(int fd, int option, long milliseconds) {
  struct timeval time = {.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
  if (setsockopt(fd, SOL_SOCKET, option, &time, sizeof time)) give_up("setting a timeout failed");
}

volatile sig_atomic_t signals_seen[65];

static void count(int number) {
  signals_seen[number]++;
}

void count_signal(int number, int flags) {
  struct sigaction action = {.sa_handler = count, .sa_flags = flags};
  sigaction(number, &action, NULL);
}

struct errand {
  pid_t tid;
  int number;
};

static void *deliver(void *argument) {
  struct errand errand = *(struct errand *)argument;
  free(argument);
  await_asleep(errand.tid);
  syscall(SYS_tgkill, getpid(), errand.tid, errand.number);
  return NULL;
}

pthread_t signal_when_asleep(pid_t tid, int number) {
  struct errand *errand = malloc(sizeof *errand);
  *errand = (struct errand){tid, number};
  return start_thread(deliver, errand);
}
