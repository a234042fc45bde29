// The benchmark's judgement: verdicts on planted slowdowns, intervals, roofs. No test here asserts a time.
#include "bench/bench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <set>

#include "bench/cost.h"
#include "bench/result.h"
#include "bench/run.h"
#include "host/program/crossover.h"
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

TEST(Verdict, IsUndecidedOnOnePercentInNoise) {
  int undecided = 0, wrong = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Verdict verdict =
        compare_rounds(rounds(7, 1, 0.05, 2 * seed + 1000), rounds(7, 1.01, 0.05, 2 * seed + 1001), 0.03);
    undecided += verdict.word == "undecided";
    wrong += verdict.word == "faster";
  }
  EXPECT_GE(undecided, 180);
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
  EXPECT_EQ(verdict.word, "undecided");
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

// The machine's speed goes up and down by a tenth from turn to turn, which both share, and one in ten is
// disturbed by as much and more, which they do not.
TEST(Verdict, TurnsCancelWhatBothShareAndOutliveWhatTheyDoNot) {
  constexpr int kTurns = 30;
  const auto with = [&](double factor, std::uint64_t seed) {
    std::vector<double> values = rounds(kTurns, factor, 0.01, seed);
    const auto drift = rounds(kTurns, 1, 0.1, 77), chance = rounds(kTurns, 1, 1, seed + 100000);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] *= drift[i];
      if (std::log(chance[i]) > 1.2816) values[i] *= 1.1 + 0.3 * (std::log(chance[i]) - 1.2816);
    }
    return values;
  };
  int same = 0, slower = 0, covered = 0;
  constexpr int kDraws = 500;
  for (std::uint64_t seed = 0; seed < kDraws; ++seed) {
    const auto a = with(1, 3 * seed);
    same += compare_in_pairs(a, with(1, 3 * seed + 1), 0.03).word == "same";
    const Verdict verdict = compare_in_pairs(a, with(1.1, 3 * seed + 2), 0.03);
    slower += verdict.word == "slower";
    covered += verdict.low <= 1.1 && 1.1 <= verdict.high;
  }
  EXPECT_GE(same, 0.75 * kDraws);
  EXPECT_GE(slower, 0.98 * kDraws);
  EXPECT_NEAR(covered, 0.95 * kDraws, 15);
  EXPECT_EQ(compare_rounds(with(1, 1), with(1, 2), 0.03).word, "undecided") << "not in turn";
  const auto few = rounds(6, 1, 0.01, 3);
  EXPECT_TRUE(compare_in_pairs(std::span(few).first(5), std::span(few).first(5), 0.03).too_few);
  EXPECT_FALSE(compare_in_pairs(few, few, 0.03).too_few);
  EXPECT_THROW(compare_in_pairs(few, std::span(few).first(5), 0.03), std::invalid_argument);
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

TEST(Estimate, IsNarrowWhenThreeRoundsAgreeByTheClockAskedFor) {
  const auto rounds_of = [](double spread) {
    return std::vector<Round>{
        {.wall = {1}, .cpu = {2 - spread}}, {.wall = {1 + spread}, .cpu = {2}}, {.wall = {1}, .cpu = {2}}};
  };
  EXPECT_TRUE(is_narrow(rounds_of(0.0005), "wall"));
  EXPECT_FALSE(is_narrow(rounds_of(0.01), "wall"));
  std::vector<Round> one_clock = rounds_of(0);
  EXPECT_FALSE(is_narrow(std::span(one_clock).first(2), "wall"));
  one_clock[0].cpu = {3};
  EXPECT_TRUE(is_narrow(one_clock, ""));
  EXPECT_FALSE(is_narrow(one_clock, "cpu"));
}

TEST(Roof, IsTheResourceThatTakesLongest) {
  Ceilings ceilings;
  ceilings.copy_bytes = 100;
  ceilings.fma_flop = 1000;
  Workload work;
  work.bytes = 50;
  work.flop = 2000;
  work.minima = 1e9;  // whose ceiling is unknown
  const Roof roof = binding_roof(work, ceilings, 4);
  EXPECT_EQ(roof.name, "fma");
  EXPECT_EQ(roof.floor_seconds, 2);
  EXPECT_EQ(roof.share, 0.5);
  EXPECT_EQ(binding_roof({}, ceilings, 1).name, "");
  ceilings.tensor_flop = 1e6;
  ceilings.cache_bytes = 10;
  work.tensor_flop = 3e6;
  EXPECT_EQ(binding_roof(work, ceilings, 4).name, "tensor");
  work.cache_bytes = 100;
  EXPECT_EQ(binding_roof(work, ceilings, 4).name, "cache");
}

// What only reads is held against reading, what only writes against writing, and what does both alike against a copy.
TEST(Roof, OfMainMemoryIsThatOfWhatIsReadAndWritten) {
  Ceilings ceilings;
  ceilings.copy_bytes = 100;
  Workload work;
  work.bytes = 300;
  EXPECT_EQ(memory_floor(work, ceilings).floor_seconds, 3);  // with nothing better known
  ceilings.read_bytes = 150;
  ceilings.write_bytes = 60;
  EXPECT_EQ(memory_floor(work, ceilings).name, "read");
  EXPECT_EQ(memory_floor(work, ceilings).floor_seconds, 2);
  work.written_bytes = 300;
  EXPECT_EQ(memory_floor(work, ceilings).name, "write");
  EXPECT_EQ(memory_floor(work, ceilings).floor_seconds, 5);
  work.written_bytes = 150;
  EXPECT_EQ(memory_floor(work, ceilings).name, "memory");
  EXPECT_EQ(memory_floor(work, ceilings).floor_seconds, 3);
  work.written_bytes = 75;
  EXPECT_EQ(memory_floor(work, ceilings).floor_seconds, 2 * 75 / 100.0 + 150 / 150.0);
  EXPECT_EQ(binding_roof(work, ceilings, 5).name, "memory");
  EXPECT_EQ(binding_roof(work, ceilings, 5).share, 0.5);
  EXPECT_EQ(memory_floor({}, ceilings).name, "");
}

// A clock that runs move: what prepares a run takes ten times as long as the run, and is not in its time.
TEST(Round, TimesNeitherWhatPreparesARunNorWhatWarmsUp) {
  Context context(cpu_backend(), 0, 1);
  double now = 0;
  int prepared = 0, run = 0;
  Problem problem;
  problem.prepare = [&] {
    now += 10;
    ++prepared;
  };
  problem.run = [&] {
    now += 1;
    ++run;
  };
  const Clocks clocks{.wall = [&now] { return now; }, .cpu = [&now] { return now; }};
  const Round round = time_round(problem, {.seconds = 1, .warm = 30}, context, nullptr, clocks);
  EXPECT_EQ(round.wall, std::vector<double>(3, 1));
  EXPECT_EQ(round.cold, 1);
  EXPECT_EQ(prepared, run);
  EXPECT_EQ(run, 3 + 1 + 1 + 3);  // to warm up, cold, once more, and the samples
  // A run of more than ten times the round's seconds is timed once.
  run = 0;
  EXPECT_EQ(time_round(problem, {.seconds = 0.05}, context, nullptr, clocks).wall, std::vector<double>(1, 1));
  EXPECT_EQ(run, 2);
}

TEST(Drawn, IsMadeRowByRowAndOnce) {
  std::atomic<int> made = 0;
  const auto rows = [&](std::int64_t i, float* row) {
    ++made;
    row[0] = static_cast<float>(i);
    row[1] = -1;
  };
  const Numbers one = drawn("bench_test", 1009, 2, rows), again = drawn("bench_test", 1009, 2, rows);
  EXPECT_EQ(made, 1009);
  EXPECT_EQ(one, again);
  for (std::size_t i = 0; i < 1009; ++i) EXPECT_EQ((*one)[2 * i], static_cast<float>(i));
  drawn("bench_test of another name", 5, 2, rows);
  EXPECT_EQ(made, 1014);
}

TEST(LargeCases, AreChosenOnlyWhereTheyAreWantedAndNameTheirNeed) {
  std::size_t large = 0;
  for (const Op& op : all_ops()) large += op.large.size();
  EXPECT_EQ(chosen_cases({.large = true}).size(), chosen_cases({}).size() + large);
  EXPECT_EQ(chosen_cases({.op = "knn", .axes = {"n=10"}, .large = true}).size(), 1U);
  for (const Op& op : all_ops()) {
    EXPECT_FALSE(op.large.empty()) << op.name;
    for (const Parameters& parameters : op.large) {
      check_parameters(op, parameters, "large");
      EXPECT_GT(need_of({op.name, parameters}), 0);
    }
    for (const Parameters& parameters : op.cases) EXPECT_EQ(need_of({op.name, parameters}), 0);
  }
}

TEST(CountedFloor, IsOfTheSlowestPipeOfEachKernelAndItsShareOfTheDevice) {
  Ceilings ceilings;  // instructions of warps a second: 2 of any kind, 1 of integers, 4 lines of shared memory
  ceilings.minimum_ops = 32;
  ceilings.fma_flop = 128;
  ceilings.shared_bytes = 512;
  ceilings.copy_bytes = 10;
  const nlohmann::json counted = {
      {"kernels",
       {{{"name", "a"}, {"launches", 1}, {"share", 0.5}, {"issue", 100}, {"integer", 80}, {"shared", 40}},
        {{"name", "b"}, {"launches", 3}, {"share", 1}, {"issue", 30}, {"fp32", 30}, {"tensor", 1e9}}}}};
  Workload work;
  const Roof floor = counted_floor(counted, work, ceilings);
  EXPECT_EQ(floor.name, "integer");
  EXPECT_NEAR(floor.floor_seconds, 80 / 0.5 + 15 + 4 * 2e-6, 1e-9);  // what has no ceiling bounds nothing
  work.bytes = 2000;
  EXPECT_EQ(counted_floor(counted, work, ceilings).name, "read");
}

// The committed table says of each case what the program makes of the same counts.
TEST(CountedFloor, TheCommittedTableIsOfTheCommittedCounts) {
  std::set<std::string> names;
  for (const Case& one : chosen_cases({.large = true})) names.insert(case_name(one.op, one.parameters));
  for (const auto& [name, counted] : counted_cases().items()) {
    EXPECT_TRUE(names.contains(name)) << name << " is no case";
    Ceilings ceilings;
    for (const auto& [member, value] : {std::pair{"copy_bytes", &ceilings.copy_bytes},
                                        {"fma_flop", &ceilings.fma_flop},
                                        {"minimum_ops", &ceilings.minimum_ops},
                                        {"shared_bytes", &ceilings.shared_bytes},
                                        {"tensor_flop", &ceilings.tensor_flop}}) {
      *value = counted_ceilings().at(member);
    }
    Workload work;
    work.bytes = counted.at("bytes");
    const Roof floor = counted_floor(counted, work, ceilings);
    EXPECT_EQ(floor.name, counted.at("bound")) << name;
    EXPECT_NEAR(floor.floor_seconds / counted.at("floor_seconds").get<double>(), 1, 1e-3) << name;
  }
}

// Scripts of peers, run by a shell in the place of Python.
class Peers : public testing::Test {
 protected:
  Peers() {
    ::setenv("SCALELAB_PYTHON", "sh", 1);
    ::setenv("SCALELAB_PEERS", folder_.path().c_str(), 1);
  }
  ~Peers() override {
    for (const char* name : {"SCALELAB_PYTHON", "SCALELAB_PEERS", "SCALELAB_PEER_SECONDS"}) ::unsetenv(name);
  }
  std::vector<Peer> told_by(const std::string& script) {
    folder_.write("peer.py", script.data(), script.size());
    return python_peers("peer.py", "", 1, [](const nlohmann::json&) { return "the same"; });
  }
  PeerFolder folder_;
};

TEST_F(Peers, OneThatFailsSaysWhyInItsLastWords) {
  const auto peers = told_by(
      "echo '{\"who\": \"one\", \"wall\": [1], \"cpu\": [1]}'; echo first >&2; echo no module numpy >&2; echo >&2; "
      "exit 3");
  ASSERT_EQ(peers.size(), 2U);
  EXPECT_EQ(peers[0].who, "one");
  EXPECT_EQ(peers[0].answer, "the same");
  EXPECT_NE(peers[1].absent.find("status 3: no module numpy"), std::string::npos) << peers[1].absent;
}

TEST_F(Peers, OneThatHangsIsEndedAndWhatItToldBeforeIsKept) {
  EXPECT_TRUE(run_command("cat; sleep 100000", 0).late);
  EXPECT_FALSE(run_command("true").late);
  ::setenv("SCALELAB_PEER_SECONDS", "0", 1);
  const auto peers = told_by("sleep 100000");
  ASSERT_EQ(peers.size(), 1U);
  EXPECT_NE(peers[0].absent.find("its limit"), std::string::npos) << peers[0].absent;
}

TEST(Roof, IsTheBetterOfTwoMeasurements) {
  Ceilings one, other;
  one.copy_bytes = 100;
  one.fma_flop = 1000;
  one.launch_seconds = 2e-6;
  other.copy_bytes = 90;
  other.fma_flop = 1100;
  other.launch_seconds = 1e-6;
  other.cache_bytes = 7;  // measured once only
  const Ceilings better = better_of(one, other);
  EXPECT_EQ(better.copy_bytes, 100);
  EXPECT_EQ(better.fma_flop, 1100);
  EXPECT_EQ(better.launch_seconds, 1e-6);
  EXPECT_EQ(better.cache_bytes, 7);
  EXPECT_EQ(better_of(other, one).cache_bytes, 7);
  EXPECT_TRUE(std::isnan(better.barrier_seconds));
}

TEST(Growth, IsTheExponentWithTheIntervalOfTheScatter) {
  std::vector<double> x, exact, noisy;
  for (int i = 0; i < 6; ++i) {
    x.push_back(std::pow(2, i));
    exact.push_back(3 * std::pow(x.back(), 1.5));
    noisy.push_back(exact.back() * (i % 2 == 0 ? 1.1 : 1 / 1.1));
  }
  const Growth law = growth(x, exact);
  EXPECT_NEAR(law.exponent, 1.5, 1e-12);
  EXPECT_NEAR(law.high - law.low, 0, 1e-6);
  // Residuals +-r in turn, r = log 1.1: least squares over x = 0..5 log 2 leaves 6 r^2 - 9 / 17.5 r^2 of their squares.
  const Growth rough = growth(x, noisy);
  const double r = std::log(1.1), spread = 17.5 * std::log(2.0) * std::log(2.0);
  EXPECT_NEAR(rough.exponent, 1.5 - 3 * r / (17.5 * std::log(2.0)), 1e-9);
  EXPECT_NEAR((rough.high - rough.low) / 2, 2.776445 * std::sqrt((6 - 9 / 17.5) * r * r / 4 / spread), 1e-6);
  EXPECT_TRUE(std::isnan(growth(std::vector<double>{1, 2}, std::vector<double>{1, 2}).low));
  EXPECT_TRUE(std::isnan(growth(std::vector<double>{2}, std::vector<double>{1}).exponent));
}

// Two lines of five rungs: a takes x, b takes 8 + x / 5 (they meet at 10), each within `width` of it.
std::pair<std::vector<Rung>, std::vector<Rung>> meeting(double width) {
  std::pair<std::vector<Rung>, std::vector<Rung>> lines;
  for (const double x : {2.0, 4.0, 8.0, 16.0, 32.0}) {
    const double a = x, b = 8 + x / 5;
    lines.first.push_back({x, {a, a / width, a * width}});
    lines.second.push_back({x, {b, b / width, b * width}});
  }
  return lines;
}

TEST(Takeover, IsWhereTheSecondBecomesAndStaysQuicker) {
  const auto [a, b] = meeting(1.1);
  const Takeover c = takeover(a, b);
  EXPECT_EQ(c.word, "at");
  EXPECT_NEAR(c.at, 10, 0.3);  // the interpolation between 8 and 16 is in logarithms
  EXPECT_LT(c.low, c.at);
  EXPECT_GT(c.high, c.at);
  EXPECT_GT(c.low, 7);
  EXPECT_LT(c.high, 14);
  const auto [narrow_a, narrow_b] = meeting(1);
  EXPECT_EQ(takeover(narrow_a, narrow_b).low, takeover(narrow_a, narrow_b).high);
  // Quicker for a while and slower again: only the last change counts.
  auto dip = b;
  dip[0].seconds = {1e-3, 1e-3, 1e-3};
  EXPECT_EQ(takeover(a, dip).at, c.at);
}

TEST(Takeover, SaysWhenThereIsNone) {
  const auto [a, b] = meeting(1.1);
  const std::span<const Rung> all_a(a), all_b(b);
  EXPECT_EQ(takeover(all_a.first(3), all_b.first(3)).word, "never");
  EXPECT_EQ(takeover(all_a.first(3), all_b.first(3)).at, 8);
  EXPECT_EQ(takeover(all_a.subspan(3), all_b.subspan(3)).word, "always");
  EXPECT_EQ(takeover(all_a.subspan(3), all_b.subspan(3)).at, 16);
  EXPECT_THROW(takeover(all_a.first(2), all_b.first(3)), std::invalid_argument);
  EXPECT_THROW(takeover(all_a.first(2), all_b.subspan(1, 2)), std::invalid_argument);
}

// A document of `bench cost` with one line on each backend: the CPU takes 1e-6 s a unit, the GPU 1e-8 s.
nlohmann::json two_backends(const char* work, double start_seconds) {
  nlohmann::json document = {
      {"rows", nlohmann::json::array()}, {"lines", nlohmann::json::array()}, {"start_seconds", start_seconds}};
  for (const auto& [backend, rate] : {std::pair{"cpu", 1e-6}, {"cuda", 1e-8}}) {
    nlohmann::json line = {{"group", "g"},
                           {"name", backend},
                           {"route", ""},
                           {"backend", backend},
                           {"axis", "n"},
                           {"work", work},
                           {"rows", nlohmann::json::array()}};
    for (double n = 1e3; n < 2e7; n *= 10) {
      line["rows"].push_back(document["rows"].size());
      document["rows"].push_back({{"parameters", {{"n", n}}},
                                  {"amount", 2 * n},
                                  {"wall", {{"median", rate * n}, {"low", rate * n}, {"high", rate * n}}}});
    }
    document["lines"].push_back(line);
  }
  return document;
}

TEST(Cost, TheStartOfTheGpuDecidesTheCrossoverThatAutoGoesBy) {
  // 1e-6 n = 0.5 + 1e-8 n at n = 5.05e5, twice that in the amount; the interpolation is in logarithms.
  nlohmann::json document = two_backends("grid_knn", 0.5);
  document["crossings"] = crossings_of(document);
  ASSERT_EQ(document["crossings"].size(), 1U);
  EXPECT_EQ(document["crossings"][0]["word"], "at");
  EXPECT_NEAR(document["crossings"][0]["at"].get<double>(), 1.01e6, 3e4);
  const auto amounts = amounts_of(document);
  ASSERT_EQ(amounts.size(), 1U);
  EXPECT_EQ(amounts.at("grid_knn"), document["crossings"][0]["at"].get<double>());
  // Without it the GPU is always quicker: from the least amount measured on.
  document = two_backends("grid_knn", 0);
  document["crossings"] = crossings_of(document);
  EXPECT_EQ(amounts_of(document).at("grid_knn"), 2e3);
  // Never quicker up to 2e7: 3e8 is assumed, and may still be right; 100 sets would be wrong.
  document = two_backends("grid_knn", 1e3);
  document["crossings"] = crossings_of(document);
  EXPECT_EQ(document["crossings"][0]["word"], "never");
  EXPECT_TRUE(amounts_of(document).empty());
  document = two_backends("max_margin", 1e3);
  document["crossings"] = crossings_of(document);
  EXPECT_EQ(amounts_of(document).at("max_margin"), 2e7);
  // A line that decides nothing between backends has no crossing.
  EXPECT_TRUE(crossings_of(two_backends("", 0.5)).empty());
}

TEST(Cost, EveryLineIsOfItsOpAndDecidesAKnownCrossover) {
  std::set<std::string> works;
  std::vector<CostLine> lines;
  for (const Op& op : all_ops()) {
    for (const CostLine& line : op.lines) EXPECT_TRUE(op.cases[0].contains(line.axis)) << line.group;
    lines.insert(lines.end(), op.lines.begin(), op.lines.end());
  }
  for (const CostLine& line : lines) {
    SCOPED_TRACE(line.group + " " + line.route);
    EXPECT_TRUE(std::is_sorted(line.values.begin(), line.values.end()));
    EXPECT_EQ(line.work.empty(), !line.amount);
    const bool added = line.work.empty() || works.insert(line.work).second;
    EXPECT_TRUE(added) << line.work << " is decided twice";
    EXPECT_GT(line.bytes(line.fixed), 0);
    // Room is foreseen for the bench's own arrays at least.
    Parameters large = line.fixed;
    large[line.axis] = line.values.back();
    EXPECT_GE(line.bytes(large), line.bytes(line.fixed));
  }
  for (const host::Crossover& row : host::assumed_crossovers()) {
    const std::string name = row.name;
    EXPECT_EQ(works.contains(name), name != "max_margin" && name != "xor_sgd") << name;
  }
}

// Zeros behind the data send the ops along another route, to the same answers.
TEST(Cost, RoutesAgree) {
  Context context(cpu_backend(), 0, 1);
  for (const Op& op : {op_named("knn"), op_named("kmeans")}) {
    Parameters parameters = op.cases[0];
    for (const char* name : {"n", "q"}) {
      if (parameters.contains(name)) parameters[name] = 300;
    }
    parameters["k"] = 5;
    parameters["d"] = 2;
    for (const int padded : {2, 4}) {
      parameters["padded"] = padded;
      const Problem problem = op.make(parameters, context);
      problem.run_once();
      EXPECT_EQ(problem.check(), "") << case_name(op.name, parameters);
    }
  }
}

// Whoever adds NAME_bench.cpp and forgets to name it in ops.cpp is told here.
TEST(Ops, EveryFileOfAnOpIsListed) {
  std::set<std::string> listed, found;
  for (const Op& op : all_ops()) listed.insert(op.name);
  for (const auto& entry : host::fs::directory_iterator(host::fs::path(test::kSourceFolder) / "bench")) {
    const std::string name = entry.path().filename(), end = "_bench.cpp";
    if (name.ends_with(end)) found.insert(name.substr(0, name.size() - end.size()));
  }
  EXPECT_EQ(listed, found);
}

class CeilingsTest : public test::OnBackend {};
SCALELAB_ON_EACH_BACKEND(CeilingsTest);

TEST_P(CeilingsTest, AreMeasured) {
  Context context(backend(), 0, 1);
  const Ceilings c = backend().measure_ceilings(0.2, context);
  for (const double rate :
       {c.copy_bytes, c.read_bytes, c.write_bytes, c.cache_bytes, c.shared_bytes, c.fma_flop, c.minimum_ops}) {
    EXPECT_GT(rate, 1e3);
    EXPECT_LT(rate, 1e16);
  }
  EXPECT_GT(c.launch_seconds, 0);
  EXPECT_EQ(std::isnan(c.barrier_seconds), on_cpu());
}

// Every op at its smallest: its answer is right, and a wrong one is found.
TEST(Ops, AnswersAreChecked) {
  Context context(cpu_backend(), 0, 1);
  for (const Op& op : all_ops()) {
    ASSERT_FALSE(op.cases.empty()) << op.name;
    Parameters small = op.cases[0];
    for (auto& [key, value] : small.items()) {
      if (!value.is_number() || key == "k" || key == "d") continue;
      value = std::min<std::int64_t>(value.get<std::int64_t>(), key == "batch" ? 64 : key == "width" ? 8 : 200);
    }
    const Problem problem = op.make(small, context);
    problem.run_once();
    EXPECT_EQ(problem.check(), "") << case_name(op.name, small);
    EXPECT_GT(problem.work.units, 0) << op.name;
    EXPECT_FALSE(problem.work.unit.empty()) << op.name;
  }
}

// Every kind of data that a bench can draw, also those that an op finds hard.
TEST(Ops, EveryKindOfDataIsAnsweredRight) {
  Context context(cpu_backend(), 0, 1);
  for (const Op& op : all_ops()) {
    if (!op.limits.contains("data")) continue;
    for (const std::string& kind : op.limits.at("data").words) {
      Parameters small = op.cases[0];
      small["data"] = kind;
      for (const char* name : {"n", "q", "grid"}) {
        if (small.contains(name)) small[name] = 300;
      }
      small["k"] = 5;
      const Problem problem = op.make(small, context);
      problem.run_once();
      EXPECT_EQ(problem.check(), "") << case_name(op.name, small);
    }
  }
}

// --- the program ----------------------------------------------------------------------------------------------------

// The clock that progress goes by stands in for the signal.
TEST(Run, WhatWasTimedWhenASignalCameIsKept) {
  const std::vector<Case> cases = chosen_cases({.op = "knn", .axes = {"n=10,20,30", "q=10", "k=1"}});
  ASSERT_EQ(cases.size(), 3U);
  const host::Common common;
  const auto run_until = [&](int last_call) {
    int calls = 0;
    host::Progress progress(false, {.terminal = false, .columns = [] { return 80; }, .write = [](std::string_view) {}},
                            [&calls, last_call]() -> double {
                              if (++calls > last_call) throw host::Interrupted(SIGINT);
                              return 0;
                            });
    Context context(cpu_backend(), 0, 1);
    host::Session session{common, context, progress};
    return measure_cases(cases, {.budget = 0.001, .rounds = 2}, session);
  };
  // Its beginning, the ceilings, and two cases.
  const auto stopped = run_until(4);
  EXPECT_EQ(stopped["rows"].size(), 2U);
  EXPECT_EQ(stopped["stopped"], "2 of 3 cases");
  EXPECT_THROW(run_until(2), host::Interrupted);
  const auto whole = run_until(100);
  EXPECT_EQ(whole["rows"].size(), 3U);
  EXPECT_FALSE(whole.contains("stopped"));
}

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
  result("undecided", 1.01, 0.05, 4);
  result("few", 2, 0.01, 5, 2);
  EXPECT_NE(good({"bench", "compare", "a", "same"}).find("1 same"), std::string::npos);
  EXPECT_NE(good({"bench", "compare", "a", "slower"}).find("1 slower"), std::string::npos);
  EXPECT_NE(good({"bench", "compare", "slower", "a"}).find("1 faster"), std::string::npos);
  EXPECT_NE(good({"bench", "compare", "a", "undecided"}).find("1 undecided"), std::string::npos);
  EXPECT_NE(good({"bench", "compare", "a", "few"}).find("too few rounds"), std::string::npos);
  EXPECT_EQ(run({"bench", "compare", "a", "slower", "--fail-over", "5%"}).code, 5);
  EXPECT_EQ(run({"bench", "compare", "a", "slower", "--fail-over", "0.05"}).code, 5);
  EXPECT_EQ(run({"bench", "compare", "a", "slower", "--fail-over", "20%"}).code, 0);
  EXPECT_EQ(run({"bench", "compare", "a", "undecided", "--fail-over", "0%"}).code, 0);
}

// A machine that drifts by a tenth moves every case; one case's own change is found beside the others.
TEST_F(BenchProgram, ADriftOfTheMachineIsToldFromAChange) {
  const auto several = [&](const std::string& file, double drift, double own, std::uint64_t seed) {
    auto rows = nlohmann::json::array();
    for (std::uint64_t i = 0; i < 7; ++i) {
      const double factor = drift * (i == 2 ? own : 1);
      const nlohmann::json clock = {{"rounds", rounds(9, factor, 0.005, 10 * seed + i)}, {"median", factor}};
      rows.push_back({{"name", "op n=" + std::to_string(i)}, {"wall", clock}, {"cpu", clock}});
    }
    host::write_text(folder_ / file, nlohmann::json{{"experiment", "bench"}, {"rows", rows}}.dump());
  };
  several("a", 1, 1, 1);
  several("drifted", 0.9, 1, 2);
  several("changed", 0.9, 1.1, 3);
  const std::string drifted = good({"bench", "compare", "a", "drifted"});
  EXPECT_NE(drifted.find("7 faster"), std::string::npos) << drifted;
  EXPECT_NE(drifted.find("may be the machine"), std::string::npos) << drifted;
  EXPECT_NE(good({"bench", "compare", "a", "drifted", "--relative"}).find("7 same"), std::string::npos);
  const auto changed = run({"bench", "compare", "a", "changed", "--relative", "--fail-over", "5%"});
  EXPECT_EQ(changed.code, 5) << changed.out;
  EXPECT_NE(changed.out.find("1 slower"), std::string::npos) << changed.out;
  EXPECT_EQ(good({"bench", "compare", "a", "a"}).find("may be the machine"), std::string::npos);
}

// Programs stand in for ones that are quicker, wrong or old.
TEST_F(BenchProgram, ProgramsAreTimedInTurn) {
  const std::string program = test::program();
  const host::Words small = {"--op",     "knn", "--axis",    "n=200,400", "--axis",  "q=50",
                             "--budget", "0.2", "--threads", "1",         "--quiet", "--json"};
  const auto compare = [&](const std::string& a, const std::string& b) {
    host::Words words = {"bench", "compare", a, b};
    words.insert(words.end(), small.begin(), small.end());
    return words;
  };
  const auto document = nlohmann::json::parse(good(compare(program, program + " --threads 2")));
  ASSERT_EQ(document["rows"].size(), 2U);
  for (const auto& row : document["rows"]) {
    EXPECT_TRUE(row.contains("ratio")) << row;
    EXPECT_GE(row["a"].size(), 6U);
    EXPECT_EQ(row["a"].size(), row["b"].size());
    EXPECT_GT(row["b"][0]["wall"][0].get<double>(), 0);
  }
  // One that claims to take a nanosecond, one whose answer is wrong, and one that knows only n = 200.
  const auto script = [&](const std::string& name, const std::string& lines) {
    host::write_text(folder_ / name, "#!/bin/sh\n" + lines + "\n");
    host::fs::permissions(folder_ / name, host::fs::perms::owner_all);
    return "./" + name;
  };
  const std::string quick = script("quick", R"(echo '{"wall": [1e-9], "cpu": [1e-9]}')");
  EXPECT_NE(run(compare(program, quick)).out.find("\"verdict\": \"faster\""), std::string::npos);
  host::Words words = compare(quick, program);
  words.insert(words.end(), {"--fail-over", "5%"});
  EXPECT_EQ(run(words).code, 5);
  // Quick in its first six turns only: no second series confirms it. Both say what they took without a clock.
  const std::string steady = script("steady", R"(echo '{"wall": [1e-3], "cpu": [1e-3]}')");
  const std::string lucky = script("lucky", R"(echo >> turns
[ $(wc -l < turns) -gt 6 ] && exec ./steady
echo '{"wall": [1e-9], "cpu": [1e-9]}')");
  const std::string luck = run(compare(steady, lucky)).out;
  const auto rows = nlohmann::json::parse(luck, nullptr, false);
  EXPECT_EQ(rows["rows"][0].value("verdict", luck), "undecided");
  EXPECT_EQ(rows["rows"][0]["a"].size(), 12U);
  bad(compare(program, script("wrong", R"(echo '{"wrong": "7 ids differ"}')")), 2, "./wrong: 7 ids differ");
  const std::string old =
      script("old", fmt::format(R"(case "$*" in *'"n":200'*) exec {} "$@";; esac; echo no such n)", program));
  const std::string text = run(compare(program, old)).out;
  EXPECT_NE(text.find("./old: no such n"), std::string::npos) << text;
  EXPECT_NE(text.find("ratio"), std::string::npos) << text;
  bad(compare(program, "./none"), 2, "none: not found");
  bad(compare(program, program + " --nonsense"), 2, "--nonsense is not known");
  bad(compare(program, "none.json"), 2, "not one of each");
  bad({"bench", "turn", "--case", "{}"}, 2, "is not a JSON object of op and parameters");
  bad({"bench", "turn", "--case", R"({"op": "sort", "parameters": {}})"}, 2, "the op 'sort' is not known");
}

TEST_F(BenchProgram, MeasuresChecksAndShows) {
  good({"bench", "run", "--op", "knn", "--axis", "n=100,200,400", "--axis", "q=50", "--budget", "0.01", "--rounds", "3",
        "--quiet", "--out", "r.json"});
  const auto document = nlohmann::json::parse(host::read_file(folder_ / "r.json"));
  ASSERT_EQ(document["rows"].size(), 3U);
  EXPECT_EQ(document["noise"]["cases"], 3);
  const std::string csv = host::read_file(folder_ / "r.csv");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 4);
  std::set<std::string> digests;
  for (const auto& row : document["rows"]) digests.insert(row["answer_digest"].get<std::string>());
  EXPECT_EQ(digests.size(), 3U);
  EXPECT_NE(good({"bench", "compare", "r.json", "r.json"}).find("Answers with the same bits: 3 of 3"),
            std::string::npos);
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

TEST_F(BenchProgram, CostGrowsToItsLimitsAndMakesAPage) {
  const std::string text = good({"bench", "cost", "--backend", "cpu", "--filter", "knn-n,mlp-width", "--most", "100",
                                 "--budget", "100000", "--threads", "1", "--quiet", "--out", "cost.json"});
  EXPECT_NE(text.find("quicker than"), std::string::npos) << text;
  const auto document = nlohmann::json::parse(host::read_file(folder_ / "cost.json"));
  ASSERT_EQ(document["lines"].size(), 3U);
  for (const auto& line : document["lines"]) {
    EXPECT_GE(line["rows"].size(), 2U) << line;
    for (const auto& index : line["rows"]) {
      const auto& row = document["rows"].at(index.get<std::size_t>());
      EXPECT_FALSE(row.contains("wrong"));
      EXPECT_EQ(row["wall"]["rounds"].size(), 3U);
      EXPECT_LE(row["parameters"][line["axis"].get<std::string>()].get<int>(), 100);
    }
  }
  EXPECT_EQ(document["crossings"].size(), 1U);
  EXPECT_EQ(document["crossings"][0]["kind"], "route");
  // A limit of memory that only the first sizes meet ends a line.
  const std::string small = good(
      {"bench", "cost", "--backend", "cpu", "--filter", "knn-n", "--budget", "100000", "--max-mem", "20K", "--quiet"});
  EXPECT_NE(small.find("ended by the limit of memory"), std::string::npos) << small;
  EXPECT_EQ(good({"bench", "show", "cost.json", "--out", "page"}), "page/report.html\n");
  const std::string page = host::read_file(folder_ / "page/report.html");
  EXPECT_NE(page.find("id=\"cost-knn-n\""), std::string::npos);
  EXPECT_NE(page.find("id=\"roofline\""), std::string::npos);
  EXPECT_NE(page.find("cases.csv"), std::string::npos);
  bad({"bench", "cost", "--filter", "zzz"}, 2, "no line's name contains 'zzz'");
}

TEST_F(BenchProgram, PageAndMarkdownShowPeersAndWhatIsAbsent) {
  const nlohmann::json clock = {{"rounds", {1, 1, 1}},
                                {"samples", {{1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1, 1}}},
                                {"median", 0.001},
                                {"low", 0.0009},
                                {"high", 0.0011}};
  const nlohmann::json row = {{"name", "op <n>=1"},
                              {"op", "op"},
                              {"backend", "cpu"},
                              {"wall", clock},
                              {"cpu", clock},
                              {"parameters", {{"n", 1}}},
                              {"answer_digest", "0123456789abcdef"},
                              {"unit", "query"},
                              {"units", 100},
                              {"bytes", 1000},
                              {"flop", 4000},
                              {"minima", 0},
                              {"joules", 0.25},
                              {"roof", {{"name", "fma"}, {"floor_seconds", 5e-4}, {"share", 0.5}}},
                              {"peers",
                               {{{"who", "slow<poke"},
                                 {"version", "1.2"},
                                 {"wall", {0.02, 0.021, 0.022}},
                                 {"cpu", {0.03}},
                                 {"median", 0.021},
                                 {"ratio", 21},
                                 {"answer", "0 of 100 differ"}},
                                {{"who", "another way"}, {"wall", {0.002}}, {"cpu", {0.002}}, {"own_route", true}},
                                {{"who", "ghost"}, {"absent", "No module named 'ghost'"}}}}};
  nlohmann::json document = {{"experiment", "bench"},
                             {"made", "2026-11-22T00:00:00Z"},
                             {"device", "AVX2, 1 thread"},
                             {"backend", "cpu"},
                             {"ceilings", {{"copy_bytes", 1e9}, {"fma_flop", 8e6}}},
                             {"noise", {{"median", 0.015}, {"largest", 0.025}, {"cases", 2}}},
                             {"rows", {row, row}},
                             {"power", "no energy, clock or throttling: libnvidia-ml.so.1 cannot be opened"}};
  document["rows"][1]["name"] = "other";
  host::write_text(folder_ / "r.json", document.dump());
  const std::string text = good({"bench", "show", "r.json"});
  EXPECT_NE(text.find("21.0x  0 of 100 differ"), std::string::npos) << text;
  EXPECT_NE(text.find("A/A: the program against itself"), std::string::npos);
  EXPECT_NE(text.find("[95 % interval]"), std::string::npos) << text;
  EXPECT_NE(text.find("slow<poke 1.2"), std::string::npos) << text;
  EXPECT_NE(text.find("0.25 J"), std::string::npos);
  EXPECT_NE(text.find("libnvidia-ml.so.1 cannot be opened"), std::string::npos);
  const std::size_t absent = text.find("Absent: ghost (No module named 'ghost')");
  ASSERT_NE(absent, std::string::npos) << text;
  EXPECT_EQ(text.find("ghost (", absent + 20), std::string::npos) << "said more than once";
  const std::string table = good({"bench", "show", "r.json", "--markdown", "--clock", "cpu", "--filter", "other,none"});
  EXPECT_NE(
      table.find(
          "| other | 1.000 ms [900.0 us, 1.100 ms] | 3 x 4 | 100 kquery/s | 50 %, fma | slow<poke 1.2 30x, another way "
          "(scalelab's own) 2x |"),
      std::string::npos)
      << table;
  EXPECT_EQ(table.find("<n>"), std::string::npos);
  const std::string csv = good({"bench", "show", "r.json", "--csv"});
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 1 + 2 * 4) << csv;  // each case, and its three peers
  EXPECT_NE(csv.find("other,op,1,scalelab,,,wall,0.001,0.0009,0.0011,3,13,"), std::string::npos) << csv;
  EXPECT_NE(csv.find("other,op,1,slow<poke,1.2,,wall,0.021,,,,3,,100,query,21,"), std::string::npos) << csv;
  EXPECT_NE(csv.find("other,op,1,another way,,1,wall,0.002,"), std::string::npos) << csv;
  EXPECT_NE(csv.find("absent: No module named 'ghost'"), std::string::npos) << csv;
  good({"bench", "show", "r.json", "--out", "page"});
  const std::string page = host::read_file(folder_ / "page/report.html");
  EXPECT_NE(page.find("op &lt;n&gt;=1"), std::string::npos);
  EXPECT_NE(page.find(">21x<"), std::string::npos);
  EXPECT_EQ(page.find("slow<poke"), std::string::npos);
  EXPECT_NE(page.find("takes, times as long as scalelab: op 21 (2 cases)"), std::string::npos);
  EXPECT_NE(page.find("differs by 1.5&nbsp;% in the middle of 2 cases and by 2.5&nbsp;% at most"), std::string::npos);
  EXPECT_NE(page.find("another way, scalelab&#39;s own"), std::string::npos);
  EXPECT_NE(page.find("peers.csv"), std::string::npos);
}

// A machine whose answers change is found by the run and by the soak, and one whose answers stay is not accused.
TEST(Soak, CountsTheAnswersThatDifferFromTheFirst) {
  int runs = 0;
  Problem problem;
  problem.run = [&runs] { ++runs; };
  problem.digest = [&runs] { return runs % 5 == 4 ? std::string("wrong") : std::string("right"); };
  double now = 0;
  const Clocks clocks{.wall = [&now] { return now += 0.5; }, .cpu = [] { return 0.0; }};
  Soaked soaked;
  soak(problem, 5, soaked, clocks);
  EXPECT_EQ(soaked.runs, runs);
  EXPECT_EQ(runs, 11);
  EXPECT_EQ(soaked.differing, 2);
  EXPECT_EQ(soaked.digest, "right");
  soak(problem, 0, soaked, clocks);  // twice at least, and held against the very first
  EXPECT_EQ(runs, 13);
}

TEST(Noise, IsHowFarHalfOfTheRoundsLieFromTheOtherHalf) {
  const std::vector<std::vector<double>> rounds = {{1, 1.1, 1, 1.1}, {2, 2}, {1, 0.8, 1}, {7}};
  const Noise noise = noise_of(rounds);
  EXPECT_EQ(noise.cases, 3);  // one round has no other half
  EXPECT_NEAR(noise.median, 0.1, 1e-12);
  EXPECT_NEAR(noise.largest, 0.25, 1e-12);
  EXPECT_EQ(noise_of({}).cases, 0);
}

TEST_F(BenchProgram, ASoakRepeatsAndComparesAnswers) {
  const std::string text = good({"bench", "soak", "--op", "knn", "--axis", "n=50,500", "--axis", "q=10", "--axis",
                                 "k=1", "--seconds", "0", "--quiet", "--out", "soak.json"});
  EXPECT_NE(text.find("4 runs in 0 s: every answer was the one given first"), std::string::npos) << text;
  const auto document = nlohmann::json::parse(host::read_file(folder_ / "soak.json"));
  ASSERT_EQ(document["rows"].size(), 2U);
  EXPECT_NE(document["rows"][0]["answer_digest"], document["rows"][1]["answer_digest"]);
}

// A program that was moved away from its source tree still times itself.
TEST_F(BenchProgram, PeersWhoseScriptsAreGoneAreAbsent) {
  ::setenv("SCALELAB_PEERS", "/nowhere", 1);
  const std::string text = good({"bench", "run", "--op", "kmeans", "--axis", "n=10", "--axis", "k=2", "--budget",
                                 "0.01", "--rounds", "1", "--peers", "--backend", "cpu", "--quiet"});
  ::unsetenv("SCALELAB_PEERS");
  EXPECT_NE(text.find("Absent: kmeans.py (/nowhere/kmeans.py is not there"), std::string::npos) << text;
}

TEST_F(BenchProgram, ASignalEndsThePeersToo) {
  // A peer that works until it is let through a gate. While it lives, it holds `life` open.
  int life[2];
  ASSERT_EQ(::pipe(life), 0);
  ASSERT_EQ(::mkfifo((folder_ / "gate").c_str(), 0666), 0);
  host::write_text(folder_ / "slow", "#!/bin/sh\necho > asked\nread word < gate\necho > ended\n");
  host::fs::permissions(folder_ / "slow", host::fs::perms::owner_all);
  ::setenv("SCALELAB_PYTHON", (folder_ / "slow").c_str(), 1);
  const host::Watch watch(folder_);
  const pid_t child = start({"bench", "run", "--op", "knn", "--axis", "n=100", "--axis", "q=10", "--axis", "k=1",
                             "--budget", "0.01", "--rounds", "1", "--peers", "--backend", "cpu"});
  ::unsetenv("SCALELAB_PYTHON");
  ::close(life[1]);
  while (!host::fs::exists(folder_ / "asked") && watch.changed(child)) continue;
  ::kill(child, SIGINT);
  const host::Finished stopped = finish(child);  // with what was timed before the peer
  EXPECT_EQ(stopped.code, host::kStopped);
  EXPECT_NE(stopped.out.find("Stopped by a signal: 1 of 1 cases were timed"), std::string::npos) << stopped.out;
  EXPECT_TRUE(host::fs::exists(folder_ / "asked"));
  // A peer that outlived it would now come through the gate, and end.
  const int gate = ::open((folder_ / "gate").c_str(), O_RDWR | O_CLOEXEC);
  EXPECT_EQ(::write(gate, "\n", 1), 1);
  char none = 0;
  EXPECT_EQ(::read(life[0], &none, 1), 0);
  ::close(gate);
  ::close(life[0]);
  EXPECT_FALSE(host::fs::exists(folder_ / "ended"));
}

// What was timed is on disk before the run ends, however that comes.
TEST_F(BenchProgram, AKilledRunLeavesItsRows) {
  host::write_text(folder_ / "waits", "#!/bin/sh\necho > asked\nread word < gate\n");
  host::fs::permissions(folder_ / "waits", host::fs::perms::owner_all);
  ASSERT_EQ(::mkfifo((folder_ / "gate").c_str(), 0666), 0);
  ::setenv("SCALELAB_PYTHON", (folder_ / "waits").c_str(), 1);
  const host::Watch watch(folder_);
  const pid_t child = start({"bench", "run", "--op", "knn", "--axis", "n=100,200", "--axis", "q=10", "--axis", "k=1",
                             "--budget", "0.01", "--rounds", "2", "--peers", "--backend", "cpu", "--out", "r.json"});
  ::unsetenv("SCALELAB_PYTHON");
  while (!host::fs::exists(folder_ / "asked") && watch.changed(child)) continue;
  ::kill(child, SIGKILL);
  const std::string err = finish(child).err;
  EXPECT_EQ(err.find("bench run: 2 cases with"), 0U) << err;  // how long it will take comes first
  EXPECT_NE(err.find("knn data=uniform n=200 q=10 d=3 k=1: "), std::string::npos) << err;
  const int gate = ::open((folder_ / "gate").c_str(), O_RDWR | O_CLOEXEC);  // lets the peer go
  EXPECT_EQ(::write(gate, "\n", 1), 1);
  const auto document = nlohmann::json::parse(host::read_file(folder_ / "r.json"));
  EXPECT_EQ(document["rows"].size(), 2U);
  EXPECT_EQ(document["stopped"], "2 of 2 cases");
  EXPECT_NE(good({"bench", "show", "r.json"}).find("n=200"), std::string::npos);
  const std::string csv = host::read_file(folder_ / "r.csv");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 3);
  ::close(gate);
}

TEST_F(BenchProgram, ListsTakeCommasSpacesAndRanges) {
  const auto names = [](const std::vector<std::string>& axes, const std::string& filter = "") {
    std::string list;
    for (const Case& one : chosen_cases({.op = "knn", .filter = filter, .axes = axes})) {
      list += fmt::format("{}/{} ", value_of(one.parameters, "n"), value_of(one.parameters, "q"));
    }
    return list;
  };
  EXPECT_EQ(names({"n=100..102", "q=7"}), "100/7 101/7 102/7 ");
  EXPECT_EQ(names({"n=1e2,101", "102", "q=7"}), "100/7 101/7 102/7 ");
  EXPECT_EQ(names({"n=100 101 , 102", "q=7"}), "100/7 101/7 102/7 ");
  EXPECT_EQ(names({"n=100..102", "q=7,8"}, "n=100 q=8,n=102 q=7"), "100/8 102/7 ");
  const auto filtered = [&](const host::Words& filter) {
    host::Words words = {"bench", "run", "--op",      "knn", "--axis",    "n=10..12",
                         "q=5",   "k=1", "--backend", "cpu", "--profile", "--filter"};
    words.insert(words.end(), filter.begin(), filter.end());
    return good(words);
  };
  EXPECT_EQ(filtered({"n=10,n=12"}), "2 cases were run once.\n");
  EXPECT_EQ(filtered({"n=10 q=5", "n=12"}), "2 cases were run once.\n");
}

TEST_F(BenchProgram, BadInputIsOneLine) {
  bad({"bench", "run", "--op", "sort"}, 2, "'sort' is none of");
  bad({"bench", "run", "--op", "knn", "--axis", "m=3"}, 2, "its names are data, n, q, d, k");
  bad({"bench", "run", "--op", "knn", "--axis", "n=many"}, 2, "'many' is not a whole number");
  bad({"bench", "run", "--op", "knn", "--axis", "n=3", "--axis", "k=9", "--quiet"}, 2, "k = 9");
  bad({"bench", "run", "--op", "knn", "--axis", "data=normal"}, 2,
      "--axis: data \"normal\" of knn must be one of uniform, clusters, outlier");
  bad({"bench", "run", "--op", "kmeans", "--axis", "data=pairs"}, 2, "must be one of uniform, clusters");
  bad({"bench", "run", "--op", "grid", "--axis", "what="}, 2, "--axis what: '' has an empty item");
  bad({"bench", "run", "--op", "knn", "--axis", "n=5..3"}, 2, "--axis n: the range '5..3' ends before it begins");
  bad({"bench", "run", "--op", "knn", "--axis", "n=1e1,10"}, 2, "--axis n: 10 is there twice");
  bad({"bench", "run", "--op", "knn", "--axis", "5", "n=3"}, 2, "--axis: '5' is no NAME=LIST of knn");
  bad({"bench", "run", "--op", "mlp", "--axis", "what=fit"}, 2, "must be one of train, score, map, polar-map");
  bad({"bench", "run", "--op", "mlp", "--axis", "epochs=0", "--quiet"}, 2, "to train takes at least 1 epoch");
  bad({"bench", "run", "--op", "knn", "--axis", "k=200000"}, 2, "k 200000 of knn must be a whole number from 1 to 128");
  for (const char* zero : {"n=0", "q=0", "d=0"}) {
    bad({"bench", "run", "--op", "knn", "--axis", zero}, 2, "must be a whole number from 1 to");
  }
  bad({"bench", "turn", "--case", R"({"op": "knn", "parameters": {"n": 3}})"}, 2, "--case: data null of knn must be");
  bad({"bench", "run", "--filter", "zzz"}, 2, "no case's name contains");
  // What comes before or belongs elsewhere: the line says where it goes.
  bad({"bench"}, 2, "a command is missing: run, soak, cost, list, show, compare; see scalelab bench --help");
  bad({"bench", "--op", "knn", "run"}, 2, "options stand behind the command: scalelab bench run --op ...");
  bad({"bench", "--op", "knn"}, 2, "a command is missing: run, soak, cost, list, show, compare");
  bad({"bench", "shoe", "r.json"}, 2, "'shoe' is no command; did you mean show?");
  bad({"bench", "cost", "--peers"}, 2, "--peers is not known; it belongs to bench run; see scalelab bench cost --help");
  bad({"bench", "show", "r.json", "--op", "knn"}, 2,
      "--op is not known; it belongs to bench run, bench soak and bench compare");
  bad({"bench", "compare", "a", "b", "--rounds", "3"}, 2, "'3' is not a whole number from 6 to 1000");
  bad({"bench", "show"}, 2, "result is required; see scalelab bench show --help");
  bad({"bench", "show", "none.json"}, 3, "none.json: cannot be read");
  host::write_text(folder_ / "other.json", "{}");
  bad({"bench", "show", "other.json"}, 3, "is no result of scalelab bench run");
  bad({"bench", "compare", "other.json", "other.json", "--margin", "wide"}, 2, "--margin: 'wide' is not a share");
}

}  // namespace
}  // namespace scalelab::bench
