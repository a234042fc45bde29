// scalelab dataset: points of the spiral problem as CSV.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "host/data/csv.h"
#include "host/data/dataset.h"
#include "host/program/command.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/options.h"

namespace scalelab::host {

namespace {

struct Options {
  std::int64_t n = 0;
  std::uint64_t mixture_seed = 0;
  double noise = 0;
  std::string out;
  const CLI::Option* mixture = nullptr;
};

Outcome run(const Options& options, Session& session) {
  if (options.out.empty()) throw Failure(kMisuse, "--out: the file's name is empty");
  const bool to_stdout = options.out == "-";
  if (to_stdout && session.common.json) throw Failure(kMisuse, "--json and --out - would both fill standard output");
  const bool built_in = options.mixture->count() == 0;
  const Mixture& mixture = built_in ? default_mixture() : random_mixture(options.mixture_seed);
  const Dataset data = sample_spiral(mixture, Spiral{}, options.n, session.common.seed, options.noise);
  write_points_csv(options.out, data);
  const auto inside = std::count(data.labels.begin(), data.labels.end(), 1);

  Outcome outcome;
  outcome.document = {{"n", options.n},
                      {"seed", session.common.seed},
                      {"mixture_seed", built_in ? nlohmann::json() : nlohmann::json(options.mixture_seed)},
                      {"noise", options.noise},
                      {"class_counts", {options.n - inside, inside}},
                      {"file", options.out},
                      {"environment", environment(session)}};
  if (!to_stdout) {
    outcome.text = fmt::format("{}: {} points of the spiral, {} inside (label 1), seed {}\n", options.out, options.n,
                               inside, session.common.seed);
  }
  return outcome;
}

}  // namespace

Command add_dataset(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("dataset", "Draw points of the spiral problem");
  app->add_option("--n", options->n, "Number of points")
      ->required()
      ->check(whole_number(1, 1000000000))
      ->default_str("");
  options->mixture = app->add_option("--mixture-seed", options->mixture_seed,
                                     "Draw the mixture of Gaussians from this seed, in place of the built-in one")
                         ->check(whole_number(0, UINT64_MAX))
                         ->default_str("");
  app->add_option("--noise", options->noise, "Probability that a label is flipped")->check(real_number(0, 1));
  app->add_option("-o,--out", options->out, "CSV file with header x,y,label; - for standard output")->required();
  add_notes(*app, {"scalelab dataset --n 1000 --seed 1 -o points.csv"});
  return {app, [options](Session& session) { return run(*options, session); }};
}

}  // namespace scalelab::host
