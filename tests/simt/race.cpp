// The race detector: the hooks that g++ -fsanitize=thread puts at every memory access of a .cu, in place of the
// compiler's own runtime, and the clocks that say which accesses are ordered.
//
// For every byte of device and shared memory a cell keeps the last write and the reads since. Two accesses of different
// threads to a byte, one of them a write and not both atomic, must be ordered by
//   a barrier of the block, or of the cluster, between them,
//   __syncwarp between two lanes that both took part,
//   fence, atomic, (atomic, fence) on the other side: what CUDA calls release and acquire,
// or the program ends with both places. Shuffles and votes order nothing. The end of a kernel orders everything.
//
// Also found here: shared memory read before it is written, and kernels that touch memory of the host.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "cuda_runtime.h"
#include "executor.h"

extern "C" char __executable_start, _end;

namespace simt::race {
namespace {

// An access: (thread id + 1) << 40 | clock. 0: none.
using Access = std::uint64_t;
constexpr int kClockBits = 40;
constexpr std::uint64_t kClockMask = (std::uint64_t{1} << kClockBits) - 1;
constexpr std::uint64_t kSubMask = (std::uint64_t{1} << kSubBits) - 1;
constexpr std::uint64_t kFlag = std::uint64_t{1} << 63;  // of a write: atomic; of a read: an index into `readers`

struct Cell {
  Access write, read;
  std::uint32_t write_at, read_at;  // program counters, from the start of the program; of several reads the last
};
Cell* cells = nullptr;  // one per byte of the arena, zero until touched
std::size_t cells_used = 0;

// Reads of one byte by several threads that nothing orders. Exact for the lanes of one warp between two barriers of
// their block; of readers beyond it only that they exist.
struct Readers {
  std::uint32_t block, warp;
  std::uint64_t barriers;  // clock of the reads, without the sub-clock
  bool other_warps, other_blocks;
  std::uint32_t lanes[32];  // sub-clock of each lane's last read, 0: none
};
struct Pool {
  std::vector<Readers> items;
  std::vector<std::uint32_t> unused;
};
Pool global_readers, shared_readers;

std::unordered_map<const void*, KnownPtr> global_published, shared_published;  // by address of the atomic

std::uint32_t thread_of(Access access) { return static_cast<std::uint32_t>((access & ~kFlag) >> kClockBits) - 1; }
std::uint32_t block_of(std::uint32_t thread) { return thread / static_cast<std::uint32_t>(block->threads.size()); }
Access access_of(const Thread& thread) { return (std::uint64_t{thread.id} + 1) << kClockBits | thread.clock.now; }
bool is_shared(const void* address) {
  const auto* byte = static_cast<const char*>(address);
  const auto* shared = static_cast<const char*>(block->shared);
  return shared != nullptr && byte >= shared && byte < shared + shared_bytes;
}

void add(Known& to, const Known& from) {
  for (const auto& [thread, clock] : from.threads) to.threads[thread] = std::max(to.threads[thread], clock);
  for (const auto& [block, barriers] : from.blocks) to.blocks[block] = std::max(to.blocks[block], barriers);
}
KnownPtr joined(const KnownPtr& a, const KnownPtr& b) {
  if (a == nullptr || a == b) return b;
  if (b == nullptr) return a;
  auto both = std::make_shared<Known>(*a);
  add(*both, *b);
  return both;
}

// Gives every one of these threads what all of them together have learnt through atomics and fences.
template <class Threads>
void share_known(const Threads& threads) {
  for (KnownPtr Clock::*field : {&Clock::acquired, &Clock::pending, &Clock::released}) {
    const KnownPtr first = threads.front()->clock.*field;
    const auto equal = [&](const Thread* thread) { return thread->clock.*field == first; };
    if (std::all_of(threads.begin(), threads.end(), equal)) continue;
    auto all = std::make_shared<Known>();
    const Known* last = nullptr;
    for (const Thread* thread : threads) {
      const Known* known = (thread->clock.*field).get();
      if (known != nullptr && known != last) add(*all, *known);
      last = known;
    }
    for (Thread* thread : threads) thread->clock.*field = all;
  }
}

void advance(Clock& clock) {
  if ((++clock.now & kSubMask) == 0)
    fail("more than 2^%d warp barriers and fences between two block barriers", kSubBits);
}

bool ordered(Access before, const Thread& me) {
  const std::uint32_t thread = thread_of(before);
  if (thread == me.id) return true;
  const std::uint64_t clock = before & kClockMask;
  const std::uint32_t index = thread - (me.id - me.index);  // in the block, if it is of this block
  if (index < block->threads.size()) {
    if (clock >> kSubBits < block->barriers) return true;
    if (index / 32 == me.index / 32 && me.clock.lanes[index % 32] >= (clock & kSubMask)) return true;
  }
  const Known* known = me.clock.acquired.get();
  if (known == nullptr) return false;
  const auto by_thread = known->threads.find(thread);
  if (by_thread != known->threads.end() && by_thread->second >= clock) return true;
  const auto by_block = known->blocks.find(block_of(thread));
  return by_block != known->blocks.end() && by_block->second > clock >> kSubBits;
}

// Whether a write by `me` comes after all of these reads. Where that cannot be told, because `me` has acquired
// something by an atomic and the readers are not known one by one, it counts as ordered.
bool ordered(const Readers& readers, const Thread& me) {
  const bool unknown = me.clock.acquired != nullptr;
  if (readers.other_blocks || readers.block != block->index) return unknown;
  if (readers.barriers < block->barriers) return true;
  if (readers.other_warps || readers.warp != me.index / 32) return unknown;
  for (std::uint32_t lane = 0; lane < 32; ++lane) {
    if (lane != me.index % 32 && readers.lanes[lane] > me.clock.lanes[lane] && !unknown) return false;
  }
  return true;
}

std::string name_of(std::uint32_t thread) {
  const auto count = static_cast<std::uint32_t>(block->threads.size());
  return "block " + std::to_string(thread / count) + ", thread " + std::to_string(thread % count);
}
std::string name_of(const Readers& readers) {
  std::string text = "block " + std::to_string(readers.block) + ", warp " + std::to_string(readers.warp);
  if (readers.other_warps) text += " and other warps";
  if (readers.other_blocks) text += " and other blocks";
  return text;
}

[[noreturn]] void report(const char* what, std::size_t size, const char* address, std::uint32_t at, const char* before,
                         const std::string& whose, std::uint32_t before_at) {
  fail("race: %s of %zu bytes at %s\n  %s\n  is not ordered after the %s by %s\n  %s", what, size,
       describe_address(address).c_str(), where(&__executable_start + at - 1).c_str(), before, whose.c_str(),
       where(&__executable_start + before_at - 1).c_str());
}

void add_reader(Readers& readers, std::uint32_t block, std::uint32_t index, std::uint64_t clock) {
  readers.other_blocks |= block != readers.block;
  readers.other_warps |= index / 32 != readers.warp;
  if (readers.other_blocks || readers.other_warps) return;
  std::uint32_t& last = readers.lanes[index % 32];
  last = std::max(last, static_cast<std::uint32_t>(clock & kSubMask));
}

void forget_reads(Cell& cell, Pool& pool) {
  if (cell.read & kFlag) pool.unused.push_back(static_cast<std::uint32_t>(cell.read));
  cell.read = 0;
}

// Adds a read by `me` to a cell.
void note_read(Cell& cell, Pool& pool, const Thread& me, std::uint32_t at) {
  cell.read_at = at;
  if (cell.read & kFlag) {
    Readers& readers = pool.items[static_cast<std::uint32_t>(cell.read)];
    const bool superseded =
        !readers.other_blocks && readers.block == block->index && readers.barriers < block->barriers;
    if (!superseded) return add_reader(readers, block->index, me.index, me.clock.now);
    forget_reads(cell, pool);
  } else if (cell.read != 0 && !ordered(cell.read, me)) {
    // The first reader decides whose lanes are kept.
    std::uint32_t index = static_cast<std::uint32_t>(pool.items.size());
    if (pool.unused.empty()) {
      pool.items.emplace_back();
    } else {
      index = pool.unused.back();
      pool.unused.pop_back();
    }
    const std::uint32_t first = thread_of(cell.read), of_first = block_of(first);
    const std::uint32_t first_index = first % static_cast<std::uint32_t>(block->threads.size());
    Readers& readers = pool.items[index];
    readers = {of_first, first_index / 32, (cell.read & kClockMask) >> kSubBits, false, false, {}};
    add_reader(readers, of_first, first_index, cell.read & kClockMask);
    add_reader(readers, block->index, me.index, me.clock.now);
    cell.read = kFlag | index;
    return;
  }
  cell.read = access_of(me);
}

void check_host_access(const char* address) {
  const auto* arguments = static_cast<const char*>(current_launch->arguments);
  const auto from_builtins = reinterpret_cast<std::intptr_t>(address) - reinterpret_cast<std::intptr_t>(&threadIdx);
  const bool allowed = (address >= &__executable_start && address < &_end) ||
                       std::abs(from_builtins) < 64 ||  // blockIdx and the others lie beside threadIdx
                       (address >= arguments && address < arguments + current_launch->argument_bytes);
  if (!allowed)
    fail("a kernel touched memory that is neither device memory nor its own: %p", static_cast<const void*>(address));
}

constexpr const char* kNames[] = {"read", "write", "atomic", "atomic load"};
enum Kind { kRead, kWrite, kAtomic, kAtomicLoad };

void note(const void* memory, std::size_t size, Kind kind, const void* return_address) {
  const auto* address = static_cast<const char*>(memory);
  if (!watching || static_cast<std::size_t>(address - running->stack) < kStackBytes) return;
  const Unwatched unwatched;
  const Thread& me = *running;
  const auto offset = static_cast<std::size_t>(address - arena);
  if (offset >= kArenaBytes) return check_host_access(address);
  const auto at = static_cast<std::uint32_t>(static_cast<const char*>(return_address) - &__executable_start);
  const Access now = access_of(me);
  const bool shared = is_shared(address);
  Pool& pool = shared ? shared_readers : global_readers;
  for (std::size_t i = 0; i < size; ++i) {
    Cell& cell = cells[offset + i];
    const Access write = cell.write & ~kFlag;
    if (kind == kRead && cell.read == now) continue;
    const bool both_atomic = kind >= kAtomic && (cell.write & kFlag) != 0;
    if (write != 0 && !both_atomic && !ordered(write, me)) {
      report(kNames[kind], size, address + i, at, cell.write & kFlag ? "atomic" : "write", name_of(thread_of(write)),
             cell.write_at);
    }
    if (kind == kRead) {
      if (write == 0 && shared) {
        fail("read of %zu bytes of shared memory that nobody has written: %s\n  by %s", size,
             describe_address(address + i).c_str(), where(&__executable_start + at - 1).c_str());
      }
      note_read(cell, pool, me, at);
    }
    if (kind == kRead || kind == kAtomicLoad) continue;
    if (cell.read & kFlag) {
      const Readers& readers = pool.items[static_cast<std::uint32_t>(cell.read)];
      if (!ordered(readers, me)) report(kNames[kind], size, address + i, at, "reads", name_of(readers), cell.read_at);
    } else if (cell.read != 0 && !ordered(cell.read, me)) {
      report(kNames[kind], size, address + i, at, "read", name_of(thread_of(cell.read)), cell.read_at);
    }
    forget_reads(cell, pool);
    cell.write = now | (kind == kAtomic ? kFlag : 0);
    cell.write_at = at;
  }
}

}  // namespace

void launch_begins() {
  if (cells == nullptr) {
    void* memory = mmap(nullptr, kArenaBytes * sizeof(Cell), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail("cannot reserve addresses for the race detector");
    cells = static_cast<Cell*>(memory);
  }
  // The end of the last kernel ordered all of it.
  madvise(cells, cells_used * sizeof(Cell), MADV_DONTNEED);
  cells_used = arena_used;
  global_readers = {};
  global_published.clear();
}

void block_begins() {
  if (block->shared != nullptr) {
    const auto offset = static_cast<std::size_t>(static_cast<char*>(block->shared) - arena);
    std::memset(static_cast<void*>(cells + offset), 0, shared_bytes * sizeof(Cell));
  }
  shared_readers.items.clear();
  shared_readers.unused.clear();
  shared_published.clear();
  for (Thread& thread : block->threads) {
    thread.clock = Clock{};
    thread.clock.now = 1;
  }
}

void barrier() {
  std::vector<Thread*> all;
  for (Thread& thread : block->threads) {
    all.push_back(&thread);
    thread.clock.now = block->barriers << kSubBits | 1;
    std::fill(std::begin(thread.clock.lanes), std::end(thread.clock.lanes), 0);
  }
  share_known(all);
}

void cluster_barrier() {
  std::vector<Thread*> all;
  auto everything = std::make_shared<Known>();
  for (Block& member : blocks) {
    block = &member;
    ++member.barriers;
    barrier();
    everything->blocks[member.index] = member.barriers;
    for (Thread& thread : member.threads) all.push_back(&thread);
  }
  share_known(all);
  const KnownPtr known = joined(everything, all.front()->clock.acquired);
  for (Thread* thread : all) thread->clock.acquired = known;
}

void warp_sync(unsigned lanes, Thread* warp) {
  std::uint32_t known[32] = {};
  std::vector<Thread*> present;
  for (std::uint32_t lane = 0; lane < 32; ++lane) {
    if ((lanes >> lane & 1) == 0) continue;
    present.push_back(&warp[lane]);
    const Clock& clock = warp[lane].clock;
    for (std::uint32_t other = 0; other < 32; ++other) known[other] = std::max(known[other], clock.lanes[other]);
    known[lane] = std::max(known[lane], static_cast<std::uint32_t>(clock.now & kSubMask));
  }
  for (Thread* thread : present) {
    std::copy(std::begin(known), std::end(known), thread->clock.lanes);
    advance(thread->clock);
  }
  share_known(present);
}

void fence(Thread& thread) {
  Clock& clock = thread.clock;
  clock.acquired = joined(clock.acquired, clock.pending);
  auto now = clock.acquired == nullptr ? std::make_shared<Known>() : std::make_shared<Known>(*clock.acquired);
  const std::uint64_t barriers = clock.now >> kSubBits;
  now->blocks[block->index] = std::max(now->blocks[block->index], barriers);
  now->threads[thread.id] = clock.now;
  for (std::uint32_t lane = 0; lane < 32; ++lane) {
    const std::uint32_t other = thread.id - thread.index % 32 + lane;
    if (clock.lanes[lane] > 0) {
      now->threads[other] = std::max(now->threads[other], barriers << kSubBits | clock.lanes[lane]);
    }
  }
  clock.released = now;
  advance(clock);
}

// An atomic publishes what its thread's last fence covered, and takes up what others published here, to be known after
// the next fence.
void atomic(const void* address, std::size_t size, Kind kind, const void* at) {
  if (!watching) return;
  note(address, size, kind, at);
  const Unwatched unwatched;
  Clock& clock = running->clock;
  KnownPtr& published = (is_shared(address) ? shared_published : global_published)[address];
  clock.pending = joined(clock.pending, published);
  if (kind == kAtomic) published = joined(published, clock.released);
}

}  // namespace simt::race

// --- the compiler's hooks --------------------------------------------------------------------------------------------
extern "C" {
#define SIMT_HOOK(name, size, kind) \
  void name(void* address) { simt::race::note(address, size, simt::race::kind, __builtin_return_address(0)); }
#define SIMT_HOOKS(size)                              \
  SIMT_HOOK(__tsan_read##size, size, kRead)           \
  SIMT_HOOK(__tsan_write##size, size, kWrite)         \
  SIMT_HOOK(__tsan_unaligned_read##size, size, kRead) \
  SIMT_HOOK(__tsan_unaligned_write##size, size, kWrite)
SIMT_HOOKS(1)
SIMT_HOOKS(2)
SIMT_HOOKS(4)
SIMT_HOOKS(8)
SIMT_HOOKS(16)
void __tsan_read_range(void* address, unsigned long size) {
  simt::race::note(address, size, simt::race::kRead, __builtin_return_address(0));
}
void __tsan_write_range(void* address, unsigned long size) {
  simt::race::note(address, size, simt::race::kWrite, __builtin_return_address(0));
}
void __tsan_vptr_read(void*) {}
void __tsan_vptr_update(void*, void*) {}
void __tsan_init() {}

// The atomics of cuda_runtime.h come here as a load and a compare-exchange, relaxed; host code may bring others.
#define SIMT_ATOMIC_LOAD(bits)                                                                           \
  std::uint##bits##_t __tsan_atomic##bits##_load(const volatile void* address, int) {                    \
    simt::race::atomic(const_cast<const void*>(address), bits / 8, simt::race::kAtomicLoad,              \
                       __builtin_return_address(0));                                                     \
    return __atomic_load_n(static_cast<const volatile std::uint##bits##_t*>(address), __ATOMIC_SEQ_CST); \
  }
#define SIMT_COMPARE_EXCHANGE(bits)                                                                                   \
  bool __tsan_atomic##bits##_compare_exchange_strong(volatile void* address, void* expected,                          \
                                                     std::uint##bits##_t desired, int, int) {                         \
    simt::race::atomic(const_cast<const void*>(address), bits / 8, simt::race::kAtomic, __builtin_return_address(0)); \
    return __atomic_compare_exchange_n(static_cast<volatile std::uint##bits##_t*>(address),                           \
                                       static_cast<std::uint##bits##_t*>(expected), desired, false, __ATOMIC_SEQ_CST, \
                                       __ATOMIC_SEQ_CST);                                                             \
  }
SIMT_ATOMIC_LOAD(8)
SIMT_ATOMIC_LOAD(32)
SIMT_ATOMIC_LOAD(64)
SIMT_COMPARE_EXCHANGE(32)
SIMT_COMPARE_EXCHANGE(64)
std::uint32_t __tsan_atomic32_fetch_add(volatile void* address, std::uint32_t value, int) {
  simt::race::atomic(const_cast<const void*>(address), 4, simt::race::kAtomic, __builtin_return_address(0));
  return __atomic_fetch_add(static_cast<volatile std::uint32_t*>(address), value, __ATOMIC_SEQ_CST);
}
}
