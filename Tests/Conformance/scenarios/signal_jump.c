// Programs that leave a blocking call by siglongjmp when their time is over, as old ones do.
#include "observe.h"

#include <setjmp.h>

static sigjmp_buf place;

static void handler(int number) {
  (void)number;
  siglongjmp(place, 1);
}

static void leave(int fd, long microseconds) {
  char byte;
  if (sigsetjmp(place, 1) != 0) return;
  struct itimerval once = {{0, 0}, {0, microseconds}};
  setitimer(ITIMER_REAL, &once, NULL);
  recv(fd, &byte, 1, 0);
  say("recv has returned");
}

static void body(int a, int b) {
  char byte;
  struct sigaction action = {.sa_handler = handler};
  sigaction(SIGALRM, &action, NULL);
  // From within what precedes the sleep to well into it.
  for (int i = 1; i < 200; i++) leave(b, i * 7);
  OBS("send", send(a, "x", 1, 0));
  OBS("recv", recv(b, &byte, 1, 0));
  OBS("send back", send(b, "y", 1, 0));
  OBS("recv", recv(a, &byte, 1, 0));
  leave(b, 20000);
  // Nobody is in a call any more: the close is at once.
  OBS("close", close(b));
  say("events at the peer %s", event_names(await_events(a, POLLIN | POLLRDHUP) & (POLLIN | POLLRDHUP)));
  OBS("recv at the end", recv(a, &byte, 1, MSG_DONTWAIT));
}

BOTH_WAYS(body)
