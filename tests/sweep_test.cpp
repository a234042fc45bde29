// Sweeps: what a file stands for, and that no way of being stopped, split or reordered changes a row.
#include "host/lab/sweep.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <fstream>
#include <map>
#include <set>

#include "host/lab/store.h"
#include "host/program/error.h"
#include "host/program/file_lock.h"
#include "host/program/files.h"
#include "host/program/progress.h"
#include "scalelab/backend.h"
#include "tests/program.h"

namespace scalelab::host {
namespace {

using Json = nlohmann::json;

std::vector<Trial> expanded(const std::string& text) { return expand_sweep(Json::parse(text), "file.json"); }

std::string refusal(const std::string& text) {
  try {
    expanded(text);
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.exit_code, kMisuse);
    return failure.what();
  }
  return "was taken";
}

TEST(Trial, JsonAndBack) {
  Trial trial;
  trial.model = "knn-3";
  trial.n = 77;
  trial.noise = 0.1;
  trial.fraction = 0.3;
  trial.keep = "hard";
  trial.score = "kmeans";
  EXPECT_EQ(trial_from_json(to_json(trial)), trial);
  EXPECT_FALSE(to_json(trial).contains("learning_rate")) << "left open";
  trial.training = {0.25, 1e-3, 7, "sgd", "constant", 1.5, "gelu"};
  EXPECT_EQ(trial_from_json(to_json(trial)), trial);
  EXPECT_EQ(to_json(trial).size(), member_names().size());
  EXPECT_EQ(trial_from_json({{"batch_size", nullptr}}), Trial{});
  EXPECT_EQ(trial_from_json(Json::object()), Trial{});
  EXPECT_EQ(trial_from_json({{"n", 1e3}}).n, 1000);
}

TEST(Trial, WhatCannotMatterDoesNotChangeTheId) {
  const auto id = [](const Json& members) { return trial_id(resolved(trial_from_json(members))); };
  EXPECT_EQ(id({{"model", "knn-1"}, {"width", 8}}), id({{"model", "knn-1"}, {"width", 32}}));
  EXPECT_EQ(id({{"keep", "random"}, {"fraction", 0.5}, {"score", "el2n"}}),
            id({{"keep", "random"}, {"fraction", 0.5}}));
  EXPECT_EQ(id({{"keep", "random"}, {"fraction", 0.5}, {"class_floor", 0}}),
            id({{"keep", "random"}, {"fraction", 0.5}}));
  EXPECT_EQ(id({{"ticket", "rewound"}, {"level", 0}}), id(Json::object()));
  EXPECT_EQ(id({{"model", "mlp-xy+weight-decay+focal+layer-norm"}}), id({{"model", "mlp-xy+extras"}}));
  // Every member that does matter changes it.
  const Json base = {{"keep", "hard"}, {"score", "kmeans"}, {"fraction", 0.5}, {"order", "curriculum"}};
  std::set<std::string> ids = {id(base)};
  const std::vector<Json> others = {{{"n", 999}},
                                    {{"seed", 1}},
                                    {{"noise", 0.1}},
                                    {{"model", "mlp-xy"}},
                                    {{"width", 32}},
                                    {{"hidden_layers", 2}},
                                    {{"precision", "bf16"}},
                                    {{"epochs", 10}},
                                    {{"keep", "easy"}},
                                    {{"score", "margin"}},
                                    {{"fraction", 0.4}},
                                    {{"clusters", 10}},
                                    {{"features", "hidden"}},
                                    {{"class_floor", 0}},
                                    {{"order", "anti"}},
                                    {{"grid", 100}},
                                    {{"density_points", 10}},
                                    {{"density_points", 10}, {"test_seed", 1}},
                                    {{"world", 1}},
                                    {{"start", 1}},
                                    {{"learning_rate", 0.01}},
                                    {{"batch_size", 0}},
                                    {{"weight_decay", 0.1}},
                                    {{"optimizer", "sgd"}},
                                    {{"schedule", "constant"}},
                                    {{"focal_gamma", 1}},
                                    {{"activation", "tanh"}}};
  for (const Json& other : others) {
    Json members = base;
    members.update(other);
    EXPECT_TRUE(ids.insert(id(members)).second) << other;
  }
}

// Training as a model has it is that model, whether it is said or not; a kNN has none, but for the networks that score.
TEST(Trial, TrainingThatIsTheModelsOwnIsNoOther) {
  const auto id = [](const Json& members) { return trial_id(resolved(trial_from_json(members))); };
  const Json own = {{"learning_rate", 0.003}, {"batch_size", 64}, {"weight_decay", 0},   {"optimizer", "adam"},
                    {"schedule", "cosine"},   {"focal_gamma", 0}, {"activation", "relu"}};
  const Json of_sgd = {{"learning_rate", 0.1}, {"batch_size", 0}, {"optimizer", "sgd"}, {"schedule", "constant"}};
  const Json of_extras = {{"weight_decay", 0.01}, {"focal_gamma", 2}};
  for (const auto& [model, members] :
       {std::pair{"mlp-xy", own}, std::pair{"mlp-xy+sgd", of_sgd}, std::pair{"mlp-xy+extras", of_extras}}) {
    Json said = members;
    said["model"] = model;
    EXPECT_EQ(id(said), id({{"model", model}}));
    const Trial open = resolved(trial_from_json({{"model", model}}));
    for (const auto& [name, value] : members.items())
      EXPECT_EQ(member_value(open, name), value) << model << " " << name;
  }
  EXPECT_EQ(id({{"model", "knn-1"}, {"learning_rate", 0.5}}), id({{"model", "knn-1"}}));
  EXPECT_TRUE(member_value(resolved(trial_from_json({{"model", "knn-1"}})), "learning_rate").is_null());
  const Json scored = {{"model", "knn-1"}, {"keep", "hard"}, {"score", "el2n"}, {"fraction", 0.5}};
  Json otherwise = scored;
  otherwise["learning_rate"] = 0.5;
  EXPECT_NE(id(otherwise), id(scored));
}

// The ids of trials from before there was a choice of precision, world, start, labels or the test's draws are still theirs.
TEST(Trial, TheIdOfTheDefaultsNamesNoMemberThatTrialsDidNotHaveAtFirst) {
  const Trial trial = resolved({});
  Json object = to_json(trial);
  EXPECT_EQ(object.erase("precision"), 1U);
  for (const char* later : {"world", "start", "test_seed", "labels", "class_floor"}) EXPECT_EQ(object.erase(later), 1U);
  object["numerics"] = kNumerics;
  EXPECT_EQ(trial_id(trial), fingerprint_of_text(object.dump()));
}

TEST(Trial, WhatDoesNotFitIsNamed) {
  const auto why = [](const Json& members) -> std::string {
    try {
      resolved(trial_from_json(members));
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.exit_code, kMisuse);
      return failure.what();
    }
    return "was taken";
  };
  EXPECT_NE(why({{"widht", 8}}).find("'widht' is not known; did you mean width?"), std::string::npos);
  EXPECT_NE(why({{"n", 0}}).find("'n' must be a whole number from 1"), std::string::npos);
  EXPECT_NE(why({{"n", "many"}}).find("'n' must be"), std::string::npos);
  EXPECT_NE(why({{"n", 10.5}}).find("'n' must be"), std::string::npos);
  EXPECT_NE(why({{"noise", 2}}).find("'noise' must be a number from 0 to 1"), std::string::npos);
  EXPECT_NE(why({{"keep", "best"}}).find("one of all, hard"), std::string::npos);
  EXPECT_NE(why({{"keep", "hard"}, {"fraction", 0.5}}).find("'score' is missing"), std::string::npos);
  EXPECT_NE(why({{"order", "anti"}}).find("'score' is missing"), std::string::npos);
  EXPECT_NE(why({{"keep", "random"}, {"fraction", 0}}).find("'fraction'"), std::string::npos);
  EXPECT_NE(why({{"model", "knn-5"}, {"n", 4}}).find("more neighbours"), std::string::npos);
  EXPECT_NE(why({{"model", "knn-5"}, {"ticket", "rewound"}, {"level", 1}}).find("is for networks"), std::string::npos);
  EXPECT_NE(why({{"ticket", "rewound"}, {"level", 16}}).find("'level' must be a whole number from 0 to 15"),
            std::string::npos);
  EXPECT_NE(why({{"score", "random"}})
                .find("'score' must be one of none, margin, boundary, kmeans, kmeans-cosine, "
                      "class-mean, el2n, forgetting, ddd, and is"),
            std::string::npos);
  EXPECT_NE(why({{"order", "best"}})
                .find("'order' must be one of shuffled, random, curriculum, anti, growing, "
                      "growing-anti, sorted, sorted-anti, and is"),
            std::string::npos);
  EXPECT_NE(why({{"model", "tree"}}).find("tree"), std::string::npos);
  EXPECT_NE(why({{"model", "perceptron"}}).find("needs data"), std::string::npos);
  EXPECT_NE(why({{"n", 50}, {"keep", "hard"}, {"score", "kmeans"}}).find("'clusters' are 100"), std::string::npos);
  EXPECT_EQ(why({{"model", "knn-5"}, {"n", 5}}), "was taken");
  EXPECT_NE(why({{"learning_rate", 0}}).find("'learning_rate' must be above 0"), std::string::npos);
  EXPECT_NE(why({{"learning_rate", "0.1"}}).find("'learning_rate' must be a number from 0 to 1000"), std::string::npos);
  EXPECT_NE(why({{"batch_size", -1}}).find("'batch_size' must be a whole number from 0"), std::string::npos);
  EXPECT_NE(why({{"optimizer", "adamw"}}).find("'optimizer' must be one of adam, sgd, and is \"adamw\""),
            std::string::npos);
}

TEST(Sweep, AGridStandsForEveryCombination) {
  const auto trials = expanded(R"({"grids": [{"model": ["knn-1", "mlp-xy"], "n": [10, 20, 30], "seeds": "0..3"}]})");
  ASSERT_EQ(trials.size(), 24U);
  std::set<std::string> ids;
  for (const Trial& trial : trials) ids.insert(trial_id(trial));
  EXPECT_EQ(ids.size(), 24U);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(trials[i].seed, i);  // a row's seeds stand together
  EXPECT_EQ(expanded(R"({"grids": [{"n": 10, "seeds": "0..3"}, {"n": [10, 20], "seeds": "2..5"}]})").size(), 10U);
  std::set<std::array<std::uint64_t, 4>> draws;  // world, seed, start and test
  for (const Trial& trial : expanded(R"({"grids": [{"n": 10, "worlds": "0..2", "seeds": "4..5", "start": [6, 8]}]})"))
    draws.insert({trial.world, trial.seed, trial.start, trial.test_seed});
  std::set<std::array<std::uint64_t, 4>> want;
  for (const std::uint64_t world : {0, 1, 2}) {
    for (const std::uint64_t seed : {4, 5}) {
      for (const std::uint64_t start : {6, 8}) want.insert({world, seed, start, Trial().test_seed});
    }
  }
  EXPECT_EQ(draws, want);
}

TEST(Sweep, AGridWithoutSeedsHasTheOneOfTheCommandLine) {
  const Json file = Json::parse(R"({"grids": [{"n": [10, 20]}, {"n": 10, "seed": 5}, {"n": 10, "seeds": "0,1"}]})");
  std::vector<std::uint64_t> seeds;
  for (const Trial& trial : expand_sweep(file, "file.json", {}, 7)) seeds.push_back(trial.seed);
  EXPECT_EQ(seeds, (std::vector<std::uint64_t>{7, 7, 5, 0, 1}));
}

TEST(Sweep, SamplesStandForEpochs) {
  const auto trials = expanded(R"({"grids": [{"n": [1000, 4000, 3000000], "samples": 1000000}]})");
  EXPECT_EQ(trials[0].epochs, 1000);
  EXPECT_EQ(trials[1].epochs, 250);
  EXPECT_EQ(trials[2].epochs, 1);
}

TEST(Sweep, WhatAFileMayNotSayIsNamed) {
  EXPECT_NE(refusal("[]").find("file.json: is not a JSON object"), std::string::npos);
  EXPECT_NE(refusal(R"({"grids": []})").find("'grids' must be a list"), std::string::npos);
  EXPECT_NE(refusal(R"({"grid": []})").find("'grid' is not known; did you mean grids?"), std::string::npos);
  EXPECT_NE(refusal(R"({"grids": [{"n": []}]})").find("grid 1: 'n' is an empty list"), std::string::npos);
  EXPECT_NE(refusal(R"({"grids": [{"n": 10}, {"m": 10}]})").find("grid 2: 'm' is not known; known are data, "),
            std::string::npos);
  EXPECT_NE(refusal(R"({"grids": [{"sampels": 10}]})").find("'sampels' is not known; did you mean samples?"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"grids": [{"seeds": "4..0"}]})").find("ends before it begins"), std::string::npos);
  EXPECT_NE(
      refusal(R"({"grids": [{"seed": [7, 8], "seeds": "0..1"}]})").find("grid 1: give 'seed' or 'seeds', not both"),
      std::string::npos);
  EXPECT_NE(refusal(R"({"name": 5, "grids": [{"n": 10}]})").find("'name' must be a text"), std::string::npos);
  EXPECT_NE(refusal(R"({"title": [], "grids": [{"n": 10}]})").find("'title' must be a text"), std::string::npos);
  EXPECT_NE(refusal(R"({"grids": [{"samples": 100, "epochs": 1}]})").find("not both"), std::string::npos);
}

TEST(Sweep, EveryReadySweepIsOne) {
  for (const char* name : {"scaling", "scaling-extended"}) {
    EXPECT_GT(expand_sweep(ready_sweep(name), name).size(), 100U) << name;
  }
  EXPECT_EQ(ready_sweep("fashion-mnist")["grids"].size(), 2U);  // its data may not be installed
  EXPECT_THROW(ready_sweep("nothing"), Failure);
}

// --- the program ----------------------------------------------------------------------------------------------------

// Every kind of work there is, small.
constexpr const char* kSweep = R"({"name": "small", "grids": [
  {"model": ["knn-1", "mlp-polar"], "n": [50, 100], "epochs": 20, "seeds": "0..2", "grid": 32, "density_points": 200},
  {"model": ["knn-1", "mlp-polar"], "n": 100, "epochs": 5, "keep": ["hard", "random"], "score": "kmeans", "clusters": 5,
   "fraction": 0.5, "seeds": "0..1", "grid": 32, "density_points": 200},
  {"n": 100, "epochs": 5, "order": ["curriculum", "random"], "score": "margin", "grid": 32, "density_points": 200},
  {"n": 100, "epochs": 5, "ticket": ["rewound", "random-mask"], "level": [0, 1, 2], "grid": 32, "density_points": 200},
  {"data": "perceptron", "n": 40, "dimension": 20, "keep": ["hard", "random"], "score": "margin", "fraction": 0.5,
   "seeds": "0..1"}]})";

class SweepProgram : public Program {
 protected:
  SweepProgram() { write_text(folder_ / "s.json", kSweep); }
  // What result.json says of every row, but for how long it took.
  std::map<std::string, Json> rows(const fs::path& out) const {
    std::map<std::string, Json> rows;
    const Json document = Json::parse(read_file(folder_ / out / "result.json"));
    for (Json row : document["rows"]) {
      row.erase("seconds");
      const auto id = row["id"].get<std::string>();
      EXPECT_TRUE(rows.emplace(id, std::move(row)).second) << id << " is there twice";
    }
    return rows;
  }
  static void expect_same(const std::map<std::string, Json>& got, const std::map<std::string, Json>& want) {
    EXPECT_EQ(got.size(), want.size());
    for (const auto& [id, row] : want) {
      const auto found = got.find(id);
      if (found == got.end()) {
        ADD_FAILURE() << id << " is missing";
      } else {
        EXPECT_EQ(found->second, row);
      }
    }
  }
  std::size_t lines(const fs::path& file) const {
    const std::string text = read_file(folder_ / file);
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  }
};

TEST_F(SweepProgram, RunsOnceAndIsThenDone) {
  const Finished first = run({"sweep", "s.json", "--out", "a", "--quiet"});
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(first.err, "");
  const auto done = rows("a");
  EXPECT_EQ(done.size(), 31U);
  for (const auto& [id, row] : done) EXPECT_NE(row["status"].get<std::string>().rfind("failed", 0), 0U) << row;
  const std::string store = read_file(folder_ / "a" / "rows-1-of-1.jsonl");
  const Finished again = run({"sweep", "s.json", "--out", "a"});
  EXPECT_EQ(again.code, 0);
  EXPECT_NE(again.err.find("31 done before, 0 to run"), std::string::npos) << again.err;
  EXPECT_EQ(read_file(folder_ / "a" / "rows-1-of-1.jsonl"), store);
  EXPECT_EQ(again.err.find("other trials"), std::string::npos) << again.err;
  expect_same(rows("a"), done);
  // Another sweep is not put into the folder of this one. One that has grown out of it is: what is no longer in it stays,
  // and that it is not shown is said.
  write_text(folder_ / "other.json", R"({"grids": [{"model": "knn-1", "n": 33, "grid": 16, "density_points": 100}]})");
  bad({"sweep", "other.json", "--out", "a"}, 2,
      "a: holds 31 trials of another sweep and none of this one; choose another");
  expect_same(rows("a"), done);
  write_text(folder_ / "more.json", R"({"grids": [
    {"model": "knn-1", "n": 50, "seed": 0, "grid": 32, "density_points": 200}, {"model": "knn-1", "n": 33, "grid": 16}]})");
  const Finished more = run({"sweep", "more.json", "--out", "a", "--dry-run"});
  EXPECT_NE(more.err.find("30 rows of other trials stay in a, not on the page"), std::string::npos) << more.err;
}

// Every rung trains, says so, and leads to another network.
TEST_F(SweepProgram, PrecisionIsAnAxis) {
  write_text(folder_ / "p.json", R"({"grids": [{"n": 400, "epochs": 200, "width": 32, "precision": ["fp32", "bf16x3",
                                     "bf16"], "grid": 64, "density_points": 20000}]})");
  const Finished finished = run({"sweep", "p.json", "--out", "a", "--quiet"});
  ASSERT_EQ(finished.code, 0) << finished.err;
  std::set<std::string> precisions;
  std::set<double> errors;
  for (const auto& [id, row] : rows("a")) {
    precisions.insert(row["params"]["precision"].get<std::string>());
    errors.insert(row["density_error"].get<double>());
  }
  EXPECT_EQ(precisions, (std::set<std::string>{"fp32", "bf16x3", "bf16"}));
  EXPECT_EQ(errors.size(), 3U);
}

// Each way to train leads to another network; the chart goes along the one that is a number.
TEST_F(SweepProgram, TrainingIsAnAxis) {
  write_text(folder_ / "t.json", R"({"title": "Rates", "grids": [
    {"n": 400, "epochs": 200, "width": 32, "learning_rate": [0.001, 0.003, 0.03], "grid": 256},
    {"n": 400, "epochs": 200, "width": 32, "batch_size": 10, "grid": 256},
    {"n": 400, "epochs": 200, "width": 32, "weight_decay": 1, "grid": 256},
    {"n": 400, "epochs": 200, "width": 32, "focal_gamma": 3, "grid": 256},
    {"n": 400, "epochs": 200, "width": 32, "activation": "tanh", "grid": 256},
    {"n": 400, "epochs": 200, "width": 32, "schedule": "constant", "grid": 256},
    {"n": 400, "epochs": 200, "width": 32, "optimizer": "sgd", "learning_rate": 0.1, "grid": 256},
    {"n": 400, "epochs": 200, "width": 32, "grid": 256}]})");
  const Finished finished = run({"sweep", "t.json", "--out", "a", "--quiet"});
  ASSERT_EQ(finished.code, 0) << finished.err;
  std::set<double> errors;
  for (const auto& [id, row] : rows("a"))
    errors.insert(row["train_error"].get<double>() + row["grid_error"].get<double>());
  EXPECT_EQ(rows("a").size(), 9U) << "a rate of 0.003 is the model's own";
  EXPECT_EQ(errors.size(), 9U);
  EXPECT_NE(finished.out.find("learning_rate  batch_size"), std::string::npos) << finished.out;
  EXPECT_NE(read_file(folder_ / "a/rows.csv").find("learning_rate"), std::string::npos);
  const std::string page = read_file(folder_ / "a/report.html");
  EXPECT_NE(page.find("Rates"), std::string::npos);
  EXPECT_NE(page.find(R"("title":"learning rate")"), std::string::npos) << "the axis of a chart";
}

TEST_F(SweepProgram, ShardsAndThreadsAndOrderGiveTheSameRows) {
  ASSERT_EQ(run({"sweep", "s.json", "--out", "a", "--threads", "1"}).code, 0);
  const auto whole = rows("a");
  for (const char* shard : {"1/3", "2/3", "3/3"}) {
    ASSERT_EQ(run({"sweep", "s.json", "--out", "b", "--shard", shard}).code, 0);
  }
  for (const char* file : {"b/rows-1-of-3.jsonl", "b/rows-2-of-3.jsonl", "b/rows-3-of-3.jsonl"}) {
    EXPECT_GT(lines(file), 0U) << file;
  }
  expect_same(rows("b"), whole);
  Json backwards = Json::parse(kSweep);
  std::reverse(backwards["grids"].begin(), backwards["grids"].end());
  write_text(folder_ / "back.json", backwards.dump());
  ASSERT_EQ(run({"sweep", "back.json", "--out", "c"}).code, 0);
  expect_same(rows("c"), whole);
}

TEST_F(SweepProgram, AShardThatRunsAloneSaysWhatIsMissing) {
  const Finished half = run({"sweep", "s.json", "--out", "a", "--shard", "1/2", "--json"});
  ASSERT_EQ(half.code, 0) << half.err;
  const Json document = Json::parse(half.out);
  EXPECT_FALSE(document["complete"].get<bool>());
  EXPECT_EQ(document["planned"], 31);
  EXPECT_LT(document["rows"].size(), 31U);
}

// Whether the kernel's list of locks has a process among those that wait, or has ended, or there is no such list.
bool waits_for_a_lock(pid_t process) {
  std::ifstream locks("/proc/locks");
  siginfo_t ended{};
  if (!locks ||
      (::waitid(P_PID, static_cast<id_t>(process), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid != 0)) {
    return true;
  }
  const std::string pid = " " + std::to_string(process) + " ";
  for (std::string line; std::getline(locks, line);) {
    if (line.find("->") != std::string::npos && line.find(pid) != std::string::npos) return true;
  }
  return false;
}

TEST_F(SweepProgram, AnOlderSummaryIsNeverPublishedOverANewerOne) {
  ASSERT_EQ(run({"sweep", "s.json", "--out", "b", "--shard", "2/2"}).code, 0);
  fs::create_directory(folder_ / "a");
  const Watch watch(folder_ / "a");
  auto publishing = lock_folder(folder_ / "a");
  const pid_t child = start({"sweep", "s.json", "--out", "a", "--shard", "1/2", "--quiet"});
  // Its own rows are done; what it makes of them waits for whoever publishes, and then knows of the other's rows.
  const std::size_t own = 31 - lines("b/rows-2-of-2.jsonl");
  while (lines("a/rows-1-of-2.jsonl") < own && watch.changed(child)) continue;
  while (!waits_for_a_lock(child) && !fs::exists(folder_ / "a" / "result.json")) ::sched_yield();
  EXPECT_FALSE(fs::exists(folder_ / "a" / "result.json"));
  fs::copy_file(folder_ / "b" / "rows-2-of-2.jsonl", folder_ / "a" / "rows-2-of-2.jsonl");
  publishing.reset();
  EXPECT_EQ(finish(child).code, 0);
  EXPECT_EQ(rows("a").size(), 31U);
}

TEST_F(SweepProgram, KilledAtAnyMomentItLosesNothing) {
  ASSERT_EQ(run({"sweep", "s.json", "--out", "whole"}).code, 0);
  const auto whole = rows("whole");
  // Each run is killed when it has made its file or written to it once, twice, three times, four times.
  fs::create_directory(folder_ / "a");
  for (int kill = 0; kill < 10; ++kill) {
    const Watch watch(folder_ / "a");
    const pid_t child = start({"sweep", "s.json", "--out", "a", "--threads", "1"});
    for (int writes = 0; writes <= kill % 4 && watch.changed(child); ++writes) continue;
    ::kill(child, SIGKILL);
    finish(child);
    if (fs::exists(folder_ / "a" / "rows-1-of-1.jsonl")) {
      const Records records = Records::in(folder_ / "a");
      for (const auto& id : records.ids()) {
        ASSERT_TRUE(whole.count(id)) << id;
        ASSERT_EQ(records.at(id)["metrics"].size() + 4, whole.at(id).size() + 1) << records.at(id);
      }
    }
  }
  ASSERT_EQ(run({"sweep", "s.json", "--out", "a"}).code, 0);
  expect_same(rows("a"), whole);
  EXPECT_EQ(lines("a/rows-1-of-1.jsonl"), whole.size());  // nothing ran twice
}

TEST_F(SweepProgram, ASignalFinishesTheGroupAndTheSameCommandGoesOn) {
  // One group, of hours.
  write_text(folder_ / "long.json", R"({"grids": [{"n": 1000, "samples": 3000000000, "seeds": "0..63", "grid": 16,
                                        "density_points": 10}]})");
  fs::create_directory(folder_ / "a");
  fs::create_directory(folder_ / "b");
  const Watch first(folder_ / "a"), second(folder_ / "b");
  const pid_t child = start({"sweep", "long.json", "--out", "a", "--threads", "1"});
  EXPECT_TRUE(first.changed(child));
  // It is stopped while they are sent, so that it meets both at once.
  ::kill(child, SIGSTOP);
  ::waitpid(child, nullptr, WUNTRACED);
  ::kill(child, SIGUSR1);
  ::kill(child, SIGTERM);  // the second, whichever that is, stops at once
  ::kill(child, SIGCONT);
  const Finished finished = finish(child);
  EXPECT_TRUE(finished.code == 128 + SIGTERM || finished.code == 128 + SIGUSR1) << finished.code;
  // Between groups, the first ends it with 75.
  write_text(folder_ / "many.json", R"({"grids": [{"model": "knn-1", "n": 100000, "seeds": "0..9999", "grid": 512}]})");
  const pid_t other = start({"sweep", "many.json", "--out", "b", "--threads", "1"});
  while (lines("b/rows-1-of-1.jsonl") == 0 && second.changed(other)) continue;
  ::kill(other, SIGTERM);
  const Finished stopped = finish(other);
  EXPECT_EQ(stopped.code, 75) << stopped.err;
  EXPECT_NE(stopped.err.find("the same command goes on from there"), std::string::npos) << stopped.err;
  EXPECT_EQ(Records::in(folder_ / "b").size(), lines("b/rows-1-of-1.jsonl"));
  EXPECT_GT(lines("b/rows-1-of-1.jsonl"), 0U);
  EXPECT_LT(lines("b/rows-1-of-1.jsonl"), 10000U);
}

TEST_F(SweepProgram, ADiskThatFillsUpCanBeGoneOnWith) {
  ASSERT_EQ(run({"sweep", "s.json", "--out", "whole"}).code, 0);
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  rlimit tight = old;
  tight.rlim_cur = 6000;          // a few records
  std::signal(SIGXFSZ, SIG_IGN);  // the child inherits it
  ::setrlimit(RLIMIT_FSIZE, &tight);
  const pid_t child = start({"sweep", "s.json", "--out", "a", "--quiet"});
  ::setrlimit(RLIMIT_FSIZE, &old);
  const Finished full = finish(child);
  std::signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(full.code, 74) << full.err;
  EXPECT_NE(full.err.find("rows-1-of-1.jsonl: cannot be written"), std::string::npos) << full.err;
  EXPECT_EQ(std::count(full.err.begin(), full.err.end(), '\n'), 1) << full.err;
  const std::size_t before = lines("a/rows-1-of-1.jsonl");
  EXPECT_GT(before, 0U);
  const Finished again = run({"sweep", "s.json", "--out", "a"});
  EXPECT_EQ(again.code, 0);
  EXPECT_NE(again.err.find(std::to_string(before) + " done before"), std::string::npos) << again.err;
  expect_same(rows("a"), rows("whole"));
}

TEST_F(SweepProgram, ADiskThatIsFullStopsItAtTheFirstRow) {
  // Each of these is a piece of work of its own, whose row is written by itself.
  write_text(folder_ / "k.json", R"({"grids": [{"model": "knn-1", "n": 10, "seeds": "0..9", "grid": 16,
                                     "density_points": 10}]})");
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  rlimit tight = old;
  tight.rlim_cur = 100;
  std::signal(SIGXFSZ, SIG_IGN);
  ::setrlimit(RLIMIT_FSIZE, &tight);
  const pid_t child = start({"sweep", "k.json", "--out", "a", "--quiet"});
  ::setrlimit(RLIMIT_FSIZE, &old);
  const Finished full = finish(child);
  std::signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(full.code, 74) << full.err;
  EXPECT_EQ(read_file(folder_ / "a" / "rows-1-of-1.jsonl"), "");
}

TEST_F(SweepProgram, FailedTrialsAreSaidAndRunAgainWhenAsked) {
  // Five neighbours of four kept rows: known only when the rows are chosen.
  write_text(folder_ / "f.json", R"({"grids": [{"model": ["knn-1", "knn-5"], "n": 8, "keep": "random", "fraction": 0.5,
                                     "grid": 16, "density_points": 10}]})");
  const Finished first = run({"sweep", "f.json", "--out", "a", "--quiet"});
  EXPECT_EQ(first.code, 1) << first.err;
  EXPECT_NE(first.out.find("1 trial failed"), std::string::npos) << first.out;
  EXPECT_EQ(lines("a/rows-1-of-1.jsonl"), 2U);
  EXPECT_EQ(run({"sweep", "f.json", "--out", "a", "--quiet"}).code, 1);
  EXPECT_EQ(lines("a/rows-1-of-1.jsonl"), 2U);
  EXPECT_EQ(run({"sweep", "f.json", "--out", "a", "--quiet", "--retry", "failed"}).code, 1);
  EXPECT_EQ(lines("a/rows-1-of-1.jsonl"), 3U);
}

TEST_F(SweepProgram, ADryRunShowsThePlanAndWritesNothing) {
  const Finished plan = run({"sweep", "scaling", "--out", "a", "--dry-run"});
  EXPECT_EQ(plan.code, 0);
  EXPECT_NE(plan.err.find("820 trials; 0 done before, 820 to run (300 networks)"), std::string::npos) << plan.err;
  EXPECT_FALSE(fs::exists(folder_ / "a"));
}

TEST_F(SweepProgram, BadInputIsOneLine) {
  bad({"sweep", "none.json", "--out", "out"}, 2, "none.json: no such file");
  bad({"sweep", "nothing", "--out", "out"}, 2, "neither a file nor a ready-made sweep");
  write_text(folder_ / "broken.json", "{");
  bad({"sweep", "broken.json", "--out", "out"}, 2, "broken.json: line 1, column 2: is not JSON");
  write_text(folder_ / "broken.json", "{\"grids\": [\n  {\"n\": 10,\n   \"model\" \"knn-1\"}]}\n");
  bad({"sweep", "broken.json", "--out", "out"}, 2, "broken.json: line 3, column 18: is not JSON");
  bad({"sweep", "s.json", "--out", "out", "--shard", "3/2"}, 2, "--shard: '3/2' is not i/n");
  bad({"sweep", "s.json"}, 2, "--out");
  write_text(folder_ / "missing.json", R"({"grids": [{"data": "nowhere.csv", "model": "knn-1", "n": 5}]})");
  bad({"sweep", "missing.json", "--out", "out"}, 3, "nowhere.csv: cannot be read");
}

TEST_F(SweepProgram, OwnPointsAreMeasuredOnWhatWasHeldOut) {
  good({"dataset", "--n", "1000", "--out", "points.csv"});
  write_text(folder_ / "own.json", R"({"grids": [
    {"data": "points.csv", "model": ["knn-1", "mlp-polar"], "n": [100, 800], "epochs": 10, "seeds": "0..1"}]})");
  ASSERT_EQ(run({"sweep", "own.json", "--out", "a", "--quiet"}).code, 0);
  for (const auto& [id, row] : rows("a")) {
    EXPECT_EQ(row["params"]["fingerprint"].get<std::string>().size(), 16U);
    EXPECT_GT(row["test_error"].get<double>(), 0.0);
    EXPECT_LT(row["test_error"].get<double>(), 0.5);
    EXPECT_FALSE(row.contains("grid_error"));
  }
  write_text(folder_ / "many.json", R"({"grids": [{"data": "points.csv", "model": "knn-1", "n": 801}]})");
  bad({"sweep", "many.json", "--out", "out", "--quiet"}, 2, "800 are for training and 200 are held out");
}

// 28 of 30 such networks call everything one class. They count: in the law, on the terminal, in JSON and on the page.
TEST_F(SweepProgram, NetworksThatCollapseCountEverywhereAlike) {
  write_text(folder_ / "c.json", R"({"title": "Mostly collapsed", "grids": [{"model": "mlp-polar", "width": 2,
    "hidden_layers": 2, "n": [30, 60, 120, 240, 480], "epochs": 40, "seeds": "0..5", "grid": 32,
    "density_points": 500}]})");
  const std::string text = good({"sweep", "c.json", "--out", "a", "--quiet"});
  const Json document = Json::parse(read_file(folder_ / "a" / "result.json"));
  const std::string html = read_file(folder_ / "a" / "report.html");
  EXPECT_EQ(document["title"], "Mostly collapsed");
  EXPECT_NE(html.find("Mostly collapsed"), std::string::npos);
  int collapsed = 0;
  for (const Json& row : document["rows"]) collapsed += row["status"] == "collapsed";
  ASSERT_GT(collapsed, 20);
  ASSERT_EQ(document["laws"].size(), 2U);  // grid and density
  for (const Json& law : document["laws"]) {
    EXPECT_EQ(law["failed_to_train"], collapsed);
    EXPECT_EQ(law["law"]["seeds"], 6);
    const std::string worded = law["text"];
    EXPECT_NE(worded.find("counting " + std::to_string(collapsed) + " networks that failed to train"),
              std::string::npos);
    EXPECT_NE(text.find(worded), std::string::npos) << worded << text;
    EXPECT_NE(html.find(worded), std::string::npos) << worded;
  }
  for (const Json& entry : document["summary"]) {
    double sum = 0;
    for (const double value : entry["grid_error"]["values"]) sum += value;
    EXPECT_EQ(entry["grid_error"]["values"].size(), 6U);
    EXPECT_NEAR(entry["grid_error"]["mean"].get<double>(), sum / 6, 1e-12);
  }
}

TEST_F(SweepProgram, ProgressOfOneThatGoesOnIsOfWhatWasLeft) {
  const auto trials = expanded(R"({"grids": [{"model": "knn-1", "n": 8, "grid": 8, "seeds": "0..19"}]})");
  const Common common;
  Context context(cpu_backend(), 0, 1);
  double now = 0;
  std::vector<std::string> lines;
  const Screen screen{.columns = {}, .write = [&](std::string_view line) { lines.emplace_back(line); }};
  Progress progress(false, screen, [&] { return now += 10; });
  Session session{common, context, progress};
  SweepOptions options{.out = folder_ / "a", .shard = "1/2"};
  run_sweep(trials, options, session);
  lines.clear();
  options.shard = "1/1";
  run_sweep(trials, options, session);
  ASSERT_GE(lines.size(), 2U);
  EXPECT_NE(lines[0].find("20 trials; 10 done before, 10 to run"), std::string::npos) << lines[0];
  for (std::size_t i = 1; i < lines.size(); ++i) {
    EXPECT_NE(lines[i].find(" of 10 trials: "), std::string::npos) << lines[i];
  }
}

// result.json has every row, and its bytes are those of a document written at once; the page has the first rows and says
// how many are missing.
TEST_F(SweepProgram, OfManyRowsThePageHasTheFirstAndTheJsonAll) {
  write_text(folder_ / "m.json", R"({"grids": [{"model": "knn-1", "n": [4, 8, 16], "seeds": "0..699", "grid": 8}]})");
  const std::string out = good({"sweep", "m.json", "--out", "a", "--quiet", "--json"});
  const std::string written = read_file(folder_ / "a" / "result.json");
  EXPECT_EQ(out, written);
  const Json document = Json::parse(written);
  EXPECT_EQ(document.dump(2) + "\n", written);
  EXPECT_EQ(document["rows"].size(), 2100U);
  EXPECT_FALSE(document.contains("rows_left_out"));
  std::set<std::string> ids;
  for (const Json& row : document["rows"]) ids.insert(row["id"]);
  EXPECT_EQ(ids.size(), 2100U);
  const std::string html = read_file(folder_ / "a" / "report.html");
  EXPECT_NE(html.find("\"rows_left_out\":100"), std::string::npos);
  EXPECT_NE(html.find("2,100 of 2,100 trials"), std::string::npos);
  EXPECT_NE(html.find("single seeds (the first 200 of up to 700)"), std::string::npos);
  fs::remove(folder_ / "a" / "report.html");
  good({"show", "a", "--quiet"});
  EXPECT_EQ(read_file(folder_ / "a" / "report.html"), html);
}

// A series is a row of a table: of more than the page shows a file has them all.
TEST_F(SweepProgram, OfManySeriesAFileHasAll) {
  write_text(
      folder_ / "m.json", R"({"grids": [{"data": "perceptron", "n": [40, 41, 42], "dimension": 20,
    "keep": "hard", "score": "margin", "fraction": 0.5, "probe_angle": [)" +
                              [] {
                                std::string angles = "0";
                                for (int i = 1; i < 180; ++i) angles += ", " + std::to_string(0.5 * i);
                                return angles;
                              }() +
                              "]}]}");
  const std::string text = good({"sweep", "m.json", "--out", "a", "--quiet"});
  EXPECT_NE(text.find("40 more rows in a/series.csv"), std::string::npos) << text;
  EXPECT_NE(read_file(folder_ / "a" / "report.html").find("40 more rows in series.csv"), std::string::npos);
  const std::string csv = read_file(folder_ / "a" / "series.csv");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 541);
}

TEST_F(SweepProgram, TheSeedOfTheBootstrapIsOneForTerminalJsonAndPage) {
  write_text(folder_ / "k.json", R"({"grids": [{"model": "knn-1", "n": [125, 250, 500, 1000, 2000], "seeds": "0..4",
                                     "grid": 64, "density_points": 1000}]})");
  const std::string text = good({"sweep", "k.json", "--out", "a", "--quiet", "--seed", "7"});
  good({"sweep", "k.json", "--out", "b", "--quiet", "--seed", "8"});
  const Json document = Json::parse(read_file(folder_ / "a" / "result.json")),
             other = Json::parse(read_file(folder_ / "b" / "result.json"));
  const std::string html = read_file(folder_ / "a" / "report.html");
  ASSERT_EQ(document["laws"].size(), 2U);
  EXPECT_NE(document["laws"][0]["text"], other["laws"][0]["text"]) << "the test could not tell seeds apart";
  for (const Json& law : document["laws"]) {
    EXPECT_NE(text.find(law["text"].get<std::string>()), std::string::npos);
    EXPECT_NE(html.find(law["text"].get<std::string>()), std::string::npos);
  }
  // What is on disk makes the same page again, with the same seed.
  const std::string before = html;
  fs::remove(folder_ / "a" / "report.html");
  good({"show", "a", "--quiet"});
  EXPECT_EQ(read_file(folder_ / "a" / "report.html"), before);
}

TEST_F(SweepProgram, ShowSaysWhatItCannotShow) {
  fs::create_directories(folder_ / "empty");
  bad({"show", "empty"}, 3, "holds no result.json; give the --out folder");
  write_text(folder_ / "bench.json", "{}");
  bad({"show", "bench.json"}, 3, "use scalelab bench show bench.json");
  fs::create_directories(folder_ / "story");
  write_text(folder_ / "story" / "result.json", R"({"study": "story"})");
  bad({"show", "story"}, 3, "of a story, open its index.html, which scalelab story --out story makes again");
  fs::create_directories(folder_ / "odd");
  write_text(folder_ / "odd" / "result.json", "[");
  bad({"show", "odd"}, 3, "result.json: line 1, column 2: is not JSON");
  write_text(folder_ / "odd" / "result.json", "[]");
  bad({"show", "odd"}, 3, "is not a JSON object");
  write_text(folder_ / "odd" / "result.json", R"({"planned": 1, "rows": [{"params": 3}]})");
  bad({"show", "odd"}, 3, "odd");
}

}  // namespace
}  // namespace scalelab::host
