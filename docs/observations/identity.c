/// Two answers of the kernel about who is at the other end: SO_PEERCRED of a Unix connection, and sock_diag about a
/// TCP socket. Run as root to see them for another user.
#include "common.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/un.h>

/// The user that owns the TCP socket whose own end is `local` and whose other end is `remote`; -1 if unknown.
static long owner(const struct sockaddr_in *local, const struct sockaddr_in *remote) {
  struct {
    struct nlmsghdr header;
    struct inet_diag_req_v2 request;
  } question = {.header = {sizeof question, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0},
                .request = {.sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u}};
  char answer[1024];
  int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  NEED(fd >= 0);
  question.request.id.idiag_sport = local->sin_port;
  question.request.id.idiag_dport = remote->sin_port;
  question.request.id.idiag_src[0] = local->sin_addr.s_addr;
  question.request.id.idiag_dst[0] = remote->sin_addr.s_addr;
  question.request.id.idiag_cookie[0] = question.request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  NEED(send(fd, &question, sizeof question, 0) == sizeof question);
  ssize_t n = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
  close(fd);
  const struct nlmsghdr *header = (const void *)answer;
  if (n < (ssize_t)(sizeof *header + sizeof(struct inet_diag_msg)) || header->nlmsg_type != SOCK_DIAG_BY_FAMILY)
    return -1;
  return ((const struct inet_diag_msg *)NLMSG_DATA(header))->idiag_uid;
}

/// The user at the other end of a Unix connection to an abstract name.
static long caller(void) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  socklen_t length = sizeof(sa_family_t);
  struct ucred credentials;
  int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
  NEED(bind(listener, (struct sockaddr *)&name, length) == 0 && listen(listener, 1) == 0);
  length = sizeof name;
  NEED(getsockname(listener, (struct sockaddr *)&name, &length) == 0);
  NEED(connect(client, (struct sockaddr *)&name, length) == 0);
  length = sizeof credentials;
  NEED(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0);
  close(client);
  close(listener);
  return credentials.uid;
}

int main(void) {
  struct pair ends = make_pair();
  struct sockaddr_in local, remote;
  socklen_t length = sizeof local;
  NEED(getsockname(ends.accepted, (struct sockaddr *)&local, &length) == 0);
  NEED(getpeername(ends.accepted, (struct sockaddr *)&remote, &length) == 0);
  saw(owner(&remote, &local) == getuid(), "sock_diag: the other end of this connection belongs to user %d", getuid());
  saw(caller() == getuid(), "SO_PEERCRED: the Unix peer is user %d", getuid());
  double start = microseconds();
  for (int i = 0; i < 1000; i++) (void)owner(&remote, &local);
  printf("    one question to sock_diag takes %.1f us, its socket included\n", (microseconds() - start) / 1000);
  local.sin_port ^= 1;
  saw(owner(&remote, &local) == -1, "a connection that does not exist has no owner");
  local.sin_port ^= 1;
  if (getuid() != 0) return unexpected;
  // An unprivileged process may ask about a socket of another user.
  fflush(stdout);
  pid_t child = fork();
  NEED(child >= 0);
  if (child == 0) {
    NEED(setresuid(65534, 65534, 65534) == 0);
    saw(owner(&remote, &local) == 0, "user 65534 may ask, and is told that root owns the other end");
    struct sockaddr_in first_local = local, first_remote = remote;
    struct pair own = make_pair();
    NEED(getsockname(own.connected, (struct sockaddr *)&remote, &length) == 0);
    NEED(getpeername(own.connected, (struct sockaddr *)&local, &length) == 0);
    saw(owner(&remote, &local) == 65534, "and that a socket of its own is its own");
    saw(caller() == 65534, "SO_PEERCRED shows its user too");
    saw(owner(&first_remote, &first_local) == 0, "a socket keeps the user that made it, whatever its process becomes");
    fflush(stdout);
    _exit(unexpected);
  }
  int status;
  NEED(waitpid(child, &status, 0) == child);
  return unexpected || status != 0;
}
