#include "bench/power.h"

#include <dlfcn.h>

#include <cstdlib>
#include <utility>

namespace scalelab::bench {

// The functions, with the types of NVML's C interface: a device is a pointer, an answer of 0 is success.
struct Power::Library {
  ~Library() {
    if (shut_down != nullptr) shut_down();
    if (handle != nullptr) ::dlclose(handle);
  }
  template <class Function>
  bool find(Function*& function, const char* name) {
    function = reinterpret_cast<Function*>(::dlsym(handle, name));
    return function != nullptr;
  }
  void* handle = nullptr;
  int (*shut_down)() = nullptr;  // set once the library has been started
  int (*energy)(void* device, unsigned long long* millijoules) = nullptr;
  int (*clock)(void* device, int kind, unsigned* megahertz) = nullptr;
  int (*throttle)(void* device, unsigned long long* bits) = nullptr;
};

Power::Power(std::unique_ptr<Library> library, void* device) : library_(std::move(library)), device_(device) {}
Power::~Power() = default;

std::unique_ptr<Power> Power::open(const std::string& bus, std::string* why_not) {
  const char* named = std::getenv("SCALELAB_NVML");
  const std::string name = named != nullptr ? named : "libnvidia-ml.so.1";
  auto library = std::make_unique<Library>();
  library->handle = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library->handle == nullptr) {
    *why_not = name + " cannot be opened";
    return nullptr;
  }
  int (*start)() = nullptr;
  int (*stop)() = nullptr;
  int (*by_bus)(const char* bus, void** device) = nullptr;
  if (!library->find(start, "nvmlInit_v2") || !library->find(stop, "nvmlShutdown") ||
      !library->find(by_bus, "nvmlDeviceGetHandleByPciBusId_v2")) {
    *why_not = name + " is not NVML as it has been since 2013";
    return nullptr;
  }
  if (const int status = start(); status != 0) {
    *why_not = name + " does not start (status " + std::to_string(status) + ")";
    return nullptr;
  }
  library->shut_down = stop;
  void* device = nullptr;
  if (const int status = by_bus(bus.c_str(), &device); status != 0) {
    *why_not = name + " knows no device " + bus + " (status " + std::to_string(status) + ")";
    return nullptr;
  }
  library->find(library->energy, "nvmlDeviceGetTotalEnergyConsumption");
  library->find(library->clock, "nvmlDeviceGetClockInfo");
  library->find(library->throttle, "nvmlDeviceGetCurrentClocksThrottleReasons");
  return std::unique_ptr<Power>(new Power(std::move(library), device));
}

Power::Reading Power::read() const {
  constexpr int kMultiprocessorClock = 1;  // NVML_CLOCK_SM
  Reading reading;
  unsigned long long millijoules = 0, bits = 0;
  unsigned megahertz = 0;
  if (library_->energy != nullptr && library_->energy(device_, &millijoules) == 0) {
    reading.joules = 1e-3 * static_cast<double>(millijoules);
  }
  if (library_->clock != nullptr && library_->clock(device_, kMultiprocessorClock, &megahertz) == 0) {
    reading.megahertz = megahertz;
  }
  if (library_->throttle != nullptr && library_->throttle(device_, &bits) == 0) reading.throttle = bits;
  return reading;
}

std::vector<std::string> throttle_reasons(std::uint64_t bits) {
  std::vector<std::string> names;
  for (const auto& [bit, name] : {std::pair<std::uint64_t, const char*>{0x04, "power cap"},
                                  {0x08, "hardware slowdown"},
                                  {0x10, "sync boost"},
                                  {0x20, "heat (software)"},
                                  {0x40, "heat (hardware)"},
                                  {0x80, "power brake"}}) {
    if ((bits & bit) != 0) names.emplace_back(name);
  }
  return names;
}

}  // namespace scalelab::bench
