// findings: sentences worded from the numbers of a comparison. A verdict is Paired::verdict: it is given when the 95 %
// interval of the paired difference leaves zero out; everything else is called open.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "host/studies/compare.h"

namespace scalelab::host {

namespace {

constexpr const char* kMeasures[] = {"grid", "density"};

// The unit of the second significant digit: 1,000 for 17,234.
double second_digit(double points) { return std::pow(10, std::max(0.0, std::floor(std::log10(points)) - 1)); }

std::string rounded(double points) {
  const double unit = second_digit(points);
  return grouped(static_cast<std::int64_t>(std::round(points / unit) * unit));
}

std::string interval_text(const Interval& interval) {
  if (!std::isfinite(interval.low)) return "-";
  return signed_points(interval.low) + " to " + signed_points(interval.high);
}

// The cells of one paired difference: difference, interval, seeds, verdict.
std::vector<std::string> cells(const Paired& p) {
  return {signed_points(p.mean), interval_text(p.interval), fmt::format("{} of {}", p.below, p.n), verdict_word(p)};
}

bool has_model(const Comparison& c, const std::string& name) {
  return std::any_of(c.options.models.begin(), c.options.models.end(), [&](const Model& m) { return m.name == name; });
}

std::vector<std::string> network_names(const Comparison& c) {
  std::vector<std::string> names;
  for (const Model& model : c.options.models) {
    if (!model.is_knn()) names.push_back(model.name);
  }
  return names;
}

std::vector<std::int64_t> sizes_of(const std::vector<Row>& rows) {
  std::vector<std::int64_t> sizes;
  for (const Row& row : rows) {
    if (std::find(sizes.begin(), sizes.end(), row.n) == sizes.end()) sizes.push_back(row.n);
  }
  return sizes;
}

double mean_error(const std::vector<Row>& rows, const std::string& model, std::int64_t n, const std::string& measure,
                  double noise) {
  return summarize(errors_of(rows, model, n, measure, noise)).mean;
}

// Names grouped by verdict, worded: "true against A and B; open against C".
struct Groups {
  std::vector<std::string> lower, open, higher;
  void add(const std::string& name, int verdict) {
    (verdict < 0 ? lower : verdict > 0 ? higher : open).push_back(name);
  }
  std::string worded(const char* if_lower, const char* if_open, const char* if_higher) const {
    std::string text;
    const auto append = [&](const std::vector<std::string>& names, const char* words) {
      if (!names.empty()) text += (text.empty() ? "" : "; ") + std::string(words) + " " + listed(names);
    };
    append(lower, if_lower);
    append(open, if_open);
    append(higher, if_higher);
    return text;
  }
};

std::optional<Finding> data_equivalents(const Comparison& c) {
  const auto all = equivalents(c);
  if (all.empty()) return std::nullopt;
  const std::int64_t n = c.options.sizes.front();
  Finding f{.id = "data-equivalent"};
  const Equivalent* best = nullptr;
  for (const Equivalent& e : all) {
    if (e.n == n && e.measure == "grid" && e.seeds > 0 && (best == nullptr || e.points > best->points)) best = &e;
  }
  if (best == nullptr) return std::nullopt;
  f.title = fmt::format("{} points seen by {} are worth {} points of kNN", grouped(n), best->model, best->worded());
  if (best->interval_worded() != "-") f.title += fmt::format(" ({})", best->interval_worded());
  f.text = fmt::format(
      "The data equivalent of a network is how many points kNN (k = 1) needs for the same error: the same seed's kNN "
      "curve, read at the network's error. Geometric mean over {} seed{}, with the 95 % bootstrap interval over seeds. "
      "A seed outside the curve ({} to {} points) counts as the end it left by, and the figure is then only a bound. "
      "The title names the network with the largest figure on the grid.",
      best->seeds, best->seeds == 1 ? "" : "s", grouped(c.curve.front().n), grouped(c.curve.back().n));
  f.columns = {"model", "N", "grid", "95 % interval", "density", "95 % interval"};
  for (std::size_t i = 0; i + 1 < all.size(); i += 2) {
    f.table.push_back({all[i].model, grouped(all[i].n), all[i].worded(), all[i].interval_worded(), all[i + 1].worded(),
                       all[i + 1].interval_worded()});
  }
  return f;
}

std::optional<Finding> large_knn_against_small_networks(const Comparison& c) {
  const auto networks = network_names(c);
  if (networks.empty() || c.options.sizes.size() < 2) return std::nullopt;
  std::string knn;
  for (const Model& model : c.options.models) {
    if (model.is_knn() && (knn.empty() || model.name == "knn-5")) knn = model.name;
  }
  if (knn.empty()) return std::nullopt;
  const std::int64_t small = c.options.sizes.front(), large = c.options.sizes.back();
  Finding f{.id = "knn-large-vs-network-small"};
  f.columns = {"network", "error", "difference in points", "95 % interval", "seeds where kNN is lower", "kNN is"};
  Groups groups[2];
  for (const auto& network : networks) {
    for (int m = 0; m < 2; ++m) {
      const Paired p =
          compare_rows(c.rows, knn, large, c.options.noise, c.rows, network, small, c.options.noise, kMeasures[m]);
      if (p.n == 0) continue;
      groups[m].add(network, p.verdict());
      std::vector<std::string> line = {network, kMeasures[m]};
      const auto rest = cells(p);
      line.insert(line.end(), rest.begin(), rest.end());
      f.table.push_back(std::move(line));
    }
  }
  if (f.table.empty()) return std::nullopt;
  f.title = fmt::format("\"{} at {} beats a network at {}\" is {}", knn, grouped(large), grouped(small),
                        groups[0].worded("true against", "open against", "false against"));
  f.text =
      fmt::format("The error of {} at {} against that of the network at {}, seed by seed. The title is about the grid.",
                  knn, grouped(large), grouped(small));
  f.points.push_back("by density error it is " + groups[1].worded("true against", "open against", "false against"));
  return f;
}

std::optional<Finding> equal_sizes(const Comparison& c) {
  const auto networks = network_names(c);
  Finding f{.id = "equal-n"};
  f.columns = {"N",
               "network",
               "error",
               "best kNN",
               "difference in points",
               "95 % interval",
               "seeds where the network is lower",
               "the network is"};
  std::map<std::string, Groups> verdicts;  // by network: where it is lower, open, higher
  for (const std::int64_t n : c.options.sizes) {
    for (const auto* measure : kMeasures) {
      std::string best;
      for (const Model& model : c.options.models) {
        if (!model.is_knn()) continue;
        const double error = mean_error(c.rows, model.name, n, measure, c.options.noise);
        if (std::isnan(error)) continue;
        if (best.empty() || error < mean_error(c.rows, best, n, measure, c.options.noise)) best = model.name;
      }
      if (best.empty()) continue;
      Groups groups;
      for (const auto& network : networks) {
        const Paired p = compare_rows(c.rows, network, n, c.options.noise, c.rows, best, n, c.options.noise, measure);
        if (p.n == 0) continue;
        verdicts[network].add(fmt::format("N = {} ({})", grouped(n), measure), p.verdict());
        std::vector<std::string> line = {grouped(n), network, measure, best};
        const auto rest = cells(p);
        line.insert(line.end(), rest.begin(), rest.end());
        f.table.push_back(std::move(line));
      }
    }
  }
  if (f.table.empty()) return std::nullopt;
  Groups always;
  std::vector<std::string> mixed;
  for (const auto& network : networks) {
    const Groups& v = verdicts[network];
    if (v.lower.empty() + v.open.empty() + v.higher.empty() == 2) {
      always.add(network, v.open.empty() ? (v.lower.empty() ? 1 : -1) : 0);
    } else if (v.lower.size() + v.open.size() + v.higher.size() > 0) {
      mixed.push_back(network);
      f.points.push_back(network + ": " + v.worded("better at", "open at", "worse at"));
    }
  }
  f.title = always.worded("At equal N kNN is beaten at every size by", "kNN is open at every size against",
                          "kNN beats at every size");
  if (!mixed.empty()) {
    f.title +=
        (f.title.empty() ? "" : "; ") + fmt::format("the verdict on {} depends on N or on the error", listed(mixed));
  }
  f.text = "Each network against the kNN with the lowest mean error at that N, seed by seed, on both errors.";
  return f;
}

std::optional<Finding> extras(const Comparison& c) {
  Finding f{.id = "extras"};
  f.columns = {"N",
               "network",
               "error",
               "without",
               "with",
               "difference in points",
               "95 % interval",
               "seeds where it is lower",
               "with it the error is"};
  std::map<std::string, Groups> verdicts;
  Groups all;
  for (const std::int64_t n : c.options.sizes) {
    for (const auto* measure : kMeasures) {
      for (const auto& with : network_names(c)) {
        const std::string plain = with.substr(0, with.find('+'));
        if (plain == with || !has_model(c, plain) || with.ends_with("+sgd")) continue;
        const Paired p = compare_rows(c.rows, with, n, c.options.noise, c.rows, plain, n, c.options.noise, measure);
        if (p.n == 0) continue;
        verdicts[with].add(fmt::format("N = {} ({})", grouped(n), measure), p.verdict());
        all.add(with, p.verdict());
        std::vector<std::string> line = {grouped(n), with, measure,
                                         percent(mean_error(c.rows, plain, n, measure, c.options.noise)),
                                         percent(mean_error(c.rows, with, n, measure, c.options.noise))};
        const auto rest = cells(p);
        line.insert(line.end(), rest.begin(), rest.end());
        f.table.push_back(std::move(line));
      }
    }
  }
  if (f.table.empty()) return std::nullopt;
  const std::size_t total = f.table.size();
  f.title = fmt::format(
      "Focal loss, layer norm and weight decay: the error falls in {} of {} comparisons, rises in {}, "
      "and {} {} open",
      all.lower.size(), total, all.higher.size(), all.open.size(), all.open.size() == 1 ? "is" : "are");
  f.text = "The error of the same network with and without, seed by seed; +extras are all three.";
  for (const auto& [with, groups] : verdicts) {
    f.points.push_back(with + ": " + groups.worded("lower at", "open at", "higher at"));
  }
  return f;
}

std::optional<Finding> one_against_five(const Comparison& c) {
  Finding f{.id = "k1-vs-k5"};
  f.columns = {
      "N",       "error", "k = 1", "k = 5", "difference in points", "95 % interval", "seeds where k = 1 is lower",
      "k = 1 is"};
  struct Count {
    int lower = 0, open = 0, higher = 0, sizes = 0;
  } counts[2];
  int seeds_lower = 0, seeds = 0;
  for (const std::int64_t n : sizes_of(c.curve)) {
    for (int m = 0; m < 2; ++m) {
      const Paired p =
          compare_rows(c.curve, "knn-1", n, c.options.noise, c.curve, "knn-5", n, c.options.noise, kMeasures[m]);
      if (p.n == 0) continue;
      ++counts[m].sizes;
      ++(p.verdict() < 0 ? counts[m].lower : p.verdict() > 0 ? counts[m].higher : counts[m].open);
      seeds_lower += p.below;
      seeds += p.n;
      std::vector<std::string> line = {grouped(n), kMeasures[m],
                                       percent(mean_error(c.curve, "knn-1", n, kMeasures[m], c.options.noise)),
                                       percent(mean_error(c.curve, "knn-5", n, kMeasures[m], c.options.noise))};
      const auto rest = cells(p);
      line.insert(line.end(), rest.begin(), rest.end());
      f.table.push_back(std::move(line));
    }
  }
  if (f.table.empty()) return std::nullopt;
  const auto worded = [](const Count& k) {
    std::vector<std::string> parts;
    if (k.lower > 0) parts.push_back(fmt::format("k = 1 is better at {}", k.lower));
    if (k.higher > 0) parts.push_back(fmt::format("k = 5 is better at {}", k.higher));
    if (k.open > 0) parts.push_back(fmt::format("{} {} open", k.open, k.open == 1 ? "is" : "are"));
    return fmt::format("of {} sizes {}", k.sizes, listed(parts));
  };
  const std::string noise = c.options.noise > 0 ? fmt::format(" with {:g} % label noise", 100 * c.options.noise) : "";
  if (counts[0].lower == counts[0].sizes && counts[1].lower == counts[1].sizes) {
    f.title = fmt::format("k = 1 beats k = 5 at every N from {} to {}{}, on both errors", f.table.front()[0],
                          f.table.back()[0], noise);
  } else {
    f.title = fmt::format("k = 1 against k = 5{}: on the grid, {}; on fresh draws, {}", noise, worded(counts[0]),
                          worded(counts[1]));
  }
  f.text = fmt::format(
      "Paired over seeds: k = 1 has the lower error in {} of the {} pairs (a pair is one seed at one N, "
      "on one of the two errors). On the grid the difference goes from {} points at N = {} to {} at N = {}.",
      seeds_lower, seeds, f.table.front()[4], f.table.front()[0], f.table[f.table.size() - 2][4],
      f.table[f.table.size() - 2][0]);
  return f;
}

std::optional<Finding> why_one_is_better(const Comparison& c) {
  Finding f{.id = "why-k1"};
  const double noise = c.options.noise_panel;
  f.columns = {"N", "label noise", "error"};
  for (const int k : kPanelNeighbours) f.columns.push_back(fmt::format("k = {}", k));
  f.columns.insert(f.columns.end(),
                   {"k = 1 minus k = 5, in points", "95 % interval", "seeds where k = 1 is lower", "k = 1 is"});
  Groups turned;           // lower: the order turns round; open: cannot be said; higher: it stays
  std::size_t better = 0;  // cases in which k = 1 is lower without noise
  for (const std::int64_t n : sizes_of(c.noise_panel)) {
    for (const auto* measure : kMeasures) {
      int verdicts[2] = {0, 0};
      for (int noisy = 0; noisy < 2; ++noisy) {
        const double level = noisy ? noise : 0.0;
        const Paired p = compare_rows(c.noise_panel, "knn-1", n, level, c.noise_panel, "knn-5", n, level, measure);
        verdicts[noisy] = p.verdict();
        if (p.n == 0) continue;
        std::vector<std::string> line = {grouped(n), fmt::format("{:g} %", 100 * level), measure};
        for (const int k : kPanelNeighbours) {
          line.push_back(percent(mean_error(c.noise_panel, fmt::format("knn-{}", k), n, measure, level)));
        }
        const auto rest = cells(p);
        line.insert(line.end(), rest.begin(), rest.end());
        f.table.push_back(std::move(line));
      }
      better += verdicts[0] < 0;
      const bool turns = verdicts[0] < 0 && verdicts[1] > 0;
      turned.add(fmt::format("N = {} ({})", grouped(n), measure), turns                                  ? -1
                                                                  : verdicts[1] == 0 || verdicts[0] == 0 ? 0
                                                                                                         : 1);
    }
  }
  if (f.table.empty()) return std::nullopt;
  const std::size_t cases = turned.lower.size() + turned.open.size() + turned.higher.size();
  if (better == 0) {
    f.title = fmt::format("That k = 1 is better than k = 5 is settled in none of the {} cases shown", cases);
  } else if (turned.lower.size() == cases) {
    f.title = fmt::format(
        "Why k = 1: there is no label noise to average out. Turn over {:g} % of the labels, and k = 5 "
        "wins at every N shown",
        100 * noise);
  } else {
    f.title = fmt::format(
        "Why k = 1: without label noise there is nothing to average out. With {:g} % of the labels turned "
        "over, the order turns round in {} of {} cases",
        100 * noise, turned.lower.size(), cases);
  }
  f.points.push_back(fmt::format("k = 1 against k = 5 at {:g} % label noise: the order {}", 100 * noise,
                                 turned.worded("turns round at", "is open at", "stays at")));
  f.text =
      "Theory: along a straight boundary without label noise, where n points fall on a unit of area, the area that kNN "
      "gets wrong per unit of length is c_k / \u221an, with c_1 = .342, c_3 = .347, c_5 = .356. A vote has no noise to "
      "average out; it only looks further away. Along wide bands that costs little, and where the reach of the k "
      "neighbours comes near the width of the band it costs much, because most of the voters then stand outside.";
  // The ratio at the curve's end, where bands are wide against the neighbourhood, can be held against the theory.
  const auto sizes = sizes_of(c.curve);
  if (!sizes.empty() && c.options.noise == 0) {
    const std::int64_t n = sizes.back();
    std::vector<std::uint64_t> s1, s5;
    const auto e1 = errors_of(c.curve, "knn-1", n, "grid", 0, &s1), e5 = errors_of(c.curve, "knn-5", n, "grid", 0, &s5);
    if (s1 == s5 && e1.size() >= 2 && *std::min_element(e1.begin(), e1.end()) > 0) {
      const auto ratio = [&](std::span<const int> drawn) {
        double sum = 0;
        for (const int i : drawn) sum += std::log(e5[static_cast<std::size_t>(i)] / e1[static_cast<std::size_t>(i)]);
        return std::exp(sum / static_cast<double>(drawn.size()));
      };
      std::vector<int> every;
      for (std::size_t i = 0; i < e1.size(); ++i) every.push_back(static_cast<int>(i));
      const Interval interval = bootstrap(static_cast<int>(e1.size()), c.options.seed, ratio);
      f.text += fmt::format(
          " At N = {} the grid error at k = 5 is {:.3f} times that at k = 1 (95 % bootstrap interval "
          "{:.3f} to {:.3f}); c_5 / c_1 = {:.3f}.",
          grouped(n), ratio(every), interval.low, interval.high, .356 / .342);
    }
  }
  f.text += fmt::format(
      " With label noise each voter is wrong at times, and that a vote does average out; whether it outweighs the "
      "longer "
      "reach, the table shows: the same points with {:g} % of their labels turned over, errors against the true "
      "labels.",
      100 * noise);
  return f;
}

std::optional<Finding> law(const Comparison& c) {
  const std::int64_t kFrom = 16000;  // below it the neighbourhoods are not small against the width of the bands
  std::vector<std::int64_t> sizes;
  for (const std::int64_t n : sizes_of(c.curve)) {
    if (n >= kFrom) sizes.push_back(n);
  }
  if (sizes.size() < 4) return std::nullopt;  // three to fit, one held out
  Finding f{.id = "law"};
  f.columns = {"error", "k", "exponent", "95 % interval", "predicted", "95 % interval", "measured"};
  for (const auto* measure : kMeasures) {
    for (const int k : kCurveNeighbours) {
      const std::string model = fmt::format("knn-{}", k);
      std::vector<std::vector<double>> errors;  // by size, then seed
      bool whole = true;
      for (const std::int64_t n : sizes) {
        std::vector<std::uint64_t> seeds;
        errors.push_back(errors_of(c.curve, model, n, measure, c.options.noise, &seeds));
        whole = whole && seeds == c.options.seeds && *std::min_element(errors.back().begin(), errors.back().end()) > 0;
      }
      if (!whole) continue;
      const auto fitted = [&](std::span<const int> drawn) {
        std::vector<double> x, y;
        for (std::size_t i = 0; i + 1 < sizes.size(); ++i) {
          double sum = 0;
          for (const int s : drawn) sum += std::log(errors[i][static_cast<std::size_t>(s)]);
          x.push_back(static_cast<double>(sizes[i]));
          y.push_back(std::exp(sum / static_cast<double>(drawn.size())));
        }
        return fit_power_law(x, y);
      };
      std::vector<int> every;
      for (std::size_t i = 0; i < c.options.seeds.size(); ++i) every.push_back(static_cast<int>(i));
      const PowerLaw best = fitted(every);
      const auto last = static_cast<double>(sizes.back());
      const int n = static_cast<int>(every.size());
      const Interval slope =
          bootstrap(n, c.options.seed, [&](std::span<const int> drawn) { return fitted(drawn).slope; });
      const Interval predicted =
          bootstrap(n, c.options.seed, [&](std::span<const int> drawn) { return fitted(drawn).at(last); });
      const double measured = summarize(errors.back()).mean;
      const bool interval = std::isfinite(slope.low);
      f.table.push_back(
          {measure, std::to_string(k), fmt::format("{:.3f}", best.slope),
           interval ? fmt::format("{:.3f} to {:.3f}", slope.low, slope.high) : "-", percent(best.at(last)),
           interval ? percent(predicted.low) + " to " + percent(predicted.high) : "-", percent(measured)});
    }
  }
  if (f.table.empty()) return std::nullopt;
  const auto& row = f.table.front();
  f.title = fmt::format(
      "kNN's error falls as N to the power {}{}; fitted up to {}, the law says {} % at {}, and {} % was "
      "measured",
      row[2], row[3] == "-" ? "" : " (" + row[3] + ")", grouped(sizes[sizes.size() - 2]), row[4], grouped(sizes.back()),
      row[6]);
  f.text = fmt::format(
      "Least squares in log-log on N = {} to {}, the largest N held out; title: k = {}, {} error. The "
      "theory of a flat boundary gives -0.5.",
      grouped(sizes.front()), grouped(sizes[sizes.size() - 2]), row[1], row[0]);
  return f;
}

std::optional<Finding> untrained(const Comparison& c) {
  Finding f{.id = "did-not-train"};
  f.columns = {"model", "N", "collapsed to one colour", "diverged", "runs"};
  int total = 0, all = 0;
  for (const std::int64_t n : c.options.sizes) {
    for (const Model& model : c.options.models) {
      int collapsed = 0, diverged = 0, runs = 0;
      for (const Row& row : c.rows) {
        if (row.model != model.name || row.n != n) continue;
        ++runs;
        collapsed += row.status == "collapsed";
        diverged += row.status == "diverged";
      }
      all += runs;
      total += collapsed + diverged;
      if (collapsed + diverged > 0) {
        f.table.push_back(
            {model.name, grouped(n), std::to_string(collapsed), std::to_string(diverged), std::to_string(runs)});
      }
    }
  }
  if (total == 0) return std::nullopt;
  f.title = fmt::format("{} of {} runs did not train and are left out of every mean and comparison", total, all);
  f.text =
      "A run that says one colour everywhere scores that colour's share of the plane, which says nothing about the "
      "model. Neither does a run whose loss or weights stopped being finite.";
  return f;
}

}  // namespace

std::string Equivalent::worded() const {
  if (seeds == 0) return "-";
  // A bound is never rounded beyond itself, and the end of the curve is exact.
  const double unit = second_digit(points);
  const auto whole = [&](double count) { return grouped(static_cast<std::int64_t>(count * unit)); };
  if (beyond > 0 && before > 0) return "about " + rounded(points);
  if (beyond == seeds) return "more than " + grouped(static_cast<std::int64_t>(last));
  if (before == seeds) return "fewer than " + grouped(static_cast<std::int64_t>(first));
  if (beyond > 0) return "more than " + whole(std::floor(points / unit));
  if (before > 0) return "fewer than " + whole(std::ceil(points / unit));
  return rounded(points);
}

std::string Equivalent::interval_worded() const {
  if (!std::isfinite(interval.low) || beyond == seeds || before == seeds) return "-";
  const std::string from = before > 0 && interval.low <= first
                               ? "fewer than " + grouped(static_cast<std::int64_t>(first))
                               : rounded(interval.low);
  const std::string to = beyond > 0 && interval.high >= last ? "more than " + grouped(static_cast<std::int64_t>(last))
                                                             : rounded(interval.high);
  return from + " to " + to;
}

std::vector<double> errors_of(const std::vector<Row>& rows, const std::string& model, std::int64_t n,
                              const std::string& measure, double noise, std::vector<std::uint64_t>* seeds) {
  std::vector<double> errors;
  for (const Row& row : rows) {
    if (row.model != model || row.n != n || row.noise != noise || row.status != "ok") continue;
    errors.push_back(row.error(measure));
    if (seeds != nullptr) seeds->push_back(row.seed);
  }
  return errors;
}

Paired compare_rows(const std::vector<Row>& a_rows, const std::string& a, std::int64_t a_n, double a_noise,
                    const std::vector<Row>& b_rows, const std::string& b, std::int64_t b_n, double b_noise,
                    const std::string& measure) {
  std::vector<std::uint64_t> a_seeds, b_seeds;
  const auto a_errors = errors_of(a_rows, a, a_n, measure, a_noise, &a_seeds);
  const auto b_errors = errors_of(b_rows, b, b_n, measure, b_noise, &b_seeds);
  std::vector<double> left, right;
  for (std::size_t i = 0; i < a_seeds.size(); ++i) {
    const auto at = std::find(b_seeds.begin(), b_seeds.end(), a_seeds[i]);
    if (at == b_seeds.end()) continue;
    left.push_back(a_errors[i]);
    right.push_back(b_errors[static_cast<std::size_t>(at - b_seeds.begin())]);
  }
  return paired(left, right);
}

std::vector<Equivalent> equivalents(const Comparison& c) {
  std::vector<Equivalent> result;
  if (c.curve.empty()) return result;
  for (const std::int64_t n : c.options.sizes) {
    for (const auto& network : network_names(c)) {
      for (const auto* measure : kMeasures) {
        Equivalent e{.model = network, .n = n, .measure = measure};
        std::vector<double> logs;
        std::vector<std::uint64_t> seeds;
        const auto errors = errors_of(c.rows, network, n, measure, c.options.noise, &seeds);
        for (std::size_t i = 0; i < seeds.size(); ++i) {
          std::vector<double> x, y;
          for (const Row& row : c.curve) {
            if (row.seed != seeds[i] || row.model != "knn-1") continue;
            x.push_back(static_cast<double>(row.n));
            y.push_back(row.error(measure));
          }
          if (x.empty()) continue;
          const double points = crossing(x, y, errors[i]);
          e.first = x.front();
          e.last = x.back();
          e.beyond += points > x.back();
          e.before += points < x.front();
          logs.push_back(std::log(std::clamp(points, x.front(), x.back())));
        }
        e.seeds = static_cast<int>(logs.size());
        const auto mean = [&](std::span<const int> drawn) {
          double sum = 0;
          for (const int i : drawn) sum += logs[static_cast<std::size_t>(i)];
          return std::exp(sum / static_cast<double>(drawn.size()));
        };
        std::vector<int> every;
        for (int i = 0; i < e.seeds; ++i) every.push_back(i);
        // The logarithms' round trip must not carry a mean past the curve's ends.
        const auto within = [&](double points) { return std::min(std::max(points, e.first), e.last); };
        e.points = within(mean(every));
        e.interval =
            bootstrap(e.seeds, c.options.seed, [&](std::span<const int> drawn) { return within(mean(drawn)); });
        result.push_back(std::move(e));
      }
    }
  }
  return result;
}

std::vector<Finding> findings(const Comparison& comparison) {
  std::vector<Finding> result;
  for (const auto& find : {data_equivalents, large_knn_against_small_networks, equal_sizes, extras, one_against_five,
                           why_one_is_better, law, untrained}) {
    if (auto finding = find(comparison)) result.push_back(std::move(*finding));
  }
  return result;
}

}  // namespace scalelab::host
