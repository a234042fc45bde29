// The page of claims: each answer about a comparison is worked out once more from the rows of its result, by another way:
// differences by unit, Holm's rule from the p values, and what each claim expects, written down here a second time.
#include "host/studies/claims.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "host/evidence/statistics.h"
#include "tests/program.h"

namespace scalelab::host {
namespace {

using Json = nlohmann::json;
using Verdicts = std::set<std::string>;

// What each claim that is about contrasts expects of all of them.
const std::map<std::string, std::vector<std::pair<std::string, Verdicts>>>& expected() {
  static const std::map<std::string, std::vector<std::pair<std::string, Verdicts>>> table = {
      {"A2", {{"regions", {"higher"}}}},         {"A3", {{"extras", {"lower"}}, {"regions", {"lower"}}}},
      {"A4", {{"encodings", {"lower"}}}},        {"A5", {{"regions", {"lower"}}}},
      {"A6", {{"extras", {"same", "higher"}}}},  {"A7", {{"regions", {"higher"}}}},
      {"A8", {{"regions", {"same", "higher"}}}}, {"A9", {{"regions", {"lower"}}}},
      {"A11", {{"worlds", {"same", "lower"}}}},  {"A12", {{"k1-vs-k5", {"lower"}}}},
      {"A14", {{"equal-n", {"lower"}}}},         {"S2", {{"bias", {"lower"}}}}};
  return table;
}

class Claims : public Program {
 protected:
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
    const double noise = place.value("noise", 0.0);
    const std::int64_t n = place["n"];
    const auto a = by_unit(result, contrast["what"], n, contrast["measure"], noise, worlds);
    const auto b =
        by_unit(result, contrast["against"], place.value("against_n", n), contrast["measure"], noise, worlds);
    std::vector<double> x, y;
    for (const auto& [unit, value] : a) {
      if (!b.contains(unit)) continue;
      x.push_back(value);
      y.push_back(b.at(unit));
    }
    return paired(x, y);
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

TEST_F(Claims, AnswersAreThoseThatTheRowsGive) {
  good({"compare",
        "--sizes",
        "250,1000",
        "--seeds",
        "0..4",
        "--worlds",
        "0..5",
        "--models",
        "knn-1,knn-5,knn-1@polar:0.25,mlp-xy,mlp-polar,mlp-polar-raw,mlp-polar-trig,mlp-xy+extras,mlp-polar+extras",
        "--epochs",
        "150",
        "--width",
        "16",
        "--hidden-layers",
        "2",
        "--grid",
        "96",
        "--curve-to",
        "16000",
        "--budget-seeds",
        "0",
        "--out",
        "c",
        "--quiet"});
  const Json document = result("c");
  const Json claims = answered_claims({{"compare", document}});
  std::map<std::string, std::map<std::string, std::string>> findings;  // their verdicts from the rows
  std::map<std::string, int> answers;
  for (const auto& [id, finding_verdicts] : expected()) {
    const Json& claim = claim_named(claims, id);
    ASSERT_FALSE(claim["parts"].empty()) << claim;
    std::set<std::string> met;
    Verdicts told;
    for (const Json& part : claim["parts"]) {
      const std::string finding = part["finding"];
      met.insert(finding);
      if (!findings.contains(finding)) findings[finding] = verdicts_from_rows(document, finding);
      const std::string verdict = findings.at(finding).at(key_of(part));
      const auto wanted = std::find_if(finding_verdicts.begin(), finding_verdicts.end(),
                                       [&](const auto& one) { return one.first == finding; });
      ASSERT_NE(wanted, finding_verdicts.end()) << claim;
      const std::string answer = wanted->second.contains(verdict) ? "holds"
                                 : verdict == "undecided"         ? "undecided"
                                                                  : "contradicted";
      EXPECT_EQ(part["answer"], answer) << id << part;
      EXPECT_EQ(part["settles"].get<std::string>().empty(), answer != "undecided") << part;
      told.insert(answer);
    }
    EXPECT_EQ(met.size(), finding_verdicts.size()) << claim;
    const std::string whole = told.contains("contradicted") ? "contradicted"
                              : told.contains("undecided")  ? "undecided"
                                                            : "holds";
    EXPECT_EQ(claim["answer"], whole) << claim;
    ++answers[whole];
  }
  EXPECT_EQ(answers.size(), 3U) << "each answer should be met once: " << Json(answers);

  // Claims about a figure with its interval.
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

  // What nothing measured is not answered, and says what would.
  EXPECT_EQ(claim_named(claims, "A15")["answer"], "not tested");
  EXPECT_EQ(claim_named(claims, "A10")["answer"], "not tested");
  EXPECT_NE(claim_named(claims, "A10")["command"], "");

  // The page shows each claim with its answer, and counts them.
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

  const auto worth = [](double low, double high) {
    const Json one = {{"choice", "margin hard"},    {"fraction", 0.4},    {"n", 1000},
                      {"measure", "grid_error"},    {"budget", "epochs"}, {"kept", 400.0},
                      {"rows", 200 * (low + high)}, {"low", 400 * low},   {"high", 400 * high}};
    return Json{{"worth", Json::array({one})}};
  };
  EXPECT_EQ(answer_to("B3", "prune-study", worth(11, 15)), "holds");
  EXPECT_EQ(answer_to("B3", "prune-study", worth(9, 15)), "undecided");
  EXPECT_EQ(answer_to("B3", "prune-study", worth(2, 4)), "contradicted");

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

TEST_F(Claims, OfNoResultsNothingIsSaid) {
  for (const Json& claim : answered_claims({})) EXPECT_EQ(claim["answer"], "not tested");
}

}  // namespace
}  // namespace scalelab::host
