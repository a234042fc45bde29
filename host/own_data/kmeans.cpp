// scalelab kmeans: Lloyd's k-means of rows.
//
// result.json, schema 1: data {file, n, d}, clusters, init, seed, max_iterations, tolerance, inertia, iterations,
// converged, repaired (clusters that ran empty on the way), pairs_in_full (of a row and a centroid: the share of which all
// features were needed, null where that is not counted: up to three features, and on a GPU), seconds, environment.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "host/data/npy.h"
#include "host/data/source.h"
#include "host/program/command.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/options.h"
#include "host/program/publish.h"
#include "host/program/words.h"
#include "scalelab/buffer.h"
#include "scalelab/random.h"
#include "scalelab/work.h"

namespace scalelab::host {

namespace {

struct Options {
  Source source;
  std::string init = "k-means++", out;
  int clusters = 0;
  KmeansOptions kmeans;
};

// The centroids to begin with, (k, d).
Buffer<float> start(const Options& options, const Rows& data, View<const float> points, Session& session) {
  const std::int64_t k = options.clusters, d = data.features();
  Buffer<float> centroids(session.context, {k, d});
  if (options.init == "k-means++") {
    session.context.backend().kmeans_plus_plus(points, session.common.seed, centroids, session.context);
  } else if (options.init == "random") {  // k rows, each once
    std::vector<float> rows(static_cast<std::size_t>(k * d));
    for (std::int64_t j = 0; j < k; ++j) {
      const auto row = shuffled_index(static_cast<std::uint32_t>(j), static_cast<std::uint32_t>(data.size()),
                                      session.common.seed, 0);
      data.read(row, 1, std::span(rows).subspan(static_cast<std::size_t>(j * d), static_cast<std::size_t>(d)));
    }
    centroids.upload(rows);
  } else {
    const NpyMatrix file(options.init, options.source.round_float64);
    if (file.rows() != k || file.features() != d) {
      throw Failure(kBadData, fmt::format("{}: has shape ({}, {}); --clusters {} and the data's {} features need "
                                          "({}, {})",
                                          file.name(), file.rows(), file.features(), k, d, k, d));
    }
    centroids.upload(file.read_all());
  }
  return centroids;
}

Outcome run(const Options& options, Session& session) {
  Context& context = session.context;
  Rows data(options.source);
  const std::int64_t n = data.size(), d = data.features(), k = options.clusters;
  if (k > n) throw Failure(kMisuse, fmt::format("--clusters {}: {} holds only {} rows", k, data.name(), n));
  make_output_folder(options.out);
  const std::filesystem::path folder = options.out;
  NpyWriter<float> centroids_file(folder / "centroids.npy", {k, d});
  NpyWriter<std::int32_t> labels_file(folder / "labels.npy", {n});

  const Input<float> points(context, data.checked(), {n, d});
  const Stage stage(session, "kmeans");
  Buffer<float> centroids = start(options, data, points, session);
  Buffer<int> labels(context, {n});
  const PairWork before = cpu::kmeans_work();
  const KmeansResult result = context.backend().kmeans_fit(points, centroids, labels, options.kmeans, context);
  const PairWork work = cpu::kmeans_work() - before;
  centroids_file.write(centroids.to_host());
  const std::vector<int> label_of = labels.to_host();
  labels_file.write(label_of);
  std::vector<bool> used(static_cast<std::size_t>(k));
  for (const int label : label_of) used[static_cast<std::size_t>(label)] = true;
  const std::int64_t empty = std::count(used.begin(), used.end(), false);
  const double seconds = stage.seconds();

  Outcome outcome;
  outcome.document = {{"schema", 1},
                      {"data", {{"file", options.source.data}, {"n", n}, {"d", d}}},
                      {"clusters", k},
                      {"init", options.init},
                      {"seed", session.common.seed},
                      {"max_iterations", options.kmeans.max_iterations},
                      {"tolerance", options.kmeans.tolerance},
                      {"inertia", result.inertia},
                      {"iterations", result.iterations},
                      {"converged", result.converged},
                      {"repaired", result.repaired},
                      {"empty", empty},
                      {"pairs_in_full", nullptr},
                      {"seconds", seconds},
                      {"environment", environment(session)}};
  if (work.pairs > 0) {
    outcome.document["pairs_in_full"] = static_cast<double>(work.full) / static_cast<double>(work.pairs);
  }
  outcome.text = fmt::format(
      "{}: {} rows of {} in {} clusters, inertia {:.9g}, {}{}{}{}, seed {}, "
      "{:.3g} s\n",
      options.out, n, counted(d, "feature"), k, result.inertia, counted(result.iterations, "iteration"),
      result.converged ? "" : " (stopped by --max-iterations)",
      result.repaired > 0 ? fmt::format(", {} times an empty cluster was given a row", result.repaired) : "",
      empty > 0 ? fmt::format(", {} clusters are empty (rows that are equal cannot be divided)", empty) : "",
      session.common.seed, seconds);
  data.require_unchanged();
  publish(folder, json_text(outcome.document), centroids_file, labels_file);
  return outcome;
}

}  // namespace

Command add_kmeans(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("kmeans", "k-means of rows");
  add_rows(*app, options->source);
  app->add_option("--clusters", options->clusters, "Number of clusters")
      ->required()
      ->check(whole_number(1, INT32_MAX))
      ->default_str("");
  app->add_option("--max-iterations", options->kmeans.max_iterations, "Most centroid updates")
      ->check(whole_number(0, 1000000000));
  app->add_option("--tolerance", options->kmeans.tolerance,
                  "Stop when the centroids' summed squared movement is at most this share of the mean variance per "
                  "feature; 0: when none moves")
      ->check(real_number(0, HUGE_VAL));
  app->add_option("--init", options->init, "Where to start: k-means++, random (rows), or a .npy file (clusters, d)");
  app->add_option("-o,--out", options->out,
                  "Folder for centroids.npy (clusters, d) float32, labels.npy (n) int32 and result.json")
      ->required();
  add_notes(*app, {"scalelab kmeans --data points.npy --clusters 100 -o clusters"}, {kFormatsHelp});
  const auto needs = [options] {
    const Rows data(options->source);
    const auto n = static_cast<double>(data.size()), d = static_cast<double>(data.features());
    Needs needs{{{Work::kmeans_near, n}}, "--data"};
    if (d > kTreeFeatures) needs.parts = {{Work::kmeans_far, n * options->clusters * d}};
    return needs;
  };
  return {app, [options](Session& session) { return run(*options, session); }, needs};
}

}  // namespace scalelab::host
