#include "host/own_data/prune_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <map>
#include <utility>

#include "host/data/dataset.h"
#include "host/lab/difficulty.h"
#include "host/lab/error_count.h"
#include "host/lab/evaluate.h"
#include "host/lab/model.h"
#include "host/lab/trial.h"
#include "host/program/ranks.h"
#include "host/program/words.h"
#include "scalelab/buffer.h"

namespace scalelab::host {

namespace {

constexpr int kParts = 5;                  // of the rows, of which one is held out
constexpr int kNeighbours = 5;             // of the vote
constexpr std::int64_t kSamples = 100000;  // rows that a network sees, each as often as it takes
constexpr int kLane = 100;                 // of the random orders that splits are cut from
const std::array<std::string, 2> kModels = {"5-nearest-neighbours", "network"};

// Some rows, in memory of their own.
struct SomeRows {
  SomeRows(const LabelledRows& all, std::span<const float> given, const std::vector<int>& ids)
      : values(rows_at(all.values, all.features, ids)) {
    for (const int id : ids) {
      of_row.push_back(all.labels[static_cast<std::size_t>(id)]);
      if (!given.empty()) scores.push_back(given[static_cast<std::size_t>(id)]);
    }
    rows = {all.name, values, all.features, of_row, all.classes, all.pixels};
  }
  SomeRows(const SomeRows&) = delete;

  std::vector<float> values, scores;
  std::vector<int> of_row;
  LabelledRows rows;
};

struct Split {
  std::vector<int> train, test;  // ids, ascending
};
Split split_of(std::int64_t n, int index, std::uint64_t seed) {
  const std::vector<int> order = random_order(n, seed, kLane + index / kParts);
  const std::int64_t part = index % kParts, begin = n * part / kParts, end = n * (part + 1) / kParts;
  Split split;
  split.test.assign(order.begin() + begin, order.begin() + end);
  split.train.assign(order.begin(), order.begin() + begin);
  split.train.insert(split.train.end(), order.begin() + end, order.end());
  std::sort(split.train.begin(), split.train.end());
  std::sort(split.test.begin(), split.test.end());
  return split;
}

// "hard", the end that is kept, first; then the other end, where the score has two; random; all.
std::vector<std::string> arms_of(const ChoiceOptions& options) {
  if (options.score == "random") return {"random", "all"};
  return {options.keep, options.keep == "hard" ? "easy" : "hard", "random", "all"};
}

// The rows of a split, scored: what every arm chooses by.
ChosenRows scored_rows(const ChoiceOptions& options, const SomeRows& train, std::uint64_t seed, Session& session) {
  const LabelledRows& rows = train.rows;
  ChosenRows scored;
  if (options.clusters > 0) {
    const Prototypes found =
        clusters_by_cosine(options.score)
            ? cosine_prototypes(unit_rows(rows.values, rows.features), rows.features, options.clusters, seed, session)
            : euclidean_prototypes(rows.values, rows.features, options.clusters, seed, session);
    scored.clusters = found.labels;
    scored.scores = found.distances;
  }
  if (!options.clustered()) scored.scores = plain_scores(options, rows, train.scores, seed, session);
  return scored;
}

// The rows of a split that an arm learns from, as indices into its training rows.
std::vector<int> rows_of_arm(const std::string& arm, const ChoiceOptions& options, const SomeRows& train,
                             const ChosenRows& scored, std::int64_t kept, std::uint64_t seed, Session& session) {
  const LabelledRows& rows = train.rows;
  if (arm == "all" || arm == "random") {
    std::vector<int> ids = random_order(rows.size(), seed, 0);
    if (arm == "random") ids.resize(static_cast<std::size_t>(kept));
    std::sort(ids.begin(), ids.end());
    return ids;
  }
  ChoiceOptions of_arm = options;
  of_arm.keep = arm;
  ChosenRows choice = scored;
  if (options.duplicates()) {
    choice.duplicates = near_duplicates(
        unit_rows(rows.values, rows.features), rows.features,
        scored.clusters.empty() ? std::vector<int>(static_cast<std::size_t>(rows.size())) : scored.clusters,
        preference(scored.scores, arm == "hard"), options.near_duplicates, session);
  }
  choose_among_left(of_arm, rows, seed, choice);
  return {choice.kept.begin(), choice.kept.end()};
}

// Errors by arm and model, a split after the other.
class Measured {
 public:
  // scoring: of the cost of a split, the share that scoring and choosing are.
  Measured(const ChoiceOptions& options, double scoring, std::uint64_t seed, Session& session)
      : options_(options), scoring_(scoring), seed_(seed), session_(session), context_(session.context) {}

  std::map<std::pair<std::string, std::string>, SeedErrors> errors;  // (arm, model)
  std::int64_t kept = 0, train_rows = 0, test_rows = 0;              // of the last split

  void add(const SomeRows& train, const SomeRows& test, int split) {
    Stage stage(session_, fmt::format("split {}", split + 1));
    const std::int64_t scored_at = std::llround(900 * scoring_), voted_at = scored_at + 50;
    stage.part(0, scored_at, 1000);
    const Draw draw{0, static_cast<std::uint64_t>(split), 0};
    options_.clusters = static_cast<int>(std::min<std::int64_t>(options_.clusters, train.rows.size()));
    const ChosenRows scored = scored_rows(options_, train, seed_, session_);
    train_rows = train.rows.size();
    test_rows = test.rows.size();
    kept = std::max<std::int64_t>(1, std::llround(options_.share * static_cast<double>(train_rows)));
    std::vector<std::vector<int>> rows;
    const std::vector<std::string> arms = arms_of(options_);
    for (const std::string& arm : arms) {
      rows.push_back(rows_of_arm(arm, options_, train, scored, kept, seed_, session_));
      if (rows.size() == 1) kept = std::ssize(rows[0]);
    }
    stage.part(scored_at, voted_at, 1000);
    Dataset learn = dataset_of(train.rows), judge = dataset_of(test.rows);
    for (std::size_t a = 0; a < arms.size(); ++a) {
      errors[{arms[a], kModels[0]}].by_draw[draw] = neighbours_error(learn, judge, rows[a]);
    }
    stage.part(voted_at, 1000, 1000);
    scale_features(learn, &judge);
    networks(learn, judge, rows, arms, draw);
  }

 private:
  double neighbours_error(const Dataset& train, const Dataset& test, const std::vector<int>& rows) {
    const auto d = static_cast<std::int64_t>(train.features);
    std::vector<std::uint8_t> labels;
    for (const int row : rows) labels.push_back(train.labels[static_cast<std::size_t>(row)]);
    const Buffer<float> references(context_, rows_at(train.points, d, rows), {std::ssize(rows), d});
    const Buffer<float> queries(context_, test.points, {test.size(), d});
    const std::array<int, 1> ks = {static_cast<int>(std::min<std::int64_t>(kNeighbours, std::ssize(rows)))};
    return knn_point_errors(references, labels, ks, queries, test.labels, context_)[0];
  }

  // Those of all arms train side by side.
  void networks(const Dataset& train, const Dataset& test, const std::vector<std::vector<int>>& rows,
                const std::vector<std::string>& arms, const Draw& draw) {
    const std::int64_t d = train.features;
    const Model model = network_of(Trial(), "mlp-xy", train.features, train.classes);
    const std::uint64_t start_seed = seed_ ^ draw.seed << 32;
    const Buffer<float> inputs(context_, train.points, {train.size(), d}),
        judged(context_, test.points, {test.size(), d});
    const Buffer<std::uint8_t> labels(context_, train.labels, {train.size()});
    const std::vector<float> start = initial_parameters(model.shape, start_seed);
    std::deque<Buffer<int>> ids, diverged;
    std::deque<Buffer<float>> parameters;
    std::vector<MlpRun> runs;
    for (const auto& some : rows) {
      MlpRun run = training_run(model);
      run.inputs = inputs;
      run.labels = labels;
      run.rows = ids.emplace_back(context_, some, Shape{std::ssize(some)});
      run.epochs = static_cast<int>((kSamples + std::ssize(some) - 1) / std::ssize(some));
      run.seed = start_seed;
      run.parameters = parameters.emplace_back(context_, start, Shape{std::ssize(start)});
      run.diverged = diverged.emplace_back(context_, std::vector{-1}, Shape{1});
      runs.push_back(run);
    }
    context_.backend().mlp_train(runs, context_);
    for (std::size_t a = 0; a < arms.size(); ++a) {
      SeedErrors& of_arm = errors[{arms[a], kModels[1]}];
      of_arm.by_draw[draw] = network_point_error(model.shape, parameters[a], judged, test.labels, context_);
      const auto seen = network_predictions(model.shape, parameters[a], inputs, context_);
      std::int64_t wrong = 0;
      for (const int row : rows[a])
        wrong += seen[static_cast<std::size_t>(row)] != train.labels[static_cast<std::size_t>(row)];
      of_arm.train[draw] = static_cast<double>(wrong) / static_cast<double>(std::ssize(rows[a]));
      if (diverged[a].to_host()[0] >= 0) of_arm.diverged.insert(draw);
    }
  }

  ChoiceOptions options_;
  double scoring_;
  std::uint64_t seed_;
  Session& session_;
  Context& context_;
};

std::string arm_name(const std::string& arm, const ChoiceOptions& options) {
  return arm == "random" || arm == "all" ? arm : arm + " " + options.score;
}

// Whether some of these contrasts are shown to be lower, and some to be higher.
struct Shown {
  bool lower = false, higher = false, all_same_or_lower = true;
};
Shown shown(const std::vector<Contrast>& contrasts, const std::string& what, const std::string& against) {
  Shown result;
  for (const Contrast& c : contrasts) {
    if (c.what != what || c.against != against) continue;
    result.lower |= c.verdict() == Verdict::lower;
    result.higher |= c.verdict() == Verdict::higher;
    result.all_same_or_lower &= c.not_worse();
  }
  return result;
}

std::string verdict_of(const Shown& against_random) {
  if (against_random.lower) return against_random.higher ? "mixed" : "better";
  return against_random.higher ? "worse" : "undecided";
}

// The advice, in one sentence; and what else the splits show.
void word(const ChoiceOptions& options, const std::string& verdict, Finding& finding) {
  const std::string choice = arm_name(options.keep, options);
  const bool random = options.score == "random";
  const std::string other = options.keep == "hard" ? "easy" : "hard";
  const Shown other_end = shown(finding.contrasts, arm_name(other, options), "random");
  const Shown against_all = shown(finding.contrasts, random ? "random" : choice, "all");
  if (!random) {
    const std::map<std::string, std::string> titles = {
        {"better", fmt::format("Rows chosen by {} teach better than as many chosen at random", choice)},
        {"worse", fmt::format("Warning: rows chosen by {} teach worse than as many chosen at random; use --score "
                              "random, or keep more rows",
                              choice)},
        {"mixed", fmt::format("Warning: rows chosen by {} teach one model better and another worse than as many chosen "
                              "at random",
                              choice)},
        {"undecided",
         fmt::format("No difference is shown between rows chosen by {} and as many chosen at random", choice)}};
    finding.title = titles.at(verdict);
    if (other_end.lower && !other_end.higher) {
      finding.title += fmt::format("; --keep {} is better than random", other);
    }
  }
  const std::string all = against_all.higher              ? "All rows together teach better"
                          : against_all.all_same_or_lower ? "Nothing is lost beside all rows"
                                                          : "Whether something is lost beside all rows is undecided";
  if (random) {
    finding.title = all;
  } else {
    finding.points.push_back(all);
  }
}

}  // namespace

namespace {

// Of a network that learns from a row.
double sample_seconds(const LabelledRows& rows) {
  const double weights = 64 * (static_cast<double>(rows.features) + 2 * 64 + rows.classes);
  return 6 * weights / 5e10 + 3e-7;
}

double choice_seconds(const ChoiceOptions& options, const LabelledRows& rows, double n) {
  const auto d = static_cast<double>(rows.features);
  double seconds = n * options.clusters * d * 30 / 1e10;
  if (options.score == "el2n") seconds += 1e6 * sample_seconds(rows);
  if (options.score == "forgetting" || options.score == "ddd") seconds += 5e6 * sample_seconds(rows);
  if (options.score == "boundary" || options.duplicates()) seconds += n * n * d / 2e10;
  return seconds;
}

}  // namespace

double choice_seconds(const ChoiceOptions& options, const LabelledRows& rows) {
  return choice_seconds(options, rows, static_cast<double>(rows.size()));
}

double check_seconds(const ChoiceOptions& options, const LabelledRows& rows, int splits) {
  const double n = 0.8 * static_cast<double>(rows.size()), d = static_cast<double>(rows.features), test = n / 4;
  const double arms = static_cast<double>(arms_of(options).size());
  const double seconds = arms * static_cast<double>(kSamples) * sample_seconds(rows) +
                         test * n * (1 + (arms - 1) * options.share) * d / 2e10 + choice_seconds(options, rows, n);
  return splits * seconds;
}

PruneCheck check_choice(const ChoiceOptions& options, const LabelledRows& rows, std::span<const float> given,
                        int splits, std::uint64_t seed, Session& session) {
  Stage stage(session, "what the choice is worth");
  const Alone alone(session.context);
  const double all = check_seconds(options, rows, splits);
  Measured measured(options, splits * choice_seconds(options, rows) / (all + splits * choice_seconds(options, rows)),
                    seed, session);
  for (int i = 0; i < splits; ++i) {
    stage.part(i, i + 1, splits);
    const Split split = split_of(rows.size(), i, seed);
    const SomeRows train(rows, given, split.train), test(rows, {}, split.test);
    measured.add(train, test, i);
  }
  PruneCheck check;
  Finding& finding = check.finding;
  finding.id = "worth";
  finding.text = fmt::format(
      "{} of {}, each with {} rows held out: models learn from {} of the other {}, and from all of them. Errors in %, "
      "differences in percentage points, paired over splits.",
      counted(splits, "split"), grouped(rows.size()), grouped(measured.test_rows), grouped(measured.kept),
      grouped(measured.train_rows));
  finding.columns = {"model", "rows", "error, %", "against", "error, %"};
  const auto compare = [&](const std::string& model, const std::string& what, const std::string& against) {
    const SeedErrors &a = measured.errors.at({what, model}), &b = measured.errors.at({against, model});
    finding.contrasts.push_back(
        contrast(arm_name(what, options), a, arm_name(against, options), b, "test_error", {{"model", model}}));
    finding.table.push_back({model, arm_name(what, options), a.worded(), arm_name(against, options), b.worded()});
  };
  const std::vector<std::string> arms = arms_of(options);
  for (const std::string& model : kModels) {
    for (std::size_t a = 0; a + 2 < arms.size(); ++a) compare(model, arms[a], "random");
    compare(model, arms[0], "all");
  }
  settle(finding);
  for (const Contrast& c : finding.contrasts) {
    finding.points.push_back(
        fmt::format("{}: {} against {}: {}", c.place.at("model").get<std::string>(), c.what, c.against, c.worded()));
  }
  if (options.score != "random") {
    check.verdict = verdict_of(shown(finding.contrasts, arm_name(options.keep, options), "random"));
  }
  word(options, check.verdict, finding);
  return check;
}

}  // namespace scalelab::host
