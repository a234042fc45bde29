#include "host/lab/difficulty.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <stdexcept>

#include "host/lab/model.h"
#include "host/program/error.h"
#include "scalelab/buffer.h"
#include "scalelab/math.h"

namespace scalelab::host {

namespace {

constexpr ScoreKind kScores[] = {
    {"random", false, false, false}, {"margin", false, false, false},      {"boundary", false, true, false},
    {"kmeans", true, true, false},   {"kmeans-cosine", true, true, false}, {"class-mean", false, true, false},
    {"el2n", false, false, true},    {"forgetting", false, false, true},   {"ddd", false, false, true},
};

// As difficulty.h says. The mean over five networks scatters less than half as much as one of them. To look at all rows
// costs a good part of an epoch, which kLooks bounds.
constexpr int kEarlyNetworks = 10, kForgettingNetworks = 5, kHalfPairs = 5, kLooks = 100;
constexpr int kBoundaryNeighbours = 8;
// Rows scored in one call: bounds the memory of neighbours and network outputs.
constexpr std::int64_t kChunk = std::int64_t{1} << 16;

// Length of p - onehot, p the class probabilities.
double error_length(std::span<const float> scores, int label) {
  if (scores.size() == 1) {  // (p, 1 - p) against the label
    const double other = label == 1 ? scores[0] : -static_cast<double>(scores[0]);
    return std::sqrt(2.0) / (1 + exponential(other));
  }
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0, squares = 0;
  for (const float score : scores) sum += exponential(score - largest);
  for (std::size_t c = 0; c < scores.size(); ++c) {
    const double p = exponential(scores[c] - largest) / sum - (static_cast<int>(c) == label ? 1 : 0);
    squares += p * p;
  }
  return std::sqrt(squares);
}

int predicted(std::span<const float> scores) {
  if (scores.size() == 1) return scores[0] > 0 ? 1 : 0;
  return static_cast<int>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

// A model that is no network sees raw inputs, and so do the networks that score for it.
std::string network_name(const std::string& model) { return model.starts_with("mlp-") ? model : "mlp-xy"; }

// Networks of a trial's model that see its training rows in order to score them.
class ScoringNetworks {
 public:
  // `rows`: what each network trains on; empty for all rows.
  ScoringNetworks(const Trial& trial, const Dataset& train, int count, const std::vector<std::vector<int>>& rows,
                  Session& session)
      : session_(session),
        train_(train),
        model_(network_of(trial, network_name(trial.model), train.features, train.classes)),
        inputs_(session.context, train.points, {train.size(), train.features}),
        labels_(session.context, train.labels, {train.size()}) {
    const std::int64_t p = parameter_count(model_.shape);
    std::vector<float> starts;
    for (int j = 0; j < count; ++j) {
      const auto start = initial_parameters(model_.shape, seed(trial, j));
      starts.insert(starts.end(), start.begin(), start.end());
    }
    parameters_.emplace_back(session.context, starts, Shape{count, p});
    state_.emplace_back(session.context, std::vector<float>(static_cast<std::size_t>(2 * p * count)),
                        Shape{count, 2 * p});
    for (int j = 0; j < count; ++j) {
      MlpRun run = training_run(model_);
      run.inputs = inputs_;
      run.labels = labels_;
      if (!rows.empty()) {
        const auto size = static_cast<std::int64_t>(rows[j].size());
        rows_.emplace_back(session.context, rows[j], Shape{size});
        run.rows = rows_.back();
      }
      run.parameters = View<float>(parameters_[0].view().data() + j * p, {p});
      run.state = View<float>(state_[0].view().data() + j * 2 * p, {2 * p});
      run.epochs = trial.epochs;
      run.seed = seed(trial, j);
      runs_.push_back(run);
    }
  }

  void train(int epoch_begin, int epoch_end) {
    for (MlpRun& run : runs_) {
      run.epoch_begin = epoch_begin;
      run.epoch_end = epoch_end;
    }
    session_.context.backend().mlp_train(runs_, session_.context);
  }

  // body(network, row, scores) for every network and row.
  template <class Body>
  void score(Body&& body) {
    const std::int64_t m = parameters_[0].view().extent(0), n = train_.size(), outputs = model_.shape.outputs;
    for (std::int64_t begin = 0; begin < n; begin += kChunk) {
      const std::int64_t count = std::min(kChunk, n - begin);
      const std::vector<float> scores = forward(model_.shape, parameters_[0], begin, count);
      for (std::int64_t j = 0; j < m; ++j) {
        for (std::int64_t i = 0; i < count; ++i) {
          body(static_cast<int>(j), begin + i,
               std::span(scores).subspan(static_cast<std::size_t>((j * count + i) * outputs),
                                         static_cast<std::size_t>(outputs)));
        }
      }
    }
  }

  // The last hidden layer of the first network, (n, width): what it would output if its output layer were the identity.
  std::vector<float> hidden() {
    const std::int64_t w = model_.shape.width, n = train_.size();
    const std::int64_t inside = parameter_count(model_.shape) - model_.shape.outputs * (w + 1);
    std::vector<float> parameters = parameters_[0].to_host();
    parameters.resize(static_cast<std::size_t>(inside));
    for (std::int64_t o = 0; o < w; ++o) {
      for (std::int64_t i = 0; i < w; ++i) parameters.push_back(o == i ? 1.0F : 0.0F);
    }
    parameters.insert(parameters.end(), static_cast<std::size_t>(w), 0.0F);
    MlpShape shape = model_.shape;
    shape.outputs = static_cast<int>(w);
    const Buffer<float> network(session_.context, parameters, {1, static_cast<std::int64_t>(parameters.size())});
    std::vector<float> features;
    features.reserve(static_cast<std::size_t>(n * w));
    for (std::int64_t begin = 0; begin < n; begin += kChunk) {
      const std::vector<float> part = forward(shape, network, begin, std::min(kChunk, n - begin));
      features.insert(features.end(), part.begin(), part.end());
    }
    return features;
  }

 private:
  static std::uint64_t seed(const Trial& trial, int network) {
    return trial.seed | static_cast<std::uint64_t>(network + 1) << 32;
  }

  // (m, count, outputs)
  std::vector<float> forward(const MlpShape& shape, View<const float> parameters, std::int64_t begin,
                             std::int64_t count) {
    Buffer<float> scores(session_.context, {parameters.extent(0), count, shape.outputs});
    session_.context.backend().mlp_forward(shape, parameters, inputs_.view().rows(begin, count), scores,
                                           session_.context);
    std::vector<float> host = scores.to_host();
    for (const float score : host) {
      if (!std::isfinite(score)) throw std::runtime_error("a network that scores the rows diverged");
    }
    return host;
  }

  Session& session_;
  const Dataset& train_;
  Model model_;
  Buffer<float> inputs_;
  Buffer<std::uint8_t> labels_;
  std::vector<Buffer<float>> parameters_, state_;  // one each
  std::vector<Buffer<int>> rows_;
  std::vector<MlpRun> runs_;
};

std::vector<float> el2n(const Trial& trial, const Dataset& train, Session& session) {
  ScoringNetworks networks(trial, train, kEarlyNetworks, {}, session);
  networks.train(0, (trial.epochs + 9) / 10);
  std::vector<double> sums(train.labels.size());
  networks.score([&](int, std::int64_t row, std::span<const float> scores) {
    sums[row] += error_length(scores, train.labels[row]) / kEarlyNetworks;
  });
  return {sums.begin(), sums.end()};
}

std::vector<float> forgetting(const Trial& trial, const Dataset& train, Session& session) {
  ScoringNetworks networks(trial, train, kForgettingNetworks, {}, session);
  const int looks = std::min(trial.epochs, kLooks);
  const std::size_t n = train.labels.size();
  enum : std::uint8_t { never_right, right, wrong };
  std::vector<std::uint8_t> state(kForgettingNetworks * n, never_right);
  std::vector<int> events(n);
  for (int look = 0; look < looks; ++look) {
    const auto epoch_at = [&](int l) { return static_cast<int>(static_cast<std::int64_t>(trial.epochs) * l / looks); };
    networks.train(epoch_at(look), epoch_at(look + 1));
    networks.score([&](int j, std::int64_t row, std::span<const float> scores) {
      std::uint8_t& before = state[j * n + row];
      if (predicted(scores) == train.labels[row]) {
        before = right;
      } else if (before == right) {
        before = wrong;
        ++events[row];
      }
    });
  }
  std::vector<float> means(n);
  for (std::size_t row = 0; row < n; ++row) {
    for (int j = 0; j < kForgettingNetworks; ++j) events[row] += state[j * n + row] == never_right ? looks : 0;
    means[row] = static_cast<float>(events[row]) / kForgettingNetworks;
  }
  return means;
}

std::vector<float> ddd(const Trial& trial, const Dataset& train, Session& session) {
  const std::int64_t n = train.size();
  if (n < 2) throw Failure(kMisuse, "score ddd needs two rows or more");
  std::vector<std::vector<int>> halves;
  std::vector<std::vector<bool>> seen;
  for (int pair = 0; pair < kHalfPairs; ++pair) {
    const std::vector<int> order = random_order(n, trial.seed, 1 + pair);
    halves.emplace_back(order.begin(), order.begin() + n / 2);
    halves.emplace_back(order.begin() + n / 2, order.end());
  }
  for (auto& half : halves) {
    std::sort(half.begin(), half.end());
    auto& in = seen.emplace_back(static_cast<std::size_t>(n));
    for (const int row : half) in[row] = true;
  }
  ScoringNetworks networks(trial, train, 2 * kHalfPairs, halves, session);
  networks.train(0, trial.epochs);
  std::vector<float> counts(static_cast<std::size_t>(n));
  networks.score([&](int j, std::int64_t row, std::span<const float> scores) {
    counts[row] += !seen[j][row] && predicted(scores) != train.labels[row] ? 1.0F : 0.0F;
  });
  return counts;
}

std::vector<float> boundary(std::span<const float> rows, std::int64_t d, const Dataset& train, Session& session) {
  Context& context = session.context;
  const std::int64_t n = train.size();
  const int k = static_cast<int>(std::min<std::int64_t>(n, kBoundaryNeighbours + 1));  // the row itself among them
  const Buffer<float> points(context, rows, {n, d});
  std::vector<float> result(static_cast<std::size_t>(n));
  std::vector<std::vector<int>> undecided(static_cast<std::size_t>(train.classes));
  for (std::int64_t begin = 0; begin < n; begin += kChunk) {
    const std::int64_t count = std::min(kChunk, n - begin);
    Buffer<int> indices(context, {count, k});
    context.backend().knn(points, points.view().rows(begin, count), indices, View<float>(), context);
    const std::vector<int> neighbours = indices.to_host();
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t row = begin + i;
      int rank = 0;  // among other rows; the row itself may be anywhere, or missing, where rows coincide
      for (int j = 0; j < k && rank < kBoundaryNeighbours && result[row] == 0; ++j) {
        const int other = neighbours[i * k + j];
        if (other == row) continue;
        ++rank;
        if (train.labels[other] != train.labels[row]) {
          result[row] = static_cast<float>(kBoundaryNeighbours + 1 - rank);
        }
      }
      if (result[row] == 0) undecided[train.labels[row]].push_back(static_cast<int>(row));
    }
  }
  for (int c = 0; c < train.classes; ++c) {
    const auto& queries = undecided[c];
    if (queries.empty()) continue;
    std::vector<int> others;
    for (std::int64_t row = 0; row < n; ++row) {
      if (train.labels[row] != c) others.push_back(static_cast<int>(row));
    }
    const auto q = static_cast<std::int64_t>(queries.size()), r = static_cast<std::int64_t>(others.size());
    if (r == 0) {  // no other label anywhere: no row is harder than another
      for (const int row : queries) result[row] = -std::numeric_limits<float>::max();
      continue;
    }
    const Buffer<float> references(context, rows_at(rows, d, others), {r, d});
    const Buffer<float> from(context, rows_at(rows, d, queries), {q, d});
    Buffer<int> indices(context, {q, 1});
    Buffer<float> distances(context, {q, 1});
    context.backend().knn(references, from, indices, distances, context);
    const std::vector<float> squared = distances.to_host();
    for (std::int64_t i = 0; i < q; ++i) result[queries[i]] = -std::sqrt(squared[i]);
  }
  return result;
}

std::vector<float> margin(const Trial& trial, const Dataset& train, Session& session) {
  std::vector<float> result;
  if (trial.data == "spiral") {
    result = spiral_distances(Spiral{}, train.points, session);
    for (float& distance : result) distance = -distance;
    return result;
  }
  if (trial.data != "perceptron") {
    throw Failure(kMisuse, fmt::format("score margin needs a known boundary, and {} has none", trial.data));
  }
  // The teacher is the first axis, the probe lies in the plane of the first two.
  const SinCos probe = sin_cos_turns(trial.probe_angle / 360);
  const std::int64_t n = train.size(), d = train.features;
  for (std::int64_t row = 0; row < n; ++row) {
    const double along = train.points[row * d], across = d > 1 ? train.points[row * d + 1] : 0;
    if ((along > 0) != (train.labels[row] == 1)) {
      throw std::logic_error("the perceptron's teacher is not the first axis");
    }
    result.push_back(static_cast<float>(-std::abs(std::fma(probe.cos, along, probe.sin * across))));
  }
  return result;
}

}  // namespace

std::span<const ScoreKind> score_kinds() { return kScores; }

const ScoreKind& score_kind(const std::string& name) {
  std::string names;
  for (const ScoreKind& kind : kScores) {
    if (name == kind.name) return kind;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", kind.name);
  }
  throw Failure(kMisuse, fmt::format("'{}' is no score; there are {}", name, names));
}

std::vector<float> spiral_distances(const Spiral& spiral, std::span<const float> points, Session& session) {
  // Both edges of the band as polylines of equal steps along the spiral; an arc is nowhere further than 5e-9 from its
  // chord. The nearest corner leads to the chords that meet there.
  constexpr int kSteps = 1 << 17;
  const double t_end = 2 * kPi * spiral.turns, c = spiral.tip_radius / t_end;
  struct Point {
    double x, y;
  };
  std::vector<Point> corners;
  std::vector<float> rounded;
  for (const int side : {-1, 1}) {
    for (int step = 0; step <= kSteps; ++step) {
      const double t = t_end * step / kSteps;
      const double width = std::min({1.0, t / (2 * kPi), (t_end - t) / (kPi / 2)});
      const double rho = c * t + side * 0.5 * kPi * c * width;
      const SinCos turn = sin_cos_turns((spiral.start_angle + t) / (2 * kPi));
      corners.push_back({rho * turn.cos, rho * turn.sin});
      rounded.push_back(static_cast<float>(corners.back().x));
      rounded.push_back(static_cast<float>(corners.back().y));
    }
  }
  Context& context = session.context;
  const auto n = static_cast<std::int64_t>(points.size() / 2);
  const Buffer<float> references(context, rounded, {static_cast<std::int64_t>(corners.size()), 2});
  std::vector<float> distances(static_cast<std::size_t>(n));
  for (std::int64_t begin = 0; begin < n; begin += kChunk) {
    const std::int64_t count = std::min(kChunk, n - begin);
    const Buffer<float> queries(
        context, points.subspan(static_cast<std::size_t>(2 * begin), static_cast<std::size_t>(2 * count)), {count, 2});
    Buffer<int> indices(context, {count, 1});
    context.backend().knn(references, queries, indices, View<float>(), context);
    const std::vector<int> nearest = indices.to_host();
    for (std::int64_t i = 0; i < count; ++i) {
      const double x = points[2 * (begin + i)], y = points[2 * (begin + i) + 1];
      const int corner = nearest[i], on_edge = corner % (kSteps + 1);
      double best = std::numeric_limits<double>::infinity();
      for (const int other : {corner - 1, corner + 1}) {
        if ((other < corner && on_edge == 0) || (other > corner && on_edge == kSteps)) continue;
        const Point a = corners[corner], b = corners[other];
        const double bx = b.x - a.x, by = b.y - a.y, ax = x - a.x, ay = y - a.y;
        const double length = bx * bx + by * by;
        const double along = length > 0 ? std::clamp((ax * bx + ay * by) / length, 0.0, 1.0) : 0;
        const double dx = ax - along * bx, dy = ay - along * by;
        best = std::min(best, dx * dx + dy * dy);
      }
      distances[begin + i] = static_cast<float>(std::sqrt(best));
    }
  }
  return distances;
}

double cluster_purity(std::span<const int> clusters, std::span<const std::uint8_t> labels) {
  std::map<int, std::map<int, std::int64_t>> counts;
  for (std::size_t row = 0; row < clusters.size(); ++row) ++counts[clusters[row]][labels[row]];
  std::int64_t pure = 0;
  for (const auto& [cluster, of_label] : counts) {
    std::int64_t most = 0;
    for (const auto& [label, count] : of_label) most = std::max(most, count);
    pure += most;
  }
  return static_cast<double>(pure) / static_cast<double>(clusters.size());
}

bool needs_labels(const std::string& score, const std::string& features) {
  if (score == "random" || score == "none" || score == "margin") return false;
  return !score_kind(score).clusters || features == "hidden";
}

std::vector<float> difficulty(const Trial& trial, const Dataset& train, Session& session, double* purity) {
  if (purity != nullptr) *purity = std::nan("");
  const ScoreKind& kind = score_kind(trial.score);
  const std::string score = trial.score;
  Stage stage(session, "difficulty: " + score);
  if (score == "random") return random_scores(train.size(), trial.seed);
  if (score == "margin") return margin(trial, train, session);
  if (score == "el2n") return el2n(trial, train, session);
  if (score == "forgetting") return forgetting(trial, train, session);
  if (score == "ddd") return ddd(trial, train, session);

  std::vector<float> hidden;
  if (trial.features == "hidden") {
    ScoringNetworks network(trial, train, 1, {}, session);
    network.train(0, trial.epochs);
    hidden = network.hidden();
  } else if (trial.features != "input") {
    throw Failure(kMisuse, fmt::format("features '{}' are neither input nor hidden", trial.features));
  }
  const std::span<const float> rows = hidden.empty() ? std::span<const float>(train.points) : hidden;
  const std::int64_t d = hidden.empty() ? train.features : trial.width;
  if (kind.clusters && (trial.clusters < 1 || trial.clusters > train.size())) {
    throw Failure(kMisuse,
                  fmt::format("score {} needs from 1 to {} clusters, not {}", score, train.size(), trial.clusters));
  }
  if (score == "boundary") return boundary(rows, d, train, session);
  if (kind.clusters) {
    const Prototypes found = score == "kmeans"
                                 ? euclidean_prototypes(rows, d, trial.clusters, trial.seed, session)
                                 : cosine_prototypes(unit_rows(rows, d), d, trial.clusters, trial.seed, session);
    if (purity != nullptr) *purity = cluster_purity(found.labels, train.labels);
    return found.distances;
  }
  return class_mean_distances(rows, d, std::vector<int>(train.labels.begin(), train.labels.end()), train.classes);
}

std::string difficulty_key(const Trial& trial) {
  const ScoreKind& kind = score_kind(trial.score);
  Trial key;  // what does not matter stays at its default
  key.data = trial.data;
  key.fingerprint = trial.fingerprint;
  key.n = trial.n;
  key.world = trial.world;
  key.seed = trial.seed;
  key.noise = trial.noise;
  key.dimension = trial.dimension;
  key.score = trial.score;
  key.probe_angle = trial.probe_angle;
  if (kind.clusters) key.clusters = trial.clusters;
  if (kind.features) key.features = trial.features;
  if (kind.network || (kind.features && trial.features == "hidden")) {
    key.model = network_name(trial.model);
    key.width = trial.width;
    key.hidden_layers = trial.hidden_layers;
    key.epochs = trial.epochs;
    key.precision = trial.precision;
    key.training = trial.training;
  }
  return to_json(key).dump();
}

}  // namespace scalelab::host
