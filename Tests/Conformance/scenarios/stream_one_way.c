// One direction only, from the first byte: the other end never writes; and a stream that stops and goes.
#include "observe.h"

enum { size = 16 << 20 };

static struct sockaddr_storage address;
static socklen_t length;

static void *client(void *argument) {
  bool writes = argument != NULL;
  int fd = connect_to(PAIR_V4, &address, length);
  static char chunk[65536], byte;
  uint64_t at = 0;
  while (at < size) {
    if (writes) {
      fill(chunk, sizeof chunk, 1, at);
      if (!write_all(fd, chunk, sizeof chunk)) give_up("client: write");
      at += sizeof chunk;
      if (at % (4 << 20) == 0) poll(NULL, 0, 20);
    } else {
      ssize_t count = recv(fd, chunk, sizeof chunk, 0);
      if (count <= 0 || !matches(chunk, (size_t)count, 1, at)) give_up("client: wrong at %llu", (unsigned long long)at);
      at += (uint64_t)count;
    }
  }
  if (writes) shutdown(fd, SHUT_WR);
  if (recv(fd, &byte, 1, 0) != 0) say("client: no end");
  close(fd);
  return NULL;
}

int main(void) {
  int listener = make_listener(PAIR_V4, &address, &length);
  for (int way = 0; way < 2; way++) {
    static char chunk[65536];
    pthread_t thread = start_thread(client, way ? &address : NULL);
    int fd = accept(listener, NULL, NULL);
    uint64_t at = 0;
    while (at < size) {
      if (!way) {
        fill(chunk, sizeof chunk, 1, at);
        if (!write_all(fd, chunk, sizeof chunk)) give_up("server: write");
        at += sizeof chunk;
      } else {
        ssize_t count = recv(fd, chunk, sizeof chunk, 0);
        if (count <= 0 || !matches(chunk, (size_t)count, 1, at))
          give_up("server: wrong at %llu", (unsigned long long)at);
        at += (uint64_t)count;
      }
    }
    if (way) OBS("the end", recv(fd, chunk, 1, 0));
    close(fd);
    join_thread(thread);
    say("way %d: %d bytes", way, size);
  }
  return 0;
}
