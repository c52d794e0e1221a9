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

#define RECEIVE(result_type, name, parameters, arguments, vector_setup, message_flags, is_greedy) \
  PUBLIC result_type name parameters {                                                            \
    ENTER();                                                                                      \
    void *connection = shim_connection(fd);                                                       \
    if (LIKELY(connection == NULL)) return real.name arguments;                                   \
    vector_setup;                                                                                 \
    struct mr_call call = {.connection = connection,                                              \
                           .fd = fd,                                                              \
                           .vector = vector_of_call,                                              \
                           .vector_count = count_of_call,                                         \
                           .flags = (message_flags),                                              \
                           .greedy = (is_greedy),                                                 \
                           .file = -1};                                                           \
    CONVERSE(call, millrace_receive, real.name arguments);                                        \
    return shim_return(&call);                                                                    \
  }
#define SEND(result_type, name, parameters, arguments, vector_setup, message_flags) \
  PUBLIC result_type name parameters {                                              \
    ENTER();                                                                        \
    void *connection = shim_connection(fd);                                         \
    if (LIKELY(connection == NULL)) return real.name arguments;                     \
    vector_setup;                                                                   \
    struct mr_call call = {.connection = connection,                                \
                           .fd = fd,                                                \
                           .vector = vector_of_call,                                \
                           .vector_count = count_of_call,                           \
                           .flags = (message_flags),                                \
                           .file = -1};                                             \
    CONVERSE(call, millrace_send, real.name arguments);                             \
    return shim_return(&call);                                                      \
  }
#define OTHER(result, name, parameters)
#include "calls.def"

ALIAS(__read, read);
ALIAS(__write, write);
ALIAS(__send, send);
