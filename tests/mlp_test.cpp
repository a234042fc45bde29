// mlp against an oracle in fp64 that carries, beside every value, a bound on what fp32 arithmetic may make of it; and
// what must hold bit for bit: a run alone, among others, in any order, on any threads, vector target, or cut in parts.
#include "scalelab/mlp.h"

#include <hwy/targets.h>

#include <bit>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "tests/support.h"

namespace scalelab::test {
namespace {

// --- the oracle ------------------------------------------------------------------------------------------------------

constexpr double kUnit = 0x1p-24;

// A value, and how far from it the fp32 result of the same formula may lie: first-order error propagation through
// every operation, plus half a unit in the last place of each rounding.
struct Bounded {
  double value = 0, error = 0;
  Bounded() = default;
  Bounded(double v, double e = 0) : value(v), error(e) {}
};
Bounded rounded(double value, double error, double roundings = 1) {
  return {value, error + roundings * kUnit * (std::abs(value) + error)};
}
Bounded operator+(Bounded a, Bounded b) { return rounded(a.value + b.value, a.error + b.error); }
Bounded operator-(Bounded a, Bounded b) { return rounded(a.value - b.value, a.error + b.error); }
Bounded operator*(Bounded a, Bounded b) {
  return rounded(a.value * b.value, std::abs(a.value) * b.error + std::abs(b.value) * a.error + a.error * b.error);
}
Bounded operator/(Bounded a, Bounded b) {
  const double least = std::max(std::abs(b.value) - b.error, 1e-300);
  return rounded(a.value / b.value, (a.error + std::abs(a.value / b.value) * b.error) / least);
}
// f(x), whose fp32 routine is good to `roundings` half units of |f| plus as many of `magnitude`.
Bounded apply(const std::function<double(double)>& f, Bounded x, double roundings, double magnitude = 0) {
  const double value = f(x.value),
               moved = std::max(std::abs(f(x.value + x.error) - value), std::abs(f(x.value - x.error) - value));
  return {value, 1.5 * moved + roundings * kUnit * (std::abs(value) + magnitude)};
}

// A sum of products in any order: one rounding a term, of at most the sum of magnitudes.
struct Sum {
  double value = 0, error = 0, magnitude = 0, terms = 0;
  void add(Bounded a, Bounded b = 1) { add(a, b, 0, 1); }
  // A product between hidden layers: what its rung leaves of it. A tensor core may truncate where fp32 rounds, and does
  // so once more for every 16 terms: 2.5 half units each.
  void add_product(Bounded a, Bounded b, Precision precision) {
    if (precision == Precision::fp32) add(a, b, 0, 1);
    if (precision == Precision::bf16x3) add(a, b, 3.1 * 0x1p-16, 7.5);
    if (precision == Precision::bf16) add(a, b, 2.01 * 0x1p-8, 2.5);
  }
  void add(Bounded a, Bounded b, double relative, double roundings) {
    const Bounded product(a.value * b.value,
                          std::abs(a.value) * b.error + std::abs(b.value) * a.error + a.error * b.error);
    value += product.value;
    error += product.error + relative * (std::abs(product.value) + product.error);
    magnitude += std::abs(product.value) + product.error;
    terms += roundings;
  }
  Bounded total() const { return {value, error + (terms + 1) * kUnit * magnitude}; }
};

double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }
double sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }
double gelu(double x) { return x * sigmoid(2 * std::sqrt(2 / kPi) * (x + 0.044715 * x * x * x)); }
double gelu_slope(double x) {
  const double c = 2 * std::sqrt(2 / kPi), s = sigmoid(c * (x + 0.044715 * x * x * x));
  return s + x * s * (1 - s) * c * (1 + 3 * 0.044715 * x * x);
}

struct OracleResult {
  std::vector<Bounded> scores;  // (n, outputs)
  Bounded loss;                 // mean
  std::vector<Bounded> gradient;
};

// The features of one row; each good to 8 half units in the last place of the largest part it is made of, or to the
// smallest normal number.
std::vector<Bounded> oracle_features(const MlpShape& shape, const float* row) {
  std::vector<Bounded> features;
  if (shape.encoding == Encoding::none) {
    for (int i = 0; i < shape.inputs; ++i) features.emplace_back(row[i]);
    return features;
  }
  const double x = row[0], y = row[1], r = std::hypot(x, y);
  const double theta = std::atan2(y == 0 ? 0.0 : y, x == 0 ? 0.0 : x);  // -0 is 0
  auto near = [](double value, double magnitude) { return Bounded(value, 8 * kUnit * magnitude + 0x1p-126); };
  switch (shape.encoding) {
    case Encoding::polar: return {near(2 * r - 1, 2 * r + 1), near(theta / kPi, std::abs(theta / kPi))};
    case Encoding::polar_raw: return {near(r, r), near(theta, std::abs(theta))};
    default: return {near(2 * r - 1, 2 * r + 1), near(r > 0 ? x / r : 1, 1), near(r > 0 ? y / r : 0, 1)};
  }
}

// tanh's derivative at z, from tanh(z) as its rung holds it.
Bounded held_slope(Bounded z, Precision precision) {
  const double held = precision == Precision::fp32 ? 0 : precision == Precision::bf16x3 ? 0x1p-16 : 0x1p-8;
  Bounded slope = apply([](double x) { return 1 - std::tanh(x) * std::tanh(x); }, z, 8, 1);
  slope.error += 2.01 * held * (std::tanh(z.value) * std::tanh(z.value) + slope.error);
  return slope;
}

// A network in double precision, sample by sample, and the sums over the samples.
class Oracle {
 public:
  Oracle(const MlpShape& shape, const MlpLoss& loss, const std::vector<Bounded>& parameters, Precision precision)
      : shape_(shape), loss_(loss), parameters_(parameters), precision_(precision), gradient_(parameters.size()) {}

  OracleResult run(const std::vector<float>& inputs, const std::vector<std::uint8_t>& labels) {
    const int n = static_cast<int>(inputs.size()) / shape_.inputs;
    OracleResult result;
    for (int s = 0; s < n; ++s) {
      forward(&inputs[s * shape_.inputs]);
      result.scores.insert(result.scores.end(), scores_.begin(), scores_.end());
      if (labels.empty()) continue;
      std::vector<Bounded> deltas = shape_.outputs == 1 ? logistic_loss(labels[s]) : softmax_loss(labels[s]);
      for (Bounded& delta : deltas) delta = delta * (Bounded(1) / Bounded(n));
      backward(deltas);
    }
    for (const Sum& sum : gradient_) result.gradient.push_back(sum.total());
    if (!labels.empty()) result.loss = total_.total() / Bounded(n);
    return result;
  }

 private:
  int fan_in(int layer) const { return layer == 0 ? feature_count(shape_) : shape_.width; }
  Precision rung(int layer) const { return layer > 0 ? precision_ : Precision::fp32; }  // of a layer's products

  void forward(const float* row) {
    const int w = shape_.width, layers = shape_.hidden_layers;
    below_ = {oracle_features(shape_, row)};
    before_.clear();
    normalized_.clear();
    inverse_.assign(static_cast<std::size_t>(layers), {});
    begins_.clear();
    std::size_t at = 0;
    for (int l = 0; l < layers; ++l) {
      begins_.push_back(at);
      std::vector<Bounded> z(w), hat(w), a(w);
      for (int o = 0; o < w; ++o) {
        Sum sum;
        sum.add(parameters_[at + w * fan_in(l) + o]);
        for (int i = 0; i < fan_in(l); ++i) {
          sum.add_product(parameters_[at + o * fan_in(l) + i], below_[l][i], rung(l));
        }
        z[o] = sum.total();
      }
      at += w * fan_in(l) + w;
      if (shape_.layer_norm) {
        normalize(l, at, z, hat);
        at += 2 * w;
      }
      for (int o = 0; o < w; ++o) a[o] = activated(z[o]);
      before_.push_back(z);
      normalized_.push_back(hat);
      below_.push_back(a);
    }
    output_begin_ = at;
    output_bias_ = at + shape_.outputs * w;
    scores_.resize(shape_.outputs);
    for (int j = 0; j < shape_.outputs; ++j) {
      Sum sum;
      sum.add(parameters_[output_bias_ + j]);
      for (int i = 0; i < w; ++i) sum.add(parameters_[output_begin_ + j * w + i], below_[layers][i]);
      scores_[j] = sum.total();
    }
  }

  // Layer norm, whose gains and shifts begin at `at`.
  void normalize(int l, std::size_t at, std::vector<Bounded>& z, std::vector<Bounded>& hat) {
    const int w = shape_.width;
    Sum mean_sum, square_sum;
    for (int o = 0; o < w; ++o) mean_sum.add(z[o]);
    const Bounded mean = mean_sum.total() / Bounded(w);
    for (int o = 0; o < w; ++o) square_sum.add(z[o] - mean, z[o] - mean);
    inverse_[l] = apply([](double v) { return 1 / std::sqrt(std::max(v, 1e-6)); },
                        square_sum.total() / Bounded(w) + Bounded(1e-5, 1e-12), 4);
    for (int o = 0; o < w; ++o) {
      hat[o] = (z[o] - mean) * inverse_[l];
      z[o] = parameters_[at + o] * hat[o] + parameters_[at + w + o];
    }
  }

  Bounded activated(Bounded z) const {
    switch (shape_.activation) {
      case Activation::relu: return {std::max(z.value, 0.0), z.error};
      case Activation::tanh: return apply([](double x) { return std::tanh(x); }, z, 6);
      default: return apply(gelu, z, 8, std::min(std::abs(z.value), 8.0));
    }
  }

  // Both losses are added to the total, and return their derivative at each score.
  std::vector<Bounded> logistic_loss(int label) {
    const double g = loss_.focal_gamma, sign = label != 0 ? 1 : -1;
    auto value = [g](double u) { return std::exp(-g * softplus(u)) * softplus(-u); };
    auto slope = [g](double u) { return -std::exp(-g * softplus(u)) * (g * sigmoid(u) * softplus(-u) + sigmoid(-u)); };
    const Bounded u(sign * scores_[0].value, scores_[0].error);
    const double roundings = 12 + 8 * g * softplus(u.value);  // an exponent's error is relative to its size
    total_.add(apply(value, u, roundings));
    return {apply([&](double x) { return sign * slope(x); }, u, roundings)};
  }

  std::vector<Bounded> softmax_loss(int label) {
    const double g = loss_.focal_gamma;
    double largest = -1e300, sum = 0, others = 0, spread = 0;
    for (const Bounded& z : scores_) largest = std::max(largest, z.value), spread = std::max(spread, z.error);
    for (int j = 0; j < shape_.outputs; ++j) {
      const double e = std::exp(scores_[j].value - largest);
      sum += e;
      if (j != label) others += e;
    }
    // Probabilities move by no more than twice the largest error of a score, relatively; exponents up to `gap`.
    const double gap = largest - scores_[label].value;
    double deepest = 0;
    for (const Bounded& z : scores_) deepest = std::max(deepest, largest - z.value);
    const double relative = 2.5 * spread + (shape_.outputs + 16 + 4 * deepest) * kUnit;
    const double p = 1 - others / sum, q = others / sum, minus_log_p = std::log1p(others / (sum - others));
    const Bounded log_p(minus_log_p, minus_log_p * relative + 2.5 * spread * q + 8 * kUnit * (gap + std::log(sum)));
    const double focus = std::pow(q, g), focus_error = focus * g * (relative - 8 * kUnit * std::log(q));
    const Bounded focal(g > 0 ? focus : 1, g > 0 ? focus_error : 0);
    const Bounded share(q, q * relative), chance(p, p * relative);
    total_.add(focal * log_p);
    const Bounded minus_slope = focal * (Bounded(g) * chance * log_p + share);
    std::vector<Bounded> deltas(shape_.outputs);
    for (int j = 0; j < shape_.outputs; ++j) {
      const double part = std::exp(scores_[j].value - largest) / others;
      deltas[j] = j == label ? Bounded(-minus_slope.value, minus_slope.error)
                             : minus_slope * Bounded(part, part * 2 * relative);
    }
    return deltas;
  }

  // Adds to the gradient what one sample gives, from the derivatives at its scores.
  void backward(const std::vector<Bounded>& deltas) {
    const int w = shape_.width, layers = shape_.hidden_layers;
    std::vector<Bounded> above(w);
    for (int i = 0; i < w; ++i) {
      Sum sum;
      for (int j = 0; j < shape_.outputs; ++j) {
        sum.add(parameters_[output_begin_ + j * w + i], deltas[j]);
        gradient_[output_begin_ + j * w + i].add(deltas[j], below_[layers][i]);
      }
      above[i] = sum.total();
    }
    for (int j = 0; j < shape_.outputs; ++j) gradient_[output_bias_ + j].add(deltas[j]);
    for (int l = layers - 1; l >= 0; --l) {
      const std::size_t weights = begins_[l], bias = weights + w * fan_in(l);
      for (int o = 0; o < w; ++o) above[o] = before_activation(above[o], before_[l][o], l);
      if (shape_.layer_norm) before_normalizing(l, bias + w, above);
      std::vector<Sum> sums(fan_in(l));
      for (int o = 0; o < w; ++o) {
        gradient_[bias + o].add(above[o]);
        for (int i = 0; i < fan_in(l); ++i) {
          gradient_[weights + o * fan_in(l) + i].add_product(above[o], below_[l][i], rung(l));
          sums[i].add_product(parameters_[weights + o * fan_in(l) + i], above[o], rung(l));
        }
      }
      above.resize(fan_in(l));
      for (int i = 0; i < fan_in(l); ++i) above[i] = sums[i].total();
    }
  }

  Bounded before_activation(Bounded above, Bounded z, int l) const {
    switch (shape_.activation) {
      case Activation::relu:  // where the sign is within rounding the gate may stand either way
        return {z.value > 0 ? above.value : 0, std::abs(z.value) <= z.error ? std::abs(above.value) + above.error
                                               : z.value > 0                ? above.error
                                                                            : 0};
      case Activation::tanh: return above * held_slope(z, l + 1 < shape_.hidden_layers ? precision_ : Precision::fp32);
      default: return above * apply(gelu_slope, z, 16, 1);
    }
  }

  // Of layer norm, whose gains begin at `gain`.
  void before_normalizing(int l, std::size_t gain, std::vector<Bounded>& above) {
    const int w = shape_.width;
    const std::size_t shift = gain + w;
    Sum sum, dot;
    std::vector<Bounded> hat_delta(w);
    for (int o = 0; o < w; ++o) {
      gradient_[gain + o].add(above[o], normalized_[l][o]);
      gradient_[shift + o].add(above[o]);
      hat_delta[o] = above[o] * parameters_[gain + o];
      sum.add(hat_delta[o]);
      dot.add(hat_delta[o], normalized_[l][o]);
    }
    const Bounded mean = sum.total() / Bounded(w), share = dot.total() / Bounded(w);
    for (int o = 0; o < w; ++o) above[o] = (hat_delta[o] - mean - share * normalized_[l][o]) * inverse_[l];
  }

  const MlpShape& shape_;
  const MlpLoss& loss_;
  const std::vector<Bounded>& parameters_;
  const Precision precision_;
  // Of the sample at hand, by layer: its inputs, what its activation sees, its normal form and one over its deviation.
  std::vector<std::vector<Bounded>> below_, before_, normalized_;
  std::vector<Bounded> inverse_;
  std::vector<std::size_t> begins_;  // of each layer's parameters
  std::size_t output_begin_ = 0, output_bias_ = 0;
  std::vector<Bounded> scores_;
  // Of all samples.
  std::vector<Sum> gradient_;
  Sum total_;
};

OracleResult oracle(const MlpShape& shape, const MlpLoss& loss, const std::vector<Bounded>& parameters,
                    const std::vector<float>& inputs, const std::vector<std::uint8_t>& labels,
                    Precision precision = Precision::fp32) {
  return Oracle(shape, loss, parameters, precision).run(inputs, labels);
}

// --- what the tests share --------------------------------------------------------------------------------------------

std::vector<Bounded> exactly(const std::vector<float>& values) { return {values.begin(), values.end()}; }

testing::AssertionResult within(double got, Bounded want) {
  if (std::abs(got - want.value) <= want.error) return testing::AssertionSuccess();  // NaN fails
  return testing::AssertionFailure() << "got " << got << ", want " << want.value << " within " << want.error;
}

testing::AssertionResult all_within(const float* got, const std::vector<Bounded>& want) {
  for (std::size_t i = 0; i < want.size(); ++i) {
    const auto result = within(got[i], want[i]);
    if (!result) return testing::AssertionFailure() << "at " << i << ": " << result.message();
  }
  return testing::AssertionSuccess();
}

// How tight bounds are: their largest part of the largest value.
double looseness(const std::vector<Bounded>& values) {
  double error = 0, size = 0;
  for (const Bounded& value : values) {
    error = std::max(error, value.error);
    size = std::max(size, std::abs(value.value));
  }
  return error / size;
}

std::string describe(const MlpShape& s) {
  return "inputs " + std::to_string(s.inputs) + " encoding " + std::to_string(static_cast<int>(s.encoding)) +
         " width " + std::to_string(s.width) + " layers " + std::to_string(s.hidden_layers) + " outputs " +
         std::to_string(s.outputs) + " activation " + std::to_string(static_cast<int>(s.activation)) +
         (s.layer_norm ? " layer norm" : "");
}

// Uniform +-1/sqrt(fan_in); gains in [0.5, 1.5], shifts in [-0.5, 0.5].
std::vector<float> start(const MlpShape& shape, std::uint64_t seed) {
  std::vector<float> values = uniform_floats(parameter_count(shape), seed);
  std::size_t at = 0;
  auto scale = [&](std::int64_t count, float factor, float offset = 0) {
    for (std::int64_t i = 0; i < count; ++i, ++at) values[at] = values[at] * factor + offset;
  };
  for (int l = 0; l < shape.hidden_layers; ++l) {
    const int fan_in = l == 0 ? feature_count(shape) : shape.width;
    scale(std::int64_t{shape.width} * fan_in + shape.width, 1 / std::sqrt(static_cast<float>(fan_in)));
    if (shape.layer_norm) {
      scale(shape.width, 0.5F, 1.0F);
      scale(shape.width, 0.5F);
    }
  }
  scale(std::int64_t{shape.outputs} * (shape.width + 1), 1 / std::sqrt(static_cast<float>(shape.width)));
  return values;
}

std::vector<std::uint8_t> some_labels(std::size_t n, int classes, std::uint64_t seed) {
  std::vector<std::uint8_t> labels(n);
  for (std::size_t i = 0; i < n; ++i) labels[i] = static_cast<std::uint8_t>(uniform_int(seed, i, 0, classes - 1));
  return labels;
}

// Two interleaved rings of points: learnable in a few steps, not by a line.
struct Points {
  std::vector<float> inputs;
  std::vector<std::uint8_t> labels;
};
Points rings(std::size_t n, std::uint64_t seed, int inputs = 2, int classes = 2) {
  Points points{uniform_floats(n * inputs, seed), std::vector<std::uint8_t>(n)};
  for (std::size_t i = 0; i < n; ++i) {
    const double r = std::hypot(points.inputs[i * inputs], points.inputs[i * inputs + inputs - 1]);
    points.labels[i] = static_cast<std::uint8_t>(static_cast<int>(4 * r) % classes);
  }
  return points;
}

// Shapes that between them have every encoding, activation, width and depth of interest.
std::vector<MlpShape> shapes() {
  using E = Encoding;
  using A = Activation;
  return {
      {2, E::none, 2, 1, 1, A::relu, false},       {2, E::polar, 3, 2, 1, A::relu, false},
      {2, E::polar_raw, 17, 3, 1, A::relu, false}, {2, E::polar_trig, 64, 3, 1, A::relu, false},
      {5, E::none, 17, 2, 3, A::tanh, false},      {1, E::none, 33, 4, 1, A::gelu, false},
      {2, E::polar, 16, 2, 1, A::relu, true},      {7, E::none, 5, 2, 4, A::gelu, true},
      {3, E::none, 100, 2, 17, A::tanh, false},    {2, E::polar_trig, 20, 2, 2, A::relu, true},
      {70, E::none, 31, 1, 10, A::relu, false},    {3, E::none, 40, 1, 3, A::tanh, true},
  };
}

// Outputs of every run of a call, owned here so that runs can be copied and compared.
struct RunData {
  MlpRun run;  // its views are set by `train`
  std::vector<float> inputs, parameters, state, epoch_losses;
  std::vector<std::uint8_t> labels, mask;
  std::vector<int> rows;
  int columns = 2;  // of inputs
  int diverged = 0;
  bool carry_state = false;
};

void train(std::vector<RunData*> datas, Context& context) {
  struct Memory {
    Guarded<float> inputs, parameters, state, losses;
    Guarded<std::uint8_t> labels, mask;
    Guarded<int> rows, diverged;
  };
  std::vector<std::unique_ptr<Memory>> memories;
  std::vector<MlpRun> runs;
  for (RunData* data : datas) {
    const auto size = [](const auto& v) { return static_cast<std::int64_t>(v.size()); };
    MlpRun& run = data->run;
    const int epochs = std::max(0, (run.epoch_end < 0 ? run.epochs : run.epoch_end) - run.epoch_begin);
    if (data->carry_state && data->state.empty()) data->state.resize(2 * data->parameters.size());
    memories.push_back(
        std::unique_ptr<Memory>(new Memory{{context, data->inputs, {size(data->inputs) / data->columns, data->columns}},
                                           {context, data->parameters, {size(data->parameters)}},
                                           {context, data->state, {size(data->state)}},
                                           {context, {epochs}},
                                           {context, data->labels, {size(data->labels)}},
                                           {context, data->mask, {size(data->mask)}},
                                           {context, data->rows, {size(data->rows)}},
                                           {context, {1}}}));
    const Memory& memory = *memories.back();
    run.inputs = memory.inputs;
    run.parameters = memory.parameters;
    run.state = memory.state;
    run.epoch_losses = memory.losses;
    run.labels = memory.labels;
    run.weight_mask = memory.mask;
    run.rows = memory.rows;
    run.diverged = memory.diverged;
    runs.push_back(run);
  }
  context.backend().mlp_train(runs, context);
  context.synchronize();
  for (std::size_t i = 0; i < datas.size(); ++i) {
    datas[i]->parameters = memories[i]->parameters.to_host();
    datas[i]->state = memories[i]->state.to_host();
    datas[i]->epoch_losses = memories[i]->losses.to_host();
    datas[i]->diverged = memories[i]->diverged.to_host()[0];
    memories[i]->inputs.to_host();  // checks the canaries
    memories[i]->rows.to_host();
  }
}

std::vector<RunData*> pointers(std::vector<RunData>& runs) {
  std::vector<RunData*> all;
  for (RunData& run : runs) all.push_back(&run);
  return all;
}

RunData some_run(const MlpShape& shape, std::size_t n, std::uint64_t seed, int epochs, int batch) {
  RunData data;
  const Points points = rings(n, seed, shape.inputs, std::max(2, shape.outputs));
  data.inputs = points.inputs;
  data.labels = points.labels;
  data.parameters = start(shape, seed + 1);
  data.columns = shape.inputs;
  data.run.shape = shape;
  data.run.epochs = epochs;
  data.run.batch_size = batch;
  data.run.seed = seed;
  return data;
}

std::vector<float> forward(const MlpShape& shape, const std::vector<float>& parameters,
                           const std::vector<float>& inputs, Context& context) {
  const std::int64_t p = parameter_count(shape), m = static_cast<std::int64_t>(parameters.size()) / p;
  const std::int64_t n = static_cast<std::int64_t>(inputs.size()) / shape.inputs;
  const Guarded<float> parameters_(context, parameters, {m, p}), inputs_(context, inputs, {n, shape.inputs});
  const Guarded<float> scores(context, {m, n, shape.outputs});
  context.backend().mlp_forward(shape, parameters_, inputs_, scores, context);
  return scores.to_host();
}

struct Gradient {
  std::vector<float> gradients, losses;
};
Gradient backward(const MlpShape& shape, const MlpLoss& loss, const std::vector<float>& parameters,
                  const std::vector<float>& inputs, const std::vector<std::uint8_t>& labels, Context& context) {
  const std::int64_t p = parameter_count(shape), m = static_cast<std::int64_t>(parameters.size()) / p;
  const std::int64_t n = static_cast<std::int64_t>(labels.size());
  const Guarded<float> parameters_(context, parameters, {m, p}), inputs_(context, inputs, {n, shape.inputs});
  const Guarded<std::uint8_t> labels_(context, labels, {n});
  const Guarded<float> gradients(context, {m, p}), losses(context, {m});
  context.backend().mlp_backward(shape, loss, parameters_, inputs_, labels_, gradients, losses, context);
  return {gradients.to_host(), losses.to_host()};
}

class Mlp : public OnBackend {};
SCALELAB_ON_EACH_BACKEND(Mlp);

// --- the oracle itself -----------------------------------------------------------------------------------------------

// The analytic gradient of the oracle against central differences of its loss, in fp64.
TEST(MlpOracle, GradientIsTheSlopeOfTheLoss) {
  for (const MlpShape& shape : shapes()) {
    if (shape.width > 20) continue;
    for (const float gamma : {0.0F, 2.0F}) {
      SCOPED_TRACE(describe(shape) + " gamma " + std::to_string(gamma));
      const auto inputs = uniform_floats(3 * shape.inputs, 1);
      const auto labels = some_labels(3, std::max(2, shape.outputs), 2);
      std::vector<Bounded> parameters = exactly(start(shape, 3));
      const OracleResult at = oracle(shape, {gamma}, parameters, inputs, labels);
      const double step = 1e-6;
      for (std::size_t i = 0; i < parameters.size(); i += 1 + parameters.size() / 60) {
        const double centre = parameters[i].value;
        parameters[i].value = centre + step;
        const double up = oracle(shape, {gamma}, parameters, inputs, labels).loss.value;
        parameters[i].value = centre - step;
        const double down = oracle(shape, {gamma}, parameters, inputs, labels).loss.value;
        parameters[i].value = centre;
        // Truncation is step^2 times a third derivative, rounding 1e-16 / step.
        EXPECT_NEAR(at.gradient[i].value, (up - down) / (2 * step), 2e-9) << "parameter " << i;
      }
    }
  }
}

// --- forward and backward --------------------------------------------------------------------------------------------

TEST_P(Mlp, ForwardMatchesTheOracle) {
  Context context(backend());
  for (const MlpShape& shape : shapes()) {
    for (const std::size_t n : {1, 33}) {
      SCOPED_TRACE(describe(shape) + " n " + std::to_string(n));
      const auto inputs = uniform_floats(n * shape.inputs, 10 + n);
      std::vector<float> parameters = start(shape, 20);
      const std::vector<float> other = start(shape, 21);
      parameters.insert(parameters.end(), other.begin(), other.end());
      const auto scores = forward(shape, parameters, inputs, context);
      for (int network = 0; network < 2; ++network) {
        const auto want = oracle(shape, {}, exactly(network == 0 ? start(shape, 20) : other), inputs, {}).scores;
        EXPECT_TRUE(all_within(scores.data() + network * n * shape.outputs, want)) << "network " << network;
        EXPECT_LT(looseness(want), 5e-3);  // a bound that allows everything would prove nothing
      }
    }
  }
}

TEST_P(Mlp, ForwardOfWideAndDeepNetworks) {
  Context context(backend());
  for (const MlpShape& shape : {MlpShape{2, Encoding::none, 256, 4, 1, Activation::relu, false},
                                MlpShape{4096, Encoding::none, 128, 1, 256, Activation::tanh, false}}) {
    SCOPED_TRACE(describe(shape));
    const auto inputs = uniform_floats(2 * shape.inputs, 1);
    const auto parameters = start(shape, 2);
    EXPECT_TRUE(all_within(forward(shape, parameters, inputs, context).data(),
                           oracle(shape, {}, exactly(parameters), inputs, {}).scores));
  }
}

TEST_P(Mlp, ForwardOfARowDependsOnThatRowAlone) {
  Context context(backend());
  const MlpShape shape{.inputs = 2, .encoding = Encoding::polar, .width = 24, .hidden_layers = 2, .layer_norm = true};
  const auto parameters = start(shape, 1);
  const std::size_t n = on_executor() ? 70 : 1009;
  std::vector<float> inputs = uniform_floats(2 * n, 2);
  inputs[2 * 40] = std::numeric_limits<float>::quiet_NaN();
  inputs[2 * 41] = std::numeric_limits<float>::infinity();
  const auto scores = forward(shape, parameters, inputs, context);
  for (std::size_t i = 0; i < n; i += i < 64 ? 1 : 61) {
    const std::vector<float> alone = forward(shape, parameters, {inputs[2 * i], inputs[2 * i + 1]}, context);
    if (i == 40) {
      EXPECT_TRUE(std::isnan(alone[0]) && std::isnan(scores[i]));
    } else if (i != 41) {
      EXPECT_TRUE(same_bits(alone, {scores[i]})) << "row " << i;
    }
  }
}

TEST_P(Mlp, NothingToScoreWritesNothing) {
  Context context(backend());
  const MlpShape shape;
  EXPECT_TRUE(forward(shape, start(shape, 1), {}, context).empty());
  EXPECT_TRUE(forward(shape, {}, {1, 2, 3, 4}, context).empty());
}

TEST_P(Mlp, BackwardMatchesTheOracle) {
  Context context(backend());
  for (const MlpShape& shape : shapes()) {
    for (const float gamma : {0.0F, 0.5F, 2.0F}) {
      for (const std::size_t n : {1, 33, 300}) {
        if (n == 300 && (gamma != 2 || shape.width > 33 || on_executor())) continue;
        SCOPED_TRACE(describe(shape) + " gamma " + std::to_string(gamma) + " n " + std::to_string(n));
        const auto inputs = uniform_floats(n * shape.inputs, 30 + n);
        const auto labels = some_labels(n, std::max(2, shape.outputs), 31);
        const auto parameters = start(shape, 32);
        const Gradient got = backward(shape, {gamma}, parameters, inputs, labels, context);
        const OracleResult want = oracle(shape, {gamma}, exactly(parameters), inputs, labels);
        EXPECT_TRUE(all_within(got.gradients.data(), want.gradient));
        EXPECT_TRUE(within(got.losses[0], want.loss));
        EXPECT_LT(looseness(want.gradient), 0.1);  // layer norm of few features is the loosest
      }
    }
  }
}

// --- elementary functions, seen through networks that pass them on ---------------------------------------------------

// A network of one hidden layer whose score is exactly feature `feature`: relu(f) - relu(-f).
std::vector<float> passes_feature(const MlpShape& shape, int feature) {
  std::vector<float> parameters(parameter_count(shape));
  const int features = feature_count(shape);
  parameters[feature] = 1;
  parameters[features + feature] = -1;
  parameters[2 * features + 2] = 1;
  parameters[2 * features + 3] = -1;
  return parameters;
}

TEST_P(Mlp, EncodingsAreGoodToAFewUnits) {
  Context context(backend());
  std::vector<float> inputs = uniform_floats(20000, 1);
  for (const float x : {0.0F, -0.0F, 1.0F, -1.0F, 1e-30F, -1e-30F, 1e30F, -1e30F, 0.5F, 3e-39F}) {
    for (const float y : {0.0F, -0.0F, 1.0F, -1.0F, 1e-30F, 1e30F, -1e30F, -2.0F}) {
      inputs.push_back(x);
      inputs.push_back(y);
    }
  }
  for (const Encoding encoding : {Encoding::polar, Encoding::polar_raw, Encoding::polar_trig}) {
    MlpShape shape{.inputs = 2, .encoding = encoding, .width = 2, .hidden_layers = 1};
    for (int feature = 0; feature < feature_count(shape); ++feature) {
      const auto got = forward(shape, passes_feature(shape, feature), inputs, context);
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_TRUE(within(got[i], oracle_features(shape, &inputs[2 * i])[feature]))
            << "encoding " << static_cast<int>(encoding) << " feature " << feature << " of (" << inputs[2 * i] << ", "
            << inputs[2 * i + 1] << ")";
      }
    }
  }
}

TEST_P(Mlp, ActivationsAreGoodToAFewUnits) {
  Context context(backend());
  std::vector<float> inputs = uniform_floats(20000, 1, -12, 12);
  for (const float x : {0.0F, -0.0F, 1e-6F, -1e-6F, 0.625F, 30.0F, -30.0F, 1e10F, -1e10F, 1e30F}) inputs.push_back(x);
  for (const Activation activation : {Activation::tanh, Activation::gelu}) {
    const MlpShape shape{.inputs = 1, .width = 2, .hidden_layers = 1, .activation = activation};
    const auto got = forward(shape, {1, 0, 0, 0, 1, 0, 0}, inputs, context);
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double x = inputs[i];
      // gelu's exponent carries three roundings of its own size; s is that much off, relatively to s (1 - s).
      const double want = activation == Activation::tanh ? std::tanh(x)
                          : std::abs(x) > 1e5            ? std::max(x, 0.0)
                                                         : gelu(x);
      const double bound = activation == Activation::tanh
                               ? 6 * kUnit * std::abs(want)
                               : 6 * kUnit * std::abs(want) + 6 * kUnit * std::min(std::abs(x), 1.0);
      ASSERT_TRUE(within(got[i], {want, bound})) << "activation " << static_cast<int>(activation) << " of " << x;
    }
  }
}

// The score is the output bias: every logit, loss and slope can be asked for.
TEST_P(Mlp, LossesAreStableForLargeScores) {
  Context context(backend());
  const MlpShape shape{.inputs = 1, .width = 2, .hidden_layers = 1};
  for (const float gamma : {0.0F, 0.5F, 2.0F, 5.0F}) {
    for (const float z :
         {0.0F, 1e-4F, -1e-4F, 0.3F, -0.7F, 1.0F, 5.0F, -5.0F, 17.0F, -17.0F, 40.0F, -40.0F, 200.0F, -200.0F, 1e30F}) {
      for (const std::uint8_t label : {0, 1}) {
        const Gradient got = backward(shape, {gamma}, {0, 0, 0, 0, 0, 0, z}, {1}, {label}, context);
        const double u = label == 1 ? z : -z, g = gamma;
        const double focus = std::exp(-g * softplus(u)), loss = focus * softplus(-u);
        const double slope = -focus * (g * sigmoid(u) * softplus(-u) + sigmoid(-u));
        const double roundings = 8 + 4 * std::min(g * softplus(u), 90.0);
        // Below 1e-24 a slope counts as zero, and e^-87 as well.
        EXPECT_TRUE(within(got.losses[0], {loss, roundings * kUnit * loss + 1e-36})) << "gamma " << gamma << " z " << z;
        EXPECT_TRUE(
            within(got.gradients[6], {label == 1 ? slope : -slope, roundings * kUnit * std::abs(slope) + 1e-24}))
            << "gamma " << gamma << " z " << z << " label " << +label;
      }
    }
  }
}

// --- training --------------------------------------------------------------------------------------------------------

// A copy of the rows a batch takes.
struct Batch {
  std::vector<float> inputs;
  std::vector<std::uint8_t> labels;
};
Batch batch_of(const RunData& data, int epoch, std::int64_t begin) {
  const std::int64_t n = static_cast<std::int64_t>(data.labels.size());
  const std::int64_t r = data.rows.empty() ? n : static_cast<std::int64_t>(data.rows.size());
  const std::int64_t size = data.run.batch_size == 0 ? r : data.run.batch_size;
  Batch batch;
  for (std::int64_t i = begin; i < std::min(begin + size, r); ++i) {
    const std::int64_t at = data.run.shuffle ? shuffled_index(i, r, data.run.seed, epoch) : i;
    const std::int64_t row = data.rows.empty() ? at : data.rows[at];
    batch.labels.push_back(data.labels[row]);
    for (int f = 0; f < data.run.shape.inputs; ++f)
      batch.inputs.push_back(data.inputs[row * data.run.shape.inputs + f]);
  }
  return batch;
}

double scheduled_rate(const MlpRun& run, std::int64_t step, std::int64_t steps) {
  if (run.schedule == Schedule::constant) return run.learning_rate;
  return run.learning_rate * 0.5 * (1 + std::cos(kPi * static_cast<double>(step) / static_cast<double>(steps)));
}

// One optimiser step of the oracle, t from 0.
void oracle_step(const MlpRun& run, std::int64_t t, std::int64_t steps, const std::vector<Bounded>& gradient,
                 std::vector<Bounded>& values, std::vector<Bounded>& first, std::vector<Bounded>& second) {
  const double rate = scheduled_rate(run, t, steps);
  auto constant = [](double c) { return Bounded(c, kUnit * std::abs(c)); };
  for (std::size_t i = 0; i < values.size(); ++i) {
    Bounded change = values[i] * constant(rate * run.weight_decay);
    values[i] = values[i] - change;
    if (run.optimizer == Optimizer::sgd) {
      first[i] = constant(run.momentum) * first[i] + gradient[i];
      change = constant(rate) * first[i];
    } else {
      const double b1 = run.beta1, b2 = run.beta2;
      first[i] = constant(b1) * first[i] + constant(1 - b1) * gradient[i];
      second[i] = constant(b2) * second[i] + constant(1 - b2) * gradient[i] * gradient[i];
      const Bounded root = apply([](double v) { return std::sqrt(std::max(v, 0.0)); }, second[i], 1);
      const Bounded scale = root * constant(1 / std::sqrt(1 - std::pow(b2, t + 1))) + constant(run.epsilon);
      change = constant(rate / (1 - std::pow(b1, t + 1))) * first[i] / scale;
    }
    values[i] = values[i] - change;
  }
}

// Every step of a run against the optimiser's formula, from the very numbers the step began with: a call is one step.
TEST_P(Mlp, EveryStepIsTheOptimisersFormula) {
  Context context(backend());
  for (const Optimizer optimizer : {Optimizer::adam, Optimizer::sgd}) {
    for (const Schedule schedule : {Schedule::constant, Schedule::cosine}) {
      for (const float decay : {0.0F, 0.1F}) {
        const MlpShape shape{.inputs = 2, .encoding = Encoding::polar, .width = 17, .hidden_layers = 2};
        const int steps = 6;
        RunData data = some_run(shape, 40, 5, steps, 0);
        data.carry_state = true;
        data.run.shuffle = false;
        data.run.optimizer = optimizer;
        data.run.schedule = schedule;
        data.run.weight_decay = decay;
        data.run.momentum = 0.9F;
        data.run.loss.focal_gamma = decay > 0 ? 2 : 0;
        data.run.learning_rate = optimizer == Optimizer::adam ? 3e-3F : 0.1F;
        const std::size_t p = data.parameters.size();
        data.state.resize(2 * p);
        for (int step = 0; step < steps; ++step) {
          const RunData before = data;
          data.run.epoch_begin = step;
          data.run.epoch_end = step + 1;
          train({&data}, context);
          const Gradient got = backward(shape, data.run.loss, before.parameters, before.inputs, before.labels, context);
          std::vector<Bounded> values = exactly(before.parameters), gradient = exactly(got.gradients);
          std::vector<Bounded> first(before.state.begin(), before.state.begin() + p);
          std::vector<Bounded> second(before.state.begin() + p, before.state.end());
          if (!on_cpu()) {  // elsewhere the two ops may add in different orders
            const auto want = oracle(shape, data.run.loss, values, before.inputs, before.labels).gradient;
            for (std::size_t i = 0; i < p; ++i) gradient[i].error = 2 * want[i].error;
          }
          oracle_step(data.run, step, steps, gradient, values, first, second);
          SCOPED_TRACE("optimizer " + std::to_string(static_cast<int>(optimizer)) + " schedule " +
                       std::to_string(static_cast<int>(schedule)) + " decay " + std::to_string(decay) + " step " +
                       std::to_string(step));
          EXPECT_TRUE(all_within(data.parameters.data(), values));
          EXPECT_TRUE(all_within(data.state.data(), first));
          EXPECT_TRUE(all_within(data.state.data() + p, second));
          EXPECT_EQ(data.diverged, -1);
          if (on_cpu()) {
            EXPECT_TRUE(same_bits(data.epoch_losses, got.losses));
            EXPECT_LT(looseness(values), 1e-6);
          }
        }
      }
    }
  }
}

// Ten steps in batches, shuffled, over chosen rows, the last batch short, against the oracle that carries its bound
// along. adam with a large epsilon, so that a gradient's rounding is not blown up where the gradient nearly vanishes.
TEST_P(Mlp, TenStepsFollowTheOracle) {
  Context context(backend());
  for (const Optimizer optimizer : {Optimizer::adam, Optimizer::sgd}) {
    for (const bool layer_norm : {false, true}) {
      // One layer of layer norm: a bound grows some hundredfold on its way through each.
      const MlpShape shape{.inputs = 2,
                           .encoding = Encoding::polar_trig,
                           .width = 8,
                           .hidden_layers = layer_norm ? 1 : 2,
                           .outputs = layer_norm ? 1 : 3,
                           .activation = Activation::tanh,
                           .layer_norm = layer_norm};
      RunData data = some_run(shape, 60, 6, 2, 10);
      for (int i = 0; i < 43; ++i) data.rows.push_back((i * 7) % 60);  // batches of 10, 10, 10, 10 and 3
      data.run.optimizer = optimizer;
      data.run.momentum = 0.5F;
      data.run.loss.focal_gamma = layer_norm ? 2 : 0;
      data.run.epsilon = 0.3F;
      data.run.weight_decay = 0.01F;
      data.run.learning_rate = 0.05F;
      std::vector<Bounded> values = exactly(data.parameters), first(values.size()), second(values.size());
      std::vector<double> losses(2);
      for (int step = 0; step < 10; ++step) {
        const Batch batch = batch_of(data, step / 5, step % 5 * 10);
        const OracleResult at = oracle(shape, data.run.loss, values, batch.inputs, batch.labels);
        losses[step / 5] += at.loss.value * static_cast<double>(batch.labels.size()) / 43;
        oracle_step(data.run, step, 10, at.gradient, values, first, second);
      }
      const std::vector<float> began = data.parameters;
      train({&data}, context);
      EXPECT_TRUE(all_within(data.parameters.data(), values)) << "layer norm " << layer_norm;
      double moved = 0, error = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        moved += std::abs(values[i].value - began[i]);
        error += values[i].error;
      }
      EXPECT_LT(error, 0.05 * moved) << "the bound is too loose to tell";
      for (int epoch = 0; epoch < 2; ++epoch)
        EXPECT_NEAR(data.epoch_losses[epoch], losses[epoch], 1e-3 * losses[epoch]);
    }
  }
}

// The gradient that a run's first step sees: sgd's momentum after it, which began as zero.
std::vector<float> gradient_on(Precision precision, const MlpShape& shape, std::size_t n, std::uint64_t seed,
                               Context& context) {
  RunData data = some_run(shape, n, seed, 1, 0);
  data.run.shuffle = false;
  data.run.optimizer = Optimizer::sgd;
  data.run.precision = precision;
  data.carry_state = true;
  train({&data}, context);
  EXPECT_EQ(data.diverged, -1);
  return {data.state.begin(), data.state.begin() + static_cast<std::ptrdiff_t>(data.parameters.size())};
}

// The nearest bf16, ties to even, by the lengths on either side.
double nearest_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x) & 0xffff0000U;
  const auto down = std::bit_cast<float>(bits), up = std::bit_cast<float>(bits + 0x10000U);
  const double below = std::abs(double{x} - down), above = std::abs(double{up} - x);
  return below < above || (below == above && (bits & 0x10000U) == 0) ? down : up;
}

// One number times one number: h = relu(weight * relu(x)), seen in the gradient of an output weight, which is h times
// that by the output bias.
TEST_P(Mlp, AProductOnEveryRungIsThatOfItsParts) {
  Context context(backend());
  const MlpShape shape{.inputs = 1, .width = 2, .hidden_layers = 2};
  std::vector<float> numbers = uniform_floats(60, 17, 0.5F, 4);
  // Halfway between two bf16, to either side, and just beside it.
  for (const float x : {1 + 0x1p-8F, 1 + 3 * 0x1p-8F, 1 + 0x1.0002p-8F, 1 + 0x1.fffep-9F}) numbers.push_back(x);
  for (const Precision precision : {Precision::fp32, Precision::bf16x3, Precision::bf16}) {
    std::vector<RunData> runs;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      RunData data;
      data.run.shape = shape;
      data.run.epochs = 1;
      data.run.optimizer = Optimizer::sgd;
      data.run.precision = precision;
      data.columns = 1;
      data.inputs = {numbers[i]};
      data.labels = {1};
      data.carry_state = true;
      const float weight = numbers[numbers.size() - 1 - i];
      data.parameters = {1, 0, 0, 0, weight, 0, 0, 0, 0, 0, 0.25F, 0, 0};
      runs.push_back(data);
    }
    train(pointers(runs), context);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const float a = numbers[numbers.size() - 1 - i], b = numbers[i];
      const double a_hi = nearest_bf16(a), a_lo = nearest_bf16(static_cast<float>(a - a_hi));
      const double b_hi = nearest_bf16(b), b_lo = nearest_bf16(static_cast<float>(b - b_hi));
      const double want = precision == Precision::fp32     ? double{a} * b
                          : precision == Precision::bf16x3 ? a_hi * b_hi + a_hi * b_lo + a_lo * b_hi
                                                           : a_hi * b_hi;
      // Three sums, rounded or truncated, and the roundings of the gradient and of this quotient.
      EXPECT_TRUE(within_rounding(double{runs[i].state[10]} / runs[i].state[12], want, want, 9))
          << a << " times " << b << " on rung " << static_cast<int>(precision);
    }
  }
}

// The gradient of a step on each rung against fp64, within the rung's own bound. A rung is many times farther off than
// the one above it, and bf16 beyond the bound of bf16x3; seen on few rows, where no sample's gate can go either way.
TEST_P(Mlp, GradientsOfEveryRungMatchTheOracle) {
  Context context(backend());
  for (const MlpShape& shape : shapes()) {
    if (shape.hidden_layers == 1) continue;
    // 70 rows: more than one tile of a multiprocessor, and a last block of terms that is not whole.
    for (const std::size_t n : {5, 70}) {
      if (on_executor() && n == 70 && shape.width > 33) continue;
      SCOPED_TRACE(describe(shape) + " n " + std::to_string(n));
      const RunData data = some_run(shape, n, 40, 1, 0);
      double last = 0;  // distance of the rung above: the root of the sum of squares
      std::vector<Bounded> bound_above;
      for (const Precision precision : {Precision::fp32, Precision::bf16x3, Precision::bf16}) {
        SCOPED_TRACE("rung " + std::to_string(static_cast<int>(precision)));
        const auto want = oracle(shape, {}, exactly(data.parameters), data.inputs, data.labels, precision).gradient;
        const auto got = gradient_on(precision, shape, n, 40, context);
        EXPECT_TRUE(all_within(got.data(), want));
        double squares = 0;
        for (std::size_t i = 0; i < got.size(); ++i) squares += std::pow(got[i] - want[i].value, 2);
        const double distance = std::sqrt(squares);
        if (n == 5) {
          EXPECT_GT(distance, (precision == Precision::bf16 ? 64 : 2) * last);
        }
        // Layer norm blows bounds up a hundredfold, to where they tell little.
        if (n == 5 && precision == Precision::bf16 && !shape.layer_norm) {
          EXPECT_FALSE(all_within(got.data(), bound_above));
        }
        last = distance;
        bound_above = want;
      }
    }
  }
}

// adam's first step from rest is rate * g / (|g| + epsilon), whatever the betas.
TEST_P(Mlp, FirstAdamStepInClosedForm) {
  Context context(backend());
  const MlpShape shape{.inputs = 1, .width = 2, .hidden_layers = 1};
  RunData data;
  data.run.shape = shape;
  data.run.epochs = 1;
  data.run.schedule = Schedule::constant;
  data.run.learning_rate = 0.25F;
  data.columns = 1;
  data.inputs = {1};
  data.labels = {1};
  data.parameters = {0, 0, 0, 0, 0, 0, 0};  // dead but for the output bias, whose gradient is sigmoid(0) - 1 = -1/2
  train({&data}, context);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(data.parameters[i], 0);
  EXPECT_TRUE(within_rounding(data.parameters[6], 0.25 * 0.5 / (0.5 + 1e-8), 0.25, 8));
  EXPECT_TRUE(within_rounding(data.epoch_losses[0], std::log(2.0), std::log(2.0), 4));
}

TEST_P(Mlp, MaskedWeightsStayExactlyZero) {
  Context context(backend());
  for (const Optimizer optimizer : {Optimizer::adam, Optimizer::sgd}) {
    const MlpShape shape{.inputs = 2, .width = 20, .hidden_layers = 2, .layer_norm = true};
    RunData data = some_run(shape, 50, 7, 5, 16);
    data.run.optimizer = optimizer;
    data.run.precision = optimizer == Optimizer::adam ? Precision::fp32 : Precision::bf16x3;
    data.run.weight_decay = 0.01F;
    data.run.momentum = 0.9F;
    data.run.learning_rate = 0.01F;
    data.carry_state = true;
    RunData free = data;
    for (std::size_t i = 0; i < data.parameters.size(); ++i) {
      data.mask.push_back(static_cast<std::uint8_t>(uniform_int(8, i, 0, 1) * 3));
    }
    const std::vector<float> began = data.parameters;
    train({&data}, context);
    train({&free}, context);
    std::size_t moved = 0, kept = 0;
    for (std::size_t i = 0; i < data.mask.size(); ++i) {
      if (data.mask[i] == 0) {
        const std::vector<float> zero = {0};
        ASSERT_TRUE(same_bits({data.parameters[i]}, zero)) << i;
      } else {
        ++kept;
        moved += data.parameters[i] != began[i];
      }
    }
    EXPECT_GT(moved, kept * 9 / 10);
    // A mask that holds nothing changes nothing.
    RunData open = data;
    open.parameters = began;
    open.state.assign(2 * began.size(), 0);
    open.mask.assign(began.size(), 1);
    train({&open}, context);
    EXPECT_TRUE(same_bits(open.parameters, free.parameters));
  }
}

// --- the same bits ---------------------------------------------------------------------------------------------------

// Runs that differ in everything.
std::vector<RunData> many_runs() {
  std::vector<RunData> runs;
  for (const MlpShape& shape : shapes()) {
    for (const std::size_t n : {31, 70}) {
      RunData data =
          some_run(shape, n, 100 + runs.size(), 2 + static_cast<int>(runs.size() % 3), runs.size() % 4 == 0 ? 0 : 16);
      data.run.optimizer = runs.size() % 3 == 1 ? Optimizer::sgd : Optimizer::adam;
      data.run.momentum = 0.9F;
      data.run.loss.focal_gamma = runs.size() % 5 == 0 ? 2 : 0;
      data.run.weight_decay = runs.size() % 2 == 0 ? 0.01F : 0;
      if (runs.size() % 4 == 2) data.rows = {5, 3, 30, 30, 0, 12};
      if (runs.size() % 4 == 3) data.mask.assign(data.parameters.size(), 1), data.mask[1] = 0;
      data.run.precision = static_cast<Precision>((runs.size() + 1) / 2 % 3);
      runs.push_back(data);
    }
  }
  return runs;
}

testing::AssertionResult same_outcome(const RunData& a, const RunData& b) {
  if (auto same = same_bits(a.parameters, b.parameters); !same) return same << " (parameters)";
  if (auto same = same_bits(a.state, b.state); !same) return same << " (state)";
  if (auto same = same_bits(a.epoch_losses, b.epoch_losses); !same) return same << " (losses)";
  return same_bits(std::vector<int>{a.diverged}, std::vector<int>{b.diverged});
}

TEST_P(Mlp, ARunHasTheSameBitsAloneAmongOthersInAnyOrderOnAnyThreads) {
  Context one(backend(), 0, 1), two(backend(), 0, 2);
  std::vector<RunData> alone = many_runs(), together = many_runs(), reversed = many_runs();
  ASSERT_GT(alone.size(), 20U);
  for (RunData& run : alone) train({&run}, one);
  train(pointers(together), one);
  std::vector<RunData*> backwards = pointers(reversed);
  std::reverse(backwards.begin(), backwards.end());
  train(backwards, two);
  for (std::size_t i = 0; i < alone.size(); ++i) {
    EXPECT_TRUE(same_outcome(together[i], alone[i])) << "run " << i << " together";
    EXPECT_TRUE(same_outcome(reversed[i], alone[i])) << "run " << i << " reversed, two threads";
  }
}

TEST_P(Mlp, ARunCutIntoPartsHasTheBitsOfTheWhole) {
  Context context(backend());
  for (const Optimizer optimizer : {Optimizer::adam, Optimizer::sgd}) {
    const MlpShape shape{
        .inputs = 2, .encoding = Encoding::polar_raw, .width = 20, .hidden_layers = 2, .layer_norm = true};
    RunData whole = some_run(shape, 50, 9, 7, 16);
    whole.run.optimizer = optimizer;
    whole.run.precision = optimizer == Optimizer::adam ? Precision::fp32 : Precision::bf16;
    whole.run.momentum = 0.9F;
    RunData parts = whole, stateless = whole;
    parts.carry_state = whole.carry_state = true;
    std::vector<float> losses;
    for (const auto& [begin, end] : {std::pair{0, 1}, {1, 4}, {4, 4}, {4, 7}}) {
      parts.run.epoch_begin = begin;
      parts.run.epoch_end = end;
      train({&parts}, context);
      losses.insert(losses.end(), parts.epoch_losses.begin(), parts.epoch_losses.end());
    }
    train({&whole}, context);
    train({&stateless}, context);
    EXPECT_TRUE(same_bits(parts.parameters, whole.parameters));
    EXPECT_TRUE(same_bits(parts.state, whole.state));
    EXPECT_TRUE(same_bits(losses, whole.epoch_losses));
    EXPECT_TRUE(same_bits(stateless.parameters, whole.parameters));
  }
}

// The CPU: every vector target compiled in gives the same bits, for every op.
TEST(MlpTargets, EveryVectorTargetGivesTheSameBits) {
  Context context(cpu_backend());
  std::vector<RunData> want_runs = many_runs();
  for (RunData& run : want_runs) run.run.epochs = 2;
  const std::vector<RunData> start_runs = want_runs;
  train(pointers(want_runs), context);
  std::vector<std::vector<float>> want_scores, want_gradients;
  auto scores_and_gradients = [&](std::vector<std::vector<float>>& scores, std::vector<std::vector<float>>& gradients) {
    for (const MlpShape& shape : shapes()) {
      for (const float gamma : {0.0F, 2.0F}) {
        const auto inputs = uniform_floats(70 * shape.inputs, 1, -30, 30);
        const auto labels = some_labels(70, std::max(2, shape.outputs), 2);
        scores.push_back(forward(shape, start(shape, 3), inputs, context));
        const Gradient got = backward(shape, {gamma}, start(shape, 3), inputs, labels, context);
        gradients.push_back(got.gradients);
        gradients.push_back(got.losses);
      }
    }
  };
  scores_and_gradients(want_scores, want_gradients);
  const std::int64_t all = hwy::SupportedTargets();
  for (std::int64_t rest = all; rest != 0; rest &= rest - 1) {
    hwy::SetSupportedTargetsForTest(rest & -rest);
    SCOPED_TRACE(hwy::TargetName(rest & -rest));
    std::vector<RunData> runs = start_runs;
    train(pointers(runs), context);
    std::vector<std::vector<float>> scores, gradients;
    scores_and_gradients(scores, gradients);
    for (std::size_t i = 0; i < runs.size(); ++i) EXPECT_TRUE(same_outcome(runs[i], want_runs[i])) << "run " << i;
    for (std::size_t i = 0; i < scores.size(); ++i)
      EXPECT_TRUE(same_bits(scores[i], want_scores[i])) << "shape " << i / 2;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      EXPECT_TRUE(same_bits(gradients[i], want_gradients[i])) << "shape " << i / 4;
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

// --- what goes wrong -------------------------------------------------------------------------------------------------

TEST_P(Mlp, ADivergedRunSaysSoAndHarmsNoOther) {
  Context context(backend());
  const MlpShape shape{.inputs = 2, .width = 16, .hidden_layers = 2};
  RunData good = some_run(shape, 40, 11, 6, 16), wild = some_run(shape, 40, 12, 6, 16),
          blind = some_run(shape, 40, 13, 6, 16);
  wild.run.optimizer = Optimizer::sgd;
  wild.run.schedule = Schedule::constant;
  wild.run.learning_rate = 1e18F;
  blind.inputs[7] = std::numeric_limits<float>::quiet_NaN();
  RunData alone = good;
  train({&alone}, context);
  train({&wild, &good, &blind}, context);
  EXPECT_TRUE(same_outcome(good, alone));
  EXPECT_EQ(good.diverged, -1);
  EXPECT_GE(wild.diverged, 0);
  EXPECT_LT(wild.diverged, 6);
  EXPECT_EQ(blind.diverged, 0);
  for (const float value : blind.parameters) ASSERT_TRUE(std::isfinite(value));  // as before the step that could not be
  for (int epoch = 0; epoch < 6; ++epoch) {
    EXPECT_EQ(std::isfinite(wild.epoch_losses[epoch]), epoch < wild.diverged) << epoch;
    EXPECT_TRUE(std::isnan(blind.epoch_losses[epoch]));
  }
  // Cut where it still lives, it diverges in the same epoch of the schedule.
  RunData later = some_run(shape, 40, 13, 6, 16);
  later.carry_state = true;
  later.run.epoch_end = 2;
  train({&later}, context);
  EXPECT_EQ(later.diverged, -1);
  later.inputs[7] = std::numeric_limits<float>::quiet_NaN();
  later.run.epoch_begin = 2;
  later.run.epoch_end = 6;
  train({&later}, context);
  EXPECT_EQ(later.diverged, 2);
}

TEST_P(Mlp, InvalidRunsAreRefusedByNumberBeforeAnyBegins) {
  Context context(backend());
  const MlpShape shape{.inputs = 2, .width = 4, .hidden_layers = 1};
  const std::vector<std::pair<std::string, std::function<void(RunData&)>>> faults = {
      {"inputs", [](RunData& d) { d.run.shape.inputs = 0; }},
      {"inputs", [](RunData& d) { d.run.shape.inputs = 4097; }},
      {"width", [](RunData& d) { d.run.shape.width = 1; }},
      {"width", [](RunData& d) { d.run.shape.width = 257; }},
      {"hidden_layers", [](RunData& d) { d.run.shape.hidden_layers = 5; }},
      {"hidden_layers", [](RunData& d) { d.run.shape.hidden_layers = 0; }},
      {"outputs", [](RunData& d) { d.run.shape.outputs = 257; }},
      {"encoding", [](RunData& d) { d.run.shape.inputs = 3, d.run.shape.encoding = Encoding::polar; }},
      {"focal_gamma", [](RunData& d) { d.run.loss.focal_gamma = -1; }},
      {"focal_gamma", [](RunData& d) { d.run.loss.focal_gamma = std::numeric_limits<float>::quiet_NaN(); }},
      {"labels", [](RunData& d) { d.labels.pop_back(); }},
      {"parameters", [](RunData& d) { d.parameters.pop_back(); }},
      {"weight_mask",
       [](RunData& d) {
         d.mask = {1, 1};
       }},
      {"state",
       [](RunData& d) {
         d.state = {1, 1};
       }},
      {"state", [](RunData& d) { d.run.epoch_end = 1; }},
      {"rows[2]",
       [](RunData& d) {
         d.rows = {0, 1, 20, 3};
       }},
      {"rows[0]", [](RunData& d) { d.rows = {-1}; }},
      {"epochs", [](RunData& d) { d.run.epochs = -1, d.run.epoch_end = -1, d.run.epoch_begin = -2; }},
      {"batch_size", [](RunData& d) { d.run.batch_size = -1; }},
      {"learning_rate", [](RunData& d) { d.run.learning_rate = std::numeric_limits<float>::infinity(); }},
      {"weight_decay", [](RunData& d) { d.run.weight_decay = -1; }},
      {"momentum", [](RunData& d) { d.run.momentum = 1; }},
      {"beta1", [](RunData& d) { d.run.beta1 = 1; }},
      {"beta2", [](RunData& d) { d.run.beta2 = -0.1F; }},
      {"epsilon", [](RunData& d) { d.run.epsilon = 0; }},
      {"precision", [](RunData& d) { d.run.precision = static_cast<Precision>(3); }},
      {"epochs", [](RunData& d) { d.carry_state = true, d.run.epoch_begin = 1, d.run.epoch_end = 0; }},
      {"epochs", [](RunData& d) { d.carry_state = true, d.run.epoch_end = 4; }},
  };
  for (const auto& [what, break_it] : faults) {
    RunData good = some_run(shape, 20, 14, 3, 8), bad = good;
    break_it(bad);
    std::string message;
    try {
      train({&good, &bad}, context);
    } catch (const std::invalid_argument& error) {
      message = error.what();
    }
    EXPECT_NE(message.find("run 1"), std::string::npos) << what << ": " << message;
    EXPECT_NE(message.find(what), std::string::npos) << message;
  }
  EXPECT_THROW(forward({.width = 1}, {}, {}, context), std::invalid_argument);
  EXPECT_THROW(backward(shape, {}, start(shape, 1), {}, {}, context), std::invalid_argument);
}

TEST_P(Mlp, TwoRunsOfOneNetworkAreRefused) {
  Context context(backend());
  RunData data = some_run({.inputs = 2, .width = 4, .hidden_layers = 1}, 20, 14, 1, 8);
  Guarded<float> inputs(context, data.inputs, {20, 2}), parameters(context, data.parameters, {17});
  Guarded<std::uint8_t> labels(context, data.labels, {20});
  data.run.inputs = inputs;
  data.run.labels = labels;
  data.run.parameters = parameters;
  const std::vector<MlpRun> runs = {data.run, data.run};
  EXPECT_THROW(context.backend().mlp_train(runs, context), std::invalid_argument);
}

TEST_P(Mlp, ProgressMayAbandonTraining) {
  Context context(backend());
  RunData data = some_run({.inputs = 2, .width = 4, .hidden_layers = 1}, 20, 14, 1000, 8);
  std::int64_t last = 0;
  context.progress = [&](std::int64_t done, std::int64_t total) {
    EXPECT_GE(done, last);
    EXPECT_LE(done, total);
    last = done;
    throw std::runtime_error("enough");
  };
  EXPECT_THROW(train({&data}, context), std::runtime_error);
}

// --- sizes, and learning ---------------------------------------------------------------------------------------------

TEST_P(Mlp, AwkwardSizesTrain) {
  Context context(backend());
  for (const int width : {2, 3, 17, 64, 100, 256}) {
    for (int layers = 1; layers <= 4; ++layers) {
      if (on_executor() && width > 17) continue;
      const std::size_t n = layers == 1 ? 1 : layers == 2 ? 31 : 33;
      // Batches of 32 (a short last one), and one larger than n; one step of each is held against the oracle.
      RunData data =
          some_run({.inputs = 2, .width = width, .hidden_layers = layers}, n, 15, 1, layers % 2 == 0 ? 32 : 1000);
      data.run.optimizer = Optimizer::sgd;
      data.run.schedule = Schedule::constant;
      data.run.learning_rate = 0.5F;
      std::vector<Bounded> values = exactly(data.parameters), first(values.size()), second(values.size());
      const std::size_t batch = data.run.batch_size;
      std::int64_t step = 0;
      for (std::size_t begin = 0; begin < n; begin += batch) {
        const Batch rows = batch_of(data, 0, begin);
        oracle_step(data.run, step++, 1, oracle(data.run.shape, {}, values, rows.inputs, rows.labels).gradient, values,
                    first, second);
      }
      train({&data}, context);
      EXPECT_TRUE(all_within(data.parameters.data(), values)) << "width " << width << " layers " << layers;
      EXPECT_EQ(data.diverged, -1);
    }
  }
}

TEST_P(Mlp, TrainingLearns) {
  Context context(backend());
  if (on_executor()) {  // a few steps of a small one: enough for the loss to fall by a tenth
    RunData data =
        some_run({.inputs = 2, .encoding = Encoding::polar, .width = 16, .hidden_layers = 1}, 64, 16, 40, 16);
    data.run.learning_rate = 0.03F;
    train({&data}, context);
    EXPECT_LT(data.epoch_losses.back(), 0.9F * data.epoch_losses.front());
    return;
  }
  for (const bool layer_norm : {false, true}) {
    for (const Activation activation : {Activation::relu, Activation::tanh, Activation::gelu}) {
      RunData data = some_run({.inputs = 2,
                               .encoding = Encoding::polar,
                               .width = 32,
                               .hidden_layers = 2,
                               .activation = activation,
                               .layer_norm = layer_norm},
                              400, 16, 300, 32);
      train({&data}, context);
      const std::vector<float> scores = forward(data.run.shape, data.parameters, data.inputs, context);
      int wrong = 0;
      for (std::size_t i = 0; i < scores.size(); ++i) wrong += (scores[i] > 0) != (data.labels[i] == 1);
      EXPECT_LT(wrong, 20) << "activation " << static_cast<int>(activation) << " layer norm " << layer_norm;
      EXPECT_LT(data.epoch_losses.back(), 0.25F * data.epoch_losses.front());
    }
  }
}

}  // namespace
}  // namespace scalelab::test
