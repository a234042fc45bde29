#include "host/evidence/series.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "host/evidence/finding.h"
#include "host/program/words.h"

namespace scalelab::host {

namespace {

constexpr const char* kErrors[] = {"grid_error", "density_error", "test_error"};
// Sizes of a law: fewer leave nothing to hold out.
constexpr std::size_t kFewestSizes = 4;
// Members whose 0 says that they do not apply.
const std::set<std::string> kMayBeAbsent = {"width",    "hidden_layers", "epochs",        "dimension",
                                            "clusters", "grid",          "density_points"};
// Where an error is measured, not what is measured: named only where nothing else tells two curves apart.
const std::set<std::string> kOfTheTest = {"grid", "density_points"};
// What tells the trials of one series apart.
const std::set<std::string> kOfTheDraw = {"world", "seed", "start"};
// The members that say how rows are chosen, and how they are scored.
const std::set<std::string> kScored = {"score", "clusters", "features", "class_floor", "probe_angle"};

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool absent(const std::string& member, const nlohmann::json& value) {
  return value.is_null() || (value.is_number() && value.get<double>() == 0 && kMayBeAbsent.contains(member));
}

// The trial without the members named: equal for what differs in those alone.
std::string key_without(const Trial& trial, const std::set<std::string>& members) {
  nlohmann::json object = to_json(trial);
  for (const auto& member : members) object.erase(member);
  return object.dump();
}

bool is_control(const Trial& trial, const std::vector<std::string>& varying) {
  return (has(varying, "keep") && trial.keep == "random") ||
         (has(varying, "order") && (trial.order == "random" || trial.order == "shuffled")) ||
         (has(varying, "ticket") && trial.ticket == "random-mask");
}

// The member along x: the first that varies of these.
std::string axis_of(const std::vector<std::string>& varying) {
  for (const char* member :
       {"n", "width", "fraction", "level", "clusters", "noise", "epochs", "hidden_layers", "probe_angle", "dimension",
        "learning_rate", "batch_size", "weight_decay", "focal_gamma"}) {
    if (has(varying, member)) return member;
  }
  return "";
}

// Whether a size was trained for several numbers of epochs, all else equal: then epochs tell curves apart.
bool epochs_tell_apart(const std::vector<Series>& list) {
  std::set<std::string> seen;
  return !std::all_of(list.begin(), list.end(),
                      [&](const Series& s) { return seen.insert(key_without(s.trial, {"epochs"})).second; });
}

CurveLaw law_of(const Curve& curve, const std::string& error, const Curves& curves) {
  std::vector<LawPoint> all, trained;
  std::size_t failed = 0;
  for (const auto& [member, point] : curve.points) {
    const SeedErrors& errors = point.series->of(error);
    for (const auto& [unit, value] : errors.by_unit()) all.push_back({point.x, unit, value});
    for (const auto& [unit, value] : errors.without_failed().by_unit()) trained.push_back({point.x, unit, value});
    failed += errors.failed().size();
  }
  CurveLaw law{fit_law(all, curves.seed), curves.kept ? "kept" : "n"};
  law.failed = static_cast<int>(failed);
  if (law.failed > 0) law.trained = fit_law(trained, curves.seed);
  return law;
}

void fit_laws_of(Curve& curve, const Curves& curves) {
  for (const auto& error : curves.errors) {
    std::size_t sizes = 0;
    for (const auto& [member, point] : curve.points) sizes += point.series->of(error).summary().mean > 0;
    if (sizes < kFewestSizes) continue;
    CurveLaw law = law_of(curve, error, curves);
    if (law.fit() != nullptr && law.law.sizes.size() >= kFewestSizes) curve.laws.emplace(error, std::move(law));
  }
}

// Names from the members that tell curves apart; those of the test only where names would be the same without.
void name_curves(Curves& curves) {
  std::vector<std::string> plain;
  for (const auto& member : curves.others) {
    if (!kOfTheTest.contains(member)) plain.push_back(member);
  }
  std::map<std::string, int> uses;
  for (Curve& curve : curves.curves) ++uses[curve.name = series_name(curve.trial, plain, curves.x)];
  for (Curve& curve : curves.curves) {
    if (uses[curve.name] > 1) curve.name = series_name(curve.trial, curves.others, curves.x);
    // What only differs from the others by having none of something: "no noise".
    if (curve.name.empty() && curves.curves.size() > 1) curve.name = fmt::format("no {}", fmt::join(plain, " and no "));
  }
}

}  // namespace

const SeedErrors& Series::of(const std::string& measure) const {
  static const SeedErrors kNone;
  const auto found = measured.find(measure);
  return found == measured.end() ? kNone : found->second;
}

double Series::kept() const {
  const SeedErrors& kept = of("kept");
  return kept.empty() ? static_cast<double>(trial.n) : kept.summary().mean;
}

std::vector<Series> series_of(const std::vector<SweepRow>& rows) {
  std::set<std::string> measures;
  for (const SweepRow& row : rows) {
    for (const auto& [name, value] : row.measurement.values) measures.insert(name);
  }
  std::vector<Series> list;
  std::map<std::string, std::size_t> numbers;
  for (const SweepRow& row : rows) {
    const auto [found, added] = numbers.try_emplace(key_without(row.trial, kOfTheDraw), list.size());
    if (added) {
      list.push_back({row.trial, {}});
      list.back().trial.world = list.back().trial.seed = list.back().trial.start = 0;
    }
    Series& series = list[found->second];
    for (const auto& measure : measures) {
      // What a kind of trial does not measure (a spiral's test error) is not missing; a trial that failed is.
      if (row.measurement.failed() || row.measurement.values.contains(measure))
        series.measured[measure].add(row, measure);
    }
  }
  return list;
}

std::vector<std::string> varying_members(const std::vector<Series>& list) {
  std::set<std::string> given;  // how a network trains counts only where a trial says it
  for (const Series& series : list) {
    const nlohmann::json members = to_json(series.trial);
    for (const auto& [name, value] : members.items()) given.insert(name);
  }
  std::map<std::string, std::set<std::string>> seen;
  for (const Series& series : list) {
    const nlohmann::json members = to_json(series.trial);
    for (const std::string& name : given) {
      const auto found = members.find(name);
      const nlohmann::json value = found != members.end() ? *found : member_value(series.trial, name);
      if (!absent(name, value)) seen[name].insert(value.dump());
    }
  }
  std::vector<std::string> names;
  for (const std::string& name : member_names()) {
    if (seen[name].size() > 1 && name != "fingerprint") names.push_back(name);
  }
  return names;
}

std::string choice_name(const Trial& trial, const std::string& axis) {
  if (trial.keep != "hard" && trial.keep != "easy") return trial.keep;
  std::string name = trial.score;
  if (trial.clusters > 0 && axis != "clusters") name += fmt::format("({})", trial.clusters);
  if (trial.features != "input") name += " " + trial.features;
  if (trial.class_floor != kClassFloor) name += fmt::format(" floor {:g}", trial.class_floor);
  if (trial.data == "perceptron" && axis != "probe_angle") name += fmt::format(" {:g} deg", trial.probe_angle);
  return name + " " + trial.keep;
}

std::string share_name(const Trial& trial) {
  return trial.fraction == kByRule ? "by rule" : fmt::format("{:g} %", 100 * trial.fraction);
}

std::string series_name(const Trial& trial, const std::vector<std::string>& members, const std::string& axis) {
  static const std::set<std::string> kOfTheChoice = {"keep",     "score",       "fraction",   "clusters",
                                                     "features", "class_floor", "probe_angle"};
  std::vector<std::string> parts;
  bool chosen = false;
  for (const auto& member : members) {
    const nlohmann::json value = member_value(trial, member);
    chosen = chosen || kOfTheChoice.contains(member);
    if (kOfTheChoice.contains(member) || absent(member, value)) continue;
    if (member == "noise") {
      if (trial.noise > 0) parts.push_back(fmt::format("{:g} % label noise", 100 * trial.noise));
    } else {
      const bool plain = member == "model" || member == "ticket" || member == "order" || member == "data";
      parts.push_back((plain ? "" : member + " ") + text_of(value));
    }
  }
  if (chosen) {
    parts.push_back(choice_name(trial, axis));
    if (trial.keep != "all" && axis != "fraction") parts.back() += " " + share_name(trial);
  }
  return fmt::to_string(fmt::join(parts, ", "));
}

std::string member_text(const Trial& trial, const std::string& member) {
  if (member == "fraction" && trial.fraction == kByRule) return "rule";
  if (member == "class_floor" && trial.keep != "hard" && trial.keep != "easy") return "-";
  const nlohmann::json value = member_value(trial, member);
  return absent(member, value) || (member == "score" && trial.score == "none") ? "-" : text_of(value);
}

const LawFit* CurveLaw::fit() const {
  const LawFit* power = nullptr;
  for (const LawFit& one : law.fits) {
    if (law_name(one.curve.form) == law.verdict) return &one;
    if (one.curve.form == LawForm::power) power = &one;
  }
  return power;
}

std::string CurveLaw::worded() const {
  std::string text = host::worded(law, along);
  if (failed > 0) text += fmt::format("; counting {} that failed to train", counted(failed, "network"));
  if (trained && trained->verdict != law.verdict) text += fmt::format(" ({} without)", trained->verdict);
  return text;
}

const Series* Curve::at(double member) const {
  const auto found = points.find(member);
  return found == points.end() ? nullptr : found->second.series;
}

const Series* Curves::control_of(const Series& held) const {
  if (is_control(held.trial, varying)) return nullptr;
  std::set<std::string> free;
  if (has(varying, "keep")) {
    free = kScored;
    free.insert("keep");
  } else if (has(varying, "order")) {
    free = kScored;
    free.insert("order");
  } else if (has(varying, "ticket")) {
    free = {"ticket"};
  }
  if (free.empty()) return nullptr;
  const std::string key = key_without(held.trial, free);
  const Series* found = nullptr;
  for (const Series& one : series) {
    if (!is_control(one.trial, varying) || key_without(one.trial, free) != key) continue;
    if (found == nullptr || one.trial.order == "random") found = &one;
  }
  return found;
}

std::vector<Contrast> Curves::against_controls(const std::string& error) const {
  std::vector<Contrast> list;
  for (std::size_t i = 0; i < curves.size(); ++i) {
    for (const auto& [member, point] : curves[i].points) {
      const Series* control = control_of(*point.series);
      if (control == nullptr) continue;
      nlohmann::json where = {{x, member}, {"series", i}};
      const Trial& trial = point.series->trial;
      if (trial.keep != "all") {
        where["fraction"] = trial.fraction == kByRule ? nlohmann::json("rule") : nlohmann::json(trial.fraction);
      }
      list.push_back(contrast(curves[i].name, point.series->of(error), series_name(control->trial, others, x),
                              control->of(error), error, std::move(where)));
      if (list.back().difference.n == 0) list.pop_back();
    }
  }
  judge(list, [](const Contrast& c) { return c.place.at("series").dump(); });
  return list;
}

std::string Curves::place(double member) const {
  if (x == "fraction" && member == kByRule) return "by rule";
  return x == "n" ? grouped(std::llround(member)) : fmt::format("{:g}", member);
}

std::string Curves::axis() const {
  static const std::map<std::string, std::string> kTitles = {{"n", "n"},
                                                             {"fraction", "fraction kept"},
                                                             {"level", "rounds of pruning"},
                                                             {"clusters", "clusters k of the score"},
                                                             {"noise", "label noise"},
                                                             {"hidden_layers", "hidden layers"},
                                                             {"probe_angle", "degrees between probe and teacher"},
                                                             {"dimension", "dimensions"},
                                                             {"learning_rate", "learning rate"},
                                                             {"batch_size", "rows of a batch"},
                                                             {"weight_decay", "weight decay"},
                                                             {"focal_gamma", "gamma of the focal loss"}};
  if (kept) return "rows kept";
  const auto title = kTitles.find(x);
  return title == kTitles.end() ? x : title->second;
}

Curves curves_of(const std::vector<SweepRow>& rows, std::uint64_t seed) {
  Curves all;
  all.seed = seed;
  all.series = series_of(rows);
  all.varying = varying_members(all.series);
  all.x = axis_of(all.varying);
  all.kept = all.x == "n" && has(all.varying, "fraction");
  for (const char* error : kErrors) {
    const auto measured = [&](const Series& s) { return !s.of(error).empty(); };
    if (std::any_of(all.series.begin(), all.series.end(), measured)) all.errors.push_back(error);
  }
  // Along n the epochs follow from the samples, unless a size has several; a score that only orders rows follows from
  // the order.
  std::set<std::string> along = {all.x};
  if (all.x == "n" && !epochs_tell_apart(all.series)) along.insert("epochs");
  for (const auto& name : all.varying) {
    if (along.contains(name)) continue;
    if (has(all.varying, "order") && !has(all.varying, "keep") && kScored.contains(name)) continue;
    all.others.push_back(name);
  }
  if (all.x.empty()) return all;
  std::map<std::string, std::size_t> numbers;
  for (const Series& series : all.series) {
    const auto [found, added] = numbers.try_emplace(key_without(series.trial, along), all.curves.size());
    if (added) all.curves.push_back({series.trial, "", is_control(series.trial, all.varying), {}, {}});
    const nlohmann::json value = member_value(series.trial, all.x);
    const double member = value.is_null() ? 0 : value.get<double>();
    all.curves[found->second].points[member] = {all.kept ? series.kept() : member, &series};
  }
  name_curves(all);
  if (all.x == "n") {
    for (Curve& curve : all.curves) fit_laws_of(curve, all);
  }
  return all;
}

nlohmann::json summary_json(const Curves& curves) {
  nlohmann::json list = nlohmann::json::array();
  for (const Series& series : curves.series) {
    nlohmann::json params = to_json(series.trial);
    for (const auto& member : kOfTheDraw) params.erase(member);
    if (series.trial.fraction == kByRule) params["fraction"] = "rule";
    nlohmann::json entry = {{"params", params}};
    for (const auto& [measure, errors] : series.measured) {
      entry[measure] = to_json(errors);
      if (!measure.ends_with("_error")) continue;
      const bool drawn = measure == "density_error";
      const VarianceSources sources = variance_sources(errors, drawn ? series.trial.density_points : 0);
      entry[measure]["variance"] = {{"world", number(sources.world)},
                                    {"data", number(sources.data)},
                                    {"start", number(sources.start)},
                                    {"test", number(sources.test)}};
    }
    list.push_back(std::move(entry));
  }
  return list;
}

nlohmann::json laws_json(const Curves& curves) {
  nlohmann::json list = nlohmann::json::array();
  for (const Curve& curve : curves.curves) {
    nlohmann::json params = to_json(curve.trial);
    for (const char* name : {"n", "world", "seed", "start", "epochs"}) params.erase(name);
    if (curve.trial.fraction == kByRule) params["fraction"] = "rule";
    for (const auto& [measure, law] : curve.laws) {
      list.push_back({{"series", curve.name},
                      {"params", params},
                      {"measure", measure},
                      {"along", law.along},
                      {"law", to_json(law.law)},
                      {"failed_to_train", law.failed},
                      {"verdict_without_failed", law.trained ? nlohmann::json(law.trained->verdict) : nullptr},
                      {"text", law.worded()}});
    }
  }
  return list;
}

}  // namespace scalelab::host
