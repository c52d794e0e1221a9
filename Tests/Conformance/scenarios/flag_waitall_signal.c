// A signal during MSG_WAITALL: with nothing read EINTR, with something read a short count, SA_RESTART or not.
#include "observe.h"

static void body(int a, int b) {
  char buffer[16];
  for (int restart = 0; restart < 2; restart++) {
    count_signal(SIGUSR1, restart ? SA_RESTART : 0);
    send(a, "abc", 3, 0);
    await_bytes(b, 3);
    pthread_t thread = signal_when_asleep(thread_id(), SIGUSR1);
    long count = recv(b, buffer, 8, MSG_WAITALL);
    join_thread(thread);
    OBS(restart ? "WAITALL 8 of 3, SA_RESTART" : "WAITALL 8 of 3", count);
  }
  count_signal(SIGUSR1, 0);
  pthread_t thread = signal_when_asleep(thread_id(), SIGUSR1);
  errno = 0;
  long count = recv(b, buffer, 8, MSG_WAITALL);
  int error = errno;
  join_thread(thread);
  errno = error;
  obs("WAITALL 8 of nothing", count);
  say("signals %d", (int)signals_seen[SIGUSR1]);
}

BOTH_WAYS(body)
