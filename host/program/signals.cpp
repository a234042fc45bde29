#include "host/program/signals.h"

#include <unistd.h>

#include <atomic>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>

#include "host/program/error.h"

namespace scalelab::host {

namespace {

std::atomic<int> caught_signal = 0;  // written by a handler, read by every thread
static_assert(std::atomic<int>::is_always_lock_free);
thread_local int signals_held = 0;  // by how many

// What a handler may read: memory that is there from the beginning, an entry valid while its `used` says so.
enum Use : int { kFree, kBeingFilled, kFilled };
struct Temporary {
  std::atomic<int> used{kFree};
  char path[PATH_MAX];
};
struct Mapped {
  std::atomic<int> used{kFree};
  std::uintptr_t begin, end;
  char line[PATH_MAX + 200];
};
Temporary temporaries[64];
Mapped mapped_files[16];

// The index of a free entry, now being filled, or -1.
template <class Entry, std::size_t count>
int free_entry(Entry (&entries)[count]) {
  for (std::size_t i = 0; i < count; ++i) {
    int expected = kFree;
    if (entries[i].used.compare_exchange_strong(expected, kBeingFilled)) return static_cast<int>(i);
  }
  return -1;
}

void remove_temporaries() {
  for (const Temporary& file : temporaries) {
    if (file.used == kFilled) ::unlink(file.path);
  }
}

extern "C" void on_signal(int number) {
  if (caught_signal != 0) {
    remove_temporaries();
    ::_exit(128 + number);
  }
  caught_signal = number;
}

extern "C" void on_fault(int number, siginfo_t* info, void*) {
  remove_temporaries();
  const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (const Mapped& file : mapped_files) {
    if (number != SIGBUS || file.used != kFilled || at < file.begin || at >= file.end) continue;
    if (::write(STDERR_FILENO, file.line, std::strlen(file.line)) < 0) {
    }  // nothing can be done about it
    ::_exit(kBadData);
  }
  ::signal(number, SIG_DFL);
  ::raise(number);  // heard when this returns
}

// An exception that nobody catches: it came out of main, or of a function of a library that may not throw. That memory
// ran out is said in one line, for which no memory is needed.
constexpr char kNoMemory[] =
    "scalelab: out of memory; ask for less (a smaller grid, fewer points) or use a larger machine\n";
std::terminate_handler terminate_before = nullptr;
void on_terminate() {
  try {
    if (std::current_exception() != nullptr) throw;
  } catch (const std::bad_alloc&) {
    remove_temporaries();
    if (::write(STDERR_FILENO, kNoMemory, sizeof kNoMemory - 1) < 0) {
    }  // nothing can be done about it
    ::_exit(kOutOfMemory);
  } catch (...) {
  }
  terminate_before();
}

// Lets `handler` have a signal that nobody else has taken.
void take(int number, void (*handler)(int), bool from_anybody = false) {
  struct sigaction old {};
  if (sigaction(number, nullptr, &old) != 0) return;
  const bool untouched = (old.sa_flags & SA_SIGINFO) == 0 && old.sa_handler == SIG_DFL;
  if (!untouched && !from_anybody) return;
  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  action.sa_handler = handler;
  sigaction(number, &action, nullptr);
}

void take_fault(int number) {
  struct sigaction old {};
  if (sigaction(number, nullptr, &old) != 0) return;
  const bool untouched = (old.sa_flags & SA_SIGINFO) == 0 && old.sa_handler == SIG_DFL;
  if (!untouched && number != SIGBUS) return;  // a sanitizer's, which says more
  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(number, &action, nullptr);
}

}  // namespace

void catch_signals() {
  if (terminate_before == nullptr) terminate_before = std::set_terminate(on_terminate);
  for (const int number : {SIGINT, SIGTERM, SIGUSR1}) take(number, on_signal, true);
  for (const int number : {SIGHUP, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGPWR, SIGIO, SIGSTKFLT}) {
    take(number, on_signal);
  }
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) take(number, on_signal);
  for (const int number : {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGABRT, SIGQUIT, SIGSYS, SIGTRAP}) take_fault(number);
  for (const int number : {SIGPIPE, SIGXFSZ}) take(number, SIG_IGN, true);
}

void throw_if_interrupted() {
  if (caught_signal != 0 && signals_held == 0) throw Interrupted(caught_signal);
}

int signal_heard() { return caught_signal; }

SignalsHeld::SignalsHeld() { ++signals_held; }
SignalsHeld::~SignalsHeld() { --signals_held; }

TemporaryFile::TemporaryFile(const std::string& path) noexcept
    : slot_(path.size() < PATH_MAX ? free_entry(temporaries) : -1) {
  if (slot_ < 0) return;
  std::memcpy(temporaries[slot_].path, path.c_str(), path.size() + 1);
  temporaries[slot_].used = kFilled;
}
TemporaryFile::~TemporaryFile() {
  if (slot_ >= 0) temporaries[slot_].used = kFree;
}

MappedFile::MappedFile(const void* begin, std::size_t bytes, const std::string& name) noexcept
    : slot_(free_entry(mapped_files)) {
  if (slot_ < 0) return;
  Mapped& entry = mapped_files[slot_];
  entry.begin = reinterpret_cast<std::uintptr_t>(begin);
  entry.end = entry.begin + bytes;
  // No format call: it may allocate, and this must not fail.
  entry.line[0] = '\0';
  std::strcat(entry.line, "scalelab: ");
  std::strncat(entry.line, name.c_str(), PATH_MAX);
  std::strcat(entry.line, ": cannot be read to its end: it was made shorter meanwhile, or its disk failed\n");
  entry.used = kFilled;
}
MappedFile::~MappedFile() {
  if (slot_ >= 0) mapped_files[slot_].used = kFree;
}

}  // namespace scalelab::host
