// One target of targets.h for libFuzzer: the one that SCALELAB_FUZZ_TARGET names.
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/targets.h"

namespace {

const scalelab::fuzz::Target* target = nullptr;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  const char* name = std::getenv("SCALELAB_FUZZ_TARGET");
  for (const auto& each : scalelab::fuzz::kTargets) {
    if (name != nullptr && std::string_view(name) == each.name) target = &each;
  }
  if (target != nullptr) return 0;
  std::fputs("SCALELAB_FUZZ_TARGET: is none of tests/fuzz/targets.h\n", stderr);
  std::exit(2);
}

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string wrong = target->run({reinterpret_cast<const char*>(data), size});
  if (wrong.empty()) return 0;
  std::fprintf(stderr, "%s\n", wrong.c_str());
  std::abort();
}
