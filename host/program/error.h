// error: what can go wrong in a command, and the exit code that says so.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>

namespace scalelab::host {

enum ExitCode : int {
  kDone = 0,
  kSomeFailed = 1,    // finished, but some points failed
  kMisuse = 2,        // unknown option, a value out of range, an option that does not fit the data
  kBadData = 3,       // a file that is missing, malformed, or not what the command needs
  kNoBackend = 4,     // the backend asked for is absent
  kCheckFailed = 5,   // a check failed
  kMissing = 69,      // a prerequisite is missing
  kFault = 70,        // a fault of the program or the device
  kOutOfMemory = 71,  // memory ran out
  kCannotWrite = 74,  // output could not be written (folder not writable, disk full)
  kStopped = 75,      // stopped early by a signal, resumable
};

// Ends a command with one line that says what was wrong, where, and what to do.
struct Failure : std::runtime_error {
  Failure(ExitCode code, const std::string& line) : std::runtime_error(line), exit_code(code) {}
  ExitCode exit_code;
};

// What an exception that is being handled amounts to. Interrupted and what is no failure are thrown again.
Failure failure_of_current_exception();

// A signal has asked the program to stop.
struct Interrupted : std::exception {
  explicit Interrupted(int number) : signal(number) {}
  const char* what() const noexcept override { return "interrupted"; }
  int signal;
};
// For long loops outside the ops, which ask through Context::progress. Cheap.
void throw_if_interrupted();
// The signal that has asked so, held (SignalsHeld) or not; 0: none has.
int signal_heard();

}  // namespace scalelab::host
