// The devices imitated, and how many of a kernel's blocks one of their multiprocessors holds.
#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "tests/ptx/machine.h"

namespace ptx {

const Device& device() {
  static const Device devices[] = {
      {"PTX machine, like an H200", 9, 0, 132, 228 << 10, 227 << 10, 2048, 32},
      {"PTX machine, like an A100", 8, 0, 108, 164 << 10, 163 << 10, 2048, 32},
      {"PTX machine, like a T4", 7, 5, 40, 64 << 10, 64 << 10, 1024, 16},
  };
  static const Device chosen = [] {
    const std::string arch = setting("PTX_ARCH", "90");
    Device one = arch == "80" ? devices[1] : arch == "75" ? devices[2] : devices[0];
    one.sms = std::stoi(setting("PTX_MULTIPROCESSORS", std::to_string(one.sms).c_str()));
    return one;
  }();
  return chosen;
}

std::string demangled(const std::string& name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  if (text == nullptr) return name;
  std::string result = text;
  std::free(text);
  return result;
}

int registers_of(const Kernel& kernel) {
  const int most = std::min(255, 65536 / std::max(1, (kernel.max_threads + 127) / 128 * 128));
  return std::min(std::max(32, kernel.pressure + 12), most);
}

int resident_blocks(const Kernel& kernel, int threads, std::size_t dynamic_shared) {
  const Device& d = device();
  const int warps = (threads + 31) / 32;
  const int per_warp = (registers_of(kernel) * 32 + 255) / 256 * 256;
  const int by_registers = 65536 / 4 / per_warp * 4 / warps;
  const std::size_t shared = (kernel.static_shared + dynamic_shared + (d.major >= 8 ? 1024 : 0) + 127) / 128 * 128;
  const int by_shared = shared == 0 ? 32 : static_cast<int>(d.shared_per_sm / shared);
  return std::max(0, std::min({by_registers, by_shared, d.threads_per_sm / (warps * 32), d.blocks_per_sm}));
}

}  // namespace ptx
