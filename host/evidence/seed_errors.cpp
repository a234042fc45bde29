#include "host/evidence/seed_errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/studies/compare.h"

namespace scalelab::host {

namespace {

std::vector<double> values_of(const SeedErrors& errors) {
  std::vector<double> values;
  for (const auto& [seed, error] : errors.by_seed) values.push_back(error);
  return values;
}

nlohmann::json number(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(); }

}  // namespace

Summary SeedErrors::summary() const { return summarize(values_of(*this)); }

Paired SeedErrors::minus(const SeedErrors& other) const {
  std::vector<double> a, b;
  for (const auto& [seed, error] : by_seed) {
    const auto found = other.by_seed.find(seed);
    if (found == other.by_seed.end()) continue;
    a.push_back(error);
    b.push_back(found->second);
  }
  return paired(a, b);
}

std::string SeedErrors::worded() const {
  const Summary s = summary();
  std::string text = percent(s.mean);
  if (s.n > 1) text += fmt::format(" +- {}", percent(s.standard_error));
  if (collapsed > 0) text += fmt::format(" ({} collapsed)", collapsed);
  if (diverged + failed > 0) text += fmt::format(" ({} missing)", diverged + failed);
  return text;
}

SeedErrors seed_errors(const SweepResult& result, const std::string& measure,
                       const std::function<bool(const Trial&)>& wanted) {
  SeedErrors errors;
  for (const SweepRow& row : result.rows) {
    if (!wanted(row.trial)) continue;
    const auto value = row.measurement.values.find(measure);
    const bool known = value != row.measurement.values.end() && std::isfinite(value->second);
    if (row.measurement.status == "diverged") {
      ++errors.diverged;
    } else if (row.measurement.failed() || !known) {
      ++errors.failed;
    } else {
      errors.by_seed[row.trial.seed] = value->second;
      errors.collapsed += row.measurement.status == "collapsed";
    }
  }
  return errors;
}

std::vector<std::string> error_measures(const std::string& data) {
  if (data == "spiral") return {"density_error", "grid_error"};
  return {"test_error"};
}

std::string worded(const Paired& difference) {
  if (difference.n == 0) return "-";
  std::string text = fmt::format("{:+.2f}", 100 * difference.mean);
  if (difference.n > 1) {
    text += fmt::format(" [{:+.2f}, {:+.2f}]", 100 * difference.interval.low, 100 * difference.interval.high);
  }
  return text;
}

void Verdicts::add(const std::string& place, const Paired& difference) {
  const int verdict = difference.verdict();
  (verdict < 0 ? lower_ : verdict > 0 ? higher_ : open_).push_back(place);
}

std::string Verdicts::worded() const {
  std::string text;
  const auto append = [&](const std::vector<std::string>& places, const char* word) {
    if (places.empty()) return;
    text += fmt::format("{}{} at ", text.empty() ? "" : "; ", word);
    for (std::size_t i = 0; i < places.size(); ++i) {
      text += (i == 0 ? "" : i + 1 == places.size() ? " and " : ", ") + places[i];
    }
  };
  append(lower_, "lower");
  append(open_, "open");
  append(higher_, "higher");
  return text;
}

std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) text += fmt::format("{}{:>{}}", c == 0 ? "" : "  ", row[c], widths[c]);
    text += '\n';
  }
  return text;
}

nlohmann::json to_json(const SeedErrors& errors) {
  const Summary s = errors.summary();
  nlohmann::json seeds = nlohmann::json::array(), values = nlohmann::json::array();
  for (const auto& [seed, error] : errors.by_seed) {
    seeds.push_back(seed);
    values.push_back(error);
  }
  return {{"mean", number(s.mean)},
          {"standard_error", number(s.standard_error)},
          {"sd", number(s.sd)},
          {"seeds", seeds},
          {"values", values},
          {"collapsed", errors.collapsed},
          {"diverged", errors.diverged},
          {"failed", errors.failed}};
}

nlohmann::json to_json(const Paired& difference) {
  return {{"mean", number(difference.mean)},
          {"low", number(difference.interval.low)},
          {"high", number(difference.interval.high)},
          {"seeds", difference.n},
          {"verdict", difference.verdict()}};
}

Outcome finish_study(const std::string& file, const SweepOptions& options, const SweepResult& result,
                     nlohmann::json document, std::string text) {
  for (const SweepRow& row : result.rows) {
    if (!row.measurement.failed()) continue;
    text += fmt::format("{} trials failed; --retry failed runs them again. The first: {}\n", result.failed,
                        row.measurement.status);
    break;
  }
  if (!result.complete()) {
    text +=
        fmt::format("{} of {} trials are done; the other shards have the rest.\n", result.rows.size(), result.planned);
  }
  write_file(options.out / file, json_text(document));
  text += fmt::format("Every row: {}\n", (options.out / file).string());
  return {std::move(document), std::move(text), result.failed > 0 ? kSomeFailed : kDone};
}

}  // namespace scalelab::host
