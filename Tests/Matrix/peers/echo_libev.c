// libev as an echo server, with watchers that are started and stopped as there is something to write.
// Usage: echo_libev serve PORT [BACKEND], where BACKEND is select, poll or epoll
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct session {
  ev_io reader, writer;
  char held[65536];
  size_t start, end;
};

static void stop(struct ev_loop *loop, struct session *session) {
  ev_io_stop(loop, &session->reader);
  ev_io_stop(loop, &session->writer);
  close(session->reader.fd);
  free(session);
}

static void writable(struct ev_loop *loop, ev_io *watcher, int events) {
  (void)events;
  struct session *session = watcher->data;
  ssize_t sent = send(watcher->fd, session->held + session->start, session->end - session->start, MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN) return stop(loop, session);
  if (sent > 0) session->start += (size_t)sent;
  if (session->start < session->end) {
    ev_io_stop(loop, &session->reader);
    return ev_io_start(loop, &session->writer);
  }
  ev_io_stop(loop, &session->writer);
  ev_io_start(loop, &session->reader);
}

static void readable(struct ev_loop *loop, ev_io *watcher, int events) {
  struct session *session = watcher->data;
  ssize_t got = read(watcher->fd, session->held, sizeof session->held);
  if (got == 0 || (got < 0 && errno != EAGAIN)) return stop(loop, session);
  if (got < 0) return;
  session->start = 0;
  session->end = (size_t)got;
  writable(loop, &session->writer, events);
}

static void acceptable(struct ev_loop *loop, ev_io *watcher, int events) {
  (void)events;
  int descriptor = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (descriptor < 0) return;
  struct session *session = calloc(1, sizeof *session);
  ev_io_init(&session->reader, readable, descriptor, EV_READ);
  ev_io_init(&session->writer, writable, descriptor, EV_WRITE);
  session->reader.data = session->writer.data = session;
  ev_io_start(loop, &session->reader);
}

static unsigned int backend(const char *name) {
  if (strcmp(name, "select") == 0) return EVBACKEND_SELECT;
  if (strcmp(name, "poll") == 0) return EVBACKEND_POLL;
  return EVBACKEND_EPOLL;
}

int main(int count, char **arguments) {
  struct ev_loop *loop = ev_loop_new(backend(count > 3 ? arguments[3] : "epoll"));
  if (loop == NULL) return perror("ev_loop_new"), 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(arguments[2]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
  if (bind(listener, (void *)&address, sizeof address) != 0 || listen(listener, 64) != 0) return perror("listen"), 1;
  ev_io watcher;
  ev_io_init(&watcher, acceptable, listener, EV_READ);
  ev_io_start(loop, &watcher);
  ev_run(loop, 0);
}
