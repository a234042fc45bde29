// power: energy, clock and throttling of an NVIDIA GPU, as its driver's library (NVML) tells them. The library is
// opened at run time: where it is missing nothing else changes, and the reason is known.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace scalelab::bench {

class Power {
 public:
  // `bus`: the PCI bus id of the device ("0000:17:00.0"). Null when there is nothing to read, and `why_not` says why in
  // a line. SCALELAB_NVML names another library than libnvidia-ml.so.1.
  static std::unique_ptr<Power> open(const std::string& bus, std::string* why_not);
  ~Power();
  Power(const Power&) = delete;
  Power& operator=(const Power&) = delete;

  // NaN: this device does not say.
  struct Reading {
    double joules = std::nan("");  // used since the driver was loaded; the counter moves every tenth of a second or so
    double megahertz = std::nan("");  // of the multiprocessors, now
    std::uint64_t throttle = 0;       // what holds the clock down now, as NVML's bits
  };
  Reading read() const;

 private:
  struct Library;
  Power(std::unique_ptr<Library> library, void* device);
  std::unique_ptr<Library> library_;
  void* device_;
};

// The names of those bits that mean a slower device than its owner set: heat, power, hardware. An idle device and
// clocks that somebody chose are none of them.
std::vector<std::string> throttle_reasons(std::uint64_t bits);

}  // namespace scalelab::bench
