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

namespace ptx::race {
namespace {

// What a thread knows of others beyond its barriers: accesses with earlier stamps than these, by the thread's number in the
// launch, or kBlocks and the block's.
using Known = std::map<u64, u32>;
using KnownPtr = std::shared_ptr<const Known>;
constexpr u64 kBlocks = u64{1} << 40;

struct Thread {
  KnownPtr acquired;  // known
  KnownPtr pending;   // read by an atomic; known after the next fence
  KnownPtr released;  // what atomics publish: what was known at the last fence
};

// Accesses of equal rank: of lanes of a warp; with no lanes: of several warps of a block. Warps are numbered through the
// launch, from 1 on: 0 is no access.
struct Access {
  u32 warp = 0;
  Mask lanes = 0;
  u32 stamp = 0, at = 0;  // of the last; its instruction
};
constexpr u32 kAnyBlock = 0xffffffff;   // for the warp: of many blocks
constexpr u32 kElsewhere = 0xfffffffe;  // for the warp: `at` is the index of a list, or of cells of bytes
constexpr u32 kAtomic = 0x80000000;     // beside the instruction
constexpr u32 kLastStamp = 0xffffffff;
constexpr std::size_t kMostReads = 64;  // blocks told apart among the readers of one word

struct Cell {
  Access write;  // the last; kElsewhere: each byte has a cell of its own
  Access reads;  // since then; kElsewhere: in a list, once there were several
};
std::vector<std::array<Cell, 4>> bytes_of_words;
std::vector<std::vector<Access>> lists;

struct WarpClock {  // stamps: each lane knows all earlier accesses of another
  u32 all = 0;
  std::array<std::array<u32, kLanes>, kLanes> known{};
  u32 of(int lane, int other) const { return std::max(all, known[lane][other]); }
};
}  // namespace

struct BlockClock {
  u32 start = 0, barrier = 0, cluster = 0;  // stamps of the last of each
  std::vector<WarpClock> warps;
  std::vector<Thread> threads;  // none until one of them knows something
  std::vector<Cell> shared;     // of each word
  std::unordered_map<u64, KnownPtr> published;
};

namespace {

u32 now = 1, launch_start = 1;
u32 warps_in_block = 1;
Cell* global_cells = nullptr;
std::unordered_map<u64, KnownPtr> published;  // by address of the atomic

enum Kind { kRead, kWrite, kAtomicLoad, kAtomicStore, kUpdate };
const char* const kNames[] = {"read", "write", "atomic load", "atomic store", "atomic"};

// The access under way.
struct Me {
  Warp& warp;
  const Inst& inst;
  const Kind kind;
  const bool shared;
  const BlockClock& clock;
  const u32 floor;  // stamps before it are of other launches, or of blocks that had this shared memory before
  Access access;
  int lane = 0;
  const Known* known = nullptr;
};

KnownPtr joined(const KnownPtr& a, const KnownPtr& b) {
  if (a == nullptr || a == b) return b;
  if (b == nullptr) return a;
  auto both = std::make_shared<Known>(*a);
  for (const auto& [whom, stamp] : *b) (*both)[whom] = std::max((*both)[whom], stamp);
  return both;
}
bool knows(const Me& me, u64 whom, u32 stamp) {
  if (me.known == nullptr) return false;
  const auto found = me.known->find(whom);
  return found != me.known->end() && stamp < found->second;
}
u32 number_of(const Warp& warp) { return warp.block->index * warps_in_block + static_cast<u32>(warp.index) + 1; }
u32 block_of(const Access& access) { return (access.warp - 1) / warps_in_block; }
u64 thread_of(u32 warp, int lane) { return u64{warp} * kLanes + static_cast<u32>(lane); }

// Whether these accesses come before the one under way. Of those not told apart by warp or block, whoever has acquired
// something is believed.
bool ordered(const Me& me, const Access& before) {
  if (before.warp == 0 || before.stamp < me.floor) return true;
  if (before.warp == kAnyBlock) return me.known != nullptr;
  const u32 block = block_of(before), mine = me.warp.block->index;
  const auto together = static_cast<u32>(me.warp.block->cluster->blocks.size());
  if (block == mine && before.stamp < me.clock.barrier) return true;
  if (before.stamp < me.clock.cluster && block / together == mine / together) return true;
  if (knows(me, kBlocks + block, before.stamp)) return true;
  if (before.lanes == 0) return block == mine && me.known != nullptr;
  bool all = true;
  for_lanes(before.lanes, [&](int lane) {
    const bool by_lanes = before.warp == me.access.warp &&
                          (lane == me.lane || before.stamp < me.clock.warps[me.warp.index].of(me.lane, lane));
    all &= by_lanes || knows(me, thread_of(before.warp, lane), before.stamp);
  });
  return all;
}

[[noreturn]] void report(const Me& me, u64 address, const Access& other) {
  const Kernel& kernel = *me.warp.launch->kernel;
  const std::string whose = other.warp == kAnyBlock ? "many blocks"
                            : other.lanes == 0
                                ? fmt::format("block {}, several warps", block_of(other))
                                : fmt::format("block {}, warp {}, lane {}", block_of(other),
                                              (other.warp - 1) % warps_in_block, std::countr_zero(other.lanes));
  fault(me.warp, me.inst, Mask{1} << me.lane,
        fmt::format("race: {} at {}\n  is not ordered after the access by {}\n  at {}", kNames[me.kind],
                    me.shared ? fmt::format("shared memory, offset {}", address) : memory::describe(address), whose,
                    place_of(kernel, kernel.code[other.at & ~kAtomic])));
}

std::span<Access> reads_of(Cell& cell) {
  return cell.reads.warp == kElsewhere ? std::span(lists[cell.reads.at]) : std::span(&cell.reads, 1);
}
void forget(Cell& cell) {
  if (cell.reads.warp == kElsewhere)
    lists[cell.reads.at].clear();
  else
    cell.reads = {};
}
// One more beside the reads that are there.
void add(Cell& cell, const Access& read) {
  if (cell.reads.warp == 0) {
    cell.reads = read;
    return;
  }
  if (cell.reads.warp != kElsewhere) {
    lists.push_back({cell.reads});
    cell.reads = {kElsewhere, 0, 0, static_cast<u32>(lists.size() - 1)};
  }
  std::vector<Access>& list = lists[cell.reads.at];
  list.push_back(read);
  if (list.size() > kMostReads) list = {{kAnyBlock, 0, now, read.at}};
}
// The read under way: with those of its block that it need not follow, or in the place of one that it follows.
void note_read(Cell& cell, const Me& me) {
  Access* followed = nullptr;
  for (Access& read : reads_of(cell)) {
    const bool same_warp = read.warp == me.access.warp && read.lanes != 0;
    if (same_warp && read.stamp == now) {
      read.lanes |= me.access.lanes;
      return;
    }
    if (ordered(me, read)) {
      followed = &read;
    } else if (read.warp == kAnyBlock || block_of(read) == me.warp.block->index) {
      if (read.warp != kAnyBlock) read.lanes = same_warp ? read.lanes | me.access.lanes : 0;
      read.stamp = now;
      read.at = me.access.at;
      return;
    }
  }
  if (followed != nullptr)
    *followed = me.access;
  else
    add(cell, me.access);
}

void note(Cell& cell, const Me& me, u64 address) {
  const bool written = cell.write.warp != 0 && cell.write.stamp >= me.floor;
  const bool both_atomic = me.kind >= kAtomicLoad && (cell.write.at & kAtomic) != 0;
  if (written && !both_atomic && !ordered(me, cell.write)) report(me, address, cell.write);
  if (me.kind == kRead) {
    if (!written && me.shared)
      fault(me.warp, me.inst, Mask{1} << me.lane,
            "reads shared memory that nobody has written: offset " + std::to_string(address));
    return note_read(cell, me);
  }
  if (me.kind == kAtomicLoad) return;
  for (const Access& read : reads_of(cell)) {
    if (!ordered(me, read)) report(me, address, read);
  }
  forget(cell);
  cell.write = me.access;
  cell.write.at |= me.kind >= kAtomicLoad ? kAtomic : 0;
}

// The cells of a word's bytes, which are one cell until some are accessed alone.
std::array<Cell, 4>& bytes_of(Cell& cell) {
  if (cell.write.warp != kElsewhere) {
    std::array<Cell, 4> bytes;
    for (Cell& byte : bytes) {
      byte.write = cell.write;
      for (const Access& read : reads_of(cell)) add(byte, read);
    }
    forget(cell);
    cell.write = {kElsewhere, 0, 0, static_cast<u32>(bytes_of_words.size())};
    bytes_of_words.push_back(bytes);
  }
  return bytes_of_words[cell.write.at];
}

// Gives all of these threads what any of them has learnt by atomics and fences.
void share(const std::vector<Thread*>& threads) {
  for (KnownPtr Thread::*field : {&Thread::acquired, &Thread::pending, &Thread::released}) {
    KnownPtr all;
    for (Thread* thread : threads) all = joined(all, thread->*field);
    for (Thread* thread : threads) thread->*field = all;
  }
}
// What the thread knows; room for it is made when the first of its block needs some.
Thread& thread_at(const Warp& warp, int lane) {
  BlockClock& clock = *warp.block->clock;
  if (clock.threads.empty()) clock.threads.resize(warps_in_block * kLanes);
  return clock.threads[warp.index * kLanes + lane];
}

void tick() {
  if (++now == kLastStamp) die("the race detector's clock has run out");
}

void fence(Warp& warp, int lane) {
  const BlockClock& clock = *warp.block->clock;
  Thread& thread = thread_at(warp, lane);
  thread.acquired = joined(thread.acquired, thread.pending);
  auto released = thread.acquired == nullptr ? std::make_shared<Known>() : std::make_shared<Known>(*thread.acquired);
  const auto learn = [&](u64 whom, u32 stamp) { (*released)[whom] = std::max((*released)[whom], stamp); };
  learn(kBlocks + warp.block->index, clock.barrier);
  for (int other = 0; other < kLanes; ++other) {
    const u32 stamp = other == lane ? now + 1 : clock.warps[warp.index].of(lane, other);
    if (stamp > clock.barrier) learn(thread_of(number_of(warp), other), stamp);
  }
  thread.released = released;
}

// An atomic publishes what its thread's last fence covered, and takes up what others published here, to be known after
// the next fence.
void publish(Warp& warp, int lane, bool shared, u64 address, bool reads, bool writes) {
  auto& of_space = shared ? warp.block->clock->published : published;
  const auto found = of_space.find(address);
  if (warp.block->clock->threads.empty() && found == of_space.end()) return;
  Thread& thread = thread_at(warp, lane);
  if (reads && found != of_space.end()) thread.pending = joined(thread.pending, found->second);
  if (writes && !reads) of_space[address] = thread.released;
  if (writes && reads && thread.released != nullptr) of_space[address] = joined(of_space[address], thread.released);
}

}  // namespace

bool on() {
  static const bool is = is_on("PTX_RACE");
  return is;
}

void launch_begins(const Launch& launch) {
  static const Pages memory = pages_of(kArenaBytes / 4 * sizeof(Cell));
  global_cells = reinterpret_cast<Cell*>(memory.get());
  warps_in_block = static_cast<u32>((launch.block + kLanes - 1) / kLanes);
  if (u64{launch.grid} * warps_in_block >= kElsewhere - 1)
    die("a launch of 2^32 warps is too large for the race detector");
  tick();
  launch_start = now;
  published.clear();
}

void block_begins(Block& block, const Launch& launch) {
  if (block.clock == nullptr) block.clock = std::make_shared<BlockClock>();
  BlockClock& clock = *block.clock;
  tick();
  clock.start = clock.barrier = now;
  clock.cluster = 0;
  clock.warps.assign(block.warps.size(), {});
  clock.threads.clear();
  clock.published.clear();
  clock.shared.resize(launch.shared_bytes / 4 + 1);
}

void barrier(std::span<Block> blocks, bool of_cluster) {
  tick();
  bool any = false;
  for (Block& block : blocks) {
    block.clock->barrier = now;
    if (of_cluster) block.clock->cluster = now;
    any |= !block.clock->threads.empty();
  }
  if (!any) return;
  std::vector<Thread*> all;
  for (Block& block : blocks) {
    thread_at(block.warps[0], 0);
    for (Thread& thread : block.clock->threads) all.push_back(&thread);
  }
  share(all);
}

void warp_sync(Warp& warp, Mask lanes) {
  WarpClock& clock = warp.block->clock->warps[warp.index];
  tick();
  if (lanes == warp.alive) {
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
  for_lanes(lanes, [&](int l) { present.push_back(&thread_at(warp, l)); });
  share(present);
}

void fence(Warp& warp, const Inst&, Mask lanes) {
  if (!on()) return;
  for_lanes(lanes, [&](int l) { fence(warp, l); });
  tick();
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
  Me me{warp, inst, kind, shared, clock, shared ? clock.start : launch_start, {number_of(warp), 0, now, at}};
  for_lanes(lanes, [&](int lane) {
    me.lane = lane;
    me.known = clock.threads.empty() ? nullptr : thread_at(warp, lane).acquired.get();
    me.access.lanes = Mask{1} << lane;
    const u64 begin = addresses[lane], end = begin + inst.bytes;
    for (u64 address = begin; address < end; address = (address / 4 + 1) * 4) {
      Cell& cell = shared ? clock.shared[address / 4] : global_cells[(address - kArena) / 4];
      if (inst.bytes >= 4 && cell.write.warp != kElsewhere) {
        note(cell, me, address);
        continue;
      }
      for (u64 byte = address; byte < std::min(end, (address / 4 + 1) * 4); ++byte)
        note(bytes_of(cell)[byte % 4], me, byte);
    }
    if (atomic) publish(warp, lane, shared, begin, reads, writes);
  });
}

}  // namespace ptx::race
