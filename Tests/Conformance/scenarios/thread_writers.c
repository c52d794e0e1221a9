// Four threads write records to one connection: each record arrives whole, and each thread's in its order.
#include "observe.h"

enum { threads = 4, records = 200, length = 64 };

struct record {
  int writer, number;
  char filling[length - 2 * sizeof(int)];
};

static int fd;

static void *writer(void *argument) {
  struct record record = {.writer = (int)(long)argument};
  memset(record.filling, 'a' + record.writer, sizeof record.filling);
  for (; record.number < records; record.number++)
    if (send(fd, &record, sizeof record, 0) != sizeof record) give_up("send");
  return NULL;
}

static void body(int a, int b) {
  pthread_t ids[threads];
  int next[threads] = {0}, wrong = 0;
  fd = a;
  for (int i = 0; i < threads; i++) ids[i] = start_thread(writer, (void *)(long)i);
  for (int i = 0; i < threads * records; i++) {
    struct record record;
    if (!read_all(b, &record, sizeof record)) give_up("the stream ended");
    if (record.writer < 0 || record.writer >= threads || record.number != next[record.writer]++) wrong++;
    for (size_t j = 0; j < sizeof record.filling; j++)
      if (record.filling[j] != 'a' + record.writer) wrong++;
  }
  for (int i = 0; i < threads; i++) join_thread(ids[i]);
  say("%d records, %d wrong", threads * records, wrong);
  OBS("nothing more", recv(b, &fd, 1, MSG_DONTWAIT));
}

BOTH_WAYS(body)
