// A proxy that moves a stream from one connection to another with splice and a pipe, both ways round in turn.
#include "observe.h"

enum { size = 4 << 20 };

static int in[2], out[2];

static void *source(void *argument) {
  char *bytes = malloc(size);
  fill(bytes, size, 23, 0);
  bool ok = write_all(*(int *)argument, bytes, size);
  shutdown(*(int *)argument, SHUT_WR);
  free(bytes);
  return ok ? argument : NULL;
}

static void *proxy(void *argument) {
  int ends[2], from = ((int *)argument)[0], to = ((int *)argument)[1];
  if (pipe(ends)) give_up("pipe");
  for (;;) {
    ssize_t count = splice(from, NULL, ends[1], NULL, 65536, SPLICE_F_MOVE);
    if (count < 0) give_up("splice from: %s", errno_name(errno));
    if (count == 0) break;
    while (count > 0) {
      ssize_t put = splice(ends[0], NULL, to, NULL, (size_t)count, SPLICE_F_MOVE | SPLICE_F_MORE);
      if (put <= 0) give_up("splice to: %zd %s", put, errno_name(errno));
      count -= put;
    }
  }
  shutdown(to, SHUT_WR);
  close(ends[0]), close(ends[1]);
  return NULL;
}

int main(void) {
  for (int flip = 0; flip < 2; flip++) {
    lane_pair(in, PAIR_V4);
    lane_pair(out, PAIR_V4);
    int through[2] = {in[!flip], out[flip]};
    pthread_t threads[2] = {start_thread(source, &in[flip]), start_thread(proxy, through)};
    char *bytes = malloc(size), byte;
    check_that("all arrives", read_all(out[!flip], bytes, size) && matches(bytes, size, 23, 0));
    OBS("then the end", recv(out[!flip], &byte, 1, 0));
    check_that("source done", join_thread(threads[0]) != NULL);
    join_thread(threads[1]);
    for (int i = 0; i < 2; i++) close(in[i]), close(out[i]);
    free(bytes);
  }
  return 0;
}
