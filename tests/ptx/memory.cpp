// Global memory: exact bounds, redzones, and freed addresses that stay out of use for a while.
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>

#include "tests/ptx/machine.h"

namespace ptx {

const char* setting(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

bool is_on(const char* name, const char* otherwise) { return std::string(setting(name, otherwise)) == "1"; }

void die(const std::string& text) {
  static std::mutex lock;
  const std::lock_guard hold(lock);
  std::fflush(stdout);
  std::fprintf(stderr, "\nPTX machine: %s\n", text.c_str());
  _exit(86);
}

Pages pages_of(std::size_t bytes) {
  if (bytes == 0) return {};
  void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) die(fmt::format("no addresses for {} bytes", bytes));
  return Pages(static_cast<char*>(at), {bytes});
}
void Unmap::operator()(char* pages) const { munmap(pages, bytes); }

void poison(void* memory, std::size_t bytes) {
  char* to = static_cast<char*>(memory);
  for (std::size_t i = 0; i < bytes; i += 4) std::memcpy(to + i, &kPoison, i + 4 <= bytes ? 4 : bytes - i);
}

namespace memory {
namespace {

struct Allocation {
  std::size_t bytes = 0, reserved = 0;
};
constexpr std::size_t kRedzone = 256, kAlign = 512, kPage = 4096, kLarge = 16 * kPage, kQuarantine = 256;

std::size_t round_up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }
void reserve(u64 address, int protection) {
  void* const at = reinterpret_cast<void*>(address);
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
  if (mmap(at, kArenaBytes, protection, flags, -1, 0) != at) die("the range of device memory cannot be reserved");
}
// Ends the process with a report where host code has used a device address; other faults come again, unhandled.
void host_touched(int, siginfo_t* info, void*) {
  if (in_arena(reinterpret_cast<u64>(info->si_addr))) die("host code touched device memory");
}

struct State {
  std::map<u64, Allocation> live;
  std::deque<std::pair<u64, Allocation>> freed;   // the last ones, for reports
  std::map<std::size_t, std::deque<u64>> unused;  // by reserved bytes
  u64 next = kArena + (1 << 20);
  std::size_t used = 0;
  Pages init;  // a bit a byte
  std::mutex lock;
  State() {
    reserve(kArena, PROT_NONE);
    reserve(kArena + kHostOffset, PROT_READ | PROT_WRITE);
    struct sigaction action {};
    action.sa_sigaction = host_touched;
    action.sa_flags = SA_SIGINFO | SA_RESETHAND;
    sigaction(SIGSEGV, &action, nullptr);
    if (is_on("PTX_INITCHECK")) init = pages_of(kArenaBytes / 8);
  }
};
State& state() {
  static State* s = new State;
  return *s;
}
u64* init_bits() { return reinterpret_cast<u64*>(state().init.get()); }
void set_init(u64 address, std::size_t bytes, bool value) {
  u64* const init = init_bits();
  for (u64 at = address - kArena, end = at + bytes; at < end;) {
    const u64 bit = at % 64, count = std::min<u64>(64 - bit, end - at);
    const u64 mask = ~0ULL >> (64 - count) << bit;
    init[at / 64] = value ? init[at / 64] | mask : init[at / 64] & ~mask;
    at += count;
  }
}

}  // namespace

bool tracks_init() { return state().init.get() != nullptr; }
void mark_init(u64 address, std::size_t bytes) { set_init(address, bytes, true); }
bool is_init(u64 address, std::size_t bytes) {
  for (u64 at = address - kArena, end = at + bytes; at < end; ++at) {
    if ((init_bits()[at / 64] >> at % 64 & 1) == 0) return false;
  }
  return true;
}

std::size_t total() { return std::size_t{8} << 30; }
std::size_t used() { return state().used; }

u64 allocate(std::size_t bytes) {
  State& s = state();
  const std::lock_guard hold(s.lock);
  if (s.used + bytes > total()) return 0;
  std::size_t reserved = round_up(bytes + kRedzone, kAlign);
  if (reserved > kLarge) reserved = round_up(reserved, kPage);
  u64 at = 0;
  if (auto& pool = s.unused[reserved]; pool.size() > kQuarantine) {
    at = pool.front();
    pool.pop_front();
  } else {
    at = reserved > kLarge ? round_up(s.next, kPage) : s.next;
    s.next = at + reserved;
    if (s.next > kArena + kArenaBytes) return 0;
  }
  s.live[at] = {bytes, reserved};
  s.used += bytes;
  poison(host(at), bytes);
  if (tracks_init()) set_init(at, reserved, false);
  return at;
}

bool release(u64 address) {
  State& s = state();
  const std::lock_guard hold(s.lock);
  const auto found = s.live.find(address);
  if (found == s.live.end()) return false;
  s.used -= found->second.bytes;
  s.freed.emplace_back(address, found->second);
  if (s.freed.size() > 4096) s.freed.pop_front();
  if (found->second.reserved > kLarge) madvise(host(address), found->second.reserved, MADV_DONTNEED);
  s.unused[found->second.reserved].push_back(address);
  s.live.erase(found);
  return true;
}

bool find(u64 address, Range& range) {  // launches and allocations do not overlap: no lock
  State& s = state();
  auto after = s.live.upper_bound(address);
  if (after == s.live.begin()) return false;
  --after;
  if (address >= after->first + after->second.bytes) return false;
  range = {after->first, after->first + after->second.bytes};
  return true;
}

bool holds(const void* address, std::size_t bytes) {
  Range range;
  const auto at = reinterpret_cast<u64>(address);
  const std::lock_guard hold(state().lock);
  return find(at, range) && range.holds(at, at + bytes);
}

std::string describe(u64 address) {
  State& s = state();
  std::string result = fmt::format("{:#x}", address);
  if (!in_arena(address)) return result + (address < 4096 ? " (null)" : " (no device memory)");
  const auto note = [&](u64 distance, const char* how, const Allocation& of) {
    result += fmt::format(" ({} bytes {} allocation of {} bytes)", distance, how, of.bytes);
  };
  const auto after = s.live.upper_bound(address);
  if (after != s.live.begin()) {
    const auto& [at, was] = *std::prev(after);
    const bool within = address < at + was.bytes;
    within ? note(address - at, "into an", was) : note(address - at - was.bytes, "behind an", was);
  }
  if (after != s.live.end()) note(after->first - address, "before an", after->second);
  const auto freed = std::find_if(s.freed.rbegin(), s.freed.rend(),
                                  [&](const auto& gone) { return address - gone.first < gone.second.bytes; });
  if (freed != s.freed.rend()) note(address - freed->first, "into a FREED", freed->second);
  return result;
}

}  // namespace memory
}  // namespace ptx
