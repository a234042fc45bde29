#include "host/lab/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "host/data/source.h"
#include "host/lab/difficulty.h"
#include "host/lab/error_count.h"
#include "host/lab/lottery.h"
#include "host/lab/model.h"
#include "host/lab/visit_order.h"
#include "host/program/error.h"
#include "host/program/signals.h"
#include "scalelab/buffer.h"
#include "scalelab/random.h"

namespace scalelab::host {

namespace {

// Test draws come from seeds with the top bit set, training sets from seeds below 2^32: the two never meet.
constexpr std::uint64_t kTestDraws = std::uint64_t{1} << 63;
// Of the order in which a file's rows are dealt out, beside the trial's seed: the first fifth is the test.
constexpr std::uint64_t kHoldOut = std::uint64_t{1} << 62;

// Rows that the training error of kNN is counted on where there are more features than the trees take.
constexpr std::int64_t kFarTrainRows = 10000;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

Dataset gather(const Dataset& from, std::span<const std::uint32_t> rows) {
  Dataset to;
  to.features = from.features;
  to.classes = from.classes;
  to.class_names = from.class_names;
  to.points.reserve(rows.size() * static_cast<std::size_t>(from.features));
  for (const std::uint32_t row : rows) {
    const float* begin = from.points.data() + static_cast<std::size_t>(row) * from.features;
    to.points.insert(to.points.end(), begin, begin + from.features);
    to.labels.push_back(from.labels[row]);
  }
  return to;
}

// Points of files, scaled, and what they were read from.
struct FilePoints {
  std::string fingerprint;
  Dataset all;
  std::shared_ptr<const Dataset> test;  // where the data bring one
  std::int64_t held_out() const { return test ? 0 : std::max<std::int64_t>(1, all.size() / 5); }
  std::int64_t pool() const { return all.size() - held_out(); }
};
// The last ones stay in memory: a sweep asks for them again and again, on several threads. Whoever was given others
// before keeps those.
class LastRead {
 public:
  std::shared_ptr<const FilePoints> points() const {
    const std::lock_guard hold(lock_);
    return last_;
  }
  // Those of `source`, which has this fingerprint.
  std::shared_ptr<const FilePoints> points_of(const Source& source, const std::string& fingerprint) {
    const std::lock_guard hold(lock_);
    if (last_->fingerprint == fingerprint) return last_;
    last_ = std::make_shared<const FilePoints>();  // before others are read: memory is for one
    SourcePoints points = read_labelled(source);
    scale_features(points.all, points.test ? &*points.test : nullptr);
    FilePoints read{fingerprint, std::move(points.all), nullptr};
    if (points.test) read.test = std::make_shared<const Dataset>(std::move(*points.test));
    last_ = std::make_shared<const FilePoints>(std::move(read));
    return last_;
  }

 private:
  mutable std::mutex lock_;
  std::shared_ptr<const FilePoints> last_ = std::make_shared<const FilePoints>();  // none
};
LastRead& last_read() {
  static LastRead last;
  return last;
}

std::shared_ptr<const FilePoints> file_points(const Trial& trial) {
  const Source source{trial.data, trial.labels};
  const std::string fingerprint = fingerprint_of(source);
  if (!trial.fingerprint.empty() && trial.fingerprint != fingerprint) {
    throw Failure(kBadData, trial.data + ": was changed meanwhile; run the same command again");
  }
  return last_read().points_of(source, fingerprint);
}

// Rows and features that a trial's data have. Of files that were not read yet nothing is known.
struct DataShape {
  double features = 2, outputs = 1, test = 0;
};
DataShape shape_of(const Trial& trial) {
  if (!trial.is_file()) return {static_cast<double>(trial.dimension > 0 ? trial.dimension : 2)};
  const std::shared_ptr<const FilePoints> last = last_read().points();
  if (last->fingerprint.empty() || last->fingerprint != trial.fingerprint) return {};
  return {static_cast<double>(last->all.features), last->all.classes > 2 ? last->all.classes : 1.0,
          static_cast<double>(last->test ? last->test->size() : last->held_out())};
}

void require_rows(const Trial& trial, const FilePoints& file) {
  if (trial.n <= file.pool()) return;
  const std::string rest = file.test ? "" : fmt::format(" and {} are held out", file.held_out());
  throw Failure(kMisuse, fmt::format("{}: n = {} was asked for; of its {} rows {} are for training{}", trial.data,
                                     trial.n, file.all.size(), file.pool(), rest));
}

TrialData from_file(const Trial& trial) {
  const std::shared_ptr<const FilePoints> read = file_points(trial);
  const FilePoints& file = *read;
  require_rows(trial, file);
  const Dataset& all = file.all;
  const auto held_out = static_cast<std::uint32_t>(file.held_out()), pool = static_cast<std::uint32_t>(file.pool());
  // Where there is a test set all rows are for training, and the second shuffle alone says which.
  const Shuffle deal(pool + held_out, held_out > 0 ? kHoldOut | trial.seed : kHoldOut, 0), choose(pool, trial.seed, 0);
  std::vector<std::uint32_t> train, test;
  for (std::uint32_t i = 0; i < held_out; ++i) test.push_back(deal(i));
  for (std::uint32_t i = 0; i < trial.n; ++i) train.push_back(deal(held_out + choose(i)));
  return {gather(all, train), file.test ? file.test : std::make_shared<const Dataset>(gather(all, test))};
}

Dataset gaussian(const Trial& trial) {
  Dataset data;
  data.features = trial.dimension;
  const auto d = static_cast<std::size_t>(trial.dimension);
  data.points.resize(static_cast<std::size_t>(trial.n) * d);
  for (std::int64_t i = 0; i < trial.n; ++i) {
    float* row = data.points.data() + static_cast<std::size_t>(i) * d;
    for (std::size_t c = 0; c < d; c += 2) {
      const NormalPair pair = normal_pair(
          random_words(trial.seed, Stream::points, static_cast<std::uint64_t>(i), static_cast<std::uint32_t>(c / 2)));
      row[c] = static_cast<float>(pair.first);
      if (c + 1 < d) row[c + 1] = static_cast<float>(pair.second);
    }
    data.labels.push_back(row[0] > 0 ? 1 : 0);
  }
  return data;
}

// Trials that see the same points.
auto data_key(const Trial& t) { return std::tuple(t.data, t.labels, t.n, t.world, t.seed, t.noise, t.dimension); }

// Points and labels, on the host and in backend memory.
struct Points {
  Points(const Trial& trial, Context& context) : data(load_data(trial)) {
    train.emplace(context, data.train.points, Shape{data.train.size(), data.train.features});
    train_labels.emplace(context, data.train.labels, Shape{data.train.size()});
  }
  TrialData data;
  std::optional<Buffer<float>> train;
  std::optional<Buffer<std::uint8_t>> train_labels;
  View<const float> test;  // where there are test points; those of all who share them
};

// The training rows that a choice kept: all of them where they lie, or a copy of some.
struct KeptRows {
  KeptRows(const Points& all, const std::vector<int>& rows, Context& context) {
    if (rows.size() == all.data.train.labels.size()) {
      points = *all.train;
      device_labels = *all.train_labels;
      labels = all.data.train.labels;
      return;
    }
    copy = gather(all.data.train, std::vector<std::uint32_t>(rows.begin(), rows.end()));
    copied_points.emplace(context, copy.points, Shape{copy.size(), copy.features});
    copied_labels.emplace(context, copy.labels, Shape{copy.size()});
    points = *copied_points;
    device_labels = *copied_labels;
    labels = copy.labels;
  }
  KeptRows(const KeptRows&) = delete;
  View<const float> points;                // (kept, d)
  View<const std::uint8_t> device_labels;  // (kept)
  std::span<const std::uint8_t> labels;    // (kept), on the host

 private:
  Dataset copy;
  std::optional<Buffer<float>> copied_points;
  std::optional<Buffer<std::uint8_t>> copied_labels;
};

// Rows as a kNN model measures their distances: where they lie, or their features.
struct DistanceRows {
  DistanceRows(const Model& knn, View<const float> rows, Context& context) : model(knn), features(rows) {
    if (knn.shape.encoding == Encoding::none || rows.size() == 0) return;
    std::vector<float> host(static_cast<std::size_t>(rows.size()));
    context.backend().download(host.data(), rows.data(), host.size() * sizeof(float), context);
    encoded.emplace(context, distance_features(knn, host), Shape{rows.extent(0), feature_count(knn.shape)});
    features = *encoded;
  }
  DistanceRows(const DistanceRows&) = delete;
  Model model;
  View<const float> features;  // (rows, f)

 private:
  std::optional<Buffer<float>> encoded;
};

// What errors on the spiral are measured on.
struct SpiralTest {
  SpiralTest(const Trial& trial, Context& context)
      : truth(context, Spiral{}, mixture_of_world(trial.world), trial.grid) {
    if (trial.density_points == 0) return;
    draws = sample_spiral(mixture_of_world(trial.world), Spiral{}, trial.density_points, kTestDraws | trial.test_seed);
    points.emplace(context, draws.points, Shape{trial.density_points, 2});
  }
  GridTruth truth;
  Dataset draws;  // none: the density error is the truth's
  std::optional<Buffer<float>> points;
};

// What a label map says; the density error is that of its weights.
void add_map_values(const GridScore& score, Measurement& result) {
  result.values["grid_error"] = score.error;
  result.values["density_error"] = score.density_error;
  for (std::size_t region = 0; region < Regions::kCount; ++region) {
    if (!std::isnan(score.region_errors[region])) {
      result.values[Regions::kMeasures[region]] = score.region_errors[region];
    }
  }
  result.values["patches"] = static_cast<double>(score.patches);
}

// Trials with equal keys differ in the k of kNN alone.
std::string search_key(Trial trial) {
  const std::size_t encoding = std::min(trial.model.find('@'), trial.model.size());
  trial.model = "knn-1" + trial.model.substr(encoding);
  return trial_id(trial);
}

// One call of evaluate.
class Evaluation {
 public:
  Evaluation(std::span<const Trial> trials, Session& session,
             const std::function<void(std::size_t, const Measurement&)>& done)
      : trials_(trials), session_(session), context_(session.context), done_(done), outer_(context_.progress) {
    for (const Trial& trial : trials) total_ += estimated_seconds(trial);
  }
  ~Evaluation() { context_.progress = std::move(outer_); }  // a copy may ask for memory

  void run() {
    std::vector<std::size_t> networks, tickets;
    std::map<std::pair<std::int64_t, int>, std::vector<std::size_t>> perceptrons;
    std::map<std::string, std::vector<std::size_t>> searches;
    watch(0);  // scores of difficulty are of no trial alone
    for (std::size_t i = 0; i < trials_.size(); ++i) {
      const Trial& trial = trials_[i];
      guarded({i}, [&] {
        rows_[i] = choose_rows(trial);
        if (trial.data == "perceptron") {
          perceptrons[{static_cast<std::int64_t>(rows_[i].size()), trial.dimension}].push_back(i);
        } else if (trial.is_knn()) {
          searches[search_key(trial)].push_back(i);
        } else {
          (in_chain(trial) ? tickets : networks).push_back(i);
        }
      });
    }
    for (const auto& [key, indices] : searches) {
      watch(cost_of(indices));
      guarded(indices, [&, &indices = indices] { measure_knn(indices); });
    }
    for (const auto& [shape, indices] : perceptrons) {
      watch(cost_of(indices));
      guarded(indices, [&, &indices = indices] { run_perceptrons(indices); });
    }
    watch(cost_of(networks));
    guarded(networks, [&] { train_networks(networks); });
    watch(cost_of(tickets));
    guarded(tickets, [&] { train_tickets(tickets); });
  }

 private:
  double cost_of(std::span<const std::size_t> indices) const {
    double cost = 0;
    for (const std::size_t i : indices) cost += estimated_seconds(trials_[i]);
    return cost;
  }
  // What the ops report from here on is `cost` of the whole.
  void watch(double cost) {
    finished_ += part_;
    part_ = cost;
    if (!outer_) return;
    context_.progress = [this](std::int64_t done, std::int64_t whole) {
      const double share = whole > 0 ? static_cast<double>(done) / static_cast<double>(whole) : 0;
      outer_(std::llround(1e6 * (finished_ + part_ * share) / total_), 1000000);
    };
  }

  // Runs `work`; what goes wrong is the status of those of `indices` that have not been reported.
  template <class Work>
  void guarded(std::vector<std::size_t> indices, Work&& work) {
    if (indices.empty()) return;
    throw_if_interrupted();
    const SignalsHeld held;  // what has begun is finished
    try {
      work();
    } catch (const std::exception& error) {
      if (unreported_) std::rethrow_exception(unreported_);
      // A check that failed is no trial's fault: nothing that was measured here can be trusted.
      const auto* failure = dynamic_cast<const Failure*>(&error);
      if (failure != nullptr && failure->exit_code == kCheckFailed) throw;
      for (const std::size_t i : indices) {
        if (reported_.count(i) == 0) report(i, {fmt::format("failed: {}", error.what()), {}, 0, {}});
      }
    }
  }
  void report(std::size_t i, const Measurement& measurement) {
    reported_.insert(i);
    try {
      done_(i, measurement);
    } catch (...) {  // a disk that is full is no fault of the trial
      unreported_ = std::current_exception();
      throw;
    }
  }

  const Points& points(const Trial& trial) {
    auto& slot = points_[data_key(trial)];
    if (slot) return *slot;
    slot = std::make_unique<Points>(trial, context_);
    if (const Dataset* test = slot->data.test.get(); test != nullptr) {
      const Shape shape = {test->size(), test->features};
      slot->test = tests_.try_emplace(test, context_, test->points, shape).first->second;
    }
    return *slot;
  }
  const SpiralTest& spiral_test(const Trial& trial) {
    auto& slot = spiral_tests_[{trial.world, trial.grid, trial.density_points, trial.test_seed}];
    if (!slot) slot = std::make_unique<SpiralTest>(trial, context_);
    return *slot;
  }
  const std::vector<float>& difficulty_of(const Trial& trial) {
    const std::string key = difficulty_key(trial);
    const auto found = difficulties_.find(key);
    if (found != difficulties_.end()) return found->second;
    double purity;
    std::vector<float> values = difficulty(trial, points(trial).data.train, session_, &purity);
    if (std::isfinite(purity)) purities_[key] = purity;
    return difficulties_.emplace(key, std::move(values)).first->second;
  }
  // Of a network that is pruned, or begins a chain in which others are.
  bool in_chain(const Trial& trial) const {
    if (trial.ticket != "dense") return true;
    return std::any_of(trials_.begin(), trials_.end(), [&](const Trial& other) {
      return other.ticket != "dense" && work_key(other) == work_key(trial);
    });
  }

  // Ascending indices of the training rows that are kept.
  std::vector<int> choose_rows(const Trial& trial) {
    const Dataset& train = points(trial).data.train;
    if (trial.keep == "all") {
      std::vector<int> rows(static_cast<std::size_t>(train.size()));
      std::iota(rows.begin(), rows.end(), 0);
      return rows;
    }
    const std::vector<float> none(trial.keep == "random" ? train.labels.size() : 0);
    return keep_rows(trial.keep == "random" ? none : difficulty_of(trial), train.labels, train.classes, trial.keep,
                     trial.fraction, trial.seed, trial.class_floor);
  }

  // What a choice of rows is like, beside how many it keeps.
  void describe_choice(std::size_t i, Measurement& result) {
    const Trial& trial = trials_[i];
    if (trial.keep == "all") return;
    const std::vector<std::uint8_t>& labels = points(trial).data.train.labels;
    std::array<std::int64_t, kMostClasses> all{}, kept{};
    for (const std::uint8_t label : labels) ++all[label];
    for (const int row : rows_[i]) ++kept[labels[static_cast<std::size_t>(row)]];
    double least = 1, most = 0;
    for (std::size_t c = 0; c < all.size(); ++c) {
      if (all[c] == 0) continue;
      const double share = static_cast<double>(kept[c]) / static_cast<double>(all[c]);
      least = std::min(least, share);
      most = std::max(most, share);
    }
    result.values["least_class"] = least;
    result.values["most_class"] = most;
    if (trial.keep == "random") return;
    const auto purity = purities_.find(difficulty_key(trial));
    if (purity != purities_.end()) result.values["purity"] = purity->second;
  }

  // kNN of several k on the same rows: one search of the points serves all of them.
  void measure_knn(const std::vector<std::size_t>& indices) {
    const double start = now();
    const Trial& trial = trials_[indices[0]];
    const KeptRows kept(points(trial), rows_[indices[0]], context_);
    const DistanceRows rows(parse_model(trial.model), kept.points, context_);
    std::vector<std::size_t> served;
    std::vector<int> ks;
    for (const std::size_t i : indices) {
      const int k = parse_model(trials_[i].model).neighbours;
      if (k > static_cast<int>(kept.labels.size())) {
        const auto why = fmt::format("failed: {} asks for more neighbours than the {} rows that are kept",
                                     trials_[i].model, kept.labels.size());
        report(i, {why, {}, 0, {}});
        continue;
      }
      served.push_back(i);
      ks.push_back(k);
    }
    const auto errors_on = [&](View<const float> queries, std::span<const std::uint8_t> labels) {
      const DistanceRows asked(rows.model, queries, context_);
      return knn_point_errors(rows.features, kept.labels, ks, asked.features, labels, context_);
    };
    // Beyond the trees' features a search costs as much for every row: some rows are enough there.
    const auto all = std::ssize(kept.labels);
    const auto some =
        points(trial).data.train.features > kTreeFeatures ? std::min<std::int64_t>(all, kFarTrainRows) : all;
    const auto train = errors_on(kept.points.rows(0, some), kept.labels.first(static_cast<std::size_t>(some)));
    const SpiralTest* spiral = trial.is_spiral() ? &spiral_test(trial) : nullptr;
    std::vector<double> test(ks.size());  // by points; the spiral's by its map where there are no draws
    if (spiral == nullptr) test = errors_on(points(trial).test, points(trial).data.test->labels);
    if (spiral != nullptr && spiral->points) test = errors_on(*spiral->points, spiral->draws.labels);
    const double shared = (now() - start) / static_cast<double>(std::max<std::size_t>(1, ks.size()));
    for (std::size_t j = 0; j < ks.size(); ++j) {
      const double map_start = now();
      Measurement result;
      result.values = {{"kept", static_cast<double>(kept.labels.size())}, {"train_error", train[j]}};
      if (spiral == nullptr) result.values["test_error"] = test[j];
      describe_choice(served[j], result);
      if (spiral != nullptr) {
        const Model model = parse_model(trials_[served[j]].model);
        const GridScore score = spiral->truth.knn({model, rows.features, kept.device_labels, kept.labels});
        add_map_values(score, result);
        if (spiral->points) result.values["density_error"] = test[j];
        if (score.one_class()) result.status = "collapsed";
      }
      result.seconds = shared + now() - map_start;
      report(served[j], result);
    }
  }

  // Max-margin students of one number of examples and one dimension, in one call.
  void run_perceptrons(const std::vector<std::size_t>& indices) {
    const double start = now();
    const Backend& backend = context_.backend();
    const auto m = static_cast<std::int64_t>(indices.size());
    const auto n = static_cast<std::int64_t>(rows_[indices[0]].size());
    const std::int64_t d = trials_[indices[0]].dimension;
    std::vector<float> examples;
    for (const std::size_t i : indices) {
      const Dataset& train = points(trials_[i]).data.train;
      for (const int row : rows_[i]) {
        const float sign = train.labels[static_cast<std::size_t>(row)] == 1 ? 1.0F : -1.0F;
        const float* x = train.points.data() + static_cast<std::size_t>(row) * static_cast<std::size_t>(d);
        for (std::int64_t c = 0; c < d; ++c) examples.push_back(sign * x[c]);
      }
    }
    Buffer<float> sets(context_, examples, {m, n, d}), students(context_, {m, d}), margins(context_, {m});
    Buffer<int> sweeps(context_, {m});
    backend.max_margin(sets, students, margins, sweeps, {}, context_);
    const auto directions = students.to_host(), margin = margins.to_host();
    const auto made = sweeps.to_host();
    for (std::int64_t j = 0; j < m; ++j) {
      Measurement result;
      if (made[j] < 0) result.status = "unconverged";
      const double overlap = std::clamp<double>(directions[static_cast<std::size_t>(j * d)], -1, 1);
      result.values = {{"kept", static_cast<double>(n)},
                       {"test_error", std::acos(overlap) / kPi},
                       {"train_error", margin[j] > 0 ? 0 : std::nan("")}};
      result.seconds = (now() - start) / static_cast<double>(m);
      report(indices[j], result);
    }
  }

  // A run on the trial's rows in the trial's order; the rows go to backend memory that `keep` holds.
  MlpRun network_run(std::size_t i, std::deque<Buffer<int>>& keep) {
    const Trial& trial = trials_[i];
    const Points& all = points(trial);
    MlpRun run = training_run(network_of(trial, trial.model, all.data.train.features, all.data.train.classes));
    run.inputs = *all.train;
    run.labels = *all.train_labels;
    run.epochs = trial.epochs;
    run.seed = trial.start_seed();
    if (trial.order != "shuffled") {
      const std::vector<float> none;
      const std::vector<int> visits = visit_order(trial.order == "random" ? none : difficulty_of(trial), rows_[i],
                                                  all.data.train.labels, trial.order, trial.epochs, trial.start_seed());
      run.rows = keep.emplace_back(context_, visits, Shape{std::ssize(visits)});
      run.epochs = 1;
      run.shuffle = false;
    } else if (trial.keep != "all") {
      run.rows = keep.emplace_back(context_, rows_[i], Shape{std::ssize(rows_[i])});
    }
    return run;
  }

  Measurement measure_network(std::size_t i, const MlpShape& shape, View<const float> parameters) {
    const Trial& trial = trials_[i];
    const Points& all = points(trial);
    Measurement result;
    result.values["kept"] = static_cast<double>(rows_[i].size());
    describe_choice(i, result);
    const auto seen = network_predictions(shape, parameters, *all.train, context_);
    std::int64_t wrong = 0;
    for (const int row : rows_[i]) wrong += seen[static_cast<std::size_t>(row)] != all.data.train.labels[row];
    result.values["train_error"] = static_cast<double>(wrong) / static_cast<double>(rows_[i].size());
    if (trial.is_spiral()) {
      const SpiralTest& test = spiral_test(trial);
      const GridScore score = test.truth.network(shape, parameters);
      add_map_values(score, result);
      if (test.points) {
        result.values["density_error"] =
            network_point_error(shape, parameters, *test.points, test.draws.labels, context_);
      }
      if (score.one_class()) result.status = "collapsed";
      return result;
    }
    const auto predicted = network_predictions(shape, parameters, all.test, context_);
    wrong = 0;
    for (std::size_t q = 0; q < predicted.size(); ++q) wrong += predicted[q] != all.data.test->labels[q];
    result.values["test_error"] = static_cast<double>(wrong) / static_cast<double>(predicted.size());
    if (std::all_of(predicted.begin(), predicted.end(), [&](auto p) { return p == predicted[0]; })) {
      result.status = "collapsed";
    }
    return result;
  }

  void train_networks(const std::vector<std::size_t>& indices) {
    // What belongs to a network stands together: one for which memory ends is left out whole, and takes no other's place.
    struct Network {
      std::size_t trial;
      MlpRun run;
      Buffer<float> parameters;
      Buffer<int> diverged;
      double cost;
    };
    std::deque<Buffer<int>> kept;
    std::deque<Network> networks;
    for (const std::size_t i : indices) {
      guarded({i}, [&] {
        MlpRun run = network_run(i, kept);
        const std::vector<float> start = initial_parameters(run.shape, trials_[i].start_seed());
        Buffer<float> parameters(context_, start, Shape{std::ssize(start)});
        Buffer<int> diverged(context_, std::vector{-1}, Shape{1});
        run.parameters = parameters;
        run.diverged = diverged;
        networks.push_back({i, run, std::move(parameters), std::move(diverged), estimated_seconds(trials_[i])});
      });
    }
    if (networks.empty()) return;
    std::vector<MlpRun> runs;
    double all = 0;
    for (const Network& network : networks) {
      runs.push_back(network.run);
      all += network.cost;
    }
    const double start = now();
    context_.backend().mlp_train(runs, context_);
    context_.synchronize();
    const double seconds = now() - start;
    for (const Network& network : networks) {
      Measurement result = measure_network(network.trial, network.run.shape, network.parameters);
      if (network.diverged.to_host()[0] >= 0) result.status = "diverged";
      result.seconds = seconds * network.cost / all;
      result.parameters = network.parameters.to_host();
      report(network.trial, result);
    }
  }

  void train_tickets(const std::vector<std::size_t>& indices) {
    std::deque<Buffer<int>> kept;
    std::map<std::string, std::vector<std::size_t>> by_chain;
    for (const std::size_t i : indices) by_chain[work_key(trials_[i])].push_back(i);
    std::vector<LotteryChain> chains;
    std::vector<std::vector<std::size_t>> trials;  // of each chain's wanted tickets
    for (const auto& [key, members] : by_chain) {
      LotteryChain chain{network_run(members[0], kept), {}};
      for (const std::size_t i : members) chain.wanted.push_back({trials_[i].ticket, trials_[i].level});
      chains.push_back(std::move(chain));
      trials.push_back(members);
    }
    run_lottery(chains, session_, [&](const LotteryNetwork& network) {
      const std::size_t i = trials[network.chain][network.ticket];
      Measurement result = measure_network(i, network.shape, network.parameters);
      if (network.diverged) {
        result.status = "diverged";
      } else if (trials_[i].ticket != "dense") {
        result.values["weights"] = static_cast<double>(network.weights);
        result.values["density"] = network.density;
      }
      if (!network.diverged) {
        result.values["moved"] = network.moved;
        result.values["start_overlap"] = network.start_overlap;
      }
      result.seconds = network.seconds;
      report(i, result);
    });
  }

  std::span<const Trial> trials_;
  Session& session_;
  Context& context_;
  const std::function<void(std::size_t, const Measurement&)>& done_;
  std::function<void(std::int64_t, std::int64_t)> outer_;
  double total_ = 0, finished_ = 0, part_ = 0;
  std::set<std::size_t> reported_;
  std::exception_ptr unreported_;
  std::map<std::size_t, std::vector<int>> rows_;
  std::map<const Dataset*, Buffer<float>> tests_;
  std::map<decltype(data_key(Trial{})), std::unique_ptr<Points>> points_;
  std::map<std::tuple<std::uint64_t, std::int64_t, std::int64_t, std::uint64_t>, std::unique_ptr<SpiralTest>>
      spiral_tests_;
  std::map<std::string, std::vector<float>> difficulties_;
  std::map<std::string, double> purities_;  // by the same key, where there are clusters
};

double parameters_of(const Trial& trial) {
  const double w = trial.width;
  const DataShape shape = shape_of(trial);
  return w * w * (trial.hidden_layers - 1) + w * (shape.features + shape.outputs + 2);
}

}  // namespace

void scale_features(Dataset& all, Dataset* test) {
  const auto each = [&](auto&& scale) {
    for (Dataset* data : {&all, test}) {
      if (data != nullptr) scale(*data);
    }
  };
  if (all.pixels) {
    const float largest = *std::max_element(all.points.begin(), all.points.end());
    float half = 0.5F;  // of the least power of two that no pixel is above
    while (2 * half < largest) half *= 2;
    each([&](Dataset& data) {
      for (float& value : data.points) value = (value - half) / half;
    });
    return;
  }
  const auto d = static_cast<std::size_t>(all.features);
  for (std::size_t c = 0; c < d; ++c) {
    float low = all.points[c], high = low;
    for (std::size_t i = c; i < all.points.size(); i += d) {
      low = std::min(low, all.points[i]);
      high = std::max(high, all.points[i]);
    }
    const double range = static_cast<double>(high) - low;
    each([&](Dataset& data) {
      for (std::size_t i = c; i < data.points.size(); i += d) {
        const double share = range > 0 ? (static_cast<double>(data.points[i]) - low) / range : 0.5;
        data.points[i] = static_cast<float>(2 * share - 1);
      }
    });
  }
}

std::int64_t training_rows(const Trial& trial) { return file_points(trial)->pool(); }

void require_fits(const Trial& trial) {
  if (!trial.is_file()) return;
  const std::shared_ptr<const FilePoints> read = file_points(trial);
  const FilePoints& file = *read;
  require_rows(trial, file);
  const Model model = parse_model(trial.model);
  if (file.all.features != 2 && model.shape.encoding != Encoding::none) {
    throw Failure(kMisuse,
                  fmt::format("{}: needs 2 features, and {} has {}; use {}", trial.model, trial.data, file.all.features,
                              model.is_knn() ? fmt::format("knn-{}", model.neighbours) : "mlp-xy"));
  }
}

TrialData load_data(const Trial& trial) {
  if (trial.is_spiral()) {
    return {sample_spiral(mixture_of_world(trial.world), Spiral{}, trial.n, trial.seed, trial.noise), {}};
  }
  if (trial.data == "perceptron") return {gaussian(trial), {}};
  return from_file(trial);
}

std::string work_key(const Trial& trial) {
  if (trial.ticket != "dense" || (trial.score == "none" && trial.is_network())) {
    Trial chain = trial;
    chain.ticket = "dense";
    chain.level = 0;
    return trial_id(chain);
  }
  if (trial.score != "none") return difficulty_key(trial);
  return trial.is_knn() ? search_key(trial) : trial_id(trial);
}

double estimated_seconds(const Trial& trial) {
  const auto n = static_cast<double>(trial.n);
  const double test = static_cast<double>(trial.density_points) + static_cast<double>(trial.grid * trial.grid) / 20;
  const double kept = n * trial.fraction;
  double seconds = 4e-7 * n;  // drawing the points
  const DataShape shape = shape_of(trial);
  if (trial.is_knn() && shape.features > kTreeFeatures) {
    return seconds + kept * (shape.test + std::min(kept, static_cast<double>(kFarTrainRows))) * shape.features / 2e10;
  }
  const bool encoded = trial.model.find('@') != std::string::npos;  // cells are searched for one by one
  if (trial.is_knn()) return seconds + 3e-6 * n + (encoded ? 6e-6 : 4e-7) * test;
  if (trial.data == "perceptron") return seconds + 2e-9 * kept * kept * trial.dimension;
  const double per_sample = 6 * parameters_of(trial) / 5e10 + 3e-7;  // forward and backward at 50 GFLOP/s a core
  const double training = trial.epochs * kept * per_sample;
  double scoring = 0;
  if (trial.score == "el2n") scoring = 1;
  if (trial.score == "forgetting") scoring = 5;
  if (trial.score == "ddd") scoring = 5;
  if (trial.features == "hidden") scoring += 1;
  seconds += scoring * trial.epochs * n * per_sample / 8;  // shared by the trials of one difficulty
  return seconds + training + (test + shape.test + n) * per_sample / 3;
}

double estimated_bytes(const Trial& trial) {
  const DataShape shape = shape_of(trial);
  double bytes = static_cast<double>(trial.n) * (8 * shape.features + 40);  // the test points are shared
  if (trial.order != "shuffled") bytes += 8.0 * static_cast<double>(trial.n) * trial.epochs;
  if (trial.is_network()) bytes += 40 * parameters_of(trial);
  return bytes;
}

void evaluate(std::span<const Trial> trials, Session& session,
              const std::function<void(std::size_t index, const Measurement&)>& done) {
  Evaluation(trials, session, done).run();
}

}  // namespace scalelab::host
