// The PTX machine: what its files share. README.md says what it is and how it is used.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ptx {

[[noreturn]] void die(const std::string& text);  // prints it and ends the process with exit code 86
const char* setting(const char* name, const char* otherwise);
bool is_on(const char* name, const char* otherwise = "0");  // whether a setting is 1

class Pages {  // of memory that is zero until it is used, and takes none before
 public:
  Pages() = default;
  explicit Pages(std::size_t bytes);
  Pages(Pages&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Pages& operator=(Pages&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Pages();
  char* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  char* data_ = nullptr;
  std::size_t bytes_ = 0;
};

inline constexpr int kLanes = 32;
using Mask = std::uint32_t;
inline constexpr Mask kAll = ~Mask{0};

// --- addresses -------------------------------------------------------------------------------------------------------
// Global memory is one reserved range of the host's addresses, which host code that uses one of them may not touch: its
// bytes lie kHostOffset behind. The other spaces have windows that no host memory uses.
inline constexpr std::uint64_t kArena = 0x200000000000, kArenaBytes = std::uint64_t{1} << 40, kHostOffset = kArenaBytes;
inline constexpr std::uint64_t kSharedWindow = 0x100000000000, kLocalWindow = 0x110000000000,
                               kParamWindow = 0x120000000000;
inline constexpr std::uint64_t kWindowBytes = 1 << 24;
inline constexpr std::uint32_t kSharedStart = 1024;  // the first offset that may be used: null is none
inline constexpr std::uint32_t kLocalStart = 256;

enum class Space : std::uint8_t { generic, global, shared, local, param };

struct Range {
  std::uint64_t begin = 0, end = 0;
  bool holds(std::uint64_t from, std::uint64_t to) const { return from >= begin && to <= end; }
};

// --- global memory (memory.cpp) --------------------------------------------------------------------------------------
namespace memory {
std::uint64_t allocate(std::size_t bytes);  // 0: out of memory
bool release(std::uint64_t address);
bool find(std::uint64_t address, Range& range);  // the allocation that holds the address
bool holds(const void* address, std::size_t bytes);
inline char* host(std::uint64_t address) { return reinterpret_cast<char*>(address + kHostOffset); }
inline bool in_arena(std::uint64_t address) { return address - kArena < kArenaBytes; }
std::string describe(std::uint64_t address);
std::size_t total();
std::size_t used();
// Initialised bytes, where PTX_INITCHECK is on: one bit a byte of the arena.
bool tracks_init();
void mark_init(std::uint64_t address, std::size_t bytes);
bool is_init(std::uint64_t address, std::size_t bytes);
}  // namespace memory

inline constexpr std::uint32_t kPoison = 0x7fa5a5a5;  // NaN as a float, as a double, a large integer
void poison(void* memory, std::size_t bytes);

// --- code ------------------------------------------------------------------------------------------------------------
struct Type {
  char kind = 0;  // b, u, s, f; h: bf16; p: a predicate; 0: none
  int bytes = 0;
  int lane() const { return bytes == 0 || bytes >= 8 ? bytes : 4; }  // bytes of a register, a lane
};

// A place in a warp's registers (not negative) or among the kernel's constants (negative: ~place), in bytes.
using Ref = std::int32_t;
inline constexpr Ref kNone = INT32_MIN;

struct Warp;
struct Inst;
using Execute = void (*)(Warp&, const Inst&, Mask);

enum class Kind : std::uint8_t { simple, branch, exit, sync, barrier, cluster_arrive, cluster_wait, trap, yield };
enum class Meet : std::uint8_t { here, anywhere, all };  // of a sync: lanes that a mask names, at any sync, all
using Special = std::uint32_t (*)(const Warp&, std::uint32_t lane);  // what a special register holds

struct Inst {
  Execute run = nullptr;
  Kind kind = Kind::simple;
  std::uint8_t bytes = 0;  // of a memory access of one lane
  std::uint8_t count = 0;  // elements of a vector access
  bool wide_base = false;  // the address register has 64 bits
  bool negated = false;    // the guard
  std::uint8_t flags = 0;
  std::uint8_t strong = 0;  // of a memory access: 1: volatile or relaxed, 2: acquires or releases
  Meet meet = Meet::here;
  Space space = Space::generic;
  Ref guard = kNone;
  std::array<Ref, 14> o;   // operands: destinations first; of a sync the last may name its lanes
  std::uint16_t defs = 0;  // which of them are written
  std::int64_t imm = 0;    // an address's offset; a branch's target
  Special special = nullptr;
  std::uint32_t cache = 0;  // index of a memory access
  Inst() { o.fill(kNone); }
  Ref named() const { return o.back(); }
};

struct Variable {
  std::string_view name;
  std::uint64_t at = 0, bytes = 0;
  std::uint32_t align = 1;
};
struct Origin {  // of an instruction: its opcode, the last .loc before it, its line in the PTX
  std::string_view opcode, loc;
  std::uint32_t line = 0;
};

struct Count {  // of one instruction: how often warps issued it, for how many lanes, with how many sectors or passes
  std::uint64_t issued = 0, lanes = 0, extra = 0;
};

struct Module;
struct Kernel {
  std::string name;  // mangled
  const Module* module = nullptr;
  std::string_view parameters_text, body_text;
  std::uint32_t body_line = 0;
  int max_threads = 1024;
  // Decoded on the first use.
  std::vector<Variable> parameters, shared, local;
  std::uint32_t parameter_bytes = 0, static_shared = 0, shared_end = kSharedStart, local_bytes = 0;
  std::uint32_t register_bytes = 0;  // of a warp
  int pressure = 0;                  // 32-bit registers live at once: a guess at what ptxas uses
  std::vector<Inst> code;
  std::vector<Origin> origins;  // of each
  std::vector<char> constants;
  std::map<std::pair<std::uint64_t, int>, Ref> constant_places;  // by value and bytes a lane
  std::uint32_t caches = 0;
  std::vector<Count> counts;  // where instructions are counted
};

struct Module {
  std::string text;
  std::map<std::uint32_t, std::string_view> files;    // with their quotes
  std::map<std::string_view, std::uint64_t> globals;  // their addresses
  std::set<std::string_view> dynamic_shared;
  std::map<std::string, std::unique_ptr<Kernel>> kernels;
};

std::unique_ptr<Module> parse_module(std::string text);
void decode(Kernel& kernel);  // throws std::runtime_error that names what it does not know
std::string source_of(const Kernel& kernel, std::string_view loc);
std::string text_of(const Kernel& kernel, std::uint32_t line);

// --- execution -------------------------------------------------------------------------------------------------------
struct Dim {
  std::uint32_t x = 1, y = 1, z = 1;
  std::uint64_t size() const { return std::uint64_t{x} * y * z; }
};

struct MemoryCache {  // of a memory access: the allocation or variable it met last
  Range range;
  Space space = Space::generic;
};
struct Launch {
  Kernel* kernel = nullptr;
  Dim grid, block, cluster;
  bool cooperative = false;
  std::uint32_t dynamic_shared = 0;
  std::vector<char> parameters;
  std::vector<Variable> shared;  // with the dynamic part
  std::uint32_t shared_bytes = 0;
  std::vector<MemoryCache> caches;  // of each memory access
  Count* counts = nullptr;          // of the kernel's instructions, where they are counted
};
// Runs the launch to its end. A fault prints its report and ends the process with exit code 86.
void execute(Launch& launch);

struct Block;
enum class State : std::uint8_t { ready, at_sync, at_barrier, at_cluster };
struct Group {  // lanes of a warp that stand at the same instruction
  std::uint32_t pc = 0;
  Mask mask = 0;
  State state = State::ready;
};

struct Warp {
  char* registers = nullptr;
  const char* constants = nullptr;
  char* local = nullptr;
  std::uint32_t local_stride = 0;
  Block* block = nullptr;
  Launch* launch = nullptr;
  Mask exited = 0, exists = kAll;
  int index = 0;
  bool rotate = false;
  std::uint32_t cluster_phase[kLanes] = {};
  std::vector<Group> groups;

  template <class T>
  T* to(Ref ref) const {
    return reinterpret_cast<T*>(registers + ref);
  }
  template <class T>
  const T* from(Ref ref) const {
    return reinterpret_cast<const T*>(ref >= 0 ? registers + ref : constants + ~ref);
  }
};

struct Barrier {
  std::uint32_t arrived = 0, votes = 0;  // threads
};

struct Cluster {
  std::uint32_t arrived = 0, phase = 0, live = 0;
  std::vector<Block*> blocks;
};

// --- the race detector (race.cpp) ------------------------------------------------------------------------------------
namespace race {
struct Known;
struct Thread;
struct Cell;
using KnownPtr = std::shared_ptr<const Known>;
struct WarpClock {  // stamps: each lane knows all earlier accesses of another
  std::uint32_t all = 0;
  std::array<std::array<std::uint32_t, kLanes>, kLanes> known{};
};
struct BlockClock {
  std::uint32_t start = 0, barrier = 0, cluster = 0;  // stamps of the last of each
  std::uint32_t together = 1;                         // blocks of a cluster
  std::vector<WarpClock> warps;
  std::vector<Thread> threads;  // none until one of them knows something
  std::vector<Cell> shared;     // of each word
  std::unordered_map<std::uint64_t, KnownPtr> published;
};
bool on();
void launch_begins(const Launch& launch);
void block_begins(Block& block, const Launch& launch, std::uint32_t together);
void barrier(Block& block);  // all its threads have arrived
void cluster_barrier(const std::vector<Block*>& blocks);
void warp_sync(Warp& warp, Mask lanes);
void fence(Warp& warp, Mask lanes);
void note(Warp& warp, const Inst& inst, Mask lanes, Space space, const std::uint64_t* addresses, bool reads,
          bool writes);
}  // namespace race

struct Block {
  std::shared_ptr<race::BlockClock> clock;  // where races are looked for
  Dim index;
  std::uint32_t linear = 0;
  char* shared = nullptr;
  std::vector<Warp> warps;
  std::uint32_t live = 0;  // threads that have not exited
  Barrier barrier;
  Cluster* cluster = nullptr;
};

// --- counts (count.cpp) ----------------------------------------------------------------------------------------------
namespace count {
bool on();
void launch_begins(Launch& launch);
void note(Warp& warp, const Inst& inst, Mask lanes, Space space, const std::uint64_t* addresses);
}  // namespace count

std::string place_of(const Kernel& kernel, const Inst& inst);  // in the PTX and in the source
[[noreturn]] void fault(Warp& warp, const Inst& inst, Mask lanes, const std::string& what);

// --- the device imitated ---------------------------------------------------------------------------------------------
struct Device {
  const char* name;
  int major, minor, sms, shared_per_sm, shared_optin, threads_per_sm, blocks_per_sm;
  std::size_t memory;
};
const Device& device();
int resident_blocks(const Kernel& kernel, int threads, std::size_t dynamic_shared);
int registers_of(const Kernel& kernel);  // a guess from what is live at once: ptxas is not asked
std::string demangled(const std::string& name);

}  // namespace ptx
