#include "host/studies/claim_questions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <string_view>
#include <utility>

#include "host/evidence/seed_errors.h"
#include "host/program/words.h"
#include "host/studies/study.h"

namespace scalelab::host {

namespace {

using Json = nlohmann::json;

// One part of an answer, as the document has it.
Json part(const std::string& answer, const std::string& words, const std::string& settles = "") {
  return {{"answer", answer}, {"words", words}, {"settles", settles}};
}

// `text` fits `pattern`, in which each * stands for anything.
bool fits(std::string_view pattern, std::string_view text) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == text;
  if (!text.starts_with(pattern.substr(0, star))) return false;
  for (std::size_t at = star; at <= text.size(); ++at) {
    if (fits(pattern.substr(star + 1), text.substr(at))) return true;
  }
  return false;
}

// --- contrasts -------------------------------------------------------------------------------------------------------

// The smallest or largest value of a member among the contrasts of a finding.
Json extreme_place(const Json& finding, const std::string& member, bool largest) {
  Json found;
  for (const Json& contrast : finding["contrasts"]) {
    const Json& place = contrast["place"];
    if (!place.contains(member)) continue;
    if (found.is_null() || (largest ? place[member] > found : place[member] < found)) found = place[member];
  }
  return found;
}

bool is_asked(const Asked& asked, const Json& finding, const Json& contrast) {
  if (!fits(asked.what, text_of(contrast["what"])) || !fits(asked.against, text_of(contrast["against"]))) return false;
  if (!fits(asked.measure, text_of(contrast["measure"]))) return false;
  for (const auto& [member, wanted] : asked.place.items()) {
    const bool end = wanted == "smallest" || wanted == "largest";
    const Json value = end ? extreme_place(finding, member, wanted == "largest") : wanted;
    if (!contrast["place"].contains(member) || contrast["place"][member] != value) return false;
  }
  return true;
}

// "1,000" for 1000 and for 1000.0, "0.1", "hard"
std::string value_words(const Json& value) {
  if (!value.is_number()) return text_of(value);
  const double number = value;
  return number == std::floor(number) ? grouped(std::llround(number)) : fmt::format("{:g}", number);
}

// "mlp-polar minus mlp-xy, n 1,000 (grid): -9.99 [-10.5, -9.49] points, lower"; "knn-5 at n 10,000 minus mlp-polar at
// n 1,000 ..." where the two sizes differ. Without what the names say already: the choice and its share.
std::string contrast_words(const Json& contrast, const std::string& verdict) {
  std::string what = text_of(contrast["what"]), against = text_of(contrast["against"]), where;
  const Json& place = contrast["place"];
  const bool two_sizes = place.contains("against_n") && place["against_n"] != place["n"];
  if (two_sizes) {
    what += " at n " + value_words(place["n"]);
    against += " at n " + value_words(place["against_n"]);
  }
  const bool share_named = what.ends_with(" %");
  for (const auto& [member, value] : place.items()) {
    const bool of_names = member == "series" || member == "choice" || (member == "fraction" && share_named);
    if (of_names || member == "against_n" || (member == "n" && two_sizes)) continue;
    where += fmt::format(", {} {}", member == "budget" ? "equal" : member, value_words(value));
  }
  const std::string measure = contrast["measure"];
  return fmt::format("{} minus {}{} ({}): {} [{}, {}] points, {}", what, against, where,
                     measure.substr(0, measure.find("_error")), signed_points(number_of(contrast["mean"])),
                     signed_points(number_of(contrast["low"])), signed_points(number_of(contrast["high"])), verdict);
}

}  // namespace

Question verdicts(Asked asked, std::set<std::string> expected) {
  return [asked = std::move(asked), expected = std::move(expected)](const Json& result) {
    std::vector<Json> parts;
    for (const Json& finding : result.value("findings", Json::array())) {
      if (!fits(asked.finding, text_of(finding["id"]))) continue;
      for (const Json& contrast : finding["contrasts"]) {
        if (!is_asked(asked, finding, contrast)) continue;
        const std::string verdict = contrast["verdict"];
        const bool not_worse = expected.contains("not worse") && contrast.value("not_worse", false);
        const bool as_said = expected.contains(verdict) || not_worse;
        const bool open = !as_said && verdict == "undecided";
        const std::string cheap =
            fmt::format("shown to cost less than {:g} points", 100 * contrast.value("margin", kMargin));
        const std::string more = fmt::format("more {}s", text_of(contrast["unit"]));
        Json one = part(as_said ? kHolds
                        : open  ? kUndecided
                                : kContradicted,
                        contrast_words(contrast, not_worse && verdict != "lower" ? cheap : verdict), open ? more : "");
        if (open && contrast["units_to_settle"].is_number() && contrast["units_to_settle"] > 0) {
          const std::int64_t units = rounded_up(contrast["units_to_settle"]);
          one["settles"] = fmt::format("about {}", counted(units, text_of(contrast["unit"])));
          one["units"] = units;
        }
        one["finding"] = finding["id"];
        for (const char* member : {"what", "against", "measure", "place"}) one[member] = contrast[member];
        parts.push_back(std::move(one));
      }
    }
    return parts;
  };
}

// --- figures with an interval ----------------------------------------------------------------------------------------

Question above(double bound, std::string unit, Quantities figures) {
  return [bound, unit = std::move(unit), figures = std::move(figures)](const Json& result) {
    std::vector<Json> parts;
    for (const Quantity& f : figures(result)) {
      if (!std::isfinite(f.mean)) continue;
      const char* answer = f.low > bound && !f.at_most      ? kHolds
                           : f.high <= bound && !f.at_least ? kContradicted
                                                            : kUndecided;
      const bool ended = f.at_most || f.at_least;
      const std::string number = f.low < f.high || !ended
                                     ? fmt::format("{:.3g} [{:.3g}, {:.3g}]", f.mean, f.low, f.high)
                                     : fmt::format("{:.3g}", f.mean);
      const char* end = f.at_most && f.at_least ? "about " : f.at_most ? "at most " : f.at_least ? "at least " : "";
      parts.push_back(part(answer, fmt::format("{}: {}{} {}", f.name, end, number, unit),
                           answer != kUndecided ? ""
                           : ended              ? "a curve over more sizes"
                                                : "more seeds"));
    }
    return parts;
  };
}

Quantities of_summary(std::string model, std::string measure) {
  return [=](const Json& result) {
    std::vector<Quantity> list;
    const Json sizes = result.value("/options/sizes"_json_pointer, Json::array());
    for (const Json& series : result.value("summary", Json::array())) {
      const Json& params = series["params"];
      if (params["model"] != model || params["noise"] != 0.0 || !series.contains(measure)) continue;
      if (sizes.empty() || params["n"] != sizes[0]) continue;
      const Json& s = series[measure];
      list.push_back({model, number_of(s["mean"]), number_of(s["low"]), number_of(s["high"])});
    }
    return list;
  };
}

Quantities disagreements() {
  return [](const Json& result) {
    std::vector<Quantity> list;
    for (const Json& one : result.value("disagreement", Json::array())) {
      list.push_back({text_of(one["model"]), 100 * number_of(one["mean"]), 100 * number_of(one["low"]),
                      100 * number_of(one["high"])});
    }
    return list;
  };
}

Quantities data_factors(std::string model) {
  return [=](const Json& result) {
    std::vector<Quantity> worlds, seeds;
    const Json all = result.value("equivalents", Json::array());
    for (const Json& e : all) {
      if (!fits(model, text_of(e["model"])) || e["measure"] != "grid_error" || e["n"] != all[0]["n"]) continue;
      const double n = e["n"];
      auto& list = e.value("unit", "seed") == "world" ? worlds : seeds;
      list.push_back({text_of(e["model"]), number_of(e["knn_points"]) / n, number_of(e["low"]) / n,
                      number_of(e["high"]) / n, e.value("seeds_before_curve", 0) > 0,
                      e.value("seeds_beyond_curve", 0) > 0});
    }
    return worlds.empty() ? seeds : worlds;
  };
}

// --- laws ------------------------------------------------------------------------------------------------------------

Question laws(std::string model, std::string measure, std::set<std::string> expected) {
  return [=](const Json& result) {
    std::vector<Json> parts;
    for (const Json& law : result.value("laws", Json::array())) {
      const Json& params = law["params"];
      if (!fits(model, text_of(params["model"])) || !fits(measure, text_of(law["measure"]))) continue;
      if (params["noise"] != 0.0 || params["keep"] != "all") continue;
      const std::string verdict = law["law"]["verdict"], error = law["measure"];
      const bool open = verdict == "undecided";
      parts.push_back(part(expected.contains(verdict) ? kHolds
                           : open                     ? kUndecided
                                                      : kContradicted,
                           fmt::format("{} ({}): {}", text_of(params["model"]), error.substr(0, error.find("_error")),
                                       text_of(law["text"])),
                           open ? "more sizes and seeds" : ""));
    }
    return parts;
  };
}

// --- of single studies -----------------------------------------------------------------------------------------------

Quantities rows_worth() {
  return [](const Json& result) {
    std::vector<Quantity> list;
    Json largest;
    for (const Json& one : result.value("worth", Json::array())) {
      if (largest.is_null() || one["n"] > largest) largest = one["n"];
    }
    for (const Json& one : result.value("worth", Json::array())) {
      if (one["n"] != largest || one["measure"] != "grid_error") continue;
      const double kept = number_of(one["kept"]);
      list.push_back({fmt::format("{} {} %, equal {}", text_of(one["choice"]), 100 * number_of(one["fraction"]),
                                  text_of(one["budget"])),
                      number_of(one["rows"]) / kept, number_of(one["low"]) / kept, number_of(one["high"]) / kept,
                      one.value("seeds_before_curve", 0) > 0, one.value("seeds_beyond_curve", 0) > 0});
    }
    return list;
  };
}

Quantities purities() {
  return [](const Json& result) {
    std::map<int, Quantity> by_clusters;
    Json largest;
    for (const Json& series : result.value("summary", Json::array())) {
      const Json& params = series["params"];
      if (!series.contains("purity") || params["features"] != "input") continue;
      if (!largest.is_null() && params["n"] < largest) continue;
      if (!largest.is_null() && params["n"] > largest) by_clusters.clear();
      largest = params["n"];
      const Json& s = series["purity"];
      const int clusters = params["clusters"];
      by_clusters[clusters] = {counted(clusters, "cluster"), 100 * number_of(s["mean"]), 100 * number_of(s["low"]),
                               100 * number_of(s["high"])};
    }
    std::vector<Quantity> list;
    for (const auto& [clusters, one] : by_clusters) list.push_back(one);
    return list;
  };
}

Question steeper_frontiers() {
  return [](const Json& result) {
    std::vector<Json> parts;
    for (const Json& one : result.value("frontier", Json::array())) {
      if (one["score"] == "random") continue;
      const std::string verdict = one["verdict"], measure = one["measure"];
      const bool steeper = verdict == "steeper", open = verdict == "undecided";
      parts.push_back(part(steeper ? kHolds
                           : open  ? kUndecided
                                   : kContradicted,
                           fmt::format("{} ({}): kept^{:.2f} against kept^{:.2f}, {}", text_of(one["score"]),
                                       measure.substr(0, measure.find("_error")), -number_of(one["exponent"]),
                                       -number_of(one["random"]), verdict),
                           open ? "more seeds" : ""));
    }
    return parts;
  };
}

Question hard_from_a_size_on() {
  return [](const Json& result) {
    std::vector<Json> parts;
    for (const Json& one : result.value("crossovers", Json::array())) {
      if (one["keep"] != "hard") continue;
      const std::string lower = one["lower"];
      const std::string where =
          lower == "from" ? fmt::format("from {:.2f} examples per dimension on", number_of(one["alpha_total"])) : lower;
      parts.push_back(part(lower == "from" ? kHolds : kContradicted,
                           fmt::format("the hard {} % beat a random choice of the same size {}",
                                       100 * number_of(one["fraction"]), where)));
    }
    return parts;
  };
}

Question wrong_probe_costs() {
  return [](const Json& result) {
    std::vector<Json> parts;
    for (const Json& row : result.value("rows", Json::array())) {
      if (!row.contains("error_wrong_probe") || row["error"] >= row["error_random"]) continue;
      const double right = row["error"], wrong = row["error_wrong_probe"];
      parts.push_back(part(
          wrong > right ? kHolds : kContradicted,
          fmt::format("{} {} % of {:g} examples per dimension: {:.3f} % in place of {:.3f} %", text_of(row["keep"]),
                      100 * number_of(row["fraction"]), number_of(row["alpha_total"]), 100 * wrong, 100 * right)));
    }
    return parts;
  };
}

namespace {

// By width, an order's error on hard examples after the budget.
std::map<int, Quantity> errors_by_width(const Json& result, const std::string& order) {
  std::map<int, Quantity> list;
  for (const Json& series : result.value("summary", Json::array())) {
    if (series["params"].value("order", "") != order || !series.contains("test_error")) continue;
    const Json& e = series["test_error"];
    const int width = series["params"]["width"];
    list[width] = {fmt::format("{} at width {}", order == "random" ? "a random order" : order, width),
                   number_of(e["mean"]), number_of(e["low"]), number_of(e["high"])};
  }
  return list;
}

// That the first error is lower than the second: by their intervals, which is more than a paired test would ask for.
Json lower_part(const Quantity& first, const Quantity& second) {
  const char* answer = first.high < second.low ? kHolds : first.low > second.high ? kContradicted : kUndecided;
  const auto words = [](const Quantity& f) {
    return fmt::format("{} {} [{}, {}] %", f.name, percent(f.mean), percent(f.low), percent(f.high));
  };
  return part(answer, words(first) + " against " + words(second), answer == kUndecided ? "more seeds" : "");
}

}  // namespace

Question wider_is_better() {
  return [](const Json& result) {
    std::vector<Json> parts;
    const auto random = errors_by_width(result, "random");
    if (random.size() > 1) parts.push_back(lower_part(random.rbegin()->second, random.begin()->second));
    return parts;
  };
}

Quantities time_saved() {
  return [](const Json& result) {
    std::vector<Quantity> list;
    for (const Json& series : result.value("summary", Json::array())) {
      const Json ratio = series.value("time_of_random", Json());
      if (series["params"]["order"] != "curriculum" || !series.value("median_time", Json()).is_number()) continue;
      if (!ratio.is_object() || !ratio["low"].is_number()) continue;
      const auto saved = [&](const char* member) { return 100 * (1 - number_of(ratio[member])); };
      list.push_back({fmt::format("width {}, {} in which both orders come to it", series["params"]["width"].get<int>(),
                                  counted(ratio["seeds"].get<std::int64_t>(), "seed")),
                      saved("mean"), saved("high"), saved("low")});
    }
    return list;
  };
}

Question order_beats_width() {
  return [](const Json& result) {
    std::vector<Json> parts;
    const auto random = errors_by_width(result, "random"), easy_first = errors_by_width(result, "curriculum");
    for (auto own = random.begin(); own != random.end() && std::next(own) != random.end(); ++own) {
      const auto found = easy_first.find(own->first);
      if (found != easy_first.end()) parts.push_back(lower_part(found->second, std::next(own)->second));
    }
    return parts;
  };
}

// --- together --------------------------------------------------------------------------------------------------------

std::string answer_of(const std::vector<Json>& parts) {
  const auto any = [&](const char* answer) {
    return std::any_of(parts.begin(), parts.end(), [&](const Json& one) { return one["answer"] == answer; });
  };
  if (parts.empty()) return kNotTested;
  return any(kContradicted) ? kContradicted : any(kUndecided) ? kUndecided : kHolds;
}

Question any_of(Question question) {
  return [question = std::move(question)](const Json& result) {
    constexpr std::size_t kMostKept = 3;  // as many as a claim shows (claims.cpp)
    const std::vector<Json> all = question(result);
    for (const char* answer : {kHolds, kUndecided, kContradicted}) {
      std::vector<Json> kept;
      for (const Json& one : all) {
        if (one["answer"] == answer) kept.push_back(one);
      }
      if (kept.size() > kMostKept) kept.resize(kMostKept);
      if (!kept.empty()) return kept;
    }
    return std::vector<Json>();
  };
}

}  // namespace scalelab::host
