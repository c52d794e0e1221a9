// A stream that begins with the connection and does not wait for anything: wherever a lane attaches, it stays exact.
// Small messages, so that the attach falls between, and large ones, so that it falls into them.
#include "observe.h"

static struct sockaddr_storage address;
static socklen_t length;
static uint64_t size;

static void *client(void *argument) {
  uint64_t seed = (uint64_t)(long)argument, random = seed, at = 0;
  static _Thread_local char chunk[30000], back[30000];
  int fd = connect_to(PAIR_V4, &address, length);
  while (at < size) {
    size_t piece = 1 + next_random(&random) % (seed & 1 ? 200 : fits_unread(sizeof chunk));
    if (piece > size - at) piece = size - at;
    fill(chunk, piece, seed, at);
    if (!write_all(fd, chunk, piece) || !read_all(fd, back, piece) || memcmp(chunk, back, piece)) {
      say("client %llu: wrong at %llu", (unsigned long long)seed, (unsigned long long)at);
      break;
    }
    at += piece;
  }
  shutdown(fd, SHUT_WR);
  if (recv(fd, back, 1, 0) != 0) say("client %llu: no end", (unsigned long long)seed);
  close(fd);
  return NULL;
}

static void *serve(void *argument) {
  int fd = (int)(long)argument;
  static _Thread_local char chunk[7000];
  ssize_t count;
  while ((count = recv(fd, chunk, sizeof chunk, 0)) > 0)
    if (!write_all(fd, chunk, (size_t)count)) break;
  if (count < 0) say("server: %s", errno_name(errno));
  close(fd);
  return NULL;
}

int main(void) {
  enum { clients = 4, turns = 8 };
  int listener = make_listener(PAIR_V4, &address, &length);
  for (int turn = 0; turn < turns; turn++) {
    pthread_t threads[clients], servers[clients];
    size = turn % 2 ? 40000 : 600000;
    for (int i = 0; i < clients; i++) threads[i] = start_thread(client, (void *)(long)(turn * clients + i + 1));
    for (int i = 0; i < clients; i++) servers[i] = start_thread(serve, (void *)(long)accept(listener, NULL, NULL));
    for (int i = 0; i < clients; i++) join_thread(threads[i]);
    for (int i = 0; i < clients; i++) join_thread(servers[i]);
  }
  say("%d connections", clients * turns);
  return 0;
}
