// Connections for one request each, from several threads: every answer is right and no descriptor is lost.
#include "observe.h"

enum { clients = 3, requests = 150 };

static struct sockaddr_storage address;
static socklen_t length;
static int listener;

static void *client(void *argument) {
  long wrong = 0, which = (long)argument;
  for (int i = 0; i < requests; i++) {
    char text[64], back[64];
    int fd = connect_to(PAIR_V4, &address, length), size = snprintf(text, sizeof text, "request %d of %ld", i, which);
    if (!write_all(fd, text, (size_t)size)) wrong++;
    shutdown(fd, SHUT_WR);
    ssize_t got = 0, count;
    while ((count = recv(fd, back + got, sizeof back - (size_t)got, 0)) > 0) got += count;
    if (got != size || memcmp(text, back, (size_t)size)) wrong++;
    close(fd);
  }
  return (void *)wrong;
}

static void *server(void *argument) {
  for (int i = 0; i < clients * requests; i++) {
    char buffer[64];
    ssize_t count;
    int fd = accept(listener, NULL, NULL);
    while ((count = recv(fd, buffer, sizeof buffer, 0)) > 0)
      if (!write_all(fd, buffer, (size_t)count)) break;
    close(fd);
  }
  return argument;
}

int main(void) {
  listener = make_listener(PAIR_V4, &address, &length);
  pthread_t serving = start_thread(server, NULL), threads[clients];
  for (long i = 0; i < clients; i++) threads[i] = start_thread(client, (void *)i);
  long wrong = 0;
  for (int i = 0; i < clients; i++) wrong += (long)join_thread(threads[i]);
  join_thread(serving);
  say("%ld wrong", wrong);
  OBS("the next number", open("/dev/null", O_RDONLY));
  return 0;
}
