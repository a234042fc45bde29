// The page of claims: each answer about a comparison is worked out once more from the rows of its result, by another way:
// differences by unit, Holm's rule from the p values, and what each claim expects, written down here a second time.
#include "host/studies/claims.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <regex>
#include <set>

#include "host/evidence/law.h"
#include "host/evidence/statistics.h"
#include "host/lab/replica.h"
#include "host/program/words.h"
#include "tests/program.h"

namespace scalelab::host {
namespace {

using Json = nlohmann::json;
using Verdicts = std::set<std::string>;

// Of the units that both have.
template <class Values>
Paired paired_by_unit(const Values& a, const Values& b) {
  std::vector<double> x, y;
  for (const auto& [unit, value] : a) {
    if (!b.contains(unit)) continue;
    x.push_back(value);
    y.push_back(b.at(unit));
  }
  return paired(x, y);
}

// What each claim that is about contrasts expects of all of them.
const std::map<std::string, std::vector<std::pair<std::string, Verdicts>>>& expected() {
  static const std::map<std::string, std::vector<std::pair<std::string, Verdicts>>> table = {
      {"A2", {{"regions", {"higher"}}}},
      {"A3", {{"extras", {"lower"}}, {"regions", {"lower"}}}},
      {"A4", {{"encodings", {"lower"}}}},
      {"A5", {{"regions", {"lower"}}}},
      {"A6", {{"extras", {"same", "higher"}}}},
      {"A7", {{"regions", {"higher"}}}},
      {"A8", {{"regions", {"same", "higher"}}}},
      {"A9", {{"regions", {"lower"}}}},
      {"A11", {{"worlds", {"same", "lower"}}}},
      {"A12", {{"k1-vs-k5", {"lower"}}}},
      {"A13", {{"why-k1", {"lower"}}}},
      {"A14", {{"equal-n", {"lower"}}}},
      {"S2", {{"bias", {"lower"}}}}};
  return table;
}

class Claims : public Program {
 protected:
  // Leaves in "c" the result of a comparison that a test has time for.
  void compare(const Words& options) {
    Words words = {"compare", "--epochs", "150", "--width",        "16", "--hidden-layers", "2", "--grid",
                   "96",      "--out",    "c",   "--budget-seeds", "0",  "--quiet"};
    words.insert(words.end(), options.begin(), options.end());
    good(words);
  }

  // By unit (a world, or a seed of world 0), the mean over starts and then over seeds.
  static std::map<int, double> by_unit(const Json& result, std::string model, std::int64_t n, std::string measure,
                                       double noise, bool worlds) {
    if (const std::size_t at = model.find(" everywhere"); at != std::string::npos) {
      model = model.substr(0, at);
      measure = "grid_error";
    }
    std::map<std::pair<int, int>, std::vector<double>> cells;
    for (const Json& row : result["rows"]) {
      const Json& p = row["params"];
      const bool first_budget =
          model.rfind("knn", 0) == 0 || p["epochs"] == result["options"]["epochs_at"][std::to_string(n)];
      if (p["model"] != model || p["n"] != n || p["noise"] != noise || !first_budget) continue;
      if (!worlds && p["world"] != 0) continue;
      cells[{p["world"], p["seed"]}].push_back(row[measure]);
    }
    std::map<int, std::vector<double>> units;
    for (const auto& [cell, values] : cells) {
      units[worlds ? cell.first : cell.second].push_back(summarize(values).mean);
    }
    std::map<int, double> means;
    for (const auto& [unit, values] : units) means[unit] = summarize(values).mean;
    return means;
  }

  static Paired difference(const Json& result, const std::string& finding, const Json& contrast) {
    const Json& place = contrast["place"];
    const bool worlds = finding == "worlds" || finding == "bias";
    const double noise = place.value("noise", result["options"]["noise"].get<double>());
    const std::int64_t n = place["n"];
    const auto a = by_unit(result, contrast["what"], n, contrast["measure"], noise, worlds);
    const auto b =
        by_unit(result, contrast["against"], place.value("against_n", n), contrast["measure"], noise, worlds);
    return paired_by_unit(a, b);
  }

  // Those that Holm's rule rejects at 5 %.
  static std::vector<bool> rejected(const std::vector<double>& p) {
    std::vector<std::size_t> order(p.size());
    for (std::size_t i = 0; i < p.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return p[a] < p[b]; });
    std::vector<bool> out(p.size());
    for (std::size_t r = 0; r < p.size() && p[order[r]] * static_cast<double>(p.size() - r) < 0.05; ++r)
      out[order[r]] = true;
    return out;
  }

  // By "what against measure place", the verdict of every contrast of a finding, from the rows.
  static std::map<std::string, std::string> verdicts_from_rows(const Json& result, const std::string& id) {
    std::map<std::string, std::string> verdicts;
    for (const Json& finding : result["findings"]) {
      if (finding["id"] != id) continue;
      std::vector<double> differs, same, means;
      std::vector<std::string> keys;
      for (const Json& contrast : finding["contrasts"]) {
        const Paired p = difference(result, id, contrast);
        EXPECT_NEAR(p.mean, contrast["mean"].get<double>(), 1e-12) << id << contrast;
        keys.push_back(key_of(contrast));
        differs.push_back(p.p_differs());
        same.push_back(std::max(p.p_below(0.005), p.p_above(-0.005)));
        means.push_back(p.mean);
      }
      const auto by_differs = rejected(differs), by_same = rejected(same);
      for (std::size_t i = 0; i < keys.size(); ++i) {
        verdicts[keys[i]] = by_differs[i] ? (means[i] < 0 ? "lower" : "higher") : by_same[i] ? "same" : "undecided";
      }
    }
    return verdicts;
  }
  static std::string key_of(const Json& one) {
    return one["what"].dump() + one["against"].dump() + one["measure"].dump() + one["place"].dump();
  }

  static const Json& claim_named(const Json& claims, const std::string& id) {
    return *std::find_if(claims.begin(), claims.end(), [&](const Json& one) { return one["id"] == id; });
  }
};

// A comparison and the claims that it answers.
class ComparedClaims : public Claims {
 protected:
  // What a claim about contrasts comes to, each of its parts compared with the verdict from the rows.
  std::string answer_from_rows(const std::string& id, const std::vector<std::pair<std::string, Verdicts>>& expects) {
    const Json& claim = claim_named(claims, id);
    EXPECT_FALSE(claim["parts"].empty()) << claim;
    std::set<std::string> met;
    Verdicts told;
    for (const Json& part : claim["parts"]) {
      const std::string finding = part["finding"];
      met.insert(finding);
      if (!findings.contains(finding)) findings[finding] = verdicts_from_rows(document, finding);
      const std::string verdict = findings.at(finding).at(key_of(part));
      const auto wanted =
          std::find_if(expects.begin(), expects.end(), [&](const auto& one) { return one.first == finding; });
      if (wanted == expects.end()) {
        ADD_FAILURE() << claim;
        continue;
      }
      // With label noise the order is to be reversed.
      const bool reversed = id == "A13" && part["place"]["noise"] > 0;
      const std::string answer = (reversed ? Verdicts{"higher"} : wanted->second).contains(verdict) ? "holds"
                                 : verdict == "undecided"                                           ? "undecided"
                                                                                                    : "contradicted";
      EXPECT_EQ(part["answer"], answer) << id << part;
      EXPECT_EQ(part["settles"].get<std::string>().empty(), answer != "undecided") << part;
      told.insert(answer);
    }
    EXPECT_EQ(met.size(), expects.size()) << claim;
    return told.contains("contradicted") ? "contradicted" : told.contains("undecided") ? "undecided" : "holds";
  }

  // Each of three answers is met.
  void expect_answers_of_contrasts() {
    std::map<std::string, int> answers;
    for (const auto& [id, expects] : expected()) {
      const std::string whole = answer_from_rows(id, expects);
      EXPECT_EQ(claim_named(claims, id)["answer"], whole) << id;
      ++answers[whole];
    }
    EXPECT_EQ(answers.size(), 3U) << "each answer should be met once: " << Json(answers);
  }

  // Claims about a figure with its interval.
  void expect_answers_of_figures() const {
    std::vector<double> patches, shares, factors;
    for (const auto& [seed, value] : by_unit(document, "mlp-xy", 250, "patches", 0, false)) patches.push_back(value);
    const Summary counted = summarize(patches);
    EXPECT_EQ(claim_named(claims, "A1")["answer"], counted.interval.low > 2     ? "holds"
                                                   : counted.interval.high <= 2 ? "contradicted"
                                                                                : "undecided");
    bool all = true;
    for (const Json& one : document["disagreement"]) {
      shares.clear();
      for (const Json& seed : one["seeds"]) shares.push_back(seed["share"]);
      all = all && summarize(shares).interval.low > 0.005;
    }
    EXPECT_EQ(document["disagreement"].size(), 4U);
    EXPECT_EQ(claim_named(claims, "A16")["answer"] == "holds", all);
    const auto encoded = by_unit(document, "knn-1@polar:0.25", 250, "grid_error", 0, true);
    for (const auto& [world, error] : encoded) {
      std::vector<double> n, errors;
      for (const double size : {250, 500, 1000, 2000, 4000, 8000, 16000}) {
        const auto at = by_unit(document, "knn-1", static_cast<std::int64_t>(size), "grid_error", 0, true);
        if (!at.contains(world)) continue;
        n.push_back(size);
        errors.push_back(at.at(world));
      }
      factors.push_back(std::clamp(crossing(n, errors, error), n.front(), n.back()) / 250);
    }
    const GeometricMean times = geometric_mean(factors);
    EXPECT_EQ(claim_named(claims, "S1")["answer"], times.interval.low > 1     ? "holds"
                                                   : times.interval.high <= 1 ? "contradicted"
                                                                              : "undecided");
  }

  // The page shows each claim with its answer, and counts them.
  void expect_shown() const {
    const std::string page = page_html(claims_page({{"claims", claims}}));
    std::map<std::string, int> counts;
    for (const Json& claim : claims) {
      ++counts[claim["answer"]];
      EXPECT_NE(page.find(">" + html_escape(claim["claim"].get<std::string>()) + "<"), std::string::npos) << claim;
    }
    for (const auto& [answer, count] : counts) {
      EXPECT_NE(page.find(fmt::format("{} {}", count, answer == "holds" && count > 1 ? "hold" : answer)),
                std::string::npos)
          << answer;
    }
  }

  Json document, claims;
  std::map<std::string, std::map<std::string, std::string>> findings;  // their verdicts from the rows
};

TEST_F(ComparedClaims, AnswersAreThoseThatTheRowsGive) {
  compare(
      {"--sizes", "250,1000", "--seeds", "0..4", "--worlds", "0..5", "--curve-to", "16000", "--models",
       "knn-1,knn-5,knn-1@polar:0.25,mlp-xy,mlp-polar,mlp-polar-raw,mlp-polar-trig,mlp-xy+extras,mlp-polar+extras"});
  document = result("c");
  claims = answered_claims({{"compare", document}});
  expect_answers_of_contrasts();
  expect_answers_of_figures();
  // What nothing measured is not answered, and says what would.
  EXPECT_EQ(claim_named(claims, "A15")["answer"], "not tested");
  EXPECT_EQ(claim_named(claims, "B14")["answer"], "not tested");
  EXPECT_NE(claim_named(claims, "B14")["command"], "");
  expect_shown();
}

// "holds", "contradicted" or "undecided" of things of which any is enough, or of which all must be so.
std::string any_told(const std::set<std::string>& told) {
  return told.contains("holds") ? "holds" : told.contains("undecided") ? "undecided" : "contradicted";
}
std::string all_told(const std::set<std::string>& told) {
  return told.contains("contradicted") ? "contradicted" : told.contains("undecided") ? "undecided" : "holds";
}
std::string told_of(const std::string& verdict, const Verdicts& wanted) {
  return wanted.contains(verdict) ? "holds" : verdict == "undecided" ? "undecided" : "contradicted";
}

TEST_F(Claims, OfExtrasAndOfFuzzyLabels) {
  compare({"--models", "mlp-polar,mlp-polar+focal,mlp-polar+layer-norm,mlp-polar+weight-decay", "--sizes", "250",
           "--seeds", "0..4", "--worlds", "0", "--curve-to", "0", "--starts", "1", "--noise-panel", "0"});
  const Json of_extras = result("c");
  std::map<std::string, std::set<std::string>> by_extra;
  const auto verdicts = verdicts_from_rows(of_extras, "extras");
  for (const Json& finding : of_extras["findings"]) {
    if (finding["id"] != "extras") continue;
    for (const Json& one : finding["contrasts"]) {
      by_extra[one["what"]].insert(told_of(verdicts.at(key_of(one)), {"lower", "higher"}));
    }
  }
  std::set<std::string> told;
  for (const auto& [extra, some] : by_extra) told.insert(any_told(some));
  EXPECT_EQ(by_extra.size(), 3U);
  EXPECT_EQ(claim_named(answered_claims({{"extras", of_extras}}), "A10")["answer"], all_told(told));

  fs::remove_all(folder_ / "c");
  compare({"--models", "knn-15,mlp-polar,mlp-polar-raw,mlp-polar-trig", "--noise", "0.1", "--sizes", "250,2500",
           "--seeds", "0..2", "--worlds", "0..4", "--curve-to", "0", "--starts", "1", "--noise-panel", "0"});
  const Json fuzzy = result("c");
  told.clear();
  const auto over_worlds = verdicts_from_rows(fuzzy, "worlds");
  for (const Json& finding : fuzzy["findings"]) {
    if (finding["id"] != "worlds") continue;
    for (const Json& one : finding["contrasts"]) {
      if (one["measure"] == "grid_error") told.insert(told_of(over_worlds.at(key_of(one)), {"lower", "same"}));
    }
  }
  EXPECT_FALSE(told.empty());
  EXPECT_EQ(claim_named(answered_claims({{"fuzzy", fuzzy}}), "A17")["answer"], all_told(told));
}

// Of other studies: results that are written down here, with what each of their claims must then be.
Json contrast_of(const std::string& what, const std::string& against, const Json& place, const std::string& verdict,
                 bool not_worse = false) {
  return {{"what", what},          {"against", against},    {"measure", "grid_error"},
          {"place", place},        {"mean", 0.01},          {"low", -0.01},
          {"high", 0.03},          {"verdict", verdict},    {"unit", "seed"},
          {"units_to_settle", 40}, {"not_worse", not_worse}};
}
Json with_finding(const std::string& id, const std::vector<Json>& contrasts) {
  return {{"findings", Json::array({Json{{"id", id}, {"contrasts", contrasts}}})}};
}
Json error_at(int width, const std::string& order, double low, double high) {
  return {{"params", {{"width", width}, {"order", order}}},
          {"test_error", {{"mean", (low + high) / 2}, {"low", low}, {"high", high}}}};
}
std::string answer_to(const std::string& id, const std::string& study, const Json& result) {
  std::string last;
  for (const Json& claim : answered_claims({{study, result}})) {
    if (claim["id"] == id && claim["study"] == study) last = claim["answer"];
  }
  return last;
}

TEST(ClaimsOfStudies, FollowTheirVerdicts) {
  const auto ticket = [](const char* verdict, bool not_worse) {
    return with_finding("rewound-dense-64",
                        {contrast_of("rewound", "dense", {{"width", 64}, {"level", 8}}, "higher"),
                         contrast_of("rewound", "dense", {{"width", 64}, {"level", 11}}, verdict, not_worse)});
  };
  EXPECT_EQ(answer_to("C5", "lottery", ticket("undecided", true)), "holds");
  EXPECT_EQ(answer_to("C5", "lottery", ticket("undecided", false)), "undecided");
  EXPECT_EQ(answer_to("C5", "lottery", ticket("higher", false)), "contradicted");
  EXPECT_EQ(answer_to("C6", "lottery", ticket("higher", false)), "not tested");
  // At the largest width alone.
  const auto orders = [](const char* at_four, const char* at_sixty_four) {
    return with_finding("curriculum-long", {contrast_of("curriculum", "random", {{"width", 4}}, at_four),
                                            contrast_of("curriculum", "random", {{"width", 64}}, at_sixty_four)});
  };
  EXPECT_EQ(answer_to("C2", "xor", orders("lower", "same")), "holds");
  EXPECT_EQ(answer_to("C2", "xor", orders("lower", "undecided")), "undecided");
  EXPECT_EQ(answer_to("C2", "xor", orders("same", "higher")), "contradicted");
  // What something must do holds where anything does.
  EXPECT_EQ(answer_to("C3", "xor", orders("lower", "higher")), "holds");
  EXPECT_EQ(answer_to("C3", "xor", orders("undecided", "higher")), "undecided");
  EXPECT_EQ(answer_to("C3", "xor", orders("same", "higher")), "contradicted");
  const auto scores = [](const char* verdict) {
    return with_finding("control-grid", {contrast_of("kmeans(100) hard", "random", {{"n", 500}}, "lower"),
                                         contrast_of("kmeans(100) hard", "random", {{"n", 1000}}, verdict),
                                         contrast_of("margin hard", "random", {{"n", 1000}}, "lower")});
  };
  EXPECT_EQ(answer_to("B5", "prune-study", scores("lower")), "holds");
  EXPECT_EQ(answer_to("B5", "prune-study", scores("higher")), "contradicted");
  // What a part says: both sizes where they differ, and nothing twice.
  const auto words_of = [](const char* id, const char* study, const Json& result) {
    for (const Json& claim : answered_claims({{study, result}})) {
      if (claim["id"] == id && !claim["parts"].empty()) return claim["parts"][0]["words"].get<std::string>();
    }
    return std::string();
  };
  const auto large =
      with_finding("bias", {contrast_of("knn-1@polar", "knn-1", {{"n", 1000}, {"against_n", 10000}}, "lower")});
  EXPECT_EQ(words_of("S2", "compare", large),
            "knn-1@polar at n 1,000 minus knn-1 at n 10,000 (grid): +1.00 [-1.00, +3.00] points, lower");
  const auto share = with_finding(
      "equal-grid", {contrast_of("kmeans(100) hard 80 %", "all",
                                 {{"n", 1000}, {"choice", "kmeans(100) hard"}, {"fraction", 0.8}, {"budget", "epochs"}},
                                 "undecided", true)});
  EXPECT_EQ(words_of("B13", "prune-study", share),
            "kmeans(100) hard 80 % minus all, equal epochs, n 1,000 (grid): +1.00 [-1.00, +3.00] points, shown to cost "
            "less than 0.5 points");
}

TEST(ClaimsOfStudies, FollowTheirFigures) {
  const auto law = [](const char* verdict) {
    const Json params = {{"model", "knn-1"}, {"noise", 0.0}, {"keep", "all"}};
    const Json one = {
        {"params", params}, {"measure", "density_error"}, {"law", {{"verdict", verdict}}}, {"text", "a law"}};
    return Json{{"laws", Json::array({one})}};
  };
  EXPECT_EQ(answer_to("B1", "scaling", law("power")), "holds");
  EXPECT_EQ(answer_to("B1", "scaling", law("undecided")), "undecided");
  EXPECT_EQ(answer_to("B1", "scaling", law("exponential")), "contradicted");

  const auto frontier = [](const std::vector<std::string>& verdicts) {
    Json list = Json::array();
    for (const std::string& verdict : verdicts) {
      list.push_back({{"score", verdict == "-" ? "random" : "margin"},
                      {"measure", "grid_error"},
                      {"exponent", 0.9},
                      {"random", 0.5},
                      {"verdict", verdict}});
    }
    return Json{{"frontier", list}};
  };
  EXPECT_EQ(answer_to("B2", "prune-study", frontier({"-", "shallower", "steeper"})), "holds");
  EXPECT_EQ(answer_to("B2", "prune-study", frontier({"-", "shallower"})), "contradicted");
  EXPECT_EQ(answer_to("B2", "prune-study", frontier({"-"})), "not tested");

  const auto worth = [](double low, double high, int before = 0, int beyond = 0) {
    const Json one = {{"choice", "margin hard"},
                      {"fraction", 0.4},
                      {"n", 1000},
                      {"measure", "grid_error"},
                      {"budget", "epochs"},
                      {"kept", 400.0},
                      {"rows", 200 * (low + high)},
                      {"low", 400 * low},
                      {"high", 400 * high},
                      {"seeds_before_curve", before},
                      {"seeds_beyond_curve", beyond}};
    return Json{{"worth", Json::array({one})}};
  };
  EXPECT_EQ(answer_to("B3", "prune-study", worth(11, 15)), "holds");
  EXPECT_EQ(answer_to("B3", "prune-study", worth(9, 15)), "undecided");
  EXPECT_EQ(answer_to("B3", "prune-study", worth(2, 4)), "contradicted");
  // Of what lies beyond the curve no more than a bound is known.
  EXPECT_EQ(answer_to("B3", "prune-study", worth(2, 4, 0, 1)), "undecided");
  EXPECT_EQ(answer_to("B3", "prune-study", worth(2, 4, 1, 0)), "contradicted");
  EXPECT_EQ(answer_to("B3", "prune-study", worth(11, 15, 1, 0)), "undecided");
  EXPECT_EQ(answer_to("B3", "prune-study", worth(11, 15, 0, 1)), "holds");

  const auto times = [](const Json& median, double low, double high) {
    const Json one = {{"params", {{"width", 16}, {"order", "curriculum"}}},
                      {"median_time", median},
                      {"time_of_random", {{"mean", (low + high) / 2}, {"low", low}, {"high", high}, {"seeds", 9}}}};
    return Json{{"summary", Json::array({one})}};
  };
  EXPECT_EQ(answer_to("C10", "xor", times(4.0, 0.7, 0.9)), "holds");
  EXPECT_EQ(answer_to("C10", "xor", times(4.0, 0.9, 1.1)), "undecided");
  EXPECT_EQ(answer_to("C10", "xor", times(4.0, 1.1, 1.3)), "contradicted");
  EXPECT_EQ(answer_to("C10", "xor", times(nullptr, 0.7, 0.9)), "not tested");

  const auto crossover = [](const char* lower) {
    const Json hard = {{"keep", "hard"}, {"fraction", 0.5}, {"lower", lower}, {"alpha_total", 2.9}};
    const Json easy = {{"keep", "easy"}, {"fraction", 0.5}, {"lower", "everywhere"}, {"alpha_total", nullptr}};
    return Json{{"crossovers", Json::array({hard, easy})}};
  };
  EXPECT_EQ(answer_to("B9", "theory", crossover("from")), "holds");
  EXPECT_EQ(answer_to("B9", "theory", crossover("everywhere")), "contradicted");

  const auto errors = [](const std::vector<Json>& series) { return Json{{"summary", series}}; };
  const Json as_claimed = errors({error_at(4, "random", .50, .52), error_at(8, "random", .40, .42),
                                  error_at(4, "curriculum", .45, .47), error_at(8, "curriculum", .38, .39)});
  EXPECT_EQ(answer_to("C1", "xor", as_claimed), "holds");
  EXPECT_EQ(answer_to("C4", "xor", as_claimed), "contradicted");  // .45 to .47 is above .40 to .42
  const Json turned =
      errors({error_at(4, "random", .50, .52), error_at(8, "random", .51, .53), error_at(4, "curriculum", .45, .47)});
  EXPECT_EQ(answer_to("C1", "xor", turned), "undecided");
  EXPECT_EQ(answer_to("C4", "xor", turned), "holds");
}

// --- the studies beside compare: verdicts from their rows, and each claim's answer from those ------------------------

// What a claim asks of contrasts, written down a second time. `any`: it holds where any of them comes out so.
struct Wanted {
  std::string finding, what, against;  // regular expressions
  Json place;                          // "least" and "most" stand for those among the contrasts of a finding
  Verdicts verdicts;
  bool any = true;
};

struct Judged {
  std::string verdict;
  bool not_worse;
};

class ClaimsFromRows : public Claims {
 protected:
  static bool matches(const std::string& text, const std::string& pattern) {
    static std::map<std::string, std::regex> compiled;
    return std::regex_match(text, compiled.try_emplace(pattern, pattern).first->second);
  }
  // "kmeans(10) hard": what a row kept, ordered or pruned, as findings call it but for its share and class floor.
  static std::string name_of(const std::string& study, const Json& p) {
    if (study == "lottery") return p["ticket"];
    if (study == "curriculum") return p["order"];
    if (p["keep"] == "all" || p["keep"] == "random") return p["keep"];
    const std::string clusters = p["clusters"] == 0 ? "" : fmt::format("({})", p["clusters"].get<int>());
    const std::string features = p["features"] == "input" ? "" : " " + p["features"].get<std::string>();
    return p["score"].get<std::string>() + clusters + features + " " + p["keep"].get<std::string>();
  }
  static std::string bare(const std::string& name) {
    static const std::regex kFloorAndShare(" floor [0-9.]+| [0-9.]+ %$");
    return std::regex_replace(name, kFloorAndShare, "");
  }
  static double share_in(const std::string& name, const Json& place) {
    std::smatch found;
    static const std::regex kShare(" ([0-9.]+) %$");
    if (std::regex_search(name, found, kShare)) return std::stod(found[1]) / 100;
    return place.value("fraction", 1.0);
  }

  // By seed, the error of one side of a contrast.
  static std::map<int, double> errors(const Json& result, const std::string& name, const Json& contrast) {
    const std::string study = result["study"];
    const Json& place = contrast["place"];
    const bool all = name == "all";
    const bool steps = place.value("budget", "") == "steps" && !all;
    const std::string bare_name = bare(name);
    const double share = share_in(name, place);
    std::map<int, double> by_seed;
    for (const Json& row : result[steps ? "equal_steps_rows" : "rows"]) {
      const Json& p = row["params"];
      if (name_of(study, p) != bare_name) continue;
      if (place.contains("n") && p["n"] != place["n"]) continue;
      if (place.contains("width") && p["width"] != place["width"]) continue;
      if (place.contains("level") && name != "dense" && p["level"] != place["level"]) continue;
      if (study == "prune-study" && !all && p["fraction"] != share) continue;
      EXPECT_FALSE(by_seed.contains(p["seed"])) << "two rows: " << contrast;
      by_seed[p["seed"]] = row[contrast["measure"].get<std::string>()];
    }
    EXPECT_FALSE(by_seed.empty()) << name << contrast;
    return by_seed;
  }
  // Of xor, which has no rows: the values that its summaries hold by seed.
  static std::map<int, double> xor_errors(const Json& result, const std::string& finding, const std::string& name,
                                          const Json& contrast) {
    const Json* list = finding.ends_with("-long") ? &result["long"]["summary"] : &result["summary"];
    for (const Json& share : result["shares"]) {
      if (name == "easy alone" && share["easy_share"] == 1) list = &share["summary"];
    }
    std::map<int, double> by_seed;
    for (const Json& series : *list) {
      if (series["params"]["width"] != contrast["place"]["width"]) continue;
      if (series["params"]["order"] != (name == "easy alone" ? "random" : name)) continue;
      const Json& error = series["test_error"];
      for (std::size_t i = 0; i < error["seeds"].size(); ++i) by_seed[error["seeds"][i]] = error["values"][i];
    }
    return by_seed;
  }
  static Paired apart(const Json& result, const std::string& finding, const Json& contrast) {
    const auto side = [&](const char* member) {
      const std::string name = contrast[member];
      return result["study"] == "xor" ? xor_errors(result, finding, name, contrast) : errors(result, name, contrast);
    };
    const auto a = side("what"), b = side("against");
    return paired_by_unit(a, b);
  }

  // What each p value of a family is multiplied by after Holm.
  static std::vector<double> factors(const std::vector<double>& p) {
    std::vector<std::size_t> order(p.size());
    for (std::size_t i = 0; i < p.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return p[a] < p[b]; });
    std::vector<double> out(p.size());
    double least = 0;
    for (std::size_t r = 0; r < p.size(); ++r) {
      least = std::max(least, p[order[r]] * static_cast<double>(p.size() - r));
      out[order[r]] = p[order[r]] > 0 ? least / p[order[r]] : static_cast<double>(p.size() - r);
    }
    return out;
  }
  // Which tests are one family, as each finding says below its table.
  static std::string family_of(const std::string& study, const std::string& finding, const Json& contrast) {
    const Json& place = contrast["place"];
    if (study == "lottery") return contrast["measure"];
    if (matches(finding, "control-.*")) return place["series"].dump();
    if (matches(finding, "equal-.*")) return place["choice"].dump() + place["budget"].dump();
    return matches(finding, "hard-or-easy-.*|all-.*") ? contrast["what"] : Json("one");
  }
  static std::map<std::string, Judged> judged(const Json& result, const Json& finding) {
    const std::string study = result["study"], id = finding["id"];
    const double margin = study == "lottery" ? 0.01 : 0.005;
    std::map<std::string, std::vector<std::pair<std::string, Paired>>> families;
    for (const Json& contrast : finding["contrasts"]) {
      const Paired p = apart(result, id, contrast);
      EXPECT_NEAR(p.mean, contrast["mean"].get<double>(), 1e-12) << id << contrast;
      families[family_of(study, id, contrast)].push_back({key_of(contrast), p});
    }
    std::map<std::string, Judged> verdicts;
    for (const auto& [name, members] : families) {
      std::vector<double> differs, same;
      for (const auto& [key, p] : members) {
        differs.push_back(p.p_differs());
        same.push_back(std::max(p.p_below(margin), p.p_above(-margin)));
      }
      const auto by_differs = factors(differs), by_same = factors(same);
      for (std::size_t i = 0; i < members.size(); ++i) {
        const auto& [key, p] = members[i];
        const bool apart = differs[i] * by_differs[i] < 0.05, alike = same[i] * by_same[i] < 0.05;
        verdicts[key] = {apart   ? (p.mean < 0 ? "lower" : "higher")
                         : alike ? "same"
                                 : "undecided",
                         p.p_below(margin) * by_same[i] < 0.05};
      }
    }
    return verdicts;
  }

  static bool is_wanted(const Wanted& wanted, const Json& finding, const Json& contrast) {
    if (!matches(contrast["what"], wanted.what) || !matches(contrast["against"], wanted.against)) return false;
    for (const auto& [member, value] : wanted.place.items()) {
      if (member == "budget") {
        if (contrast["place"].value(member, "") != value) return false;
        continue;
      }
      std::set<double> all;
      for (const Json& one : finding["contrasts"]) {
        if (one["place"].contains(member)) all.insert(one["place"][member].get<double>());
      }
      if (all.empty() || !contrast["place"].contains(member)) return false;
      const double at = contrast["place"][member];
      if (at != (value == "least" ? *all.begin() : value == "most" ? *all.rbegin() : value.get<double>())) return false;
    }
    return true;
  }
  // "holds", "contradicted" or "undecided" of one thing that a claim asks; empty where nothing was measured.
  static std::string answer_from_rows(const Json& result, const Wanted& wanted) {
    std::set<std::string> told;
    for (const Json& finding : result["findings"]) {
      if (!matches(finding["id"], wanted.finding)) continue;
      const auto verdicts = judged(result, finding);
      for (const Json& contrast : finding["contrasts"]) {
        if (!is_wanted(wanted, finding, contrast)) continue;
        const Judged& one = verdicts.at(key_of(contrast));
        const bool as_said =
            wanted.verdicts.contains(one.verdict) || (wanted.verdicts.contains("not worse") && one.not_worse);
        told.insert(as_said ? "holds" : one.verdict == "undecided" ? "undecided" : "contradicted");
      }
    }
    const std::vector<const char*> order = wanted.any ? std::vector{"holds", "undecided", "contradicted"}
                                                      : std::vector{"contradicted", "undecided", "holds"};
    for (const char* answer : order) {
      if (told.contains(answer)) return answer;
    }
    return "";
  }
  static void expect_answers(const std::string& study, const Json& result,
                             const std::map<std::string, std::vector<Wanted>>& table) {
    const Json claims = answered_claims({{study, result}});
    for (const auto& [id, all] : table) {
      std::set<std::string> told;
      for (const Wanted& wanted : all) told.insert(answer_from_rows(result, wanted));
      ASSERT_FALSE(told.contains("")) << id << ": nothing of it was measured";
      const std::string answer = told.contains("contradicted") ? "contradicted"
                                 : told.contains("undecided")  ? "undecided"
                                                               : "holds";
      int met = 0;
      for (const Json& claim : claims) {
        if (claim["id"] != id || claim["study"] != study) continue;
        ++met;
        EXPECT_EQ(claim["answer"], answer) << claim;
      }
      EXPECT_EQ(met, 1) << id;
    }
  }

  // Whether a choice is worth ten times as many random rows, from the curve of each seed's random rows.
  static std::string ten_times_from_rows(const Json& result, const Json& one) {
    struct Seed {
      std::map<double, std::vector<double>> curve{};  // by rows
      double error = -1;                              // of the choice
    };
    std::map<int, Seed> seeds;
    for (const Json& row : result["rows"]) {
      const Json& p = row["params"];
      const std::string name = name_of("prune-study", p);
      Seed& seed = seeds[p["seed"]];
      if (name == "all" || name == "random") seed.curve[row["kept"]].push_back(row["grid_error"]);
      if (name == bare(one["choice"]) && p["n"] == one["n"] && p["fraction"] == one["fraction"]) {
        seed.error = row["grid_error"];
      }
    }
    std::vector<double> rows;
    int beyond = 0, before = 0;
    double first = 0, last = 0;
    for (const auto& [number, seed] : seeds) {
      std::vector<double> kept, errors;
      for (const auto& [count, values] : seed.curve) {
        kept.push_back(count);
        errors.push_back(summarize(values).mean);
      }
      first = kept.front();
      last = kept.back();
      const double needed = crossing(kept, errors, seed.error);
      beyond += needed > last;
      before += needed < first;
      rows.push_back(std::clamp(needed, first, last));
    }
    const GeometricMean mean = geometric_mean(rows);
    EXPECT_NEAR(mean.mean, one["rows"].get<double>(), 1e-6 * mean.mean) << one;
    const double bound = 10 * one["kept"].get<double>();
    return std::clamp(mean.interval.low, first, last) > bound && before == 0     ? "holds"
           : std::clamp(mean.interval.high, first, last) <= bound && beyond == 0 ? "contradicted"
                                                                                 : "undecided";
  }
};

TEST_F(ClaimsFromRows, OfAPruneStudy) {
  good({"prune-study",
        "--model",
        "knn-1",
        "--sizes",
        "250,500,1000,2000",
        "--seeds",
        "0..4",
        "--scores",
        "margin,kmeans,el2n",
        "--clusters",
        "10,100",
        "--fractions",
        "0.1,0.8",
        "--grid",
        "96",
        "--width",
        "8",
        "--samples",
        "50000",
        "--out",
        "p",
        "--quiet"});
  const Json document = result("p");
  const Json most = {{"n", "most"}};
  expect_answers(
      "prune-study", document,
      {{"B4", {{"equal-.*", ".*", "all", {{"n", "most"}, {"fraction", 0.8}}, {"not worse", "lower"}}}},
       {"B5", {{"control-.*", "kmeans.* hard.*", "random.*", most, {"lower"}}}},
       {"B6", {{"control-.*", "kmeans.*floor 0 hard.*", "random.*", most, {"lower"}}}},
       {"B7", {{"scores-.*", "el2n hard.*", "kmeans.* hard.*", most, {"same", "higher"}}}},
       {"B13", {{"equal-.*", "kmeans.* hard.*", "all", {{"n", "most"}, {"budget", "epochs"}}, {"not worse", "lower"}}}},
       {"B8", {{"clusters-.*", ".*", ".*", Json::object(), {"same"}, false}}},
       {"B9",
        {{"hard-or-easy-.*", "kmeans.*", ".*", {{"n", "least"}}, {"higher"}},
         {"hard-or-easy-.*", "kmeans.*", ".*", most, {"lower"}}}}});

  // B3, how many random rows a choice is worth.
  std::set<std::string> told;
  for (const Json& one : document["worth"]) {
    if (one["n"] == 2000 && one["measure"] == "grid_error" && one["budget"] == "epochs") {
      told.insert(ten_times_from_rows(document, one));
    }
  }
  const Json claims = answered_claims({{"prune-study", document}});
  EXPECT_EQ(claim_named(claims, "B3")["answer"], told.contains("holds")       ? "holds"
                                                 : told.contains("undecided") ? "undecided"
                                                                              : "contradicted");
  // B2, from the interval of each difference of exponents.
  bool steeper = false, open = false;
  for (const Json& one : document["frontier"]) {
    if (one["score"] == "random" || one["interval"][0].is_null()) continue;
    steeper = steeper || one["interval"][0] > 0;
    open = open || (one["interval"][0] <= 0 && one["interval"][1] >= 0);
  }
  EXPECT_EQ(claim_named(claims, "B2")["answer"], steeper ? "holds" : open ? "undecided" : "contradicted");
}

TEST_F(ClaimsFromRows, OfOrdersAndTickets) {
  good({"curriculum", "--widths", "8,16", "--seeds", "0..4", "--n", "200", "--epochs", "200", "--grid", "64",
        "--orders", "growing,anti", "--out", "o", "--quiet"});
  const Json least = {{"width", "least"}}, level = {{"level", 11}};
  expect_answers("curriculum", result("o"), {{"C11", {{"growing", ".*", ".*", least, {"lower"}, false}}}});
  good({"lottery", "--widths", "16", "--levels", "3,11", "--seeds", "0..4", "--n", "200", "--epochs", "150", "--grid",
        "64", "--out", "l", "--quiet"});
  expect_answers("lottery", result("l"),
                 {{"C5", {{"rewound-dense-.*", ".*", ".*", level, {"not worse", "lower"}, false}}},
                  {"C6", {{"small-dense-dense-.*", ".*", ".*", level, {"higher"}, false}}},
                  {"C8", {{"rewound-small-dense-.*", ".*", ".*", level, {"lower"}, false}}},
                  {"C7", {{"rewound-restarted-.*", ".*", ".*", level, {"lower"}, false}}}});
}

// The studies of images, on a small file in place of them.
TEST_F(ClaimsFromRows, OfImages) {
  good({"dataset", "--n", "500", "--out", "d.csv", "--quiet"});
  good({"prune-study",
        "--data",
        "d.csv",
        "--sizes",
        "400",
        "--seeds",
        "0..4",
        "--scores",
        "kmeans,class-mean,el2n",
        "--clusters",
        "5",
        "--features",
        "input,hidden",
        "--keep",
        "hard",
        "--fractions",
        "0.3,0.8",
        "--class-floors",
        "0",
        "--width",
        "8",
        "--samples",
        "20000",
        "--no-equal-steps",
        "--out",
        "i",
        "--quiet"});
  const Json document = result("i");
  expect_answers("images", document,
                 {{"B12", {{"scores-.*", "class-mean.* hard.*", "kmeans.* hard.*", Json::object(), {"lower"}}}},
                  {"B16", {{"scores-.*", "kmeans.* hidden.* hard.*", "kmeans.* hard.*", Json::object(), {"lower"}}}}});
  std::map<int, double> purity;  // of the clusters of the features as they came, by seed
  for (const Json& row : document["rows"]) {
    const Json& p = row["params"];
    if (p["score"] == "kmeans" && p["features"] == "input") purity[p["seed"]] = row["purity"];
  }
  std::vector<double> values;
  for (const auto& [seed, value] : purity) values.push_back(value);
  const Interval interval = summarize(values).interval;
  EXPECT_EQ(values.size(), 5U);
  EXPECT_EQ(claim_named(answered_claims({{"images", document}}), "B11")["answer"], interval.low > 0.5 ? "holds"
                                                                                   : interval.high <= 0.5
                                                                                       ? "contradicted"
                                                                                       : "undecided");

  good({"curriculum", "--data", "d.csv", "--n", "200", "--widths", "4,16", "--seeds", "0..4", "--epochs", "50",
        "--orders", "curriculum", "--out", "o", "--quiet"});
  expect_answers("images-order", result("o"),
                 {{"C12",
                   {{"curriculum", ".*", ".*", {{"width", "least"}}, {"lower"}, false},
                    {"curriculum", ".*", ".*", {{"width", "most"}}, {"same"}, false}}}});
}

TEST_F(ClaimsFromRows, OfXor) {
  good({"xor", "--seeds", "0..14", "--dimension", "30", "--widths", "2,8,16", "--test-examples", "300", "--long-time",
        "20", "--out", "x", "--quiet"});
  const Json document = result("x");
  expect_answers("xor", document,
                 {{"C2", {{"curriculum-long", ".*", ".*", {{"width", "most"}}, {"same"}, false}}},
                  {"C3", {{"curriculum.*", ".*", ".*", Json::object(), {"lower"}}}},
                  {"C13", {{"easy-alone", ".*", ".*", Json::object(), {"lower"}, false}}}});
  // C1 and C4, from the intervals of means.
  const auto interval = [&](int width, const char* order) {
    std::vector<double> values;
    const Json contrast = {{"place", {{"width", width}}}};
    for (const auto& [seed, error] : xor_errors(document, "", order, contrast)) values.push_back(error);
    return summarize(values).interval;
  };
  const auto lower = [](Interval a, Interval b) {
    return a.high < b.low ? "holds" : a.low > b.high ? "contradicted" : "undecided";
  };
  const Json claims = answered_claims({{"xor", document}});
  EXPECT_EQ(claim_named(claims, "C1")["answer"], lower(interval(16, "random"), interval(2, "random")));
  const std::set<std::string> told = {lower(interval(2, "curriculum"), interval(8, "random")),
                                      lower(interval(8, "curriculum"), interval(16, "random"))};
  EXPECT_EQ(claim_named(claims, "C4")["answer"], told.contains("holds")       ? "holds"
                                                 : told.contains("undecided") ? "undecided"
                                                                              : "contradicted");
}

TEST_F(ClaimsFromRows, OfLawsAndTheory) {
  write_text(folder_ / "s.json",
             R"({"title": "T", "grids": [{"model": ["knn-1", "knn-5"], "n": [250, 1000, 4000, 16000],
                 "grid": 96, "seeds": "0..4"}]})");
  good({"sweep", "s.json", "--out", "s", "--quiet"});
  const Json sweep = result("s");
  std::map<std::string, std::string> verdicts;  // by model and measure
  for (const char* model : {"knn-1", "knn-5"}) {
    for (const char* measure : {"grid_error", "density_error"}) {
      std::vector<LawPoint> points;
      for (const Json& row : sweep["rows"]) {
        const Json& p = row["params"];
        if (p["model"] == model) points.push_back({p["n"], p["seed"], row[measure]});
      }
      std::stable_sort(points.begin(), points.end(), [](const auto& a, const auto& b) { return a.n < b.n; });
      verdicts[std::string(model) + measure] = fit_law(points, sweep["seed"]).verdict;
    }
  }
  const auto answer = [&](const std::vector<std::string>& laws) {
    std::set<std::string> told;
    for (const std::string& law : laws) {
      const std::string& verdict = verdicts.at(law);
      told.insert(verdict.starts_with("power") ? "holds" : verdict == "undecided" ? "undecided" : "contradicted");
    }
    return told.contains("contradicted") ? "contradicted" : told.contains("undecided") ? "undecided" : "holds";
  };
  const Json claims = answered_claims({{"scaling", sweep}});
  EXPECT_EQ(claim_named(claims, "A15")["answer"], answer({"knn-1grid_error", "knn-1density_error"}));
  EXPECT_EQ(claim_named(claims, "B1")["answer"], answer({"knn-1density_error", "knn-5density_error"}));

  good({"theory", "--alpha", "0.5,1,3,10", "--fractions", "1,0.5", "--out", "t", "--quiet"});
  const Json theory = result("t");
  std::vector<bool> lower;  // by alpha: the hard half beats a random one
  for (const Json& row : theory["rows"]) {
    if (row["keep"] == "hard" && row["fraction"] == 0.5) lower.push_back(row["error"] < row["error_random"]);
  }
  const bool from_some_size_on =
      lower.size() == 4 && !lower.front() && lower.back() && std::is_sorted(lower.begin(), lower.end());
  for (const Json& claim : answered_claims({{"theory", theory}})) {
    if (claim["id"] == "B9" && claim["study"] == "theory") {
      EXPECT_EQ(claim["answer"], from_some_size_on ? "holds" : "contradicted");
    }
  }
  // B10, solved once more where choosing pays.
  good({"theory", "--alpha", "3", "--fractions", "0.5", "--wrong-angle", "20", "--out", "w", "--quiet"});
  const Json probe = result("w");
  int pays = 0;
  bool costs = true;
  for (const Json& row : probe["rows"]) {
    if (row["keep"] == "random" || row["error"] >= row["error_random"]) continue;
    const double wrong = solve_replica({row["alpha_total"], row["fraction"],
                                        row["keep"] == "hard" ? Keep::hard : Keep::easy, 20 * std::acos(-1.0) / 180})
                             .error;
    EXPECT_NEAR(wrong, row["error_wrong_probe"].get<double>(), 1e-9) << row;
    ++pays;
    costs = costs && wrong > row["error"];
  }
  EXPECT_GE(pays, 2);
  EXPECT_EQ(claim_named(answered_claims({{"probe", probe}}), "B10")["answer"], costs ? "holds" : "contradicted");
}

TEST(ClaimsOfStudies, SayTheMostThatWouldSettleThem) {
  const auto open = [](int units) {
    return Json{
        {"answer", "undecided"}, {"words", "w"}, {"settles", fmt::format("about {} seeds", units)}, {"units", units}};
  };
  const Json claim = {{"id", "A1"},
                      {"source", "S"},
                      {"claim", "C"},
                      {"study", "compare"},
                      {"command", "scalelab compare --out c"},
                      {"answer", "undecided"},
                      {"parts", {open(12), open(250), open(31)}}};
  const std::string page = page_html(claims_page({{"claims", Json::array({claim})}}));
  EXPECT_NE(page.find("<td>undecided; would be settled by about 250 seeds</td>"), std::string::npos);
  EXPECT_NE(page.find("<pre>scalelab compare --out c</pre>"), std::string::npos);
}

TEST_F(Claims, OfNoResultsNothingIsSaid) {
  const Json claims = answered_claims({});
  for (const Json& claim : claims) EXPECT_EQ(claim["answer"], "not tested");
  // The page says in a sentence what it takes to test one, or that its study was left out.
  const std::string page = page_html(claims_page({{"claims", claims}}));
  for (const Json& claim : claims) {
    const std::string takes = claim["command"];
    EXPECT_NE(
        page.find(takes.empty() ? claim["study"].get<std::string>() + ": left out of this run" : html_escape(takes)),
        std::string::npos)
        << claim;
    EXPECT_TRUE(takes.empty() || takes.ends_with(".")) << claim;
  }
}

}  // namespace
}  // namespace scalelab::host
