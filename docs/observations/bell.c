/// A Unix stream connection as a bell: who is woken by it, and what its end tells.
#include "common.h"

#include <sched.h>

static int bell[2];
static _Atomic int awake;
static _Atomic pid_t sleepers[2];

static void *poll_bell(void *number) {
  struct pollfd entry = {bell[0], POLLIN, 0};
  char byte;
  sleepers[(long)number] = (pid_t)syscall(SYS_gettid);
  NEED(poll(&entry, 1, -1) == 1);
  // Whoever comes first takes the byte away.
  (void)recv(bell[0], &byte, 1, MSG_DONTWAIT);
  awake++;
  return NULL;
}

int main(void) {
  pthread_t threads[2];
  char bytes[256];
  NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, bell) == 0);
  // On one processor, so that the first thread that wakes has taken the byte before the second runs.
  cpu_set_t one, all;
  NEED(sched_getaffinity(0, sizeof all, &all) == 0);
  int processor = 0;
  while (!CPU_ISSET(processor, &all)) processor++;
  CPU_ZERO(&one);
  CPU_SET(processor, &one);
  NEED(sched_setaffinity(0, sizeof one, &one) == 0);
  for (long i = 0; i < 2; i++) NEED(pthread_create(&threads[i], NULL, poll_bell, (void *)i) == 0);
  for (int i = 0; i < 2; i++) {
    while (sleepers[i] == 0) sched_yield();
    wait_until_asleep(sleepers[i]);
  }
  NEED(send(bell[1], "x", 1, 0) == 1);
  while (awake == 0) sched_yield();
  // Both have been made to run by the byte; on the only processor, both had their turn when this thread had a few.
  for (int i = 0; i < 1000; i++) sched_yield();
  saw(awake == 1, "two threads poll one bell; the first takes the byte, and the second sleeps on");
  while (awake < 2) (void)!send(bell[1], "x", 1, 0);
  for (int i = 0; i < 2; i++) NEED(pthread_join(threads[i], NULL) == 0);
  while (recv(bell[0], bytes, sizeof bytes, 0) > 0) continue;

  while (send(bell[1], bytes, sizeof bytes, 0) > 0) continue;
  saw(errno == EAGAIN && (poll_now(bell[0], POLLIN) & POLLIN), "a bell that is full refuses, and is readable already");
  while (recv(bell[0], bytes, sizeof bytes, 0) > 0) continue;
  saw(poll_now(bell[0], POLLIN | POLLRDHUP) == 0, "drained, it is quiet");
  pid_t child = fork();
  NEED(child >= 0);
  if (child == 0) pause();
  close(bell[1]);
  saw(poll_now(bell[0], POLLRDHUP) == 0, "it does not hang up while a child has the other end open");
  NEED(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
  saw((poll_until(bell[0], POLLRDHUP) & (POLLRDHUP | POLLHUP)) == (POLLRDHUP | POLLHUP), "kill -9 hangs it up");
  return unexpected;
}
