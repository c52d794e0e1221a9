/* One end sends 64-byte messages as fast as it can, the other receives and checks them. The sending end prints the
   messages per second that arrived. Usage: oneway serve tcp|unix NUMBER | oneway ask tcp|unix NUMBER SECONDS */
#include "micro.h"

enum { MESSAGE = 64 };

static void serve(int listener) {
  int fd = accept_from(listener);
  uint64_t words[MESSAGE / 8], messages = 0;
  while (receive_all(fd, words, sizeof words)) {
    if (words[0] != messages || words[MESSAGE / 8 - 1] != ~messages) fail("a message is not the expected one");
    messages++;
  }
  send_all(fd, &messages, sizeof messages);
}

int main(int count, char **arguments) {
  if (count < 4) return 2;
  int number = atoi(arguments[3]);
  if (strcmp(arguments[1], "serve") == 0) {
    serve(listen_at(arguments[2], number));
    return 0;
  }
  double seconds = atof(arguments[4]);
  int fd = connect_to(arguments[2], number);
  uint64_t words[MESSAGE / 8] = {0}, messages = 0, arrived = 0;
  double start = now();
  while (now() - start < seconds) {
    for (int i = 0; i < 1000; i++) {
      words[0] = messages;
      words[MESSAGE / 8 - 1] = ~messages;
      send_all(fd, words, sizeof words);
      messages++;
    }
  }
  int lane = on_lane(fd);
  shutdown(fd, SHUT_WR);
  if (!receive_all(fd, &arrived, sizeof arrived)) fail("the server hung up");
  /* The time ends when the other end has said that everything arrived. */
  double end = now();
  if (arrived != messages) fail("messages are missing");
  printf("%.0f %d\n", (double)messages / (end - start), lane);
  return 0;
}
