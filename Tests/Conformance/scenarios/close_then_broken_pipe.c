// After the peer has closed, a first send is accepted, and later ones give EPIPE with SIGPIPE.
#include "observe.h"

static void body(int a, int b) {
  char buffer[4];
  struct iovec vector = {"xy", 2};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  count_signal(SIGPIPE, 0);
  signals_seen[SIGPIPE] = 0;
  OBS("a closes", close(a));
  await_events(b, POLLRDHUP);
  OBS("first send", send(b, "x", 1, 0));
  say("events %s", event_names(await_events(b, POLLERR | POLLHUP)));
  OBS("send", send(b, "x", 1, 0));
  say("SIGPIPE %d", (int)signals_seen[SIGPIPE]);
  OBS("send NOSIGNAL", send(b, "x", 1, MSG_NOSIGNAL));
  say("SIGPIPE %d", (int)signals_seen[SIGPIPE]);
  OBS("write", write(b, "x", 1));
  OBS("writev", writev(b, &vector, 1));
  OBS("sendmsg", sendmsg(b, &message, 0));
  OBS("pwritev2", pwritev2(b, &vector, 1, -1, 0));
  OBS("sendto", sendto(b, "x", 1, 0, NULL, 0));
  struct mmsghdr several = {.msg_hdr = message};
  OBS("sendmmsg", sendmmsg(b, &several, 1, 0));
  say("SIGPIPE %d", (int)signals_seen[SIGPIPE]);
  FILE *file = tmpfile();
  fputs("content", file);
  fflush(file);
  off_t offset = 0;
  OBS("sendfile", sendfile(b, fileno(file), &offset, 4));
  int ends[2];
  if (pipe(ends) || write(ends[1], "abc", 3) != 3) give_up("pipe");
  OBS("splice", splice(ends[0], NULL, b, NULL, 3, 0));
  say("SIGPIPE after sendfile and splice %d", (int)signals_seen[SIGPIPE]);
  OBS("recv", recv(b, buffer, 4, 0));
  OBS("recv again", recv(b, buffer, 4, 0));
  signal(SIGPIPE, SIG_IGN);
  OBS("send with SIGPIPE ignored", send(b, "x", 1, 0));
  fclose(file);
  close(b);
}

BOTH_WAYS(body)
