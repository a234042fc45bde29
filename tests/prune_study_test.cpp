// prune-study: what it plans, that every choice stands beside as many rows at random, that its numbers follow from its
// rows, and that rows and report are the same for any number of threads and when resumed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "host/evidence/seed_errors.h"
#include "host/evidence/statistics.h"
#include "host/lab/replica.h"
#include "host/program/words.h"
#include "scalelab/math.h"
#include "tests/program.h"

namespace scalelab::host {
namespace {

class PruneStudy : public Program {
 protected:
  nlohmann::json results(const std::string& folder) const {
    return nlohmann::json::parse(read_file(folder_ / folder / "result.json"));
  }
  static Words small(const std::string& out, const Words& more = {}) {
    Words words = {"prune-study", "--out", out,       "--quiet", "--sizes",          "80,160,320,640",
                   "--seeds",     "0..2",  "--grid",  "48",      "--width",          "8",
                   "--samples",   "3000",  "--model", "knn-1",   "--density-points", "1000"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  static nlohmann::json law(const nlohmann::json& document, const std::string& series, const std::string& measure) {
    for (const auto& entry : document["laws"]) {
      if (entry["series"] == series && entry["measure"] == measure) return entry;
    }
    ADD_FAILURE() << "no law of " << series;
    return {};
  }
  static nlohmann::json choice(const nlohmann::json& document, const std::string& name, const nlohmann::json& fraction,
                               int n) {
    for (const auto& entry : document["choices"]) {
      if (entry["choice"] == name && entry["fraction"] == fraction && entry["n"] == n) return entry;
    }
    ADD_FAILURE() << name << " at " << fraction << " of " << n << " is not there";
    return {};
  }
};

// What the findings named so say of one thing at one place: its contrasts.
std::vector<nlohmann::json> contrasts(const nlohmann::json& document, const std::string& id, const std::string& what) {
  std::vector<nlohmann::json> found;
  for (const auto& finding : document["findings"]) {
    if (finding["id"] != id) continue;
    for (const auto& contrast : finding["contrasts"]) {
      if (contrast["what"] == what) found.push_back(contrast);
    }
  }
  return found;
}

// A choice is held against as many rows at random of the same n. With sizes that double and fractions that double,
// 25 % of 320 rows and 50 % of 160 are as many, and must not be each other's control.
TEST_F(PruneStudy, CountsThatCollideDoNotChangeTheControl) {
  good(small("out", {"--scores", "margin", "--fractions", "0.25,0.5"}));
  const auto document = results("out");
  std::map<std::string, std::map<std::uint64_t, double>> errors;
  const auto key = [](const std::string& keep, double fraction, int n) {
    return keep + " " + std::to_string(fraction) + " " + std::to_string(n);
  };
  for (const auto& row : document["rows"]) {
    const auto& p = row["params"];
    errors[key(p["keep"], p["fraction"], p["n"])][p["seed"]] = row["grid_error"];
  }
  int checked = 0;
  for (const std::string keep : {"hard", "easy"}) {
    for (const double fraction : {0.25, 0.5}) {
      const std::string share = fraction == 0.25 ? "25 %" : "50 %";
      const auto found = contrasts(document, "control-grid", "margin " + keep + " " + share);
      ASSERT_EQ(found.size(), 4U) << keep << share;
      for (const auto& contrast : found) {
        EXPECT_EQ(contrast["against"], "random " + share);
        std::vector<double> own, random;
        for (const auto& [seed, error] : errors.at(key(keep, fraction, contrast["place"]["n"]))) {
          own.push_back(error);
          random.push_back(errors.at(key("random", fraction, contrast["place"]["n"])).at(seed));
        }
        const Paired p = paired(own, random);
        EXPECT_EQ(contrast["mean"], p.mean);
        EXPECT_EQ(contrast["low"], p.interval.low);
        // A correction for the number of tests can only take a word back.
        EXPECT_LE(p.p_differs(), contrast["p_differs"].get<double>() + 1e-12);
        ++checked;
      }
    }
  }
  EXPECT_EQ(checked, 16);
  // `all` has no control among choices; each choice is held against it at the same n.
  EXPECT_TRUE(contrasts(document, "control-grid", "all").empty());
  for (const auto& contrast : contrasts(document, "all-grid", "margin hard 25 %")) {
    std::vector<double> own, all;
    for (const auto& [seed, error] : errors.at(key("hard", 0.25, contrast["place"]["n"]))) {
      own.push_back(error);
      all.push_back(errors.at(key("all", 1, contrast["place"]["n"])).at(seed));
    }
    EXPECT_EQ(contrast["mean"], paired(own, all).mean);
  }
  EXPECT_EQ(contrasts(document, "all-grid", "margin hard 25 %").size(), 4U);
}

// The rule keeps another share of each seed's rows; that is one choice, paired over all seeds.
TEST_F(PruneStudy, WhatTheRuleKeepsIsOneChoiceOfAllSeeds) {
  Words words = small("out", {"--scores", "boundary", "--fractions", "0.5", "--boundary-rule"});
  words[7] = "0..4";
  good(words);
  const auto document = results("out");
  const auto found = contrasts(document, "control-grid", "boundary hard by rule");
  ASSERT_EQ(found.size(), 4U);
  for (const auto& contrast : found) {
    EXPECT_EQ(contrast["seeds"], 5);
    EXPECT_EQ(contrast["against"], "random by rule");
    EXPECT_EQ(contrast["place"]["fraction"], "rule");
  }
}

TEST_F(PruneStudy, EveryChoiceStandsBesideAsManyRowsAtRandom) {
  const std::string text = good(small("out", {"--scores", "margin,kmeans,boundary", "--clusters", "4,16,100",
                                              "--fractions", "0.25,0.5", "--boundary-rule"}));
  const auto document = results("out");
  EXPECT_TRUE(document["complete"]);
  // all; random at two fractions; (margin, kmeans at three k, boundary) hard and easy at two fractions; the rule and
  // its control; k = 100 does not fit the smallest size.
  EXPECT_EQ(document["choices"].size(), 4U * (1 + 2 + 5 * 2 * 2 + 2) - 4);
  std::map<std::string, std::map<std::uint64_t, double>> rows;  // grid errors by what was kept
  std::map<std::uint64_t, std::int64_t> rule_kept;
  for (const auto& row : document["rows"]) {
    const auto& p = row["params"];
    if (p["n"] != 640) continue;
    const std::string key = p["keep"].get<std::string>() + p["score"].get<std::string>() + p["fraction"].dump();
    rows[key][p["seed"]] = row["grid_error"];
    if (p["keep"] == "random" && p["fraction"] != 0.25 && p["fraction"] != 0.5) rule_kept[p["seed"]] = row["kept"];
  }
  const auto hard = choice(document, "margin hard", 0.25, 640);
  EXPECT_EQ(hard["kept"], 160);
  std::vector<double> mine, random;
  for (const auto& [seed, error] : rows.at("hardmargin0.25")) {
    mine.push_back(error);
    random.push_back(rows.at("randomnone0.25").at(seed));
  }
  ASSERT_EQ(mine.size(), 3U);
  const Paired against = paired(mine, random);
  EXPECT_EQ(hard["grid_error"]["mean"], summarize(mine).mean);
  EXPECT_EQ(hard["grid_error"]["minus_random"]["mean"], against.mean);
  EXPECT_EQ(hard["grid_error"]["minus_random"]["high"], against.interval.high);
  EXPECT_EQ(hard["grid_error"]["minus_random"]["family"], 4);  // its sizes
  const auto rule = choice(document, "boundary hard", "rule", 640), control = choice(document, "random", "rule", 640);
  EXPECT_EQ(rule["kept"], control["kept"]);
  ASSERT_EQ(rule_kept.size(), 3U);
  double mean = 0;
  for (const auto& [seed, kept] : rule_kept) mean += static_cast<double>(kept) / 3;
  EXPECT_NEAR(rule["kept"].get<double>(), mean, 1e-9);
  EXPECT_EQ(law(document, "margin hard 25 %", "density_error")["along"], "kept");
  EXPECT_EQ(law(document, "boundary hard by rule", "grid_error")["law"]["seeds"], 3);
  EXPECT_EQ(law(document, "random 50 %", "grid_error")["law"]["sizes"], (std::vector<double>{40, 80, 160, 320}));
  for (const auto& entry : document["exponents"]) {
    if (entry["choice"] != "margin easy" || entry["fraction"] != 0.5) continue;
    EXPECT_NEAR(entry["exponent"].get<double>() - entry["random"].get<double>(), entry["difference"].get<double>(),
                1e-12);
    EXPECT_EQ(entry["kept_from"], 40);
    EXPECT_EQ(entry["kept_to"], 320);
  }
  // The page is headed by what the study is about; a choice has one name in all findings.
  EXPECT_EQ(document["findings"][0]["id"], "control-grid");
  std::set<std::string> names;
  for (const auto& entry : document["choices"]) {
    const auto& share = entry["fraction"];
    names.insert(entry["choice"].get<std::string>() + " " +
                 (share == "rule" ? "by rule"
                  : share == 0.25 ? "25 %"
                                  : "50 %"));
  }
  for (const auto& finding : document["findings"]) {
    for (const auto& contrast : finding["contrasts"]) {
      if (contrast["what"] == "all") continue;
      EXPECT_TRUE(names.contains(contrast["what"])) << finding["id"] << " " << contrast["what"];
    }
  }
  EXPECT_EQ(document["cluster_dependence"].size(), 4U);
  EXPECT_EQ(document["cluster_dependence"][0]["errors"].size(), 3U);
  // On the terminal a choice has its mean and the difference with their intervals, on a line that is not too long.
  for (const auto& entry : document["choices"]) {
    const auto& error = entry["grid_error"];
    if (entry["n"] != 640 || !error.contains("minus_random")) continue;
    const auto& share = entry["fraction"];
    const std::string name = entry["choice"].get<std::string>() +
                             (share == "rule" ? " by rule" : fmt::format(" {:g} %", 100 * share.get<double>()));
    const auto& against = error["minus_random"];
    const std::string shown = fmt::format("{} [{}, {}]", percent(error["mean"]), percent(error["low"]),
                                          percent(error["high"])),
                      difference = fmt::format("{} [{}, {}]", signed_points(against["mean"]),
                                               signed_points(against["low"]), signed_points(against["high"]));
    bool found = false;
    for (const std::string& line : split(text, '\n')) {
      if (!line.starts_with(name + "  ")) continue;
      EXPECT_LE(line.size(), 128U) << line;
      found = found || (line.find(" " + shown + " ") != std::string::npos &&
                        line.find(" " + difference + " ") != std::string::npos &&
                        line.ends_with(" " + against["verdict"].get<std::string>()));
    }
    EXPECT_TRUE(found) << name << ": " << shown << ", " << difference << "\n" << text;
  }
  EXPECT_NE(text.find("falls more steeply than that of a random choice of the same size"), std::string::npos);
}

TEST_F(PruneStudy, RowsAreTheSameForAnyThreadsAndWhenResumed) {
  const Words more = {"--scores", "kmeans,el2n", "--clusters", "4", "--fractions", "0.5", "--keep", "hard"};
  Words one = small("a", more), part = small("b", more), two = small("b", more);
  one.insert(one.end(), {"--threads", "1"});
  part[3] = "--shard=1/3";  // in place of --quiet
  const Finished shard = run(part);
  EXPECT_EQ(shard.code, 0) << shard.err;
  EXPECT_FALSE(results("b")["complete"]);
  good(one);
  good(two);
  nlohmann::json a = results("a"), b = results("b");
  EXPECT_TRUE(b["complete"]);
  for (auto* document : {&a, &b}) {
    document->erase("environment");
    for (auto& row : (*document)["rows"]) row.erase("seconds");
  }
  EXPECT_EQ(a.dump(), b.dump());
}

TEST_F(PruneStudy, ThePerceptronStandsBesideItsTheory) {
  good({"prune-study", "--out", "out", "--quiet", "--problem", "perceptron", "--dimension", "40", "--sizes", "40,120",
        "--fractions", "0.5", "--angles", "0,30", "--seeds", "0..9"});
  const auto document = results("out");
  for (const int n : {40, 120}) {
    for (const auto& [name, keep, angle] : std::vector<std::tuple<std::string, Keep, double>>{
             {"margin 0 deg hard", Keep::hard, 0}, {"margin 30 deg easy", Keep::easy, 30 * kPi / 180}}) {
      const auto entry = choice(document, name, 0.5, n);
      EXPECT_EQ(entry["theory"], solve_replica({n / 40.0, 0.5, keep, angle}).error);
      // Of finite dimension: the bias at d = 40 is some per cent, downwards.
      const double measured = entry["test_error"]["mean"], error = entry["test_error"]["standard_error"];
      EXPECT_NEAR(measured, entry["theory"].get<double>(), 4 * error + 0.08 * measured) << name << " " << n;
    }
    EXPECT_EQ(choice(document, "random", 0.5, n)["theory"], solve_replica({n / 80.0, 1, Keep::random, 0}).error);
  }
}

TEST_F(PruneStudy, WhereNoTrialGaveAResultNothingIsFound) {
  const Words words = {"prune-study", "--out", "out",      "--quiet", "--problem",   "perceptron",
                       "--dimension", "8",     "--sizes",  "8",       "--fractions", "0.5",
                       "--seeds",     "0,1",   "--angles", "0",       "--keep",      "hard"};
  good(words);
  EXPECT_FALSE(results("out")["findings"].empty());
  std::string rows = read_file(folder_ / "out" / "rows-1-of-1.jsonl");
  const std::string ok = "\"status\":\"ok\"";
  for (std::size_t at = 0; (at = rows.find(ok, at)) != std::string::npos;)
    rows.replace(at, ok.size(), "\"status\":\"failed: by hand\"");
  write_text(folder_ / "out" / "rows-1-of-1.jsonl", rows);
  const Finished none = run(words);
  EXPECT_EQ(none.code, 1) << none.err;
  EXPECT_EQ(none.out.find("theory"), std::string::npos) << none.out;
  EXPECT_EQ(results("out")["findings"], nlohmann::json::array());
}

TEST_F(PruneStudy, PeoplesOwnPointsAreStudiedToo) {
  good({"dataset", "--n", "400", "--seed", "3", "--out", "p.csv", "--quiet"});
  const std::string text = good({"prune-study", "--out", "out", "--quiet", "--data", "p.csv", "--model", "knn-1",
                                 "--scores", "boundary,class-mean", "--fractions", "0.5", "--seeds", "0..1"});
  EXPECT_NE(text.find("every seed holds out a fifth of the rows of its own"), std::string::npos);
  const auto document = results("out");
  EXPECT_EQ(document["choices"].back()["n"], 320) << "a fifth is held out";
  EXPECT_TRUE(document["choices"].back().contains("test_error"));
}

// Floors are an option; by default a score that needs no labels is kept without looking at any.
TEST_F(PruneStudy, ClassFloorsAreAChoice) {
  good(small("out", {"--scores", "kmeans,boundary", "--clusters", "8", "--fractions", "0.5"}));
  auto document = results("out");
  EXPECT_EQ(choice(document, "kmeans(8) floor 0 hard", 0.5, 640)["class_floor"], 0);
  EXPECT_EQ(choice(document, "boundary hard", 0.5, 640)["class_floor"], 0.5);
  good(small("both", {"--scores", "kmeans", "--clusters", "8", "--fractions", "0.25,0.5", "--class-floors", "0,1"}));
  document = results("both");
  const auto floors = contrasts(document, "floors-grid", "kmeans(8) floor 0 hard 25 %");
  ASSERT_EQ(floors.size(), 1U);
  EXPECT_EQ(floors[0]["against"], "kmeans(8) floor 1 hard 25 %");
  // A floor of 1 keeps both classes alike as far as they have rows, and a choice without one need not. Shares of the
  // classes are those of the rows themselves.
  for (const auto& row : document["rows"]) {
    const auto& p = row["params"];
    if (p["keep"] == "all") continue;
    EXPECT_LE(row["least_class"].get<double>(), p["fraction"].get<double>() + 0.01) << row;
    EXPECT_GE(row["most_class"].get<double>(), p["fraction"].get<double>() - 0.01) << row;
    if (p["score"] != "kmeans") continue;
    EXPECT_GT(row["purity"].get<double>(), 0.5);
    if (p["class_floor"] != 1) continue;
    // Two classes: kept k rows, half of them of the smaller class, or all it has.
    EXPECT_GT(row["most_class"].get<double>(), p["fraction"].get<double>() * 1.2) << row;
  }
  EXPECT_GT(choice(document, "kmeans(8) floor 1 hard", 0.25, 640)["most_class"].get<double>(),
            choice(document, "random", 0.25, 640)["most_class"].get<double>());
}

// Numbers of rows that a choice is worth follow from its errors and those of random rows of the same seed.
TEST_F(PruneStudy, WorthIsReadFromRandomRowsOfTheSameSeed) {
  good(small("out", {"--scores", "margin", "--fractions", "0.25,0.5", "--keep", "hard"}));
  const auto document = results("out");
  std::map<std::uint64_t, std::map<double, std::vector<double>>> random;
  std::map<std::uint64_t, double> own;
  for (const auto& row : document["rows"]) {
    const auto& p = row["params"];
    if (p["keep"] == "all" || p["keep"] == "random") random[p["seed"]][row["kept"]].push_back(row["grid_error"]);
    if (p["keep"] == "hard" && p["n"] == 640 && p["fraction"] == 0.5) own[p["seed"]] = row["grid_error"];
  }
  std::vector<double> logarithms;
  for (const auto& [seed, error] : own) {
    std::vector<double> x, y;
    for (const auto& [kept, errors] : random[seed]) {
      x.push_back(kept);
      double sum = 0;
      for (const double value : errors) sum += value / static_cast<double>(errors.size());
      y.push_back(sum);
    }
    logarithms.push_back(std::log(std::clamp(crossing(x, y, error), x.front(), x.back())));
  }
  ASSERT_EQ(logarithms.size(), 3U);
  for (const auto& entry : document["worth"]) {
    if (entry["measure"] != "grid_error" || entry["n"] != 640 || entry["fraction"] != 0.5) continue;
    EXPECT_NEAR(std::log(entry["rows"].get<double>()), summarize(logarithms).mean, 1e-9);
    EXPECT_EQ(entry["kept"], 320);
    EXPECT_EQ(entry["curve_first"], 20);
    EXPECT_EQ(entry["curve_last"], 640);
  }
  EXPECT_EQ(document["worth"].size(), 2U * 2 * 4);  // measures, fractions, sizes
}

TEST_F(PruneStudy, BadInputEndsInOneLine) {
  bad({"prune-study", "--out", "out", "--class-floors", "1.5"}, 2, "--class-floors");
  bad({"prune-study"}, 2, "--out");
  bad({"prune-study", "--out", "out", "--scores", "hardness"}, 2, "'hardness' is no score");
  bad({"prune-study", "--out", "out", "--scores", "random"}, 2, "always drawn");
  bad({"prune-study", "--out", "out", "--keep", "best"}, 2, "'best'");
  bad({"prune-study", "--out", "out", "--fractions", "0"}, 2, "--fractions");
  bad({"prune-study", "--out", "out", "--fractions", "0.5,0.5"}, 2, "twice");
  bad({"prune-study", "--out", "out", "--sizes", "0"}, 2, "--sizes");
  bad({"prune-study", "--out", "out", "--problem", "perceptron", "--scores", "el2n"}, 2, "not for the perceptron");
  bad({"prune-study", "--out", "out", "--problem", "perceptron", "--data", "p.csv"}, 2, "give one of the two");
  bad({"prune-study", "--out", "out", "--data", "none.csv"}, 3, "none.csv");
  bad({"prune-study", "--out", "out", "--model", "forest"}, 2, "forest");
}

}  // namespace
}  // namespace scalelab::host
