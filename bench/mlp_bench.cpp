// mlp: training, scoring and maps of small networks, beside PyTorch, JAX and scikit-learn with the same network, data,
// batches and optimiser (Adam at a constant 3e-3). A quicker trainer that learns less is no trainer: the losses reached
// stand side by side. Maps stand beside mlp_forward at every cell's centre.
#include "scalelab/mlp.h"

#include <fmt/format.h>
#include <cmath>

#include "bench/bench.h"
#include "host/lab/model.h"
#include "scalelab/buffer.h"
#include "scalelab/grid.h"
#include "scalelab/random.h"

namespace scalelab::bench {
namespace {

constexpr int kOnChip = 64;  // networks up to this width are trained without leaving a multiprocessor
constexpr int kLast = 5;     // losses are means over this many last epochs: one alone jumps from batch to batch

// Three hidden layers, two features. Training, per sample: forward 4 w^2 + 6 w, backward twice that without the
// gradient with respect to the inputs. Scoring: the forward part.
double train_flop(double w) { return 12 * w * w + 14 * w; }
double score_flop(double w) { return 4 * w * w + 6 * w; }

// Uniform +-1/sqrt(fan_in).
void draw_start(const MlpShape& shape, std::uint64_t seed, float* values) {
  std::uint64_t at = 0;
  for (int l = 0; l <= shape.hidden_layers; ++l) {
    const int fan_in = l == 0 ? feature_count(shape) : shape.width;
    const int fan_out = l == shape.hidden_layers ? shape.outputs : shape.width;
    const float bound = 1 / std::sqrt(static_cast<float>(fan_in));
    for (int i = 0; i < fan_out * (fan_in + 1); ++i, ++at) {
      values[at] = bound * (2 * uniform_float(random_words(seed, Stream::weights, at)[0]) - 1);
    }
  }
}
// (m, p): of networks with the seeds 0, 1, ...
Numbers starts_of(const MlpShape& shape, std::int64_t m) {
  return drawn(fmt::format("mlp {} {}", shape.width, m), m, parameter_count(shape),
               [&shape](std::int64_t i, float* values) { draw_start(shape, static_cast<std::uint64_t>(i), values); });
}

// --- training -------------------------------------------------------------------------------------------------------

// n points of the square and what the spiral says of them.
struct SpiralPoints {
  explicit SpiralPoints(std::int64_t n) {
    const Spiral spiral;
    for (std::int64_t i = 0; i < n; ++i) {
      const Words words = random_words(1, Stream::points, static_cast<std::uint64_t>(i));
      for (int axis = 0; axis < 2; ++axis) points.push_back(2 * uniform_float(words[axis]) - 1);
      classes.push_back(spiral.inside(points[points.size() - 2], points.back()) ? 1 : 0);
    }
  }
  std::vector<float> points;
  std::vector<std::uint8_t> classes;
};

struct Training : SpiralPoints {
  Training(const Parameters& p, Context& c)
      : SpiralPoints(p["n"]),
        context(c),
        m(p["m"]),
        width(p["width"]),
        batch(p["batch"]),
        epochs(p["epochs"]),
        n(p["n"]),
        shape{.width = width},
        starts(starts_of(shape, m)),
        parameters(c, {m, parameter_count(shape)}),
        losses(c, {m, epochs}) {
    if (epochs < 1) throw std::invalid_argument("mlp: to train takes at least 1 epoch");
    inputs.emplace_back(c, points, Shape{n, 2});
    labels.emplace_back(c, classes, Shape{n});
    for (std::int64_t i = 0; i < m; ++i) {
      MlpRun run;
      run.shape = shape;
      run.inputs = inputs[0];
      run.labels = labels[0];
      run.epochs = epochs;
      run.batch_size = batch;
      run.learning_rate = 3e-3F;
      run.schedule = Schedule::constant;
      run.seed = static_cast<std::uint64_t>(i);
      run.precision = host::parse_precision(p["precision"]);
      run.parameters = View<float>(parameters.view().data() + i * size(), {size()});
      run.epoch_losses = View<float>(losses.view().data() + i * epochs, {epochs});
      runs.push_back(run);
    }
  }
  std::int64_t size() const { return parameter_count(shape); }
  void begin() { parameters.upload(*starts); }
  void run() {
    context.backend().mlp_train(runs, context);
    context.synchronize();
  }
  // Mean loss of the first network over the last epochs.
  double loss() const {
    const std::vector<float> all = losses.to_host();
    double sum = 0;
    const int last = std::min(kLast, epochs);
    for (int i = 1; i <= last; ++i) sum += all[static_cast<std::size_t>(epochs - i)];
    return sum / last;
  }

  Context& context;
  std::int64_t m;
  int width, batch, epochs;
  std::int64_t n;
  std::vector<Buffer<float>> inputs;
  std::vector<Buffer<std::uint8_t>> labels;
  MlpShape shape;
  Numbers starts;
  Buffer<float> parameters;
  Buffer<float> losses;
  std::vector<MlpRun> runs;
};

// Where the peers run: beside a GPU stand those that use one.
const char* device_of(const Context& context) { return &context.backend() == &cpu_backend() ? "cpu" : "gpu"; }

std::vector<Peer> training_peers(const Training& t) {
  if (t.runs[0].precision != Precision::fp32) return {};
  const PeerFolder folder;
  std::vector<float> rows;  // the peers begin with the same numbers, but for scikit-learn, which draws its own
  for (std::int64_t i = 0; i < t.n; ++i) {
    rows.insert(rows.end(), {t.points[2 * i], t.points[2 * i + 1], static_cast<float>(t.classes[i])});
  }
  folder.write("rows.f32", rows);
  folder.write("start.f32", *t.starts);
  const double ours = t.loss();
  const auto answer = [&](const nlohmann::json& row) -> std::string {
    if (!row.contains("loss")) return "";
    const double loss = row["loss"];
    const bool own_start = row.at("who").get<std::string>().starts_with("scikit-learn");
    const double factor = own_start ? 1.5 : 1.2;  // as far as such losses of one network scatter
    const bool near = loss < factor * ours && ours < factor * loss;
    const char* why = own_start                      ? "a start of its own"
                      : t.batch > 0 && t.batch < t.n ? "batches of its own"
                                                     : "its sums in another order";
    return fmt::format("loss reached {:.4f}, ours {:.4f} ({}){}", loss, ours, why, near ? "" : ": NOT COMPARABLE");
  };
  const std::string arguments = fmt::format(
      "train {0}/rows.f32 --start {0}/start.f32 --width {1} --batch {2} --epochs {3} --models {4} --device {5}{6}",
      folder.path(), t.width, t.batch, t.epochs, t.m, device_of(t.context), t.width == 64 ? " --compile" : "");
  return python_peers("mlp.py", arguments, 1, answer);
}

Problem make_training(const Parameters& parameters, Context& context) {
  const auto training = std::make_shared<Training>(parameters, context);
  const Training& t = *training;
  Problem problem;
  problem.work.units = static_cast<double>(t.m * t.n) * t.epochs;
  problem.work.unit = "sample";
  const Precision precision = t.runs[0].precision;
  if (precision == Precision::fp32) {
    problem.work.flop = problem.work.units * train_flop(t.width);
    problem.work.counted = "12 w^2 + 14 w a sample";
  } else {  // the products between hidden layers, of which bf16x3 makes three of one; what is left is little
    const double products = precision == Precision::bf16x3 ? 3 : 1;
    problem.work.tensor_flop = products * problem.work.units * 12 * t.width * t.width;
    problem.work.counted = fmt::format("{} w^2 a sample on tensor cores", 12 * products);
  }
  if (t.width > kOnChip) {
    const double steps = std::ceil(static_cast<double>(t.n) / (t.batch == 0 ? t.n : t.batch)) * t.epochs;
    problem.work.cache_bytes = static_cast<double>(t.m) * steps * 32 * static_cast<double>(t.size());
    problem.work.counted += "; a step reads a network's weights twice, and reads and writes them and both moments";
  }
  // The points and labels, each network's parameters to and fro, and its losses.
  const double parameters_bytes = 4.0 * static_cast<double>(t.m * t.size());
  problem.work.written_bytes = parameters_bytes + 4.0 * static_cast<double>(t.m) * t.epochs;
  problem.work.bytes = 9.0 * static_cast<double>(t.n) + parameters_bytes + problem.work.written_bytes;
  problem.prepare = [training] { training->begin(); };
  problem.run = [training] { training->run(); };
  problem.check = [training]() -> std::string {
    const std::vector<float> losses = training->losses.to_host();
    for (std::int64_t i = 0; i < training->m; ++i) {
      const float first = losses[static_cast<std::size_t>(i * training->epochs)];
      const float last = losses[static_cast<std::size_t>((i + 1) * training->epochs - 1)];
      if (!std::isfinite(last) || (training->epochs > 1 && !(last < first))) {
        return fmt::format("network {}: the loss went from {} to {}", i, first, last);
      }
    }
    // The first network alone gives the bits that it gives among the others.
    const auto first = [&] {
      auto all = training->parameters.to_host();
      all.resize(static_cast<std::size_t>(training->size()));
      return all;
    };
    const auto together = first();
    training->begin();
    training->context.backend().mlp_train(std::span(training->runs).first(1), training->context);
    training->context.synchronize();
    return first() == together ? "" : "a network's bits depend on its neighbours";
  };
  problem.peers = [training] { return training_peers(*training); };
  problem.digest = [training] { return digest_of(training->parameters, training->losses); };
  return problem;
}

// --- scores and maps ------------------------------------------------------------------------------------------------

// The score of a network of three hidden layers in fp64, and through `magnitude` the sum of |terms| behind it.
double score_in_double(const MlpShape& shape, const std::vector<float>& parameters, const float* input,
                       double* magnitude) {
  std::vector<double> values(input, input + 2), sizes = {std::abs(input[0]), std::abs(input[1])};
  std::size_t at = 0;
  for (int l = 0; l <= shape.hidden_layers; ++l) {
    const auto fan_in = values.size();
    const std::size_t fan_out = l == shape.hidden_layers ? 1 : static_cast<std::size_t>(shape.width);
    std::vector<double> next(fan_out), next_sizes(fan_out);
    for (std::size_t i = 0; i < fan_out; ++i) {
      const double bias = parameters[at + fan_out * fan_in + i];
      next[i] = bias;
      next_sizes[i] = std::abs(bias);
      for (std::size_t j = 0; j < fan_in; ++j) {
        const double weight = parameters[at + i * fan_in + j];
        next[i] += weight * values[j];
        next_sizes[i] += std::abs(weight) * sizes[j];
      }
      if (l < shape.hidden_layers) next[i] = std::max(next[i], 0.0);
    }
    at += fan_out * (fan_in + 1);
    values = next;
    sizes = next_sizes;
  }
  *magnitude = sizes[0];
  return values[0];
}

struct Scoring {
  Scoring(const Parameters& p, Context& c)
      : context(c),
        map(p["what"] != "score"),
        side(static_cast<std::int64_t>(std::sqrt(p["n"].get<double>()))),
        shape(shape_of(p)),
        values(network(p, c)),
        parameters(c, values, {1, parameter_count(shape)}),
        inputs(c, coordinates(0, map ? 0 : side), {map ? 0 : side * side, 2}),
        scores(c, {1, map ? 0 : side * side, 1}),
        labels(c, {1, map ? side : 0, side}) {}
  static MlpShape shape_of(const Parameters& p) {
    MlpShape shape;
    shape.width = p["width"];
    if (p["what"] == "polar-map") shape.encoding = Encoding::polar;
    return shape;
  }
  // As drawn, or trained for the case's epochs on 1000 points of the spiral.
  std::vector<float> network(const Parameters& p, Context& c) const {
    std::vector<float> drawn(static_cast<std::size_t>(parameter_count(shape)));
    draw_start(shape, 1, drawn.data());
    if (p["epochs"] == 0) return drawn;
    const SpiralPoints data(1000);
    const Buffer<float> points(c, data.points, {1000, 2});
    const Buffer<std::uint8_t> classes(c, data.classes, {1000});
    const Buffer<float> trained(c, drawn, {parameter_count(shape)});
    MlpRun run;
    run.shape = shape;
    run.inputs = points;
    run.labels = classes;
    run.parameters = trained;
    run.epochs = p["epochs"];
    run.batch_size = p["batch"];
    c.backend().mlp_train(std::span(&run, 1), c);
    return trained.to_host();
  }
  // The centres of the cells of `rows` rows from `begin` on.
  std::vector<float> coordinates(std::int64_t begin, std::int64_t rows) const {
    const Grid grid{.size = side};
    std::vector<float> list;
    for (std::int64_t i = begin * side; i < (begin + rows) * side; ++i) {
      list.push_back(std::fma(static_cast<float>(i % side) + 0.5F, grid.step_x(), grid.x_min));
      list.push_back(std::fma(static_cast<float>(i / side) + 0.5F, grid.step_y(), grid.y_min));
    }
    return list;
  }
  Context& context;
  bool map;
  std::int64_t side;
  MlpShape shape;
  std::vector<float> values;
  Buffer<float> parameters, inputs, scores;
  Buffer<std::uint8_t> labels;
};

// Every cell of the map by mlp_forward, in bands; the centres are made beforehand.
Peer dense_map(const Scoring& s) {
  const std::int64_t rows = std::clamp<std::int64_t>((1 << 22) / s.side, 1, s.side);
  const std::int64_t bands = (s.side + rows - 1) / rows;
  std::vector<Buffer<float>> centres;
  for (std::int64_t band = 0; band < bands; ++band) {
    const std::int64_t count = std::min(rows, s.side - band * rows);
    centres.emplace_back(s.context, s.coordinates(band * rows, count), Shape{count * s.side, 2});
  }
  const Buffer<float> scores(s.context, {1, s.side * s.side, 1});
  Problem problem;
  problem.run = [&] {
    for (std::int64_t band = 0; band < bands; ++band) {
      const View<const float> inputs = centres[static_cast<std::size_t>(band)];
      const View<float> part(scores.view().data() + band * rows * s.side, {1, inputs.extent(0), 1});
      s.context.backend().mlp_forward(s.shape, s.parameters, inputs, part, s.context);
    }
    s.context.synchronize();
  };
  const Round round = time_round(problem, {.seconds = 1}, s.context);
  const std::vector<float> found = scores.to_host();
  const std::vector<std::uint8_t> ours = s.labels.to_host();
  std::int64_t others = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) others += ours[i] != (found[i] > 0 ? 1 : 0) ? 1 : 0;
  return {.who = "mlp_forward at every centre",
          .wall = round.wall,
          .cpu = round.cpu,
          .answer = fmt::format("{} of {} labels differ", others, ours.size()),
          .own_route = true};
}

// How many scores are further from ours than roundings usually carry: a hundred-thousandth of the largest.
std::string compare(const Scoring& s, const std::vector<float>& theirs) {
  const std::vector<float> ours = s.scores.to_host();
  float largest = 0, most = 0;
  for (const float score : ours) largest = std::max(largest, std::abs(score));
  std::int64_t beyond = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const float difference = std::abs(ours[i] - theirs[i]);
    most = std::max(most, difference);
    beyond += !(difference <= 1e-5F * largest);
  }
  return fmt::format("{} of {} scores differ by more than 1e-5 of the largest, {:.2g}; the most by {:.1g}", beyond,
                     ours.size(), largest, most);
}

std::vector<Peer> scoring_peers(const Scoring& s) {
  const PeerFolder folder;  // the same network, the same points
  folder.write("start.f32", s.values);
  folder.write("points.f32", s.inputs.to_host());
  return python_peers("mlp.py",
                      fmt::format("forward {0}/points.f32 --start {0}/start.f32 --scores {0}/scores.f32 --width {1} "
                                  "--device {2}",
                                  folder.path(), s.shape.width, device_of(s.context)),
                      1, [&](const nlohmann::json&) {
                        return compare(s, folder.read<float>("scores.f32", static_cast<std::size_t>(s.side * s.side)));
                      });
}

Problem make_scoring(const Parameters& parameters, Context& context) {
  const auto scoring = std::make_shared<Scoring>(parameters, context);
  const Scoring& s = *scoring;
  const double points = static_cast<double>(s.side * s.side);
  Problem problem;
  problem.work.units = points;
  problem.work.unit = "point";
  problem.work.written_bytes = points * (s.map ? 1 : 4);
  problem.work.bytes = points * (s.map ? 1 : 12);
  if (!s.map) {  // how many cells of a map meet the network depends on the network
    problem.work.flop = points * score_flop(s.shape.width);
    problem.work.counted = "4 w^2 + 6 w a point";
  }
  problem.run = [scoring] {
    const Scoring& s = *scoring;
    if (s.map) {
      s.context.backend().grid_mlp_labels(s.shape, s.parameters, {.size = s.side}, 0, s.labels, s.context);
    } else {
      s.context.backend().mlp_forward(s.shape, s.parameters, s.inputs, s.scores, s.context);
    }
    s.context.synchronize();
  };
  problem.check = [scoring]() -> std::string {
    const Scoring& s = *scoring;
    const auto scores = s.scores.to_host();
    const auto labels = s.labels.to_host();
    std::vector<float> asked;
    for (std::int64_t j = 0; j < 100; ++j) {
      const std::int64_t i = j * (s.side * s.side - 1) / 99;
      const std::vector<float> row = s.coordinates(i / s.side, 1);
      const float* input = &row[static_cast<std::size_t>(i % s.side * 2)];
      asked.insert(asked.end(), input, input + 2);
      if (s.shape.encoding != Encoding::none) continue;
      double magnitude = 0;
      const double want = score_in_double(s.shape, s.values, input, &magnitude);
      // Each layer's chain adds width + 1 roundings to what it carries on.
      const double bound = 4.0 * (s.shape.width + 2) * 0x1p-24 * magnitude;
      const bool right = s.map ? std::abs(want) <= bound || labels[static_cast<std::size_t>(i)] == (want > 0 ? 1 : 0)
                               : std::abs(scores[static_cast<std::size_t>(i)] - want) <= bound;
      if (!right) return fmt::format("point {}: the score is {} in fp64", i, want);
    }
    if (!s.map) return "";
    const Buffer<float> points(s.context, asked, {100, 2}), again(s.context, {1, 100, 1});
    s.context.backend().mlp_forward(s.shape, s.parameters, points, again, s.context);
    const auto found = again.to_host();
    for (std::int64_t j = 0; j < 100; ++j) {
      const std::int64_t i = j * (s.side * s.side - 1) / 99;
      if (labels[static_cast<std::size_t>(i)] != (found[static_cast<std::size_t>(j)] > 0 ? 1 : 0)) {
        return fmt::format("cell {}: its score is {}", i, found[static_cast<std::size_t>(j)]);
      }
    }
    return "";
  };
  problem.peers = [scoring]() -> std::vector<Peer> {
    if (scoring->map) return {dense_map(*scoring)};
    return scoring_peers(*scoring);
  };
  problem.digest = [scoring] { return digest_of(scoring->scores, scoring->labels); };
  return problem;
}

// Networks that fill a GPU: two blocks for each multiprocessor of 132, and eight; and maps of 16384 x 16384 cells.
std::vector<Parameters> large_cases() {
  const auto train = [](int m, int width, const char* precision) {
    return Parameters{{"what", "train"}, {"m", m},    {"width", width},        {"batch", 64},
                      {"epochs", 10},    {"n", 1000}, {"precision", precision}};
  };
  std::vector<Parameters> cases = {train(1, 256, "fp32"), train(8, 128, "fp32"), train(8, 256, "fp32")};
  for (const int width : {16, 64, 128, 256}) {
    for (const int m : {264, 1056}) cases.push_back(train(m, width, "fp32"));
    cases.push_back(train(264, width, "bf16x3"));
  }
  for (const char* what : {"map", "polar-map"}) {
    cases.push_back({{"what", what},
                     {"m", 1},
                     {"width", 64},
                     {"batch", 64},
                     {"epochs", 300},
                     {"n", 1 << 28},
                     {"precision", "fp32"}});
  }
  return cases;
}
// Of a case of training, with what ops take beside the parameters; of a map, with that by mlp_forward beside it.
double needed_bytes(const Parameters& p) {
  const double w = value_of(p, "width"), numbers = 2 * w * w + 6 * w + 1;
  if (p["what"] != "train") return 24 * value_of(p, "n");
  return 40 * value_of(p, "n") + value_of(p, "m") * (40 * numbers + 8 * value_of(p, "epochs"));
}

// Growth with the width, with how many networks train at once, and with the cells of a map.
std::vector<CostLine> lines() {
  const auto numbers = [](const Parameters& p) {  // of a network's parameters: two inputs, three hidden layers
    const double w = value_of(p, "width");
    return 2 * w * w + 6 * w + 1;
  };
  const auto drawn = [=](const Parameters& p) { return value_of(p, "n") * numbers(p); };
  const auto seen = [=](const Parameters& p) {
    return value_of(p, "m") * value_of(p, "n") * value_of(p, "epochs") * numbers(p);
  };
  const Parameters train = {{"what", "train"}, {"m", 1},    {"width", 64},        {"batch", 64},
                            {"epochs", 10},    {"n", 1000}, {"precision", "fp32"}};
  const Parameters map = {{"what", "map"}, {"m", 1},    {"width", 64},        {"batch", 0},
                          {"epochs", 0},   {"n", 4096}, {"precision", "fp32"}};
  const std::string by_width = "Training a network of three hidden layers, 1,000 points, 10 epochs, by width";
  const std::string by_m = "Training m networks 2-64-64-64-1 at once, 1,000 points, 10 epochs";
  const std::string by_cells = "Labels of a network 2-64-64-64-1 at n cells";
  return {{"mlp-width", by_width, "", train, "width", doubling(4, kMaxWidth), "", needed_bytes},
          {"mlp-m", by_m, "", train, "m", doubling(1, 65536, 4), "", needed_bytes, "mlp_train", seen},
          {"mlp-map", by_cells, "", map, "n", doubling(4096, 1 << 30, 4), "", needed_bytes, "grid_mlp", drawn}};
}

}  // namespace

Op mlp_op() {
  const auto c = [](const char* what, std::int64_t m, int width, int batch, int epochs, std::int64_t n,
                    const char* precision = "fp32") {
    return Parameters{{"what", what},     {"m", m}, {"width", width},        {"batch", batch},
                      {"epochs", epochs}, {"n", n}, {"precision", precision}};
  };
  return {"mlp",
          "train m networks of three hidden layers on n points; score n points, or make a map of n cells",
          {c("train", 1, 64, 64, 60, 1000), c("train", 1, 64, 0, 300, 1000), c("train", 1, 32, 64, 60, 1000),
           c("train", 1, 128, 64, 40, 1000), c("train", 16, 64, 64, 20, 1000),
           c("train", 1, 64, 64, 60, 1000, "bf16x3"), c("train", 1, 64, 64, 60, 1000, "bf16"),
           c("train", 16, 64, 64, 20, 1000, "bf16x3"), c("train", 16, 64, 64, 20, 1000, "bf16"),
           c("score", 1, 64, 0, 0, 262144), c("score", 1, 16, 0, 0, 262144), c("map", 1, 64, 0, 0, 262144),
           c("map", 1, 16, 0, 0, 262144), c("map", 1, 64, 64, 300, 1 << 20), c("map", 1, 64, 64, 300, 1 << 24),
           c("polar-map", 1, 64, 64, 300, 1 << 20), c("polar-map", 1, 64, 64, 300, 1 << 24)},
          {{"what", {{"train", "score", "map", "polar-map"}}},
           {"batch", {{}, 0}},
           {"epochs", {{}, 0}},
           {"precision", {{"fp32", "bf16x3", "bf16"}}}},
          [](const Parameters& parameters, Context& context) {
            const bool train = parameters["what"] == "train";
            return train ? make_training(parameters, context) : make_scoring(parameters, context);
          },
          lines(),
          large_cases(),
          needed_bytes};
}

}  // namespace scalelab::bench
