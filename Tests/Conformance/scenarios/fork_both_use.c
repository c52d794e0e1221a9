// Parent and child take turns on both ends of one connection, with a pipe to say whose turn it is.
#include "observe.h"

static void turn(int own, int out, int in, int number) {
  char byte = (char)number, back;
  if (write(out, &byte, 1) != 1 || read(in, &back, 1) != 1) give_up("turn %d", own);
}

static void body(int a, int b) {
  int to[2], from[2];
  char buffer[8];
  if (pipe(to) || pipe(from)) give_up("pipe");
  pid_t child = fork_logged();
  if (child == 0) {
    char byte;
    for (int i = 0; i < 10; i++) {
      if (read(to[0], &byte, 1) != 1) end_child(1);
      long count = recv(b, buffer, 8, 0);
      say("recv %ld %.*s", count, (int)count, buffer);
      if (send(a, "child", 5, 0) != 5) end_child(2);
      if (write(from[1], "x", 1) != 1) end_child(3);
    }
    end_child(0);
  }
  for (int i = 0; i < 10; i++) {
    OBS("send", send(a, "parent", 6, 0));
    turn(i, to[1], from[0], i);
    long count = OBS("recv", recv(b, buffer, 8, 0));
    say("bytes %.*s", (int)count, buffer);
  }
  join_child(child);
  for (int i = 0; i < 2; i++) close(to[i]), close(from[i]);
}

BOTH_WAYS(body)
