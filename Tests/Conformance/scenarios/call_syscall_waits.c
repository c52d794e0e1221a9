// The waits, the vectors with flags and the processes by number, as several run-time systems make them.
#include "observe.h"

static void waits(int a, int b) {
  fd_set set;
  struct timespec limit = {5, 0};
  struct timeval time = {5, 0};
  struct pollfd one = {.fd = b, .events = POLLIN};
  FD_ZERO(&set);
  FD_SET(b, &set);
  OBS("send", send(a, "x", 1, 0));
  OBS("SYS_select", syscall(SYS_select, b + 1, &set, NULL, NULL, &time));
  say("in the set: %d", FD_ISSET(b, &set) != 0);
  struct {
    const sigset_t *mask;
    size_t size;
  } masked = {NULL, 8};
  OBS("SYS_pselect6", syscall(SYS_pselect6, b + 1, &set, NULL, NULL, &limit, &masked));
  say("in the set: %d", FD_ISSET(b, &set) != 0);
  OBS("SYS_ppoll", syscall(SYS_ppoll, &one, 1, &limit, NULL, 8));
  say("revents %s", event_names(one.revents));
  int epoll = (int)syscall(SYS_epoll_create1, 0);
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = 7};
  OBS("SYS_epoll_ctl", syscall(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, b, &event));
  OBS("SYS_epoll_pwait2", syscall(SYS_epoll_pwait2, epoll, &event, 1, &limit, NULL, 8));
  say("event %s data %lu", event_names(event.events), (unsigned long)event.data.u64);
  OBS("SYS_close", syscall(SYS_close, epoll));
}

static void vectors(int a, int b) {
  char text[64];
  struct iovec out = {"vector", 6}, in = {text, 7};
  OBS("SYS_pwritev2", syscall(SYS_pwritev2, a, &out, 1, -1L, -1L, 0));
  await_bytes(b, 7);
  OBS("SYS_preadv2", syscall(SYS_preadv2, b, &in, 1, -1L, -1L, 0));
  say("bytes %.7s", text);
  OBS("SYS_pwritev2 at an offset", syscall(SYS_pwritev2, a, &out, 1, 0L, 0L, 0));
  OBS("SYS_preadv2 at an offset", syscall(SYS_preadv2, b, &in, 1, 0L, 0L, 0));
  struct mmsghdr messages[2] = {{.msg_hdr = {.msg_iov = &out, .msg_iovlen = 1}},
                                {.msg_hdr = {.msg_iov = &out, .msg_iovlen = 1}}};
  OBS("SYS_sendmmsg", syscall(SYS_sendmmsg, a, messages, 2, 0));
  await_bytes(b, 12);
  struct mmsghdr message = {.msg_hdr = {.msg_iov = &in, .msg_iovlen = 1}};
  OBS("SYS_recvmmsg", syscall(SYS_recvmmsg, b, &message, 1, 0, NULL));
  say("length %u", message.msg_len);
  OBS("recv", recv(b, text, 5, MSG_WAITALL));
}

static void descriptors(int a, int b) {
  char text[16];
  int copy = (int)syscall(SYS_dup, a);
  OBS("SYS_fcntl", syscall(SYS_fcntl, copy, F_SETFD, FD_CLOEXEC));
  OBS("send by the copy", send(copy, "copy", 4, 0));
  OBS("SYS_close_range", syscall(SYS_close_range, copy, copy, 0));
  OBS("recv", recv(b, text, 4, MSG_WAITALL));
  struct sockaddr_storage name;
  socklen_t length = sizeof name;
  OBS("SYS_getsockname", syscall(SYS_getsockname, a, &name, &length));
  OBS("SYS_getpeername", syscall(SYS_getpeername, a, &name, &length));
  int pair[2];
  OBS("SYS_socketpair", syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair));
  close(pair[0]);
  close(pair[1]);
}

static void processes(int a, int b) {
  char text[32];
  pid_t child = (pid_t)syscall(SYS_fork);
  if (child == 0) syscall(SYS_exit_group, send(a, "the child", 9, 0) == 9 ? 3 : 4);
  int status = 0;
  waitpid(child, &status, 0);
  say("the child ended with %d", WEXITSTATUS(status));
  OBS("send", send(a, " and the parent", 15, 0));
  long got = OBS("recv", recv(b, text, 24, MSG_WAITALL));
  say("bytes %.*s", (int)got, text);
  child = fork();
  if (child == 0) {
    char command[64], *arguments[] = {"sh", "-c", command, NULL}, *environment[] = {NULL};
    snprintf(command, sizeof command, "echo image >&%d", a);
    syscall(SYS_execve, "/bin/sh", arguments, environment);
    _exit(5);
  }
  waitpid(child, &status, 0);
  say("the child ended with %d", WEXITSTATUS(status));
  got = OBS("recv", recv(b, text, 6, MSG_WAITALL));
  say("bytes %.*s", (int)got - 1, text);
}

static void body(int a, int b) {
  waits(a, b);
  vectors(a, b);
  descriptors(a, b);
  processes(a, b);
  char byte;
  OBS("close", close(a));
  OBS("recv at the end", recv(b, &byte, 1, 0));
}

BOTH_WAYS(body)
