/* Makes SMC sockets of TCP sockets, as smc_run of the smc-tools does, which Debian has not. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SMCPROTO_SMC = 0, SMCPROTO_SMC6 = 1, TYPE_MASK = 0xf };

int socket(int domain, int type, int protocol) {
  int is_tcp = (type & TYPE_MASK) == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP);
  if (is_tcp && domain == AF_INET) return (int)syscall(SYS_socket, AF_SMC, type, SMCPROTO_SMC);
  if (is_tcp && domain == AF_INET6) return (int)syscall(SYS_socket, AF_SMC, type, SMCPROTO_SMC6);
  return (int)syscall(SYS_socket, domain, type, protocol);
}
