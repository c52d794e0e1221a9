// POSIX asynchronous I/O reads and writes sockets in threads of libc's own, past read and write.
#include <aio.h>
#include "observe.h"

static long finish(struct aiocb *block) {
  const struct aiocb *list[] = {block};
  while (aio_error(block) == EINPROGRESS) aio_suspend(list, 1, NULL);
  errno = aio_error(block);
  return aio_return(block);
}

static void body(int a, int b) {
  char text[32] = "";
  OBS("send before", send(a, "before ", 7, 0));
  struct aiocb out = {.aio_fildes = a, .aio_buf = "by aio ", .aio_nbytes = 7};
  OBS("aio_write", aio_write(&out));
  OBS("written", finish(&out));
  struct aiocb again = {.aio_fildes = a, .aio_buf = "by a list", .aio_nbytes = 9, .aio_lio_opcode = LIO_WRITE};
  struct aiocb *list[] = {&again};
  OBS("lio_listio", lio_listio(LIO_WAIT, list, 1, NULL));
  OBS("written", finish(&again));
  OBS("recv", recv(b, text, 16, MSG_WAITALL));
  say("bytes %.16s", text);
  struct aiocb in = {.aio_fildes = b, .aio_buf = text, .aio_nbytes = 7};
  OBS("aio_read", aio_read(&in));
  OBS("read", finish(&in));
  say("bytes %.7s", text);
  OBS("close", close(a));
  OBS("recv at the end", recv(b, text, 1, 0));
}

BOTH_WAYS(body)
