// Global memory: exact bounds, redzones, and freed addresses that stay out of use.
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

constexpr std::size_t kRedzone = 256, kPage = 4096;  // allocations begin at a page of their own
std::size_t pages_for(std::size_t bytes) { return round_up(bytes + kRedzone, kPage); }

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
  std::map<u64, std::size_t> live;                // bytes, by address
  std::deque<std::pair<u64, std::size_t>> freed;  // the last ones, for reports: no address is used twice
  u64 next = kArena + (1 << 20);
  std::size_t used = 0;
  Pages init;  // a byte for each
  std::mutex lock;
  State() {
    reserve(kArena, PROT_NONE);
    reserve(kArena + kHostOffset, PROT_READ | PROT_WRITE);
    struct sigaction action {};
    action.sa_sigaction = host_touched;
    action.sa_flags = SA_SIGINFO | SA_RESETHAND;
    sigaction(SIGSEGV, &action, nullptr);
    if (is_on("PTX_INITCHECK")) init = pages_of(kArenaBytes);
  }
};
State& state() {
  static State* s = new State;
  return *s;
}
char* init_of(u64 address) { return state().init.get() + (address - kArena); }

}  // namespace

bool tracks_init() { return state().init.get() != nullptr; }
void mark_init(u64 address, std::size_t bytes) {
  if (tracks_init()) std::memset(init_of(address), 1, bytes);
}
bool is_init(u64 address, std::size_t bytes) { return std::memchr(init_of(address), 0, bytes) == nullptr; }

std::size_t used() { return state().used; }

u64 allocate(std::size_t bytes) {
  State& s = state();
  const std::lock_guard hold(s.lock);
  const u64 at = s.next;
  if (bytes > kTotal - s.used || at + pages_for(bytes) > kArena + kArenaBytes) return 0;
  s.next += pages_for(bytes);
  s.live[at] = bytes;
  s.used += bytes;
  poison(host(at), bytes);
  return at;
}

bool release(u64 address) {
  State& s = state();
  const std::lock_guard hold(s.lock);
  const auto found = s.live.find(address);
  if (found == s.live.end()) return false;
  s.used -= found->second;
  s.freed.push_back(*found);
  if (s.freed.size() > 4096) s.freed.pop_front();
  madvise(host(address), pages_for(found->second), MADV_DONTNEED);
  s.live.erase(found);
  return true;
}

Range find(u64 address) {  // launches and allocations do not overlap: no lock
  const auto after = state().live.upper_bound(address);
  if (after == state().live.begin()) return {};
  const auto& [at, bytes] = *std::prev(after);
  return address < at + bytes ? Range{at, at + bytes} : Range{};
}

bool holds(const void* address, std::size_t bytes) {
  const auto at = reinterpret_cast<u64>(address);
  const std::lock_guard hold(state().lock);
  return find(at).holds(at, at + bytes);
}

std::string describe(u64 address) {
  State& s = state();
  std::string result = fmt::format("{:#x}", address);
  if (!in_arena(address)) return result + (address < 4096 ? " (null)" : " (no device memory)");
  const auto note = [&](u64 distance, const char* how, std::size_t of) {
    result += fmt::format(" ({} bytes {} allocation of {} bytes)", distance, how, of);
  };
  const auto after = s.live.upper_bound(address);
  if (after != s.live.begin()) {
    const auto& [at, bytes] = *std::prev(after);
    address < at + bytes ? note(address - at, "into an", bytes) : note(address - at - bytes, "behind an", bytes);
  }
  if (after != s.live.end()) note(after->first - address, "before an", after->second);
  const auto freed = std::find_if(s.freed.rbegin(), s.freed.rend(),
                                  [&](const auto& gone) { return address - gone.first < gone.second; });
  if (freed != s.freed.rend()) note(address - freed->first, "into a FREED", freed->second);
  return result;
}

}  // namespace memory
}  // namespace ptx
