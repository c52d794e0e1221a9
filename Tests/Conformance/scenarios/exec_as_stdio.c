// A child program gets the connection as its standard input and output (inetd, CGI, SSH and their like).
#include "observe.h"

static void body(int a, int b) {
  char buffer[64];
  OBS("send", send(a, "hello cat\n", 10, 0));
  pid_t child = fork();
  if (child == 0) {
    dup2(b, 0);
    dup2(b, 1);
    close(a), close(b);
    execlp("cat", "cat", (char *)NULL);
    _exit(9);
  }
  close(b);
  OBS("recv", recv(a, buffer, 10, MSG_WAITALL));
  say("bytes %.9s", buffer);
  OBS("send", send(a, "again\n", 6, 0));
  OBS("recv", recv(a, buffer, 6, MSG_WAITALL));
  say("bytes %.5s", buffer);
  OBS("shutdown", shutdown(a, SHUT_WR));
  OBS("recv at the end", recv(a, buffer, 8, 0));
  int status;
  waitpid(child, &status, 0);
  say("cat ended with %d", status);
}

BOTH_WAYS(body)
