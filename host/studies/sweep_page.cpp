// The page of a sweep: errors over N (or what else varies) on logarithmic axes, laws, maps of what two members do.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "host/evidence/law.h"
#include "host/evidence/statistics.h"
#include "host/lab/sweep.h"
#include "host/lab/trial.h"
#include "host/program/words.h"
#include "host/studies/story.h"

namespace scalelab::host {

namespace {

constexpr const char* kErrors[] = {"grid_error", "density_error", "test_error"};
// More laws than these would hide a chart's points, or be a list nobody reads; the table has them all.
constexpr std::size_t kMostLaws = 5;

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// What the others are held against, where the choice, the order or the mask varies.
bool is_control(const Trial& trial, const std::vector<std::string>& varying) {
  return (has(varying, "keep") && trial.keep == "random") || (has(varying, "score") && trial.score == "random") ||
         (has(varying, "order") && (trial.order == "random" || trial.order == "shuffled")) ||
         (has(varying, "ticket") && trial.ticket == "random-mask");
}

// The series of one line, in order of x.
struct Strand {
  std::string name;
  bool control = false;
  std::map<double, const Series*> points;

  std::vector<double> errors(double x, const std::string& error) const {
    const auto found = points.at(x)->values.find(error);
    return found == points.at(x)->values.end() ? std::vector<double>{} : found->second;
  }
};

struct Layout {
  std::string x;  // a member of Trial; empty: nothing numeric varies
  Axis axis;
  std::vector<std::string> others;  // what tells lines apart
  std::vector<Strand> strands;

  // The first control that was measured at x.
  const Series* control_at(double x) const {
    for (const Strand& strand : strands) {
      if (strand.control && strand.points.contains(x)) return strand.points.at(x);
    }
    return nullptr;
  }
};

double x_of(const Series& series, const std::string& member, bool kept) {
  if (kept) {
    const auto found = series.values.find("kept");
    if (found != series.values.end() && !found->second.empty()) return found->second.front();
  }
  return to_json(series.trial).at(member).get<double>();
}

// "mlp-polar, width 64"; of a choice of rows "hard kmeans(100) 20 %", or "random" whatever the fraction.
std::string name_of(const Trial& trial, const std::vector<std::string>& others) {
  static const std::set<std::string> kChoice = {"keep", "score", "fraction", "clusters", "features"};
  const nlohmann::json members = to_json(trial);
  std::vector<std::string> parts;
  for (const auto& member : others) {
    if (kChoice.contains(member)) continue;
    parts.push_back((member == "model" || member == "ticket" || member == "order" ? "" : member + " ") +
                    text_of(members.at(member)));
  }
  if (has(others, "keep") || has(others, "score")) {
    const bool chosen = trial.keep == "hard" || trial.keep == "easy";
    std::string choice = trial.keep;
    if (chosen && has(others, "score")) choice += " " + trial.score;
    if (chosen && has(others, "clusters") && trial.clusters > 0) choice += fmt::format("({})", trial.clusters);
    if (chosen && has(others, "features") && trial.features != "input") choice += " " + trial.features;
    if (chosen && has(others, "fraction")) choice += fmt::format(" {:g} %", 100 * trial.fraction);
    parts.push_back(choice);
  } else if (has(others, "fraction")) {
    parts.push_back(fmt::format("{:g} %", 100 * trial.fraction));
  }
  return fmt::to_string(fmt::join(parts, ", "));
}

Layout layout_of(const std::vector<Series>& list) {
  static const std::map<std::string, std::string> kTitles = {{"n", "training points N"},
                                                             {"width", "width"},
                                                             {"fraction", "fraction kept"},
                                                             {"level", "rounds of pruning"},
                                                             {"clusters", "clusters k of the score"},
                                                             {"noise", "label noise"},
                                                             {"epochs", "epochs"},
                                                             {"hidden_layers", "hidden layers"},
                                                             {"probe_angle", "degrees between probe and teacher"},
                                                             {"dimension", "dimensions"}};
  Layout layout;
  std::vector<std::string> varying = varying_members(list);
  for (const char* member : {"n", "width", "fraction", "level", "clusters", "noise", "epochs", "hidden_layers",
                             "probe_angle", "dimension"}) {
    if (layout.x.empty() && has(varying, member)) layout.x = member;
  }
  const bool kept = layout.x == "n" && has(varying, "fraction");
  std::set<double> xs;
  // Along N the epochs follow from the samples; a score that only orders rows follows from the order.
  const std::set<std::string> kOfOrder = {"score", "clusters", "features"};
  for (const auto& name : varying) {
    if (name == layout.x || (name == "epochs" && layout.x == "n")) continue;
    if (has(varying, "order") && !has(varying, "keep") && kOfOrder.contains(name)) continue;
    layout.others.push_back(name);
  }
  if (layout.x.empty()) return layout;
  std::map<std::string, std::size_t> numbers;
  for (const Series& series : list) {
    const std::string name = name_of(series.trial, layout.others);
    const auto [found, added] = numbers.try_emplace(name, layout.strands.size());
    if (added) layout.strands.push_back({name, is_control(series.trial, layout.others), {}});
    const double x = x_of(series, layout.x, kept);
    layout.strands[found->second].points.emplace(x, &series);
    xs.insert(x);
  }
  layout.axis = {.title = kept ? "training points kept" : kTitles.at(layout.x),
                 .short_name = layout.x == "n" ? "N" : kTitles.at(layout.x),
                 .logarithmic = *xs.begin() > 0 && *xs.rbegin() >= 8 * *xs.begin()};
  if (xs.size() <= 24 && !kept) layout.axis.ticks.assign(xs.begin(), xs.end());
  return layout;
}

// The law of a strand, and how it is drawn: the form of its verdict, or the power law where there is no verdict.
struct StrandLaw {
  Law law;
  const LawFit* fit() const {
    const LawFit* power = nullptr;
    for (const LawFit& one : law.fits) {
      if (law_name(one.curve.form) == law.verdict) return &one;
      if (one.curve.form == LawForm::power) power = &one;
    }
    return power;
  }
};

// Nothing below four sizes with errors.
std::optional<StrandLaw> law_of(const Strand& strand, const std::string& error) {
  std::vector<LawPoint> points;
  std::set<double> sizes;
  for (const auto& [x, series] : strand.points) {
    const auto values = strand.errors(x, error);
    for (std::size_t i = 0; i < values.size() && i < series->seeds.size(); ++i) {
      if (std::isfinite(values[i])) points.push_back({x, series->seeds[i], values[i]});
    }
    if (!values.empty() && summarize(values).mean > 0) sizes.insert(x);
  }
  if (sizes.size() < 4) return std::nullopt;
  StrandLaw law{fit_law(points, 0)};
  if (law.fit() == nullptr || law.law.sizes.size() < 4) return std::nullopt;
  return law;
}

// The curve fitted without the largest size, in its bootstrap band over seeds, and what it says at that size.
DrawnLaw drawn(const StrandLaw& strand_law, const Strand& strand, const std::string& error) {
  constexpr int kSteps = 16, kReplicates = 200;
  const Law& law = strand_law.law;
  const LawFit& fit = *strand_law.fit();
  const double last = law.sizes.back();
  // Means over resampled seeds, of the seeds that every size has.
  std::vector<double> sizes(law.sizes.begin(), law.sizes.end() - 1);
  std::vector<std::vector<double>> errors;
  std::size_t seeds = SIZE_MAX;
  for (const double n : sizes) {
    errors.push_back(strand.errors(n, error));
    seeds = std::min(seeds, errors.back().size());
  }
  std::vector<LawCurve> curves;
  bootstrap(
      static_cast<int>(seeds), 0,
      [&](std::span<const int> chosen) {
        std::vector<double> n, mean;
        for (std::size_t i = 0; i < sizes.size(); ++i) {
          double sum = 0;
          for (const int s : chosen) sum += errors[i][static_cast<std::size_t>(s)];
          if (sum <= 0) continue;
          n.push_back(sizes[i]);
          mean.push_back(sum / static_cast<double>(chosen.size()));
        }
        if (static_cast<int>(n.size()) >= law_parameters(fit.blind.form)) {
          curves.push_back(fit_curve(fit.blind.form, n, mean));
        }
        return 0.0;
      },
      kReplicates);
  DrawnLaw result{.text = worded(law)};
  for (int step = 0; step <= kSteps; ++step) {
    const double x = sizes.front() * std::pow(last / sizes.front(), static_cast<double>(step) / kSteps);
    Mark mark{.x = x, .y = fit.blind.at(x), .low = fit.blind.at(x), .high = fit.blind.at(x)};
    std::vector<double> values;
    for (const LawCurve& curve : curves) values.push_back(curve.at(x));
    std::sort(values.begin(), values.end());
    if (values.size() >= 40) {
      const auto at = static_cast<std::size_t>(0.025 * static_cast<double>(values.size()));
      mark.low = values[at];
      mark.high = values[values.size() - 1 - at];
    }
    result.curve.push_back(mark);
  }
  result.predicted =
      Mark{.x = last, .y = fit.predicted, .low = fit.predicted_interval.low, .high = fit.predicted_interval.high};
  return result;
}

// The errors of two series over the seeds that both have.
Paired paired_errors(const Series& a, const Series& b, const std::string& error) {
  std::vector<double> left, right;
  const auto a_values = a.values.find(error), b_values = b.values.find(error);
  if (a_values == a.values.end() || b_values == b.values.end()) return paired({}, {});
  for (std::size_t i = 0; i < a.seeds.size(); ++i) {
    const auto at = std::find(b.seeds.begin(), b.seeds.end(), a.seeds[i]);
    if (at == b.seeds.end() || i >= a_values->second.size()) continue;
    left.push_back(a_values->second[i]);
    right.push_back(b_values->second[static_cast<std::size_t>(at - b.seeds.begin())]);
  }
  return paired(left, right);
}

std::string short_error(const std::string& error) { return error.substr(0, error.find('_')); }

// The names of the lines of a chart, the controls among them: more than these would hide each other. The lowest stay:
// at their largest x, as a share of the control's error there, or where no control is, all at one x.
constexpr std::size_t kMostLines = 8;  // as many as there are colours
std::set<std::string> drawn_strands(const Layout& layout, const std::string& error) {
  double last = -HUGE_VAL;
  for (const Strand& strand : layout.strands) last = std::max(last, strand.points.rbegin()->first);
  std::vector<std::pair<double, std::string>> order;
  std::set<std::string> names;
  for (const Strand& strand : layout.strands) {
    if (strand.control || layout.strands.size() <= kMostLines) {
      names.insert(strand.name);
      continue;
    }
    const double x = strand.points.rbegin()->first;
    const Summary summary = summarize(strand.errors(x, error));
    const Series* control = layout.control_at(x);
    if (summary.n == 0 || (control == nullptr && x < last)) continue;
    const double unit =
        control == nullptr || !control->values.contains(error) ? 1 : summarize(control->values.at(error)).mean;
    order.emplace_back(summary.mean / unit, strand.name);
  }
  std::sort(order.begin(), order.end());
  for (std::size_t i = 0; i < std::min(kMostLines, order.size()); ++i) names.insert(order[i].second);
  return names;
}

using Laws = std::map<std::string, StrandLaw>;  // by the strand's name

Chart chart_of(const Layout& layout, const std::string& error, const std::string& title, bool switched,
               const Laws& all_laws) {
  bool positive = true;
  for (const Strand& strand : layout.strands) {
    for (const auto& [x, series] : strand.points) {
      const auto values = strand.errors(x, error);
      positive = positive && (values.empty() || summarize(values).mean > 0);
    }
  }
  const std::string name = short_error(error);
  const Laws laws = all_laws.size() <= kMostLaws ? all_laws : Laws();
  Chart chart{.id = "error-" + name,
              .title = title,
              .subtitle = fmt::format("{} error against {}. Small dots are single seeds, lines means over seeds.{}",
                                      name, layout.axis.title,
                                      !laws.empty() ? " Dotted, in its 95 % bootstrap band: the law fitted without "
                                                      "the largest size, and the diamond is what it predicts there."
                                                    : ""),
              .x = layout.axis,
              .y = {.title = name + " error", .logarithmic = positive, .percent = true, .zero = !positive},
              .lines = {},
              .measure = switched ? name : ""};
  const std::set<std::string> shown = drawn_strands(layout, error);
  if (shown.size() < layout.strands.size()) {
    chart.subtitle += fmt::format(
        " Drawn are the {} lines of {} that are lowest at their largest {}, and the controls; "
        "all are in the table at the end.",
        kMostLines, layout.strands.size(), layout.axis.short_name);
  }
  chart.subtitle = capitalized(chart.subtitle);
  for (const Strand& strand : layout.strands) {
    if (!shown.contains(strand.name)) continue;
    Line line{.name = strand.name, .control = strand.control};
    for (const auto& [x, series] : strand.points) {
      const auto values = strand.errors(x, error);
      for (std::size_t i = 0; i < values.size(); ++i) {
        line.samples.push_back({.x = x, .y = values[i], .note = fmt::format("seed {}", series->seeds[i])});
      }
      if (values.empty()) continue;
      line.marks.push_back({.x = x, .y = summarize(values).mean, .note = "mean"});
    }
    const auto law = laws.find(strand.name);
    if (law != laws.end()) line.law = drawn(law->second, strand, error);
    chart.lines.push_back(std::move(line));
  }
  return chart;
}

// x across, the one other member down: the difference to the control, or the error itself where there is none.
std::optional<HeatMap> map_of(const Layout& layout, const std::string& error, bool switched) {
  if (layout.others.size() != 1 || layout.strands.size() < 2) return std::nullopt;
  std::set<double> xs;
  const Strand* control = nullptr;
  for (const Strand& strand : layout.strands) {
    for (const auto& [x, series] : strand.points) xs.insert(x);
    if (strand.control && control == nullptr) control = &strand;
  }
  if (xs.size() < 2) return std::nullopt;
  const std::string name = short_error(error);
  HeatMap map{.id = "map-" + name,
              .title = control != nullptr ? fmt::format("Difference to {}", control->name)
                                          : fmt::format("{} by {}", layout.axis.title, layout.others[0]),
              .subtitle = control != nullptr
                              ? fmt::format("{} error minus that of {} at the same place, paired over seeds, in points "
                                            "of per cent; in brackets where the 95 % interval holds zero.",
                                            capitalized(name), control->name)
                              : fmt::format("Mean {} error in per cent; coloured by its logarithm.", name),
              .x_title = layout.axis.title,
              .y_title = layout.others[0],
              .low_text = control != nullptr ? "better" : "lower",
              .high_text = control != nullptr ? "worse" : "higher",
              .measure = switched ? name : ""};
  if (control != nullptr) map.centre = 0;
  for (const double x : xs) map.columns.push_back(layout.x == "n" ? grouped(std::llround(x)) : fmt::format("{:g}", x));
  for (const Strand& strand : layout.strands) {
    if (&strand == control) continue;
    map.rows.push_back(strand.name);
    auto& values = map.values.emplace_back();
    auto& texts = map.texts.emplace_back();
    for (const double x : xs) {
      double value = std::nan("");
      std::string text = "\u2013";
      if (strand.points.contains(x) && control != nullptr && control->points.contains(x)) {
        const Paired p = paired_errors(*strand.points.at(x), *control->points.at(x), error);
        if (p.n > 0) {
          value = p.mean;
          text = fmt::format("{:+.2f}", 100 * p.mean);
          if (p.verdict() == 0) text = "(" + text + ")";
        }
      } else if (strand.points.contains(x) && control == nullptr) {
        const Summary summary = summarize(strand.errors(x, error));
        if (summary.n > 0 && summary.mean > 0) {
          value = std::log(summary.mean);
          text = percent(summary.mean);
        }
      }
      values.push_back(value);
      texts.push_back(text);
    }
  }
  return map;
}

std::optional<Finding> laws_finding(const Layout& layout, const std::string& error, const Laws& laws) {
  Finding f{.id = "laws-" + short_error(error)};
  f.columns = {"series",        "verdict",  "exponent",  "95 % interval", "floor, %",
               "95 % interval", "held out", "predicted", "95 % interval", "measured"};
  const auto range = [](const Interval& interval, const auto& format) {
    return std::isfinite(interval.low) ? format(interval.low) + " to " + format(interval.high) : std::string("-");
  };
  const auto exponent = [](double b) { return fmt::format("{:.3f}", -b); };
  // What the title says of each series, by verdict, in this order.
  constexpr const char* kVerdicts[] = {"power", "power with floor", "exponential", "flat", "no form", "not decidable"};
  std::map<std::string, std::vector<std::string>> names;
  for (const Strand& strand : layout.strands) {
    const auto found = laws.find(strand.name);
    if (found == laws.end()) continue;
    const Law& law = found->second.law;
    const LawFit& fit = *found->second.fit();
    const bool floored = fit.curve.form == LawForm::floor, power = fit.curve.form != LawForm::exponential;
    const std::string series = strand.name.empty() ? "the series" : strand.name;
    names[law.verdict].push_back(law.verdict == "power" ? fmt::format("{} falls as N^{:.2f}", series, -fit.curve.b)
                                 : floored ? fmt::format("{} levels off at {} %", series, percent(fit.curve.c))
                                           : series);
    f.table.push_back(
        {strand.name, law.verdict, power ? exponent(fit.curve.b) : "-",
         power ? range({-fit.b.high, -fit.b.low}, [](double b) { return fmt::format("{:.3f}", b); }) : "-",
         floored ? percent(fit.curve.c) : "-", floored ? range(fit.c, percent) : "-",
         grouped(std::llround(law.sizes.back())), percent(fit.predicted), range(fit.predicted_interval, percent),
         percent(law.means.back())});
    f.points.push_back((strand.name.empty() ? "" : strand.name + ": ") + worded(law));
  }
  if (f.table.empty()) return std::nullopt;
  const std::map<std::string, std::string> said = {
      {"power", "fall as powers of N"}, {"power with floor", "level off"}, {"exponential", "fall exponentially"},
      {"flat", "no fall seen"},         {"no form", "no one law fits"},    {"not decidable", "law open"}};
  for (const std::string verdict : kVerdicts) {
    if (!names.contains(verdict)) continue;
    const std::vector<std::string>& list = names[verdict];
    const bool own_words = verdict == "power" || verdict == "power with floor";
    f.title += f.title.empty() ? "" : "; ";
    if (list.size() > 3) {
      f.title += fmt::format("{} series: {}", list.size(), said.at(verdict));
    } else if (own_words) {
      f.title += fmt::to_string(fmt::join(list, ", "));
    } else {
      f.title += fmt::format("{}: {}", fmt::to_string(fmt::join(list, ", ")), said.at(verdict));
    }
  }
  f.title = fmt::format("Along N, {} error: {}", short_error(error), f.title);
  f.text =
      "The largest N is held out of the fit, predicted, and then shown. A form is named only where it is the one "
      "left: not beaten by another, and not off the held-out point; flat where the exponent's interval does not leave "
      "zero out.";
  if (f.points.size() > kMostLaws) f.points.clear();  // the table says the same
  return f;
}

std::optional<Finding> lowest_finding(const Layout& layout, const std::string& error, const Laws&) {
  Finding f{.id = "lowest-" + short_error(error)};
  f.columns = {layout.axis.title,         "lowest", "mean error, %", "next", "mean error, %",
               "seeds where it is lower", "verdict"};
  std::set<double> xs;
  for (const Strand& strand : layout.strands) {
    for (const auto& [x, series] : strand.points) xs.insert(x);
  }
  if (layout.strands.size() < 2) return std::nullopt;
  for (const double x : xs) {
    std::vector<std::pair<double, const Strand*>> order;
    for (const Strand& strand : layout.strands) {
      if (!strand.points.contains(x)) continue;
      const Summary summary = summarize(strand.errors(x, error));
      if (summary.n > 0) order.emplace_back(summary.mean, &strand);
    }
    std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    if (order.size() < 2) continue;
    const Paired p = paired_errors(*order[0].second->points.at(x), *order[1].second->points.at(x), error);
    f.table.push_back({layout.x == "n" ? grouped(std::llround(x)) : fmt::format("{:g}", x), order[0].second->name,
                       percent(order[0].first), order[1].second->name, percent(order[1].first),
                       fmt::format("{} of {}", p.below, p.n), p.verdict() < 0 ? "lower" : "open"});
  }
  if (f.table.empty()) return std::nullopt;
  const auto& last = f.table.back();
  f.title = fmt::format("At {} {} the lowest {} error is that of {}: {} %", layout.axis.short_name, last[0],
                        short_error(error), last[1], last[2]);
  if (last[6] == "open") f.title += fmt::format(", open against {}", last[3]);
  f.text =
      "By mean over seeds; the verdict compares the lowest with the next, paired over seeds: the 95 % interval of "
      "the difference leaves zero out, with at least three seeds.";
  return f;
}

std::optional<Finding> control_finding(const Layout& layout, const std::string& error, const Laws&) {
  const auto control =
      std::find_if(layout.strands.begin(), layout.strands.end(), [](const Strand& s) { return s.control; });
  if (control == layout.strands.end()) return std::nullopt;
  Finding f{.id = "control-" + short_error(error)};
  f.columns = {"series",        layout.axis.title,         "difference in points",
               "95 % interval", "seeds where it is lower", "verdict"};
  int lower = 0, higher = 0, open = 0;
  const auto place_of = [&](double x) { return layout.x == "n" ? grouped(std::llround(x)) : fmt::format("{:g}", x); };
  // The lowest error among the places where it is lower than the control's.
  double best = HUGE_VAL;
  std::string best_text;
  for (const Strand& strand : layout.strands) {
    if (strand.control) continue;
    for (const auto& [x, series] : strand.points) {
      const Series* held = layout.control_at(x);
      if (held == nullptr) continue;
      const Paired p = paired_errors(*series, *held, error);
      if (p.n == 0) continue;
      const int verdict = p.verdict();
      ++(verdict < 0 ? lower : verdict > 0 ? higher : open);
      const double mean = summarize(strand.errors(x, error)).mean;
      if (verdict < 0 && mean < best) {
        best = mean;
        best_text = fmt::format("{} has {} % {} error at {} {}, {} {} %. ", strand.name, percent(mean),
                                short_error(error), layout.axis.short_name, place_of(x), control->name,
                                percent(summarize(held->values.at(error)).mean));
      }
      f.table.push_back({strand.name, place_of(x), fmt::format("{:+.2f}", 100 * p.mean),
                         p.n < 2 ? "-" : fmt::format("{:+.2f} to {:+.2f}", 100 * p.interval.low, 100 * p.interval.high),
                         fmt::format("{} of {}", p.below, p.n),
                         verdict < 0   ? "lower"
                         : verdict > 0 ? "higher"
                                       : "open"});
    }
  }
  if (f.table.empty()) return std::nullopt;
  f.title = fmt::format("{}Against {} the {} error is lower in {} of {} places, higher in {} and open in {}",
                        capitalized(best_text), control->name, short_error(error), lower, f.table.size(), higher, open);
  f.text = "A place is one series at one " + layout.axis.short_name +
           "; paired over seeds. No correction for the number of "
           "comparisons is made.";
  return f;
}

SweepResult result_of(const nlohmann::json& document) {
  SweepResult result;
  result.planned = document.value("planned", std::int64_t{0});
  result.failed = document.value("failed", std::int64_t{0});
  for (const auto& row : document.at("rows")) {
    Measurement measurement;
    for (const auto& [name, value] : row.items()) {
      if (name == "status") measurement.status = value;
      if (name == "seconds") measurement.seconds = value;
      if (name == "seconds" || name == "status" || name == "id" || name == "params") continue;
      measurement.values[name] = value.is_number() ? value.get<double>() : std::nan("");
    }
    if (measurement.status == "diverged") continue;  // it has no errors
    result.rows.push_back({trial_from_json(row.at("params")), std::move(measurement)});
  }
  return result;
}

// "sweep" of "scalelab sweep scaling --out x".
std::string command_name(const nlohmann::json& document) {
  const std::string command = command_of(document);
  const std::size_t begin = command.find(' ');
  if (begin == std::string::npos) return "sweep";
  return command.substr(begin + 1, command.find(' ', begin + 1) - begin - 1);
}

}  // namespace

std::string command_of(const nlohmann::json& document) {
  const nlohmann::json environment = document.value("environment", nlohmann::json::object());
  const nlohmann::json words = environment.value("command", nlohmann::json::array());
  std::string command;
  if (!words.is_array()) return command;
  for (const auto& word : words) {
    if (!word.is_string()) continue;
    std::string text = word.get<std::string>();
    if (command.empty()) text = text.substr(text.rfind('/') + 1);
    const bool plain = !text.empty() && text.find_first_of(" \t\n'\"$`\\|&;<>()*?[]{}~#!") == std::string::npos;
    command += (command.empty() ? "" : " ") + (plain ? text : "'" + text + "'");
  }
  return command;
}

Page sweep_page(const std::string& title, const nlohmann::json& document) {
  const SweepResult result = result_of(document);
  const std::vector<Series> list = series_of(result);
  const Layout layout = layout_of(list);
  std::vector<std::string> errors;
  for (const char* error : kErrors) {
    if (std::any_of(list.begin(), list.end(), [&](const Series& s) { return s.values.contains(error); })) {
      errors.push_back(error);
    }
  }
  const bool switched = errors.size() > 1;
  // What the command itself found goes first.
  std::vector<Finding> said;
  for (const auto& finding : document.value("findings", nlohmann::json::array())) {
    said.push_back({.id = finding.value("id", ""),
                    .title = capitalized(finding.value("title", "")),
                    .text = finding.value("text", "")});
  }
  std::string charts;
  for (const std::string& error : errors) {
    if (layout.strands.empty()) continue;
    Laws laws;
    for (const Strand& strand : layout.strands) {
      if (layout.x != "n") break;
      if (auto law = law_of(strand, error)) laws.emplace(strand.name, std::move(*law));
    }
    std::vector<Finding> here;
    for (const auto& find : {control_finding, laws_finding, lowest_finding}) {
      if (auto finding = find(layout, error, laws)) here.push_back(std::move(*finding));
    }
    Chart chart = chart_of(layout, error, here.empty() ? title : here.front().title, switched, laws);
    chart.command = command_of(document);
    charts += chart_html(chart);
    if (auto map = map_of(layout, error, switched)) {
      map->command = chart.command;
      charts += heat_map_html(*map);
    }
    said.insert(said.end(), here.begin(), here.end());
  }
  std::set<std::uint64_t> seeds;
  for (const Series& series : list) seeds.insert(series.seeds.begin(), series.seeds.end());
  Page page{.title = title,
            .kicker = "scalelab " + command_name(document),
            .headline = said.empty() ? title : said.front().title,
            .lead = fmt::format("{}. {} of {} trials, {} seed{}{}.", title, grouped(std::ssize(document.at("rows"))),
                                grouped(result.planned), seeds.size(), seeds.size() == 1 ? "" : "s",
                                result.failed > 0 ? fmt::format(", {} failed", result.failed) : "")};
  if (!charts.empty()) {
    page.sections.push_back({.id = "charts", .title = "Charts", .html = "<div class=\"panels\">" + charts + "</div>"});
  }
  if (!said.empty()) {
    page.sections.push_back({.id = "findings",
                             .title = "What the seeds carry",
                             .note = "Every sentence is worded from the numbers of this sweep.",
                             .html = findings_html(said)});
  }
  const auto varying = varying_members(list);
  std::vector<std::string> columns = varying;
  columns.push_back("seeds");
  for (const auto& error : errors) columns.push_back(short_error(error) + " error, %");
  std::vector<std::vector<std::string>> rows;
  for (const Series& series : list) {
    const nlohmann::json members = to_json(series.trial);
    auto& row = rows.emplace_back();
    for (const auto& name : varying) row.push_back(text_of(members[name]));
    row.push_back(std::to_string(series.seeds.size()));
    for (const auto& error : errors) {
      const auto found = series.values.find(error);
      const Summary summary = summarize(found == series.values.end() ? std::vector<double>{} : found->second);
      row.push_back(summary.n < 2 ? percent(summary.mean)
                                  : fmt::format("{} \u00b1 {}", percent(summary.mean), percent(summary.sd)));
    }
  }
  page.sections.push_back({.id = "table",
                           .title = "Every series",
                           .html = "<p>" + download_html("CSV", "series.csv", "text/csv", csv_of(columns, rows)) +
                                   "</p>" + table_html(columns, rows, "Mean \u00b1 standard deviation over seeds")});
  page.methods = {
      "One trial is one model on one set; a seed is one draw of points, one start and one order of samples. A smaller "
      "set is the beginning of a larger one of the same seed, so series are compared pair by pair.",
      "Errors are against the true labels: grid error on the cell centres of the plane, density error on fresh draws, "
      "test error on rows held out.",
      "Verdicts: the 95 % interval (Student's t) of the paired difference over seeds leaves zero out, and there are at "
      "least three pairs; everything else is called open.",
      "Rows are the same bits resumed, sharded and in any order."};
  page.command = command_of(document);
  page.document = document;
  return page;
}

}  // namespace scalelab::host
