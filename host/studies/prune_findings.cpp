// What prune-study finds in its table of choices.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "host/evidence/frontier.h"
#include "host/evidence/law.h"
#include "host/lab/difficulty.h"
#include "host/program/words.h"
#include "host/studies/prune_study.h"

namespace scalelab::host {

const ChoiceCell* ChoiceTable::cell(std::size_t choice, std::int64_t n) const {
  const auto found = cells.find({choice, n});
  return found == cells.end() || found->second.kept.empty() ? nullptr : &found->second;
}

std::optional<std::size_t> ChoiceTable::find(const std::string& name, double fraction) const {
  for (std::size_t c = 0; c < choices.size(); ++c) {
    if (choices[c].name == name && (choices[c].fraction == fraction || choices[c].all())) return c;
  }
  return std::nullopt;
}

Contrast ChoiceTable::against(std::size_t a, std::size_t b, std::int64_t n, const std::string& measure) const {
  const ChoiceCell *x = cell(a, n), *y = cell(b, n);
  const SeedErrors none;
  nlohmann::json place = {{"n", n}};
  place["fraction"] = choices[a].ruled() ? nlohmann::json("rule") : nlohmann::json(choices[a].fraction);
  return contrast(choices[a].titled(), x == nullptr ? none : x->errors.at(measure), choices[b].titled(),
                  y == nullptr ? none : y->errors.at(measure), measure, std::move(place));
}

bool ChoiceTable::trains() const {
  Trial trial;
  trial.model = options.model;
  return trial.is_network();
}

void ChoiceTable::judge_choices() {
  const auto fill = [&](Judged& judged, const std::string& measure, std::size_t choice, std::size_t other) {
    std::vector<Contrast*> family;
    for (const std::int64_t n : sizes) {
      Contrast& one = judged[{measure, choice, n}] = against(choice, other, n, measure);
      family.push_back(&one);
    }
    judge(family);
  };
  for (const std::string& measure : measures) {
    for (std::size_t c = 0; c < choices.size(); ++c) {
      if (choices[c].all()) continue;
      fill(minus_all, measure, c, 0);
      if (!choices[c].random()) fill(minus_random, measure, c, control(c));
    }
  }
}

nlohmann::json fraction_json(double fraction) {
  return fraction == kByRule ? nlohmann::json("rule") : nlohmann::json(fraction);
}

namespace {

nlohmann::json choices_json(const ChoiceTable& table) {
  nlohmann::json list = nlohmann::json::array();
  for (const std::int64_t n : table.sizes) {
    for (std::size_t c = 0; c < table.choices.size(); ++c) {
      const ChoiceCell* cell = table.cell(c, n);
      if (cell == nullptr) continue;
      const RowChoice& choice = table.choices[c];
      nlohmann::json entry = {{"choice", choice.name},
                              {"keep", choice.keep},
                              {"score", choice.score},
                              {"features", choice.features},
                              {"clusters", choice.clusters},
                              {"class_floor", choice.floor},
                              {"fraction", fraction_json(choice.fraction)},
                              {"n", n},
                              {"kept", cell->kept.summary().mean}};
      if (!cell->least_class.empty()) {
        entry["least_class"] = cell->least_class.summary().mean;
        entry["most_class"] = cell->most_class.summary().mean;
      }
      if (!cell->purity.empty()) entry["purity"] = cell->purity.summary().mean;
      if (cell->theory) {
        entry["probe_angle"] = choice.angle;
        entry["theory"] = *cell->theory;
      }
      for (const std::string& measure : table.measures) {
        entry[measure] = to_json(cell->errors.at(measure));
        if (choice.all()) continue;
        if (!choice.random()) entry[measure]["minus_random"] = to_json(table.minus_random.at({measure, c, n}));
        entry[measure]["minus_all"] = to_json(table.minus_all.at({measure, c, n}));
      }
      list.push_back(std::move(entry));
    }
  }
  return list;
}

// One measure at one n: a line for each choice at each fraction, so that no line grows with the number of fractions.
// Empty where no trial gave a result.
std::string table_text(const ChoiceTable& table, const std::string& measure, std::int64_t n) {
  std::vector<std::vector<std::string>> rows = {{"choice", "kept", "error, %", "less random's, in points", "verdict"}};
  if (table.options.on("perceptron")) rows[0].push_back("theory, %");
  for (std::size_t c = 0; c < table.choices.size(); ++c) {
    const RowChoice& choice = table.choices[c];
    const ChoiceCell* cell = table.cell(c, n);
    if (cell == nullptr) continue;
    rows.push_back(
        {choice.titled(), grouped(std::llround(cell->kept.summary().mean)), cell->errors.at(measure).worded()});
    if (choice.all() || choice.random()) {
      rows.back().insert(rows.back().end(), {"", ""});
    } else {
      const Contrast& against = table.minus_random.at({measure, c, n});
      rows.back().push_back(worded(against.difference));
      rows.back().push_back(std::string(verdict_word(against.verdict())) + (against.depends_on_failed() ? "*" : ""));
    }
    if (cell->theory) rows.back().push_back(percent(*cell->theory));
  }
  return rows.size() > 1 ? aligned(rows, Side::left) : "";
}

// Ends a finding whose contrasts are all one family: judged, counted in the title after `question`, and named in points.
void tell(Finding& f, const std::string& question, const std::string& lower, const std::string& higher) {
  const Verdicts verdicts = settle_by_place(f, [](const Contrast& c) { return c.what; });
  f.title = question + " is " + verdicts.counted();
  if (!verdicts.higher().empty()) f.points.insert(f.points.begin(), higher + listed(verdicts.higher()));
  if (!verdicts.lower().empty()) f.points.insert(f.points.begin(), lower + listed(verdicts.lower()));
}

// Every choice against all rows of the same n.
std::optional<Finding> all_finding(const ChoiceTable& table, const std::string& measure) {
  const std::string name = short_measure(measure);
  Finding f{.id = "all-" + name};
  f.columns = {"choice", "n", "error, %", "all rows, %"};
  Verdicts verdicts;
  for (std::size_t c = 1; c < table.choices.size(); ++c) {
    for (const std::int64_t n : table.sizes) {
      const Contrast& against = table.minus_all.at({measure, c, n});
      if (against.difference.n == 0) continue;
      verdicts.add(fmt::format("{} of n {}", against.what, grouped(n)), against);
      f.table.push_back({against.what, grouped(n), worded(against.of_what), worded(against.of_against)});
      f.contrasts.push_back(against);
    }
  }
  if (f.contrasts.empty()) return std::nullopt;
  f.title = fmt::format("Against all rows the {} error of a choice is {}", name, verdicts.counted());
  if (!verdicts.lower().empty() && verdicts.lower().size() <= 5) {
    f.points.push_back("lower with " + listed(verdicts.lower()));
  }
  f.text =
      "A place is one choice of the rows of one n, held against all of the same rows. Fewer rows are passed over as "
      "often, so that fewer steps are made. A family of tests is one choice.";
  add_notes(f, verdicts);
  settle(f, [](const Contrast& c) { return c.what; });
  return f;
}

// The largest n once more, with as many steps for every choice as for all rows: what is left of the effect of choosing
// when training is not cut with the data.
std::optional<Finding> budget_finding(const ChoiceTable& table, const std::string& measure) {
  const std::string name = short_measure(measure);
  const std::int64_t n = table.sizes.back();
  Finding f{.id = "budget-" + name};
  f.columns = {"choice", "equal epochs: error, %", "less random's, in points", "equal steps: error, %", "random's, %"};
  for (const auto& [c, cell] : table.equal_steps) {
    const RowChoice& choice = table.choices[c];
    const auto control = table.equal_steps.find(choice.random() ? c : table.control(c));
    const ChoiceCell* epochs = table.cell(c, n);
    if (choice.random() || control == table.equal_steps.end() || epochs == nullptr) continue;
    Contrast one = contrast(choice.titled(), cell.errors.at(measure), table.choices[control->first].titled(),
                            control->second.errors.at(measure), measure, {{"n", n}, {"budget", "steps"}});
    if (one.difference.n == 0) continue;
    const Contrast& before = table.minus_random.at({measure, c, n});
    f.table.push_back({one.what, worded(before.of_what),
                       fmt::format("{} {}", worded(before.difference), verdict_word(before.verdict())),
                       worded(one.of_what), worded(one.of_against)});
    f.contrasts.push_back(std::move(one));
  }
  if (f.contrasts.empty()) return std::nullopt;
  f.text = fmt::format(
      "Fewer rows passed over as often are fewer steps. Here every choice of n = {} has as many steps as all of its "
      "rows.",
      grouped(n));
  const Verdicts verdicts = settle_by_place(f, [](const Contrast& c) { return c.what; });
  Verdicts before;
  for (const auto& [c, cell] : table.equal_steps) {
    if (!table.choices[c].random()) before.add(table.choices[c].titled(), table.minus_random.at({measure, c, n}));
  }
  f.title = fmt::format(
      "At n {} with equal steps, the {} error against a random choice of the same size is {}; with equal epochs, {}",
      grouped(n), name, verdicts.counted(), before.counted());
  for (const auto& [c, cell] : table.equal_steps) {
    const RowChoice& choice = table.choices[c];
    if (!choice.random() || table.cell(c, n) == nullptr || table.cell(0, n) == nullptr) continue;
    f.points.push_back(fmt::format("{}: {} % with equal epochs, {} % with equal steps; all rows {} %", choice.titled(),
                                   worded(table.cell(c, n)->errors.at(measure).summary()),
                                   worded(cell.errors.at(measure).summary()),
                                   worded(table.cell(0, n)->errors.at(measure).summary())));
  }
  return f;
}

// Whether the number of clusters matters: the worst against the best k of each clustering choice at the largest size.
std::optional<Finding> clusters_finding(const ChoiceTable& table, nlohmann::json& list) {
  const std::int64_t n = table.sizes.back();
  const std::string measure = table.measures.back();
  Finding f{.id = "clusters-" + short_measure(measure)};
  f.columns = {"choice", "errors by k, %", "random, %"};
  // Choices that differ in nothing but the number of clusters.
  std::map<std::string, std::vector<std::size_t>> groups;
  for (std::size_t c = 0; c < table.choices.size(); ++c) {
    const RowChoice& choice = table.choices[c];
    if (choice.clusters == 0 || table.cell(c, n) == nullptr) continue;
    Trial trial;
    trial.data = table.options.problem;
    choice.apply_to(trial);
    groups[choice_name(trial, "clusters") + " " + choice.share].push_back(c);
  }
  std::vector<std::string> depends, none;
  for (const auto& [name, members] : groups) {
    if (members.size() < 2) continue;
    const auto errors_of = [&](std::size_t c) { return table.cell(c, n)->errors.at(measure).summary(); };
    const auto [best, worst] = std::minmax_element(members.begin(), members.end(), [&](std::size_t a, std::size_t b) {
      return errors_of(a).mean < errors_of(b).mean;
    });
    const Contrast apart = table.against(*worst, *best, n, measure);
    (apart.verdict() == Verdict::higher ? depends : none).push_back(name);
    nlohmann::json errors = nlohmann::json::array();
    std::vector<std::string> shown;
    for (const std::size_t c : members) {
      const Summary own = errors_of(c);
      errors.push_back({{"clusters", table.choices[c].clusters},
                        {"error", own.mean},
                        {"low", number(own.interval.low)},
                        {"high", number(own.interval.high)}});
      shown.push_back(fmt::format("k = {}: {}", table.choices[c].clusters, worded(own)));
    }
    // Beside them the random choice of as many rows.
    const std::size_t control = table.control(members[0]);
    const Summary random = table.cell(control, n) == nullptr ? summarize({}) : errors_of(control);
    list.push_back({{"choice", name},
                    {"n", n},
                    {"measure", measure},
                    {"errors", errors},
                    {"random", number(random.mean)},
                    {"worst_minus_best", to_json(apart)}});
    f.table.push_back({name, fmt::format("{}", fmt::join(shown, ", ")), worded(random)});
    f.points.push_back(fmt::format("{}: {}; worst minus best {}", name, fmt::join(shown, ", "), apart.worded()));
    f.contrasts.push_back(apart);
  }
  if (f.table.empty()) return std::nullopt;
  f.title = fmt::format("At n {} the {} error depends on the number of clusters for {} of {} choices that cluster",
                        grouped(n), short_measure(measure), depends.size(), f.table.size());
  f.text =
      "The worst number of clusters against the best, picked as the extremes from the same seeds: the difference "
      "is larger than between two chosen beforehand. Each choice is a family of its own.";
  settle(f, [](const Contrast& c) { return c.what + c.against; });
  return f;
}

// For every score kept both ways: which way is better, by n.
std::optional<Finding> ways_finding(const ChoiceTable& table, nlohmann::json& list) {
  const std::string measure = table.measures.back();
  Finding f{.id = "hard-or-easy-" + short_measure(measure)};
  f.columns = {"score", "n", "hard, %", "easy, %"};
  Verdicts all;
  for (std::size_t c = 0; c < table.choices.size(); ++c) {
    const RowChoice& hard = table.choices[c];
    if (hard.keep != "hard" || hard.ruled()) continue;
    const std::string score = hard.name.substr(0, hard.name.size() - 5);
    // Its counterpart; the name of a choice ends in what it keeps.
    const auto easy = table.find(score + " easy", hard.fraction);
    if (!easy) continue;
    Verdicts own;
    std::vector<Contrast> family;
    for (const std::int64_t n : table.sizes) {
      family.push_back(table.against(c, *easy, n, measure));
      if (family.back().difference.n == 0) family.pop_back();
    }
    // One score at one fraction, over n, is judged together.
    judge(family, {});
    for (const Contrast& apart : family) {
      const std::int64_t n = apart.place.at("n");
      own.add(grouped(n), apart);
      all.add(fmt::format("{} {} of n {}", score, hard.share, grouped(n)), apart);
      nlohmann::json entry = to_json(apart);
      entry["score"] = score;
      entry["fraction"] = hard.fraction;
      entry["n"] = n;
      list.push_back(std::move(entry));
      f.table.push_back(
          {fmt::format("{} {}", score, hard.share), grouped(n), worded(apart.of_what), worded(apart.of_against)});
      f.contrasts.push_back(apart);
    }
    if (!own.empty()) {
      f.points.push_back(
          fmt::format("{} {}: {}", score, hard.share,
                      own.worded("hard is better at n", "undecided at n", "easy is better at n", "the same at n")));
    }
  }
  if (f.contrasts.empty()) return std::nullopt;
  f.title = fmt::format("The {} error of keeping hard rows against keeping easy ones is {}", short_measure(measure),
                        all.counted());
  f.text =
      "A place is one score at one fraction of one n; hard against easy, paired. A family of tests is one score at one "
      "fraction.";
  add_notes(f, all);
  settle(f, [](const Contrast& c) { return c.what; });
  return f;
}

// Measured beside the theory's error at infinite dimension.
std::optional<Finding> theory_finding(const ChoiceTable& table) {
  const std::string measure = table.measures.back();
  Finding f{.id = "theory-" + short_measure(measure)};
  f.columns = {"choice", "n", "measured, %", "theory, %"};
  int within = 0;
  for (std::size_t c = 0; c < table.choices.size(); ++c) {
    for (const std::int64_t n : table.sizes) {
      const ChoiceCell* cell = table.cell(c, n);
      if (cell == nullptr || !cell->theory) continue;
      const Summary s = cell->errors.at(measure).summary();
      within += s.interval.low <= *cell->theory && *cell->theory <= s.interval.high;
      f.table.push_back({table.choices[c].titled(), grouped(n), worded(s), percent(*cell->theory)});
    }
  }
  if (f.table.empty()) return std::nullopt;
  f.title = fmt::format("The theory's error lies within the measured mean's 95 % interval at {} of {} places", within,
                        f.table.size());
  f.text =
      "The theory is exact at infinite dimension; choices of one seed share their examples, so that places are not "
      "independent.";
  return f;
}

// --- against all rows ------------------------------------------------------------------------------------------------

// A choice's name with one of its fractions after the other, and what they say against all rows of the largest n.
struct Shares {
  std::string name;
  std::vector<std::size_t> choices;  // by fraction, ascending; the rule is none
};
std::vector<Shares> shares_of(const ChoiceTable& table) {
  std::vector<Shares> list;
  for (std::size_t c = 0; c < table.choices.size(); ++c) {
    const RowChoice& choice = table.choices[c];
    if (choice.all() || choice.ruled()) continue;
    if (list.empty() || list.back().name != choice.name) list.push_back({choice.name, {}});
    list.back().choices.push_back(c);
  }
  return list;
}

// The smallest share from which on a choice is shown to cost less than the margin against all rows: there and at every
// larger one. Empty where there is none.
std::string share_that_equals_all(const std::vector<const Contrast*>& by_fraction, const ChoiceTable& table,
                                  const Shares& shares) {
  std::string share;
  for (std::size_t i = by_fraction.size(); i-- > 0 && by_fraction[i]->not_worse();) {
    share = table.choices[shares.choices[i]].share;
  }
  return share;
}

// At which fraction a choice equals all rows, with as many epochs and, of networks, with as many steps.
std::optional<Finding> equal_finding(const ChoiceTable& table, const std::string& measure) {
  const std::int64_t n = table.sizes.back();
  Finding f{.id = "equal-" + short_measure(measure)};
  f.columns = {"choice", "budget", "kept", "error, %", "all rows, %"};
  std::vector<std::pair<std::string, std::string>> families;  // choice and budget
  const auto add = [&](const Shares& shares, const char* budget, auto&& errors_of) {
    for (const std::size_t c : shares.choices) {
      const RowChoice& choice = table.choices[c];
      const SeedErrors* errors = errors_of(c);
      const ChoiceCell* all = table.cell(0, n);
      if (errors == nullptr || all == nullptr) return;
      Contrast one = contrast(choice.titled(), *errors, "all", all->errors.at(measure), measure,
                              {{"n", n}, {"choice", choice.name}, {"fraction", choice.fraction}, {"budget", budget}});
      if (one.difference.n == 0) return;
      f.table.push_back({choice.name, budget, choice.share, worded(one.of_what), worded(one.of_against)});
      f.contrasts.push_back(std::move(one));
    }
  };
  const std::vector<Shares> list = shares_of(table);
  for (const Shares& shares : list) {
    add(shares, "epochs", [&](std::size_t c) {
      const ChoiceCell* cell = table.cell(c, n);
      return cell == nullptr ? nullptr : &cell->errors.at(measure);
    });
    add(shares, "steps", [&](std::size_t c) {
      const auto cell = table.equal_steps.find(c);
      return cell == table.equal_steps.end() ? nullptr : &cell->second.errors.at(measure);
    });
  }
  if (f.contrasts.empty()) return std::nullopt;
  f.text = fmt::format(
      "Equals all rows: shown to cost less than {:g} points against all rows of n {} (non-inferiority, one-sided), "
      "at this fraction and at every larger one that was measured. {}A family of tests is one choice with one budget.",
      100 * kMargin, grouped(n), table.trains() ? "Equal epochs: fewer rows are fewer steps. " : "");
  settle(f, [](const Contrast& c) { return text_of(c.place.at("choice")) + text_of(c.place.at("budget")); });
  for (const char* budget : {"epochs", "steps"}) {
    std::map<double, std::vector<std::string>> equal;  // names by the smallest share
    std::vector<std::string> none;
    for (const Shares& shares : list) {
      std::vector<const Contrast*> own;
      for (const Contrast& c : f.contrasts) {
        if (c.place.at("choice") == shares.name && c.place.at("budget") == budget) own.push_back(&c);
      }
      if (own.empty() || own.size() != shares.choices.size()) continue;
      const std::string share = share_that_equals_all(own, table, shares);
      if (share.empty()) {
        none.push_back(shares.name);
      } else {
        equal[std::stod(share)].push_back(shares.name);
      }
    }
    if (equal.empty() && none.empty()) continue;
    std::vector<std::string> said;
    for (const auto& [share, names] : equal) said.push_back(fmt::format("{:g} % of {}", share, listed(names)));
    if (!none.empty()) said.push_back("no share measured of " + listed(none));
    const std::string with = table.trains() ? fmt::format("with equal {} ", budget) : "";
    f.points.push_back(fmt::format("equals all {}from {}", with, fmt::join(said, "; ")));
    const std::string smallest = equal.empty() ? "no share measured equals all"
                                               : fmt::format("the smallest share that equals all is {:g} % ({})",
                                                             equal.begin()->first, listed(equal.begin()->second));
    f.title += fmt::format("{}{}{}", f.title.empty() ? "" : ", ", with, smallest);
  }
  f.title = fmt::format("At n {} ({} error), {}", grouped(n), short_measure(measure), f.title);
  return f;
}

// --- scores, labels and classes --------------------------------------------------------------------------------------

// The score that others are held against: the first that needs no labels, with the middle number of clusters.
std::optional<std::string> reference_of(const ChoiceTable& table) {
  const std::vector<int>& ks = table.options.clusters;
  const int k = ks.empty() ? 0 : ks[ks.size() / 2];
  std::optional<std::string> first;
  for (const RowChoice& choice : table.choices) {
    if (choice.all() || choice.random() || choice.ruled()) continue;
    if (needs_labels(choice.score, choice.features) || choice.score == "margin") continue;
    if (choice.clusters == k || choice.clusters == 0) return choice.scored();
    if (!first) first = choice.scored();
  }
  return first;
}

// Every score against the reference, kept the same way at the same fraction of the largest n.
std::optional<Finding> scores_finding(const ChoiceTable& table, const std::string& measure) {
  const auto reference = reference_of(table);
  const std::int64_t n = table.sizes.back();
  if (!reference) return std::nullopt;
  Finding f{.id = "scores-" + short_measure(measure)};
  f.columns = {"choice", "against", "error, %", "the reference's, %"};
  for (std::size_t c = 0; c < table.choices.size(); ++c) {
    const RowChoice& choice = table.choices[c];
    if (choice.all() || choice.random() || choice.ruled() || choice.scored() == *reference) continue;
    const auto other = table.find(*reference + " " + choice.keep, choice.fraction);
    if (!other) continue;
    Contrast one = table.against(c, *other, n, measure);
    if (one.difference.n == 0) continue;
    f.table.push_back({one.what, one.against, worded(one.of_what), worded(one.of_against)});
    f.contrasts.push_back(std::move(one));
  }
  if (f.contrasts.empty()) return std::nullopt;
  f.text = "Kept the same way, at the same fraction. All tests here are one family.";
  tell(f,
       fmt::format("At n {} the {} error of other scores against {}", grouped(n), short_measure(measure), *reference),
       "lower: ", "higher: ");
  return f;
}

// The same choice with a class floor, which takes labels, and without one.
std::optional<Finding> floors_finding(const ChoiceTable& table, const std::string& measure) {
  Finding f{.id = "floors-" + short_measure(measure)};
  f.columns = {"without a floor", "with one", "n", "without, %", "with, %"};
  for (std::size_t c = 0; c < table.choices.size(); ++c) {
    const RowChoice& choice = table.choices[c];
    if (choice.floor != 0) continue;
    for (std::size_t other = 0; other < table.choices.size(); ++other) {
      RowChoice same = table.choices[other];
      if (same.floor == 0 || same.keep != choice.keep || same.score != choice.score ||
          same.fraction != choice.fraction || same.features != choice.features || same.clusters != choice.clusters ||
          same.angle != choice.angle) {
        continue;
      }
      Contrast one = table.against(c, other, table.sizes.back(), measure);
      if (one.difference.n == 0) continue;
      f.table.push_back(
          {one.what, one.against, grouped(table.sizes.back()), worded(one.of_what), worded(one.of_against)});
      f.contrasts.push_back(std::move(one));
    }
  }
  if (f.contrasts.empty()) return std::nullopt;
  f.text = "A class floor looks at labels; without it a score that needs none is a choice without labels.";
  tell(f, fmt::format("Without a class floor the {} error against the same choice with one", short_measure(measure)),
       "lower without: ", "higher without: ");
  return f;
}

// Which classes a choice keeps, and how far clusters are classes, at the largest n.
std::optional<Finding> classes_finding(const ChoiceTable& table) {
  const std::int64_t n = table.sizes.back();
  Finding f{.id = "classes"};
  f.columns = {"choice", "kept of the class kept least, %", "of the class kept most, %", "purity of its clusters, %"};
  std::map<std::string, Summary> purities;  // by score
  std::pair<double, std::string> widest{0, ""};
  for (std::size_t c = 0; c < table.choices.size(); ++c) {
    const ChoiceCell* cell = table.cell(c, n);
    const RowChoice& choice = table.choices[c];
    if (cell == nullptr || choice.all() || cell->least_class.empty()) continue;
    const Summary least = cell->least_class.summary(), most = cell->most_class.summary();
    f.table.push_back({choice.titled(), worded(least), worded(most), worded(cell->purity.summary())});
    const double apart = most.mean / std::max(least.mean, 1e-9);
    if (!choice.random() && apart > widest.first) {
      widest = {apart,
                fmt::format("furthest apart: {} keeps {} % of the class that it keeps least of and {} % of another",
                            choice.titled(), worded(least), worded(most))};
    }
    if (!cell->purity.empty()) purities[choice.scored()] = cell->purity.summary();
  }
  if (f.table.empty()) return std::nullopt;
  std::vector<std::string> pure;
  for (const auto& [name, purity] : purities) pure.push_back(fmt::format("{} % ({})", worded(purity), name));
  f.title = pure.empty() ? fmt::format("At n {} choices keep unlike shares of the classes", grouped(n))
                         : fmt::format("At n {} the share of rows with the most frequent label of their cluster is {}",
                                       grouped(n), listed(pure));
  if (!widest.second.empty()) f.points.push_back(widest.second);
  f.text =
      "A random choice keeps of every class what it keeps of all, but for chance. Means over seeds with their 95 % "
      "intervals.";
  return f;
}

}  // namespace

std::string choices_text(const ChoiceTable& table) {
  std::string text;
  for (const std::string& measure : table.measures) {
    for (const std::int64_t n : std::set<std::int64_t>{table.sizes.front(), table.sizes.back()}) {
      const std::string lines = table_text(table, measure, n);
      if (lines.empty()) continue;
      text += fmt::format(
          "{}, {}, n = {}, {}: mean with its 95 % interval, and the paired difference from a random choice of the same "
          "size\n{}\n",
          measure, table.options.model, grouped(n), draws_words(table.worlds.size(), table.seeds.size()), lines);
    }
  }
  if (text.find('*') == std::string::npos) return text;
  return text + "*: the verdict depends on networks that failed to train, which count with the error they have\n\n";
}

std::vector<Finding> prune_findings(const ChoiceTable& table, std::uint64_t seed, nlohmann::json& more) {
  std::vector<Finding> findings;
  more["choices"] = choices_json(table);
  for (const char* list : {"exponents", "frontier", "worth", "cluster_dependence", "hard_or_easy"}) {
    more[list] = nlohmann::json::array();
  }
  const auto add = [&](std::optional<Finding> finding) {
    if (finding) findings.push_back(std::move(*finding));
  };
  for (const std::string& measure : table.measures) {
    add(equal_finding(table, measure));
    add(frontier_finding(table, measure, seed, more["frontier"]));
    add(worth_finding(table, measure, more["worth"]));
    add(scores_finding(table, measure));
    add(floors_finding(table, measure));
    add(all_finding(table, measure));
    add(budget_finding(table, measure));
    add(exponents_finding(table, measure, seed, more["exponents"]));
  }
  add(clusters_finding(table, more["cluster_dependence"]));
  add(ways_finding(table, more["hard_or_easy"]));
  add(classes_finding(table));
  add(theory_finding(table));
  return findings;
}

}  // namespace scalelab::host
