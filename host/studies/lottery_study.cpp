// scalelab lottery: how far a network can be pruned, and whether it is the mask or the start that matters.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>

#include "host/data/source.h"
#include "host/evidence/finding.h"
#include "host/evidence/seed_errors.h"
#include "host/lab/lottery.h"
#include "host/lab/model.h"
#include "host/lab/trial_options.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/options.h"
#include "host/program/words.h"
#include "host/studies/study.h"

namespace scalelab::host {

namespace {

struct LotteryOptions {
  SweepOptions sweep;
  Trial trial;  // what all trials have in common
  std::vector<int> widths = {32, 64}, levels = {2, 5, 8, 11, 14};
  std::string worlds = "0", seeds = "0..23";  // so many tell the controls apart
  const CLI::Option* n = nullptr;             // --n; without it a small file has as many training rows as it has
};

// The comparisons that findings are made of: the error of the first against that of the second.
struct Question {
  const char *kind, *against, *asks;
};
constexpr Question kQuestions[] = {
    {"rewound", "dense", "does pruning cost anything?"},
    {"rewound", "restarted", "does the start matter?"},
    {"rewound", "random-mask", "does the mask matter?"},
    {"rewound", "fine-tuned", "is it better to rewind than to go on?"},
    {"rewound", "small-dense", "would a small network have done?"},
    {"small-dense", "dense", "does a small network fail?"},
    {"fine-tuned", "dense-long", "is it the pruning or the longer training?"},
    {"dense-long", "dense", "does training longer do anything?"},
};

std::vector<Trial> trials_of(const LotteryOptions& options, const std::vector<std::uint64_t>& seeds) {
  std::vector<Trial> trials;
  const auto worlds = parse_seeds(options.worlds, "--worlds");
  for (const int width : options.widths) {
    const auto add = [&](const char* kind, int level) {
      for (const std::uint64_t world : worlds) {
        for (const std::uint64_t seed : seeds) {
          Trial trial = options.trial;
          trial.width = width;
          trial.world = world;
          trial.seed = seed;
          trial.ticket = kind;
          trial.level = level;
          trials.push_back(resolved(std::move(trial)));
        }
      }
    };
    add("dense", 0);
    for (const int level : options.levels) {
      for (std::size_t kind = 1; kind < kTicketKinds.size(); ++kind) add(kTicketKinds[kind], level);
    }
  }
  return trials;
}

// Errors within this are called the same, and a ticket as good as the dense network: one percentage point.
constexpr double kTicketMargin = 0.01;

// What is asked of the rows: the error of a kind of ticket at a level of a width.
SeedErrors ticket_errors(const SweepResult& result, int width, const std::string& kind, int level,
                         const std::string& measure) {
  return seed_errors(result.rows, measure, [&](const Trial& trial) {
    return trial.width == width && trial.ticket == kind && trial.level == (kind == "dense" ? 0 : level);
  });
}

// A level, and the share of the hidden layers' weights that its tickets keep.
struct Level {
  int level;
  std::int64_t kept;
  std::string place;  // "16.8 %"
};
std::vector<Level> levels_of(const LotteryOptions& options, const MlpShape& shape) {
  const auto prunable = prunable_weights(shape);
  const std::int64_t weights = std::count(prunable.begin(), prunable.end(), 1);
  std::vector<Level> levels;
  for (const int level : options.levels) {
    const std::int64_t kept = kept_at_level(weights, level);
    levels.push_back({level, kept, percent(static_cast<double>(kept) / static_cast<double>(weights)) + " %"});
  }
  return levels;
}

// One question at one width: its contrasts at every level. Without contrasts where nothing was measured.
Finding question_finding(const LotteryOptions& options, const SweepResult& result, const MlpShape& shape,
                         const Question& question) {
  const auto [kind, against, asks] = question;
  const auto measures = error_measures(options.trial.data);
  Finding f{.id = fmt::format("{}-{}-{}", kind, against, shape.width)};
  f.columns = {"level", "weights left", "error", fmt::format("{}, %", kind), fmt::format("{}, %", against)};
  for (const Level& level : levels_of(options, shape)) {
    for (const auto& measure : measures) {
      Contrast c = contrast(kind, ticket_errors(result, shape.width, kind, level.level, measure), against,
                            ticket_errors(result, shape.width, against, level.level, measure), measure,
                            {{"width", shape.width}, {"level", level.level}});
      if (c.difference.n == 0) continue;
      c.margin = kTicketMargin;
      f.table.push_back(
          {std::to_string(level.level), level.place, short_measure(measure), worded(c.of_what), worded(c.of_against)});
      f.contrasts.push_back(std::move(c));
    }
  }
  f.text = "By the share of the hidden layers' weights that is left; paired.";
  settle(f, [](const Contrast& c) { return c.measure; });
  Verdicts verdicts;
  for (const Level& level : levels_of(options, shape)) {
    for (const Contrast& c : f.contrasts) {
      if (c.measure == measures[0] && c.place.at("level") == level.level) verdicts.add(level.place, c);
    }
  }
  f.title = fmt::format("width {}: {} The {} error of {} against {} is {}", shape.width, asks,
                        short_measure(measures[0]), kind, against, verdicts.worded());
  add_notes(f, verdicts);
  if (against == std::string("fine-tuned")) {
    f.text += " A fine-tuned network is trained over the whole schedule at every level, a rewound one only once.";
  }
  if (against == std::string("dense-long")) {
    f.text += " Both are trained over the whole schedule as often; the dense one is never pruned.";
  }
  return f;
}

// How far one can prune and show that it costs less than the margin: down to the last level before the first at which
// that is not shown; and from which level on it is shown to cost. More seeds can only move the two towards each other.
Finding ticket_finding(const LotteryOptions& options, const MlpShape& shape, const Finding& rewound_dense) {
  const std::string measure = error_measures(options.trial.data)[0];
  std::string sparsest, worse;
  bool holds = true;
  for (const Level& level : levels_of(options, shape)) {
    for (const Contrast& c : rewound_dense.contrasts) {
      if (c.measure != measure || c.place.at("level") != level.level) continue;
      holds = holds && c.not_worse();
      if (holds) sparsest = level.place;
      if (worse.empty() && c.verdict() == Verdict::higher) worse = level.place;
    }
  }
  Finding f{.id = fmt::format("ticket-{}", shape.width)};
  f.title = fmt::format("width {}: {}; {}", shape.width,
                        sparsest.empty() ? "of no rewound ticket tested is it shown that it costs less than 1 point"
                                         : "down to " + sparsest +
                                               " of the weights, rewound tickets are shown to cost less than 1 point "
                                               "against the dense network",
                        worse.empty() ? "none tested is shown to be worse" : "shown to be worse first at " + worse);
  f.text = fmt::format(
      "Costs less than {:g} point: a one-sided t test of the difference in {} error (non-inferiority), corrected after "
      "Holm for the levels of this width, and the same at every denser level tested. Worse: its error is higher.",
      100 * kTicketMargin, short_measure(measure));
  f.contrasts = rewound_dense.contrasts;
  return f;
}

// How far tickets lie from their start, and whether the start alone would have told which weights stay.
Finding start_finding(const LotteryOptions& options, const SweepResult& result, const MlpShape& shape) {
  Finding f{.id = fmt::format("start-{}", shape.width)};
  f.columns = {"level",       "weights left", "rewound: moved", "fine-tuned: moved", "kept by the start's size, %",
               "by chance, %"};
  const auto moved = [&](const char* kind, int level) {
    const SeedErrors all = ticket_errors(result, shape.width, kind, level, "moved");
    return worded(all.summary(), [](double length) { return fmt::format("{:.2f}", length); });
  };
  for (const Level& level : levels_of(options, shape)) {
    Contrast c = contrast("overlap", ticket_errors(result, shape.width, "rewound", level.level, "start_overlap"),
                          "chance", ticket_errors(result, shape.width, "rewound", level.level, "density"),
                          "start_overlap", {{"width", shape.width}, {"level", level.level}});
    if (c.difference.n == 0) continue;
    f.table.push_back({std::to_string(level.level), level.place, moved("rewound", level.level),
                       moved("fine-tuned", level.level), worded(c.of_what), percent(c.of_against.mean)});
    f.contrasts.push_back(std::move(c));
  }
  if (f.contrasts.empty()) return f;
  f.text =
      "Moved: the distance of the weights that are left from where the network began, as a share of their length "
      "there. Kept by the start's size: of the rewound ticket's weights the share that pruning its start by "
      "magnitude, to as many, would have left; by chance that is the share of weights left.";
  settle(f);
  const Contrast& last = f.contrasts.back();
  Verdicts verdicts;
  for (std::size_t i = 0; i < f.contrasts.size(); ++i) verdicts.add(f.table[i][1], f.contrasts[i]);
  f.title = fmt::format(
      "width {}: with {} of the weights left, {} % of those of a rewound ticket would have been kept by the start's "
      "size alone, {} % by chance; {}",
      shape.width, f.table.back()[1], worded(last.of_what), percent(last.of_against.mean),
      verdicts.worded("fewer than by chance at", "undecided at", "more than by chance at", "as by chance at"));
  add_notes(f, verdicts);
  return f;
}

// The tables of one width on the terminal: errors of every kind of ticket, and the differences that are asked for.
std::string width_text(const LotteryOptions& options, const SweepResult& result, const MlpShape& shape,
                       const std::vector<Finding>& questions) {
  const std::string measure = error_measures(options.trial.data)[0];
  std::vector<std::vector<std::string>> means = {{"level", "weights"}}, differences = {{"level", "weights"}};
  for (std::size_t kind = 1; kind < kTicketKinds.size(); ++kind) means[0].push_back(kTicketKinds[kind]);
  means[0].push_back("its width");
  for (const Question& q : kQuestions) differences[0].push_back(fmt::format("{} - {}", q.kind, q.against));
  for (const Level& level : levels_of(options, shape)) {
    means.push_back({std::to_string(level.level), level.place});
    differences.push_back(means.back());
    for (std::size_t kind = 1; kind < kTicketKinds.size(); ++kind) {
      means.back().push_back(ticket_errors(result, shape.width, kTicketKinds[kind], level.level, measure).worded());
    }
    means.back().push_back(std::to_string(small_dense_shape(shape, level.kept).width));
    for (const Finding& question : questions) {
      std::string shown = "-";
      for (const Contrast& c : question.contrasts) {
        if (c.measure == measure && c.place.at("level") == level.level) shown = worded(c.difference);
      }
      differences.back().push_back(shown);
    }
  }
  return fmt::format("\nWidth {}: the dense network {}\n{}{}", shape.width,
                     ticket_errors(result, shape.width, "dense", 0, measure).worded(), aligned(means),
                     aligned(differences));
}

Outcome run(const LotteryOptions& given, Session& session) {
  LotteryOptions options = given;
  const auto seeds = parse_seeds(options.seeds);
  for (auto* list : {&options.widths, &options.levels}) {
    const std::set<int> ascending(list->begin(), list->end());
    list->assign(ascending.begin(), ascending.end());
  }
  if (options.trial.model.empty()) options.trial.model = !options.trial.is_file() ? "mlp-polar" : "mlp-xy";
  if (options.trial.is_file() && options.n->count() == 0) {
    options.trial.n = std::min(options.trial.n, training_rows(options.trial));
  }
  const Model model = parse_model(options.trial.model);
  if (model.is_knn()) {
    throw Failure(kMisuse, fmt::format("--model {}: only networks have weights to prune", options.trial.model));
  }
  const std::vector<Trial> trials = trials_of(options, seeds);
  // What is wrong with data or model is said before anything is run.
  const Dataset data = load_data(trials.front()).train;
  Study study{.command = "lottery", .experiment = "lottery", .title = "What is left when a network is pruned"};
  study.result = run_sweep(trials, options.sweep, session);
  if (options.sweep.dry_run) return {planned_document(study, session), "", kDone};

  // Findings and tables by width: tickets of one width alone are held against each other.
  MlpShape shape = model.shape;
  shape.inputs = data.features;
  shape.outputs = data.classes == 2 ? 1 : data.classes;
  shape.hidden_layers = options.trial.hidden_layers;
  std::string text = fmt::format(
      "{} in %, mean over {} with its 95 % interval; {}, {}, n = {}, {} a level.\n"
      "Level l keeps 0.8^l of the hidden layers' weights. Differences are paired, in points, with 95 % "
      "intervals.\n",
      error_measures(options.trial.data)[0], draws_words(parse_seeds(options.worlds, "--worlds").size(), seeds.size()),
      options.trial.model, counted(options.trial.hidden_layers, "hidden layer"), grouped(options.trial.n),
      counted(options.trial.epochs, "epoch"));
  for (const int width : options.widths) {
    shape.width = width;
    std::vector<Finding> questions;
    for (const Question& q : kQuestions) questions.push_back(question_finding(options, study.result, shape, q));
    text += width_text(options, study.result, shape, questions);
    if (!questions[0].contrasts.empty()) study.findings.push_back(ticket_finding(options, shape, questions[0]));
    for (Finding& finding : questions) {
      if (!finding.contrasts.empty()) study.findings.push_back(std::move(finding));
    }
    Finding start = start_finding(options, study.result, shape);
    if (!start.contrasts.empty()) study.findings.push_back(std::move(start));
  }
  const Curves curves = curves_of(study.result.rows, session.common.seed);
  return finish_study(std::move(study), curves, options.sweep, text + "\n", session);
}

}  // namespace

Command add_lottery(CLI::App& program) {
  auto options = std::make_shared<LotteryOptions>();
  Trial& trial = options->trial;
  trial.hidden_layers = 2;
  trial.epochs = 300;
  trial.model.clear();  // chosen to suit the data
  CLI::App* app = program.add_subcommand(
      "lottery", "Lottery tickets: networks pruned of weights and trained again from their start, and their controls");
  add_widths(*app, options->widths);
  add_hidden_layers(*app, trial.hidden_layers);
  add_list(*app, "--levels", options->levels, 1, kMaxLotteryLevel,
           "Rounds of pruning at which networks are compared; each prunes a fifth of the weights");
  add_worlds(*app, options->worlds);
  add_seeds(*app, options->seeds);
  options->n = add_n(*app, trial.n);
  add_epochs(*app, trial.epochs);
  add_precision(*app, trial.precision);
  add_model(*app, trial.model)->description("mlp-polar for the spiral, mlp-xy for a file, or another, see the end");
  add_data(*app, trial.data, trial.labels);
  add_grid(*app, trial.grid);
  add_density_points(*app, trial.density_points);
  add_sweep_options(*app, options->sweep);
  add_notes(*app, {"scalelab lottery --widths 32,64 --levels 3,8 --seeds 0..2 --out lottery"},
            {kTicketsHelp, kNetworksHelp, kFormatsHelp});
  const auto needs = [] { return Needs{{{Work::mlp_train, 1e12}}, "--seeds"}; };
  return {
      .app = app, .run = [options](Session& session) { return run(*options, session); }, .needs = needs, .deals = true};
}

}  // namespace scalelab::host
