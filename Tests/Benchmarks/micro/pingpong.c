/* Blocking ping-pong over one connection, contents checked. The asking end prints microseconds per round trip.
   Usage: pingpong serve tcp|unix NUMBER SIZE | pingpong ask tcp|unix NUMBER SIZE SECONDS */
#include "micro.h"

static void serve(int listener, char *buffer, size_t size) {
  int fd = accept_from(listener);
  no_delay(fd);
  while (receive_all(fd, buffer, size)) send_all(fd, buffer, size);
}

int main(int count, char **arguments) {
  if (count < 5) return 2;
  int number = atoi(arguments[3]);
  size_t size = (size_t)atol(arguments[4]);
  char *buffer = calloc(2, size);
  if (strcmp(arguments[1], "serve") == 0) {
    serve(listen_at(arguments[2], number), buffer, size);
    return 0;
  }
  double seconds = atof(arguments[5]);
  int fd = connect_to(arguments[2], number);
  no_delay(fd);
  uint64_t rounds = 0;
  double start = now(), end = start;
  while (end - start < seconds) {
    for (int i = 0; i < 100; i++) {
      memset(buffer, (int)(rounds & 0xff), size);
      send_all(fd, buffer, size);
      if (!receive_all(fd, buffer + size, size)) fail("the server hung up");
      if (memcmp(buffer, buffer + size, size) != 0) fail("the answer differs");
      rounds++;
    }
    end = now();
  }
  printf("%.6f %d\n", (end - start) * 1e6 / (double)rounds, on_lane(fd));
  return 0;
}
