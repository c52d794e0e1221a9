// What fcntl, fstat and getsockopt say of a connection.
#include "observe.h"

static void body(int a, int b) {
  (void)a;
  struct stat status;
  OBS("F_GETFL", fcntl(b, F_GETFL));
  OBS("F_GETFD", fcntl(b, F_GETFD));
  OBS("F_SETFD", fcntl(b, F_SETFD, FD_CLOEXEC));
  OBS("F_GETFD", fcntl(b, F_GETFD));
  OBS("FIONCLEX", ioctl(b, FIONCLEX));
  OBS("F_GETFD", fcntl(b, F_GETFD));
  OBS("FIOCLEX", ioctl(b, FIOCLEX));
  OBS("F_GETFD", fcntl(b, F_GETFD));
  OBS("F_GETOWN", fcntl(b, F_GETOWN));
  OBS("fstat", fstat(b, &status));
  check_that("a socket", S_ISSOCK(status.st_mode));
  OBS("isatty", isatty(b));
  static const struct {
    int level, option;
    const char *name;
  } options[] = {{SOL_SOCKET, SO_TYPE, "SO_TYPE"},
                 {SOL_SOCKET, SO_DOMAIN, "SO_DOMAIN"},
                 {SOL_SOCKET, SO_PROTOCOL, "SO_PROTOCOL"},
                 {SOL_SOCKET, SO_ERROR, "SO_ERROR"},
                 {SOL_SOCKET, SO_ACCEPTCONN, "SO_ACCEPTCONN"},
                 {SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE"},
                 {SOL_SOCKET, SO_RCVLOWAT, "SO_RCVLOWAT"},
                 {SOL_SOCKET, SO_OOBINLINE, "SO_OOBINLINE"},
                 {IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY"},
                 {IPPROTO_TCP, TCP_CORK, "TCP_CORK"},
                 {IPPROTO_IP, IP_TOS, "IP_TOS"}};
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
    int value = -1;
    socklen_t length = sizeof value;
    long result = getsockopt(b, options[i].level, options[i].option, &value, &length);
    say("%s = %ld, %d", options[i].name, result, value);
  }
  int on = 1, value = -1;
  socklen_t length = sizeof value;
  OBS("set TCP_NODELAY", setsockopt(b, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
  getsockopt(b, IPPROTO_TCP, TCP_NODELAY, &value, &length);
  say("TCP_NODELAY %d", value);
  OBS("set SO_KEEPALIVE", setsockopt(b, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on));
  int room = 100000;
  OBS("set SO_SNDBUF", setsockopt(b, SOL_SOCKET, SO_SNDBUF, &room, sizeof room));
  getsockopt(b, SOL_SOCKET, SO_SNDBUF, &value, &length);
  say("SO_SNDBUF %d", value);
  struct tcp_info info;
  length = sizeof info;
  OBS("TCP_INFO", getsockopt(b, IPPROTO_TCP, TCP_INFO, &info, &length));
  say("state %d", info.tcpi_state);
}

BOTH_WAYS(body)
