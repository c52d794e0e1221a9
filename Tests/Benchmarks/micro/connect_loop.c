/* Connect, one request, one answer, close: what must lose nothing, since it never earns a lane. The asking end prints
   connections per second. Usage: connect_loop serve NUMBER | connect_loop ask NUMBER SECONDS */
#include "micro.h"

enum { REQUEST = 100, ANSWER = 1000 };

int main(int count, char **arguments) {
  if (count < 3) return 2;
  int number = atoi(arguments[2]);
  char buffer[ANSWER];
  memset(buffer, 7, sizeof buffer);
  if (strcmp(arguments[1], "serve") == 0) {
    int listener = listen_at("tcp", number);
    for (;;) {
      int fd = accept_from(listener);
      if (receive_all(fd, buffer, REQUEST)) send_all(fd, buffer, ANSWER);
      close(fd);
    }
  }
  double seconds = atof(arguments[3]), start = now(), end = start;
  uint64_t rounds = 0;
  while (end - start < seconds) {
    int fd = connect_to("tcp", number);
    send_all(fd, buffer, REQUEST);
    if (!receive_all(fd, buffer, ANSWER)) fail("the server hung up");
    close(fd);
    rounds++;
    end = now();
  }
  printf("%.1f\n", (double)rounds / (end - start));
  return 0;
}
