// The same calls through syscall(2), as several run-time systems make them.
#include "observe.h"

static void body(int a, int b) {
  char buffer[64];
  struct iovec out[2] = {{"de", 2}, {"fg", 2}}, in = {buffer, 2};
  struct msghdr message = {.msg_iov = out, .msg_iovlen = 2};
  OBS("SYS_write", syscall(SYS_write, a, "abc", 3));
  OBS("SYS_writev", syscall(SYS_writev, a, out, 2));
  OBS("SYS_sendto", syscall(SYS_sendto, a, "hij", 3, 0, NULL, 0));
  OBS("SYS_sendmsg", syscall(SYS_sendmsg, a, &message, 0));
  int queued = 0;
  double start = now();
  while (queued < 14 && now() - start < 5) syscall(SYS_ioctl, b, FIONREAD, &queued);
  say("FIONREAD %d", queued);
  struct pollfd one = {.fd = b, .events = POLLIN};
  OBS("SYS_poll", syscall(SYS_poll, &one, 1, 0));
  say("revents %s", event_names(one.revents));
  OBS("SYS_read", syscall(SYS_read, b, buffer, 2));
  OBS("SYS_readv", syscall(SYS_readv, b, &in, 1));
  OBS("SYS_recvfrom PEEK", syscall(SYS_recvfrom, b, buffer, 1, MSG_PEEK, NULL, NULL));
  message = (struct msghdr){.msg_iov = &in, .msg_iovlen = 1};
  OBS("SYS_recvmsg", syscall(SYS_recvmsg, b, &message, 0));
  long count = OBS("SYS_recvfrom", syscall(SYS_recvfrom, b, buffer, sizeof buffer, 0, NULL, NULL));
  say("bytes %.*s", (int)count, buffer);
  OBS("SYS_recvfrom empty", syscall(SYS_recvfrom, b, buffer, 1, MSG_DONTWAIT, NULL, NULL));
  int set = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = 42};
  OBS("SYS_epoll_ctl", syscall(SYS_epoll_ctl, set, EPOLL_CTL_ADD, b, &event));
  OBS("SYS_epoll_wait empty", syscall(SYS_epoll_wait, set, &event, 1, 0));
  OBS("send", send(a, "x", 1, 0));
  OBS("SYS_epoll_pwait", syscall(SYS_epoll_pwait, set, &event, 1, 5000, NULL, 8));
  say("event %s data %lu", event_names(event.events), (unsigned long)event.data.u64);
  OBS("SYS_shutdown", syscall(SYS_shutdown, a, SHUT_WR));
  await_events(b, POLLRDHUP);
  OBS("recv", recv(b, buffer, 8, 0));
  OBS("recv", recv(b, buffer, 8, 0));
  close(set);
  OBS("SYS_close", syscall(SYS_close, a));
  OBS("write to what was closed", write(a, "x", 1));
}

BOTH_WAYS(body)
