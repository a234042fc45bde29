// Runs launches: lanes of a warp that stand at the same instruction together, the warps of a block and the blocks that
// run together in turns, independent blocks one after the other.
#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <numeric>

#include "tests/ptx/lanes.h"

namespace ptx {
namespace {

constexpr u32 kNowhere = 0xffffffff;  // where lanes stand that have exited

[[noreturn]] void stop(const Launch& launch, const std::string& report) {
  die(fmt::format("fault in {}\n  grid {}, block {}, dynamic shared memory {} bytes\n{}",
                  demangled(launch.kernel->name), launch.grid, launch.block, launch.dynamic_shared, report));
}

// --- where lanes stand -----------------------------------------------------------------------------------------------
void put(Warp& w, u32 pc, Mask lanes, State state = kReady) { store_same(w.stand.data(), pc | state, lanes); }
Mask lanes_in(const Warp& w, State state) {
  return lanes_where([&](int l) { return (w.stand[l] & kStates) == state; });
}
const Inst& instruction(const Warp& w, u32 stand) { return w.launch->kernel->code[stand & ~kStates]; }

// Calls body(lanes, value) for each set of lanes that have the same value.
template <class F>
void for_each_set(Mask lanes, const u32* values, F&& body) {
  while (lanes != 0) {
    const u32 value = values[__builtin_ctz(lanes)];
    const Mask same = lanes & lanes_where([&](int l) { return values[l] == value; });
    body(same, value);
    lanes &= ~same;
  }
}

// --- the barriers of a block and of a cluster ------------------------------------------------------------------------
// Hardware forgives a barrier that some threads never come to, for they have returned, and one whose warps come to it at
// different instructions; a kernel that does so is rarely meant.
void check_barrier(Block& block) {
  u32 first = kNowhere;
  for (Warp& w : block.warps) {
    for_each_set(lanes_in(w, kAtBarrier), w.stand.data(), [&](Mask same, u32 stand) {
      if (block.live < w.launch->block)
        fault(w, instruction(w, stand), same, "divergent barrier: some threads of the block have returned before it");
      if (first != kNowhere && first != stand)
        fault(w, instruction(w, stand), same, "divergent barrier: other warps are at another one");
      first = stand;
    });
  }
}
// Lets the threads of the block, or of its cluster, go on from their barrier once all that live have come.
void open_if_all_came(Block& block, State state) {
  const bool of_block = state == kAtBarrier;
  Barrier& barrier = of_block ? block.barrier : block.cluster->barrier;
  const std::span<Block> blocks = of_block ? std::span(&block, 1) : std::span(block.cluster->blocks);
  if (barrier.arrived == 0) return;
  const u32 live = std::accumulate(blocks.begin(), blocks.end(), 0U, [](u32 n, auto& block) { return n + block.live; });
  if (barrier.arrived < live) return;
  if (race::on()) {
    if (of_block) check_barrier(block);
    race::barrier(blocks, !of_block);
  }
  const Barrier was = std::exchange(barrier, {});
  for (Block& one : blocks) {
    for (Warp& w : one.warps) {
      for_each_set(lanes_in(w, state), w.stand.data(), [&](Mask same, u32 stand) {
        const Inst& in = instruction(w, stand);
        const bool passed = was.votes >= (in.flags == kVoteAll ? was.arrived : 1);
        if (in.flags != kVotesIgnored) store_mask(w.to<Mask>(in.o[0]), passed ? kAll : 0, same);
        put(w, (stand & ~kStates) + 1, same);
      });
    }
  }
}
void arrive(Warp& w, const Inst& in, u32 pc, Mask m) {
  const State state = in.kind == Kind::barrier ? kAtBarrier : kAtCluster;
  Barrier& barrier = state == kAtBarrier ? w.block->barrier : w.block->cluster->barrier;
  barrier.arrived += static_cast<u32>(std::popcount(m));
  if (in.flags != kVotesIgnored) barrier.votes += static_cast<u32>(std::popcount(w.predicate(in, 2) & m));
  put(w, pc, m, state);
  open_if_all_came(*w.block, state);
}

// --- where lanes of a warp meet --------------------------------------------------------------------------------------
// Of the lanes that stand here, those whose partners have all come; `wants` is the member mask of each.
Mask complete(Warp& w, const Inst& in, Mask here, const u32* wants) {
  Mask go = 0;
  for_each_set(here, wants, [&](Mask same, Mask wanted) {
    if (const Mask outside = same & ~wanted; outside != 0)
      fault(w, in, outside, fmt::format("lane is not in its own member mask {:08x}", wanted));
    if (const Mask absent = wanted & ~w.alive; race::on() && absent != 0)  // hardware forgives these, too
      fault(w, in, same,
            fmt::format("the member mask names lanes that have returned, or that there never were: {:08x}", absent));
    if ((wanted & w.alive & ~same) != 0) return;
    go |= same;
    if (in.meet == Meet::anywhere && race::on()) race::warp_sync(w, same);
  });
  return go;
}
// Lanes have come to where they meet others. Of these at pc, those that go on now; the others are left to wait, and what is
// freed at another instruction stands ready behind it.
Mask meet(Warp& w, const Inst& in, u32 pc, Mask m) {
  const bool all = in.kind == Kind::barrier || in.meet == Meet::all;
  const bool by_constant = !all && in.meet == Meet::here && in.named() < 0;
  if ((all && m == w.alive) || (by_constant && (*w.from<u32>(in.named()) & w.alive) == m)) return m;
  put(w, pc, m, kAtSync);
  if (all && lanes_where([&](int l) { return w.stand[l] == (pc | kAtSync); }) != w.alive) return 0;
  Mask here = 0;
  std::array<u32, kLanes> wants{};
  for_each_set(lanes_in(w, kAtSync), w.stand.data(), [&](Mask same, u32 stand) {
    const Inst& there = instruction(w, stand);
    if (&there != &in && (in.meet != Meet::anywhere || there.meet != Meet::anywhere)) return;
    here |= same;
    for_lanes(same, [&](int l) { wants[l] = all ? w.alive : w.from<u32>(there.named())[l]; });
  });
  const Mask go = complete(w, in, here, wants.data());
  const Mask at_pc = go & lanes_where([&](int l) { return w.stand[l] == (pc | kAtSync); });
  for_lanes(go, [&](int l) { w.stand[l] = (w.stand[l] & ~kStates) + 1; });
  return at_pc;
}
// Executes a sync for each set of lanes that named each other.
void run_sync(Warp& w, const Inst& in, Mask m) {
  if (in.meet != Meet::here || in.named() < 0) return in.run(w, in, m);
  std::array<u32, kLanes> wants;  // the instruction may overwrite them
  std::copy_n(w.from<u32>(in.named()), kLanes, wants.data());
  for_each_set(m, wants.data(), [&](Mask same, Mask) { in.run(w, in, same); });
}

// --- a warp's turn ---------------------------------------------------------------------------------------------------
void leave(Warp& w, Mask m) {
  w.alive &= ~m;
  w.block->live -= static_cast<u32>(std::popcount(m));
  store_same(w.stand.data(), kNowhere, m);
  for (u32& stand : w.stand) {
    if ((stand & kStates) == kAtSync) stand &= ~kStates;  // asks again
  }
  for (const State state : {kAtBarrier, kAtCluster}) open_if_all_came(*w.block, state);
}

// What is neither simple nor a branch. Whether the lanes go on together, from pc; otherwise each stands where it has to.
bool control(Warp& w, const Inst& in, u32& pc, Mask& m) {
  switch (in.kind) {
    case Kind::sync:
      m = meet(w, in, pc, m);
      if (m == 0) return false;
      run_sync(w, in, m);
      ++pc;
      if (m == w.alive) return true;
      put(w, pc, m);  // others may have been freed
      return false;
    case Kind::barrier:
      m = meet(w, in, pc, m);
      if (m != 0) arrive(w, in, pc, m);
      return false;
    case Kind::cluster_arrive: ++pc; return true;
    case Kind::cluster_wait: arrive(w, in, pc, m); return false;
    case Kind::yield:
      put(w, pc + 1, m);
      w.rotate = true;
      return false;
    case Kind::exit: leave(w, m); return false;
    default: fault(w, in, m, "trap");
  }
}

// Runs the lanes from pc, where a branch parts them those that come first, until they wait, have exited, come to
// `limit`, or have done `most` instructions. How many.
u64 go(Warp& w, u32& pc, Mask mask, u32 limit, u64 most) {
  const Inst* const code = w.launch->kernel->code.data();
  Count* const counts = w.launch->counts;
  for (u64 done = 1;; ++done) {
    const Inst& in = code[pc];
    Mask m = mask;
    if (in.guard != kNone) m &= in.negated ? ~*w.to<Mask>(in.guard) : *w.to<Mask>(in.guard);
    if (counts != nullptr) [[unlikely]] {
      ++counts[pc].issued;
      counts[pc].lanes += static_cast<u64>(std::popcount(m));
    }
    if (in.kind == Kind::simple) [[likely]] {
      if (m != 0) in.run(w, in, m);
      ++pc;
    } else if (m == 0) {
      ++pc;
    } else if (in.kind == Kind::branch && m == mask) {
      pc = static_cast<u32>(in.imm);
    } else if (in.kind == Kind::branch) {  // those that come first in the code go on; the others wait
      const u32 target = static_cast<u32>(in.imm), next = pc + 1;
      const bool back = target < next;
      put(w, std::max(target, next), back ? mask & ~m : m);
      limit = std::min(limit, std::max(target, next));
      mask = back ? m : mask & ~m;
      pc = std::min(target, next);
    } else {
      if (m != mask) {
        put(w, pc + 1, mask & ~m);
        mask = m;
        limit = std::min(limit, pc + 1);
      }
      if (!control(w, in, pc, mask)) return done;
    }
    if (pc < limit && done < most) continue;
    put(w, pc, mask);
    w.rotate = done == most;
    return done;
  }
}

// Until all lanes wait or have exited, or about `budget` instructions are done. How many were.
u64 run(Warp& w, u64 budget) {
  constexpr u64 kSlice = 10000;  // where other lanes are ready, too
  u64 done = 0;
  u32 pc = 0;
  const auto least = [&](auto&& of) {
    u32 found = kNowhere;
    for (const u32 stand : w.stand) found = std::min(found, of(stand));
    return found;
  };
  while (done < budget) {
    // The ready lanes with the least pc, or where they take turns the next behind the last one, around.
    const u32 from = w.rotate ? pc + 1 : 0;
    const u32 next = least([&](u32 stand) { return stand < kAtSync ? (stand - from) & ~kStates : kNowhere; });
    w.rotate = false;
    if (next == kNowhere) return done;
    pc = (next + from) & ~kStates;
    const Mask mask = lanes_where([&](int l) { return w.stand[l] == pc; });
    const bool all = mask == w.alive;
    const u32 limit = all ? kNowhere : least([&](u32 stand) { return stand > pc ? stand : kNowhere; });
    const bool others = !all && (limit < kAtSync || from != 0);
    done += go(w, pc, mask, limit, others ? std::min(kSlice, budget - done) : budget - done);
  }
  return done;
}

[[noreturn]] void hung(const Launch& launch, const std::list<Cluster>& resident, const std::string& why) {
  static const char* const states[] = {"are ready", "wait for lanes of their warp", "wait at a barrier",
                                       "wait at the cluster's barrier"};
  std::vector<std::string> lines;
  for (const Cluster& cluster : resident) {
    for (const Block& block : cluster.blocks) {
      for (const Warp& w : block.warps) {
        for_each_set(w.alive, w.stand.data(), [&](Mask same, u32 stand) {
          lines.push_back(fmt::format("  block {} warp {} lanes {:08x} of {:08x} {}, at {}", block.index, w.index, same,
                                      w.alive, states[stand / kAtSync],
                                      place_of(*launch.kernel, instruction(w, stand))));
        });
      }
    }
  }
  const std::size_t shown = std::min<std::size_t>(lines.size(), 24);
  stop(launch, fmt::format("  {}\n{}\n  and {} more\n", why, fmt::join(lines.begin(), lines.begin() + shown, "\n"),
                           lines.size() - shown));
}

std::mt19937_64* random_order() {  // null: in order
  static const std::string seed = setting("PTX_SEED", "");
  static std::mt19937_64 random;
  if (!seed.empty()) random.seed(std::stoull(seed));
  return seed.empty() ? nullptr : &random;
}

// Runs sets of `together` blocks, one set after another; while one spins for long, the next joins it.
class Work {
 public:
  explicit Work(Launch& launch)
      : launch_(launch),
        together_(launch.cooperative ? launch.grid : launch.cluster),
        order_(launch.grid / together_),
        random_(random_order()) {
    std::iota(order_.begin(), order_.end(), 0);
    if (random_ == nullptr) return;
    // A device, too, begins blocks nearly in order, and CUB relies on it.
    for (auto run = order_.begin(), end = run; run < order_.end(); run = end) {
      end += std::min<std::ptrdiff_t>(16, order_.end() - run);
      std::shuffle(run, end, *random_);
    }
  }

  void run() {
    constexpr u64 kSpin = 3000000;  // instructions of warps after which a block that spins gets company
    static const u64 most = std::stoull(setting("PTX_LIMIT", "0"));
    while (!resident_.empty() || admit()) {
      bool progress = false;
      for (auto next = resident_.begin(); next != resident_.end();) {
        const auto cluster = next++;
        progress |= turn(*cluster);
        if (std::ranges::any_of(cluster->blocks, [](const Block& block) { return block.live > 0; })) continue;
        unused_.splice(unused_.end(), resident_, cluster);
        since_ = 0;
        progress = true;
      }
      if (!progress && !admit()) hung(launch_, resident_, "DEADLOCK: no lane can go on");
      if (since_ > kSpin && resident_.size() < 32) {
        since_ = 0;
        admit();
      }
      if (most != 0 && total_ > most)
        hung(launch_, resident_, fmt::format("TIME LIMIT: more than {} instructions of warps", most));
    }
  }

 private:
  bool admit() {
    if (next_ == order_.size()) return false;
    if (unused_.empty()) {
      unused_.emplace_back().blocks.reserve(together_);
      for (u32 i = 0; i < together_; ++i) unused_.back().blocks.emplace_back(launch_);
    }
    resident_.splice(resident_.end(), unused_, std::prev(unused_.end()));
    Cluster& cluster = resident_.back();
    for (u32 i = 0; i < together_; ++i)
      cluster.blocks[i].begin(launch_, order_[next_] * together_ + i, cluster, random_);
    ++next_;
    return true;
  }
  // Every warp of the blocks that can do something, once. Whether any did.
  bool turn(Cluster& cluster) {
    const u64 before = total_;
    for (Block& block : cluster.blocks) {
      for (const int i : block.order) total_ += ptx::run(block.warps[static_cast<std::size_t>(i)], 16384);
    }
    since_ += total_ - before;
    return total_ > before;
  }

  Launch& launch_;
  const u32 together_;
  std::vector<u32> order_;
  std::size_t next_ = 0;
  std::mt19937_64* const random_;
  std::list<Cluster> resident_, unused_;
  u64 since_ = 0, total_ = 0;
};

}  // namespace

Block::Block(Launch& launch) {
  const Kernel& kernel = *launch.kernel;
  const u32 stride = round_up(kernel.local_bytes, 16) + 64;
  warps.resize((launch.block + kLanes - 1) / kLanes);
  order.resize(warps.size());
  std::iota(order.begin(), order.end(), 0);
  registers = pages_of(warps.size() * kernel.register_bytes + 64);
  local = pages_of(kernel.local_bytes > 0 ? warps.size() * kLanes * stride : 0);
  shared = pages_of(launch.shared_bytes + 4096);
  for (const int i : order) {
    Warp& w = warps[i];
    w.registers = registers.get() + i * kernel.register_bytes;
    w.constants = kernel.constants.data();
    w.local = local.get() + i * kLanes * stride;
    w.local_stride = stride;
    w.launch = &launch;
    w.index = i;
  }
}
void Block::begin(const Launch& launch, u32 number, Cluster& its_cluster, std::mt19937_64* random) {
  index = number;
  live = launch.block;
  cluster = &its_cluster;
  poison(shared.get() + kSharedStart, launch.shared_bytes - kSharedStart);
  poison(local.get(), local.get_deleter().bytes);
  for (Warp& w : warps) {
    w.block = this;
    w.alive = kAll >> (kLanes - std::min<u32>(kLanes, live - w.index * kLanes));
    w.rotate = false;
    w.stand.fill(kNowhere);
    put(w, 0, w.alive);
  }
  if (random != nullptr) std::shuffle(order.begin(), order.end(), *random);
  if (race::on()) race::block_begins(*this, launch);
}

void fault(Warp& w, const Inst& inst, Mask lanes, const std::string& what) {
  stop(*w.launch,
       fmt::format("  {}\n  block {}, thread {}, lanes {:08x}\n  at {}", what, w.block->index,
                   w.index * kLanes + std::countr_zero(lanes | 1U << 31), lanes, place_of(*w.launch->kernel, inst)));
}

void execute(Launch& launch) {
  launch.caches.resize(launch.kernel->caches);
  if (race::on()) race::launch_begins(launch);
  if (count::on()) count::launch_begins(launch);
  Work(launch).run();
}

}  // namespace ptx
