// scalelab knn: the exact k nearest references of every query, from .npy files to .npy files.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "host/command.h"
#include "host/error.h"
#include "host/npy.h"
#include "scalelab/buffer.h"

namespace scalelab::host {

namespace {

struct Options {
  std::string data, queries, out;
  int k = 5;
  bool round_float64 = false;
};

// Memory for a chunk of queries and their neighbours. Larger chunks sort the references less often.
constexpr std::int64_t kChunkBytes = std::int64_t{256} << 20;

Outcome run(const Options& options, Session& session) {
  Context& context = session.context;
  const NpyMatrix references(options.data, options.round_float64), queries(options.queries, options.round_float64);
  const std::int64_t n = references.rows(), d = references.features(), q = queries.rows();
  const int k = options.k;
  if (queries.features() != d) {
    throw Failure(kBadData, fmt::format("{}: has {} features where {} has {}", queries.name(), queries.features(),
                                        references.name(), d));
  }
  if (k > n) {
    throw Failure(kMisuse, fmt::format("--k {}: {} holds only {} references", k, references.name(), n));
  }
  if (n > INT32_MAX) {
    throw Failure(kBadData, fmt::format("{}: {} rows; at most 2147483647 can be indexed", references.name(), n));
  }
  make_output_folder(options.out);
  const std::filesystem::path folder = options.out;
  NpyWriter<std::int32_t> indices_file(folder / "indices.npy", {q, k});
  NpyWriter<float> distances_file(folder / "distances.npy", {q, k});

  FeatureRanges ranges(d);
  const std::int64_t chunk = std::clamp<std::int64_t>(kChunkBytes / (8 * k + 8 * d), 1, q);
  std::vector<float> values(static_cast<std::size_t>(chunk * d));
  Buffer<float> points(context, {n, d});
  {
    const std::vector<float> all = references.read_all();
    ranges.add(all);
    points.upload(all);
  }
  Stage stage(session, "knn");
  for (std::int64_t begin = 0; begin < q; begin += chunk) {
    const std::int64_t count = std::min(chunk, q - begin);
    stage.part(begin, begin + count, q);
    values.resize(static_cast<std::size_t>(count * d));
    queries.read(begin, count, values);
    ranges.add(values);
    if (!ranges.distances_fit()) throw Failure(kBadData, queries.name() + ": " + FeatureRanges::kTooFar);
    const Buffer<float> some(context, values, {count, d});
    Buffer<int> indices(context, {count, k});
    Buffer<float> distances(context, {count, k});
    context.backend().knn(points, some, indices, distances, context);
    indices_file.write(indices.to_host());
    distances_file.write(distances.to_host());
  }
  const double seconds = stage.seconds();

  Outcome outcome;
  outcome.document = {{"references", {{"file", options.data}, {"n", n}, {"d", d}}},
                      {"queries", {{"file", options.queries}, {"n", q}}},
                      {"k", k},
                      {"seconds", seconds},
                      {"environment", environment(session)}};
  outcome.text = fmt::format("{}: the {} nearest of {} references for {} queries of {} features, {:.3g} s\n",
                             options.out, k, n, q, d, seconds);
  remove_stale_result(folder / "result.json");
  indices_file.commit();
  distances_file.commit();
  write_file(folder / "result.json", json_text(outcome.document));
  return outcome;
}

}  // namespace

Command add_knn(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("knn", "Exact k nearest neighbours of .npy rows");
  app->add_option("--data", options->data, "References (n, d), .npy of float32 or float16")->required();
  app->add_option("--queries", options->queries, "Queries (q, d), likewise; may be the references")->required();
  app->add_option("--k", options->k, "Neighbours of each query")->check(whole_number(1, kMaxNeighbours));
  app->add_flag("--round-float64", options->round_float64, "Accept float64 files and round them to float32");
  app->add_option("--out", options->out,
                  "Folder for indices.npy (q, k) int32, distances.npy (q, k) float32, squared and ascending, and "
                  "result.json")
      ->required();
  return {app, [options](Session& session) { return run(*options, session); }};
}

}  // namespace scalelab::host
