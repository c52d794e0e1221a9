// A connection in one process, and what became of it, for run.py: probe FAMILY PORT ROUNDS BYTES.  It exchanges ROUNDS
// messages of BYTES, and then goes on a little until nothing is under way any more.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { level = 0x4d4c, path_option = 1, reason_option = 2, on_kernel = 0, on_lane = 2 };
enum { none = 0, below_threshold = 3, peer_declined = 7, busy = 13, timeout = 23, aborted = 24, raced = 28 };

static int option(int fd, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  return getsockopt(fd, level, name, &value, &length) == 0 ? value : -1;
}

static socklen_t address_of(const char *family, int port, struct sockaddr_storage *space) {
  memset(space, 0, sizeof *space);
  if (strcmp(family, "4") == 0) {
    struct sockaddr_in *in = (struct sockaddr_in *)space;
    *in = (struct sockaddr_in){AF_INET, htons((in_port_t)port), {htonl(INADDR_LOOPBACK)}, {0}};
    return sizeof *in;
  }
  struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)space;
  *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((in_port_t)port)};
  inet_pton(AF_INET6, strcmp(family, "mapped") == 0 ? "::ffff:127.0.0.1" : "::1", &in6->sin6_addr);
  return sizeof *in6;
}

static void fail(const char *what) {
  perror(what);
  exit(9);
}

static void connect_pair(const char *family, int port, int fds[2]) {
  struct sockaddr_storage address;
  socklen_t length = address_of(family, port, &address);
  int on = 1, listener = socket(address.ss_family, SOCK_STREAM, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1)) fail("listen");
  fds[0] = socket(address.ss_family, SOCK_STREAM, 0);
  if (connect(fds[0], (struct sockaddr *)&address, length)) fail("connect");
  fds[1] = accept(listener, NULL, NULL);
  if (fds[1] < 0) fail("accept");
  close(listener);
}

static void exchange(const int fds[2], size_t bytes) {
  char out[4096], in[4096];
  for (size_t i = 0; i < bytes; i++) out[i] = (char)rand();
  if (write(fds[0], out, bytes) != (ssize_t)bytes || recv(fds[1], in, bytes, MSG_WAITALL) != (ssize_t)bytes ||
      memcmp(in, out, bytes) != 0)
    fail("exchange");
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int is_accident(int reason) {
  return reason == none || reason == peer_declined || reason == busy || reason == timeout || reason == aborted ||
         reason == raced;
}

// Whether both ends are where they will stay: on a lane, or with a reason that is no accident of the moment.
static int is_settled(const int fds[2], int had_its_traffic) {
  for (int i = 0; i < 2; i++) {
    int path = option(fds[i], path_option), reason = option(fds[i], reason_option);
    if (path == -1) return 1;
    if (path == on_kernel && reason == below_threshold) return !had_its_traffic;
    if (path != on_lane && (path != on_kernel || is_accident(reason))) return 0;
  }
  return option(fds[0], path_option) == option(fds[1], path_option);
}

// How many entries a folder of /proc has; those that are links to `target` only, if it is given.
static int count_entries(const char *folder, const char *target) {
  DIR *directory = opendir(folder);
  int count = 0;
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    char link[64] = "";
    if (entry->d_name[0] == '.') continue;
    if (target != NULL && readlinkat(dirfd(directory), entry->d_name, link, sizeof link - 1) < 0) continue;
    count += target == NULL || strncmp(link, target, strlen(target)) == 0;
  }
  closedir(directory);
  return count;
}

int main(int count, char **arguments) {
  if (count < 5) return 2;
  if (getenv("PROBE_LOADS") && dlopen(getenv("PROBE_LOADS"), RTLD_NOW | RTLD_GLOBAL) == NULL) {
    puts(dlerror());
    return 8;
  }
  int fds[2];
  srand(1);
  connect_pair(arguments[1], atoi(arguments[2]), fds);
  int rounds = atoi(arguments[3]);
  size_t bytes = strtoul(arguments[4], NULL, 10);
  for (int i = 0; i < rounds; i++) exchange(fds, bytes);
  for (double start = now(); !is_settled(fds, count > 5) && now() - start < 10; poll(NULL, 0, 1)) exchange(fds, 1);
  printf("connected path %d reason %d\n", option(fds[0], path_option), option(fds[0], reason_option));
  printf("accepted path %d reason %d\n", option(fds[1], path_option), option(fds[1], reason_option));
  printf("threads %d descriptors %d page %d\n", count_entries("/proc/self/task", NULL),
         count_entries("/proc/self/fd", NULL) - 1, count_entries("/proc/self/fd", "/memfd:millrace-stats"));
  int room = 0;
  char block[1024] = "";
  while (send(fds[0], block, sizeof block, MSG_DONTWAIT) > 0) room++;
  printf("room %d\n", room);
  return 0;
}
