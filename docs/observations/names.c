/// Abstract Unix names as a meeting point: who can reach them, and what a call costs when nobody is there.
#include "common.h"

#include <sched.h>
#include <sys/un.h>

static struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0observation of a name"};
static const socklen_t length = sizeof(sa_family_t) + 22;

static int call_name(void) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  NEED(fd >= 0);
  errno = 0;
  int r = connect(fd, (struct sockaddr *)&name, length), error = errno;
  close(fd);
  return r == 0 ? 0 : error;
}

int main(void) {
  saw(call_name() == ECONNREFUSED, "a name that nobody holds is refused at once");
  int listener = socket(AF_UNIX, SOCK_STREAM, 0), second = socket(AF_UNIX, SOCK_STREAM, 0);
  NEED(bind(listener, (struct sockaddr *)&name, length) == 0 && listen(listener, 2) == 0);
  saw(bind(second, (struct sockaddr *)&name, length) == -1 && errno == EADDRINUSE, "a name has one holder");
  saw(call_name() == 0, "a call is connected before it is accepted");
  int calls = 0, error;
  while ((error = call_name()) == 0) calls++;
  saw(error == EAGAIN, "a full backlog says EAGAIN and does not wait");
  fflush(stdout);
  pid_t child = fork();
  NEED(child >= 0);
  if (child == 0) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
      printf("    no network namespace can be made here: %s\n", strerror(errno));
    } else {
      saw(call_name() == ECONNREFUSED, "in another network namespace nobody holds the name");
    }
    fflush(stdout);
    _exit(unexpected);
  }
  int status;
  NEED(waitpid(child, &status, 0) == child);
  close(listener);
  saw(call_name() == ECONNREFUSED, "the name goes with its socket");
  return unexpected || status != 0;
}
