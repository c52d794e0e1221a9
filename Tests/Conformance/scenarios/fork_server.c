// A server that forks per connection, and one whose children share the listener; each client is served exactly.
#include "observe.h"

enum { clients = 6, rounds = 50 };

static void serve(int fd) {
  char message[16];
  while (recv(fd, message, 16, MSG_WAITALL) == 16) {
    message[0]++;
    if (send(fd, message, 16, 0) != 16) _exit(3);
  }
  close(fd);
}

static void be_client(const struct sockaddr_storage *address, socklen_t length, int number) {
  int fd = connect_to(PAIR_V4, address, length), wrong = 0;
  char message[16], back[16];
  for (int i = 0; i < rounds; i++) {
    memset(message, 0, sizeof message);
    snprintf(message, sizeof message, "a%d.%d", number, i);
    if (!write_all(fd, message, 16) || !read_all(fd, back, 16)) give_up("client %d lost its server", number);
    message[0]++;
    if (memcmp(message, back, 16)) wrong++;
  }
  shutdown(fd, SHUT_WR);
  long end = recv(fd, back, 16, 0);
  say("client %d: %d wrong, end %ld", number, wrong, end);
  close(fd);
}

int main(void) {
  struct sockaddr_storage address;
  socklen_t length;
  say("-- a child per connection");
  int listener = make_listener(PAIR_V4, &address, &length);
  pid_t server = fork();
  if (server == 0) {
    for (int i = 0; i < clients; i++) {
      int fd = accept(listener, NULL, NULL);
      pid_t child = fork();
      if (child == 0) {
        close(listener);
        serve(fd);
        _exit(0);
      }
      close(fd);
    }
    while (wait(NULL) > 0) continue;
    _exit(0);
  }
  close(listener);
  for (int i = 0; i < clients; i++) be_client(&address, length, i);
  int status;
  waitpid(server, &status, 0);
  say("server ended with %d", status);

  say("-- children that share the listener");
  listener = make_listener(PAIR_V4, &address, &length);
  pid_t workers[3];
  for (int i = 0; i < 3; i++) {
    workers[i] = fork();
    if (workers[i] == 0)
      for (;;) serve(accept(listener, NULL, NULL));
  }
  close(listener);
  for (int i = 0; i < clients; i++) be_client(&address, length, i);
  for (int i = 0; i < 3; i++) {
    kill(workers[i], SIGTERM);
    waitpid(workers[i], &status, 0);
    say("worker ended by signal %d", WTERMSIG(status));
  }
  return 0;
}
