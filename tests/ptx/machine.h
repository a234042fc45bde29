// The PTX machine: what its files share. README.md says what it is and how it is used.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ptx {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s8 = std::int8_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

[[noreturn]] void die(const std::string& text);  // prints it and ends the process with exit code 86
const char* setting(const char* name, const char* otherwise);
bool is_on(const char* name, const char* otherwise = "0");  // whether a setting is 1

// Memory that is zero until it is used, and takes none before.
struct Unmap {
  std::size_t bytes = 0;
  void operator()(char* pages) const;
};
using Pages = std::unique_ptr<char, Unmap>;
Pages pages_of(std::size_t bytes);

inline constexpr int kLanes = 32;
using Mask = u32;
inline constexpr Mask kAll = ~Mask{0};

// --- addresses -------------------------------------------------------------------------------------------------------
// Global memory is one reserved range of the host's addresses, which host code that uses one of them may not touch: its
// bytes lie kHostOffset behind. Generic addresses of shared memory lie in a window that no host memory uses.
inline constexpr u64 kArena = 0x200000000000, kArenaBytes = u64{1} << 40, kHostOffset = kArenaBytes;
inline constexpr u64 kSharedWindow = 0x100000000000, kWindowBytes = 1 << 24;
inline constexpr u32 kSharedStart = 1024, kLocalStart = 256;  // the first offsets that may be used: null is none

enum class Space : u8 { generic, global, shared, local, param };
inline constexpr const char* kSpaceNames[] = {"generic", "global", "shared", "local", "param"};

struct Range {  // none: holds nothing
  u64 begin = 0, end = 0;
  bool holds(u64 from, u64 to) const { return from >= begin && from < to && to <= end; }  // not what wraps
};

// --- global memory (memory.cpp) --------------------------------------------------------------------------------------
namespace memory {
u64 allocate(std::size_t bytes);  // 0: out of memory
bool release(u64 address);
Range find(u64 address);  // the allocation that holds the address
bool holds(const void* address, std::size_t bytes);
inline char* host(u64 address) { return reinterpret_cast<char*>(address + kHostOffset); }
inline bool in_arena(u64 address) { return address - kArena < kArenaBytes; }
std::string describe(u64 address);
inline constexpr std::size_t kTotal = std::size_t{8} << 30;
std::size_t used();
// Initialised bytes, where PTX_INITCHECK is on.
bool tracks_init();
void mark_init(u64 address, std::size_t bytes);  // nothing where it is off
bool is_init(u64 address, std::size_t bytes);
}  // namespace memory

inline constexpr u32 kPoison = 0x7fa5a5a5;  // NaN as a float, as a double, a large integer
void poison(void* memory, std::size_t bytes);
constexpr u64 round_up(u64 value, u64 to) { return (value + to - 1) / to * to; }

// --- code ------------------------------------------------------------------------------------------------------------
struct Type {
  char kind = 0;  // b, u, s, f; p: a predicate; 0: none
  int bytes = 0;
  int lane() const { return bytes == 0 || bytes >= 8 ? bytes : 4; }  // bytes of a register, a lane
};

// A place in a warp's registers (not negative) or among the kernel's constants (negative: ~place), in bytes.
using Ref = std::int32_t;
inline constexpr Ref kNone = INT32_MIN;

struct Warp;
struct Inst;
using Execute = void (*)(Warp&, const Inst&, Mask);

enum class Kind : u8 { simple, branch, exit, sync, barrier, cluster_arrive, cluster_wait, trap, yield };
enum class Meet : u8 { here, anywhere, all };  // of a sync: lanes that a mask names, at any sync, all

struct Inst {
  Execute run = nullptr;
  Kind kind = Kind::simple;
  u8 bytes = 0;            // of a memory access of one lane
  u8 count = 0;            // elements of a vector access
  bool wide_base = false;  // the address register has 64 bits
  bool negated = false;    // the guard
  u8 flags = 0;
  bool strong = false;  // of a memory access: volatile or relaxed
  Meet meet = Meet::here;
  Space space = Space::generic;
  Ref guard = kNone;
  std::array<Ref, 14> o;  // operands: destinations first; of a sync the last may name its lanes
  u16 defs = 0;           // which of them are written
  s64 imm = 0;            // an address's offset; a branch's target; else which of the operands are negated
  u32 cache = 0;          // index of a memory access
  Inst() { o.fill(kNone); }
  Ref named() const { return o.back(); }
};

struct Variable {
  std::string_view name;
  u64 at = 0, bytes = 0;
  u32 align = 1;
};
struct Origin {  // of an instruction: its opcode where it lies in the PTX, and the last .loc before it
  std::string_view opcode, loc;
};

struct Count {  // of one instruction: how often warps issued it, for how many lanes, with how many sectors or passes
  u64 issued = 0, lanes = 0, extra = 0;
};

struct Module;
struct Kernel {
  std::string name;  // mangled
  const Module* module = nullptr;
  std::string_view body_text;
  int max_threads = 1024;
  std::vector<Variable> parameters;
  u32 parameter_bytes = 0;
  // Decoded on the first use.
  std::vector<Variable> shared, local;
  u32 static_shared = 0, shared_end = kSharedStart, local_bytes = 0;
  u32 register_bytes = 0;  // of a warp
  int pressure = 0;        // 32-bit registers live at once: a guess at what ptxas uses
  std::vector<Inst> code;
  std::vector<Origin> origins;  // of each
  std::vector<char> constants;
  std::map<std::pair<u64, int>, Ref> constant_places;  // by value and bytes a lane
  u32 caches = 0;
  std::vector<Count> counts;  // where instructions are counted
};

struct Module {
  std::string text;
  std::map<u32, std::string_view> files;    // with their quotes
  std::map<std::string_view, u64> globals;  // their addresses
  std::set<std::string_view> dynamic_shared;
  std::map<std::string, std::unique_ptr<Kernel>> kernels;
};

std::unique_ptr<Module> parse_module(std::string text);
void decode(Kernel& kernel);  // throws std::runtime_error that names what it does not know
std::string place_of(const Kernel& kernel, const Inst& inst);  // in the PTX and in the source

// --- execution -------------------------------------------------------------------------------------------------------
struct MemoryCache {  // of a memory access: the allocation or variable it met last
  Range range;
  Space space = Space::generic;
};
struct Launch {
  Kernel* kernel = nullptr;
  u32 grid = 1, block = 1, cluster = 1;  // blocks, threads of one, blocks that run together
  bool cooperative = false;
  std::size_t dynamic_shared = 0;
  std::vector<char> parameters;
  std::vector<Variable> shared;  // with the dynamic part
  u32 shared_bytes = 0;
  std::vector<MemoryCache> caches;  // of each memory access
  Count* counts = nullptr;          // of the kernel's instructions, where they are counted
};
// Runs the launch to its end. A fault prints its report and ends the process with exit code 86.
void execute(Launch& launch);

struct Block;
// Where a lane stands: the instruction that it executes next, and above it whether it waits there.
enum State : u32 { kReady = 0, kAtSync = 1U << 28, kAtBarrier = 2U << 28, kAtCluster = 3U << 28, kStates = 15U << 28 };

struct Warp {
  char* registers = nullptr;
  const char* constants = nullptr;
  char* local = nullptr;
  u32 local_stride = 0;
  Block* block = nullptr;
  Launch* launch = nullptr;
  int index = 0;
  Mask alive = 0;       // lanes that have not exited
  bool rotate = false;  // whether lanes that stand elsewhere are to have their turn
  alignas(64) std::array<u32, kLanes> stand{};

  template <class T>
  T* to(Ref ref) const {
    return reinterpret_cast<T*>(registers + ref);
  }
  template <class T>
  const T* from(Ref ref) const {
    return reinterpret_cast<const T*>(ref >= 0 ? registers + ref : constants + ~ref);
  }
  Mask predicate(const Inst& in, int place) const {  // a source, negated where it is written so
    return *from<Mask>(in.o[place]) ^ (in.imm >> place & 1 ? kAll : 0);
  }
};

struct Barrier {
  u32 arrived = 0, votes = 0;  // threads
};

struct Cluster;
namespace race {
struct BlockClock;
}
// A block, and room for it: one after another uses it.
struct Block {
  explicit Block(Launch& launch);
  void begin(const Launch& launch, u32 number, Cluster& its_cluster, std::mt19937_64* random);

  u32 index = 0;
  Pages registers, local, shared;
  std::vector<Warp> warps;
  std::vector<int> order;  // of the warps' turns
  u32 live = 0;            // threads that have not exited
  Barrier barrier;
  Cluster* cluster = nullptr;
  std::shared_ptr<race::BlockClock> clock;  // where races are looked for
};
struct Cluster {  // blocks that run together: of a cluster, of a cooperative grid, or one
  std::vector<Block> blocks;
  Barrier barrier;
};

// --- the race detector (race.cpp) ------------------------------------------------------------------------------------
namespace race {
bool on();
void launch_begins(const Launch& launch);
void block_begins(Block& block, const Launch& launch);
void barrier(std::span<Block> blocks, bool of_cluster);  // all their threads have arrived
void warp_sync(Warp& warp, Mask lanes);
void fence(Warp& warp, const Inst&, Mask lanes);
void note(Warp& warp, const Inst& inst, Mask lanes, Space space, const u64* addresses, bool reads, bool writes);
}  // namespace race

// --- counts (count.cpp) ----------------------------------------------------------------------------------------------
namespace count {
bool on();
void launch_begins(Launch& launch);
void note(Warp& warp, const Inst& inst, Mask lanes, Space space, const u64* addresses);
}  // namespace count

std::string demangled(const std::string& name);
[[noreturn]] void fault(Warp& warp, const Inst& inst, Mask lanes, const std::string& what);

}  // namespace ptx
