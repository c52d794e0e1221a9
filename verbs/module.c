/// The fabric module: the table of millrace_verbs.h over librdmacm and libibverbs. No policy.
#include "module.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct rdma_event_channel *events;
/// The devices that librdmacm has open. A device that is removed stays in the kernel until every process has closed it,
/// and only an identifier that is bound to it hears of that: so each has one of its own for this.
static struct device {
  struct ibv_context *context;
  struct rdma_cm_id *guard;
  bool is_removed;
} devices[16];
static size_t device_count;
static struct mrv_end *ends;
static int (*hide)(int fd);
static void (*reveal)(int fd);
static void (*empty)(int fd);
static void (*unloading)(void);

/// Moves a descriptor of a library's out of the application's way.
void module_hide(int *fd) {
  *fd = hide(*fd);
}

void module_reveal(int fd) {
  reveal(fd);
}

/// An identifier that is bound to the device of another, and nothing else.
static struct rdma_cm_id *make_guard(struct rdma_cm_id *id) {
  struct sockaddr_storage own = {0};
  struct rdma_cm_id *guard;
  const struct sockaddr *address = rdma_get_local_addr(id);
  bool is_v4 = address->sa_family == AF_INET;
  memcpy(&own, address, is_v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
  // The port has the same place in both.
  ((struct sockaddr_in *)&own)->sin_port = 0;
  if (rdma_create_id(events, &guard, NULL, RDMA_PS_TCP) != 0) return NULL;
  if (rdma_bind_addr(guard, (struct sockaddr *)&own) == 0 && guard->verbs == id->verbs) return guard;
  rdma_destroy_id(guard);
  return NULL;
}

/// Notes a device: librdmacm opens it when an address leads to it first.
static void note_device(struct rdma_cm_id *id) {
  struct ibv_context *context = id->verbs;
  if (context == NULL || device_count == sizeof devices / sizeof *devices) return;
  for (size_t i = 0; i < device_count; i++) {
    if (devices[i].context == context) return;
  }
  module_hide(&context->cmd_fd);
  module_hide(&context->async_fd);
  devices[device_count++] = (struct device){.context = context, .guard = make_guard(id)};
}

static bool is_used(const struct ibv_context *context) {
  for (const struct mrv_end *end = ends; end != NULL; end = end->next) {
    if (end->id != NULL && end->id->verbs == context) return true;
  }
  return false;
}

/// Closes a descriptor of a library's that is hidden: close(2) would be refused it, as it is to the application.
static void close_hidden(int *fd) {
  module_reveal(*fd);
  close(*fd);
  *fd = -1;
}

/// Lets go of removed devices that no end uses any more. librdmacm itself closes a device only when it looks for
/// another one and finds this one missing, and never the last one of a host: so it is left a device without
/// descriptors.
static void release_devices(void) {
  for (size_t i = device_count; i-- > 0;) {
    if (!devices[i].is_removed || is_used(devices[i].context)) continue;
    close_hidden(&devices[i].context->cmd_fd);
    close_hidden(&devices[i].context->async_fd);
    devices[i] = devices[--device_count];
  }
}

/// Whether an event is about a device only.
static bool is_guards(const struct rdma_cm_event *event) {
  for (size_t i = 0; i < device_count; i++) {
    if (devices[i].guard == event->id && event->event == RDMA_CM_EVENT_DEVICE_REMOVAL) devices[i].is_removed = true;
    if (devices[i].guard == event->id) return true;
  }
  return false;
}

/// The guards of removed devices go once their event is acknowledged.
static void dismiss_guards(void) {
  for (size_t i = 0; i < device_count; i++) {
    if (!devices[i].is_removed || devices[i].guard == NULL) continue;
    rdma_destroy_id(devices[i].guard);
    devices[i].guard = NULL;
  }
  release_devices();
}

static int set_nonblocking(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

/// This module goes before the libraries that it needs.
__attribute__((destructor)) static void unload(void) {
  if (unloading != NULL) unloading();
}

static int module_open(int (*hider)(int fd), void (*revealer)(int fd), void (*emptier)(int fd),
                       void (*unloader)(void)) {
  hide = hider;
  reveal = revealer;
  empty = emptier;
  unloading = unloader;
  if (events != NULL) return events->fd;
  events = rdma_create_event_channel();
  if (events == NULL) return errno != 0 ? -errno : -ENODEV;
  module_hide(&events->fd);
  int r = set_nonblocking(events->fd);
  return r < 0 ? r : events->fd;
}

static struct mrv_end *new_end(struct rdma_cm_id *id, uint64_t cookie) {
  struct mrv_end *end = calloc(1, sizeof *end);
  if (end == NULL) return NULL;
  end->id = id;
  end->cookie = cookie;
  id->context = end;
  end->next = ends;
  if (ends != NULL) ends->previous = end;
  ends = end;
  return end;
}

static void free_end(struct mrv_end *end) {
  if (end->id != NULL) rdma_destroy_id(end->id);
  if (end->next != NULL) end->next->previous = end->previous;
  *(end->previous != NULL ? &end->previous->next : &ends) = end->next;
  free(end);
}

static int create(uint64_t cookie, struct mrv_end **end) {
  struct rdma_cm_id *id;
  if (rdma_create_id(events, &id, NULL, RDMA_PS_TCP) != 0) return -errno;
  *end = new_end(id, cookie);
  if (*end != NULL) return 0;
  rdma_destroy_id(id);
  return -ENOMEM;
}

static int module_listen(const struct sockaddr *own, uint64_t cookie, struct mrv_end **end) {
  int r = create(cookie, end);
  if (r < 0) return r;
  if (rdma_bind_addr((*end)->id, (struct sockaddr *)own) == 0 && rdma_listen((*end)->id, 4) == 0) return 0;
  r = -errno;
  free_end(*end);
  return r;
}

static int module_call(const struct sockaddr *own, const struct sockaddr *peer, uint64_t cookie, int milliseconds,
                       struct mrv_end **end) {
  int r = create(cookie, end);
  if (r < 0) return r;
  if (rdma_resolve_addr((*end)->id, (struct sockaddr *)own, (struct sockaddr *)peer, milliseconds) == 0) return 0;
  r = -errno;
  free_end(*end);
  return r;
}

static int module_resolve_route(struct mrv_end *end, int milliseconds) {
  return rdma_resolve_route(end->id, milliseconds) == 0 ? 0 : -errno;
}

static int kind_of(enum rdma_cm_event_type type) {
  switch (type) {
    case RDMA_CM_EVENT_ADDR_RESOLVED: return MRV_ADDRESS;
    case RDMA_CM_EVENT_ROUTE_RESOLVED: return MRV_ROUTE;
    case RDMA_CM_EVENT_CONNECT_REQUEST: return MRV_REQUEST;
    case RDMA_CM_EVENT_ESTABLISHED: return MRV_ESTABLISHED;
    case RDMA_CM_EVENT_REJECTED: return MRV_REJECTED;
    case RDMA_CM_EVENT_ADDR_ERROR:
    case RDMA_CM_EVENT_ROUTE_ERROR:
    case RDMA_CM_EVENT_CONNECT_ERROR:
    case RDMA_CM_EVENT_UNREACHABLE: return MRV_UNREACHABLE;
    case RDMA_CM_EVENT_DISCONNECTED: return MRV_DISCONNECTED;
    case RDMA_CM_EVENT_DEVICE_REMOVAL: return MRV_REMOVED;
    default: return 0;
  }
}

static int module_next_event(struct mrv_event *event) {
  struct rdma_cm_event *raw;
  if (rdma_get_cm_event(events, &raw) != 0) return errno == EAGAIN ? 0 : -errno;
  memset(event, 0, sizeof *event);
  if (is_guards(raw)) {
    rdma_ack_cm_event(raw);
    dismiss_guards();
    return 1;
  }
  event->kind = kind_of(raw->event);
  event->status = raw->status;
  const void *data = raw->param.conn.private_data;
  size_t bytes = raw->param.conn.private_data_len;
  bool has_data = event->kind == MRV_REQUEST || event->kind == MRV_ESTABLISHED || event->kind == MRV_REJECTED;
  if (has_data && data != NULL) {
    if (bytes > sizeof event->data) bytes = sizeof event->data;
    memcpy(event->data, data, bytes);
    event->data_length = (uint32_t)bytes;
  }
  if (event->kind == MRV_REQUEST) {
    // The new identifier has inherited its listener's context.
    event->cookie = ((struct mrv_end *)raw->listen_id->context)->cookie;
    event->end = new_end(raw->id, 0);
  } else {
    event->end = raw->id->context;
    event->cookie = event->end->cookie;
  }
  note_device(raw->id);
  struct rdma_cm_id *orphan = event->end == NULL ? raw->id : NULL;
  rdma_ack_cm_event(raw);
  if (orphan != NULL) {
    rdma_destroy_id(orphan);
    event->kind = 0;
  }
  return 1;
}

static int module_connect(struct mrv_end *end, const void *data, size_t bytes) {
  struct rdma_conn_param parameters = {
      .private_data = data, .private_data_len = (uint8_t)bytes, .retry_count = 7, .rnr_retry_count = 7};
  return rdma_connect(end->id, &parameters) == 0 ? 0 : -errno;
}

static int module_accept(struct mrv_end *end, uint64_t cookie, const void *data, size_t bytes) {
  struct rdma_conn_param parameters = {
      .private_data = data, .private_data_len = (uint8_t)bytes, .retry_count = 7, .rnr_retry_count = 7};
  end->cookie = cookie;
  return rdma_accept(end->id, &parameters) == 0 ? 0 : -errno;
}

static int module_reject(struct mrv_end *end, const void *data, size_t bytes) {
  return rdma_reject(end->id, data, (uint8_t)bytes) == 0 ? 0 : -errno;
}

static void module_disconnect(struct mrv_end *end) {
  if (end->id != NULL) rdma_disconnect(end->id);
}

static void module_destroy(struct mrv_end *end) {
  lane_destroy(end);
  if (end->husk > 0) close_hidden(&end->husk);
  free_end(end);
  release_devices();
}

/// The number of the channel stays taken: threads and sets may know it still.
static void module_release(struct mrv_end *end) {
  if (end->id == NULL) return;
  if (end->channel != NULL) {
    end->husk = end->channel->fd;
    empty(end->husk);
    end->channel->fd = -1;
  }
  lane_destroy(end);
  rdma_destroy_id(end->id);
  end->id = NULL;
  release_devices();
}

static void replace(int fd) {
  empty(fd);
  module_reveal(fd);
}

static void module_forget(void) {
  unloading = NULL;
  for (struct mrv_end *end = ends; end != NULL; end = end->next) {
    if (end->channel != NULL) replace(end->channel->fd);
    if (end->husk > 0) module_reveal(end->husk);
  }
  for (size_t i = 0; i < device_count; i++) {
    replace(devices[i].context->cmd_fd);
    replace(devices[i].context->async_fd);
  }
  if (events != NULL) replace(events->fd);
}

const struct mrv_table *millrace_verbs(void) {
  static const struct mrv_table table = {
      .version = MRV_VERSION,
      .open = module_open,
      .next_event = module_next_event,
      .listen = module_listen,
      .call = module_call,
      .resolve_route = module_resolve_route,
      .prepare = lane_prepare,
      .connect = module_connect,
      .accept = module_accept,
      .reject = module_reject,
      .disconnect = module_disconnect,
      .destroy = module_destroy,
      .release = module_release,
      .forget = module_forget,
      .write = lane_write,
      .send = lane_send,
      .poll = lane_poll,
      .repost = lane_repost,
      .arm = lane_arm,
      .drain = lane_drain,
  };
  return &table;
}
