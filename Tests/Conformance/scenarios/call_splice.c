// splice between pipes and the socket, both ways, with tee and vmsplice, which have no business here.
#include "observe.h"

static void body(int a, int b) {
  int to[2], from[2];
  char buffer[64];
  if (pipe(to) || pipe(from)) give_up("pipe");
  FILE *file = tmpfile();
  fputs("from a file", file);
  fflush(file);
  loff_t offset = 0;
  OBS("splice file to pipe", splice(fileno(file), &offset, to[1], NULL, 64, 0));
  OBS("splice pipe to socket", splice(to[0], NULL, a, NULL, 64, 0));
  await_bytes(b, 11);
  OBS("splice 4 from socket to pipe", splice(b, NULL, from[1], NULL, 4, 0));
  OBS("splice the rest", splice(b, NULL, from[1], NULL, 64, SPLICE_F_MOVE | SPLICE_F_MORE));
  long count = OBS("read the pipe", read(from[0], buffer, sizeof buffer));
  say("bytes %.*s", (int)count, buffer);
  set_nonblocking(b, true);
  OBS("splice NONBLOCK from an empty socket", splice(b, NULL, from[1], NULL, 64, SPLICE_F_NONBLOCK));
  OBS("splice NONBLOCK from an empty pipe", splice(to[0], NULL, a, NULL, 64, SPLICE_F_NONBLOCK));
  OBS("splice socket to socket", splice(b, NULL, a, NULL, 64, 0));
  OBS("splice with an offset", splice(b, &offset, from[1], NULL, 64, 0));
  OBS("splice of nothing", splice(b, NULL, from[1], NULL, 0, 0));
  OBS("tee on a socket", tee(b, from[1], 64, 0));
  struct iovec vector = {buffer, 4};
  OBS("vmsplice on a socket", vmsplice(a, &vector, 1, 0));
  shutdown(a, SHUT_WR);
  await_events(b, POLLRDHUP);
  OBS("splice at the end of the stream", splice(b, NULL, from[1], NULL, 64, 0));
  for (int i = 0; i < 2; i++) close(to[i]), close(from[i]);
  fclose(file);
}

BOTH_WAYS(body)
