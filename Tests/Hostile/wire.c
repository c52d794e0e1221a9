// The kernel path and the rendezvous, as a peer of the victim's has to speak them.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "peer.h"

static const uint64_t MESSAGE_MAGIC = 0x3157656361726c4d;
enum { PATIENCE_SECONDS = 20 };

void send_all(int fd, const void *bytes, size_t count) {
  for (size_t done = 0; done < count;) {
    ssize_t r = send(fd, (const char *)bytes + done, count - done, MSG_NOSIGNAL);
    if (r < 0) fail("send: %s", strerror(errno));
    done += r;
  }
}

void tcp_send(struct peer *p, const void *bytes, size_t count) {
  send_all(p->tcp, bytes, count);
  p->written += count;
}

void tcp_receive(struct peer *p, void *bytes, size_t count) {
  for (size_t done = 0; done < count;) {
    ssize_t r = recv(p->tcp, (char *)bytes + done, count - done, 0);
    if (r <= 0) fail("TCP brought %zu of %zu bytes: %s", done, count, r == 0 ? "end" : strerror(errno));
    done += r;
  }
  p->received += count;
}

void tcp_exchange(struct peer *p, size_t count) {
  unsigned char out[4096], in[4096];
  while (count > 0) {
    size_t piece = count < sizeof out ? count : sizeof out;
    for (size_t i = 0; i < piece; i++) out[i] = random_word();
    tcp_send(p, out, piece);
    tcp_receive(p, in, piece);
    if (memcmp(out, in, piece) != 0) fail("the stream over TCP is not exact");
    count -= piece;
  }
}

bool tcp_is_over(struct peer *p) {
  unsigned char bytes[4096];
  while (true) {
    ssize_t r = recv(p->tcp, bytes, sizeof bytes, 0);
    if (r == 0 || (r < 0 && errno == ECONNRESET)) return true;
    if (r < 0) return false;
  }
}

// The name of RendezvousName.swift: version, the end that called connect, the end that accepted.
static socklen_t name_of(const struct peer *p, struct sockaddr_un *name) {
  struct sockaddr_in local, remote;
  socklen_t length = sizeof local;
  if (getsockname(p->tcp, (void *)&local, &length) != 0) fail("getsockname");
  length = sizeof remote;
  if (getpeername(p->tcp, (void *)&remote, &length) != 0) fail("getpeername");
  const struct sockaddr_in *ends[] = {p->leads ? &remote : &local, p->leads ? &local : &remote};
  *name = (struct sockaddr_un){.sun_family = AF_UNIX};
  memcpy(name->sun_path, "\0millrace-1/", 12);
  for (int i = 0; i < 2; i++) {
    unsigned char *at = (unsigned char *)name->sun_path + 12 + 18 * i;
    memset(at, 0, 10);
    at[10] = at[11] = 0xff;
    memcpy(at + 12, &ends[i]->sin_addr, 4);
    memcpy(at + 16, &ends[i]->sin_port, 2);
  }
  return offsetof(struct sockaddr_un, sun_path) + NAME_BYTES;
}

static int patient(int fd) {
  struct timeval limit = {.tv_sec = PATIENCE_SECONDS};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  return fd;
}

int name_listen(const struct peer *p) {
  struct sockaddr_un name;
  socklen_t length = name_of(p, &name);
  int fd = patient(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (bind(fd, (void *)&name, length) != 0 || listen(fd, 4) != 0) fail("the name: %s", strerror(errno));
  return fd;
}

int name_call(const struct peer *p) {
  struct sockaddr_un name;
  socklen_t length = name_of(p, &name);
  int fd = patient(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // The victim binds when its service thread comes to it; nothing tells when. A millisecond between two looks.
  for (time_t end = time(NULL) + PATIENCE_SECONDS; connect(fd, (void *)&name, length) != 0; poll(NULL, 0, 1)) {
    if (time(NULL) > end) fail("nobody listens at the name: %s", strerror(errno));
  }
  return fd;
}

int name_accept(int listener) {
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) fail("nobody calls the name: %s", strerror(errno));
  return patient(fd);
}

struct message message(uint32_t kind, uint32_t detail) {
  return (struct message){.magic = MESSAGE_MAGIC, .version = 1, .kind = kind, .detail = detail};
}

bool try_message(int fd, const void *bytes, size_t count, const int *descriptors, size_t descriptor_count) {
  struct iovec vector = {(void *)bytes, count};
  char control[CMSG_SPACE(sizeof(int) * 16)] = {0};
  struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
  if (descriptor_count > 0) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * descriptor_count);
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * descriptor_count);
    memcpy(CMSG_DATA(c), descriptors, sizeof(int) * descriptor_count);
  }
  return sendmsg(fd, &header, MSG_NOSIGNAL) == (ssize_t)count;
}

void send_message(int fd, const void *bytes, size_t count, const int *descriptors, size_t descriptor_count) {
  if (!try_message(fd, bytes, count, descriptors, descriptor_count)) fail("sendmsg: %s", strerror(errno));
}

bool receive_message(int fd, struct message *m, int *descriptor) {
  struct iovec vector = {m, sizeof *m};
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct msghdr header = {
      .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t r = recvmsg(fd, &header, MSG_CMSG_CLOEXEC);
  if (r < 0 && errno != ECONNRESET) fail("no message: %s", strerror(errno));
  struct cmsghdr *c = CMSG_FIRSTHDR(&header);
  if (descriptor != NULL) *descriptor = -1;
  if (descriptor != NULL && c != NULL) memcpy(descriptor, CMSG_DATA(c), sizeof(int));
  if (r > 0 && (r != sizeof *m || m->magic != MESSAGE_MAGIC)) fail("the victim sent %zd bytes of no message", r);
  return r > 0;
}

bool hangs_up(int fd) {
  char bytes[256];
  while (true) {
    ssize_t r = recv(fd, bytes, sizeof bytes, 0);
    if (r == 0 || (r < 0 && errno == ECONNRESET)) return true;
    if (r < 0) return false;
  }
}

int make_memory(size_t bytes, unsigned seals) {
  int fd = memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0 || ftruncate(fd, bytes) != 0) fail("memfd: %s", strerror(errno));
  if (seals != 0 && fcntl(fd, F_ADD_SEALS, seals) != 0) fail("seals: %s", strerror(errno));
  return fd;
}

void map_memory(struct peer *p, int memory, size_t ring_bytes) {
  p->memory = memory;
  p->ring_bytes = ring_bytes;
  void *at = mmap(NULL, CONTROL_BYTES + 2 * ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (at == MAP_FAILED) fail("mmap: %s", strerror(errno));
  p->page = at;
  p->own = &p->page->sides[p->leads ? 0 : 1].words;
  p->other = &p->page->sides[p->leads ? 1 : 0].words;
  unsigned char *rings = (unsigned char *)at + CONTROL_BYTES;
  p->ring_out = rings + (p->leads ? 0 : ring_bytes);
  p->ring_in = rings + (p->leads ? ring_bytes : 0);
}

void fill_header(struct peer *p) {
  p->page->magic = 0x656361726c6c694d;
  p->page->version = LAYOUT_VERSION;
  p->page->ring_bytes = p->ring_bytes;
}
