// Runs launches: the lanes of a warp in groups that stand at the same instruction, the warps of a block and the blocks
// that run together in turns, independent blocks one after the other.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "tests/ptx/lanes.h"

namespace ptx {
namespace {

constexpr u32 kNowhere = 0xffffffff;

std::string text_of(const Dim& d) { return fmt::format("({}, {}, {})", d.x, d.y, d.z); }

[[noreturn]] void stop(const Launch& launch, const std::string& report) {
  die(fmt::format("fault in {}\n  grid {}, block {}, dynamic shared memory {} bytes\n{}",
                  demangled(launch.kernel->name), text_of(launch.grid), text_of(launch.block), launch.dynamic_shared,
                  report));
}

void put(Warp& w, u32 pc, Mask mask, State state = State::ready) {
  for (Group& g : w.groups) {
    if (g.pc != pc || g.state != state) continue;
    g.mask |= mask;
    return;
  }
  w.groups.push_back({pc, mask, state});
}
const Inst& instruction(const Warp& w, const Group& g) { return w.launch->kernel->code[g.pc]; }

// --- the barrier of a block ------------------------------------------------------------------------------------------
// Hardware forgives a barrier that some threads never come to, for they have returned, and one whose warps come to it at
// different instructions; a kernel that does so is rarely meant.
void check_barrier(Block& block) {
  u32 pc = kNowhere;
  for (Warp& w : block.warps) {
    for (const Group& g : w.groups) {
      if (g.state != State::at_barrier) continue;
      if (block.live < w.launch->block.size())
        fault(w, instruction(w, g), g.mask, "divergent barrier: some threads of the block have returned before it");
      if (pc != kNowhere && pc != g.pc)
        fault(w, instruction(w, g), g.mask, "divergent barrier: other warps are at another one");
      pc = g.pc;
    }
  }
}
// Lets the threads go on once all that live have come.
void check_arrivals(Block& block) {
  const Barrier barrier = block.barrier;
  if (barrier.arrived == 0 || barrier.arrived < block.live) return;
  if (race::on()) {
    check_barrier(block);
    race::barrier({&block});
  }
  block.barrier = {};
  for (Warp& w : block.warps) {
    for (Group& g : w.groups) {
      if (g.state != State::at_barrier) continue;
      const Inst& in = instruction(w, g);
      const bool passed = barrier.votes >= (in.flags == kVoteAll ? barrier.arrived : 1);
      if (in.flags != kVotesIgnored) store_mask(w.to<Mask>(in.o[0]), passed ? kAll : 0, g.mask);
      g = {g.pc + 1, g.mask, State::ready};
    }
  }
}
void arrive(Warp& w, const Inst& in, u32 pc, Mask m) {
  Barrier& barrier = w.block->barrier;
  barrier.arrived += static_cast<u32>(std::popcount(m));
  if (in.flags != kVotesIgnored) {
    const Mask p = *w.from<Mask>(in.o[2]) ^ (in.imm != 0 ? kAll : 0);
    barrier.votes += static_cast<u32>(std::popcount(p & m));
  }
  put(w, pc, m, State::at_barrier);
  check_arrivals(*w.block);
}

// --- the barrier of a cluster ----------------------------------------------------------------------------------------
void check_cluster(Cluster& cluster) {
  if (cluster.arrived == 0 || cluster.arrived < cluster.live) return;
  cluster.arrived = 0;
  ++cluster.phase;
  if (race::on()) race::cluster_barrier(cluster.blocks);
}
// Lanes that have not arrived at the cluster's barrier since it opened last, or for which it has opened since.
Mask may_pass(const Warp& w, Mask m) {
  Mask pass = 0;
  for_lanes(m, [&](int l) {
    pass |= static_cast<s32>(w.block->cluster->phase - w.cluster_phase[l]) >= 0 ? Mask{1} << l : 0;
  });
  return pass;
}
void arrive_at_cluster(Warp& w, const Inst& in, Mask m) {
  Cluster& cluster = *w.block->cluster;
  if (const Mask again = m & ~may_pass(w, m); again != 0) fault(w, in, again, "arrives at the cluster's barrier twice");
  for_lanes(m, [&](int l) { w.cluster_phase[l] = cluster.phase + 1; });
  cluster.arrived += static_cast<u32>(std::popcount(m));
  check_cluster(cluster);
}

// --- where lanes of a warp meet --------------------------------------------------------------------------------------
// Calls body(lanes, their member mask) for each set of lanes that named the same; `wants` is the member mask of each.
template <class F>
void for_each_set(Mask lanes, const u32* wants, F&& body) {
  for (Mask rest = lanes; rest != 0;) {
    const Mask wanted = wants[__builtin_ctz(rest)];
    Mask same = 0;
    for_lanes(rest, [&](int l) { same |= wants[l] == wanted ? Mask{1} << l : 0; });
    body(same, wanted);
    rest &= ~same;
  }
}
// Of the lanes that stand here, those whose partners have all come.
Mask complete(Warp& w, const Inst& in, Mask here, const u32* wants) {
  Mask go = 0;
  for_each_set(here, wants, [&](Mask same, Mask wanted) {
    if (const Mask outside = same & ~wanted; outside != 0)
      fault(w, in, outside, fmt::format("lane is not in its own member mask {:08x}", wanted));
    const Mask alive = w.exists & ~w.exited;
    if (const Mask absent = wanted & ~alive; race::on() && absent != 0)  // hardware forgives these, too
      fault(w, in, same,
            fmt::format("the member mask names lanes that have returned, or that there never were: {:08x}", absent));
    if ((wanted & alive & ~same) != 0) return;
    go |= same;
    if (in.meet == Meet::anywhere && race::on()) race::warp_sync(w, same);
  });
  return go;
}
// A group has come to where lanes meet. Whether it (or a part of it) goes on now; otherwise it has been put down.
bool meets(Warp& w, const Inst& in, u32 pc, Mask& m) {
  const Mask alive = w.exists & ~w.exited;
  const bool all = in.kind == Kind::barrier || in.meet == Meet::all;
  const bool named = !all && in.meet == Meet::here && in.named() < 0;  // by a constant
  if ((all && m == alive) || (named && (*w.from<u32>(in.named()) & alive) == m)) return true;
  const auto joins = [&](const Group& g) {
    return g.state == State::at_sync &&
           (g.pc == pc || (in.meet == Meet::anywhere && instruction(w, g).meet == Meet::anywhere));
  };
  put(w, pc, m, State::at_sync);
  Mask total = 0;
  u32 wants[kLanes];
  for (const Group& g : w.groups) {
    if (!joins(g)) continue;
    total |= g.mask;
    const Inst& there = instruction(w, g);
    if (!all) for_lanes(g.mask, [&](int l) { wants[l] = w.from<u32>(there.named())[l]; });
  }
  const Mask go = !all ? complete(w, in, total, wants) : total == alive ? total : 0;
  // Those that go on leave their groups; of these all but those at pc stand ready behind their own instruction.
  m = 0;
  std::vector<Group> behind;
  for (Group& g : w.groups) {
    if (g.state != State::at_sync || (g.mask & go) == 0) continue;
    if (g.pc == pc)
      m |= g.mask & go;
    else
      behind.push_back({g.pc + 1, g.mask & go, State::ready});
    g.mask &= ~go;
  }
  std::erase_if(w.groups, [](const Group& g) { return g.mask == 0; });
  for (const Group& g : behind) put(w, g.pc, g.mask);
  return m != 0;
}
// Executes a sync for each set of lanes that named each other.
void run_sync(Warp& w, const Inst& in, Mask m) {
  if (in.meet != Meet::here || in.named() < 0) return in.run(w, in, m);
  u32 wants[kLanes];  // the instruction may overwrite them
  std::copy_n(w.from<u32>(in.named()), kLanes, wants);
  for_each_set(m, wants, [&](Mask same, Mask) { in.run(w, in, same); });
}

// --- a warp's turn ---------------------------------------------------------------------------------------------------
void leave(Warp& w, Mask m) {
  Block& block = *w.block;
  const auto count = static_cast<u32>(std::popcount(m));
  w.exited |= m;
  block.live -= count;
  for (Group& g : w.groups) {
    if (g.state == State::at_sync) g.state = State::ready;  // asks again
  }
  check_arrivals(block);
  block.cluster->live -= count;
  check_cluster(*block.cluster);
}

// What is neither simple nor a branch. Whether the lanes go on together, from pc; otherwise they have been put down.
bool control(Warp& w, const Inst& in, u32& pc, Mask& m) {
  switch (in.kind) {
    case Kind::sync:
      if (!meets(w, in, pc, m)) return false;
      run_sync(w, in, m);
      ++pc;
      if (w.groups.empty()) return true;
      put(w, pc, m);  // others may have been freed
      return false;
    case Kind::barrier:
      if (meets(w, in, pc, m)) arrive(w, in, pc, m);
      return false;
    case Kind::cluster_arrive:
      arrive_at_cluster(w, in, m);
      ++pc;
      return true;
    case Kind::cluster_wait: {
      const Mask pass = may_pass(w, m);
      if (pass != m) put(w, pc, m & ~pass, State::at_cluster);
      if (pass != 0) put(w, pc + 1, pass);
      return false;
    }
    case Kind::yield:
      put(w, pc + 1, m);
      w.rotate = true;
      return false;
    case Kind::exit: leave(w, m); return false;
    default: fault(w, in, m, "trap");
  }
}

// Runs the lanes from pc until they part, wait, have exited, come to `limit`, or have done `most` instructions. How many.
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
    } else {
      if (m != mask) {
        put(w, pc + 1, mask & ~m);
        mask = m;
        limit = std::min(limit, pc + 1);
      }
      if (in.kind == Kind::branch) return put(w, static_cast<u32>(in.imm), m), done;
      if (!control(w, in, pc, mask)) return done;
    }
    if (pc < limit && done < most) continue;
    put(w, pc, mask);
    w.rotate = done == most;
    return done;
  }
}

// The ready group with the least pc, or where they take turns the next behind the last one, around.
int choose(const Warp& w, u32 last_pc) {
  const u32 from = w.rotate ? last_pc + 1 : 0;
  int chosen = -1;
  for (int i = 0; i < static_cast<int>(w.groups.size()); ++i) {
    if (w.groups[i].state == State::ready && (chosen < 0 || w.groups[i].pc - from < w.groups[chosen].pc - from))
      chosen = i;
  }
  return chosen;
}
// Until all lanes wait or have exited, or about `budget` instructions are done. How many were.
u64 run(Warp& w, u64 budget) {
  constexpr u64 kSlice = 10000;  // where other groups are ready, too
  u64 done = 0;
  u32 last_pc = 0;
  for (Group& g : w.groups) {
    if (g.state == State::at_cluster) g.state = State::ready;  // asks again
  }
  while (done < budget) {
    const int chosen = choose(w, last_pc);
    w.rotate = false;
    if (chosen < 0) return done;
    const Group group = w.groups[chosen];
    w.groups[chosen] = w.groups.back();
    w.groups.pop_back();
    u32 limit = kNowhere;
    bool others = false;
    for (const Group& g : w.groups) {
      others |= g.state == State::ready;
      if (g.state == State::ready && g.pc > group.pc) limit = std::min(limit, g.pc);
    }
    last_pc = group.pc;
    done += go(w, last_pc, group.mask, limit, others ? std::min(kSlice, budget - done) : budget - done);
  }
  return done;
}
bool can_run(const Warp& w) {
  return std::any_of(w.groups.begin(), w.groups.end(), [&](const Group& g) {
    return g.state == State::ready || (g.state == State::at_cluster && may_pass(w, g.mask) == g.mask);
  });
}

// --- blocks ----------------------------------------------------------------------------------------------------------
// Room for one block, used by one after another.
struct Slot {
  Block block;
  Pages registers, local, shared;
  std::vector<int> order;

  explicit Slot(Launch& launch) {
    const Kernel& kernel = *launch.kernel;
    const std::size_t threads = launch.block.size(), warps = (threads + kLanes - 1) / kLanes;
    const u32 stride = (kernel.local_bytes + 15) / 16 * 16 + 64;
    registers = pages_of(warps * kernel.register_bytes + 64);
    local = pages_of(kernel.local_bytes > 0 ? warps * kLanes * stride : 0);
    shared = pages_of(launch.shared_bytes + 4096);
    block.shared = shared.get();
    block.warps.resize(warps);
    for (std::size_t i = 0; i < warps; ++i) {
      Warp& w = block.warps[i];
      w.registers = registers.get() + i * kernel.register_bytes;
      w.constants = kernel.constants.data();
      w.local = local.get() + i * kLanes * stride;
      w.local_stride = stride;
      w.block = &block;
      w.launch = &launch;
      w.index = static_cast<int>(i);
      w.exists = kAll >> (kLanes - std::min<std::size_t>(kLanes, threads - i * kLanes));
    }
    order.resize(warps);
    std::iota(order.begin(), order.end(), 0);
  }
  void begin(const Launch& launch, u32 index, u32 together, Cluster& cluster, std::mt19937_64* random) {
    block.linear = index;
    block.index = {index % launch.grid.x, index / launch.grid.x % launch.grid.y, index / launch.grid.x / launch.grid.y};
    block.live = static_cast<u32>(launch.block.size());
    block.barrier = {};
    block.cluster = &cluster;
    poison(block.shared + kSharedStart, launch.shared_bytes - kSharedStart);
    poison(local.get(), local.get_deleter().bytes);
    for (Warp& w : block.warps) {
      w.exited = 0;
      w.rotate = false;
      w.groups.assign(1, {0, w.exists, State::ready});
      std::fill(std::begin(w.cluster_phase), std::end(w.cluster_phase), cluster.phase);
    }
    if (random != nullptr) std::shuffle(order.begin(), order.end(), *random);
    if (race::on()) race::block_begins(block, launch, together);
  }
};

struct Set {  // blocks that run together
  std::vector<std::unique_ptr<Slot>> slots;
  Cluster cluster;
  bool lives() const {
    return std::any_of(slots.begin(), slots.end(), [](const auto& slot) { return slot->block.live > 0; });
  }
};
using Sets = std::vector<std::unique_ptr<Set>>;

[[noreturn]] void hung(const Launch& launch, const Sets& sets, const std::string& why) {
  static const char* const states[] = {"ready", "waits for lanes of its warp", "waits at a barrier",
                                       "waits at the cluster's barrier"};
  std::vector<std::string> lines;
  for (const auto& set : sets) {
    for (const auto& slot : set->slots) {
      for (const Warp& w : slot->block.warps) {
        for (const Group& g : w.groups)
          lines.push_back(fmt::format("  block {} warp {} lanes {:08x} {}, exited {:08x}, at {}",
                                      text_of(slot->block.index), w.index, g.mask, states[static_cast<int>(g.state)],
                                      w.exited, place_of(*launch.kernel, instruction(w, g))));
      }
    }
  }
  const std::size_t shown = std::min<std::size_t>(lines.size(), 24);
  stop(launch, fmt::format("  {}\n{}\n  and {} more\n", why, fmt::join(lines.begin(), lines.begin() + shown, "\n"),
                           lines.size() - shown));
}

std::mt19937_64* random_order() {  // null: in order
  static const std::string seed = setting("PTX_SEED", "");
  if (seed.empty()) return nullptr;
  static std::mt19937_64 random;
  random.seed(std::stoull(seed));
  return &random;
}

// Runs sets of `together` blocks, one set after another; while one spins for long, the next joins it.
class Work {
 public:
  Work(Launch& launch, std::vector<u32> order, u32 together)
      : launch_(launch), order_(std::move(order)), together_(together), random_(random_order()) {}

  void run() {
    constexpr u64 kSpin = 3000000;  // instructions of warps after which a block that spins gets company
    static const u64 most = std::stoull(setting("PTX_LIMIT", "0"));
    while (!resident_.empty() || admit()) {
      const bool alone = together_ == 1 && launch_.block.size() <= kLanes && resident_.size() == 1;
      bool progress = false;
      for (const auto& set : resident_) progress |= turn(*set, alone ? kSpin : 16384);
      const auto gone =
          std::stable_partition(resident_.begin(), resident_.end(), [](auto& set) { return set->lives(); });
      if (gone != resident_.end()) {
        std::move(gone, resident_.end(), std::back_inserter(unused_));
        resident_.erase(gone, resident_.end());
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
      unused_.push_back(std::make_unique<Set>());
      for (u32 i = 0; i < together_; ++i) unused_.back()->slots.push_back(std::make_unique<Slot>(launch_));
    }
    auto set = std::move(unused_.back());
    unused_.pop_back();
    set->cluster = {0, 0, static_cast<u32>(launch_.block.size() * together_), {}};
    for (auto& slot : set->slots) set->cluster.blocks.push_back(&slot->block);
    for (u32 i = 0; i < together_; ++i)
      set->slots[i]->begin(launch_, order_[next_] * together_ + i, together_, set->cluster, random_);
    ++next_;
    resident_.push_back(std::move(set));
    return true;
  }
  // Every warp of the set's blocks that can do something, once. Whether any did.
  bool turn(Set& set, u64 budget) {
    bool progress = false;
    for (auto& slot : set.slots) {
      for (const int i : slot->order) {
        Warp& w = slot->block.warps[static_cast<std::size_t>(i)];
        if (!can_run(w)) continue;
        progress = true;
        const u64 done = ptx::run(w, budget);
        since_ += done;
        total_ += done;
      }
    }
    return progress;
  }

  Launch& launch_;
  const std::vector<u32> order_;
  std::size_t next_ = 0;
  const u32 together_;
  std::mt19937_64* const random_;
  Sets resident_, unused_;
  u64 since_ = 0, total_ = 0;
};

}  // namespace

std::string place_of(const Kernel& kernel, const Inst& inst) {
  const Origin& origin = kernel.origins[static_cast<std::size_t>(&inst - kernel.code.data())];
  return fmt::format("PTX line {}: {}\n    {}", origin.line, text_of(kernel, origin.line),
                     source_of(kernel, origin.loc));
}

void fault(Warp& w, const Inst& inst, Mask lanes, const std::string& what) {
  const Dim& block = w.launch->block;
  const auto thread = static_cast<u32>(w.index * kLanes + std::countr_zero(lanes | 1U << 31));
  const Dim at{thread % block.x, thread / block.x % block.y, thread / block.x / block.y};
  stop(*w.launch, fmt::format("  {}\n  block {}, thread {}, lanes {:08x}\n  at {}", what, text_of(w.block->index),
                              text_of(at), lanes, place_of(*w.launch->kernel, inst)));
}

void execute(Launch& launch) {
  const u32 together = static_cast<u32>(launch.cooperative ? launch.grid.size() : launch.cluster.size());
  std::vector<u32> order(launch.grid.size() / together);
  std::iota(order.begin(), order.end(), 0);
  if (std::mt19937_64* const random = random_order(); random != nullptr) {
    // A device, too, begins blocks nearly in order, and CUB relies on it.
    for (auto run = order.begin(); run < order.end(); run += std::min<std::ptrdiff_t>(16, order.end() - run))
      std::shuffle(run, run + std::min<std::ptrdiff_t>(16, order.end() - run), *random);
  }
  launch.caches.resize(launch.kernel->caches);
  if (race::on()) race::launch_begins(launch);
  if (count::on()) count::launch_begins(launch);
  Work(launch, std::move(order), together).run();
}

}  // namespace ptx
