// The benchmark's judgement: verdicts on planted slowdowns, intervals, roofs. No test here asserts a time.
#include "bench/bench.h"

#include <gtest/gtest.h>

#include <cmath>

#include "scalelab/random.h"
#include "tests/program.h"
#include "tests/support.h"

namespace scalelab::bench {
namespace {

// Round medians of a case that takes a second, times `factor`, with relative noise of this deviation.
std::vector<double> rounds(int count, double factor, double noise, std::uint64_t seed) {
  std::vector<double> values;
  for (int i = 0; i < count; ++i) {
    const double z = normal_pair(random_words(seed, Stream::test, static_cast<std::uint64_t>(i))).first;
    values.push_back(factor * std::exp(noise * z));
  }
  return values;
}

TEST(Verdict, FindsAPlantedSlowdownOfTenPercent) {
  int slower = 0, faster = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const auto a = rounds(7, 1, 0.02, 2 * seed), b = rounds(7, 1.1, 0.02, 2 * seed + 1);
    slower += compare_rounds(a, b, 0.03).word == "slower";
    faster += compare_rounds(b, a, 0.03).word == "faster";
  }
  EXPECT_GE(slower, 199);
  EXPECT_EQ(faster, slower);
}

TEST(Verdict, IsUnclearOnOnePercentInNoise) {
  int unclear = 0, wrong = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Verdict verdict =
        compare_rounds(rounds(7, 1, 0.05, 2 * seed + 1000), rounds(7, 1.01, 0.05, 2 * seed + 1001), 0.03);
    unclear += verdict.word == "unclear";
    wrong += verdict.word == "faster";
  }
  EXPECT_GE(unclear, 180);
  EXPECT_LE(wrong, 8);  // at 95 % the interval misses on one side 1 in 40 times
}

TEST(Verdict, SaysSameOnlyWithinTheMargin) {
  int same = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    same +=
        compare_rounds(rounds(7, 1, 0.01, 2 * seed + 5000), rounds(7, 1, 0.01, 2 * seed + 5001), 0.03).word == "same";
  }
  EXPECT_GE(same, 195);
  // A difference that is certain but within the margin is the same for those who set the margin.
  EXPECT_EQ(compare_rounds(rounds(9, 1, 1e-4, 1), rounds(9, 1.02, 1e-4, 2), 0.03).word, "same");
  EXPECT_EQ(compare_rounds(rounds(9, 1, 1e-4, 1), rounds(9, 1.02, 1e-4, 2), 0.01).word, "slower");
}

TEST(Verdict, SaysWhenThereAreTooFewRounds) {
  const Verdict verdict = compare_rounds(rounds(2, 1, 0.01, 1), rounds(9, 2, 0.01, 2), 0.03);
  EXPECT_EQ(verdict.word, "unclear");
  EXPECT_TRUE(verdict.too_few);
}

TEST(Verdict, TheIntervalCoversTheTruth) {
  int covered = 0;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const Verdict v = compare_rounds(rounds(5, 1, 0.03, 2 * seed + 9000), rounds(8, 1.2, 0.06, 2 * seed + 9001), 0.03);
    covered += v.low <= 1.2 && 1.2 <= v.high;
  }
  EXPECT_NEAR(covered, 950, 30);
}

TEST(Estimate, IsTheMedianWithAnIntervalFromRounds) {
  const Estimate one = estimate(std::vector<double>{2.0});
  EXPECT_EQ(one.median, 2);
  EXPECT_TRUE(std::isnan(one.low));
  const Estimate few = estimate(std::vector<double>{1.0, 2.0, 4.0});
  EXPECT_EQ(few.median, 2);
  // log 1, log 2, log 4: mean log 2, standard error log 2 / sqrt 3, t(0.975, 2) = 4.3027.
  EXPECT_NEAR(few.high, 2 * std::pow(2.0, 4.30265 / std::sqrt(3.0)), 1e-3);
  EXPECT_NEAR(few.low * few.high, 4, 1e-9);
}

TEST(Roof, IsTheResourceThatTakesLongest) {
  Ceilings ceilings;
  ceilings.copy_bytes = 100;
  ceilings.fma_flop = 1000;
  Work work;
  work.bytes = 50;
  work.flop = 2000;
  work.minima = 1e9;  // whose ceiling is unknown
  const Roof roof = binding_roof(work, ceilings, 4);
  EXPECT_EQ(roof.name, "fma");
  EXPECT_EQ(roof.floor_seconds, 2);
  EXPECT_EQ(roof.share, 0.5);
  EXPECT_EQ(binding_roof({}, ceilings, 1).name, "");
}

class CeilingsTest : public test::OnBackend {};
SCALELAB_ON_EACH_BACKEND(CeilingsTest);

TEST_P(CeilingsTest, AreMeasured) {
  Context context(backend(), 0, 1);
  const Ceilings c = backend().measure_ceilings(0.2, context);
  for (const double rate : {c.copy_bytes, c.write_bytes, c.cache_bytes, c.shared_bytes, c.fma_flop, c.minimum_ops}) {
    EXPECT_GT(rate, 1e3);
    EXPECT_LT(rate, 1e16);
  }
  EXPECT_GT(c.launch_seconds, 0);
  EXPECT_EQ(std::isnan(c.barrier_seconds), on_cpu());
}

// Every op at its smallest: its answer is right, and a wrong one is found.
TEST(Ops, AnswersAreChecked) {
  Context context(cpu_backend(), 0, 1);
  for (const Op& op : {knn_op(), grid_op(), kmeans_op(), mlp_op()}) {
    ASSERT_FALSE(op.cases.empty()) << op.name;
    Parameters small = op.cases[0];
    for (auto& [key, value] : small.items()) {
      if (!value.is_number() || key == "k" || key == "d") continue;
      value = std::min<std::int64_t>(value.get<std::int64_t>(), key == "batch" ? 64 : key == "width" ? 8 : 200);
    }
    const Problem problem = op.make(small, context);
    problem.run();
    EXPECT_EQ(problem.check(), "") << case_name(op.name, small);
    EXPECT_GT(problem.work.units, 0) << op.name;
    EXPECT_FALSE(problem.work.unit.empty()) << op.name;
  }
}

// --- the program
// -------------------------------------------------------------------------------------------------------

class BenchProgram : public host::Program {
 protected:
  // A result whose one case took `factor` seconds, in seven rounds with this noise.
  void result(const std::string& file, double factor, double noise, std::uint64_t seed, int count = 7) const {
    const auto medians = rounds(count, factor, noise, seed);
    const nlohmann::json clock = {{"rounds", medians}, {"median", factor}};
    host::write_text(folder_ / file, nlohmann::json{{"experiment", "bench"},
                                                    {"rows", {{{"name", "op n=1"}, {"wall", clock}, {"cpu", clock}}}}}
                                         .dump());
  }
};

TEST_F(BenchProgram, ComparesTwoResultsAndFailsWhenAsked) {
  result("a", 1, 0.01, 1);
  result("same", 1, 0.01, 2);
  result("slower", 1.1, 0.01, 3);
  result("unclear", 1.01, 0.05, 4);
  result("few", 2, 0.01, 5, 2);
  EXPECT_NE(good({"bench", "compare", "a", "same"}).find("1 same"), std::string::npos);
  EXPECT_NE(good({"bench", "compare", "a", "slower"}).find("1 slower"), std::string::npos);
  EXPECT_NE(good({"bench", "compare", "slower", "a"}).find("1 faster"), std::string::npos);
  EXPECT_NE(good({"bench", "compare", "a", "unclear"}).find("1 unclear"), std::string::npos);
  EXPECT_NE(good({"bench", "compare", "a", "few"}).find("fewer than three rounds"), std::string::npos);
  EXPECT_EQ(run({"bench", "compare", "a", "slower", "--fail-over", "5%"}).code, 5);
  EXPECT_EQ(run({"bench", "compare", "a", "slower", "--fail-over", "0.05"}).code, 5);
  EXPECT_EQ(run({"bench", "compare", "a", "slower", "--fail-over", "20%"}).code, 0);
  EXPECT_EQ(run({"bench", "compare", "a", "unclear", "--fail-over", "0%"}).code, 0);
}

TEST_F(BenchProgram, MeasuresChecksAndShows) {
  good({"bench", "run", "--op", "knn", "--axis", "n=100,200,400", "--axis", "q=50", "--budget", "0.01", "--rounds", "3",
        "--quiet", "--out", "r.json"});
  const auto document = nlohmann::json::parse(host::read_file(folder_ / "r.json"));
  ASSERT_EQ(document["rows"].size(), 3U);
  for (const auto& row : document["rows"]) {
    EXPECT_EQ(row["wall"]["rounds"].size(), 3U);
    EXPECT_GE(row["wall"]["samples"][0].size(), 3U);
    EXPECT_GT(row["wall"]["median"].get<double>(), 0);
    EXPECT_FALSE(row.contains("wrong"));
  }
  EXPECT_EQ(document["exponents"][0]["parameter"], "n");
  EXPECT_NE(good({"bench", "show", "r.json"}).find("knn data=uniform n=400"), std::string::npos);
  EXPECT_NE(good({"bench", "list"}).find("mlp what=train"), std::string::npos);
}

TEST_F(BenchProgram, BadInputIsOneLine) {
  bad({"bench", "run", "--op", "sort"}, 2, "'sort' is none of");
  bad({"bench", "run", "--op", "knn", "--axis", "m=3"}, 2, "its names are data, n, q, d, k");
  bad({"bench", "run", "--op", "knn", "--axis", "n=many"}, 2, "'many' is not a whole number");
  bad({"bench", "run", "--op", "knn", "--axis", "n=3", "--axis", "k=9", "--quiet"}, 2, "k = 9");
  bad({"bench", "run", "--filter", "zzz"}, 2, "no case's name contains");
  bad({"bench", "show"}, 2, "takes 1 file");
  bad({"bench", "show", "none.json"}, 3, "none.json: cannot be read");
  host::write_text(folder_ / "other.json", "{}");
  bad({"bench", "show", "other.json"}, 3, "is no result of scalelab bench run");
  bad({"bench", "compare", "other.json", "other.json", "--margin", "wide"}, 2, "--margin: 'wide' is not a share");
}

}  // namespace
}  // namespace scalelab::bench
