// A driver's library as power_test would have it: the few functions that bench/power.cpp asks for, and no device behind
// them. FAKE_NVML says how it behaves: "dead" does not start, "silent" knows neither energy nor clock.
#include <cstdlib>
#include <cstring>

namespace {
bool behaves(const char* how) {
  const char* told = std::getenv("FAKE_NVML");
  return told != nullptr && std::strcmp(told, how) == 0;
}
char the_device;
unsigned long long millijoules = 1000000;
}  // namespace

extern "C" {
int nvmlInit_v2() { return behaves("dead") ? 9 : 0; }
int nvmlShutdown() { return 0; }
int nvmlDeviceGetHandleByPciBusId_v2(const char* bus, void** device) {
  if (std::strcmp(bus, "0000:17:00.0") != 0) return 6;
  *device = &the_device;
  return 0;
}
// Three joules more at every question.
int nvmlDeviceGetTotalEnergyConsumption(void* device, unsigned long long* energy) {
  if (device != &the_device || behaves("silent")) return 3;
  *energy = millijoules += 3000;
  return 0;
}
int nvmlDeviceGetClockInfo(void* device, int kind, unsigned* megahertz) {
  if (device != &the_device || kind != 1 || behaves("silent")) return 3;
  *megahertz = 1410;
  return 0;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void* device, unsigned long long* bits) {
  if (device != &the_device) return 3;
  *bits = 0x1 | 0x4 | 0x40;  // idle, power cap, heat
  return 0;
}
}
