#include "host/evidence/seed_errors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "host/program/words.h"

namespace scalelab::host {

namespace {

// a minus b over the seeds that both have and none of `without` names.
Paired difference(const SeedErrors& a, const SeedErrors& b, const std::set<std::uint64_t>& without) {
  std::vector<double> left, right;
  for (const auto& [seed, error] : a.by_seed) {
    const auto found = b.by_seed.find(seed);
    if (found == b.by_seed.end() || without.contains(seed)) continue;
    left.push_back(error);
    right.push_back(found->second);
  }
  return paired_fractions(left, right);
}

}  // namespace

void SeedErrors::add(const SweepRow& row, const std::string& measure) {
  fractions = measure.ends_with("_error");
  const auto value = row.measurement.values.find(measure);
  if (row.measurement.failed() || value == row.measurement.values.end() || !std::isfinite(value->second)) {
    ++missing;
    return;
  }
  by_seed[row.trial.seed] = value->second;
  if (row.measurement.status == "collapsed") collapsed.insert(row.trial.seed);
  if (row.measurement.status == "diverged") diverged.insert(row.trial.seed);
}

Summary SeedErrors::summary() const {
  std::vector<double> values;
  for (const auto& [seed, error] : by_seed) values.push_back(error);
  return fractions ? summarize_fractions(values) : summarize(values);
}

Paired SeedErrors::minus(const SeedErrors& other) const { return difference(*this, other, {}); }

Paired SeedErrors::minus_where_both_trained(const SeedErrors& other) const {
  std::set<std::uint64_t> failed;
  for (const auto* seeds : {&collapsed, &diverged, &other.collapsed, &other.diverged}) {
    failed.insert(seeds->begin(), seeds->end());
  }
  return difference(*this, other, failed);
}

std::string SeedErrors::worded() const {
  std::vector<std::string> beside;
  if (!collapsed.empty()) beside.push_back(fmt::format("{} collapsed", collapsed.size()));
  if (!diverged.empty()) beside.push_back(fmt::format("{} diverged", diverged.size()));
  if (missing > 0) beside.push_back(fmt::format("{} missing", missing));
  return host::worded(summary()) + (beside.empty() ? "" : " (" + fmt::format("{}", fmt::join(beside, ", ")) + ")");
}

SeedErrors seed_errors(const std::vector<SweepRow>& rows, const std::string& measure,
                       const std::function<bool(const Trial&)>& wanted) {
  SeedErrors errors;
  for (const SweepRow& row : rows) {
    if (wanted(row.trial)) errors.add(row, measure);
  }
  return errors;
}

SeedErrors seed_errors(const std::vector<SweepRow>& rows, const std::string& measure, const Trial& key) {
  Trial own = key;
  return seed_errors(rows, measure, [&](const Trial& trial) {
    own.seed = trial.seed;
    return trial == own;
  });
}

std::vector<std::string> error_measures(const std::string& data) {
  if (data == "spiral") return {"density_error", "grid_error"};
  return {"test_error"};
}

std::string short_measure(const std::string& measure) { return measure.substr(0, measure.find('_')); }

std::string density_words(std::int64_t density_points) {
  if (density_points == 0) {
    return "the same with each cell weighted by the share of the mixture's points that fall on it, which is computed "
           "and not drawn";
  }
  return fmt::format("the share of {} fresh draws from the mixture, one fixed set for all models",
                     grouped(density_points));
}

const char* verdict_word(int verdict) { return verdict < 0 ? "lower" : verdict > 0 ? "higher" : "undecided"; }
const char* verdict_word(const Paired& difference) { return verdict_word(difference.verdict()); }

std::string worded(const Paired& difference) {
  if (difference.n == 0) return "-";
  std::string text = signed_points(difference.mean);
  if (difference.n > 1) {
    text += fmt::format(" [{}, {}]", signed_points(difference.interval.low), signed_points(difference.interval.high));
  }
  return text;
}

std::string worded(const Summary& errors) {
  if (errors.n == 0) return "-";
  std::string text = percent(errors.mean);
  if (errors.n > 1) text += fmt::format(" [{}, {}]", percent(errors.interval.low), percent(errors.interval.high));
  return text;
}

bool Contrast::depends_on_failed() const { return difference.verdict() != trained.verdict(); }

std::string Contrast::worded() const {
  std::string text = host::worded(difference);
  if (difference.n == 0) return text;
  text += fmt::format(" {}", verdict());
  if (depends_on_failed()) {
    text += fmt::format("; {} without {} that failed to train", verdict_word(trained),
                        counted(difference.n - trained.n, "seed"));
  }
  return text;
}

Contrast contrast(const std::string& what, const SeedErrors& a, const std::string& against, const SeedErrors& b,
                  const std::string& measure, nlohmann::json place) {
  return {what,
          against,
          measure,
          std::move(place),
          a.minus(b),
          a.minus_where_both_trained(b),
          a.summary().mean,
          b.summary().mean};
}

void Verdicts::add(const std::string& place, const Paired& difference) {
  if (difference.n == 0) return;
  const int verdict = difference.verdict();
  (verdict < 0 ? lower_ : verdict > 0 ? higher_ : undecided_).push_back(place);
}

void Verdicts::add(const std::string& place, const Contrast& contrast) {
  add(place, contrast.difference);
  if (contrast.difference.n > 0 && contrast.depends_on_failed()) {
    depending_.push_back(fmt::format("{} ({} without them)", place, verdict_word(contrast.trained)));
  }
}

std::string Verdicts::worded(const char* lower, const char* undecided, const char* higher) const {
  std::string text;
  const auto append = [&](const std::vector<std::string>& places, const char* words) {
    if (!places.empty()) text += fmt::format("{}{} {}", text.empty() ? "" : "; ", words, listed(places));
  };
  append(lower_, lower);
  append(undecided_, undecided);
  append(higher_, higher);
  return text;
}

std::string Verdicts::dependence() const {
  if (depending_.empty()) return "";
  return "The verdict depends on networks that failed to train, which count with the error they have: at " +
         listed(depending_) + ".";
}

nlohmann::json to_json(const Summary& s) {
  return {{"mean", number(s.mean)},
          {"low", number(s.interval.low)},
          {"high", number(s.interval.high)},
          {"sd", number(s.sd)},
          {"standard_error", number(s.standard_error)},
          {"n", s.n}};
}

nlohmann::json to_json(const SeedErrors& errors) {
  nlohmann::json document = to_json(errors.summary());
  document.erase("n");
  auto &seeds = document["seeds"] = nlohmann::json::array(), &values = document["values"] = nlohmann::json::array();
  for (const auto& [seed, error] : errors.by_seed) {
    seeds.push_back(seed);
    values.push_back(error);
  }
  document["collapsed"] = errors.collapsed.size();
  document["diverged"] = errors.diverged.size();
  document["missing"] = errors.missing;
  return document;
}

nlohmann::json to_json(const Paired& difference) {
  return {{"mean", number(difference.mean)},
          {"low", number(difference.interval.low)},
          {"high", number(difference.interval.high)},
          {"sd", number(difference.sd)},
          {"seeds", difference.n},
          {"seeds_lower", difference.below},
          {"verdict", verdict_word(difference)}};
}

nlohmann::json to_json(const Contrast& c) {
  nlohmann::json document = to_json(c.difference);
  document["what"] = c.what;
  document["against"] = c.against;
  document["measure"] = c.measure;
  document["place"] = c.place;
  document["mean_what"] = number(c.mean_what);
  document["mean_against"] = number(c.mean_against);
  if (c.trained.n != c.difference.n) {
    document["without_failed"] = to_json(c.trained);
    document["depends_on_failed"] = c.depends_on_failed();
  }
  return document;
}

}  // namespace scalelab::host
