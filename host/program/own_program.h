// own_program: where the file of this program lies, for those that start it again or look beside it.
#pragma once

#include <sys/auxv.h>
#include <unistd.h>

#include <filesystem>

namespace scalelab::host {

// By /proc; where that is not mounted, as a bare root, by the name that the program was started with.
inline std::filesystem::path own_program() {
  std::error_code unknown;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", unknown);
  if (!unknown) return program;
  const auto* const started_as = reinterpret_cast<const char*>(::getauxval(AT_EXECFN));
  return started_as == nullptr ? std::filesystem::path() : std::filesystem::absolute(started_as, unknown);
}

// Becomes this program anew, with these arguments, the last of them null; returns only where that fails. By /proc first:
// it is found there even if its file has been replaced meanwhile. Safe between fork and exec.
inline void exec_own_program(char* const arguments[]) {
  ::execv("/proc/self/exe", arguments);
  ::execv(reinterpret_cast<const char*>(::getauxval(AT_EXECFN)), arguments);
}

}  // namespace scalelab::host
