// paths: where this copy of the tree lies, and what was built of it. The one file that knows is written by CMakeLists.txt:
// the tests are the same in every copy, and a compiler's cache knows them again.
#pragma once

#include <cstdlib>

namespace scalelab::test {

extern const char* const kSourceFolder;
extern const char* const kBuiltProgram;
extern const char* const kFakeNvml;      // tests/fake_nvml.cpp
extern const char* const kFailingCalls;  // tests/failing_calls.cpp; "" where it is not built
extern const char* const kMpirun;        // "" where there is none

// The program under test: SCALELAB_PROGRAM of the environment, or the one built with the tests.
inline const char* program() {
  const char* const other = std::getenv("SCALELAB_PROGRAM");
  return other != nullptr ? other : kBuiltProgram;
}

}  // namespace scalelab::test
