// simt: what the executor's CUDA headers, its runtime (simt.cpp) and its race detector (race.cpp) say to each other.
// Kernels never include this; of the files in kernels/ only device.cuh may ask for SCALELAB_SIMT and
// simt::dynamic_shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>

namespace simt {

// Where a barrier or warp operation stands in the source. Its file, line and column are its identity.
using Site = std::source_location;

// --- what the CUDA headers call from within a kernel -----------------------------------------------------------------
// The block's dynamic shared memory; ends the program with a report when the launch gave it fewer than `bytes`.
void* dynamic_shared(std::size_t bytes);
template <class T>
T* dynamic_shared() {
  return static_cast<T*>(dynamic_shared(sizeof(T)));
}

// Every thread of the block meets here; returns for how many of them `predicate` holds.
int block_barrier(const char* name, bool predicate, Site site);

// Every thread of the cluster meets here.
void cluster_barrier(Site site = Site::current());

// What the lanes named in `mask` brought to one warp operation. Lanes beyond the block's end are absent.
struct Gathered {
  unsigned present = 0;
  std::uint64_t value[32];
};
// All lanes of `mask` meet at one operation; `orders_memory` is true for __syncwarp alone.
Gathered warp_gather(const char* name, unsigned mask, std::uint64_t value, bool orders_memory, Site site);

void fence();         // __threadfence
void atomic_point();  // before each atomic: other threads may run first
unsigned lane();      // of the running thread, in its warp

// Ends the program: prints the running kernel, block and thread, then the message.
[[noreturn, gnu::format(printf, 1, 2)]] void fail(const char* format, ...);

// --- what the CUDA headers call from the host ------------------------------------------------------------------------
struct Launch {
  unsigned grid[3], block[3];
  std::size_t shared_bytes;
  const void* kernel;  // its address, to name it in reports
  void (*body)(void* arguments);
  void* arguments;
  std::size_t argument_bytes;
  unsigned cluster = 1;  // blocks of a cluster, along x
  bool cooperative = false;
  std::size_t resident = 1;  // blocks the pretended device holds at a time; with `cooperative`
};
int launch(const Launch& launch);  // a cudaError_t
void allow_shared_bytes(const void* kernel, std::size_t bytes);

void* allocate(std::size_t bytes);  // null when the pretended device has not enough memory left
bool release(void* memory);         // false: not the start of a live allocation
// Whether [memory, memory + bytes) lies in one live allocation; and whether `memory` is device memory at all.
bool holds(const void* memory, std::size_t bytes);
bool is_device(const void* memory);
std::size_t memory_free();
std::size_t memory_total();

// Device memory can be touched only while one of these lives, or a kernel runs.
struct DeviceAccess {
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) : DeviceAccess() {}
};

}  // namespace simt
