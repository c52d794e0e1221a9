// MSG_PEEK leaves the bytes where they are, however often and with whatever length; MSG_TRUNC beside it copies nothing.
#include "observe.h"

static void body(int a, int b) {
  char buffer[16] = "................";
  OBS("peek at nothing", recv(b, buffer, 4, MSG_PEEK | MSG_DONTWAIT));
  OBS("send", send(a, "abcdef", 6, 0));
  await_bytes(b, 6);
  OBS("peek 4", recv(b, buffer, 4, MSG_PEEK));
  OBS("peek 16", recv(b, buffer, 16, MSG_PEEK));
  OBS("peek 6 WAITALL", recv(b, buffer, 6, MSG_PEEK | MSG_WAITALL));
  say("bytes %.6s", buffer);
  memset(buffer, '.', sizeof buffer);
  OBS("peek TRUNC 4", recv(b, buffer, 4, MSG_PEEK | MSG_TRUNC));
  OBS("peek TRUNC 16", recv(b, buffer, 16, MSG_PEEK | MSG_TRUNC));
  say("bytes %.6s", buffer);
  OBS("recv 2", recv(b, buffer, 2, 0));
  OBS("peek 16", recv(b, buffer, 16, MSG_PEEK));
  say("bytes %.4s", buffer);
  check_that("readable", ready(b, POLLIN) == POLLIN);
  OBS("recv", recv(b, buffer, 16, 0));
  OBS("peek at nothing", recv(b, buffer, 16, MSG_PEEK | MSG_DONTWAIT));
  shutdown(a, SHUT_WR);
  await_events(b, POLLRDHUP);
  OBS("peek at the end", recv(b, buffer, 16, MSG_PEEK));
  OBS("peek at the end again", recv(b, buffer, 16, MSG_PEEK | MSG_WAITALL));
}

BOTH_WAYS(body)
