// libuv as an echo server.
// Usage: echo_libuv serve PORT
#include <stdlib.h>
#include <uv.h>

struct answer {
  uv_write_t request;
  uv_buf_t buffer;
};

static void closed(uv_handle_t *handle) {
  free(handle);
}

static void written(uv_write_t *request, int status) {
  struct answer *answer = (struct answer *)request;
  if (status < 0 && !uv_is_closing((uv_handle_t *)request->handle)) uv_close((uv_handle_t *)request->handle, closed);
  free(answer->buffer.base);
  free(answer);
}

static void stopped(uv_shutdown_t *request, int status) {
  (void)status;
  uv_close((uv_handle_t *)request->handle, closed);
  free(request);
}

static void room(uv_handle_t *handle, size_t size, uv_buf_t *buffer) {
  (void)handle;
  *buffer = uv_buf_init(malloc(size), (unsigned)size);
}

static void got(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
  if (size > 0) {
    struct answer *answer = malloc(sizeof *answer);
    answer->buffer = uv_buf_init(buffer->base, (unsigned)size);
    uv_write(&answer->request, stream, &answer->buffer, 1, written);
    return;
  }
  free(buffer->base);
  if (size < 0) uv_shutdown(malloc(sizeof(uv_shutdown_t)), stream, stopped);
}

static void connected(uv_stream_t *listener, int status) {
  if (status < 0) abort();
  uv_tcp_t *client = malloc(sizeof *client);
  uv_tcp_init(listener->loop, client);
  uv_accept(listener, (uv_stream_t *)client);
  uv_read_start((uv_stream_t *)client, room, got);
}

int main(int count, char **arguments) {
  if (count != 3) return 2;
  uv_tcp_t listener;
  struct sockaddr_in address;
  uv_tcp_init(uv_default_loop(), &listener);
  uv_ip4_addr("127.0.0.1", atoi(arguments[2]), &address);
  uv_tcp_bind(&listener, (void *)&address, 0);
  if (uv_listen((uv_stream_t *)&listener, 64, connected) != 0) return 1;
  return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
