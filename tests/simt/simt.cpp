// The executor's runtime: each CUDA thread is a fiber, a block's fibers take turns on one OS thread until they meet a
// barrier or a warp operation, and blocks run one after another; the blocks of a cluster, and all of a cooperative
// launch, take turns with each other. A block in which nobody can go on ends the program with a report of where each
// thread waits.
//
// SIMT_ORDER       forward, reverse, or random[:seed]: the order in which ready threads and blocks run
//                  (default: random; under ASan forward). A seed that failed is in the report.
// SIMT_MEMORY_MIB  memory of the pretended device (default 4096).
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <boost/context/fiber.hpp>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <numeric>
#include <unordered_map>
#include <vector>

#include "cuda_runtime.h"
#include "executor.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

__thread uint3 threadIdx, blockIdx, blockDim, gridDim;
extern "C" char __executable_start;

namespace simt {

__thread Thread* running = nullptr;
__thread bool watching = false;
std::vector<Block> blocks(1);
Block* block = blocks.data();
std::size_t shared_bytes = 0;
const Launch* current_launch = nullptr;
char* arena = nullptr;
std::size_t arena_used = 0;

namespace {

constexpr std::size_t kDefaultSharedBytes = 48 << 10;  // above it a kernel must ask, as on a GPU
constexpr std::size_t kRedzone = 4096;

std::size_t page_bytes() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

std::recursive_mutex engine;  // one kernel, copy or allocation at a time

// --- order -----------------------------------------------------------------------------------------------------------
struct Order {
  enum Kind { kForward, kReverse, kRandom } kind = kRandom;
  std::uint64_t seed = 1, state = 1;

  Order() {
#ifdef __SANITIZE_ADDRESS__
    kind = kForward;
#endif
    const char* given = std::getenv("SIMT_ORDER");
    if (given == nullptr) return;
    const std::string text = given;
    if (text == "forward") {
      kind = kForward;
    } else if (text == "reverse") {
      kind = kReverse;
    } else if (text.rfind("random", 0) == 0) {
      kind = kRandom;
      if (text.size() > 7) seed = state = std::strtoull(text.c_str() + 7, nullptr, 10);
    } else {
      fail("SIMT_ORDER=%s is none of forward, reverse, random, random:SEED", given);
    }
  }
  std::uint64_t next() {  // splitmix64
    std::uint64_t z = (state += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }
  void arrange(std::vector<std::uint32_t>& items) {
    if (kind == kReverse) std::reverse(items.begin(), items.end());
    if (kind != kRandom) return;
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[next() % i]);
  }
};
Order& order() {
  static Order instance;
  return instance;
}

// --- fibers ----------------------------------------------------------------------------------------------------------
// Fibers live as long as the program: each runs the launch's body once for every thread that it is given to be.
struct Fiber {
  boost::context::fiber self, host;
  char* stack = nullptr;  // lowest address
  void* fake_stack = nullptr;
};
std::vector<Fiber*>& fibers = *new std::vector<Fiber*>;  // lives until the end, with the fibers

#ifdef __SANITIZE_ADDRESS__
void* host_fake_stack = nullptr;
const void* host_stack = nullptr;
std::size_t host_stack_bytes = 0;
#endif

void to_fiber(Fiber& fiber) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&host_fake_stack, fiber.stack, kStackBytes);
#endif
  fiber.self = std::move(fiber.self).resume();
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(host_fake_stack, nullptr, nullptr);
#endif
}

void to_host(Fiber& fiber) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&fiber.fake_stack, host_stack, host_stack_bytes);
#endif
  fiber.host = std::move(fiber.host).resume();
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fiber.fake_stack, &host_stack, &host_stack_bytes);
#endif
}

struct NoAllocator {  // stacks are never given back
  boost::context::stack_context allocate() const { return {}; }
  void deallocate(boost::context::stack_context&) const noexcept {}
};

Fiber* make_fiber() {
  // The page below the stack is never readable, so that an overflow stops at once.
  const std::size_t page = page_bytes();
  void* memory = mmap(nullptr, kStackBytes + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) fail("no memory for a fiber's stack");
  auto* fiber = new Fiber;
  fiber->stack = static_cast<char*>(memory) + page;
  boost::context::stack_context stack;
  stack.size = kStackBytes;
  stack.sp = fiber->stack + kStackBytes;
  const boost::context::preallocated place(stack.sp, stack.size, stack);
  fiber->self = boost::context::fiber(std::allocator_arg, place, NoAllocator{}, [fiber](boost::context::fiber&& host) {
    fiber->host = std::move(host);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(nullptr, &host_stack, &host_stack_bytes);
#endif
    for (;;) {
      current_launch->body(current_launch->arguments);
      watching = false;
      running->state = Thread::kExited;
      to_host(*fiber);
    }
    return std::move(fiber->host);
  });
  return fiber;
}

// --- blocks ----------------------------------------------------------------------------------------------------------
std::vector<Thread> threads;
std::uint32_t at_cluster_barrier = 0;
std::uint32_t turns_without_wait = 0;

void pause() { to_host(*fibers[running->fiber]); }

void run(Block& of, Thread& thread) {
  const Launch& launch = *current_launch;
  block = &of;
  running = &thread;
  blockIdx = {of.index % launch.grid[0], of.index / launch.grid[0] % launch.grid[1],
              of.index / launch.grid[0] / launch.grid[1]};
  threadIdx = {thread.coordinates[0], thread.coordinates[1], thread.coordinates[2]};
  watching = true;
  to_fiber(*fibers[thread.fiber]);
  watching = false;
  running = nullptr;
}

bool same(const Site& a, const Site& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

// Lets everyone waiting at the barrier go on, if that is all threads of the block. Exited threads do not count as
// arrived: a barrier that some threads have returned past is a bug, even where today's hardware forgives it.
void try_barrier() {
  if (block->arrived < block->threads.size()) return;
  const Site& first = block->threads[0].site;
  for (Thread& thread : block->threads) {
    if (!same(thread.site, first)) {
      fail("divergent barrier: thread 0 of the block is at %s:%u, thread %u at %s:%u", first.file_name(), first.line(),
           thread.index, thread.site.file_name(), thread.site.line());
    }
  }
  ++block->barriers;
  race::barrier();
  for (Thread& thread : block->threads) thread.state = Thread::kReady;
  block->barrier_result = block->barrier_count;
  block->arrived = 0;
  block->barrier_count = 0;
}

// Lets the lanes at `thread`'s warp operation go on, if all lanes of its mask are there; a mask may name lanes beyond
// the block's end, but none that has returned. What they brought is copied to each at this moment, and clocks pass here
// too: a lane that runs ahead can add nothing.
void try_warp(const Thread& thread) {
  Thread* warp = &block->threads[thread.index & ~31U];
  const auto lanes = std::min<std::uint32_t>(32, static_cast<std::uint32_t>(block->threads.size()) - warp->index);
  Gathered gathered;
  for (std::uint32_t lane = 0; lane < lanes; ++lane) {
    const Thread& other = warp[lane];
    if ((thread.mask >> lane & 1) == 0) continue;
    if (other.state != Thread::kAtWarp || other.mask != thread.mask || !same(other.site, thread.site)) {
      return;
    }
    gathered.present |= 1U << lane;
    gathered.value[lane] = other.value;
  }
  if (thread.orders_memory) race::warp_sync(gathered.present, warp);
  for (std::uint32_t lane = 0; lane < lanes; ++lane) {
    if ((gathered.present >> lane & 1) == 0) continue;
    warp[lane].gathered = gathered;
    warp[lane].state = Thread::kReady;
  }
}

// Groups each block's threads by what they wait for, as ranges of thread indices.
std::string who_waits_where() {
  const auto place = [](const Thread& thread) {
    if (thread.state == Thread::kExited) return std::string("have returned");
    if (thread.state == Thread::kReady) return std::string("can run");
    std::string text = std::string("wait at ") + thread.waits_at + ", " + thread.site.file_name() + ":" +
                       std::to_string(thread.site.line()) + " in " + thread.site.function_name();
    char mask[32];
    std::snprintf(mask, sizeof(mask), " with mask %08x", thread.mask);
    return thread.state == Thread::kAtWarp ? text + mask : text;
  };
  std::string text;
  for (const Block& of : blocks) {
    std::map<std::string, std::string> groups;
    const auto count = static_cast<std::uint32_t>(of.threads.size());
    for (std::uint32_t first = 0, last; first < count; first = last) {
      const std::string at = place(of.threads[first]);
      for (last = first + 1; last < count && place(of.threads[last]) == at; ++last) {
      }
      std::string& who = groups[at];
      who +=
          (who.empty() ? "" : ", ") + std::to_string(first) + (last - first > 1 ? ".." + std::to_string(last - 1) : "");
    }
    const std::string name = blocks.size() > 1 ? "block " + std::to_string(of.index) + ", " : "";
    for (const auto& [at, who] : groups) text += "\n  " + name + "threads " + who + " " + at;
  }
  return text;
}

// Runs the launch's blocks [first, first + blocks.size()) to their end.
void run_blocks(std::uint32_t first) {
  const Launch& launch = *current_launch;
  at_cluster_barrier = 0;
  std::vector<std::uint32_t> turn(blocks.size() * blocks[0].threads.size());
  const auto count = static_cast<std::uint32_t>(blocks[0].threads.size());
  for (std::uint32_t b = 0; b < blocks.size(); ++b) {
    Block& of = blocks[b];
    of.index = first + b;
    of.barriers = of.arrived = 0;
    of.barrier_count = 0;
    if (shared_bytes > 0) std::memset(of.shared, 0xFF, shared_bytes);
    for (std::uint32_t i = 0; i < count; ++i) {
      Thread& thread = of.threads[i];
      thread.id = of.index * count + i;
      thread.index = i;
      thread.fiber = b * count + i;
      thread.stack = fibers[thread.fiber]->stack;
      thread.coordinates[0] = i % launch.block[0];
      thread.coordinates[1] = i / launch.block[0] % launch.block[1];
      thread.coordinates[2] = i / launch.block[0] / launch.block[1];
      thread.state = Thread::kReady;
      turn[thread.fiber] = thread.fiber;
    }
    block = &of;
    race::block_begins();
  }
  order().arrange(turn);
  for (std::size_t exited = 0; exited < turn.size();) {
    bool progress = false;
    for (const std::uint32_t i : turn) {
      Thread& thread = blocks[i / count].threads[i % count];
      if (thread.state != Thread::kReady) continue;
      run(blocks[i / count], thread);
      progress = true;
      if (thread.state == Thread::kExited) ++exited;
    }
    if (!progress) fail("deadlock: no thread of the block can go on%s", who_waits_where().c_str());
    if (order().kind == Order::kRandom) order().arrange(turn);
  }
}

// --- reports ---------------------------------------------------------------------------------------------------------
void print_position() {
  if (current_launch == nullptr) return;
  const Launch& l = *current_launch;
  std::fprintf(stderr, "simt: in kernel %s, grid (%u, %u, %u), block of (%u, %u, %u)", where(l.kernel).c_str(),
               l.grid[0], l.grid[1], l.grid[2], l.block[0], l.block[1], l.block[2]);
  if (running != nullptr) {
    std::fprintf(stderr, ", block (%u, %u, %u), thread (%u, %u, %u)", blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x,
                 threadIdx.y, threadIdx.z);
  }
  std::fprintf(stderr, "%s\n",
               order().kind != Order::kRandom ? "" : (", SIMT_ORDER=random:" + std::to_string(order().seed)).c_str());
}

// A touch of closed device memory, a wild pointer or a stack overflow: says which, then leaves the signal to whoever
// had it before (ASan prints a stack; otherwise the program ends).
struct sigaction previous_action;
void on_segv(int, siginfo_t* info, void*) {
  const char* address = static_cast<const char*>(info->si_addr);
  std::fprintf(stderr, "simt: %s touched %s\n", running == nullptr ? "host code" : "a kernel",
               describe_address(address).c_str());
  print_position();
  sigaction(SIGSEGV, &previous_action, nullptr);
}

// --- device memory ---------------------------------------------------------------------------------------------------
// Addresses are handed out once, in order, with a redzone behind each allocation; all of it is closed to host code.
// When nothing is live they start again.
std::map<char*, std::size_t> live;
std::size_t live_bytes = 0;
int open_scopes = 0;
constexpr std::size_t kAlignment = 256;  // of every allocation, as cudaMalloc's

std::size_t padded(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment + kRedzone; }

void start() {
  static const bool started = [] {
    void* memory = mmap(nullptr, kArenaBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail("cannot reserve addresses for device memory");
    arena = static_cast<char*>(memory);
    static char signal_stack[64 << 10];
    stack_t alternate{};
    alternate.ss_sp = signal_stack;
    alternate.ss_size = sizeof(signal_stack);
    sigaltstack(&alternate, nullptr);
    struct sigaction action {};
    action.sa_sigaction = on_segv;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &previous_action);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_set_death_callback(print_position);
#endif
    return true;
  }();
  (void)started;
}

void set_access(int protection) {
  const std::size_t bytes = (arena_used + page_bytes() - 1) / page_bytes() * page_bytes();
  if (bytes > 0 && mprotect(arena, bytes, protection) != 0) fail("mprotect of device memory");
}

void poison([[maybe_unused]] char* from, [[maybe_unused]] std::size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  __asan_poison_memory_region(from, bytes);
#endif
}

std::map<char*, std::size_t>::const_iterator allocation_of(const void* memory) {
  auto after = live.upper_bound(const_cast<char*>(static_cast<const char*>(memory)));
  if (after == live.begin()) return live.end();
  --after;
  return static_cast<const char*>(memory) <= after->first + after->second ? after : live.end();
}

std::unordered_map<const void*, std::size_t> allowed_shared;

}  // namespace

DeviceAccess::DeviceAccess() {
  engine.lock();
  start();
  if (open_scopes++ == 0) set_access(PROT_READ | PROT_WRITE);
}
DeviceAccess::~DeviceAccess() {
  if (--open_scopes == 0) set_access(PROT_NONE);
  engine.unlock();
}

void* allocate(std::size_t bytes) {
  const std::lock_guard lock(engine);
  start();
  if (bytes > memory_free()) return nullptr;
  if (live.empty()) arena_used = 0;
  if (arena_used + padded(bytes) > kArenaBytes) fail("all addresses for device memory have been used");
  char* memory = arena + arena_used;
  arena_used += padded(bytes);
  live[memory] = bytes;
  live_bytes += bytes;
  if (open_scopes > 0) set_access(PROT_READ | PROT_WRITE);
  const DeviceAccess access;
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(memory, padded(bytes));
#endif
  std::memset(memory, 0xFF, bytes);  // NaN, or -1
  poison(memory + bytes, padded(bytes) - bytes);
  return memory;
}

bool release(void* memory) {
  const std::lock_guard lock(engine);
  const auto found = live.find(static_cast<char*>(memory));
  if (found == live.end()) return false;
  const std::size_t bytes = found->second;
  {
    const DeviceAccess access;
    std::memset(memory, 0xFF, bytes);  // whoever still reads it finds NaN, or -1
    poison(found->first, padded(bytes));
  }
  live_bytes -= bytes;
  live.erase(found);
  return true;
}

bool holds(const void* memory, std::size_t bytes) {
  const std::lock_guard lock(engine);
  const auto found = allocation_of(memory);
  return found != live.end() && static_cast<const char*>(memory) + bytes <= found->first + found->second;
}
bool is_device(const void* memory) {
  const auto* address = static_cast<const char*>(memory);
  return arena != nullptr && address >= arena && address < arena + kArenaBytes;
}
std::size_t memory_total() {
  const char* given = std::getenv("SIMT_MEMORY_MIB");
  return (given != nullptr ? std::strtoull(given, nullptr, 10) : 4096) << 20;
}
std::size_t memory_free() { return memory_total() - std::min(live_bytes, memory_total()); }

std::string describe_address(const void* address) {
  const auto* byte = static_cast<const char*>(address);
  char text[160];
  if (!is_device(address)) {
    for (const Fiber* fiber : fibers) {
      if (byte >= fiber->stack - page_bytes() && byte < fiber->stack)
        return "the guard page below its stack: stack overflow";
    }
    std::snprintf(text, sizeof(text), "%p, which is not device memory", address);
    return text;
  }
  const auto found = allocation_of(address);
  const auto offset = found == live.end() ? 0 : byte - found->first;
  if (found == live.end()) {
    std::snprintf(text, sizeof(text), "%p, device memory that is not allocated", address);
  } else if (found->first == block->shared) {
    std::snprintf(text, sizeof(text), "byte %td of %zu of shared memory", offset, found->second);
  } else {
    std::snprintf(text, sizeof(text), "byte %td of a device allocation of %zu bytes at %p", offset, found->second,
                  static_cast<void*>(found->first));
  }
  return text;
}

std::string where(const void* program_counter) {
  char command[512], line[1024], program[256];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
  program[length > 0 ? length : 0] = 0;
  const auto offset = static_cast<std::size_t>(static_cast<const char*>(program_counter) - &__executable_start);
  std::snprintf(command, sizeof(command), "addr2line -Cfpse '%s' 0x%zx 2>/dev/null", program, offset);
  std::string text;
  if (FILE* pipe = popen(command, "r"); pipe != nullptr) {
    if (std::fgets(line, sizeof(line), pipe) != nullptr) text = line;
    pclose(pipe);
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::snprintf(line, sizeof(line), "at 0x%zx", offset);
  return text.empty() ? line : text;
}

void fail(const char* format, ...) {
  const Unwatched unwatched;
  std::va_list arguments;
  va_start(arguments, format);
  char text[8192];
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  std::fflush(stdout);
  std::fprintf(stderr, "simt: %s\n", text);
  print_position();
  std::abort();
}

// --- what kernels call -----------------------------------------------------------------------------------------------
void* dynamic_shared(std::size_t bytes) {
  if (bytes > shared_bytes) {
    fail("the kernel uses %zu bytes of dynamic shared memory, the launch gave it %zu", bytes, shared_bytes);
  }
  return block->shared;
}

unsigned lane() { return running->index & 31U; }

int block_barrier(const char* name, bool predicate, Site site) {
  const Unwatched unwatched;
  Thread& me = *running;
  me.state = Thread::kAtBarrier;
  me.waits_at = name;
  me.site = site;
  ++block->arrived;
  block->barrier_count += predicate ? 1 : 0;
  try_barrier();
  if (me.state != Thread::kReady) pause();
  return block->barrier_result;
}

void cluster_barrier(Site site) {
  const Unwatched unwatched;
  Thread& me = *running;
  me.state = Thread::kAtClusterBarrier;
  me.waits_at = "the cluster's barrier";
  me.site = site;
  if (++at_cluster_barrier < blocks.size() * block->threads.size()) return pause();
  Block* const mine = block;
  race::cluster_barrier();
  block = mine;
  for (Block& of : blocks) {
    for (Thread& thread : of.threads) thread.state = Thread::kReady;
  }
  at_cluster_barrier = 0;
}

Gathered warp_gather(const char* name, unsigned mask, std::uint64_t value, bool orders_memory, Site site) {
  const Unwatched unwatched;
  Thread& me = *running;
  if ((mask >> lane() & 1) == 0) {
    fail("%s at %s:%u: lane %u is not in its own mask %08x", name, site.file_name(), site.line(), lane(), mask);
  }
  me.state = Thread::kAtWarp;
  me.waits_at = name;
  me.site = site;
  me.mask = mask;
  me.value = value;
  me.orders_memory = orders_memory;
  try_warp(me);
  if (me.state != Thread::kReady) pause();
  return me.gathered;
}

void fence() {
  const Unwatched unwatched;
  race::fence(*running);
}

// In random order threads change places at atomics as well; in every order often enough that a thread which spins on an
// atomic lets its block go on.
void atomic_point() {
  if (running == nullptr) return;
  const Unwatched unwatched;
  const bool change = order().kind == Order::kRandom ? order().next() % 4 == 0 : ++turns_without_wait % 64 == 0;
  if (change) pause();
}

// --- what the host calls ---------------------------------------------------------------------------------------------
void allow_shared_bytes(const void* kernel, std::size_t bytes) {
  const std::lock_guard lock(engine);
  allowed_shared[kernel] = bytes;
}

int launch(const Launch& launch) {
  const std::lock_guard lock(engine);
  const std::uint64_t count = std::uint64_t{launch.block[0]} * launch.block[1] * launch.block[2];
  const std::uint64_t grid = std::uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2];
  if (count == 0 || count > 1024 || launch.block[2] > 64 || grid == 0 || launch.grid[0] > 0x7fffffffU ||
      launch.grid[1] > 65535 || launch.grid[2] > 65535) {
    return cudaErrorInvalidConfiguration;
  }
  const auto allowed = allowed_shared.find(launch.kernel);
  if (launch.shared_bytes >
      (allowed == allowed_shared.end() ? kDefaultSharedBytes : std::max(kDefaultSharedBytes, allowed->second))) {
    return cudaErrorInvalidValue;
  }
  if (grid * count > 1U << 22) fail("%zu threads: the executor is meant for a few thousand", std::size_t{grid * count});
  const std::size_t together = launch.cooperative ? grid : launch.cluster;
  if (together == 0 || grid % together != 0) return cudaErrorInvalidConfiguration;
  // What is not at the same time on the device cannot wait for each other there.
  if (launch.cooperative && grid > launch.resident) return cudaErrorCooperativeLaunchTooLarge;
  if (!launch.cooperative && together > kMaxCluster) return cudaErrorInvalidConfiguration;

  shared_bytes = launch.shared_bytes;
  current_launch = &launch;
  gridDim = {launch.grid[0], launch.grid[1], launch.grid[2]};
  blockDim = {launch.block[0], launch.block[1], launch.block[2]};
  while (fibers.size() < together * count) fibers.push_back(make_fiber());
  if (threads.size() < together * count) threads.resize(together * count);
  blocks.assign(together, Block{});
  for (std::size_t b = 0; b < together; ++b) {
    blocks[b].threads = std::span(threads).subspan(b * count, count);
    blocks[b].shared = shared_bytes > 0 ? allocate(shared_bytes) : nullptr;
  }
  std::vector<std::uint32_t> turn(grid / together);
  std::iota(turn.begin(), turn.end(), 0U);
  order().arrange(turn);
  {
    const DeviceAccess access;
    race::launch_begins();
    for (const std::uint32_t index : turn) run_blocks(index * static_cast<std::uint32_t>(together));
  }
  current_launch = nullptr;
  for (const Block& of : blocks) {
    if (of.shared != nullptr) release(of.shared);
  }
  blocks.assign(1, Block{});
  block = blocks.data();
  return cudaSuccess;
}

}  // namespace simt
