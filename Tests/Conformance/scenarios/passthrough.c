// Descriptors that are no TCP connections: UDP, Unix sockets, pipes, files, terminals' likes, all calls as ever.
#include <stddef.h>
#include "observe.h"

static void talk(const char *what, int from, int to, bool socket) {
  char buffer[32];
  struct iovec vector = {buffer, 16};
  int queued = 0;
  say("- %s", what);
  OBS("write", write(from, "one", 3));
  say("events %s", event_names(await_events(to, POLLIN)));
  OBS("FIONREAD", ioctl(to, FIONREAD, &queued));
  say("queued %d", queued);
  OBS("read", read(to, buffer, 32));
  OBS("send", send(from, "two", 3, 0));
  if (socket) OBS("recv", recv(to, buffer, 2, 0));
  OBS("recv DONTWAIT", recv(to, buffer, 32, MSG_DONTWAIT));
  vector.iov_len = 5;
  memcpy(buffer, "three", 5);
  OBS("writev", writev(from, &vector, 1));
  OBS("readv", readv(to, &vector, 1));
  OBS("shutdown", shutdown(from, SHUT_WR));
  OBS("close", close(from));
}

int main(void) {
  int pair[2], udp[2];
  struct sockaddr_in address[2];
  char buffer[16];
  signal(SIGPIPE, SIG_IGN);
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) give_up("socketpair");
  talk("Unix stream", pair[0], pair[1], true);
  OBS("read at the end", read(pair[1], buffer, 16));
  OBS("send to nobody", send(pair[1], "x", 1, 0));
  if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair)) give_up("socketpair");
  talk("Unix seqpacket", pair[0], pair[1], true);
  if (pipe(pair)) give_up("pipe");
  talk("pipe", pair[1], pair[0], false);
  for (int i = 0; i < 2; i++) {
    udp[i] = socket(AF_INET, SOCK_DGRAM, 0);
    address[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bind(udp[i], (struct sockaddr *)&address[i], sizeof address[i]);
    socklen_t length = sizeof address[i];
    getsockname(udp[i], (struct sockaddr *)&address[i], &length);
  }
  for (int i = 0; i < 2; i++) OBS("connect", connect(udp[i], (struct sockaddr *)&address[!i], sizeof address[0]));
  talk("UDP", udp[0], udp[1], true);
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  int length = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "conformance-%d", (int)getpid());
  socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
  int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
  OBS("bind", bind(listener, (struct sockaddr *)&name, size));
  OBS("listen", listen(listener, 5));
  OBS("connect", connect(client, (struct sockaddr *)&name, size));
  int server = accept(listener, NULL, NULL);
  talk("Unix listener", client, server, true);
  FILE *file = tmpfile();
  OBS("send to a file", send(fileno(file), "x", 1, 0));
  OBS("write to a file", write(fileno(file), "abc", 3));
  OBS("pread of a file", pread(fileno(file), buffer, 16, 1));
  struct iovec in = {buffer, 16};
  OBS("preadv2 of a file", preadv2(fileno(file), &in, 1, 0, 0));
  OBS("lseek", lseek(fileno(file), 0, SEEK_SET));
  OBS("preadv2 -1 of a file", preadv2(fileno(file), &in, 1, -1, 0));
  int raw = open("/dev/zero", O_RDWR);
  OBS("read of a device", read(raw, buffer, 16));
  OBS("poll of a device", ready(raw, POLLIN | POLLOUT));
  return 0;
}
