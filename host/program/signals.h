// signals: a signal is remembered, and heard where nothing is half done; what a sudden end would leave is removed.
#pragma once

#include <cstddef>
#include <string>

namespace scalelab::host {

// Decides what signals do:
// - The first that asks the program to stop (SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGXCPU, ...) is remembered, and
//   Progress::update or throw_if_interrupted (error.h) throws it as Interrupted; the second ends the program at once.
// - A fault (SIGSEGV, SIGABRT, ...) and SIGQUIT end it as they always do. In a file that is mapped into memory and was
//   made shorter meanwhile SIGBUS ends it with one line and exit code kBadData.
// - SIGPIPE and SIGXFSZ are ignored: writing to a closed pipe or beyond a limit is an error like any other.
// However it ends, temporary files (below) are removed. A signal that is already ignored or handled, by nohup or a
// profiler, stays so, but for SIGINT, SIGTERM and SIGUSR1.
void catch_signals();

// While one lives, its thread remembers a signal and nothing more: what must be finished goes inside.
class SignalsHeld {
 public:
  SignalsHeld();
  ~SignalsHeld();
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;
};

// A file that a sudden end of the program removes while this lives: as many as 64 at a time.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& path) noexcept;
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

 private:
  int slot_;
};

// A file that is mapped into memory while this lives: as many as 16 at a time.
class MappedFile {
 public:
  MappedFile(const void* begin, std::size_t bytes, const std::string& name) noexcept;
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

 private:
  int slot_;
};

}  // namespace scalelab::host
