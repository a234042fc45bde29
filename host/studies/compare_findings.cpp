#include "host/studies/compare_findings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "host/program/words.h"

namespace scalelab::host {

namespace {

bool has_model(const Comparison& c, const std::string& name) {
  const auto& models = c.options.models;
  return std::any_of(models.begin(), models.end(), [&](const Model& m) { return m.name == name; });
}

std::string place_of(std::int64_t n, const std::string& measure) {
  return fmt::format("n = {} ({})", grouped(n), short_measure(measure));
}

}  // namespace

bool add_line(Finding& f, std::vector<std::string> line, Contrast contrast) {
  if (contrast.difference.n == 0) return false;
  f.table.push_back(std::move(line));
  f.contrasts.push_back(std::move(contrast));
  return true;
}

Contrast between(const Comparison& c, const std::string& what, std::int64_t what_n, const std::string& against,
                 std::int64_t against_n, const std::string& measure) {
  nlohmann::json place = {{"n", what_n}};
  if (against_n != what_n) place["against_n"] = against_n;
  return contrast(what, c.errors(what, what_n, measure), against, c.errors(against, against_n, measure), measure,
                  std::move(place));
}

namespace {

// Verdicts of several models, each at several places.
class VerdictsByModel {
 public:
  // Of the first of each contrast, by n and error.
  explicit VerdictsByModel(const Finding& f) {
    for (const Contrast& one : f.contrasts) {
      add(one.what, place_of(one.place.at("n").get<std::int64_t>(), one.measure), one);
    }
  }

 private:
  void add(const std::string& model, const std::string& place, const Contrast& contrast) {
    auto found = std::find_if(models_.begin(), models_.end(), [&](const auto& one) { return one.first == model; });
    if (found == models_.end()) found = models_.insert(models_.end(), {model, {}});
    found->second.add(place, contrast);
  }

 public:
  // The models whose verdict is the same everywhere, by that verdict, and those whose verdict depends on the place.
  std::string title(const char* lower, const char* undecided, const char* higher, const char* same,
                    const char* depends) const {
    std::vector<std::string> groups[4], mixed;
    for (const auto& [model, v] : models_) {
      const int kinds = !v.lower().empty() + !v.undecided().empty() + !v.higher().empty() + !v.same().empty();
      if (kinds > 1) mixed.push_back(model);
      if (kinds != 1) continue;
      const int group = !v.lower().empty() ? 0 : !v.undecided().empty() ? 1 : !v.higher().empty() ? 2 : 3;
      groups[group].push_back(model);
    }
    std::vector<std::string> parts;
    const char* words[] = {lower, undecided, higher, same};
    for (int g = 0; g < 4; ++g) {
      if (!groups[g].empty()) parts.push_back(fmt::format("{} {}", words[g], listed(groups[g])));
    }
    if (!mixed.empty()) parts.push_back(fmt::format("{} {}", depends, listed(mixed)));
    return fmt::format("{}", fmt::join(parts, "; "));
  }
  // Where each model's verdict holds; and what depends on networks that failed to train.
  std::vector<std::string> points(const char* lower, const char* undecided, const char* higher) const {
    std::vector<std::string> list;
    for (const auto& [model, v] : models_) {
      list.push_back(fmt::format("{}: {}", model, v.worded(lower, undecided, higher)));
      if (!v.notes().empty()) list.back() += fmt::format(". {}", v.notes());
    }
    return list;
  }

 private:
  std::vector<std::pair<std::string, Verdicts>> models_;  // in the order in which they came
};

std::optional<Finding> data_equivalents(const Comparison& c) {
  const auto all = equivalents(c);
  const std::int64_t n = c.options.sizes.front();
  const Equivalent *least = nullptr, *most = nullptr;
  int candidates = 0;
  for (const Equivalent& e : all) {
    if (e.n != n || e.measure != "grid_error" || e.units == 0) continue;
    ++candidates;
    if (least == nullptr || e.rows < least->rows) least = &e;
    if (most == nullptr || e.rows > most->rows) most = &e;
  }
  if (most == nullptr) return std::nullopt;
  Finding f{.id = "data-equivalent"};
  if (candidates == 1) {
    f.title = fmt::format("{} points seen by {} are worth {} points of kNN", grouped(n), most->model, most->worded());
    if (most->interval_worded() != "-") f.title += fmt::format(" ({})", most->interval_worded());
  } else if (least->worded() == most->worded()) {  // as where all lie beyond the curve
    f.title = fmt::format("{} points seen by any of {} other models are worth {} points of kNN on (x, y)", grouped(n),
                          candidates, most->worded());
  } else {
    f.title = fmt::format("{} points seen by another model are worth {} ({}) to {} ({}) points of kNN on (x, y)",
                          grouped(n), least->worded(), least->model, most->worded(), most->model);
  }
  f.text = fmt::format(
      "The data equivalent of a model is how many points kNN on (x, y) needs for the same error: the same seed's kNN "
      "curve (k = 1; of a kNN on an encoding its own k), read at the model's error. Geometric mean over {}, with the "
      "95 % interval (Student's t of the logarithms). A seed outside the curve ({} to {} points) counts as the end "
      "it left by, and the figure is then only a bound.",
      counted(most->units, "seed"), grouped(static_cast<std::int64_t>(most->first)),
      grouped(static_cast<std::int64_t>(most->last)));
  if (candidates > 1) {
    f.text += fmt::format(
        " The title names the smallest and the largest of {} figures on the grid; that they were picked for their size "
        "is not in their intervals.",
        candidates);
  }
  f.columns = {"model", "n", "grid", "95 % interval", "density", "95 % interval"};
  for (std::size_t i = 0; i + 1 < all.size(); i += 2) {
    f.table.push_back({all[i].model, grouped(all[i].n), all[i].worded(), all[i].interval_worded(), all[i + 1].worded(),
                       all[i + 1].interval_worded()});
  }
  return f;
}

// The kNN models on encodings, each with the kNN on (x, y) of the same k measured beside it.
std::vector<const Model*> encoded_knns(const Comparison& c) {
  std::vector<const Model*> list;
  for (const Model& model : c.options.models) {
    const bool beside = !c.errors(on_coordinates(model.name), c.options.sizes.front(), kMeasures[0]).empty();
    if (is_encoded_knn(model) && beside) list.push_back(&model);
  }
  return list;
}

// With the learner held fixed: an encoding on few points against (x, y) on as many and on many; and with the encoding
// held fixed, the network on it against kNN.
std::vector<Contrast> bias_contrasts(const Comparison& c, bool over_worlds) {
  std::vector<Contrast> list;
  const std::int64_t small = c.options.sizes.front(), large = c.options.sizes.back();
  const auto add = [&](const std::string& what, const std::string& against, std::int64_t against_n) {
    for (const char* measure : kMeasures) {
      const auto errors = [&](const std::string& model, std::int64_t n) {
        return over_worlds ? c.errors_over_worlds(model, n, measure) : c.errors(model, n, measure);
      };
      Contrast one = contrast(what, errors(what, small), against, errors(against, against_n), measure,
                              {{"n", small}, {"against_n", against_n}});
      if (one.difference.n > 0 && one.over_worlds == over_worlds) list.push_back(std::move(one));
    }
  };
  for (const Model* model : encoded_knns(c)) {
    const std::string plain = on_coordinates(model->name);
    add(model->name, plain, small);
    if (large != small) add(model->name, plain, large);
    for (const Model& network : c.options.models) {
      const bool same = network.shape.encoding == model->shape.encoding && model->angle_weight == 1;
      if (same && is_plain(network)) add(network.name, model->name, small);
    }
  }
  judge(list, {});
  return list;
}

// The factors of the encodings alone, as text: "4.8 [4.1, 5.7] (knn-1@polar)".
std::vector<std::string> factors_of_encodings(const Comparison& c, const std::vector<Equivalent>& all,
                                              const std::string& measure) {
  std::vector<std::string> list;
  for (const Equivalent& e : all) {
    if (e.measure != measure || e.n != c.options.sizes.front() || e.units == 0 || !e.model.starts_with("knn-"))
      continue;
    list.push_back(fmt::format("{} ({})", e.factor_worded(), e.model));
  }
  return list;
}

std::optional<Finding> bias_with_the_learner_fixed(const Comparison& c) {
  if (encoded_knns(c).empty()) return std::nullopt;
  const std::int64_t small = c.options.sizes.front(), large = c.options.sizes.back();
  const std::vector<Equivalent> over = equivalents_over_worlds(c), home = equivalents(c);
  // Over worlds where there are several, else over the seeds of the first.
  const bool worlds = !over.empty();
  const std::vector<Equivalent>& factors = worlds ? over : home;
  Finding f{.id = "bias"};
  f.columns = {"model", "against", "error"};
  f.contrasts = bias_contrasts(c, worlds);
  Verdicts verdicts;
  for (const Contrast& one : f.contrasts) {
    const auto n = one.place.at("against_n").get<std::int64_t>();
    f.table.push_back({fmt::format("{} at {}", one.what, grouped(small)),
                       fmt::format("{} at {}", one.against, grouped(n)), short_measure(one.measure)});
    if (n == large && n != small) verdicts.add(fmt::format("{} ({})", one.what, short_measure(one.measure)), one);
  }
  if (f.contrasts.empty()) return std::nullopt;
  // The title says how many times the data the encodings are worth, or where that is not known, the verdicts.
  const auto by_grid = factors_of_encodings(c, factors, kMeasures[0]);
  const int units = f.contrasts[0].difference.n;
  const std::string unit = counted(units, worlds ? "world" : "seed");
  f.title =
      by_grid.empty()
          ? fmt::format("The encoding with the learner held fixed, over {}: {}", unit, verdicts.worded())
          : fmt::format("The learner held fixed, the right coordinates alone are worth {} times the data, over {}",
                        listed(by_grid), unit);
  const auto by_density = factors_of_encodings(c, factors, kMeasures[1]);
  if (!by_density.empty())
    f.points.push_back("by density error they are worth " + listed(by_density) + " times the data");
  if (worlds) {
    f.points.push_back(fmt::format("in world {} alone, over {}: {} times on the grid", c.options.worlds[0],
                                   counted(std::ssize(c.options.seeds), "seed"),
                                   listed(factors_of_encodings(c, home, kMeasures[0]))));
  }
  if (!verdicts.empty()) {
    f.points.push_back(fmt::format("{} points with the bias minus {} without, the same kNN: {}", grouped(small),
                                   grouped(large), verdicts.worded()));
    add_notes(f, verdicts);
  }
  f.text = fmt::format(
      "A network in polar coordinates differs from kNN on (x, y) in two things at once. Here each is changed alone: "
      "the same kNN in the features of an encoding, and on one encoding a network in place of kNN. Times the data: "
      "as many points as kNN on (x, y) needs for the error that the same kNN has on {} points in the encoding, for "
      "each point; geometric mean with the 95 % interval of the logarithms (Student's t). The error of the model "
      "minus that of the other, {}.",
      grouped(small), worlds ? "world by world" : "seed by seed");
  settle(f);
  return f;
}

// "knn-5 at 10,000 beats a network at 1,000": the contrasts, in the first world or over all of them, judged together.
std::vector<Contrast> main_contrasts(const Comparison& c, bool over_worlds) {
  const std::string knn = main_knn(c.options);
  std::vector<Contrast> list;
  if (knn.empty() || c.options.sizes.size() < 2) return list;
  const std::int64_t small = c.options.sizes.front(), large = c.options.sizes.back();
  for (const auto& network : c.options.network_names()) {
    for (const char* measure : kMeasures) {
      if (over_worlds && !c.errors_over_worlds(network, small, measure).over_worlds()) continue;
      Contrast one = over_worlds ? contrast(knn, c.errors_over_worlds(knn, large, measure), network,
                                            c.errors_over_worlds(network, small, measure), measure,
                                            {{"n", large}, {"against_n", small}})
                                 : between(c, knn, large, network, small, measure);
      if (one.difference.n > 0) list.push_back(std::move(one));
    }
  }
  judge(list, {});
  return list;
}

constexpr const char *kTrue = "true against", *kOpen = "undecided against", *kFalse = "false against",
                     *kSame = "no different against";

std::optional<Finding> large_knn_against_small_networks(const Comparison& c) {
  Finding f{.id = "knn-large-vs-network-small"};
  f.columns = {"network", "error"};
  f.contrasts = main_contrasts(c, false);
  if (f.contrasts.empty()) return std::nullopt;
  const std::string knn = main_knn(c.options);
  const std::int64_t small = c.options.sizes.front(), large = c.options.sizes.back();
  Verdicts verdicts[2];
  for (const Contrast& one : f.contrasts) {
    f.table.push_back({one.against, short_measure(one.measure)});
    verdicts[one.measure == kMeasures[0] ? 0 : 1].add(one.against, one);
  }
  const auto worded = [](const Verdicts& v) { return v.worded(kTrue, kOpen, kFalse, kSame); };
  f.title =
      fmt::format("\"{} at {} beats a network at {}\" is {}", knn, grouped(large), grouped(small), worded(verdicts[0]));
  f.text =
      fmt::format("The error of {} at {} minus that of the network at {}, seed by seed. The title is about the grid.",
                  knn, grouped(large), grouped(small));
  f.points.push_back("by density error it is " + worded(verdicts[1]));
  for (int m = 0; m < 2; ++m) {
    if (!verdicts[m].notes().empty()) f.points.push_back(short_measure(kMeasures[m]) + ": " + verdicts[m].notes());
  }
  settle(f);
  return f;
}

// The same question with the worlds as what is independent, beside its answer within the first.
std::optional<Finding> main_question_over_worlds(const Comparison& c) {
  if (c.options.worlds.size() < 2) return std::nullopt;
  Finding f{.id = "worlds"};
  f.columns = {"network", "error", fmt::format("within world {}", c.options.worlds[0]), "verdict there"};
  f.contrasts = main_contrasts(c, true);
  const std::vector<Contrast> home = main_contrasts(c, false);
  if (f.contrasts.empty() || !f.contrasts[0].over_worlds) return std::nullopt;
  Verdicts verdicts[2];
  std::vector<std::string> differ;
  for (const Contrast& over : f.contrasts) {
    const auto within = std::find_if(home.begin(), home.end(), [&](const Contrast& one) {
      return one.against == over.against && one.measure == over.measure;
    });
    const bool known = within != home.end();
    f.table.push_back({over.against, short_measure(over.measure), known ? worded(within->difference) : "-",
                       known ? verdict_word(within->verdict()) : "-"});
    verdicts[over.measure == kMeasures[0] ? 0 : 1].add(over.against, over);
    if (known && within->verdict() != over.verdict()) {
      differ.push_back(fmt::format("{} ({}: {} within, {} over worlds)", over.against, short_measure(over.measure),
                                   verdict_word(within->verdict()), verdict_word(over.verdict())));
    }
  }
  const auto worded = [](const Verdicts& v) { return v.worded(kTrue, kOpen, kFalse, kSame); };
  f.title = fmt::format("Over {}, \"{} at {} beats a network at {}\" is {}",
                        counted(f.contrasts[0].difference.n, "world"), main_knn(c.options),
                        grouped(c.options.sizes.back()), grouped(c.options.sizes.front()), worded(verdicts[0]));
  f.points.push_back("by density error it is " + worded(verdicts[1]));
  f.points.push_back(differ.empty() ? "the verdicts are those within the first world"
                                    : "the verdict is another than within the first world for " + listed(differ));
  f.text = fmt::format(
      "World {} is the mixture that everything else on this page is about; the others are drawn at random, and here "
      "a world counts once, however many seeds it has. What holds over worlds holds for mixtures of this kind and "
      "not for one of them.",
      c.options.worlds[0]);
  for (int m = 0; m < 2; ++m) {
    if (!verdicts[m].notes().empty()) f.points.push_back(short_measure(kMeasures[m]) + ": " + verdicts[m].notes());
  }
  settle(f);
  return f;
}

// Of the kNN models on (x, y), the one with the lowest mean error.
std::string best_knn(const Comparison& c, std::int64_t n, const std::string& measure) {
  std::string best;
  double lowest = 0;
  for (const Model& model : c.options.models) {
    const SeedErrors errors = c.errors(model.name, n, measure);
    if (!model.is_knn() || is_encoded_knn(model) || errors.empty()) continue;
    const double mean = errors.summary().mean;
    if (best.empty() || mean < lowest) {
      best = model.name;
      lowest = mean;
    }
  }
  return best;
}

std::optional<Finding> equal_sizes(const Comparison& c) {
  Finding f{.id = "equal-n"};
  f.columns = {"n", "network", "error", "best kNN"};
  for (const std::int64_t n : c.options.sizes) {
    for (const auto* measure : kMeasures) {
      const std::string knn = best_knn(c, n, measure);
      if (knn.empty()) continue;
      for (const auto& network : c.options.network_names()) {
        add_line(f, {grouped(n), network, short_measure(measure), knn}, between(c, network, n, knn, n, measure));
      }
    }
  }
  if (f.table.empty()) return std::nullopt;
  f.text = "The error of each network minus that of the kNN with the lowest mean error at that n, seed by seed.";
  settle(f);
  const VerdictsByModel verdicts(f);
  f.title = "At equal n, " + verdicts.title("kNN is beaten at every size by", "kNN is undecided at every size against",
                                            "kNN beats at every size", "kNN does as well at every size as",
                                            "the verdict depends on n or on the error for");
  f.points = verdicts.points("better at", "undecided at", "worse at");
  return f;
}

// Networks at the largest size with either budget: the same number of samples as at the smallest, and the same number
// of epochs.
std::optional<Finding> budgets(const Comparison& c) {
  const std::int64_t n = c.options.sizes.back();
  const int first = c.options.epochs_at(n), other = c.options.other_epochs();
  Finding f{.id = "budget"};
  f.columns = {"network",
               "error",
               fmt::format("{} epochs: error, %", grouped(first)),
               "training error, %",
               "against the best kNN",
               fmt::format("{} epochs: error, %", grouped(other)),
               "best kNN"};
  if (c.options.budget_seeds == 0 || other == 0) return std::nullopt;
  // `before`: the usual training, on the draws that were also trained longer.
  std::vector<Contrast> before;
  for (const auto* measure : kMeasures) {
    const std::string knn = best_knn(c, n, measure);
    for (const auto& network : c.options.network_names()) {
      const SeedErrors longer = c.other_budget(network, measure);
      if (knn.empty() || longer.empty()) continue;
      Contrast one = contrast(network, longer, knn, c.errors(knn, n, measure), measure, {{"n", n}, {"epochs", other}});
      SeedErrors same_draws = c.errors(network, n, measure);
      const auto elsewhere = [&](const auto& error) { return !longer.by_draw.contains(error.first); };
      std::erase_if(same_draws.by_draw, elsewhere);
      std::erase_if(same_draws.train, elsewhere);
      const Contrast usual = contrast(network, same_draws, knn, c.errors(knn, n, measure), measure);
      if (add_line(f,
                   {network, short_measure(measure), worded(usual.of_what), worded(same_draws.train_summary()),
                    worded(usual.difference), worded(one.of_what), knn},
                   std::move(one))) {
        before.push_back(usual);
      }
    }
  }
  if (f.table.empty()) return std::nullopt;
  // Each budget is a family of its own; what is told are the verdicts that differ.
  judge(before, {});
  f.text = fmt::format(
      "The usual training at n = {} is {} epochs; here it is {}, so that the networks' steps are {}. Both are held "
      "against the kNN with the lowest mean error, on the same {}.",
      grouped(n), grouped(first), grouped(other),
      c.options.same_epochs ? "those of the smallest size" : "in proportion to the points",
      counted(std::min<std::int64_t>(c.options.budget_seeds, std::ssize(c.options.seeds)), "seed"));
  settle(f);
  std::vector<std::string> changed;
  for (std::size_t i = 0; i < before.size(); ++i) {
    f.table[i][4] += fmt::format(" {}", verdict_word(before[i].verdict()));
    if (before[i].verdict() == f.contrasts[i].verdict()) continue;
    changed.push_back(fmt::format("{} ({}: {}, with training error {} %; then {}, with {} %)", before[i].what,
                                  short_measure(before[i].measure), verdict_word(before[i].verdict()),
                                  worded(before[i].train_what), verdict_word(f.contrasts[i].verdict()),
                                  worded(f.contrasts[i].train_what)));
  }
  f.title = fmt::format("At n = {}, {} epochs in place of {}: {}", grouped(n), grouped(other), grouped(first),
                        changed.empty() ? "no verdict against kNN is another"
                                        : "the verdict against kNN is another for " + listed(changed));
  return f;
}

std::optional<Finding> encodings(const Comparison& c) {
  Finding f{.id = "encodings"};
  f.columns = {"n", "model", "against", "error"};
  for (const std::int64_t n : c.options.sizes) {
    for (const auto* measure : kMeasures) {
      for (const Model& model : c.options.models) {
        const std::string plain = on_coordinates(model.name);
        if (plain == model.name) continue;
        add_line(f, {grouped(n), model.name, plain, short_measure(measure)},
                 between(c, model.name, n, plain, n, measure));
      }
    }
  }
  if (f.table.empty()) return std::nullopt;
  settle(f);
  const VerdictsByModel verdicts(f);
  const std::string tests = f.text;
  f.title = "What the encoding is worth at equal n, against the same learner on (x, y): " +
            verdicts.title("lower error everywhere for", "undecided everywhere for", "higher error everywhere for",
                           "nothing anywhere for", "depends on n or on the error for");
  f.text =
      "The error of a network or of kNN in polar coordinates minus that of the same learner on (x, y), on the same "
      "points, seed by seed. " +
      tests;
  f.points = verdicts.points("lower at", "undecided at", "higher at");
  return f;
}

std::optional<Finding> extras(const Comparison& c) {
  Finding f{.id = "extras"};
  f.columns = {"n", "network", "error", "without, %", "with, %"};
  for (const std::int64_t n : c.options.sizes) {
    for (const auto* measure : kMeasures) {
      for (const auto& with : c.options.network_names()) {
        const std::string plain = with.substr(0, with.find('+'));
        if (plain == with || !has_model(c, plain) || with.ends_with("+sgd")) continue;
        Contrast one = between(c, with, n, plain, n, measure);
        std::vector<std::string> line = {grouped(n), with, short_measure(measure), worded(one.of_against),
                                         worded(one.of_what)};
        add_line(f, std::move(line), std::move(one));
      }
    }
  }
  if (f.table.empty()) return std::nullopt;
  f.text = "The error of the same network with them minus that without, seed by seed; +extras are all three.";
  settle(f);
  const VerdictsByModel by_network(f);
  Verdicts all;
  for (const Contrast& one : f.contrasts) all.add(one.what, one);
  f.title = fmt::format(
      "Focal loss, layer norm and weight decay: the error falls in {} of {}, rises in {},{} and {} undecided",
      all.lower().size(), counted(std::ssize(f.table), "comparison"), all.higher().size(),
      all.same().empty() ? "" : fmt::format(" is the same in {},", all.same().size()),
      all.undecided().size() == 1 ? "1 is" : fmt::format("{} are", all.undecided().size()));
  f.points = by_network.points("lower at", "undecided at", "higher at");
  return f;
}

// "of 11 sizes k = 1 is better at 10 and 1 is undecided"
std::string counted_verdicts(const Verdicts& v) {
  std::vector<std::string> parts;
  if (!v.lower().empty()) parts.push_back(fmt::format("k = 1 is better at {}", v.lower().size()));
  if (!v.higher().empty()) parts.push_back(fmt::format("k = 5 is better at {}", v.higher().size()));
  if (!v.same().empty()) parts.push_back(fmt::format("they are the same at {}", v.same().size()));
  const std::size_t open = v.undecided().size();
  if (open > 0) parts.push_back(open == 1 ? "1 is undecided" : fmt::format("{} are undecided", open));
  return fmt::format("of {} sizes {}", v.lower().size() + v.higher().size() + v.same().size() + open, listed(parts));
}

std::optional<Finding> one_against_five(const Comparison& c) {
  Finding f{.id = "k1-vs-k5"};
  f.columns = {"n", "error", "k = 1, %", "k = 5, %"};
  for (const std::int64_t n : c.options.curve_sizes()) {
    for (const char* measure : kMeasures) {
      Contrast one = between(c, "knn-1", n, "knn-5", n, measure);
      std::vector<std::string> line = {grouped(n), short_measure(measure), worded(one.of_what), worded(one.of_against)};
      add_line(f, std::move(line), std::move(one));
    }
  }
  if (f.table.empty()) return std::nullopt;
  settle(f);
  const std::string tests = f.text;
  Verdicts verdicts[2];
  for (const Contrast& one : f.contrasts) {
    verdicts[one.measure == kMeasures[0] ? 0 : 1].add(grouped(one.place.at("n").get<std::int64_t>()), one);
  }
  const std::string noise = c.options.noise > 0 ? fmt::format(" with {:g} % label noise", 100 * c.options.noise) : "";
  const auto settled = [](const Verdicts& v) {
    return v.undecided().empty() && v.higher().empty() && v.same().empty();
  };
  const auto first = c.options.curve_sizes().front(), last = c.options.curve_sizes().back();
  f.title = settled(verdicts[0]) && settled(verdicts[1])
                ? fmt::format("k = 1 beats k = 5 at every n from {} to {}{}, on both errors", f.table.front()[0],
                              f.table.back()[0], noise)
                : fmt::format("k = 1 against k = 5{}: on the grid, {}; by density, {}", noise,
                              counted_verdicts(verdicts[0]), counted_verdicts(verdicts[1]));
  f.text = fmt::format(
      "The error at k = 1 minus that at k = 5, paired over {}. What is independent here are the seeds: a seed's "
      "smaller sets are the beginning of its larger ones ({} to {}), and both errors are of the same models. {}",
      counted(std::ssize(c.options.seeds), "seed"), grouped(first), grouped(last), tests);
  return f;
}

// The ratio of the errors at k = 5 and k = 1 at the curve's end, where bands are wide against the neighbourhood, held
// against c_5 / c_1. Empty where there is no ratio.
std::string ratio_against_theory(const Comparison& c) {
  const auto sizes = c.options.curve_sizes();
  if (sizes.empty() || c.options.noise > 0) return "";
  const std::int64_t n = sizes.back();
  const SeedErrors one = c.errors("knn-1", n, "grid_error"), five = c.errors("knn-5", n, "grid_error");
  const GeometricMean ratio = five.ratio_to(one);
  if (ratio.n < 2) return "";
  const double theory = flat_boundary_constant(5) / flat_boundary_constant(1);
  const bool holds = ratio.interval.low <= theory && theory <= ratio.interval.high;
  return fmt::format(
      " At n = {} the grid error at k = 5 is {:.3f} times that at k = 1 (95 % interval {:.3f} to {:.3f}, Student's t "
      "of the logarithms over {}); the theory's c_5 / c_1 = {:.3f} lies {} that interval.",
      grouped(n), ratio.mean, ratio.interval.low, ratio.interval.high, counted(ratio.n, "seed"), theory,
      holds ? "within" : "outside");
}

// k = 1 against k = 5 at one noise level: a line of the panel's table.
void panel_line(const Comparison& c, std::int64_t n, const std::string& measure, double noise, Finding& f) {
  std::vector<std::string> line = {grouped(n), fmt::format("{:g} %", 100 * noise), short_measure(measure)};
  for (const int k : kPanelNeighbours) {
    line.push_back(worded(c.errors(fmt::format("knn-{}", k), n, measure, noise).summary()));
  }
  Contrast one = contrast("knn-1", c.errors("knn-1", n, measure, noise), "knn-5", c.errors("knn-5", n, measure, noise),
                          measure, {{"n", n}, {"noise", noise}});
  add_line(f, std::move(line), std::move(one));
}

std::optional<Finding> why_one_is_better(const Comparison& c) {
  Finding f{.id = "why-k1"};
  const double noise = c.options.noise_panel;
  if (noise == 0) return std::nullopt;
  std::vector<std::string> columns = {"n", "label noise", "error"};
  for (const int k : kPanelNeighbours) columns.push_back(fmt::format("k = {}, %", k));
  f.columns = std::move(columns);
  std::vector<std::string> reversed, undecided, kept;
  std::size_t better = 0, cases = 0;  // better: k = 1 is lower without noise
  // A line, and a contrast to be judged, for each size and error without and with label noise.
  for (const std::int64_t n : c.options.sizes) {
    for (const auto* measure : kMeasures) {
      panel_line(c, n, measure, 0.0, f);
      panel_line(c, n, measure, noise, f);
    }
  }
  if (f.table.empty()) return std::nullopt;
  // All of them are judged together; what was tested, and how, is then in the text.
  settle(f);
  const std::string tests = f.text;
  const auto verdict_at = [&](std::int64_t n, const std::string& measure, double at_noise) {
    for (const Contrast& one : f.contrasts) {
      if (one.place == nlohmann::json{{"n", n}, {"noise", at_noise}} && one.measure == measure) return one.verdict();
    }
    return Verdict::undecided;
  };
  // A case is reversed where noise turns a lower error of k = 1 into a higher one.
  for (const std::int64_t n : c.options.sizes) {
    for (const auto* measure : kMeasures) {
      const Verdict without = verdict_at(n, measure, 0.0), with = verdict_at(n, measure, noise);
      const auto open = [](Verdict v) { return v == Verdict::undecided || v == Verdict::same; };
      ++cases;
      better += without == Verdict::lower;
      (without == Verdict::lower && with == Verdict::higher ? reversed
       : open(without) || open(with)                        ? undecided
                                                            : kept)
          .push_back(place_of(n, measure));
    }
  }
  if (better == 0) {
    f.title = fmt::format("That k = 1 is better than k = 5 is settled in none of the {} cases shown", cases);
  } else {
    f.title = fmt::format(
        "Why k = 1: without label noise there is nothing to average out. With {:g} % of the labels flipped, the order "
        "is reversed in {} of {} cases{}",
        100 * noise, reversed.size(), cases,
        undecided.empty() ? "" : fmt::format(" and undecided in {}", undecided.size()));
  }
  std::vector<std::string> parts;
  if (!reversed.empty()) parts.push_back("is reversed at " + listed(reversed));
  if (!undecided.empty()) parts.push_back("is undecided at " + listed(undecided));
  if (!kept.empty()) parts.push_back("stays at " + listed(kept));
  f.points.push_back(
      fmt::format("k = 1 against k = 5 at {:g} % label noise: the order {}", 100 * noise, fmt::join(parts, "; ")));
  f.text = fmt::format(
      "Theory: along a straight boundary without label noise, where n points fall on a unit of area, the area that kNN "
      "gets wrong per unit of length is c_k / \u221an, with c_1 = {:.4f}, c_3 = {:.4f}, c_5 = {:.4f}. A vote has no "
      "noise to average out; it only looks further away. Along wide bands that costs little, and where the reach of "
      "the k neighbours comes near the width of the band it costs much, because most of the voters then stand outside.",
      flat_boundary_constant(1), flat_boundary_constant(3), flat_boundary_constant(5));
  f.text += ratio_against_theory(c);
  f.text += fmt::format(
      " With label noise each voter is wrong at times, and that a vote does average out; whether it outweighs the "
      "longer reach, the table shows: the same points with {:g} % of their labels flipped, errors against the true "
      "labels. {}",
      100 * noise, tests);
  return f;
}

std::optional<Finding> law(const Comparison& c) {
  Finding f{.id = "law"};
  f.columns = {"model", "error", "law", "why"};
  std::vector<double> sizes;  // of the first law
  for (const Curve& curve : c.curves.curves) {
    if (!curve.trial.is_knn() || curve.trial.noise != c.options.noise) continue;
    for (const char* measure : kMeasures) {
      const auto law = curve.laws.find(measure);
      if (law == curve.laws.end()) continue;
      if (sizes.empty()) sizes = law->second.law.sizes;
      f.table.push_back({curve.trial.model, short_measure(measure), law->second.worded(), law->second.law.why});
    }
  }
  if (f.table.empty()) return std::nullopt;
  const auto& first = f.table.front();
  f.title = fmt::format("The law of {}, {} error: {}", first[0], first[1], first[2]);
  f.text = fmt::format(
      "A power law, one with a floor and an exponential are fitted to the mean errors over seeds at n = {} to {}, as "
      "in every sweep; each must predict the largest n, which it has not seen. Bootstrap intervals over seeds. The "
      "theory of a flat boundary gives n^-0.5 where neighbourhoods are small against the width of the bands.",
      grouped(std::llround(sizes.front())), grouped(std::llround(sizes.back())));
  return f;
}

// "2 (seed 4, training error 13.4 %; seed 7 start 1, 2.10 %)"
std::string misfits_named(const SeedErrors& errors) {
  std::vector<std::string> names;
  for (const Draw& draw : errors.misfits()) {
    names.push_back(fmt::format("seed {}{}, training error {} %", draw.seed,
                                draw.start > 0 ? fmt::format(" start {}", draw.start) : "",
                                percent(errors.train.at(draw))));
  }
  return names.empty() ? "0" : fmt::format("{} ({})", names.size(), fmt::join(names, "; "));
}

std::optional<Finding> untrained(const Comparison& c) {
  Finding f{.id = "did-not-train"};
  f.columns = {"model", "n", "collapsed to one class", "diverged", "did not fit", "could not be run", "runs"};
  std::size_t total = 0, all = 0;
  for (const std::int64_t n : c.options.sizes) {
    for (const Model& model : c.options.models) {
      const SeedErrors errors = c.errors(model.name, n, "grid_error");
      const std::size_t missing = static_cast<std::size_t>(errors.missing), runs = errors.by_draw.size() + missing;
      const std::size_t failed = errors.failed().size() + missing;
      all += runs;
      total += failed;
      if (failed == 0) continue;
      f.table.push_back({model.name, grouped(n), std::to_string(errors.collapsed.size()),
                         std::to_string(errors.diverged.size()), misfits_named(errors), std::to_string(missing),
                         std::to_string(runs)});
    }
  }
  if (total == 0) return std::nullopt;
  f.title = fmt::format("{} of {} failed to train; they count in every mean and difference with the error they have",
                        total, counted(static_cast<std::int64_t>(all), "run"));
  f.text =
      "A network that calls everything one class, whose weights stopped being finite, or that did not fit (its "
      "training error is above one point and three times the median of its peers) has an error like any other. "
      "Leaving it out would flatter what makes networks fail; where leaving it out would change a verdict, the "
      "verdict says so. Only runs that could not be done at all are missing.";
  return f;
}

}  // namespace

// A point at distance t from the boundary is called wrongly when more than half of its k neighbours lie across it: when
// the median m of their coordinates along the normal, seen from the point, is beyond t. Over both sides the wrong area
// for a unit of length is the integral over t of P(m > t) + P(m < -t), so that c_k = E|m| in a Poisson field of one
// point to a unit of area. Given the distance R of the (k+1)-th neighbour, the k nearer ones are k independent uniform
// points of the disc of radius R. So m = R times the median of k draws from the semicircle distribution on [-1, 1], and
// R is independent of it: E R = Gamma(k + 3/2) / (sqrt(pi) Gamma(k + 1)), as pi R^2 is the sum of k + 1 exponential
// waits. With k = 1: 3/4 times 4/(3 pi) = 1/pi.
double flat_boundary_constant(int k) {
  const double pi = std::acos(-1.0);
  // P(median of k draws > s): at least (k + 1) / 2 of them lie beyond s, each with probability q.
  const auto beyond = [&](double s) {
    const double q = 0.5 - (s * std::sqrt(1 - s * s) + std::asin(s)) / pi;
    double sum = 0;
    for (int i = (k + 1) / 2; i <= k; ++i) {
      const double choices = std::exp(std::lgamma(k + 1) - std::lgamma(i + 1) - std::lgamma(k - i + 1));
      sum += choices * std::pow(q, i) * std::pow(1 - q, k - i);
    }
    return sum;
  };
  // E|median| = 2 times the integral of that from 0 to 1; Simpson's rule in an angle, s = sin(angle), where the
  // integrand is smooth up to the end.
  constexpr int kSteps = 2000;
  const double width = pi / 2 / kSteps;
  double integral = 0;
  for (int i = 0; i <= kSteps; ++i) {
    const double weight = i == 0 || i == kSteps ? 1 : i % 2 == 1 ? 4 : 2;
    const double angle = i * width;
    integral += weight * beyond(std::sin(angle)) * std::cos(angle);
  }
  integral *= width / 3;
  const double mean_radius = std::exp(std::lgamma(k + 1.5) - std::lgamma(k + 1.0)) / std::sqrt(pi);
  return mean_radius * 2 * integral;
}

std::vector<Finding> findings(const Comparison& comparison) {
  std::vector<Finding> result;
  for (const auto& find : {bias_with_the_learner_fixed, data_equivalents, large_knn_against_small_networks,
                           main_question_over_worlds, equal_sizes, budgets, encodings, extras, regions, patches,
                           disagreement, one_against_five, why_one_is_better, law, untrained}) {
    if (auto finding = find(comparison)) result.push_back(std::move(*finding));
  }
  return result;
}

}  // namespace scalelab::host
