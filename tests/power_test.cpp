// power: what NVML says of a GPU, told by a library that stands in for it; and what is said where there is none.
#include "bench/power.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "bench/bench.h"
#include "tests/paths.h"

namespace scalelab::bench {
namespace {

constexpr const char* kBus = "0000:17:00.0";

class PowerTest : public testing::Test {
 protected:
  PowerTest() { ::setenv("SCALELAB_NVML", test::kFakeNvml, 1); }
  ~PowerTest() override {
    ::unsetenv("SCALELAB_NVML");
    ::unsetenv("FAKE_NVML");
  }
  static std::string why_not(const std::string& bus = kBus) {
    std::string why;
    EXPECT_EQ(Power::open(bus, &why), nullptr);
    return why;
  }
};

TEST_F(PowerTest, ReadsEnergyClockAndThrottling) {
  std::string why;
  const auto power = Power::open(kBus, &why);
  ASSERT_NE(power, nullptr) << why;
  const Power::Reading first = power->read(), second = power->read();
  EXPECT_NEAR(second.joules - first.joules, 3, 1e-9);
  EXPECT_EQ(first.megahertz, 1410);
  EXPECT_EQ(throttle_reasons(first.throttle), (std::vector<std::string>{"power cap", "heat (hardware)"}));
  EXPECT_TRUE(throttle_reasons(0x1 | 0x2 | 0x100).empty());  // idle, chosen clocks, a display
}

TEST_F(PowerTest, WhatIsAbsentIsSaid) {
  EXPECT_NE(why_not("0000:18:00.0").find("knows no device 0000:18:00.0"), std::string::npos);
  ::setenv("FAKE_NVML", "dead", 1);
  EXPECT_NE(why_not().find("does not start (status 9)"), std::string::npos);
  ::setenv("SCALELAB_NVML", "libno-such-library.so.1", 1);
  EXPECT_EQ(why_not(), "libno-such-library.so.1 cannot be opened");
  ::setenv("SCALELAB_NVML", "libm.so.6", 1);
  EXPECT_NE(why_not().find("libm.so.6 is not NVML"), std::string::npos);
}

TEST_F(PowerTest, ADeviceThatSaysNothingHasNoNumbers) {
  ::setenv("FAKE_NVML", "silent", 1);
  std::string why;
  const auto power = Power::open(kBus, &why);
  ASSERT_NE(power, nullptr) << why;
  EXPECT_TRUE(std::isnan(power->read().joules));
  EXPECT_TRUE(std::isnan(power->read().megahertz));
}

TEST_F(PowerTest, ARoundHasTheEnergyOfARun) {
  std::string why;
  const auto power = Power::open(kBus, &why);
  ASSERT_NE(power, nullptr) << why;
  Context context(cpu_backend(), 0, 1);
  // A run takes 1/64 s by a clock that runs move.
  double now = 0;
  Problem problem;
  problem.run = [&now] { now += 0.015625; };
  const Clocks clocks{.wall = [&now] { return now; }, .cpu = [&now] { return 2 * now; }};
  const Round round = time_round(problem, {.seconds = 0.5}, context, power.get(), clocks);
  EXPECT_EQ(round.wall, std::vector<double>(32, 0.015625));
  EXPECT_EQ(round.cpu, std::vector<double>(32, 0.03125));
  EXPECT_EQ(round.cold, 0.015625);
  EXPECT_DOUBLE_EQ(round.joules, 3.0 / 32);
  EXPECT_EQ(round.megahertz, 1410);
  EXPECT_EQ(throttle_reasons(round.throttle).size(), 2U);
  // A window that is short beside the counter's steps has no energy; and nothing is known where nobody tells.
  EXPECT_TRUE(std::isnan(time_round(problem, {.seconds = 0.125}, context, power.get(), clocks).joules));
  EXPECT_TRUE(std::isnan(time_round(problem, {.seconds = 0.5}, context, nullptr, clocks).joules));
}

}  // namespace
}  // namespace scalelab::bench
