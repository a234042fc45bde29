// Runs launches: the lanes of a warp in groups that stand at the same instruction, the warps of a block and the blocks
// that run together in turns, independent blocks on several threads.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <numeric>
#include <random>
#include <thread>

#include "tests/ptx/machine.h"

namespace ptx {

namespace {

constexpr std::uint32_t kNowhere = 0xffffffff;
std::mutex fault_lock;

std::string lanes_text(Mask lanes) {
  char text[32];
  std::snprintf(text, sizeof(text), "lanes %08x", lanes);
  return text;
}
std::string at_text(const Kernel& kernel, const Inst& inst) {
  return "PTX line " + std::to_string(inst.line) + ": " + text_of(kernel, inst.line) + "\n    " +
         source_of(kernel, inst.loc);
}
std::string dim_text(const Dim& d) {
  return "(" + std::to_string(d.x) + ", " + std::to_string(d.y) + ", " + std::to_string(d.z) + ")";
}

[[noreturn]] void stop(const Launch& launch, const std::string& report) {
  std::string text = "\nPTX machine: fault in " + demangled(launch.kernel->name) + "\n  grid " + dim_text(launch.grid) +
                     ", block " + dim_text(launch.block) + ", dynamic shared memory " +
                     std::to_string(launch.dynamic_shared) + " bytes\n" + report + "\n";
  std::fflush(stdout);
  std::fputs(text.c_str(), stderr);
  std::fflush(stderr);
  _exit(86);
}

void put(Warp& w, std::uint32_t pc, Mask mask, State state = State::ready, std::uint32_t barrier = 0) {
  for (Group& g : w.groups) {
    if (g.pc == pc && g.state == state) {
      g.mask |= mask;
      return;
    }
  }
  w.groups.push_back({pc, mask, state, barrier});
}

// Hardware forgives a barrier that some threads never come to, for they have returned, and one whose warps come to it at
// different instructions; a kernel that does so is rarely meant.
void check_barrier(Block& block, std::uint32_t id) {
  std::uint32_t pc = kNowhere;
  for (Warp& w : block.warps) {
    for (const Group& g : w.groups) {
      if (g.state != State::at_barrier || g.barrier != id) continue;
      const Inst& inst = w.worker->launch->kernel->code[g.pc];
      if (block.live < w.worker->launch->block.size())
        fault(w, inst, g.mask, "divergent barrier: some threads of the block have returned before it");
      if (pc != kNowhere && pc != g.pc) fault(w, inst, g.mask, "divergent barrier: other warps are at another one");
      pc = g.pc;
    }
  }
}

void release(Block& block, std::uint32_t id) {
  BarrierState& barrier = block.barriers[id];
  if (race::on() && barrier.expected == 0) {
    check_barrier(block, id);
    race::barrier(block);
  }
  const bool any = barrier.any, all = barrier.all;
  const std::uint32_t count = barrier.count;
  barrier = {};
  for (Warp& w : block.warps) {
    for (std::size_t i = 0; i < w.groups.size(); ++i) {
      Group g = w.groups[i];
      if (g.state != State::at_barrier || g.barrier != id) continue;
      const Inst& inst = w.worker->launch->kernel->code[g.pc];
      const int mode = inst.flags & 15;
      if (mode == 2 || mode == 3) {
        Mask* to = w.to<Mask>(inst.o[0]);
        *to = (*to & ~g.mask) | ((mode == 2 ? all : any) ? g.mask : 0);
      } else if (mode == 4) {
        for (int l = 0; l < kLanes; ++l) {
          if (g.mask >> l & 1) w.to<std::uint32_t>(inst.o[0])[l] = count;
        }
      }
      w.groups[i] = {g.pc + 1, g.mask, State::ready, 0};
    }
  }
}

void check_barriers(Block& block) {
  for (std::uint32_t id = 0; id < 16; ++id) {
    const BarrierState& b = block.barriers[id];
    if (b.arrived > 0 && b.expected == 0 && b.arrived >= block.live) release(block, id);
  }
}

struct Resident;  // blocks that run together

void check_cluster(Cluster& cluster) {
  if (cluster.arrived == 0 || cluster.arrived < cluster.live) return;
  cluster.arrived = 0;
  ++cluster.phase;
  if (race::on()) race::cluster_barrier(cluster.blocks);
}

// A group has come to where lanes meet. Whether it (or a part of it) goes on now; otherwise it has been put down.
bool meets(Warp& w, const Inst& in, std::uint32_t pc, Mask& m) {
  const Mask alive = w.exists & ~w.exited;
  if (in.kind == Kind::sync && in.meet == 0 && in.o[in.table] < 0 &&
      (*w.from<std::uint32_t>(in.o[in.table]) & alive) == m)
    return true;
  Mask total = m;
  const auto joins = [&](const Group& g) {
    return g.state == State::at_sync &&
           (g.pc == pc || (in.meet == 1 && w.worker->launch->kernel->code[g.pc].meet == 1));
  };
  for (const Group& g : w.groups) {
    if (joins(g)) total |= g.mask;
  }
  Mask go = 0;
  if (in.kind == Kind::barrier || in.meet == 2) {
    go = total == alive ? total : 0;
  } else {
    std::uint32_t wants[kLanes];
    for (int l = 0; l < kLanes; ++l) {
      if (m >> l & 1) wants[l] = w.from<std::uint32_t>(in.o[in.table])[l];
    }
    for (const Group& g : w.groups) {
      if (!joins(g)) continue;
      const Inst& there = w.worker->launch->kernel->code[g.pc];
      for (int l = 0; l < kLanes; ++l) {
        if (g.mask >> l & 1) wants[l] = w.from<std::uint32_t>(there.o[there.table])[l];
      }
    }
    for (Mask rest = total; rest != 0;) {
      const int l = __builtin_ctz(rest);
      Mask same = 0;
      for (int j = 0; j < kLanes; ++j) {
        if ((total >> j & 1) && wants[j] == wants[l]) same |= Mask{1} << j;
      }
      if (const Mask outside = same & ~wants[l]; outside != 0)
        fault(w, in, outside, "lane is not in its own member mask " + lanes_text(wants[l]));
      if (race::on() && (wants[l] & w.exited) != 0)  // hardware forgives these, too
        fault(w, in, m, "the member mask names lanes that have returned: " + lanes_text(wants[l] & w.exited));
      if ((wants[l] & alive & ~same) == 0) {
        go |= same;
        if (in.meet == 1 && race::on()) race::warp_sync(w, same);
      }
      rest &= ~same;
    }
  }
  if (go == 0) {
    put(w, pc, m, State::at_sync);
    return false;
  }
  // Those that go on leave their groups; of these all but those at pc stand ready behind their own instruction.
  Mask here = m & go;
  if (m & ~go) put(w, pc, m & ~go, State::at_sync);
  std::vector<Group> behind;
  for (Group& g : w.groups) {
    if (g.state != State::at_sync || (g.mask & go) == 0) continue;
    if (g.pc == pc)
      here |= g.mask & go;
    else
      behind.push_back({g.pc + 1, g.mask & go, State::ready, 0});
    g.mask &= ~go;
  }
  std::erase_if(w.groups, [](const Group& g) { return g.mask == 0; });
  for (const Group& g : behind) put(w, g.pc, g.mask);
  m = here;
  return true;
}

// Executes a sync for each set of lanes that named each other.
void run_sync(Warp& w, const Inst& in, Mask m) {
  if (in.meet != 0) return in.run(w, in, m);
  const std::uint32_t* wants = w.from<std::uint32_t>(in.o[in.table]);
  for (Mask rest = m; rest != 0;) {
    const std::uint32_t want = wants[__builtin_ctz(rest)];
    Mask same = 0;
    if (in.o[in.table] < 0) {
      same = rest;
    } else {
      for (int j = 0; j < kLanes; ++j) {
        if ((rest >> j & 1) && wants[j] == want) same |= Mask{1} << j;
      }
    }
    in.run(w, in, same);
    rest &= ~same;
  }
}

void leave(Warp& w, Mask m) {
  w.exited |= m;
  Block& block = *w.block;
  const auto count = static_cast<std::uint32_t>(__builtin_popcount(m));
  block.live -= count;
  for (Group& g : w.groups) {
    if (g.state == State::at_sync) g.state = State::ready;  // asks again
  }
  check_barriers(block);
  if (block.cluster != nullptr) {
    block.cluster->live -= count;
    check_cluster(*block.cluster);
  }
}

constexpr std::uint64_t kSlice = 10000;

bool can_run(const Warp& w) {
  for (const Group& g : w.groups) {
    if (g.state == State::ready) return true;
    if (g.state == State::at_cluster) {
      bool all = true;
      for (int l = 0; l < kLanes; ++l)
        all &= !(g.mask >> l & 1) || static_cast<std::int32_t>(w.block->cluster->phase - w.cluster_phase[l]) >= 0;
      if (all) return true;
    }
  }
  return false;
}

// Until all lanes wait or have exited, or about `budget` instructions are done. How many were.
std::uint64_t run(Warp& w, std::uint64_t budget) {
  const Kernel& kernel = *w.worker->launch->kernel;
  const Inst* const code = kernel.code.data();
  Count* const counts = w.worker->counts;
  std::uint64_t done = 0;
  std::uint32_t last_pc = 0;
  for (Group& g : w.groups) {
    if (g.state == State::at_cluster) g.state = State::ready;  // asks again
  }
  while (done < budget) {
    int chosen = -1;
    for (int i = 0; i < static_cast<int>(w.groups.size()); ++i) {
      if (w.groups[i].state != State::ready) continue;
      if (chosen < 0) {
        chosen = i;
      } else if (w.rotate) {  // the next behind the last one, around
        if (w.groups[i].pc - last_pc - 1 < w.groups[chosen].pc - last_pc - 1) chosen = i;
      } else if (w.groups[i].pc < w.groups[chosen].pc) {
        chosen = i;
      }
    }
    w.rotate = false;
    if (chosen < 0) return done;
    std::uint32_t pc = w.groups[chosen].pc, limit = kNowhere;
    Mask mask = w.groups[chosen].mask;
    w.groups[chosen] = w.groups.back();
    w.groups.pop_back();
    bool others = false;
    for (const Group& g : w.groups) {
      if (g.state != State::ready) continue;
      others = true;
      if (g.pc > pc) limit = std::min(limit, g.pc);
    }
    std::uint64_t left = others ? std::min(kSlice, budget - done) : budget - done;
    const std::uint64_t begun = left;
    for (;;) {
      const Inst& in = code[pc];
      Mask m = mask;
      if (in.guard != kNone) {
        const Mask p = *w.to<Mask>(in.guard);
        m &= in.negated ? ~p : p;
      }
      --left;
      if (counts != nullptr) [[unlikely]] {
        ++counts[pc].issued;
        counts[pc].lanes += static_cast<std::uint64_t>(__builtin_popcount(m));
      }
      if (in.kind == Kind::simple) [[likely]] {
        if (m != 0) in.run(w, in, m);
        ++pc;
      } else if (in.kind == Kind::branch) {
        if (m == mask) {
          pc = static_cast<std::uint32_t>(in.imm);
        } else if (m == 0) {
          ++pc;
        } else {
          put(w, static_cast<std::uint32_t>(in.imm), m);
          put(w, pc + 1, mask & ~m);
          break;
        }
      } else {
        if (m == 0) {
          ++pc;
        } else {
          if (m != mask) {
            put(w, pc + 1, mask & ~m);
            mask = m;
            limit = std::min(limit, pc + 1);
          }
          if (in.kind == Kind::sync) {
            if (!meets(w, in, pc, m)) break;
            run_sync(w, in, m);
            mask = m;
            ++pc;
            if (!w.groups.empty()) {  // others may have been freed
              put(w, pc, mask);
              break;
            }
          } else if (in.kind == Kind::exit) {
            leave(w, mask);
            break;
          } else if (in.kind == Kind::barrier) {
            if ((in.flags & 16) && !meets(w, in, pc, m)) break;
            Block& block = *w.block;
            const std::uint32_t id = w.from<std::uint32_t>(in.o[1])[__builtin_ctz(m)];
            if (id >= 16) fault(w, in, m, "barrier " + std::to_string(id));
            BarrierState& barrier = block.barriers[id];
            const std::uint32_t expected = in.o[2] == kNone ? 0 : w.from<std::uint32_t>(in.o[2])[__builtin_ctz(m)];
            barrier.expected = expected;
            barrier.arrived += expected != 0 ? kLanes : static_cast<std::uint32_t>(__builtin_popcount(m));
            if ((in.flags & 15) >= 2) {
              const Mask p = in.imm ? ~*w.from<Mask>(in.o[3]) : *w.from<Mask>(in.o[3]);
              barrier.any |= (p & m) != 0;
              barrier.all &= (p & m) == m;
              barrier.count += static_cast<std::uint32_t>(__builtin_popcount(p & m));
            }
            if ((in.flags & 15) == 1)
              put(w, pc + 1, m);
            else
              put(w, pc, m, State::at_barrier, id);
            if (barrier.arrived >= (expected != 0 ? expected : block.live)) release(block, id);
            break;
          } else if (in.kind == Kind::cluster_arrive) {
            Cluster& cluster = *w.block->cluster;
            for (int l = 0; l < kLanes; ++l) {
              if (!(m >> l & 1)) continue;
              if (static_cast<std::int32_t>(w.cluster_phase[l] - cluster.phase) > 0)
                fault(w, in, Mask{1} << l, "arrives at the cluster's barrier twice");
              w.cluster_phase[l] = cluster.phase + 1;
            }
            cluster.arrived += static_cast<std::uint32_t>(__builtin_popcount(m));
            check_cluster(cluster);
            ++pc;
          } else if (in.kind == Kind::cluster_wait) {
            Mask pass = 0;
            for (int l = 0; l < kLanes; ++l) {
              if ((m >> l & 1) && static_cast<std::int32_t>(w.block->cluster->phase - w.cluster_phase[l]) >= 0)
                pass |= Mask{1} << l;
            }
            if (pass != m) {
              put(w, pc, m & ~pass, State::at_cluster);
              if (pass != 0) put(w, pc + 1, pass);
              break;
            }
            ++pc;
          } else if (in.kind == Kind::indexed) {
            const auto& table = kernel.tables[in.table];
            for (int l = 0; l < kLanes; ++l) {
              if (!(m >> l & 1)) continue;
              const std::uint32_t which = w.from<std::uint32_t>(in.o[0])[l];
              if (which >= table.size()) fault(w, in, Mask{1} << l, "index of a branch " + std::to_string(which));
              put(w, table[which], Mask{1} << l);
            }
            break;
          } else if (in.kind == Kind::yield) {
            put(w, pc + 1, mask);
            w.rotate = true;
            break;
          } else {
            fault(w, in, m, "trap");
          }
        }
      }
      if (pc >= limit || left == 0) {
        put(w, pc, mask);
        w.rotate = left == 0;
        break;
      }
    }
    last_pc = pc;
    done += begun - left;
  }
  return done;
}

char* reserve(std::size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::fprintf(stderr, "PTX machine: no memory for %zu bytes\n", bytes);
    _exit(86);
  }
  return static_cast<char*>(memory);
}

// Room for one block, used by one after another.
struct Slot {
  Block block;
  char* registers = nullptr;
  char* local = nullptr;
  std::size_t register_bytes = 0, local_bytes = 0, shared_bytes = 0;
  std::vector<int> order;
  Slot() = default;
  Slot(const Slot&) = delete;
  ~Slot() {
    if (registers) munmap(registers, register_bytes);
    if (local) munmap(local, local_bytes);
    if (block.shared) munmap(block.shared, shared_bytes);
  }

  void prepare(Worker& worker) {
    const Launch& launch = *worker.launch;
    const Kernel& kernel = *launch.kernel;
    const std::size_t threads = launch.block.size(), warps = (threads + kLanes - 1) / kLanes;
    block.warps.resize(warps);
    register_bytes = warps * kernel.register_bytes + 64;
    registers = reserve(register_bytes);
    const std::uint32_t stride = (kernel.local_bytes + 15) / 16 * 16 + 64;
    if (kernel.local_bytes > 0) {
      local_bytes = warps * kLanes * stride;
      local = reserve(local_bytes);
    }
    shared_bytes = launch.shared_bytes + 4096;
    block.shared = reserve(shared_bytes);
    for (std::size_t i = 0; i < warps; ++i) {
      Warp& w = block.warps[i];
      w.registers = registers + i * kernel.register_bytes;
      w.constants = kernel.constants.data();
      w.local = local + i * kLanes * stride;
      w.local_stride = stride;
      w.block = &block;
      w.worker = &worker;
      w.index = static_cast<int>(i);
      const std::size_t lanes = std::min<std::size_t>(kLanes, threads - i * kLanes);
      w.exists = lanes == kLanes ? kAll : (Mask{1} << lanes) - 1;
    }
    order.resize(warps);
    std::iota(order.begin(), order.end(), 0);
  }
  void begin(const Launch& launch, std::uint64_t index, std::uint32_t together, Cluster* cluster, std::uint32_t rank,
             std::mt19937_64* random) {
    block.linear = static_cast<std::uint32_t>(index);
    block.index = {static_cast<std::uint32_t>(index % launch.grid.x),
                   static_cast<std::uint32_t>(index / launch.grid.x % launch.grid.y),
                   static_cast<std::uint32_t>(index / launch.grid.x / launch.grid.y)};
    block.live = static_cast<std::uint32_t>(launch.block.size());
    block.barriers = {};
    block.cluster = cluster;
    block.rank = rank;
    block.issued = 0;
    if (launch.shared_bytes > kSharedStart) poison(block.shared + kSharedStart, launch.shared_bytes - kSharedStart);
    if (local != nullptr) poison(local, local_bytes);
    for (Warp& w : block.warps) {
      w.exited = 0;
      w.rotate = false;
      w.groups.assign(1, {0, w.exists, State::ready, 0});
      std::fill(std::begin(w.cluster_phase), std::end(w.cluster_phase), cluster == nullptr ? 0 : cluster->phase);
    }
    if (random != nullptr) std::shuffle(order.begin(), order.end(), *random);
    if (race::on()) race::block_begins(block, launch, together);
  }
};

[[noreturn]] void deadlock(const Launch& launch, const std::vector<Slot*>& blocks) {
  static const char* const states[] = {"ready", "waits for lanes of its warp", "waits at a barrier",
                                       "waits at the cluster's barrier"};
  std::string text = "  DEADLOCK: no lane can go on\n";
  int lines = 0;
  for (const Slot* slot : blocks) {
    for (const Warp& w : slot->block.warps) {
      for (const Group& g : w.groups) {
        if (++lines > 24) continue;
        text += "  block " + dim_text(slot->block.index) + " warp " + std::to_string(w.index) + " " +
                lanes_text(g.mask) + " " + states[static_cast<int>(g.state)] + ", exited " + lanes_text(w.exited) +
                ", at " + at_text(*launch.kernel, launch.kernel->code[g.pc]) + "\n";
      }
    }
  }
  if (lines > 24) text += "  and " + std::to_string(lines - 24) + " more\n";
  stop(launch, text);
}

struct Orders {
  std::uint64_t seed = 0;
  bool random = false;
};
Orders orders() {
  const std::string seed = setting("PTX_SEED", "");
  return seed.empty() ? Orders{} : Orders{std::stoull(seed), true};
}

// Runs sets of `together` blocks, one set after another; while one spins for long, the next joins it.
void work(Worker& worker, const std::vector<std::uint64_t>& sets, std::atomic<std::size_t>& next,
          std::uint32_t together) {
  const Launch& launch = *worker.launch;
  static const std::uint64_t spin = std::stoull(setting("PTX_SPIN", "3000000")),
                             most = std::stoull(setting("PTX_LIMIT", "0"));
  struct Set {
    std::vector<std::unique_ptr<Slot>> slots;
    Cluster cluster;
    std::uint32_t live = 0;
  };
  const Orders how = orders();
  std::mt19937_64 random(how.seed);
  std::vector<std::unique_ptr<Set>> resident, unused;
  std::uint64_t since = 0, total = 0;
  const auto admit = [&] {
    const std::size_t which = next.fetch_add(1);
    if (which >= sets.size()) return false;
    if (unused.empty()) {
      unused.push_back(std::make_unique<Set>());
      for (std::uint32_t i = 0; i < together; ++i) {
        unused.back()->slots.push_back(std::make_unique<Slot>());
        unused.back()->slots.back()->prepare(worker);
      }
    }
    auto set = std::move(unused.back());
    unused.pop_back();
    set->cluster = {0, 0, static_cast<std::uint32_t>(launch.block.size() * together), {}};
    for (auto& slot : set->slots) set->cluster.blocks.push_back(&slot->block);
    for (std::uint32_t i = 0; i < together; ++i)
      set->slots[i]->begin(launch, sets[which] * together + i, together, &set->cluster, i,
                           how.random ? &random : nullptr);
    resident.push_back(std::move(set));
    return true;
  };
  while (!resident.empty() || admit()) {
    bool progress = false;
    for (std::size_t s = 0; s < resident.size(); ++s) {
      Set& set = *resident[s];
      bool lives = false;
      const bool alone = together == 1 && launch.block.size() <= kLanes && resident.size() == 1;
      for (auto& slot : set.slots) {
        if (slot->block.live == 0) continue;
        for (const int i : slot->order) {
          Warp& w = slot->block.warps[i];
          if (!can_run(w)) continue;
          progress = true;
          const std::uint64_t budget = alone ? spin : 16384;
          const std::uint64_t done = run(w, budget);
          since += done;
          total += done;
        }
        lives |= slot->block.live > 0;
      }
      if (!lives) {
        unused.push_back(std::move(resident[s]));
        resident.erase(resident.begin() + static_cast<std::ptrdiff_t>(s--));
        since = 0;
        progress = true;
      }
    }
    if (!progress && !resident.empty() && !admit()) {
      std::vector<Slot*> blocks;
      for (auto& set : resident) {
        for (auto& slot : set->slots) blocks.push_back(slot.get());
      }
      deadlock(launch, blocks);
    }
    if (since > spin && resident.size() < 32) {
      since = 0;
      admit();
    }
    if (most != 0 && total > most) {
      std::vector<Slot*> blocks;
      for (auto& set : resident) {
        for (auto& slot : set->slots) blocks.push_back(slot.get());
      }
      deadlock(launch, blocks);
    }
  }
}

}  // namespace

void fault(Warp& w, const Inst& inst, Mask lanes, const std::string& what) {
  const std::lock_guard lock(fault_lock);
  const Launch& launch = *w.worker->launch;
  const auto thread = static_cast<std::uint32_t>(w.index * kLanes + __builtin_ctz(lanes | 1U << 31));
  const Dim at{thread % launch.block.x, thread / launch.block.x % launch.block.y,
               thread / launch.block.x / launch.block.y};
  stop(launch, "  " + what + "\n  block " + dim_text(w.block->index) + ", thread " + dim_text(at) + ", " +
                   lanes_text(lanes) + "\n  at " + at_text(*launch.kernel, inst));
}

void execute(const Launch& launch) {
  const std::uint64_t blocks = launch.grid.size();
  const std::uint32_t together =
      launch.cooperative ? static_cast<std::uint32_t>(blocks) : static_cast<std::uint32_t>(launch.cluster.size());
  std::vector<std::uint64_t> sets(blocks / together);
  std::iota(sets.begin(), sets.end(), 0);
  if (const Orders how = orders(); how.random) {
    std::mt19937_64 random(how.seed);
    for (std::size_t i = 0; i < sets.size();
         i += 16) {  // the device, too, begins blocks nearly in order, and CUB relies on it
      std::shuffle(sets.begin() + static_cast<std::ptrdiff_t>(i),
                   sets.begin() + static_cast<std::ptrdiff_t>(std::min(i + 16, sets.size())), random);
    }
  }
  static const int threads_wanted = std::stoi(setting("PTX_THREADS", "2"));
  const std::size_t threads = race::on() || count::on() || blocks * launch.block.size() < 4096
                                  ? 1
                                  : std::min<std::size_t>(sets.size(), threads_wanted);
  if (race::on()) race::launch_begins(launch);
  if (count::on()) count::launch_begins(*launch.kernel);
  std::vector<Worker> workers(threads);
  std::atomic<std::size_t> next{0};
  for (Worker& worker : workers) {
    worker.launch = &launch;
    worker.caches.resize(launch.kernel->caches);
    if (count::on()) worker.counts = launch.kernel->counts.data();
  }
  std::vector<std::thread> running;
  for (std::size_t i = 1; i < threads; ++i) running.emplace_back([&, i] { work(workers[i], sets, next, together); });
  work(workers[0], sets, next, together);
  for (auto& thread : running) thread.join();
}

}  // namespace ptx
