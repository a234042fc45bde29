// crossover: the file of measured crossovers, whole, missing, torn, of another machine and full of nonsense.
#include "host/program/crossover.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "host/program/backend_choice.h"
#include "host/program/error.h"

namespace scalelab::host {
namespace {

namespace fs = std::filesystem;

const Contest kHere{"NVIDIA Example", "Some CPU @ 2 GHz", 8};

class CrossoverFile : public testing::Test {
 protected:
  ~CrossoverFile() override { fs::remove_all(folder_); }
  void text(const std::string& text) const {
    fs::create_directories(file_.parent_path());
    std::ofstream(file_, std::ios::binary) << text;
  }
  std::string text() const {
    std::ifstream input(file_, std::ios::binary);
    return {std::istreambuf_iterator<char>(input), {}};
  }
  // Everything assumed, and the note holds `why`.
  void expect_assumed(const std::string& why, const Contest& contest = kHere) const {
    const Crossovers got = read_crossovers(file_, contest);
    const auto assumed = assumed_crossovers();
    ASSERT_EQ(got.rows.size(), assumed.size());
    for (std::size_t i = 0; i < assumed.size(); ++i) {
      EXPECT_EQ(got.rows[i].amount, assumed[i].amount) << assumed[i].name;
      EXPECT_EQ(got.rows[i].measured, "") << assumed[i].name;
    }
    EXPECT_NE(got.note.find(why), std::string::npos) << got.note;
  }
  const fs::path folder_ = fs::path(testing::TempDir()) / ("scalelab_crossover_" + std::to_string(::getpid()));
  const fs::path file_ = folder_ / "cache" / "scalelab" / "crossovers.json";
};

TEST_F(CrossoverFile, WhatWasWrittenIsUsedAndSaysWhen) {
  write_crossovers(file_, kHere, "2026-11-22", {{"grid_knn", 5e6}, {"mlp_train", 7e8}});
  const Crossovers got = read_crossovers(file_, kHere);
  EXPECT_EQ(got.note, "");
  for (const Crossover& row : got.rows) {
    const std::string name = row.name;
    const bool measured = name == "grid_knn" || name == "mlp_train";
    EXPECT_EQ(row.measured, measured ? "2026-11-22" : "") << name;
    EXPECT_TRUE(!measured || row.amount == (name == "grid_knn" ? 5e6 : 7e8)) << name;
  }
  // It decides, and the reason names it.
  Backend gpu = cpu_backend();
  const Needs cells{{{Work::grid_knn, 6e6}}, ""};
  const BackendChoice choice = choose_backend("auto", cells, &gpu, "", got.rows);
  EXPECT_EQ(choice.backend, &gpu);
  EXPECT_NE(choice.reason.find("measured on 2026-11-22"), std::string::npos) << choice.reason;
  const BackendChoice assumed = choose_backend("auto", cells, &gpu, "");
  EXPECT_EQ(assumed.backend, &cpu_backend());
  EXPECT_NE(assumed.reason.find("assumed"), std::string::npos) << assumed.reason;
}

TEST_F(CrossoverFile, AMachineIsReplacedAndTheOthersStay) {
  const Contest other{"NVIDIA Other", kHere.cpu, kHere.threads};
  write_crossovers(file_, other, "2026-01-01", {{"grid_knn", 1e6}});
  write_crossovers(file_, kHere, "2026-01-02", {{"grid_knn", 2e6}, {"knn_far", 3e6}});
  write_crossovers(file_, kHere, "2026-01-03", {{"grid_knn", 4e6}});
  const auto amount = [&](const Contest& contest, Work work) {
    for (const Crossover& row : read_crossovers(file_, contest).rows) {
      if (row.work == work) return row.measured.empty() ? -1 : row.amount;
    }
    return 0.0;
  };
  EXPECT_EQ(amount(other, Work::grid_knn), 1e6);
  EXPECT_EQ(amount(kHere, Work::grid_knn), 4e6);
  EXPECT_EQ(amount(kHere, Work::knn_far), -1);  // it went with the older measurement
}

TEST_F(CrossoverFile, MissingTornAndForeignFilesChangeNothing) {
  expect_assumed("not measured on this machine");
  write_crossovers(file_, kHere, "2026-11-22", {{"grid_knn", 5e6}});
  const std::string whole = text();
  for (const std::size_t length : {std::size_t{0}, std::size_t{1}, whole.size() / 2, whole.size() - 4}) {
    text(whole.substr(0, length));
    expect_assumed("is broken");
  }
  for (const char* foreign : {"[]", "3", "{}", R"({"schema":1,"machines":{}})", R"({"schema":2,"machines":[]})"}) {
    text(foreign);
    expect_assumed("is broken");
  }
  text(R"({"schema":1,"machines":[3,null,{"gpu":1}]})");
  expect_assumed("not measured with this GPU, CPU and number of threads");
  text(whole);
  for (const Contest& contest : {Contest{"NVIDIA Other", kHere.cpu, kHere.threads},
                                 Contest{kHere.gpu, "Another CPU", kHere.threads}, Contest{kHere.gpu, kHere.cpu, 4}}) {
    expect_assumed("not measured with this GPU", contest);
  }
  // A broken file is replaced by the next measurement.
  text("{");
  write_crossovers(file_, kHere, "2026-11-23", {{"grid_knn", 5e6}});
  EXPECT_EQ(read_crossovers(file_, kHere).note, "");
}

TEST_F(CrossoverFile, ValuesThatAreNoAmountChangeNothing) {
  for (const char* value : {"0", "-5", "1e400", "1e30", "null", "\"many\"", "[1e6]", "true"}) {
    text(R"({"schema":1,"machines":[{"gpu":"NVIDIA Example","cpu":"Some CPU @ 2 GHz","threads":8,)"
         R"("measured":"2026-11-22","amounts":{"mlp_train":1e6,"grid_knn":)" +
         std::string(value) + "}}]}");
    // What follows 1e400 is no JSON to a parser of doubles: broken, or no amount; nothing of it is used.
    const Crossovers got = read_crossovers(file_, kHere);
    EXPECT_FALSE(got.note.empty()) << value;
    for (std::size_t i = 0; i < got.rows.size(); ++i) {
      EXPECT_EQ(got.rows[i].amount, assumed_crossovers()[i].amount) << value;
    }
  }
  text(R"({"schema":1,"machines":[{"gpu":"NVIDIA Example","cpu":"Some CPU @ 2 GHz","threads":8,"amounts":{}}]})");
  expect_assumed("is broken");  // nobody knows of when
}

TEST_F(CrossoverFile, LiesInTheCacheOfTheUser) {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::string cache_before = cache != nullptr ? cache : "", home_before = home != nullptr ? home : "";
  ::setenv("HOME", "/home/someone", 1);
  ::setenv("XDG_CACHE_HOME", "/cache", 1);
  EXPECT_EQ(crossover_file(), "/cache/scalelab/crossovers.json");
  ::setenv("XDG_CACHE_HOME", "relative", 1);  // to be ignored
  EXPECT_EQ(crossover_file(), "/home/someone/.cache/scalelab/crossovers.json");
  ::unsetenv("XDG_CACHE_HOME");
  ::unsetenv("HOME");
  EXPECT_EQ(crossover_file(), "");
  if (cache != nullptr) ::setenv("XDG_CACHE_HOME", cache_before.c_str(), 1);
  if (home != nullptr) ::setenv("HOME", home_before.c_str(), 1);
}

TEST_F(CrossoverFile, AFolderThatCannotBeMadeIsSaid) {
  text("x");
  try {
    write_crossovers(file_ / "below" / "a" / "file.json", kHere, "2026-11-22", {});
    ADD_FAILURE() << "written below a file";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.exit_code, kCannotWrite);
  }
}

TEST(Contest, NamesTheGpuTheCpuAndItsThreads) {
  Backend gpu = cpu_backend();
  EXPECT_EQ(contest_of(gpu, 0, 3).gpu, "");
  gpu.name_device = [](int device) { return Backend::DeviceName{"GPU " + std::to_string(device), "0000:01:00.0"}; };
  const Contest contest = contest_of(gpu, 2, 3);
  EXPECT_EQ(contest.gpu, "GPU 2");
  EXPECT_FALSE(contest.cpu.empty());
  EXPECT_EQ(contest.threads, 3);
}

}  // namespace
}  // namespace scalelab::host
