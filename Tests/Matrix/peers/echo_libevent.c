// libevent's bufferevents as an echo server, and as the client that compares (echo.py says what it sends).
// Usage: echo_libevent serve|ask PORT
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BLOCK = 65521, CONNECTIONS = 4, ROUNDS = 1000, BULK = 1000000 };
struct client {
  int rounds;
  size_t sent, received, message;
};

static struct event_base *base;
static unsigned char block[BLOCK];
static int running = CONNECTIONS;

static void fail(const char *message) {
  fprintf(stderr, "%s\n", message);
  exit(1);
}

static void returned(struct bufferevent *event, void *unused) {
  (void)unused;
  bufferevent_write_buffer(event, bufferevent_get_input(event));
}

static void flushed(struct bufferevent *event, void *unused) {
  (void)unused;
  if (evbuffer_get_length(bufferevent_get_output(event)) == 0) bufferevent_free(event);
}

static void served(struct bufferevent *event, short what, void *unused) {
  (void)unused;
  if (what & BEV_EVENT_ERROR) fail("the server's connection failed");
  if (evbuffer_get_length(bufferevent_get_output(event)) == 0) return bufferevent_free(event);
  bufferevent_setcb(event, NULL, flushed, served, NULL);
}

static void accepted(struct evconnlistener *listener, int descriptor, struct sockaddr *address, int size,
                     void *unused) {
  (void)listener, (void)address, (void)size, (void)unused;
  struct bufferevent *event = bufferevent_socket_new(base, descriptor, BEV_OPT_CLOSE_ON_FREE);
  bufferevent_setcb(event, returned, NULL, served, NULL);
  bufferevent_enable(event, EV_READ | EV_WRITE);
}

static void say(struct bufferevent *event, struct client *client, size_t size) {
  client->message = size;
  client->received = 0;
  for (size_t sent = 0; sent < size; sent += BLOCK)
    bufferevent_write(event, block, size - sent < BLOCK ? size - sent : BLOCK);
}

static void answered(struct bufferevent *event, void *context) {
  struct client *client = context;
  static unsigned char part[16384];
  for (size_t got; (got = bufferevent_read(event, part, sizeof part)) > 0; client->received += got)
    for (size_t i = 0; i < got; i++)
      if (part[i] != block[(client->received + i) % BLOCK]) fail("other bytes came back than were sent");
  if (client->received > client->message) fail("more came back than was sent");
  if (client->received < client->message) return;
  if (++client->rounds < ROUNDS) return say(event, client, 1 + (size_t)client->rounds * 37 % 9000);
  if (client->rounds == ROUNDS) return say(event, client, BULK);
  shutdown(bufferevent_getfd(event), SHUT_WR);
}

static void changed(struct bufferevent *event, short what, void *context) {
  struct client *client = context;
  if (what & BEV_EVENT_CONNECTED) return say(event, client, 1);
  if (!(what & BEV_EVENT_EOF) || client->rounds <= ROUNDS) fail("the stream ended early");
  bufferevent_free(event);
  if (--running == 0) event_base_loopbreak(base);
}

int main(int count, char **arguments) {
  if (count != 3) fail("usage: echo_libevent serve|ask PORT");
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(arguments[2]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  base = event_base_new();
  if (strcmp(arguments[1], "serve") == 0) {
    evconnlistener_new_bind(base, accepted, NULL, LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_FREE, 64, (void *)&address,
                            sizeof address);
    return event_base_dispatch(base);
  }
  for (size_t i = 0; i < BLOCK; i++) block[i] = (unsigned char)random();
  static struct client clients[CONNECTIONS];
  for (int i = 0; i < CONNECTIONS; i++) {
    struct bufferevent *event = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(event, answered, NULL, changed, &clients[i]);
    bufferevent_enable(event, EV_READ | EV_WRITE);
    if (bufferevent_socket_connect(event, (void *)&address, sizeof address) != 0) fail("connect");
  }
  event_base_dispatch(base);
  printf("compared %d connections\n", CONNECTIONS);
}
