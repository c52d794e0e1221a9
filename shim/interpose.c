/// The regular entries, generated from calls.def: is this descriptor ours? No: libc at once. Yes: the Swift entry.
#include "real.h"

struct real_calls real;
void *mr_table[MR_TABLE_SIZE];

#define ONE(pointer, bytes)                        \
  struct iovec one = {(void *)(pointer), (bytes)}; \
  const struct iovec *vector_of_call = &one;       \
  size_t count_of_call = 1
/// A fortified twin whose check fails is libc's to report, with its own message and abort.
#define CHECKED(pointer, bytes, size) ONE(pointer, (bytes) <= (size) ? (bytes) : 0)
#define MANY(pointer, count)                      \
  const struct iovec *vector_of_call = (pointer); \
  size_t count_of_call = (size_t)(count)

/// An entry is as short as it can be for descriptors that are left alone: a look at the table and a jump to libc. What
/// comes before our constructor, and what is ours, goes on in a function of its own, so that its frame is not the
/// entry's. Nothing is in the table before start-up is through.
#define AND_CONNECTION(...) (__VA_ARGS__, void *connection)
#define ON_CONNECTION(...) (__VA_ARGS__, connection)

#define ENTRY(result_type, name, parameters, arguments)                               \
  static NOINLINE result_type name##_on_connection AND_CONNECTION parameters;         \
  PUBLIC result_type name parameters {                                                \
    void *connection = shim_connection(fd);                                           \
    if (LIKELY(connection == NULL) && LIKELY(shim_ready)) return real.name arguments; \
    return name##_on_connection ON_CONNECTION arguments;                              \
  }                                                                                   \
  static NOINLINE result_type name##_on_connection AND_CONNECTION parameters {        \
    ENTER();                                                                          \
    if (connection == NULL) return real.name arguments;

#define RECEIVE(result_type, name, parameters, arguments, vector_setup, message_flags, is_greedy) \
  ENTRY(result_type, name, parameters, arguments)                                                 \
  vector_setup;                                                                                   \
  struct mr_call call = {.connection = connection,                                                \
                         .fd = fd,                                                                \
                         .vector = vector_of_call,                                                \
                         .vector_count = count_of_call,                                           \
                         .flags = (message_flags),                                                \
                         .greedy = (is_greedy),                                                   \
                         .file = -1};                                                             \
  CONVERSE(call, millrace_receive, real.name arguments);                                          \
  return shim_return(&call);                                                                      \
  }
#define SEND(result_type, name, parameters, arguments, vector_setup, message_flags) \
  ENTRY(result_type, name, parameters, arguments)                                   \
  vector_setup;                                                                     \
  struct mr_call call = {.connection = connection,                                  \
                         .fd = fd,                                                  \
                         .vector = vector_of_call,                                  \
                         .vector_count = count_of_call,                             \
                         .flags = (message_flags),                                  \
                         .file = -1};                                               \
  CONVERSE(call, millrace_send, real.name arguments);                               \
  return shim_return(&call);                                                        \
  }
#define OTHER(result, name, parameters)
#include "calls.def"

ALIAS(__read, read);
ALIAS(__write, write);
ALIAS(__send, send);
