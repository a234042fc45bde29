// Parts of a command's work, dealt to devices: each done once and handed over in order, also when devices fail. CPU
// Contexts stand for the devices; tests/ptx/devices.sh has the commands on several GPUs.
#include "host/program/devices.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <numeric>
#include <stdexcept>
#include <string>

#include "host/lab/sweep.h"
#include "tests/program.h"

namespace scalelab::host {
namespace {

class DevicesTest : public Program {
 protected:
  DevicesTest() { common_.devices = {0, 0, 0}; }
  // Deals parts to the devices and returns what they came to, in the order in which it was handed over.
  std::vector<int> deal(std::size_t parts, const std::function<int(std::size_t part)>& work) {
    std::vector<int> handed;
    Devices(session_).deal(std::vector<double>(parts, 1), [&](Session& own) -> Devices::Worker {
      EXPECT_EQ(&own.common, &common_);
      return [&](std::size_t part) -> Devices::Delivery {
        if (own.context.progress) own.context.progress(1, 2);
        return [&handed, found = work(part)] { handed.push_back(found); };
      };
    });
    return handed;
  }
  static std::vector<int> all(std::size_t parts) {
    std::vector<int> numbers(parts);
    std::iota(numbers.begin(), numbers.end(), 0);
    return numbers;
  }
  std::string thrown(const std::function<void()>& body) {
    try {
      body();
    } catch (const std::exception& error) {
      return error.what();
    }
    return "nothing";
  }

  Common common_;
  Context context_{cpu_backend(), 0, 1};
  std::string said_;
  Progress progress_{
      false, {.terminal = false, .columns = [] { return 0; }, .write = [this](std::string_view t) { said_ += t; }}, [] {
        return 0.0;
      }};
  Session session_{common_, context_, progress_};
};

TEST_F(DevicesTest, EveryPartIsDoneOnceAndHandedOverInOrder) {
  for (const int devices : {1, 2, 3, 8}) {
    common_.devices.assign(static_cast<std::size_t>(devices), 0);
    for (const std::size_t parts : {0, 1, 2, 100}) {
      std::atomic<int> done = 0;
      EXPECT_EQ(deal(parts,
                     [&](std::size_t part) {
                       ++done;
                       return static_cast<int>(part);
                     }),
                all(parts));
      EXPECT_EQ(done, static_cast<int>(parts));
    }
  }
  EXPECT_EQ(said_, "");
}

TEST_F(DevicesTest, WhatIsDoneBeforeItsTurnWaits) {
  std::latch second(1);
  EXPECT_EQ(deal(2,
                 [&](std::size_t part) {
                   if (part == 0) second.wait();
                   if (part == 1) second.count_down();
                   return static_cast<int>(part);
                 }),
            all(2));
}

TEST_F(DevicesTest, TheOthersDoThePartsOfADeviceThatFails) {
  for (const std::size_t failing : {0, 3, 9}) {  // the last part: the others are done, and wait for it
    said_.clear();
    std::atomic<bool> failed = false;
    EXPECT_EQ(deal(10,
                   [&](std::size_t part) {
                     if (part == failing && !failed.exchange(true)) throw std::runtime_error("an illegal access");
                     return static_cast<int>(part);
                   }),
              all(10));
    EXPECT_EQ(said_, "scalelab: device 0 failed: an illegal access; the others go on with its work\n");
  }
  // All but the last one.
  said_.clear();
  std::atomic<int> failures = 0;
  EXPECT_EQ(deal(10,
                 [&](std::size_t part) {
                   if (++failures <= 2) throw OutOfMemory("no memory");
                   return static_cast<int>(part);
                 }),
            all(10));
  EXPECT_EQ(std::count(said_.begin(), said_.end(), '\n'), 2) << said_;
}

TEST_F(DevicesTest, WhatTheLastOneFailsOfEndsTheWork) {
  std::atomic<int> failures = 0;
  EXPECT_EQ(thrown([&] {
              deal(10, [&](std::size_t) -> int { throw std::runtime_error("failure " + std::to_string(++failures)); });
            }),
            "failure 3");
  EXPECT_EQ(failures, 3);
  EXPECT_EQ(std::count(said_.begin(), said_.end(), '\n'), 2) << said_;
}

TEST_F(DevicesTest, WhatIsNoFaultOfADeviceEndsAllAtOnce) {
  const auto ends = [&](const auto& error) {
    std::latch both(2);
    return thrown([&] {
      deal(1000, [&](std::size_t part) -> int {
        if (part < 2) both.arrive_and_wait();  // on two devices at once
        if (part == 1) throw error;
        return 0;
      });
    });
  };
  EXPECT_EQ(ends(Failure(kBadData, "x.npy: is gone")), "x.npy: is gone");
  EXPECT_EQ(ends(std::invalid_argument("k")), "k");
  EXPECT_EQ(ends(Interrupted(15)), "interrupted");
  EXPECT_EQ(said_, "");
  EXPECT_EQ(thrown([&] {
              Devices(session_).deal({1, 1}, [](Session&) -> Devices::Worker {
                return [](std::size_t) -> Devices::Delivery { return [] { throw Failure(kCannotWrite, "full"); }; };
              });
            }),
            "full");
}

TEST_F(DevicesTest, ProgressIsThatOfAllParts) {
  common_.devices = {0};
  std::vector<std::int64_t> seen;
  context_.progress = [&](std::int64_t done, std::int64_t total) { seen.push_back(4 * done * 2 / total); };
  deal(4, [](std::size_t) { return 0; });
  EXPECT_EQ(seen, (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7}));
}

TEST_F(DevicesTest, ASweepHasTheRowsOfOneDevice) {
  const std::vector<Trial> trials =
      expand_sweep(nlohmann::json::parse(R"({"grids": [{"model": ["knn-1", "knn-3"], "n": [100, 200, 300], "grid": 64,
                                           "density_points": 500, "seeds": "0..2"},
                                          {"model": "mlp-polar", "width": 8, "n": 100, "samples": 300, "grid": 64,
                                           "density_points": 500, "seeds": "0..2"}]})"),
                   "file.json");
  const auto rows = [&](const std::string& folder) {
    SweepOptions options;
    options.out = folder_ / folder;
    nlohmann::json all = nlohmann::json::array();
    const SweepResult result = run_sweep(trials, options, session_);
    for (const SweepRow& row : result.rows) {
      EXPECT_EQ(row.measurement.status, "ok");
      all.push_back({trial_id(row.trial), row.measurement.values});
    }
    EXPECT_EQ(result.rows.size(), trials.size());
    return all;
  };
  common_.devices = {0};
  const nlohmann::json want = rows("one");
  for (const int devices : {2, 3}) {
    common_.devices.assign(static_cast<std::size_t>(devices), 0);
    EXPECT_EQ(rows("on " + std::to_string(devices)), want);
  }
}

}  // namespace
}  // namespace scalelab::host
