#ifndef MILLRACE_MEMORY_H
#define MILLRACE_MEMORY_H
/// What the processor offers and Swift cannot name.
#include <stdint.h>
#include <string.h>

/// Tells the processor that this is a spin loop: it saves power, and leaves the loop without a pipeline flush.
static inline void cl_pause(void) {
  __builtin_ia32_pause();
}

/// Fetches a cache line that is going to be written, without waiting for it. An address that nobody has mapped is no
/// error, and a processor that does not know the instruction does nothing. The compiler's builtin would fetch it to be
/// read.
static inline void cl_prefetch_to_write(const void *address) {
  __asm__ volatile("prefetchw %0" : : "m"(*(const char *)address));
}

/// The time stamp counter: constant rate, the same on every core of the machines that we support.
static inline uint64_t cl_cycles(void) {
  return __builtin_ia32_rdtsc();
}

/// memcpy, as a call that the compiler may expand for small constant sizes.
static inline void cl_copy(void *to, const void *from, size_t bytes) {
  __builtin_memcpy(to, from, bytes);
}

/// Brings a cache line close for reading.
static inline void cl_prefetch(const void *address) {
  __builtin_prefetch(address, 0, 3);
}

#endif
