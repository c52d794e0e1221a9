// Arguments that are refused: bad descriptors, bad counts, bad lengths.
#include "observe.h"

static void body(int a, int b) {
  char buffer[16];
  struct iovec vector = {buffer, 4}, negative = {buffer, (size_t)-1};
  struct iovec pair[2] = {{buffer, 4}, {buffer, (size_t)-1}};
  OBS("recv of a closed descriptor", recv(999, buffer, 1, 0));
  OBS("send to a closed descriptor", send(999, buffer, 1, 0));
  OBS("read of -1", read(-1, buffer, 1));
  OBS("write to -1", write(-1, buffer, 1));
  OBS("recv of a file", recv(0, buffer, 1, 0));
  OBS("readv -1 vectors", readv(b, &vector, -1));
  OBS("writev -1 vectors", writev(a, &vector, -1));
  OBS("readv 1025 vectors", readv(b, &vector, 1025));
  OBS("writev 1025 vectors", writev(a, &vector, 1025));
  OBS("readv of a negative length", readv(b, &negative, 1));
  OBS("writev of a negative length", writev(a, &negative, 1));
  OBS("writev whose second length is negative", writev(a, pair, 2));
  OBS("shutdown of a strange half", shutdown(a, 7));
  OBS("shutdown of a file", shutdown(0, SHUT_WR));
  OBS("getsockopt of a strange level", getsockopt(a, 0x123456, 1, buffer, &(socklen_t){4}));
  OBS("getsockopt of a strange option", getsockopt(a, SOL_SOCKET, 0x1234, buffer, &(socklen_t){4}));
  OBS("setsockopt of a strange option", setsockopt(a, SOL_SOCKET, 0x1234, buffer, 4));
  OBS("ioctl of a strange request", ioctl(a, 0x12345678, buffer));
  OBS("fcntl of a strange command", fcntl(a, 0x7777, 0));
  OBS("nothing arrived", recv(b, buffer, 1, MSG_DONTWAIT));
}

BOTH_WAYS(body)
