// Parts of a command's work, dealt to devices: each done once and handed over in order, also when devices fail. CPU
// Contexts stand for the devices; tests/cuda/devices.sh has the commands on several GPUs.
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

TEST_F(DevicesTest, OneThatCannotBeOpenedIsLeftOut) {
  static std::atomic<int> opened;
  opened = 0;
  Backend backend = cpu_backend();
  backend.open = [](Context& context) {
    if (++opened == 2) throw std::runtime_error("no answer");
    cpu_backend().open(context);
  };
  Context context(backend, 0, 1);
  Session session{common_, context, progress_};
  EXPECT_EQ(Devices(session).count(), 2);
  EXPECT_EQ(said_, "scalelab: device 0 failed: no answer; the others go on with its work\n");
}

// Which of the three is the last is not known: the others are said.
TEST_F(DevicesTest, WhatTheLastOneFailsOfEndsTheWork) {
  std::atomic<int> failures = 0;
  const std::string last = thrown([&] {
    deal(10, [&](std::size_t) -> int { throw std::runtime_error("failure " + std::to_string(++failures)); });
  });
  EXPECT_EQ(failures, 3);
  EXPECT_EQ(std::count(said_.begin(), said_.end(), '\n'), 2) << said_;
  for (const std::string failure : {"failure 1", "failure 2", "failure 3"}) {
    EXPECT_NE(said_.find(failure) != std::string::npos, failure == last) << failure << "; " << last << "\n" << said_;
  }
  EXPECT_EQ(last.rfind("failure ", 0), 0U) << last;
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
}

TEST_F(DevicesTest, WhatCannotBeHandedOverIsNoFaultOfADevice) {
  const auto ends = [&](const auto& error) {
    return thrown([&] {
      Devices(session_).deal({1, 1}, [&](Session&) -> Devices::Worker {
        return [&](std::size_t) -> Devices::Delivery { return [&] { throw error; }; };
      });
    });
  };
  EXPECT_EQ(ends(Failure(kCannotWrite, "full")), "full");
  EXPECT_EQ(ends(std::runtime_error("the page has no room")), "the page has no room");
  EXPECT_EQ(said_, "");
}

TEST_F(DevicesTest, ProgressIsThatOfAllParts) {
  common_.devices = {0};
  std::vector<std::int64_t> seen;
  context_.progress = [&](std::int64_t done, std::int64_t total) { seen.push_back(4 * done * 2 / total); };
  deal(4, [](std::size_t) { return 0; });
  EXPECT_EQ(seen, (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7}));
}

// A CPU of which the Context that asks for memory at a certain moment fails, then and in all that it is asked later.
struct Failing {
  static inline std::atomic<int> allocations_left = 0;
  static inline std::atomic<const Context*> lost = nullptr;

  static void check(const Context& context) {
    if (&context == lost) throw std::runtime_error("an illegal access");
  }
  static Backend backend() {
    Backend table = cpu_backend();
    table.allocate = [](std::size_t bytes, Context& context) {
      if (--allocations_left == 0) lost = &context;
      check(context);
      return cpu_backend().allocate(bytes, context);
    };
    table.upload = [](void* to, const void* from, std::size_t bytes, Context& context) {
      check(context);
      cpu_backend().upload(to, from, bytes, context);
    };
    table.synchronize = [](Context& context) { check(context); };
    return table;
  }
};

class DevicesSweep : public DevicesTest {
 protected:
  DevicesSweep() { common_.quiet = true; }  // of the plan nothing is said

  // The rows of a sweep on so many devices, without their times.
  nlohmann::json rows(const std::string& folder, int devices, const Backend& backend = cpu_backend()) {
    common_.devices.assign(static_cast<std::size_t>(devices), 0);
    Context context(backend, 0, 1);
    Session session{common_, context, progress_};
    SweepOptions options;
    options.out = folder_ / folder;
    nlohmann::json all = nlohmann::json::array();
    const SweepResult result = run_sweep(trials_, options, session);
    for (const SweepRow& row : result.rows) {
      EXPECT_FALSE(row.measurement.failed()) << row.measurement.status;
      all.push_back({trial_id(row.trial), row.measurement.status, row.measurement.values});
    }
    EXPECT_EQ(result.rows.size(), trials_.size());
    std::ptrdiff_t written = 0;
    for (const auto& entry : fs::directory_iterator(options.out)) {
      const std::string text = entry.path().extension() == ".jsonl" ? read_file(entry.path()) : "";
      written += std::count(text.begin(), text.end(), '\n');
    }
    EXPECT_EQ(written, std::ssize(trials_)) << "each once";
    return all;
  }

  const std::vector<Trial> trials_ =
      expand_sweep(nlohmann::json::parse(R"({"grids": [{"model": ["knn-1", "knn-3"], "n": [100, 200, 300], "grid": 64,
                                           "density_points": 500, "seeds": "0..2"},
                                          {"model": "mlp-polar", "width": 8, "n": 100, "samples": 300, "grid": 64,
                                           "density_points": 500, "seeds": "0..2"}]})"),
                   "file.json");
};

TEST_F(DevicesSweep, HasTheRowsOfOneDevice) {
  const nlohmann::json want = rows("one", 1);
  for (const int devices : {2, 3}) EXPECT_EQ(rows("on " + std::to_string(devices), devices), want);
  EXPECT_EQ(said_, "");
}

TEST_F(DevicesSweep, TheOthersOrTheNextRunDoTheTrialsOfADeviceThatFails) {
  const nlohmann::json want = rows("one", 1);
  const Backend failing = Failing::backend();
  const auto fail_at = [](int allocation) {
    Failing::allocations_left = allocation;
    Failing::lost = nullptr;
  };
  const auto allocations = [&](int devices) {
    fail_at(1 << 30);
    EXPECT_EQ(rows("all of " + std::to_string(devices), devices, failing), want);
    return (1 << 30) - Failing::allocations_left;
  };
  const int of_one = allocations(1), of_two = allocations(2);
  for (const int quarter : {0, 1, 2, 3}) {
    said_.clear();
    fail_at(1 + of_two * quarter / 4);
    EXPECT_EQ(rows("of two at " + std::to_string(quarter), 2, failing), want);
    EXPECT_EQ(said_, "scalelab: device 0 failed: an illegal access; the others go on with its work\n");

    fail_at(1 + of_one * quarter / 4);
    const std::string folder = "of one at " + std::to_string(quarter);
    EXPECT_EQ(thrown([&] { rows(folder, 1, failing); }), "an illegal access");
    EXPECT_EQ(rows(folder, 1), want);
  }
}

}  // namespace
}  // namespace scalelab::host
