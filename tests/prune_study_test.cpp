// prune-study: what it plans, that every choice stands beside as many rows at random, that its numbers follow from its
// rows, and that rows and report are the same for any number of threads and when resumed.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "host/evidence/statistics.h"
#include "host/lab/replica.h"
#include "scalelab/math.h"
#include "tests/program.h"

namespace scalelab::host {
namespace {

class PruneStudy : public Program {
 protected:
  nlohmann::json results(const std::string& folder) const {
    return nlohmann::json::parse(read_file(folder_ / folder / "results.json"));
  }
  static Words small(const std::string& out, const Words& more = {}) {
    Words words = {"prune-study", "--out", out,       "--quiet", "--sizes",          "80,160,320,640",
                   "--seeds",     "0..2",  "--grid",  "48",      "--width",          "8",
                   "--samples",   "3000",  "--model", "knn-1",   "--density-points", "1000"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
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
  EXPECT_EQ(hard["grid_error"]["minus_random"], against.mean);
  EXPECT_EQ(hard["grid_error"]["minus_random_interval"][1], against.interval.high);
  EXPECT_EQ(hard["grid_error"]["verdict"], against.verdict());
  const auto rule = choice(document, "boundary rule", "rule", 640), control = choice(document, "random", "rule", 640);
  EXPECT_EQ(rule["kept"], control["kept"]);
  ASSERT_EQ(rule_kept.size(), 3U);
  double mean = 0;
  for (const auto& [seed, kept] : rule_kept) mean += static_cast<double>(kept) / 3;
  EXPECT_NEAR(rule["kept"].get<double>(), mean, 1e-9);
  EXPECT_TRUE(document["laws"].contains("margin hard, 25 % | density_error"));
  EXPECT_TRUE(document["laws"].contains("boundary rule, rule | grid_error"));
  EXPECT_EQ(document["laws"]["random, 50 % | grid_error"]["sizes"], (std::vector<double>{40, 80, 160, 320}));
  for (const auto& entry : document["exponents"]) {
    if (entry["choice"] != "margin easy" || entry["fraction"] != 0.5) continue;
    EXPECT_NEAR(entry["exponent"].get<double>() - entry["random"].get<double>(), entry["difference"].get<double>(),
                1e-12);
    EXPECT_EQ(entry["kept_from"], 40);
    EXPECT_EQ(entry["kept_to"], 320);
  }
  EXPECT_EQ(document["cluster_dependence"].size(), 4U);
  EXPECT_EQ(document["cluster_dependence"][0]["errors"].size(), 3U);
  EXPECT_NE(text.find("boundary rule"), std::string::npos);
  EXPECT_NE(text.find("Exponents against points kept"), std::string::npos);
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

TEST_F(PruneStudy, PeoplesOwnPointsAreStudiedToo) {
  good({"dataset", "--n", "400", "--seed", "3", "--out", "p.csv", "--quiet"});
  good({"prune-study", "--out", "out", "--quiet", "--data", "p.csv", "--model", "knn-1", "--scores",
        "boundary,class-mean", "--fractions", "0.5", "--seeds", "0..1"});
  const auto document = results("out");
  EXPECT_EQ(document["choices"].back()["n"], 320) << "a fifth is held out";
  EXPECT_TRUE(document["choices"].back().contains("test_error"));
}

TEST_F(PruneStudy, BadInputEndsInOneLine) {
  bad({"prune-study"}, 2, "--out");
  bad({"prune-study", "--out", "out", "--scores", "hardness"}, 2, "'hardness' is no score");
  bad({"prune-study", "--out", "out", "--scores", "random"}, 2, "always drawn");
  bad({"prune-study", "--out", "out", "--keep", "best"}, 2, "'best'");
  bad({"prune-study", "--out", "out", "--fractions", "0"}, 2, "--fractions");
  bad({"prune-study", "--out", "out", "--fractions", "0.5,0.5"}, 2, "twice");
  bad({"prune-study", "--out", "out", "--sizes", "0"}, 2, "--sizes");
  bad({"prune-study", "--out", "out", "--problem", "perceptron", "--scores", "el2n"}, 2, "not for the perceptron");
  bad({"prune-study", "--out", "out", "--data", "none.csv"}, 3, "none.csv");
  bad({"prune-study", "--out", "out", "--model", "forest"}, 2, "forest");
}

}  // namespace
}  // namespace scalelab::host
