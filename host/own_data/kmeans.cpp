// scalelab kmeans: Lloyd's k-means of rows, alone or by ranks that own some of the rows each; by cosine, spherical k-means.
// host/results.md says what result.json holds; that of a shard has `shard` besides (merge.cpp).
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <optional>
#include <vector>

#include "host/data/npy.h"
#include "host/data/source.h"
#include "host/lab/directions.h"
#include "host/own_data/cluster_count.h"
#include "host/own_data/kmeans_checkpoint.h"
#include "host/own_data/kmeans_page.h"
#include "host/own_data/own_options.h"
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
  std::string init = "k-means++", out, shard = "1/1", metric = "l2";
  int clusters = 0;  // or kAutoClusters
  int restarts = 1;
  KmeansOptions kmeans;
  int checkpoint_every = 10;  // seconds

  bool cosine() const { return metric == "cosine"; }
  bool starts_from_file() const { return init != "k-means++" && init != "random"; }
};

void check(const Options& options) {
  if (!options.starts_from_file()) return;
  if (options.restarts > 1) {
    throw Failure(kMisuse, fmt::format("--restarts {}: --init {} is one start", options.restarts, options.init));
  }
  if (options.clusters == kAutoClusters) {
    throw Failure(kMisuse, fmt::format("--clusters auto: give the number of rows of --init {}", options.init));
  }
}

// A start from a file, (k, d), by cosine at length 1.
std::vector<float> start_from_file(const Options& options, std::int64_t k, std::int64_t d) {
  const NpyMatrix file(options.init, options.source.round_float64);
  if (file.rows() != k || file.features() != d) {
    throw Failure(kBadData,
                  fmt::format("{}: has shape ({}, {}); --clusters {} and the data's {} features need ({}, {})",
                              file.name(), file.rows(), file.features(), k, d, k, d));
  }
  std::vector<float> rows = file.read_all();
  if (!options.cosine()) return rows;
  require_directions(rows, d, 0, file.name(), "--metric l2");
  scale_to_unit(rows, d);
  return rows;
}

// A fit by all ranks, each with its rows. What only one of them may do (reading the start, writing) is done by the first.
class Fit {
 public:
  Fit(const Options& options, Session& session)
      : options_(options), session_(session), context_(session.context), ranks_(context_.ranks) {
    on_all(ranks_, [&] { open(); });
    require_same_inputs();
    own_rows_ = data_->checked(own_.first, own_.count, ranks_);
    if (options_.cosine()) {
      on_all(ranks_, [&] { require_directions(own_rows_, d_, own_.first, data_->name(), "--metric l2"); });
      unit_ = unit_rows(own_rows_, d_);
      own_rows_ = unit_;
    }
    if (options_.clusters == kAutoClusters) {
      stage_.part(0, options_.restarts, shares());
      choose_clusters();
    }
    on_all(ranks_, [&] { open_files(); });
    points_.emplace(context_, own_rows_, Shape{own_.count, d_});
  }

  Outcome run() {
    const double began = written_ = session_.progress.seconds();
    Buffer<float> centroids(context_, {k_, d_});
    Buffer<int> labels(context_, {own_.count});
    const PairWork earlier = cpu::kmeans_work();
    KmeansStarts starts = begin();
    const int before = starts.iterations();
    for (int index = static_cast<int>(starts.done.size()); index < options_.restarts; ++index) {
      // What other starts came to is not lost: a signal is heard after the first iteration, where there is one.
      std::optional<SignalsHeld> held;
      if (index > 0 && options_.kmeans.max_iterations > 0) held.emplace();
      const std::int64_t done = shares() - std::int64_t{3} * (options_.restarts - index);
      stage_.part(done, done + 1, shares());
      if (starts.centroids.empty()) {
        start(index, centroids);
      } else {
        centroids.upload(starts.centroids);
      }
      stage_.part(done + 1, done + 3, shares());
      const KmeansResult found = fit(starts, centroids, labels);
      starts.done.push_back(found);
      starts.so_far = {};
      starts.centroids.clear();
      if (starts.best_start() == index) starts.best = centroids.to_host();
    }
    centroids.upload(starts.best);
    if (starts.best_start() + 1 < options_.restarts) fit_from(centroids, labels, 0, {});  // its labels once more
    const PairWork work = cpu::kmeans_work() - earlier;
    const std::vector<std::int64_t> sizes = write(starts.best, labels.to_host());
    Outcome outcome = summary(starts, before, sizes, session_.progress.seconds() - began);
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
  // Parts of the whole: a start has 1 for its first centroids and 2 for its iterations, and counting the clusters as many
  // as there are starts.
  std::int64_t shares() const { return options_.restarts * (options_.clusters == kAutoClusters ? 4 : 3); }

  void open() {
    check(options_);
    data_.emplace(options_.source);
    n_ = data_->size();
    d_ = data_->features();
    if (options_.clusters > n_) {
      throw Failure(kMisuse, fmt::format("--clusters {}: {} holds only {} rows", options_.clusters, data_->name(), n_));
    }
    if (ranks_.size() > n_) {
      throw Failure(kMisuse,
                    fmt::format("{}: holds {} rows for {} ranks; start fewer", data_->name(), n_, ranks_.size()));
    }
    k_ = options_.clusters;
    own_ = share_of(n_, kKmeansBlockRows, ranks_.rank(), ranks_.size());
    if (first()) make_output_folder(options_.out);
  }

  void open_files() {
    if (!first()) return;
    const std::filesystem::path folder = options_.out;
    centroids_file_.emplace(folder / "centroids.npy", std::vector{k_, d_});
    labels_file_.emplace(folder / "labels.npy", std::vector{n_});
    seen_.emplace(*data_, k_, session_.common.seed);
  }

  // By the first rank, for all.
  void choose_clusters() {
    on_all(ranks_, [&] {
      if (!first()) return;
      const std::vector<int> ids = sampled_rows(n_, d_, session_.common.seed);
      std::vector<float> sample(ids.size() * static_cast<std::size_t>(d_));
      for (std::size_t i = 0; i < ids.size(); ++i) {
        data_->read(ids[i], 1,
                    std::span(sample).subspan(i * static_cast<std::size_t>(d_), static_cast<std::size_t>(d_)));
      }
      if (options_.cosine()) scale_to_unit(sample, d_);
      chosen_ = count_clusters(sample, d_, options_.cosine(), session_.common.seed, session_);
      k_ = chosen_->clusters;
    });
    ranks_.broadcast(std::span(&k_, 1), 0);
  }

  // Ranks may see different files by the same name.
  void require_same_inputs() {
    if (ranks_.size() == 1) return;
    std::string looks;
    on_all(ranks_, [&] { looks = data_->looks(); });
    require_equal(ranks_, {{"the command", fmt::format("{} --max-iterations {} --restarts {}", options_text(),
                                                       options_.kmeans.max_iterations, options_.restarts)},
                           {data_->name(), fmt::format("{} rows of {}, some of them {}", n_, d_, looks)}});
  }

  // Options on which the bits of the centroids after an iteration depend.
  std::string options_text() const {
    return fmt::format("--clusters {} --init {} --seed {} --tolerance {} --metric {}", k_, options_.init,
                       session_.common.seed, options_.kmeans.tolerance, options_.metric);
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
    std::string job = fmt::format("{} {} {} rows of {} {}", program_identity(), options_text(), n_, d_,
                                  fingerprint_of_text({all.data(), all.size()}));
    on_all(ranks_, [&] {
      if (first() && options_.starts_from_file()) job += " " + fingerprint_of(std::filesystem::path(options_.init));
    });
    return checkpoint_.emplace(options_.out, std::move(job), k_, d_);
  }

  // What was done before: nothing, unless a stopped run left a checkpoint.
  KmeansStarts begin() {
    KmeansStarts starts;
    if (!on_first([&] { return KmeansCheckpoint::exists(options_.out); })) return starts;
    const KmeansCheckpoint& left = checkpoint();
    if (on_first([&] { return left.read(options_.restarts, options_.kmeans.max_iterations, starts); })) {
      left.share(ranks_, 0, starts);
    } else if (first()) {
      session_.progress.say(options_.out + ": the checkpoint there is of other data or options: begun anew");
    }
    return starts;
  }

  // Sets the centroids that a start begins with: those of the seed, the seed + 1, ...
  void start(int index, Buffer<float>& centroids) {
    const std::uint64_t seed = session_.common.seed + static_cast<std::uint64_t>(index);
    if (options_.init == "k-means++") return context_.backend().kmeans_plus_plus(*points_, seed, centroids, context_);
    std::vector<float> rows(static_cast<std::size_t>(k_ * d_));
    on_all(ranks_, [&] {
      if (first()) rows = options_.starts_from_file() ? start_from_file(options_, k_, d_) : random_rows(seed);
    });
    ranks_.broadcast(std::span(rows), 0);
    centroids.upload(rows);
  }

  // k rows, each once.
  std::vector<float> random_rows(std::uint64_t seed) const {
    std::vector<float> rows(static_cast<std::size_t>(k_ * d_));
    for (std::int64_t j = 0; j < k_; ++j) {
      const auto row = shuffled_index(static_cast<std::uint32_t>(j), static_cast<std::uint32_t>(n_), seed, 0);
      data_->read(row, 1, std::span(rows).subspan(static_cast<std::size_t>(j * d_), static_cast<std::size_t>(d_)));
    }
    if (options_.cosine()) scale_to_unit(rows, d_);
    return rows;
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

  // Iterations of the start that `starts` has begun, or of one that begins; of all of them, what they did.
  KmeansResult fit(const KmeansStarts& starts, Buffer<float>& centroids, Buffer<int>& labels) {
    const KmeansResult& before = starts.so_far;
    const int left = before.converged ? 0 : options_.kmeans.max_iterations - before.iterations;
    const auto added = [&](KmeansResult result) {
      result.iterations += before.iterations;
      result.repaired += before.repaired;
      result.converged = result.converged || before.converged;
      return result;
    };
    const SignalsHeld held;  // one that a rank hears ends all of them, after the same iteration
    return added(fit_from(centroids, labels, left, [&](const KmeansResult& so_far) {
      std::int64_t wishes[] = {signal_heard(), 0};
      if (first()) wishes[1] = session_.progress.seconds() - written_ >= options_.checkpoint_every;
      ranks_.max(wishes);
      if (wishes[0] == 0 && wishes[1] == 0) return;
      const KmeansCheckpoint& file = checkpoint();
      KmeansStarts now = starts;
      now.so_far = added(so_far);
      on_all(ranks_, [&] {
        if (!first()) return;
        now.centroids = centroids.to_host();
        file.write(now);
      });
      written_ = session_.progress.seconds();
      if (wishes[0] == 0) return;
      throw SharedFailure(kStopped,
                          fmt::format("{} after {}; the same command goes on from there, with any number of "
                                      "ranks",
                                      wishes[0] == SIGALRM ? "the time budget was spent" : "stopped by a signal",
                                      counted(now.iterations(), "iteration")));
    }));
  }

  KmeansResult fit_from(Buffer<float>& centroids, Buffer<int>& labels, int iterations,
                        std::function<void(const KmeansResult&)> after_iteration) {
    KmeansOptions kmeans = options_.kmeans;
    kmeans.max_iterations = iterations;
    kmeans.after_iteration = std::move(after_iteration);
    return options_.cosine() ? spherical_fit(*points_, centroids, labels, kmeans, context_)
                             : context_.backend().kmeans_fit(*points_, centroids, labels, kmeans, context_);
  }

  // The first rank writes what all have, one rank's labels after the other's. Returns how many rows each cluster has.
  std::vector<std::int64_t> write(const std::vector<float>& centroids, const std::vector<int>& own_labels) {
    constexpr std::int64_t kPiece = 1 << 20;  // labels handed over at a time, 4 MB
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(k_));
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
        for (const int label : labels) ++sizes[static_cast<std::size_t>(label)];
        on_all(ranks_, [&] {
          if (!first()) return;
          labels_file_->write(labels);
          seen_->add(labels);
        });
      }
    }
    return sizes;
  }

  // What each start came to.
  nlohmann::json restarts_of(const KmeansStarts& starts) const {
    nlohmann::json list = nlohmann::json::array();
    for (std::size_t i = 0; i < starts.done.size(); ++i) {
      list.push_back({{"seed", session_.common.seed + i},
                      {"inertia", starts.done[i].inertia},
                      {"iterations", starts.done[i].iterations},
                      {"converged", starts.done[i].converged}});
    }
    return list;
  }

  Outcome summary(const KmeansStarts& starts, int resumed_after, const std::vector<std::int64_t>& sizes,
                  double seconds) const {
    const KmeansResult& result = starts.done[static_cast<std::size_t>(starts.best_start())];
    const auto empty = std::count(sizes.begin(), sizes.end(), 0);
    Outcome outcome;
    outcome.document = {{"schema", 1},
                        {"study", "kmeans"},
                        {"data", {{"file", options_.source.data}, {"n", n_}, {"d", d_}}},
                        {"clusters", k_},
                        {"auto", chosen_ ? to_json(*chosen_) : nlohmann::json()},
                        {"metric", options_.metric},
                        {"init", options_.init},
                        {"seed", session_.common.seed},
                        {"max_iterations", options_.kmeans.max_iterations},
                        {"tolerance", options_.kmeans.tolerance},
                        {"inertia", result.inertia},
                        {"iterations", result.iterations},
                        {"converged", result.converged},
                        {"repaired", result.repaired},
                        {"empty", empty},
                        {"sizes", sizes},
                        {"restarts", restarts_of(starts)},
                        {"ranks", ranks_.size()},
                        {"given_bytes", ranks_.given()},
                        {"resumed_after", resumed_after},
                        {"pairs_in_full", nullptr},
                        {"seconds", seconds},
                        {"environment", environment(session_)}};
    outcome.text = fmt::format(
        "{}: {} rows of {} in {} clusters{}{}, {} {:.9g}, {}{}{}{}{}, seed {}, {:.3g} s\n", options_.out, n_,
        counted(d_, "feature"), k_, options_.cosine() ? " by cosine" : "",
        ranks_.size() > 1 ? fmt::format(" by {} ranks", ranks_.size()) : "",
        options_.cosine() ? "sum of 1 - cosine" : "inertia", result.inertia, counted(result.iterations, "iteration"),
        resumed_after > 0 ? fmt::format(" ({} of them before)", resumed_after) : "",
        result.converged ? "" : " (stopped by --max-iterations)",
        result.repaired > 0 ? fmt::format(", {} times an empty cluster was given a row", result.repaired) : "",
        empty > 0 ? fmt::format(", {} clusters are empty (rows that are equal cannot be divided)", empty) : "",
        session_.common.seed, seconds);
    if (chosen_) outcome.text += reason(*chosen_) + "\n";
    outcome.text += worded_sizes(sizes);
    if (options_.restarts > 1) outcome.text += worded_restarts(starts);
    return outcome;
  }

  static std::string worded_sizes(const std::vector<std::int64_t>& sizes) {
    constexpr std::size_t kMostNamed = 12;  // clusters: more are in result.json alone
    if (sizes.size() <= kMostNamed) return fmt::format("rows of each: {}\n", fmt::join(sizes, ", "));
    std::vector<std::int64_t> sorted = sizes;
    std::sort(sorted.begin(), sorted.end());
    return fmt::format("rows of each: {} to {}, half of the clusters have {} or more\n", sorted.front(), sorted.back(),
                       sorted[sorted.size() / 2]);
  }

  std::string worded_restarts(const KmeansStarts& starts) const {
    double worst = starts.done[0].inertia;
    for (const KmeansResult& result : starts.done) worst = std::max(worst, result.inertia);
    const int best = starts.best_start();
    const double least = starts.done[static_cast<std::size_t>(best)].inertia;
    return fmt::format("the best of {} starts is that of seed {}; the worst came to {:.9g}{}\n", starts.done.size(),
                       session_.common.seed + static_cast<std::uint64_t>(best), worst,
                       least > 0 ? fmt::format(", {:.2g} % more", 100 * (worst / least - 1)) : "");
  }

  const Options& options_;
  Session& session_;
  Stage stage_{session_, "kmeans"};
  Context& context_;
  Communicator& ranks_;
  std::optional<Rows> data_;
  std::int64_t n_ = 0, d_ = 0, k_ = 0;
  Share own_{};
  std::vector<float> unit_;  // by cosine: own rows at length 1
  std::span<const float> own_rows_;
  std::optional<ClusterCount> chosen_;  // of the first rank, with --clusters auto
  std::optional<Input<float>> points_;
  std::optional<KmeansCheckpoint> checkpoint_;
  double written_ = 0;                              // when the last one was, or when the first start began
  std::optional<NpyWriter<float>> centroids_file_;  // of the first rank
  std::optional<NpyWriter<std::int32_t>> labels_file_;
  std::optional<ClusterSummary> seen_;
};

// The nearest centroid of the rows of one shard: nothing that needs other rows. Their inertia is left by blocks, which
// merge (merge.cpp) adds in order.
Outcome assign_shard(const Options& options, const Shard& shard, Session& session) {
  if (!options.starts_from_file() || options.kmeans.max_iterations != 0) {
    throw Failure(kMisuse,
                  "--shard: only assigning rows to given centroids needs no other rows: --init FILE.npy "
                  "--max-iterations 0; a fit is divided by mpirun");
  }
  check(options);
  Context& context = session.context;
  Rows data(options.source);
  const std::int64_t n = data.size(), d = data.features(), k = options.clusters;
  const Share own = shard.share(n, kKmeansBlockRows);
  if (own.count == 0) {
    throw Failure(kMisuse, fmt::format("--shard {}: the {} rows of {} are dealt in blocks of {}; use fewer shards",
                                       options.shard, n, data.name(), kKmeansBlockRows));
  }
  // The files are opened first: a folder that cannot be written to is found before the work is done.
  const std::vector<float> centroids = start_from_file(options, k, d);
  const std::filesystem::path folder = shard_folder(options.out, shard);
  make_output_folder(folder);
  NpyWriter<float> centroids_file(folder / "centroids.npy", {k, d}),
      distances_file(folder / "distances.npy", {own.count});
  NpyWriter<std::int32_t> labels_file(folder / "labels.npy", {own.count});
  const Stage stage(session, "kmeans");
  Communicator alone;
  // The shard's rows alone are read and checked; by cosine each is scaled to length 1.
  std::span<const float> rows = data.checked(own.first, own.count, alone);
  std::vector<float> unit;
  if (options.cosine()) {
    require_directions(rows, d, own.first, data.name(), "--metric l2");
    unit = unit_rows(rows, d);
    rows = unit;
  }
  const Input<float> points(context, rows, {own.count, d});
  const Buffer<int> labels(context, {own.count});
  const Buffer<float> distances(context, {own.count});
  context.backend().kmeans_assign(points, Input<float>(context, centroids, {k, d}), labels, distances, context);
  std::vector<float> found = distances.to_host();
  if (options.cosine()) make_one_minus_cosine(found);
  std::vector<double> inertia;  // of each block, as kmeans.h adds them
  for (std::int64_t row = 0; row < own.count; ++row) {
    if (row % kKmeansBlockRows == 0) inertia.push_back(0);
    inertia.back() += static_cast<double>(found[static_cast<std::size_t>(row)]);
  }
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(k));
  const std::vector<int> own_labels = labels.to_host();
  for (const int label : own_labels) ++sizes[static_cast<std::size_t>(label)];
  centroids_file.write(centroids);
  labels_file.write(own_labels);
  distances_file.write(found);
  // `shard` says what merge needs: which rows these are, and which files it joins or expects to be equal.
  Outcome outcome;
  outcome.document = {{"schema", 1},
                      {"data", {{"file", options.source.data}, {"n", n}, {"d", d}}},
                      {"clusters", k},
                      {"metric", options.metric},
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
                        {"inertia_blocks", inertia},
                        {"sizes", sizes}}},
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
  add_cluster_count(*app, options->clusters, "Number of clusters")->required()->group(kMethodGroup);
  app->add_option("--restarts", options->restarts,
                  "Starts of which the one of least inertia is kept: those of --seed, the seed after it, ...")
      ->check(whole_number(1, 100000))
      ->group(kMethodGroup);
  add_metric(*app, options->metric,
             "l2: Euclidean. cosine: rows are scaled to length 1 and so are the centroids after every iteration "
             "(spherical k-means); distances are 1 - cosine");
  app->add_option("--max-iterations", options->kmeans.max_iterations, "Updates of the centroids, at most")
      ->check(whole_number(0, 1000000000))
      ->group(kMethodGroup);
  app->add_option("--tolerance", options->kmeans.tolerance,
                  "Stop when the centroids' summed squared movement is at most this share of the mean variance per "
                  "feature, by cosine of 1 / d; 0: when none moves")
      ->check(real_number(0, HUGE_VAL))
      ->group(kMethodGroup);
  app->add_option("--init", options->init, "Where to start: k-means++, random (rows), or a .npy file (clusters, d)")
      ->group(kMethodGroup);
  app->add_option("-o,--out", options->out,
                  "Folder for centroids.npy (clusters, d) float32, labels.npy (n) int32, result.json and report.html")
      ->required();
  add_own_shard(*app, options->shard, "With --init FILE and --max-iterations 0: only the i-th of n parts of the rows");
  app->add_option("--checkpoint-every", options->checkpoint_every,
                  "Time between checkpoints in --out, as 30s or 5m; 0: after every iteration. The same command goes on "
                  "from the last one, with any number of ranks")
      ->transform(duration())
      ->type_name("TIME")
      ->default_str("10s")
      ->group(kPartsGroup);
  add_notes(*app,
            {"scalelab kmeans --data points.npy --clusters 100 -o clusters",
             "scalelab kmeans --data embeddings.npy --clusters auto --metric cosine --restarts 10 -o clusters",
             "mpirun -n 4 scalelab kmeans --data points.npy --clusters 100 -o clusters"},
            {kAutoClustersHelp, kFormatsHelp});
  const auto needs = [options] {
    const Rows data(options->source);
    const auto n = static_cast<double>(data.size()), d = static_cast<double>(data.features());
    Needs needs{{{Work::kmeans_near, n}}, "--data"};
    const double k = options->clusters == kAutoClusters ? kMostAutoClusters : options->clusters;
    if (d > kTreeFeatures) needs.parts = {{Work::kmeans_far, n * k * d}};
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
