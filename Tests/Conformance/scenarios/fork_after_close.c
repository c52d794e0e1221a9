// A connection is closed under a reader of another thread, and goes on until that returns; the process forks meanwhile.
// The child has nothing of it: when the reader has returned, the peer reads the end, whether the child lives or not.
#include "observe.h"

static int reading;
static pid_t reader_id;

static void *read_once(void *unused) {
  char byte;
  __atomic_store_n(&reader_id, thread_id(), __ATOMIC_SEQ_CST);
  ssize_t r = recv(reading, &byte, 1, 0);
  return unused = (void *)r;
}

static void body(int a, int b) {
  reading = a;
  __atomic_store_n(&reader_id, 0, __ATOMIC_SEQ_CST);
  pthread_t thread = start_thread(read_once, NULL);
  while (__atomic_load_n(&reader_id, __ATOMIC_SEQ_CST) == 0) sched_yield();
  await_asleep(reader_id);
  OBS("close", close(a));
  int alive[2];
  if (pipe(alive)) give_up("pipe");
  pid_t child = fork();
  if (child == 0) {
    char byte;
    close(b), close(alive[1]);
    _exit(read(alive[0], &byte, 1) == 0 ? 0 : 1);
  }
  OBS("send", send(b, "x", 1, 0));
  say("the reader got %ld", (long)join_thread(thread));
  set_timeout(b, SO_RCVTIMEO, 5000);
  char byte;
  OBS("recv", recv(b, &byte, 1, 0));
  close(alive[1]);
  int status = -1;
  waitpid(child, &status, 0);
  say("the child ended with %d", status);
  close(alive[0]), close(b);
}

BOTH_WAYS(body)
