#ifndef MILLRACE_VERBS_MODULE_H
#define MILLRACE_VERBS_MODULE_H
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <stdbool.h>

#include "millrace_verbs.h"

struct mrv_end {
  /// NULL when the device was let go of.
  struct rdma_cm_id *id;
  uint64_t cookie;
  struct ibv_comp_channel *channel;
  /// The channel's descriptor when the device was let go of; 0 before that.
  int husk;
  struct ibv_cq *queue;
  struct ibv_mr *out_region;
  struct ibv_mr *in_region;
  struct ibv_mr *inbox_region;
  struct mrv_memory memory;
  uint32_t largest_inline;
  /// Events of the channel that are taken and not yet acknowledged: that takes a lock, and is owed before the queue
  /// goes.
  unsigned unacknowledged;
  /// All ends of the process.
  struct mrv_end *next, *previous;
};

void module_hide(int *fd);
void module_reveal(int fd);

// lane.c: the queue pair of one lane.

int lane_prepare(struct mrv_end *end, const struct mrv_memory *memory, struct mrv_ready *ready);
void lane_destroy(struct mrv_end *end);
int lane_write(struct mrv_end *end, size_t offset, size_t bytes, uint64_t remote, uint32_t key, uint32_t word,
               int flags);
int lane_send(struct mrv_end *end, const void *message, size_t bytes, int flags);
int lane_poll(struct mrv_end *end, struct mrv_completion *completions, int most);
int lane_repost(struct mrv_end *end, const uint32_t *slots, int count);
int lane_arm(struct mrv_end *end, int solicited);
int lane_drain(struct mrv_end *end);

#endif
