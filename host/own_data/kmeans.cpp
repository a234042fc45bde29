// scalelab kmeans: Lloyd's k-means of rows, alone or by ranks that own some of the rows each.
//
// result.json, schema 1: data {file, n, d}, clusters, init, seed, max_iterations, tolerance, inertia, iterations,
// converged, repaired (clusters that ran empty on the way), empty (clusters without a row at the end), ranks, given_bytes
// (that this rank handed to the others), resumed_after (iterations, 0: began anew), pairs_in_full (of a row of this rank
// and a centroid: the share of which all features were needed; null where that is not counted: up to three features, and
// on a GPU), seconds, environment.
#include <fmt/format.h>

#include <csignal>
#include <memory>
#include <optional>
#include <vector>

#include "host/data/npy.h"
#include "host/data/source.h"
#include "host/own_data/kmeans_checkpoint.h"
#include "host/own_data/kmeans_page.h"
#include "host/program/command.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/options.h"
#include "host/program/publish.h"
#include "host/program/ranks.h"
#include "host/program/shard.h"
#include "host/program/signals.h"
#include "host/program/words.h"
#include "scalelab/buffer.h"
#include "scalelab/random.h"
#include "scalelab/work.h"

namespace scalelab::host {

namespace {

struct Options {
  Source source;
  std::string init = "k-means++", out, shard = "1/1";
  int clusters = 0;
  KmeansOptions kmeans;
  int checkpoint_every = 10;  // seconds
};

std::string wrong_start(const NpyMatrix& file, std::int64_t k, std::int64_t d) {
  return fmt::format("{}: has shape ({}, {}); --clusters {} and the data's {} features need ({}, {})", file.name(),
                     file.rows(), file.features(), k, d, k, d);
}

// A fit by all ranks, each with its rows. What only one of them may do (reading the start, writing) is done by the first.
class Fit {
 public:
  Fit(const Options& options, Session& session)
      : options_(options), session_(session), context_(session.context), ranks_(context_.ranks) {
    on_all(ranks_, [&] { open(); });
    require_same_inputs();
    own_rows_ = data_->checked(own_.first, own_.count, ranks_);
    points_.emplace(context_, own_rows_, Shape{own_.count, d_});
  }

  Outcome run() {
    const Stage stage(session_, "kmeans");
    Buffer<float> centroids(context_, {k_, d_});
    Buffer<int> labels(context_, {own_.count});
    const KmeansResult before = start(centroids);
    const PairWork earlier = cpu::kmeans_work();
    const KmeansResult result = fit(before, centroids, labels);
    const PairWork work = cpu::kmeans_work() - earlier;
    const std::int64_t empty = write(centroids.to_host(), labels.to_host());
    Outcome outcome = summary(result, before.iterations, empty, stage.seconds());
    if (work.pairs > 0) {
      outcome.document["pairs_in_full"] = static_cast<double>(work.full) / static_cast<double>(work.pairs);
    }
    on_all(ranks_, [&] {
      if (first()) seen_->put_into(outcome.document);
      data_->require_unchanged();
      if (!first()) return;
      publish(options_.out, json_text(outcome.document), *centroids_file_, *labels_file_);
      KmeansCheckpoint::remove(options_.out);
      outcome.page = std::make_shared<Page>(kmeans_page(outcome.document));
      outcome.folder = options_.out;
    });
    return outcome;
  }

 private:
  bool first() const { return ranks_.rank() == 0; }

  void open() {
    data_.emplace(options_.source);
    n_ = data_->size();
    d_ = data_->features();
    k_ = options_.clusters;
    if (k_ > n_) throw Failure(kMisuse, fmt::format("--clusters {}: {} holds only {} rows", k_, data_->name(), n_));
    if (ranks_.size() > n_) {
      throw Failure(kMisuse,
                    fmt::format("{}: holds {} rows for {} ranks; start fewer", data_->name(), n_, ranks_.size()));
    }
    own_ = share_of(n_, kKmeansBlockRows, ranks_.rank(), ranks_.size());
    if (!first()) return;
    make_output_folder(options_.out);
    const std::filesystem::path folder = options_.out;
    centroids_file_.emplace(folder / "centroids.npy", std::vector{k_, d_});
    labels_file_.emplace(folder / "labels.npy", std::vector{n_});
    seen_.emplace(*data_, k_, session_.common.seed);
  }

  // Ranks may see different files by the same name.
  void require_same_inputs() {
    if (ranks_.size() == 1) return;
    std::string looks;
    on_all(ranks_, [&] { looks = data_->looks(); });
    require_equal(
        ranks_, {{"the command", fmt::format("{} --max-iterations {}", options_text(), options_.kmeans.max_iterations)},
                 {data_->name(), fmt::format("{} rows of {}, some of them {}", n_, d_, looks)}});
  }

  // Options on which the bits of the centroids after an iteration depend.
  std::string options_text() const {
    return fmt::format("--clusters {} --init {} --seed {} --tolerance {}", k_, options_.init, session_.common.seed,
                       options_.kmeans.tolerance);
  }

  // Made when it is first needed, by all ranks: all rows are read for its name. The name is one for any number of ranks.
  KmeansCheckpoint& checkpoint() {
    if (checkpoint_) return *checkpoint_;
    std::vector<char> digits;  // of the blocks of rows, which no number of ranks divides
    for (std::int64_t row = 0; row < own_.count; row += kKmeansBlockRows) {
      const std::int64_t rows = std::min(kKmeansBlockRows, own_.count - row);
      const auto block = own_rows_.subspan(static_cast<std::size_t>(row * d_), static_cast<std::size_t>(rows * d_));
      Fingerprint of_block;
      of_block.add({reinterpret_cast<const char*>(block.data()), block.size_bytes()});
      const std::string text = of_block.digits();
      digits.insert(digits.end(), text.begin(), text.end());
    }
    const std::vector<char> all = ranks_.gather(digits);
    std::string of = fmt::format("{} {} {} rows of {} {}", program_identity(), options_text(), n_, d_,
                                 fingerprint_of_text({all.data(), all.size()}));
    on_all(ranks_, [&] {
      if (first() && starts_from_file()) of += " " + fingerprint_of(std::filesystem::path(options_.init));
    });
    return checkpoint_.emplace(options_.out, std::move(of), k_, d_);
  }

  // Sets the centroids to begin with, and returns what was done before: nothing, unless a stopped run left a checkpoint.
  KmeansResult start(Buffer<float>& centroids) {
    if (on_first([&] { return KmeansCheckpoint::exists(options_.out); })) {
      KmeansCheckpoint& left = checkpoint();
      if (on_first([&] { return left.read(options_.kmeans.max_iterations); })) {
        left.share(ranks_, 0);
        centroids.upload(left.centroids);
        return left.so_far;
      }
      if (first())
        session_.progress.say(options_.out + ": the checkpoint there is of other data or options: begun anew");
    }
    if (options_.init == "k-means++") {
      context_.backend().kmeans_plus_plus(*points_, session_.common.seed, centroids, context_);
      return {};
    }
    std::vector<float> rows(static_cast<std::size_t>(k_ * d_));
    on_all(ranks_, [&] {
      if (first()) read_start(rows);
    });
    ranks_.broadcast(std::span(rows), 0);
    centroids.upload(rows);
    return {};
  }

  bool starts_from_file() const { return options_.init != "k-means++" && options_.init != "random"; }

  void read_start(std::vector<float>& rows) const {
    if (options_.init == "random") {  // k rows, each once
      for (std::int64_t j = 0; j < k_; ++j) {
        const auto row =
            shuffled_index(static_cast<std::uint32_t>(j), static_cast<std::uint32_t>(n_), session_.common.seed, 0);
        data_->read(row, 1, std::span(rows).subspan(static_cast<std::size_t>(j * d_), static_cast<std::size_t>(d_)));
      }
      return;
    }
    const NpyMatrix file(options_.init, options_.source.round_float64);
    if (file.rows() != k_ || file.features() != d_) throw Failure(kBadData, wrong_start(file, k_, d_));
    rows = file.read_all();
  }

  // The answer of the first rank, on all.
  bool on_first(const std::function<bool()>& ask) {
    std::int64_t answer = 0;
    on_all(ranks_, [&] {
      if (first()) answer = ask() ? 1 : 0;
    });
    ranks_.max(std::span(&answer, 1));
    return answer != 0;
  }

  KmeansResult fit(const KmeansResult& before, Buffer<float>& centroids, Buffer<int>& labels) {
    KmeansOptions kmeans = options_.kmeans;
    kmeans.max_iterations = before.converged ? 0 : kmeans.max_iterations - before.iterations;
    const auto added = [&](KmeansResult result) {
      result.iterations += before.iterations;
      result.repaired += before.repaired;
      result.converged = result.converged || before.converged;
      return result;
    };
    const SignalsHeld held;  // one that a rank hears ends all of them, after the same iteration
    double written = session_.progress.seconds();
    kmeans.after_iteration = [&](const KmeansResult& so_far) {
      std::int64_t wishes[] = {signal_heard(), 0};
      if (first()) wishes[1] = session_.progress.seconds() - written >= options_.checkpoint_every;
      ranks_.max(wishes);
      if (wishes[0] == 0 && wishes[1] == 0) return;
      const KmeansCheckpoint& left = checkpoint();
      on_all(ranks_, [&] {
        if (first()) left.write(added(so_far), centroids.to_host());
      });
      written = session_.progress.seconds();
      if (wishes[0] == 0) return;
      throw SharedFailure(kStopped,
                          fmt::format("{} after {}; the same command goes on from there, with any number of "
                                      "ranks",
                                      wishes[0] == SIGALRM ? "the time budget was spent" : "stopped by a signal",
                                      counted(added(so_far).iterations, "iteration")));
    };
    return added(context_.backend().kmeans_fit(*points_, centroids, labels, kmeans, context_));
  }

  // The first rank writes what all have, one rank's labels after the other's. Returns how many clusters are empty.
  std::int64_t write(const std::vector<float>& centroids, const std::vector<int>& own_labels) {
    constexpr std::int64_t kPiece = 1 << 20;
    std::vector<bool> used(static_cast<std::size_t>(k_));
    on_all(ranks_, [&] {
      if (first()) centroids_file_->write(centroids);
    });
    for (int rank = 0; rank < ranks_.size(); ++rank) {
      const std::int64_t count = share_of(n_, kKmeansBlockRows, rank, ranks_.size()).count;
      for (std::int64_t begin = 0; begin < count; begin += kPiece) {
        const auto some = static_cast<std::size_t>(std::min(kPiece, count - begin));
        std::vector<int> labels(some);
        if (rank == ranks_.rank()) std::copy_n(own_labels.begin() + begin, some, labels.begin());
        ranks_.broadcast(std::span(labels), rank);
        for (const int label : labels) used[static_cast<std::size_t>(label)] = true;
        on_all(ranks_, [&] {
          if (!first()) return;
          labels_file_->write(labels);
          seen_->add(labels);
        });
      }
    }
    return std::count(used.begin(), used.end(), false);
  }

  Outcome summary(const KmeansResult& result, int resumed_after, std::int64_t empty, double seconds) const {
    Outcome outcome;
    outcome.document = {{"schema", 1},
                        {"study", "kmeans"},
                        {"data", {{"file", options_.source.data}, {"n", n_}, {"d", d_}}},
                        {"clusters", k_},
                        {"init", options_.init},
                        {"seed", session_.common.seed},
                        {"max_iterations", options_.kmeans.max_iterations},
                        {"tolerance", options_.kmeans.tolerance},
                        {"inertia", result.inertia},
                        {"iterations", result.iterations},
                        {"converged", result.converged},
                        {"repaired", result.repaired},
                        {"empty", empty},
                        {"ranks", ranks_.size()},
                        {"given_bytes", ranks_.given()},
                        {"resumed_after", resumed_after},
                        {"pairs_in_full", nullptr},
                        {"seconds", seconds},
                        {"environment", environment(session_)}};
    outcome.text = fmt::format(
        "{}: {} rows of {} in {} clusters{}, inertia {:.9g}, {}{}{}{}{}, seed {}, {:.3g} s\n", options_.out, n_,
        counted(d_, "feature"), k_, ranks_.size() > 1 ? fmt::format(" by {} ranks", ranks_.size()) : "", result.inertia,
        counted(result.iterations, "iteration"),
        resumed_after > 0 ? fmt::format(" ({} of them before)", resumed_after) : "",
        result.converged ? "" : " (stopped by --max-iterations)",
        result.repaired > 0 ? fmt::format(", {} times an empty cluster was given a row", result.repaired) : "",
        empty > 0 ? fmt::format(", {} clusters are empty (rows that are equal cannot be divided)", empty) : "",
        session_.common.seed, seconds);
    return outcome;
  }

  const Options& options_;
  Session& session_;
  Context& context_;
  Communicator& ranks_;
  std::optional<Rows> data_;
  std::int64_t n_ = 0, d_ = 0, k_ = 0;
  Share own_{};
  std::span<const float> own_rows_;
  std::optional<Input<float>> points_;
  std::optional<KmeansCheckpoint> checkpoint_;
  std::optional<NpyWriter<float>> centroids_file_;  // of the first rank
  std::optional<NpyWriter<std::int32_t>> labels_file_;
  std::optional<ClusterSummary> seen_;
};

// The nearest centroid of the rows of one shard: nothing that needs other rows. Their inertia is left by blocks, which
// merge (merge.cpp) adds in order.
Outcome assign_shard(const Options& options, const Shard& shard, Session& session) {
  if (options.init == "k-means++" || options.init == "random" || options.kmeans.max_iterations != 0) {
    throw Failure(kMisuse,
                  "--shard: only assigning rows to given centroids needs no other rows: --init FILE.npy "
                  "--max-iterations 0; a fit is divided by mpirun");
  }
  Context& context = session.context;
  Rows data(options.source);
  const NpyMatrix start(options.init, options.source.round_float64);
  const std::int64_t n = data.size(), d = data.features(), k = options.clusters;
  const Share own = shard.share(n, kKmeansBlockRows);
  if (own.count == 0) {
    throw Failure(kMisuse, fmt::format("--shard {}: the {} rows of {} are dealt in blocks of {}; use fewer shards",
                                       options.shard, n, data.name(), kKmeansBlockRows));
  }
  if (start.rows() != k || start.features() != d) throw Failure(kBadData, wrong_start(start, k, d));
  const std::filesystem::path folder = shard_folder(options.out, shard);
  make_output_folder(folder);
  NpyWriter<float> centroids_file(folder / "centroids.npy", {k, d}),
      distances_file(folder / "distances.npy", {own.count});
  NpyWriter<std::int32_t> labels_file(folder / "labels.npy", {own.count});
  const Stage stage(session, "kmeans");
  const std::vector<float> centroids = start.read_all();
  Communicator alone;
  const Input<float> points(context, data.checked(own.first, own.count, alone), {own.count, d});
  const Buffer<int> labels(context, {own.count});
  const Buffer<float> distances(context, {own.count});
  context.backend().kmeans_assign(points, Input<float>(context, centroids, {k, d}), labels, distances, context);
  const std::vector<float> squared = distances.to_host();
  std::vector<double> inertia;  // of each block, as kmeans.h adds them
  for (std::int64_t row = 0; row < own.count; ++row) {
    if (row % kKmeansBlockRows == 0) inertia.push_back(0);
    inertia.back() += static_cast<double>(squared[static_cast<std::size_t>(row)]);
  }
  centroids_file.write(centroids);
  labels_file.write(labels.to_host());
  distances_file.write(squared);
  Outcome outcome;
  outcome.document = {{"schema", 1},
                      {"data", {{"file", options.source.data}, {"n", n}, {"d", d}}},
                      {"clusters", k},
                      {"init", options.init},
                      {"max_iterations", 0},
                      {"iterations", 0},
                      {"shard",
                       {{"index", shard.index},
                        {"of", shard.of},
                        {"first", own.first},
                        {"rows", own.count},
                        {"joined", {"labels.npy", "distances.npy"}},
                        {"equal", {"centroids.npy"}},
                        {"inertia_blocks", inertia}}},
                      {"seconds", stage.seconds()},
                      {"environment", environment(session)}};
  outcome.text = fmt::format("{}: rows {} to {} of {} assigned to {} clusters, {:.3g} s\n", folder.string(), own.first,
                             own.first + own.count - 1, n, k, stage.seconds());
  data.require_unchanged();
  publish(folder, json_text(outcome.document), centroids_file, labels_file, distances_file);
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
                  "Folder for centroids.npy (clusters, d) float32, labels.npy (n) int32, result.json and report.html")
      ->required();
  app->add_option(
      "--shard", options->shard,
      "With --init FILE and --max-iterations 0: only the i-th of n parts of the rows, as i/n, in a folder of "
      "its own in --out; merge joins them");
  app->add_option("--checkpoint-every", options->checkpoint_every,
                  "Time between checkpoints in --out, as 30s or 5m; 0: after every iteration. The same command goes on "
                  "from the last one, with any number of ranks")
      ->transform(duration());
  add_notes(*app,
            {"scalelab kmeans --data points.npy --clusters 100 -o clusters",
             "mpirun -n 4 scalelab kmeans --data points.npy --clusters 100 -o clusters"},
            {kFormatsHelp});
  const auto needs = [options] {
    const Rows data(options->source);
    const auto n = static_cast<double>(data.size()), d = static_cast<double>(data.features());
    Needs needs{{{Work::kmeans_near, n}}, "--data"};
    if (d > kTreeFeatures) needs.parts = {{Work::kmeans_far, n * options->clusters * d}};
    return needs;
  };
  return {app,
          [options](Session& session) {
            const Shard shard = parse_shard(options->shard);
            return shard.whole() ? Fit(*options, session).run() : assign_shard(*options, shard, session);
          },
          needs, true};
}

}  // namespace scalelab::host
