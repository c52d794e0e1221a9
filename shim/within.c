/// What libc does to a descriptor inside itself, past read and write: the connection has to be the kernel's before.
#include "real.h"

static void leave_to_libc(int fd) {
  if (UNLIKELY(shim_connection(fd) != NULL)) millrace_decline_stdio(fd);
}

PUBLIC int vdprintf(int fd, const char *format, va_list arguments) {
  ENTER();
  leave_to_libc(fd);
  return real.vdprintf(fd, format, arguments);
}

PUBLIC int dprintf(int fd, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int r = vdprintf(fd, format, arguments);
  va_end(arguments);
  return r;
}

PUBLIC int __vdprintf_chk(int fd, int flag, const char *format, va_list arguments) {
  ENTER();
  leave_to_libc(fd);
  return real.__vdprintf_chk(fd, flag, format, arguments);
}

PUBLIC int __dprintf_chk(int fd, int flag, const char *format, ...);
PUBLIC int __dprintf_chk(int fd, int flag, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int r = __vdprintf_chk(fd, flag, format, arguments);
  va_end(arguments);
  return r;
}

// Asynchronous requests are carried out by threads of libc's own.

#define ASYNCHRONOUS(name, type)        \
  PUBLIC int name(type *request) {      \
    ENTER();                            \
    leave_to_libc(request->aio_fildes); \
    return real.name(request);          \
  }
ASYNCHRONOUS(aio_read, struct aiocb)
ASYNCHRONOUS(aio_read64, struct aiocb64)
ASYNCHRONOUS(aio_write, struct aiocb)
ASYNCHRONOUS(aio_write64, struct aiocb64)

#define ASYNCHRONOUS_LIST(name, type)                                                    \
  PUBLIC int name(int mode, type *const requests[], int count, struct sigevent *event) { \
    ENTER();                                                                             \
    for (int i = 0; i < count; i++)                                                      \
      if (requests[i] != NULL) leave_to_libc(requests[i]->aio_fildes);                   \
    return real.name(mode, requests, count, event);                                      \
  }
ASYNCHRONOUS_LIST(lio_listio, struct aiocb)
ASYNCHRONOUS_LIST(lio_listio64, struct aiocb64)
