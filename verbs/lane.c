/// The queue pair of one lane: memory regions, completion queue, work requests.
#include <errno.h>
#include <fcntl.h>
#include <numa.h>
#include <stdio.h>
#include <stdlib.h>

#include "module.h"

/// What is asked of a device for inline data: a small message then needs no look at the memory region.
#define WANTED_INLINE 256
#define MOST_UNACKNOWLEDGED 64

/// The NUMA node of a device, or -1.
static int node_of(struct ibv_context *context) {
  char path[IBV_SYSFS_PATH_MAX + 32];
  snprintf(path, sizeof path, "%s/device/numa_node", context->device->ibdev_path);
  FILE *file = fopen(path, "re");
  int node = -1;
  if (file == NULL) return -1;
  if (fscanf(file, "%d", &node) != 1) node = -1;
  fclose(file);
  return node;
}

static void place(struct ibv_context *context, const struct mrv_memory *memory) {
  int node = node_of(context);
  if (node < 0 || numa_available() < 0) return;
  numa_tonode_memory(memory->out, memory->ring_bytes, node);
  numa_tonode_memory(memory->in, memory->ring_bytes, node);
}

static int register_memory(struct mrv_end *end) {
  struct mrv_memory *memory = &end->memory;
  struct ibv_pd *domain = end->id->pd;
  end->out_region = ibv_reg_mr(domain, memory->out, memory->ring_bytes, 0);
  end->in_region = ibv_reg_mr(domain, memory->in, memory->ring_bytes, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
  end->inbox_region = ibv_reg_mr(domain, memory->inbox, memory->message_bytes * memory->depth, IBV_ACCESS_LOCAL_WRITE);
  if (end->out_region != NULL && end->in_region != NULL && end->inbox_region != NULL) return 0;
  return errno != 0 ? -errno : -ENOMEM;
}

static int make_channel(struct mrv_end *end) {
  end->channel = ibv_create_comp_channel(end->id->verbs);
  if (end->channel == NULL) return -errno;
  module_hide(&end->channel->fd);
  int flags = fcntl(end->channel->fd, F_GETFL);
  if (flags < 0 || fcntl(end->channel->fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
  int entries = (int)(end->memory.depth + end->memory.send_depth);
  end->queue = ibv_create_cq(end->id->verbs, entries, NULL, end->channel, 0);
  return end->queue == NULL ? (errno != 0 ? -errno : -ENOMEM) : 0;
}

static int make_queue_pair(struct mrv_end *end) {
  struct ibv_qp_init_attr attributes = {
      .send_cq = end->queue,
      .recv_cq = end->queue,
      .cap = {.max_send_wr = end->memory.send_depth,
              .max_recv_wr = end->memory.depth,
              .max_send_sge = 1,
              .max_recv_sge = 1,
              .max_inline_data = WANTED_INLINE},
      .qp_type = IBV_QPT_RC,
  };
  if (rdma_create_qp(end->id, NULL, &attributes) != 0) return -errno;
  end->largest_inline = attributes.cap.max_inline_data;
  return end->largest_inline < end->memory.message_bytes ? -EOPNOTSUPP : 0;
}

static int post_all(struct mrv_end *end) {
  uint32_t slot = 0;
  int r = 0;
  while (r == 0 && slot < end->memory.depth) {
    r = lane_repost(end, &slot, 1);
    slot++;
  }
  return r;
}

int lane_prepare(struct mrv_end *end, const struct mrv_memory *memory, struct mrv_ready *ready) {
  end->memory = *memory;
  place(end->id->verbs, memory);
  int r = make_channel(end);
  if (r == 0) r = make_queue_pair(end);
  // The queue pair has brought the device's protection domain.
  if (r == 0) r = register_memory(end);
  if (r == 0) r = post_all(end);
  if (r < 0) {
    lane_destroy(end);
    return r;
  }
  *ready = (struct mrv_ready){
      .channel = end->channel->fd, .remote_key = end->in_region->rkey, .largest_inline = end->largest_inline};
  return 0;
}

static void acknowledge(struct mrv_end *end) {
  if (end->unacknowledged > 0) ibv_ack_cq_events(end->queue, end->unacknowledged);
  end->unacknowledged = 0;
}

void lane_destroy(struct mrv_end *end) {
  if (end->id != NULL && end->id->qp != NULL) rdma_destroy_qp(end->id);
  if (end->queue != NULL) {
    acknowledge(end);
    ibv_destroy_cq(end->queue);
  }
  if (end->channel != NULL) {
    if (end->channel->fd >= 0) module_reveal(end->channel->fd);
    ibv_destroy_comp_channel(end->channel);
  }
  if (end->out_region != NULL) ibv_dereg_mr(end->out_region);
  if (end->in_region != NULL) ibv_dereg_mr(end->in_region);
  if (end->inbox_region != NULL) ibv_dereg_mr(end->inbox_region);
  end->queue = NULL;
  end->channel = NULL;
  end->out_region = end->in_region = end->inbox_region = NULL;
}

static unsigned send_flags(int flags) {
  return ((flags & MRV_SIGNALLED) != 0 ? IBV_SEND_SIGNALED : 0) |
         ((flags & MRV_SOLICITED) != 0 ? IBV_SEND_SOLICITED : 0);
}

/// What a verb has returned as 0 or -errno: a positive error number, or of old a negative one with errno. The
/// application's errno is as it was.
static int result_of(int r, int saved) {
  int result = r == 0 ? 0 : r > 0 ? -r : -errno;
  errno = saved;
  return result;
}

static int post(struct mrv_end *end, struct ibv_send_wr *request) {
  struct ibv_send_wr *bad;
  int saved = errno;
  int r = ibv_post_send(end->id->qp, request, &bad);
  return result_of(r, saved);
}

int lane_write(struct mrv_end *end, size_t offset, size_t bytes, uint64_t remote, uint32_t key, uint32_t word,
               int flags) {
  struct ibv_sge piece = {.addr = (uintptr_t)end->memory.out + offset, .length = (uint32_t)bytes};
  piece.lkey = end->out_region->lkey;
  struct ibv_send_wr request = {
      .sg_list = &piece,
      .num_sge = bytes > 0 ? 1 : 0,
      .opcode = IBV_WR_RDMA_WRITE_WITH_IMM,
      .send_flags = send_flags(flags) | (bytes > 0 && bytes <= end->largest_inline ? IBV_SEND_INLINE : 0),
      .imm_data = htobe32(word),
      .wr.rdma = {.remote_addr = remote + offset, .rkey = key},
  };
  return post(end, &request);
}

int lane_send(struct mrv_end *end, const void *message, size_t bytes, int flags) {
  struct ibv_sge piece = {.addr = (uintptr_t)message, .length = (uint32_t)bytes};
  struct ibv_send_wr request = {
      .sg_list = &piece, .num_sge = 1, .opcode = IBV_WR_SEND, .send_flags = send_flags(flags) | IBV_SEND_INLINE};
  return post(end, &request);
}

static uint32_t kind_of(const struct ibv_wc *done) {
  if (done->status != IBV_WC_SUCCESS) return MRV_FAILED;
  if (done->opcode == IBV_WC_RECV_RDMA_WITH_IMM) return MRV_WRITTEN;
  return (done->opcode & IBV_WC_RECV) != 0 ? MRV_MESSAGE : MRV_SENT;
}

int lane_poll(struct mrv_end *end, struct mrv_completion *completions, int most) {
  struct ibv_wc done[16];
  int count = ibv_poll_cq(end->queue, most < 16 ? most : 16, done);
  for (int i = 0; i < count; i++) {
    completions[i] = (struct mrv_completion){.kind = kind_of(&done[i]),
                                             .bytes = done[i].byte_len,
                                             .word = be32toh(done[i].imm_data),
                                             .slot = (uint32_t)done[i].wr_id,
                                             .status = done[i].status};
  }
  return count;
}

int lane_repost(struct mrv_end *end, const uint32_t *slots, int count) {
  for (int i = 0; i < count; i++) {
    struct ibv_sge piece = {.addr = (uintptr_t)end->memory.inbox + slots[i] * end->memory.message_bytes,
                            .length = (uint32_t)end->memory.message_bytes,
                            .lkey = end->inbox_region->lkey};
    struct ibv_recv_wr request = {.wr_id = slots[i], .sg_list = &piece, .num_sge = 1}, *bad;
    int saved = errno;
    int r = result_of(ibv_post_recv(end->id->qp, &request, &bad), saved);
    if (r < 0) return r;
  }
  return 0;
}

int lane_arm(struct mrv_end *end, int solicited) {
  int saved = errno;
  return result_of(ibv_req_notify_cq(end->queue, solicited), saved);
}

int lane_drain(struct mrv_end *end) {
  struct ibv_cq *queue;
  void *context;
  int saved = errno;
  // Armed once, the completion queue gives one event.
  int count = ibv_get_cq_event(end->channel, &queue, &context) == 0 ? 1 : 0;
  end->unacknowledged += (unsigned)count;
  if (end->unacknowledged >= MOST_UNACKNOWLEDGED) acknowledge(end);
  errno = saved;
  return count;
}
