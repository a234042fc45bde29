// The race detector (PTX_RACE=1): which accesses of different threads are ordered, and which are not.
//
// For every word of global and shared memory (every byte where bytes are accessed) a cell keeps the last write and the
// reads since. Two accesses of different threads, one of them a write and not both atomic, must be ordered by
//   a barrier of the block or of the cluster between them,
//   bar.warp.sync between two lanes that both took part,
//   fence, atomic, (atomic, fence) on the other side: what CUDA calls release and acquire; volatile counts as atomic,
// or the process ends with both places. Shuffles, votes and mma order nothing. The end of a kernel orders everything.
//
// One clock ticks at every such event, for all threads: launches run on one thread here. A barrier then orders all
// accesses of its block with an earlier stamp, and a launch all of the launches before it.
#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "tests/ptx/lanes.h"

namespace ptx {

// What a thread knows of others beyond its barriers: accesses with earlier stamps than these.
using Stamps = std::map<u32, u32>;
struct race::Known {
  Stamps threads, blocks;
};
struct race::Thread {
  KnownPtr acquired;  // known
  KnownPtr pending;   // read by an atomic; known after the next fence
  KnownPtr released;  // what atomics publish: what was known at the last fence
};

namespace race {
namespace {

struct Reads {   // of one word, of equal rank: by lanes of a warp; with no lanes: by several warps of a block
  u32 warp = 0;  // 1 + the number of the (first) warp in the launch; 0: none
  Mask lanes = 0;
  u32 stamp = 0, at = 0;  // of the last; its instruction
};
}  // namespace

struct Cell {
  u32 writer = 0;  // 1 + the number of the thread in the launch; 0: none; kSplit: see cells of bytes
  u32 stamp = 0, at = 0;
  u32 more = 0;  // 1 + index of the list that holds the reads in the place of `reads`; kSplit: of the bytes
  Reads reads;
};

namespace {

constexpr u32 kSplit = 0xffffffff, kAtomic = 0x80000000, kAnyBlock = 0xffffffff;
constexpr std::size_t kMostLists = 64;  // blocks told apart among the readers of one word

u32 now = 1, launch_start = 1;
u32 threads_in_block = 1, warps_in_block = 1;
Cell* global_cells = nullptr;
std::vector<std::array<Cell, 4>> bytes_of_words;
std::vector<std::vector<Reads>> lists;
std::vector<u32> unused_lists;
std::unordered_map<u64, KnownPtr> published;  // by address of the atomic

enum Kind { kRead, kWrite, kAtomicLoad, kAtomicStore, kUpdate };
const char* const kNames[] = {"read", "write", "atomic load", "atomic store", "atomic"};

struct Me {
  Warp& warp;
  const Inst& inst;
  int lane;
  u32 thread;  // in the launch
  u32 floor;   // stamps before it are of other launches, or of blocks that had this shared memory before
  BlockClock& block;
  const Known* known;
  bool shared;
};

KnownPtr joined(const KnownPtr& a, const KnownPtr& b) {
  if (a == nullptr || a == b) return b;
  if (b == nullptr) return a;
  auto both = std::make_shared<Known>(*a);
  for (const auto& [thread, stamp] : b->threads) both->threads[thread] = std::max(both->threads[thread], stamp);
  for (const auto& [block, stamp] : b->blocks) both->blocks[block] = std::max(both->blocks[block], stamp);
  return both;
}
bool knows(const Me& me, Stamps Known::*of, u32 whom, u32 stamp) {
  if (me.known == nullptr) return false;
  const auto found = (me.known->*of).find(whom);
  return found != (me.known->*of).end() && stamp < found->second;
}
bool by_barriers(const Me& me, u32 block, u32 stamp) {
  if (block == me.warp.block->linear) return stamp < me.block.barrier;
  return block / me.block.together == me.warp.block->linear / me.block.together && stamp < me.block.cluster;
}
bool by_lane(const Me& me, int lane, u32 stamp) {
  const WarpClock& clock = me.block.warps[me.warp.index];
  return lane == me.lane || stamp < std::max(clock.all, clock.known[me.lane][lane]);
}

// Whether the access of `thread` comes before the one under way.
bool ordered(const Me& me, u32 thread, u32 stamp) {
  if (stamp < me.floor || thread == me.thread) return true;
  const u32 block = thread / threads_in_block, index = thread % threads_in_block;
  if (by_barriers(me, block, stamp)) return true;
  if (block == me.warp.block->linear && static_cast<int>(index / kLanes) == me.warp.index &&
      by_lane(me, static_cast<int>(index % kLanes), stamp))
    return true;
  return knows(me, &Known::threads, thread, stamp) || knows(me, &Known::blocks, block, stamp);
}
// The same of all of these reads. Of those not told apart by warp or block, whoever has acquired something is believed.
bool ordered(const Me& me, const Reads& reads) {
  if (reads.warp == 0 || reads.stamp < me.floor) return true;
  if (reads.warp == kAnyBlock) return me.known != nullptr;
  const u32 block = (reads.warp - 1) / warps_in_block, warp = (reads.warp - 1) % warps_in_block;
  if (by_barriers(me, block, reads.stamp) || knows(me, &Known::blocks, block, reads.stamp)) return true;
  if (reads.lanes == 0) return block == me.warp.block->linear && me.known != nullptr;
  const bool own = block == me.warp.block->linear && static_cast<int>(warp) == me.warp.index;
  bool all = true;
  for_lanes(reads.lanes, [&](int lane) {
    const u32 thread = block * threads_in_block + warp * kLanes + static_cast<u32>(lane);
    all &= (own && by_lane(me, lane, reads.stamp)) || knows(me, &Known::threads, thread, reads.stamp);
  });
  return all;
}

std::string name_of(u32 thread) {
  return fmt::format("block {}, thread {}", thread / threads_in_block, thread % threads_in_block);
}
std::string name_of(const Reads& reads) {
  if (reads.warp == kAnyBlock) return "many blocks";
  const u32 block = (reads.warp - 1) / warps_in_block, warp = (reads.warp - 1) % warps_in_block;
  if (reads.lanes == 0) return fmt::format("block {}, several warps", block);
  return fmt::format("block {}, warp {}, lane {}", block, warp, std::countr_zero(reads.lanes));
}
[[noreturn]] void report(const Me& me, Kind kind, u64 address, const std::string& whose, u32 at) {
  const Kernel& kernel = *me.warp.launch->kernel;
  fault(me.warp, me.inst, Mask{1} << me.lane,
        fmt::format("race: {} at {}\n  is not ordered after the access by {}\n  at {}", kNames[kind],
                    me.shared ? fmt::format("shared memory, offset {}", address) : memory::describe(address), whose,
                    place_of(kernel, kernel.code[at & ~kAtomic])));
}

std::span<Reads> reads_of(Cell& cell) {
  return cell.more != 0 ? std::span(lists[cell.more - 1]) : std::span(&cell.reads, 1);
}
void forget(Cell& cell) {
  if (cell.more != 0) {
    lists[cell.more - 1].clear();
    unused_lists.push_back(cell.more - 1);
  }
  cell.more = 0;
  cell.reads = {};
}

// Adds the read under way to reads that it need not follow; whether they could take it.
bool add(Reads& reads, const Me& me, const Reads& mine) {
  if (reads.warp == kAnyBlock) {
    reads.stamp = now;
    return true;
  }
  if ((reads.warp - 1) / warps_in_block != me.warp.block->linear) return false;
  reads.lanes = reads.warp == mine.warp && reads.lanes != 0 ? reads.lanes | mine.lanes : 0;
  reads.stamp = now;
  reads.at = mine.at;
  return true;
}
void note_read(Cell& cell, const Me& me, u32 at) {
  const Reads mine{me.warp.block->linear * warps_in_block + static_cast<u32>(me.warp.index) + 1, Mask{1} << me.lane,
                   now, at};
  if (cell.more == 0) {
    Reads& reads = cell.reads;
    if (reads.stamp == now && reads.warp == mine.warp && reads.lanes != 0) {
      reads.lanes |= mine.lanes;
    } else if (ordered(me, reads)) {
      reads = mine;
    } else if (!add(reads, me, mine)) {
      if (unused_lists.empty()) {
        unused_lists.push_back(static_cast<u32>(lists.size()));
        lists.emplace_back();
      }
      cell.more = unused_lists.back() + 1;
      unused_lists.pop_back();
      lists[cell.more - 1] = {reads, mine};
    }
    return;
  }
  std::vector<Reads>& list = lists[cell.more - 1];
  std::erase_if(list, [&](const Reads& reads) { return ordered(me, reads); });
  for (Reads& reads : list) {
    if (add(reads, me, mine)) return;
  }
  list.push_back(mine);
  if (list.size() > kMostLists) list = {{kAnyBlock, 0, now, at}};
}

void note(Cell& cell, const Me& me, Kind kind, u64 address, u32 at) {
  const bool written = cell.writer != 0 && cell.stamp >= me.floor;
  const bool both_atomic = kind >= kAtomicLoad && (cell.at & kAtomic) != 0;
  if (written && !both_atomic && !ordered(me, cell.writer - 1, cell.stamp))
    report(me, kind, address, name_of(cell.writer - 1), cell.at);
  if (kind == kRead) {
    if (!written && me.shared)
      fault(me.warp, me.inst, Mask{1} << me.lane,
            "reads shared memory that nobody has written: offset " + std::to_string(address));
    return note_read(cell, me, at);
  }
  if (kind == kAtomicLoad) return;
  for (const Reads& reads : reads_of(cell)) {
    if (!ordered(me, reads)) report(me, kind, address, name_of(reads), reads.at);
  }
  forget(cell);
  cell.writer = me.thread + 1;
  cell.stamp = now;
  cell.at = at | (kind >= kAtomicLoad ? kAtomic : 0);
}

void split(Cell& cell) {
  std::array<Cell, 4> bytes;
  bytes.fill(cell);
  for (int i = 1; i < 4 && cell.more != 0; ++i) {  // each byte has its own list of reads
    lists.push_back(std::vector<Reads>(lists[cell.more - 1]));
    bytes[static_cast<std::size_t>(i)].more = static_cast<u32>(lists.size());
  }
  bytes_of_words.push_back(bytes);
  cell = {};
  cell.writer = kSplit;
  cell.more = static_cast<u32>(bytes_of_words.size() - 1);
}

// Gives all of these threads what any of them has learnt by atomics and fences.
template <class Threads>
void share(const Threads& threads) {
  for (KnownPtr Thread::*field : {&Thread::acquired, &Thread::pending, &Thread::released}) {
    KnownPtr all;
    for (Thread* thread : threads) {
      if (thread->*field != nullptr) all = joined(all, thread->*field);
    }
    for (Thread* thread : threads) thread->*field = all;
  }
}
// The thread's knowledge; room for it is made when the first of its block needs some.
Thread& thread_of(Block& block, u32 index) {
  BlockClock& clock = *block.clock;
  if (clock.threads.empty()) clock.threads.resize(threads_in_block);
  return clock.threads[index];
}

void tick() {
  if (++now == kSplit) die("the race detector's clock has run out");
}

void fence(Warp& warp, int lane) {
  Block& block = *warp.block;
  const auto index = static_cast<u32>(warp.index * kLanes + lane), first = block.linear * threads_in_block;
  Thread& thread = thread_of(block, index);
  thread.acquired = joined(thread.acquired, thread.pending);
  auto released = thread.acquired == nullptr ? std::make_shared<Known>() : std::make_shared<Known>(*thread.acquired);
  const BlockClock& clock = *block.clock;
  auto& of_block = released->blocks[block.linear];
  of_block = std::max(of_block, clock.barrier);
  const WarpClock& lanes = clock.warps[warp.index];
  for (u32 other = 0; other < kLanes; ++other) {
    const u32 stamp = other == static_cast<u32>(lane) ? now + 1 : std::max(lanes.all, lanes.known[lane][other]);
    if (stamp <= clock.barrier) continue;
    auto& of_thread = released->threads[first + static_cast<u32>(warp.index * kLanes + other)];
    of_thread = std::max(of_thread, stamp);
  }
  thread.released = released;
}

}  // namespace

bool on() {
  static const bool is = is_on("PTX_RACE");
  return is;
}

void launch_begins(const Launch& launch) {
  if (launch.grid.size() * launch.block.size() >= kSplit)
    die("a launch of 2^32 threads is too large for the race detector");
  static const Pages memory = pages_of(kArenaBytes / 4 * sizeof(Cell));
  global_cells = reinterpret_cast<Cell*>(memory.get());
  tick();
  launch_start = now;
  threads_in_block = static_cast<u32>(launch.block.size());
  warps_in_block = (threads_in_block + kLanes - 1) / kLanes;
  published.clear();
}

void block_begins(Block& block, const Launch& launch, u32 together) {
  if (block.clock == nullptr) block.clock = std::make_shared<BlockClock>();
  BlockClock& clock = *block.clock;
  tick();
  clock.start = clock.barrier = now;
  clock.cluster = 0;
  clock.together = together;
  clock.warps.resize(block.warps.size());
  for (WarpClock& warp : clock.warps) warp = {};
  clock.threads.clear();
  clock.published.clear();
  clock.shared.resize(launch.shared_bytes / 4 + 1);
}

void cluster_barrier(const std::vector<Block*>& blocks) {
  for (Block* block : blocks) block->clock->cluster = now + 1;
  barrier(blocks);
}
void barrier(const std::vector<Block*>& blocks) {
  tick();
  std::vector<Thread*> all;
  for (Block* block : blocks) block->clock->barrier = now;
  if (std::all_of(blocks.begin(), blocks.end(), [](Block* block) { return block->clock->threads.empty(); })) return;
  for (Block* block : blocks) {
    thread_of(*block, 0);
    for (Thread& thread : block->clock->threads) all.push_back(&thread);
  }
  share(all);
}

void warp_sync(Warp& warp, Mask lanes) {
  WarpClock& clock = warp.block->clock->warps[warp.index];
  tick();
  if (lanes == (warp.exists & ~warp.exited)) {
    clock.all = now;
  } else {
    std::array<u32, kLanes> known{};
    for_lanes(lanes, [&](int l) {
      for (int other = 0; other < kLanes; ++other) known[other] = std::max(known[other], clock.known[l][other]);
    });
    for_lanes(lanes, [&](int l) { known[l] = now; });
    for_lanes(lanes, [&](int l) { clock.known[l] = known; });
  }
  if (warp.block->clock->threads.empty()) return;
  std::vector<Thread*> present;
  for_lanes(lanes, [&](int l) { present.push_back(&thread_of(*warp.block, warp.index * kLanes + l)); });
  share(present);
}

void fence(Warp& warp, Mask lanes) {
  for_lanes(lanes, [&](int l) { fence(warp, l); });
  tick();
}

// An atomic publishes what its thread's last fence covered, and takes up what others published here, to be known after
// the next fence.
void publish(Warp& warp, int lane, bool shared, u64 address, bool reads, bool writes) {
  auto& of_space = shared ? warp.block->clock->published : published;
  const auto found = of_space.find(address);
  const auto index = static_cast<u32>(warp.index * kLanes + lane);
  if (warp.block->clock->threads.empty() && found == of_space.end()) return;
  Thread& thread = thread_of(*warp.block, index);
  if (reads && found != of_space.end()) thread.pending = joined(thread.pending, found->second);
  if (writes && !reads) of_space[address] = thread.released;
  if (writes && reads && thread.released != nullptr) of_space[address] = joined(of_space[address], thread.released);
}

void note(Warp& warp, const Inst& inst, Mask lanes, Space space, const u64* addresses, bool reads, bool writes) {
  if (space != Space::global && space != Space::shared) return;
  const bool shared = space == Space::shared, atomic = (reads && writes) || inst.strong;
  const Kind kind = reads && writes ? kUpdate
                    : writes        ? (atomic ? kAtomicStore : kWrite)
                    : atomic        ? kAtomicLoad
                                    : kRead;
  const auto at = static_cast<u32>(&inst - warp.launch->kernel->code.data());
  BlockClock& clock = *warp.block->clock;
  for (Mask rest = lanes; rest != 0; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    const auto index = static_cast<u32>(warp.index * kLanes + lane);
    const u64 address = addresses[lane];
    const Me me{warp,
                inst,
                lane,
                warp.block->linear * threads_in_block + index,
                shared ? clock.start : launch_start,
                clock,
                clock.threads.empty() ? nullptr : clock.threads[index].acquired.get(),
                shared};
    Cell* const first = shared ? &clock.shared[address / 4] : &global_cells[(address - kArena) / 4];
    for (u32 word = 0; word < std::max<u32>(inst.bytes / 4, 1); ++word) {
      Cell& cell = first[word];
      if (inst.bytes < 4 && cell.writer != kSplit) split(cell);
      if (cell.writer != kSplit) {
        note(cell, me, kind, address + 4 * word, at);
        continue;
      }
      const u32 begin = inst.bytes < 4 ? address % 4 : 0, end = inst.bytes < 4 ? begin + inst.bytes : 4;
      for (u32 byte = begin; byte < end; ++byte)
        note(bytes_of_words[cell.more][byte], me, kind, address / 4 * 4 + 4 * word + byte, at);
    }
    if (atomic) publish(warp, lane, shared, address, reads, writes);
  }
}

}  // namespace race
}  // namespace ptx
