// The executor's own state, shared by simt.cpp (fibers, scheduling, memory) and race.cpp (who is ordered after whom).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "simt.h"

namespace simt {

// What a thread knows of others beyond its barriers, learnt through a fence, an atomic and a fence.
struct Known {
  std::map<std::uint32_t, std::uint64_t> threads;  // every access of this thread up to this clock
  std::map<std::uint32_t, std::uint64_t> blocks;   // every access in this block before this many of its barriers
};
using KnownPtr = std::shared_ptr<const Known>;

// A thread's clock is (barriers its block has passed) << kSubBits | (its own releases since, from 1).
inline constexpr int kSubBits = 20;
struct Clock {
  std::uint64_t now = 0;
  std::uint32_t lanes[32] = {};  // per lane of the own warp: releases since the barrier that this thread knows of
  KnownPtr acquired;             // known
  KnownPtr pending;              // read by an atomic; known after the next fence
  KnownPtr released;             // what atomics publish: what was known at the last fence
};

inline constexpr std::size_t kStackBytes = std::size_t{256} << 10;
struct Thread {
  std::uint32_t id = 0;     // in the launch: block * threads per block + index
  std::uint32_t index = 0;  // in the block
  std::uint32_t fiber = 0;
  unsigned coordinates[3] = {};
  const char* stack = nullptr;  // lowest address of kStackBytes
  enum State { kReady, kAtBarrier, kAtClusterBarrier, kAtWarp, kExited } state = kReady;
  const char* waits_at = nullptr;  // the operation, unless kReady or kExited
  Site site;
  unsigned mask = 0;
  std::uint64_t value = 0;
  bool orders_memory = false;
  Gathered gathered;
  Clock clock;
};

// The running thread; null in host code.
extern __thread Thread* running;
// Whether the race detector looks at memory accesses: in a kernel's own code, not in the executor's. The linker may
// give the executor templates of the standard library that were compiled, with hooks, for a .cu.
extern __thread bool watching;
struct Unwatched {
  Unwatched() { watching = false; }
  ~Unwatched() { watching = running != nullptr; }
};

struct Block {
  std::uint32_t index = 0;
  std::span<Thread> threads;
  void* shared = nullptr;      // its shared memory, of shared_bytes
  std::uint64_t barriers = 0;  // passed so far
  std::uint32_t arrived = 0;   // threads at the barrier under way
  int barrier_count = 0;       // predicates brought so far to the barrier under way
  int barrier_result = 0;      // of the last complete one
};
// The blocks that run at the same time: the blocks of a cluster, all of a cooperative launch, otherwise one.
extern std::vector<Block> blocks;
extern Block* block;  // the running thread's, or the last one's
extern std::size_t shared_bytes;
extern const Launch* current_launch;

// One range of addresses holds all device and shared memory.
inline constexpr std::size_t kArenaBytes = std::size_t{1} << 38;
extern char* arena;
extern std::size_t arena_used;

std::string where(const void* program_counter);  // "file:line, function"
std::string describe_address(const void* address);

// The race detector's share of each event; empty in builds without one.
namespace race {
#ifdef SIMT_RACE
void launch_begins();
void block_begins();
void barrier();          // all threads of `block` have arrived
void cluster_barrier();  // all threads of `blocks` have
void warp_sync(unsigned lanes, Thread* warp);
void fence(Thread& thread);
#else
inline void launch_begins() {}
inline void block_begins() {}
inline void barrier() {}
inline void cluster_barrier() {}
inline void warp_sync(unsigned, Thread*) {}
inline void fence(Thread&) {}
#endif
}  // namespace race
}  // namespace simt
