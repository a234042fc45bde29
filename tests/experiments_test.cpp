// theory, curriculum and lottery as people run them: bad options, the shape of what they write, and small runs against
// closed forms and against the paired statistics of their own rows.
#include <cmath>
#include <map>
#include <set>

#include "host/lab/lottery.h"
#include "tests/program.h"
#include "tests/support.h"

namespace scalelab::host {
namespace {

using Json = nlohmann::json;

class Experiments : public Program {
 protected:
  Json json(Words words) const {
    words.insert(words.end(), {"--json", "--quiet"});
    return Json::parse(good(words));
  }
};

// Both commands that sweep write one document and print the same, but for the time and place of its making.
Json without_environment(Json document) {
  document.erase("environment");
  for (Json& row : document["rows"]) row.erase("seconds");
  return document;
}

Json finding_named(const Json& document, const std::string& id) {
  for (const Json& finding : document["findings"]) {
    if (finding["id"] == id) return finding;
  }
  ADD_FAILURE() << id << " is not among the findings";
  return {{"contrasts", Json::array()}, {"title", ""}};
}

TEST_F(Experiments, TheoryRefusesWhatHasNoMeaning) {
  bad({"theory", "--alpha", "0"}, 2, "--alpha");
  bad({"theory", "--alpha", "1,x"}, 2, "--alpha");
  bad({"theory", "--fractions", "1.5"}, 2, "--fractions");
  bad({"theory", "--fractions", "0"}, 2, "--fractions");
  bad({"theory", "--keep", "soft"}, 2, "--keep");
  bad({"theory", "--angle", "90"}, 2, "--angle");
  bad({"theory", "--draws", "-1"}, 2, "--draws");
  bad({"theory", "--dimension", "1"}, 2, "--dimension");
}

TEST_F(Experiments, TheoryIsTheClosedFormWhereThereIsOne) {
  const Json document = json({"theory", "--alpha", "0.5,3,1000", "--fractions", "1,0.5", "--keep", "hard,easy"});
  EXPECT_EQ(document["experiment"], "theory");
  ASSERT_EQ(document["rows"].size(), 9U);  // three sizes; the whole, and two ways to keep a half
  std::map<std::tuple<double, double, std::string>, Json> rows;
  for (const Json& row : document["rows"]) rows[{row["alpha_total"], row["fraction"], row["keep"]}] = row;
  // Published to five digits; with much data the error of the max-margin student times alpha tends to a constant, 0.5.
  EXPECT_NEAR((rows[{0.5, 1, "random"}]["error"].get<double>()), 0.32885, 6e-6);
  EXPECT_NEAR((rows[{3, 0.5, "hard"}]["error"].get<double>()), 0.21536, 6e-6);
  EXPECT_NEAR((rows[{3, 0.5, "easy"}]["error"].get<double>()), 0.14278, 6e-6);
  EXPECT_NEAR((rows[{1000, 1, "random"}]["error"].get<double>()) * 1000, 0.5, 0.005);
  for (const auto& [key, row] : rows) {
    // The error is the angle to the teacher; half of the data at random is the whole of half as much.
    EXPECT_NEAR(row["error"].get<double>(), std::acos(row["overlap"].get<double>()) / 3.14159265358979, 1e-9);
    EXPECT_FALSE(row.contains("simulated"));
  }
  EXPECT_EQ((rows[{3, 1, "random"}]["error"]), (rows[{3, 1, "random"}]["error_random"]));
  ASSERT_EQ(document["crossovers"].size(), 2U);
  EXPECT_EQ(document["crossovers"][0]["lower"], "from");
  EXPECT_EQ(document["crossovers"][1]["lower"], "everywhere");  // easy: lower at every size, and not at none
  EXPECT_NEAR(document["crossovers"][0]["alpha_total"].get<double>(), 2.91, 0.006);  // hard, a half
}

TEST_F(Experiments, SimulationsLieAroundTheTheory) {
  // Few dimensions bias the simulation downwards by some per cent: at 60 within five standard errors and a tenth.
  const Words words = {"theory",      "--alpha", "3",       "--fractions", "1,0.5", "--keep", "hard",
                       "--dimension", "60",      "--draws", "24",          "--out", "o"};
  const Json document = json(words);
  for (const Json& row : document["rows"]) {
    const Json& simulated = row["simulated"];
    EXPECT_EQ(simulated["draws"], 24);
    EXPECT_EQ(simulated["unconverged"], 0);
    const double theory = row["error"], mean = simulated["mean"], error = simulated["standard_error"];
    EXPECT_GT(error, 0);
    EXPECT_LE(std::abs(mean - theory), 5 * error + 0.1 * theory) << row;
  }
  EXPECT_EQ(Json::parse(read_file(folder_ / "o" / "result.json"))["rows"], document["rows"]);
  EXPECT_EQ(json(words)["rows"], document["rows"]);  // the same bits again
}

// A random half of twice as many are as many examples: of draws that are shared, the very same ones.
TEST_F(Experiments, NoTwoPointsOfASimulationShareDraws) {
  const Json document = json(
      {"theory", "--alpha", "2,4", "--fractions", "1,0.5", "--keep", "random", "--draws", "4", "--dimension", "20"});
  std::set<double> means;
  for (const Json& row : document["rows"]) means.insert(row["simulated"]["mean"].get<double>());
  EXPECT_EQ(means.size(), 4U);
  EXPECT_NE(finding_named(document, "simulation")["text"].get<std::string>().find("no two points share"),
            std::string::npos);
}

// Without a choice there is nothing to find; a probe at an angle has no size from which on a choice pays; one draw leaves
// no interval.
TEST_F(Experiments, TheorySaysNoMoreThanItKnows) {
  good({"theory", "--alpha", "1,2", "--fractions", "1", "--out", "o", "--quiet"});
  EXPECT_TRUE(result("o")["findings"].empty());
  good({"show", "o", "--quiet"});
  const Json angled =
      json({"theory", "--alpha", "2", "--fractions", "1,0.5", "--angle", "20", "--keep", "random,hard"});
  EXPECT_TRUE(angled["crossovers"].empty());
  ASSERT_EQ(angled["findings"].size(), 1U);
  EXPECT_NE(angled["findings"][0]["title"].get<std::string>().find("of 1 points keeping the hard"), std::string::npos);
  const Json one = json({"theory", "--alpha", "2", "--fractions", "1", "--draws", "1", "--dimension", "20"});
  EXPECT_TRUE(one["rows"][0]["simulated"]["low"].is_null());
  EXPECT_NE(finding_named(one, "simulation")["title"].get<std::string>().find("no interval"), std::string::npos);
}

TEST_F(Experiments, AResultOfTheMixtureByAnEarlierVersionIsSentToXor) {
  fs::create_directories(folder_ / "old");
  write_text(folder_ / "old" / "curriculum.json", R"({"experiment": "curriculum", "bayes_error": {}, "rows": []})");
  bad({"show", "old"}, 3, "make it again with scalelab xor");
}

TEST_F(Experiments, CurriculumAndXorRefuseWhatBelongsElsewhere) {
  bad({"curriculum"}, 2, "--out");
  bad({"curriculum", "--problem", "xor"}, 2, "use scalelab xor");
  bad({"curriculum", "--problem", "xor", "--time", "60", "--decay"}, 2, "use scalelab xor");
  bad({"curriculum", "--problem", "spiral", "--out", "out"}, 2, "leave --problem out");
  bad({"curriculum", "--time", "3", "--out", "out"}, 2, "--time is not known");
  bad({"curriculum", "--widths", "4,300", "--out", "out"}, 2, "--widths");
  bad({"curriculum", "--orders", "easy", "--out", "out"}, 2, "--orders");
  bad({"curriculum", "--score", "luck", "--out", "out"}, 2, "'score' must be");
  bad({"curriculum", "--model", "knn-1", "--out", "out"}, 2, "only networks");
  bad({"curriculum", "--data", "none.csv", "--out", "out"}, 3, "none.csv: cannot be read");
  write_text(folder_ / "p.csv", "0,0,0\n1,1,1\n2,2,1\n3,1,0\n");
  bad({"curriculum", "--data", "p.csv", "--n", "4", "--clusters", "2", "--out", "out"}, 2, "p.csv: n = 4");
  bad({"curriculum", "--data", "p.csv", "--n", "2", "--score", "margin", "--out", "out"}, 2,
      "'margin' is the distance to the true boundary");
  bad({"xor", "--epochs", "3"}, 2, "--epochs is not known");
  bad({"xor", "--data", "p.csv"}, 2, "--data is not known");
  bad({"xor", "--dry-run"}, 2, "--dry-run is not known");
  bad({"xor", "--widths", "0"}, 2, "--widths");
  bad({"xor", "--gate", "tanh"}, 2, "--gate");
  bad({"xor", "--seeds", "3..1"}, 2, "--seeds");
  bad({"xor", "--easy-variance", "0"}, 2, "--easy-variance");
  bad({"xor", "--time", "0.02", "--dimension", "10"}, 2, "time must hold a step for every evaluation");
}

TEST_F(Experiments, XorComparesOrdersOfTheSameExamples) {
  const Words words = {"xor", "--widths",      "8,2", "--seeds",         "0..5", "--dimension", "50", "--time",
                       "4",   "--evaluations", "2",   "--test-examples", "200",  "--out",       "o"};
  const Json document = json(words);
  EXPECT_EQ(document["schema"], 2);
  // 2 p (1 - p), p = Phi(-1 / sqrt(2 var)).
  EXPECT_NEAR(document["bayes_error"]["easy"].get<double>(), 0.00156, 6e-6);
  EXPECT_NEAR(document["bayes_error"]["hard"].get<double>(), 0.14493, 6e-6);
  EXPECT_EQ(document["problem"]["easy_variance"], 0.05);
  ASSERT_EQ(document["summary"].size(), 2U * 3);
  std::map<std::pair<int, std::string>, std::vector<double>> errors;
  for (const Json& networks : document["summary"]) {
    auto& values = errors[{networks["params"]["width"], networks["params"]["order"]}];
    values = networks["test_error"]["values"].get<std::vector<double>>();
    ASSERT_EQ(values.size(), 6U);
    ASSERT_EQ(networks["course"].size(), 2U);
    EXPECT_EQ(networks["course"][1]["time"], 4.0);
    double sum = 0;
    for (const double error : values) {
      sum += error;
      EXPECT_GE(error, document["bayes_error"]["hard"].get<double>() - 0.1);  // 200 examples: 4 s.e. are 0.1
      EXPECT_NEAR(error * 200, std::round(error * 200), 1e-4);
    }
    EXPECT_NEAR(networks["course"][1]["mean"].get<double>(), sum / 6, 1e-12);
    EXPECT_EQ(networks["course"][1]["mean"], networks["test_error"]["mean"]);
  }
  for (const std::string order : {"curriculum", "anti"}) {
    const Json finding = finding_named(document, order);
    ASSERT_EQ(finding["contrasts"].size(), 2U);
    EXPECT_EQ(finding["contrasts"][0]["place"]["width"], 2) << "ascending";
    for (const Json& contrast : finding["contrasts"]) {
      const int width = contrast["place"]["width"];
      double difference = 0;
      for (std::size_t s = 0; s < 6; ++s) difference += errors[{width, order}][s] - errors[{width, "random"}][s];
      EXPECT_NEAR(contrast["mean"].get<double>(), difference / 6, 1e-12);
    }
  }
  EXPECT_EQ(result("o")["summary"], document["summary"]);
}

// The long budget and the other shares are runs like any other: the same errors as asked for by themselves.
TEST_F(Experiments, XorHasALongBudgetAndSharesBesideTheShortOne) {
  const auto with = [&](const char* seeds, const Words& more) {
    Words words = {"xor", "--widths",        "4",   "--dimension", "20", "--evaluations",
                   "2",   "--test-examples", "200", "--seeds"};
    words.emplace_back(seeds);
    words.insert(words.end(), more.begin(), more.end());
    return json(words);
  };
  const Json document =
      with("0..3", {"--time", "4", "--long-time", "9", "--shares", "0.25,0.5,1", "--share-seeds", "1..3"});
  const Json longer = with("0..3", {"--time", "9", "--decay", "--long-time", "9", "--shares", "0.5"});
  EXPECT_TRUE(longer["long"].is_null()) << "it is the budget that was asked for";
  EXPECT_TRUE(longer["shares"].empty());
  EXPECT_EQ(document["long"]["summary"], longer["summary"]);
  EXPECT_EQ(document["long"]["problem"], longer["problem"]);
  EXPECT_EQ(finding_named(document, "curriculum-long")["contrasts"], finding_named(longer, "curriculum")["contrasts"]);
  const Json easy = with("1..3", {"--time", "4", "--long-time", "0", "--easy-share", "1", "--shares", "1"});
  ASSERT_EQ(document["shares"].size(), 2U);
  EXPECT_EQ(document["shares"][0]["easy_share"], 0.25);
  EXPECT_EQ(document["shares"][0]["summary"].size(), 2U);  // curriculum, random
  ASSERT_EQ(document["shares"][1]["summary"].size(), 1U) << "all alike: there is no order";
  EXPECT_EQ(document["shares"][1]["summary"][0]["test_error"]["values"], easy["summary"][1]["test_error"]["values"]);
  EXPECT_EQ(finding_named(document, "easy-alone")["contrasts"].size(), 1U);
  EXPECT_EQ(finding_named(document, "easy-alone")["contrasts"][0]["seeds"], 3);
  EXPECT_EQ(finding_named(document, "shares")["contrasts"].size(), 2U);
}

// An error of 1 is reached at once by all, one of 0 by none.
TEST_F(Experiments, XorTellsWhenNetworksComeToTheTarget) {
  Words words = {"xor", "--widths",      "4", "--seeds",         "0..2", "--dimension",    "20", "--time",
                 "4",   "--evaluations", "4", "--test-examples", "100",  "--target-error", "1"};
  for (const Json& networks : json(words)["summary"]) {
    EXPECT_EQ(networks["reached_target"], 3);
    EXPECT_EQ(networks["median_time"], 1.0);
  }
  words.back() = "0";
  const Json document = json(words);
  for (const Json& networks : document["summary"]) {
    EXPECT_EQ(networks["reached_target"], 0);
    EXPECT_TRUE(networks["median_time"].is_null());
  }
  EXPECT_NE(finding_named(document, "time")["title"].get<std::string>().find("anti at no width"), std::string::npos);
}

TEST_F(Experiments, CurriculumOnTheSpiral) {
  const Words words = {"curriculum", "--widths", "8,4",
                       "--seeds",    "0..3",     "--n",
                       "200",        "--epochs", "400",
                       "--grid",     "32",       "--density-points",
                       "400",        "--orders", "curriculum,sorted-anti",
                       "--out",      "o"};
  const Json document = json(words);
  EXPECT_EQ(document["rows"].size(), 2U * 3 * 4);
  std::map<std::tuple<int, std::string, int>, Json> rows;
  for (const Json& row : document["rows"]) {
    EXPECT_EQ(row["kept"], 200);
    EXPECT_EQ(row["params"]["score"], row["params"]["order"] == "random" ? "none" : "margin");
    rows[{row["params"]["width"], row["params"]["order"], row["params"]["seed"]}] = row;
  }
  int compared = 0;
  for (const std::string order : {"curriculum", "sorted-anti"}) {
    const Json finding = finding_named(document, order);
    ASSERT_EQ(finding["contrasts"].size(), 4U);  // two widths, two errors
    EXPECT_EQ(finding["contrasts"][0]["place"]["width"], 4) << "ascending";
    for (const Json& contrast : finding["contrasts"]) {
      const std::string measure = contrast["measure"];
      const int width = contrast["place"]["width"];
      EXPECT_EQ(contrast["what"], order);
      double difference = 0;
      for (int seed = 0; seed < 4; ++seed) {
        difference +=
            rows[{width, order, seed}][measure].get<double>() - rows[{width, "random", seed}][measure].get<double>();
      }
      EXPECT_NEAR(contrast["mean"].get<double>(), difference / 4, 1e-12);
      EXPECT_TRUE(contrast["verdict"] != "higher" || contrast["low"] > 0) << contrast;
      EXPECT_TRUE(contrast["verdict"] != "lower" || contrast["high"] < 0) << contrast;
      compared += difference != 0;
    }
  }
  EXPECT_GT(compared, 0);  // orders do something
  EXPECT_EQ(without_environment(Json::parse(read_file(folder_ / "o" / "result.json"))), without_environment(document));
  // Nothing is run again, and a plan is only a plan.
  EXPECT_EQ(without_environment(json(words)), without_environment(document));
  Words plan = words;
  plan.insert(plan.end(), {"--dry-run", "--quiet"});
  plan[plan.size() - 3] = "other";
  const Finished planned = run(plan);
  EXPECT_EQ(planned.code, 0);
  EXPECT_NE(planned.err.find("24 to run"), std::string::npos) << planned.err;
  EXPECT_TRUE(nothing_in("other"));
}

// Where all networks of a width collapsed, that it is the same rests on them alone: terminal, JSON and page say so.
TEST_F(Experiments, AVerdictThatFailedNetworksMakeIsSaidByAllThree) {
  const std::string text = good({"curriculum",
                                 "--widths",
                                 "4,8",
                                 "--hidden-layers",
                                 "2",
                                 "--n",
                                 "40",
                                 "--epochs",
                                 "5",
                                 "--seeds",
                                 "0..3",
                                 "--grid",
                                 "32",
                                 "--density-points",
                                 "200",
                                 "--orders",
                                 "curriculum,anti",
                                 "--quiet",
                                 "--out",
                                 "o"});
  const std::string html = read_file(folder_ / "o" / "report.html");
  const Json document = Json::parse(read_file(folder_ / "o" / "result.json"));
  int depending = 0;
  for (const char* order : {"curriculum", "anti"}) {
    const Json finding = finding_named(document, order);
    for (const Json& contrast : finding["contrasts"]) {
      if (contrast["measure"] != "density_error" || !contrast.value("depends_on_failed", false)) continue;
      ++depending;
      ASSERT_FALSE(finding["points"].empty()) << order;
      const std::string note = finding["points"].back();
      EXPECT_NE(note.find(contrast["place"]["width"].dump() + " (undecided without them)"), std::string::npos) << note;
      EXPECT_NE(text.find(note), std::string::npos) << text;
      EXPECT_NE(html.find(note), std::string::npos) << note;
    }
  }
  EXPECT_GT(depending, 0);
}

// Of a result of an earlier version what its rows say is shown, and not what that version said of them.
TEST_F(Experiments, WhatAnEarlierVersionSaidIsNotShown) {
  for (const Words& words : {Words{"curriculum", "--orders", "curriculum", "--widths", "4,8"},
                             Words{"lottery", "--levels", "1,2", "--widths", "8"}}) {
    Words small = words;
    small.insert(small.end(),
                 {"--n", "40", "--epochs", "5", "--seeds", "0..2", "--grid", "32", "--density-points", "200"});
    small.insert(small.end(), {"--out", words[0] + "-new", "--quiet"});
    good(small);
    Json document = Json::parse(read_file(folder_ / (words[0] + "-new") / "result.json"));
    const std::string own =
        finding_named(document, words[0] == "lottery" ? "control-density" : "control-grid")["title"];
    document["schema"] = 1;
    document.erase("study");
    document["findings"] = Json::array({{{"id", words[0]}, {"title", "its error against random is open at 4 and 8"}}});
    fs::create_directories(folder_ / words[0]);
    write_text(folder_ / words[0] / (words[0] + ".json"), document.dump());
    const std::string text = good({"show", words[0], "--quiet"});
    const std::string html = read_file(folder_ / words[0] / "report.html");
    EXPECT_EQ((text + html).find("is open at"), std::string::npos);
    EXPECT_NE(html.find(own.substr(1)), std::string::npos) << own;
  }
}

TEST_F(Experiments, CurriculumOnPeoplesOwnPoints) {
  std::string csv = "a,b,c,kind\n";
  const auto draws = test::uniform_floats(3 * 90, 8);
  for (std::size_t i = 0; i < 90; ++i) {
    const char* kind = draws[3 * i] > 0.3F ? "far" : draws[3 * i + 1] > 0 ? "up" : "down";
    for (std::size_t c = 0; c < 3; ++c) csv += std::to_string(100 * draws[3 * i + c]) + ",";
    csv += std::string(kind) + "\n";
  }
  write_text(folder_ / "p.csv", csv);
  const Json document = json({"curriculum", "--data", "p.csv", "--clusters", "5", "--n", "70", "--epochs", "150",
                              "--widths", "8", "--seeds", "0..2", "--out", "o"});
  EXPECT_EQ(document["rows"].size(), 7U * 3);
  EXPECT_EQ(document["rows"][3]["params"]["score"], "kmeans");
  EXPECT_EQ(document["rows"][3]["params"]["model"], "mlp-xy");
  for (const Json& row : document["rows"]) {
    EXPECT_EQ(row["status"], "ok");
    const double held_out = row["test_error"].get<double>() * 18;  // a fifth of 90
    EXPECT_NEAR(held_out, std::round(held_out), 1e-9);
  }
  // Without --n a file smaller than the default is used whole; a number that it does not have is refused.
  const Json whole = json({"curriculum", "--data", "p.csv", "--clusters", "5", "--epochs", "2", "--widths", "4",
                           "--seeds", "0", "--out", "w"});
  EXPECT_EQ(whole["rows"][0]["params"]["n"], 72);
  bad({"curriculum", "--data", "p.csv", "--clusters", "5", "--n", "73", "--out", "x"}, 2, "72 are for training");
  bad({"prune-study", "--data", "p.csv", "--sizes", "40,73", "--dry-run", "--out", "x"}, 2, "72 are for training");
}

TEST_F(Experiments, LotteryRefusesWhatCannotBePruned) {
  bad({"lottery"}, 2, "--out");
  bad({"lottery", "--levels", "0", "--out", "out"}, 2, "--levels");
  bad({"lottery", "--levels", "16", "--out", "out"}, 2, "--levels");
  bad({"lottery", "--widths", "1", "--out", "out"}, 2, "--widths");
  bad({"lottery", "--hidden-layers", "5", "--out", "out"}, 2, "--hidden-layers");
  bad({"lottery", "--model", "knn-1", "--out", "out"}, 2, "only networks have weights to prune");
  bad({"lottery", "--model", "tree", "--out", "out"}, 2, "model 'tree'");
  bad({"lottery", "--seeds", "1,1", "--out", "out"}, 2, "--seeds");
  bad({"lottery", "--data", "none.csv", "--out", "out"}, 3, "none.csv: cannot be read");
}

// k = 5 of the 4 rows that are kept, in every trial: from nothing, nothing is found.
TEST_F(Experiments, AStudyInWhichEveryTrialFailedFindsNothing) {
  const Finished study =
      run({"prune-study", "--model", "knn-5", "--sizes", "6,8", "--seeds", "0..2", "--scores", "margin", "--fractions",
           "0.5", "--grid", "16", "--density-points", "100", "--out", "o", "--quiet"});
  EXPECT_EQ(study.code, 1);
  EXPECT_TRUE(result("o")["findings"].empty());
  write_text(folder_ / "f.json", R"({"grids": [{"model": "knn-5", "n": [6, 8], "seeds": "0..2", "fraction": 0.5,
                                     "keep": "random", "grid": 16, "density_points": 10}]})");
  const Finished sweep = run({"sweep", "f.json", "--out", "s", "--quiet"});
  EXPECT_EQ(sweep.code, 1);
  EXPECT_NE(sweep.out.find("6 trials failed"), std::string::npos) << sweep.out;
  EXPECT_NE(sweep.out.find("asks for more neighbours"), std::string::npos) << sweep.out;
  EXPECT_TRUE(result("s")["findings"].empty());
  EXPECT_TRUE(result("s")["laws"].empty());
  EXPECT_NE(read_file(folder_ / "s" / "report.html").find("Nothing was found: 6 trials failed"), std::string::npos);
  // A lottery of which the store says that no trial gave a result.
  const Words lottery = {"lottery", "--widths", "4",        "--levels", "1",      "--seeds", "0..2",
                         "--n",     "40",       "--epochs", "2",        "--grid", "16",      "--density-points",
                         "100",     "--out",    "l",        "--quiet"};
  good(lottery);
  std::string rows = read_file(folder_ / "l" / "rows-1-of-1.jsonl");
  const std::string status = "\"status\":\"";
  for (std::size_t at = 0; (at = rows.find(status, at)) != std::string::npos;) {
    at += status.size();
    rows.replace(at, rows.find('"', at) - at, "failed: no luck");
  }
  write_text(folder_ / "l" / "rows-1-of-1.jsonl", rows);
  EXPECT_EQ(run(lottery).code, 1);
  EXPECT_TRUE(result("l")["findings"].empty()) << result("l")["findings"];
}

// Points with three features have no angle: said before anything is run; by itself lottery takes a model that fits.
TEST_F(Experiments, LotteryTakesAModelThatFitsTheData) {
  std::string csv;
  const auto draws = test::uniform_floats(3 * 60, 8);
  for (std::size_t i = 0; i < 60; ++i) {
    for (std::size_t c = 0; c < 3; ++c) csv += std::to_string(draws[3 * i + c]) + ",";
    csv += draws[3 * i] > 0 ? "1\n" : "0\n";
  }
  write_text(folder_ / "p.csv", csv);
  bad({"lottery", "--data", "p.csv", "--n", "40", "--model", "mlp-polar", "--out", "out"}, 2, "needs 2 features");
  const Json document = json({"lottery", "--data", "p.csv", "--n", "40", "--widths", "8", "--levels", "2", "--seeds",
                              "0,1", "--epochs", "5", "--out", "o"});
  EXPECT_EQ(document["rows"][0]["params"]["model"], "mlp-xy");
  EXPECT_EQ(document["failed"], 0);
  const Json whole = json(
      {"lottery", "--data", "p.csv", "--widths", "8", "--levels", "2", "--seeds", "0", "--epochs", "2", "--out", "w"});
  EXPECT_EQ(whole["rows"][0]["params"]["n"], 48);
}

TEST_F(Experiments, LotteryComparesEveryControlAtEveryLevel) {
  const Words words = {"lottery", "--widths", "10",       "--levels", "4,1",    "--seeds", "0..2",
                       "--n",     "60",       "--epochs", "20",       "--grid", "32",      "--density-points",
                       "400",     "--out",    "o"};
  const Json document = json(words);
  EXPECT_EQ(document["rows"].size(), 3U * (1 + 2 * 6));
  const std::int64_t weights = 2 * 10 + 10 * 10;
  std::map<std::tuple<std::string, int, int>, Json> rows;
  for (const Json& row : document["rows"]) {
    const std::string kind = row["params"]["ticket"];
    const int level = row["params"]["level"];
    EXPECT_EQ(row["status"].get<std::string>().find("failed"), std::string::npos) << row["status"];
    EXPECT_GT(row["moved"].get<double>(), 0);
    if (kind == "dense-long") {
      EXPECT_EQ(row["weights"], weights);
    }
    if (kind != "dense" && kind != "dense-long" && kind != "small-dense") {
      EXPECT_EQ(row["weights"], kept_at_level(weights, level)) << kind;
      EXPECT_NEAR(row["density"].get<double>(), std::pow(0.8, level), 0.5 / static_cast<double>(weights));
    }
    rows[{kind, level, row["params"]["seed"]}] = row;
  }
  for (const std::string id :
       {"rewound-dense-10", "rewound-restarted-10", "rewound-random-mask-10", "rewound-fine-tuned-10",
        "rewound-small-dense-10", "small-dense-dense-10", "fine-tuned-dense-long-10", "dense-long-dense-10"}) {
    const Json finding = finding_named(document, id);
    ASSERT_EQ(finding["contrasts"].size(), 2U * 2) << id;  // two levels, two errors
    EXPECT_EQ(finding["contrasts"][0]["place"]["level"], 1) << "ascending";
    for (const Json& contrast : finding["contrasts"]) {
      double difference = 0;
      for (int seed = 0; seed < 3; ++seed) {
        const auto error = [&](const std::string& kind) -> double {
          const int level = kind == "dense" ? 0 : contrast["place"]["level"].get<int>();
          return rows.at({kind, level, seed})[contrast["measure"]];
        };
        difference += error(contrast["what"]) - error(contrast["against"]);
      }
      EXPECT_NEAR(contrast["mean"].get<double>(), difference / 3, 1e-12) << contrast;
    }
  }
  const Json start = finding_named(document, "start-10");
  for (const Json& contrast : start["contrasts"]) {
    double overlap = 0, chance = 0;
    for (int seed = 0; seed < 3; ++seed) {
      const Json& row = rows.at({"rewound", contrast["place"]["level"], seed});
      overlap += row["start_overlap"].get<double>() / 3;
      chance += row["density"].get<double>() / 3;
    }
    EXPECT_NEAR(contrast["mean"].get<double>(), overlap - chance, 1e-12);
  }
  EXPECT_NE(finding_named(document, "ticket-10")["title"].get<std::string>().find("rewound ticket"), std::string::npos);
  // Split into shards, asked for in other words, by one thread: the same rows.
  for (const char* shard : {"2/2", "1/2"}) {
    Words part = words;
    part.back() = "parts";
    part.insert(part.end(), {"--quiet", "--threads", "1", "--shard", shard});
    good(part);
  }
  EXPECT_EQ(without_environment(Json::parse(read_file(folder_ / "parts" / "result.json"))),
            without_environment(document));
}

}  // namespace
}  // namespace scalelab::host
