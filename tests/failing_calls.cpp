// Preloaded into the program by faults_test: one of its calls of the system fails, or ends it. FAULT says how, FAULT_AT
// which, counted from 1, and FAULT_FILE a file to which the number of calls that count is written at the end.
//   kill   before the N-th call that changes a file, the process is killed as by kill -9
//   torn   the same, but where that call writes, half of its bytes still reach the file
//   full   from the N-th such call on, no disk has any space left
//   broken the N-th such call fails alone, as a disk that does not answer
//   short  every read and write does a byte, or a few, of what was asked for; every second one is interrupted by a signal
//   memory the N-th piece of memory that is asked for is refused
//   small  that one and all behind it
//   threads no thread can be created
//   files  no file can be opened from the N-th on: too many are open
//   clock  the clock is an hour earlier each time that it is asked
// For glibc. Standard output and standard error always work.
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace {

std::atomic<long> calls{0};

bool fault_is(const char* what) {
  static const char* const fault = std::getenv("FAULT");
  return fault != nullptr && std::strcmp(fault, what) == 0;
}
long fault_at() {
  static const char* const at = std::getenv("FAULT_AT");
  return at == nullptr ? 0 : std::atol(at);
}

// Of a call that changes a file: whether it fails, with errno set. `bytes` is what a torn one still writes.
template <class Write>
bool fails(const Write& write_half) {
  if (!fault_is("kill") && !fault_is("torn") && !fault_is("full") && !fault_is("broken")) return false;
  const long call = ++calls;
  if (call < fault_at() || fault_at() == 0) return false;
  if (fault_is("kill") || fault_is("torn")) {
    if (fault_is("torn")) write_half();
    ::kill(::getpid(), SIGKILL);
  }
  if (fault_is("broken") && call > fault_at()) return false;
  errno = fault_is("full") ? ENOSPC : EIO;
  return true;
}
bool fails() {
  return fails([] {});
}

// How many bytes of so many a call may do, and whether it is interrupted first.
std::size_t some_of(std::size_t bytes) {
  return fault_is("short") ? std::min<std::size_t>(bytes, 1 + bytes / 3) : bytes;
}
bool interrupted() {
  if (!fault_is("short") || ++calls % 2 != 0) return false;
  errno = EINTR;
  return true;
}

bool refuses_memory() {
  if (!fault_is("memory") && !fault_is("small")) return false;
  const long call = ++calls;
  const bool refused = fault_at() > 0 && (fault_is("small") ? call >= fault_at() : call == fault_at());
  if (refused) errno = ENOMEM;
  return refused;
}

int open_file(int folder, const char* path, int flags, mode_t mode) {
  if (fault_is("files") && ++calls >= fault_at() && fault_at() > 0) return errno = EMFILE, -1;
  if ((flags & O_CREAT) != 0 && fails()) return -1;
  return static_cast<int>(::syscall(SYS_openat, folder, path, flags, mode));
}

struct AtTheEnd {
  ~AtTheEnd() {
    const char* name = std::getenv("FAULT_FILE");
    if (name == nullptr) return;
    const int file = static_cast<int>(::syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_TRUNC, 0666));
    char text[32];
    const int length = std::snprintf(text, sizeof text, "%ld", calls.load());
    if (::syscall(SYS_write, file, text, length) != length) std::abort();
    ::close(file);
  }
} at_the_end;

}  // namespace

extern "C" {

void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t bytes) { return refuses_memory() ? nullptr : __libc_malloc(bytes); }
void* calloc(std::size_t count, std::size_t bytes) { return refuses_memory() ? nullptr : __libc_calloc(count, bytes); }
void* realloc(void* old, std::size_t bytes) { return refuses_memory() ? nullptr : __libc_realloc(old, bytes); }
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  return refuses_memory() ? nullptr : __libc_memalign(alignment, bytes);
}
int posix_memalign(void** made, std::size_t alignment, std::size_t bytes) {
  if (refuses_memory()) return ENOMEM;
  *made = __libc_memalign(alignment, bytes);
  return *made == nullptr ? ENOMEM : 0;
}

int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const auto mode = static_cast<mode_t>((flags & O_CREAT) != 0 ? va_arg(rest, int) : 0);
  va_end(rest);
  return open_file(AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const auto mode = static_cast<mode_t>((flags & O_CREAT) != 0 ? va_arg(rest, int) : 0);
  va_end(rest);
  return open_file(AT_FDCWD, path, flags, mode);
}
::ssize_t write(int file, const void* data, std::size_t bytes) {
  if (file > STDERR_FILENO) {
    if (interrupted() || fails([&] { ::syscall(SYS_write, file, data, bytes / 2); })) return -1;
    bytes = some_of(bytes);
  }
  return ::syscall(SYS_write, file, data, bytes);
}
::ssize_t pwrite(int file, const void* data, std::size_t bytes, ::off_t at) {
  if (interrupted() || fails([&] { ::syscall(SYS_pwrite64, file, data, bytes / 2, at); })) return -1;
  return ::syscall(SYS_pwrite64, file, data, some_of(bytes), at);
}
::ssize_t pwrite64(int file, const void* data, std::size_t bytes, ::off64_t at) {
  return pwrite(file, data, bytes, at);
}
::ssize_t read(int file, void* data, std::size_t bytes) {
  if (interrupted()) return -1;
  return ::syscall(SYS_read, file, data, some_of(bytes));
}
::ssize_t pread(int file, void* data, std::size_t bytes, ::off_t at) {
  if (interrupted()) return -1;
  return ::syscall(SYS_pread64, file, data, some_of(bytes), at);
}
::ssize_t pread64(int file, void* data, std::size_t bytes, ::off64_t at) { return pread(file, data, bytes, at); }
int fsync(int file) { return fails() ? -1 : static_cast<int>(::syscall(SYS_fsync, file)); }
int fdatasync(int file) { return fails() ? -1 : static_cast<int>(::syscall(SYS_fdatasync, file)); }
int ftruncate(int file, ::off_t bytes) noexcept {
  return fails() ? -1 : static_cast<int>(::syscall(SYS_ftruncate, file, bytes));
}
int ftruncate64(int file, ::off64_t bytes) noexcept { return ftruncate(file, bytes); }
int rename(const char* from, const char* to) noexcept {
  return fails() ? -1 : static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}
int unlink(const char* path) noexcept {
  if ((fault_is("kill") || fault_is("torn")) && fails()) return -1;  // a full disk lets go of files
  return static_cast<int>(::syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}

int pthread_create(pthread_t* made, const pthread_attr_t* attributes, void* (*run)(void*), void* with) noexcept {
  if (fault_is("threads")) return ++calls, EAGAIN;
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(::dlsym(RTLD_NEXT, "pthread_create"));
  return create(made, attributes, run, with);
}
std::time_t time(std::time_t* to) noexcept {
  timespec now{};
  ::syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
  const std::time_t told = now.tv_sec - (fault_is("clock") ? 3600 * ++calls : 0);
  if (to != nullptr) *to = told;
  return told;
}

}  // extern "C"
