// A handler that itself sends and receives, on the very connection that its thread sleeps in.
#include "observe.h"

static int handler_fd, handler_peer;
static volatile long handler_sent, handler_got;

static void handler(int number) {
  (void)number;
  int saved = errno;
  char byte;
  handler_sent = write(handler_fd, "h", 1);
  handler_got = recv(handler_fd, &byte, 1, MSG_DONTWAIT);
  struct pollfd one = {handler_fd, POLLIN, 0};
  handler_got += 100 * poll(&one, 1, 0);
  errno = saved;
}

static void *disturb(void *argument) {
  pid_t tid = *(pid_t *)argument;
  char byte;
  await_asleep(tid);
  syscall(SYS_tgkill, getpid(), tid, SIGUSR1);
  if (recv(handler_peer, &byte, 1, 0) != 1 || byte != 'h') give_up("the handler's byte");
  await_asleep(tid);
  send(handler_peer, "x", 1, 0);
  return NULL;
}

static void body(int a, int b) {
  char byte;
  handler_fd = b;
  handler_peer = a;
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  pid_t tid = thread_id();
  pthread_t thread = start_thread(disturb, &tid);
  OBS("recv", recv(b, &byte, 1, 0));
  join_thread(thread);
  say("the handler sent %ld and got %ld", handler_sent, handler_got);
  raise(SIGUSR1);
  OBS("the peer gets what the handler sent", recv(a, &byte, 1, 0));
}

BOTH_WAYS(body)
