// The parent closes its copy, and the child alone goes on: the way of servers that fork per connection.
#include "observe.h"

static void body(int a, int b) {
  char buffer[64];
  static char bytes[100000];
  pid_t child = fork_logged();
  if (child == 0) {
    close(a);
    for (int i = 0; i < 50; i++) {
      ssize_t count = recv(b, buffer, 8, MSG_WAITALL);
      if (count != 8 || send(b, buffer, 8, 0) != 8) end_child(1);
    }
    fill(bytes, sizeof bytes, 5, 0);
    if (!write_all(b, bytes, sizeof bytes)) end_child(2);
    OBS("recv at the end", recv(b, buffer, 8, 0));
    end_child(0);
  }
  OBS("close of the parent's copy", close(b));
  int wrong = 0;
  for (int i = 0; i < 50; i++) {
    snprintf(buffer, 9, "%08d", i);
    char back[8];
    if (!write_all(a, buffer, 8) || !read_all(a, back, 8) || memcmp(buffer, back, 8)) wrong++;
  }
  say("%d answers are wrong", wrong);
  check_that("the large answer", read_all(a, bytes, sizeof bytes) && matches(bytes, sizeof bytes, 5, 0));
  OBS("shutdown", shutdown(a, SHUT_WR));
  OBS("the end", recv(a, buffer, 8, 0));
  join_child(child);
}

BOTH_WAYS(body)
