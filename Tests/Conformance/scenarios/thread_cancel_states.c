// Cancellation that is disabled, and that is pending when a call begins; a call that does not block still is a point.
#include "observe.h"

static int fd;
static volatile int reached;
static volatile pid_t tid;

static void *disabled(void *argument) {
  char byte;
  (void)argument;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
  tid = thread_id();
  long count = recv(fd, &byte, 1, 0);
  reached = 1;
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
  reached = (int)count + 1;
  pthread_testcancel();
  reached = 99;
  return NULL;
}

static void *pending(void *argument) {
  char byte;
  (void)argument;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
  tid = thread_id();
  while (reached != 5) sched_yield();
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
  reached = 6;
  recv(fd, &byte, 1, 0);
  reached = 7;
  return NULL;
}

static void body(int a, int b) {
  char byte;
  void *result;
  fd = b;
  tid = reached = 0;
  pthread_t thread = start_thread(disabled, NULL);
  while (!tid) sched_yield();
  await_asleep(tid);
  pthread_cancel(thread);
  await_asleep(tid);
  OBS("send", send(a, "x", 1, 0));
  result = join_thread(thread);
  say("disabled: %s, reached %d", result == PTHREAD_CANCELED ? "cancelled" : "returned", reached);
  reached = 0;
  OBS("send", send(a, "y", 1, 0));
  await_bytes(b, 1);
  thread = start_thread(pending, NULL);
  pthread_cancel(thread);
  reached = 5;
  result = join_thread(thread);
  say("pending: %s, reached %d", result == PTHREAD_CANCELED ? "cancelled" : "returned", reached);
  OBS("recv of what is left", recv(b, &byte, 1, 0));
}

BOTH_WAYS(body)
