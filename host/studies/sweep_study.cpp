// scalelab sweep: a declarative grid of trials, run once each, and what came of it by series.
#include "host/studies/sweep_study.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <set>

#include "host/data/source.h"
#include "host/lab/sweep.h"
#include "host/lab/trial_options.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/input.h"
#include "host/program/options.h"
#include "host/program/words.h"
#include "host/studies/study.h"

namespace scalelab::host {

namespace fs = std::filesystem;

namespace {

// More laws than these would be a list that nobody reads; the finding's table has them all.
constexpr std::size_t kMostLaws = 5;

std::string name_or(const Curve& curve, const char* other) { return curve.name.empty() ? other : curve.name; }

// What the controls of a sweep are, in words.
std::string control_words(const Curves& curves) {
  const auto has = [&](const char* name) {
    return std::find(curves.varying.begin(), curves.varying.end(), name) != curves.varying.end();
  };
  if (has("keep")) return "as many rows at random";
  return has("order") ? "a random order" : "a random mask";
}

// Every curve against its control, place by place.
std::optional<Finding> control_finding(const Curves& curves, const std::string& error) {
  const std::string name = short_measure(error), others = control_words(curves);
  Finding f{.id = "control-" + name};
  f.columns = {"series", "against", curves.x, "error, %", "the control's, %"};
  f.contrasts = curves.against_controls(error);
  if (f.contrasts.empty()) return std::nullopt;
  Verdicts verdicts;
  const Contrast* best = nullptr;  // the lowest error among the places where it is lower than the control's
  const auto place = [&](const Contrast& c) { return curves.place(c.place.at(curves.x).get<double>()); };
  for (const Contrast& c : f.contrasts) {
    f.table.push_back({c.what, c.against, place(c), worded(c.of_what), worded(c.of_against)});
    verdicts.add(fmt::format("{} at {} {}", c.what, curves.x, place(c)), c);
    if (c.verdict() == Verdict::lower && (best == nullptr || c.of_what.mean < best->of_what.mean)) best = &c;
  }
  f.title = fmt::format("Against {} the {} error is {}", others, name, verdicts.counted());
  if (best != nullptr) {
    f.points.push_back(fmt::format("lowest of those that are lower: {} has {} % at {} {}, {} has {} %", best->what,
                                   worded(best->of_what), curves.x, place(*best), best->against,
                                   worded(best->of_against)));
  }
  f.text = fmt::format(
      "A place is one series at one {}, held against the series that has the same members but for what is chosen; "
      "paired. A family of tests is one series.",
      curves.x);
  add_notes(f, verdicts);
  settle(f, [](const Contrast& c) { return c.place.at("series").dump(); });
  return f;
}

// A law as the cells of a table.
std::vector<std::string> law_cells(const CurveLaw& found, const Summary& measured) {
  const Law& law = found.law;
  const LawFit& fit = *found.fit();
  const bool floored = fit.curve.form == LawForm::floor, power = fit.curve.form != LawForm::exponential;
  const auto range = [](double low, double high, const auto& format) {
    return std::isfinite(low) ? format(low) + " to " + format(high) : std::string("-");
  };
  const auto exponent = [](double b) { return fmt::format("{:.3f}", b); };
  return {law.verdict,
          power ? exponent(-fit.curve.b) : "-",
          power ? range(-fit.b.high, -fit.b.low, exponent) : "-",
          floored ? percent(fit.curve.c) : "-",
          floored ? range(fit.c.low, fit.c.high, percent) : "-",
          grouped(std::llround(law.sizes.back())),
          percent(fit.predicted),
          range(fit.predicted_interval.low, fit.predicted_interval.high, percent),
          worded(measured),
          std::to_string(law.seeds),
          std::to_string(found.failed)};
}

// What a title says of the curves with one verdict.
std::string law_words(const std::string& verdict, const std::vector<std::string>& names, const std::string& along) {
  static const std::map<std::string, std::string> kWords = {
      {"power", "{} fall as powers of {}"},      {"power with floor", "{} level off"},
      {"exponential", "{} falls exponentially"}, {"flat", "no fall is seen of {}"},
      {"no form", "no one law fits {}"},         {"undecided", "the law of {} is undecided"}};
  const bool many = names.size() > 3;
  const bool own_words = verdict == "power" || verdict == "power with floor";
  if (own_words && !many) return listed(names);
  return fmt::format(fmt::runtime(kWords.at(verdict)), many ? fmt::format("{} series", names.size()) : listed(names),
                     along);
}

std::optional<Finding> laws_finding(const Curves& curves, const std::string& error) {
  const std::string along = curves.kept ? "kept" : "n";
  Finding f{.id = "laws-" + short_measure(error)};
  f.columns = {"series",   "verdict",      "exponent",      "95 % interval", "floor, %", "95 % interval",
               "held out", "predicted, %", "95 % interval", "measured, %",   "seeds",    "failed to train"};
  constexpr const char* kVerdicts[] = {"power", "power with floor", "exponential", "flat", "no form", "undecided"};
  std::map<std::string, std::vector<std::string>> names;
  for (const Curve& curve : curves.curves) {
    const auto found = curve.laws.find(error);
    if (found == curve.laws.end()) continue;
    const Law& law = found->second.law;
    const LawFit& fit = *found->second.fit();
    const std::string series = name_or(curve, "the error");
    names[law.verdict].push_back(
        law.verdict == "power"              ? fmt::format("{} falls as {}^{:.2f}", series, along, -fit.curve.b)
        : law.verdict == "power with floor" ? fmt::format("{} levels off at {} %", series, percent(fit.curve.c))
                                            : series);
    f.table.push_back({curve.name});
    const auto last = std::find_if(curve.points.begin(), curve.points.end(),
                                   [&](const auto& point) { return point.second.x == law.sizes.back(); });
    for (const auto& cell : law_cells(found->second, last->second.series->of(error).summary()))
      f.table.back().push_back(cell);
    f.points.push_back((curve.name.empty() ? "" : curve.name + ": ") + found->second.worded());
  }
  if (f.table.empty()) return std::nullopt;
  for (const char* verdict : kVerdicts) {
    if (names.contains(verdict)) f.title += (f.title.empty() ? "" : "; ") + law_words(verdict, names[verdict], along);
  }
  f.title = fmt::format("Along {}, {} error: {}", curves.kept ? "the rows kept" : "n", short_measure(error), f.title);
  f.text =
      "The largest size is held out of the fit, predicted, and then shown. A form is named only where it is the one "
      "left: not beaten by another, and not off the held-out point; flat where the exponent's interval does not leave "
      "zero out. Intervals are bootstrap intervals over the seeds.";
  if (f.points.size() > kMostLaws) f.points.clear();  // the table says the same
  return f;
}

std::optional<Finding> lowest_finding(const Curves& curves, const std::string& error) {
  const std::string name = short_measure(error);
  Finding f{.id = "lowest-" + name};
  f.columns = {curves.x, "lowest", "error, %", "next", "error, %"};
  if (curves.curves.size() < 2) return std::nullopt;
  std::set<double> members;
  for (const Curve& curve : curves.curves) {
    for (const auto& [member, point] : curve.points) members.insert(member);
  }
  for (const double member : members) {
    std::vector<std::pair<double, const Curve*>> order;
    for (const Curve& curve : curves.curves) {
      const Series* series = curve.at(member);
      if (series != nullptr && !series->of(error).empty()) order.emplace_back(series->of(error).summary().mean, &curve);
    }
    if (order.size() < 2) continue;
    std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    const Curve *lowest = order[0].second, *next = order[1].second;
    Contrast c = contrast(lowest->name, lowest->at(member)->of(error), next->name, next->at(member)->of(error), error,
                          {{curves.x, member}});
    f.table.push_back({curves.place(member), c.what, worded(c.of_what), c.against, worded(c.of_against)});
    f.contrasts.push_back(std::move(c));
  }
  if (f.contrasts.empty()) return std::nullopt;
  f.text = "By mean over seeds; the verdict compares the lowest with the next, paired over seeds.";
  settle(f);
  const Contrast& last = f.contrasts.back();
  f.title = fmt::format("At {} {} the lowest {} error is that of {}: {} %", curves.x, f.table.back()[0], name,
                        last.what, worded(last.of_what));
  if (last.verdict() != Verdict::lower) f.title += fmt::format(", {} against {}", last.verdict_words(), last.against);
  if (last.depends_on_failed()) {
    Verdicts verdict;
    verdict.add(fmt::format("{} {}", curves.x, f.table.back()[0]), last);
    add_notes(f, verdict);
  }
  return f;
}

// The laws, where they are too many to stand below their finding.
std::string laws_text(const Curves& curves) {
  std::string text;
  if (curves.curves.size() <= kMostLaws || curves.curves.size() > kMostTableRows) return text;
  for (const Curve& curve : curves.curves) {
    for (const auto& [error, law] : curve.laws) {
      text += fmt::format("{}{}{}: {}\n", curve.name, curve.name.empty() ? "" : ", ", error, law.worded());
    }
  }
  return text;
}

Outcome sweep_command(const std::string& file, const std::string& worlds, const SweepOptions& options,
                      Session& session) {
  nlohmann::json sweep;
  std::string name = file;
  std::error_code unknown;
  if (fs::exists(file, unknown) && !fs::is_directory(file, unknown)) {  // a pipe as well
    sweep = parse_json(file_text(file), file, kMisuse);
    name = fs::path(file).stem().string();
  } else if (file.ends_with(".json") || file.find('/') != std::string::npos) {
    throw Failure(kMisuse, fmt::format("{}: no such file", file));
  } else {
    sweep = ready_sweep(file);
  }
  std::vector<Trial> trials = expand_sweep(sweep, file, fs::path(file).parent_path(), session.common.seed);
  if (!worlds.empty()) trials = in_worlds(trials, parse_seeds(worlds, "--worlds"));
  Study study{.command = "sweep", .experiment = sweep.value("name", name)};
  study.title = sweep.value("title", "Sweep: " + study.experiment);
  study.result = run_sweep(trials, options, session);
  if (options.dry_run) return {planned_document(study, session), "", kDone};
  const Curves curves = curves_of(study.result.rows, session.common.seed);
  const SeriesTable table = series_table(curves);
  std::vector<std::vector<std::string>> lines = {table.columns};
  const std::size_t shown = std::min(table.rows.size(), kMostTableRows);
  lines.insert(lines.end(), table.rows.begin(), table.rows.begin() + static_cast<std::ptrdiff_t>(shown));
  std::string text = study.title + "\nMeans over seeds with their 95 % intervals.\n" + aligned(lines);
  if (shown < table.rows.size()) {
    text += fmt::format("\u2026 and {} in {}\n",
                        counted(std::ssize(table.rows) - static_cast<std::int64_t>(shown), "more row"),
                        (options.out / "series.csv").string());
  }
  text += laws_text(curves);
  return finish_study(std::move(study), curves, options, std::move(text), session);
}

}  // namespace

std::vector<Finding> sweep_findings(const Curves& curves) {
  std::vector<Finding> said;
  if (curves.x.empty()) return said;
  for (const auto& error : curves.errors) {
    for (const auto& find : {control_finding, laws_finding, lowest_finding}) {
      if (auto finding = find(curves, error)) said.push_back(std::move(*finding));
    }
  }
  return said;
}

SeriesTable series_table(const Curves& curves) {
  SeriesTable table{curves.varying, {}};
  const bool chosen =
      std::any_of(curves.series.begin(), curves.series.end(), [](const Series& s) { return s.trial.keep != "all"; });
  if (chosen) table.columns.push_back("kept");
  table.columns.push_back("seeds");
  for (const auto& error : curves.errors) table.columns.push_back(short_measure(error) + " error, %");
  for (const Series& series : curves.series) {
    auto& row = table.rows.emplace_back();
    for (const auto& name : curves.varying) row.push_back(member_text(series.trial, name));
    if (chosen) row.push_back(series.of("kept").empty() ? "-" : grouped(std::llround(series.kept())));
    std::size_t seeds = 0;
    for (const auto& error : curves.errors) seeds = std::max(seeds, series.of(error).by_unit().size());
    row.push_back(std::to_string(seeds));
    for (const auto& error : curves.errors) row.push_back(series.of(error).worded());
  }
  return table;
}

Command add_sweep(CLI::App& program) {
  struct Options {
    std::string file, worlds;
    SweepOptions sweep;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("sweep", "Many trials from a file, each run once whatever happens in between");
  app->add_option("file", options->file, "A JSON file of grids, or a ready-made sweep: " + ready_sweep_names())
      ->required();
  add_worlds(*app, options->worlds)->description("Run all that is on the spiral in these mixtures, as 0..19");
  add_sweep_options(*app, options->sweep);
  add_notes(*app, {"scalelab sweep scaling --out scaling", "scalelab sweep mine.json --shard 3/8 --out mine"},
            {"A file: {\"title\": text, \"grids\": [{KEY: value or list, ...}, ...]}; a grid is run in every\n"
             "combination of its lists. Keys: data, labels, n, worlds and seeds (\"0..9\"), start, noise, model,\n"
             "width, hidden_layers, epochs or samples (epochs times n), precision, keep, score, fraction,\n"
             "clusters, features, class_floor, order, ticket, level, grid, density_points; dimension and\n"
             "probe_angle for data = perceptron. Of a network's training, in place of its model's own:\n"
             "learning_rate, batch_size (0: all rows), weight_decay, optimizer (adam, sgd), schedule (constant,\n"
             "cosine), focal_gamma (0: cross-entropy), activation (relu, tanh, gelu). A grid without seeds is run\n"
             "for --seed. keep: all, random, hard or easy rows by the score, a fraction of them. order: shuffled,\n"
             "another in every pass, or one of the orders below, by the score. ticket: one of the networks at the\n"
             "end, after as many levels of pruning as level says; left out, the whole network.\n",
             kModelsHelp, kScoresHelp, kOrdersHelp, kTicketsHelp, kFormatsHelp});
  // What a file asks for is known only when it is read; a sweep is long.
  const auto needs = [] { return Needs{{{Work::mlp_train, 1e12}}, "--shard"}; };
  const auto run = [options](Session& session) {
    return sweep_command(options->file, options->worlds, options->sweep, session);
  };
  return {.app = app, .run = run, .needs = needs, .deals = true};
}

}  // namespace scalelab::host
