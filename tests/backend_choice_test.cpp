// choice: what --backend takes for which needs, and where a command goes when a device has too little memory.
#include "host/program/backend_choice.h"

#include <gtest/gtest.h>

#include "host/program/command.h"
#include "host/program/error.h"

namespace scalelab::host {
namespace {

// A GPU of the CPU's own functions.
const Backend& pretended() {
  static const Backend table = [] {
    Backend made = cpu_backend();
    made.name = "pretended";
    return made;
  }();
  return table;
}

double crossover(Work work) {
  for (const Crossover& row : assumed_crossovers()) {
    if (row.work == work) return row.amount;
  }
  ADD_FAILURE() << "no crossover is stated";
  return 0;
}

TEST(BackendChoice, AutoTakesTheGpuFromTheCrossoverOn) {
  for (const Work work : {Work::knn_near, Work::knn_far, Work::grid_knn, Work::grid_mlp, Work::mlp_train,
                          Work::kmeans_near, Work::kmeans_far, Work::max_margin, Work::xor_sgd}) {
    const double amount = crossover(work);
    EXPECT_GT(amount, 0);
    const auto chosen = [&](double asked_for) {
      return choose_backend("auto", {{{work, asked_for}}, ""}, &pretended(), "").backend;
    };
    EXPECT_EQ(chosen(amount), &pretended());
    EXPECT_EQ(chosen(amount * 0.999), &cpu_backend());
  }
  // One part that is large is enough; none at all is not.
  const Needs two{{{Work::knn_near, 1}, {Work::mlp_train, 1e12}}, ""};
  EXPECT_EQ(choose_backend("auto", two, &pretended(), "").backend, &pretended());
  EXPECT_EQ(choose_backend("auto", {}, &pretended(), "").backend, &cpu_backend());
}

TEST(BackendChoice, WhatIsAskedForByNameIsTakenWhateverTheAmount) {
  const Needs small{{{Work::knn_near, 1}}, ""}, large{{{Work::knn_near, 1e15}}, ""};
  EXPECT_EQ(choose_backend("cuda", small, &pretended(), "").backend, &pretended());
  EXPECT_EQ(choose_backend("cpu", large, &pretended(), "").backend, &cpu_backend());
  EXPECT_EQ(choose_backend("auto", large, nullptr, "no driver").backend, &cpu_backend());
  try {
    choose_backend("cuda", large, nullptr, "no driver");
    ADD_FAILURE() << "an absent backend was chosen";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.exit_code, kNoBackend);
    EXPECT_STREQ(failure.what(), "--backend cuda: no driver");
  }
}

TEST(BackendChoice, OutOfDeviceMemoryGoesOnOnTheCpuOnlyUnderAuto) {
  std::vector<std::string> ran, said;
  const auto run = [&](const Backend& backend) {
    ran.emplace_back(backend.name);
    if (&backend == &pretended()) throw OutOfMemory("3 MiB were needed, 2 MiB are free");
    Outcome outcome;
    outcome.text = "done";
    return outcome;
  };
  const auto say = [&](const std::string& line) { said.push_back(line); };
  const Needs needs{{}, "--max-mem"};
  EXPECT_EQ(run_where_it_fits("auto", pretended(), needs, run, say).text, "done");
  EXPECT_EQ(ran, (std::vector<std::string>{"pretended", "cpu"}));
  ASSERT_EQ(said.size(), 1U);
  EXPECT_NE(said[0].find("3 MiB were needed"), std::string::npos);
  EXPECT_NE(said[0].find("CPU"), std::string::npos);
  ran.clear();
  try {
    run_where_it_fits("cuda", pretended(), needs, run, say);
    ADD_FAILURE() << "went on somewhere else";
  } catch (const OutOfMemory& error) {
    EXPECT_NE(std::string(error.what()).find("--max-mem"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("2 MiB are free"), std::string::npos) << error.what();
  }
  EXPECT_EQ(ran, std::vector<std::string>{"pretended"});
  EXPECT_EQ(said.size(), 1U);
  // Memory of the host that runs out on the CPU is nobody else's to repair.
  const auto greedy = [](const Backend&) -> Outcome { throw OutOfMemory("host"); };
  EXPECT_THROW(run_where_it_fits("auto", cpu_backend(), needs, greedy, say), OutOfMemory);
}

}  // namespace
}  // namespace scalelab::host
