#include "host/lab/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string_view>

#include "host/program/error.h"
#include "host/program/words.h"
#include "scalelab/knn.h"
#include "scalelab/math.h"
#include "scalelab/random.h"

namespace scalelab::host {

namespace {

constexpr std::array<std::pair<const char*, Encoding>, 4> kEncodings = {{{"xy", Encoding::none},
                                                                         {"polar", Encoding::polar},
                                                                         {"polar-raw", Encoding::polar_raw},
                                                                         {"polar-trig", Encoding::polar_trig}}};

[[noreturn]] void unknown(const std::string& name, const std::string& why) {
  throw Failure(kMisuse, fmt::format("model '{}': {}; valid are knn-K (K = 1 .. {}), knn-K@polar, @polar-raw or "
                                     "@polar-trig (with :W the angle times W), mlp-xy, mlp-polar, mlp-polar-raw, "
                                     "mlp-polar-trig, and these networks with any of +extras, +focal, +layer-norm, "
                                     "+weight-decay, +sgd",
                                     name, why, kMaxNeighbours));
}

Encoding parse_encoding(const std::string& model, const std::string& name) {
  const auto found =
      std::find_if(kEncodings.begin(), kEncodings.end(), [&](const auto& entry) { return name == entry.first; });
  if (found == kEncodings.end()) unknown(model, fmt::format("unknown encoding '{}'", name));
  return found->second;
}

// All of `text` as a number, or nothing.
template <class T>
bool read_number(std::string_view text, T& number) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && stop == text.data() + text.size();
}

// "knn-K", "knn-K@E", "knn-K@E:W"
Model parse_knn(const std::string& name) {
  Model model;
  const std::size_t at = std::min(name.find('@'), name.size());
  if (!read_number(std::string_view(name).substr(4, at - 4), model.neighbours) || model.neighbours < 1 ||
      model.neighbours > kMaxNeighbours) {
    unknown(name, fmt::format("K must be a number from 1 to {}", kMaxNeighbours));
  }
  model.name = fmt::format("knn-{}", model.neighbours);
  if (at == name.size()) return model;
  const std::size_t colon = std::min(name.find(':', at), name.size());
  const std::string encoding = name.substr(at + 1, colon - at - 1);
  model.shape.encoding = parse_encoding(name, encoding);
  if (colon < name.size()) {
    if (!read_number(std::string_view(name).substr(colon + 1), model.angle_weight) ||
        !(model.angle_weight >= 1e-6 && model.angle_weight <= 1e6)) {
      unknown(name, "W must be a number from 1e-6 to 1e6");
    }
    if (model.shape.encoding == Encoding::none) unknown(name, "(x, y) have no angle to weight");
  }
  if (model.shape.encoding != Encoding::none) model.name += "@" + encoding;
  if (model.angle_weight != 1) model.name += fmt::format(":{}", model.angle_weight);
  return model;
}

}  // namespace

Model parse_model(const std::string& name) {
  if (name.starts_with("knn-")) return parse_knn(name);
  if (!name.starts_with("mlp-")) unknown(name, "unknown");
  Model model;
  const auto parts = split(name.substr(4), '+');
  model.shape.encoding = parse_encoding(name, parts[0]);

  bool focal = false, layer_norm = false, weight_decay = false, sgd = false;
  const auto switch_on = [&](bool& flag) {
    if (flag) unknown(name, "the same extra twice");
    flag = true;
  };
  for (std::size_t i = 1; i < parts.size(); ++i) {
    if (parts[i] == "focal" || parts[i] == "extras") switch_on(focal);
    if (parts[i] == "layer-norm" || parts[i] == "extras") switch_on(layer_norm);
    if (parts[i] == "weight-decay" || parts[i] == "extras") switch_on(weight_decay);
    if (parts[i] == "sgd") switch_on(sgd);
    if (parts[i] != "focal" && parts[i] != "layer-norm" && parts[i] != "weight-decay" && parts[i] != "extras" &&
        parts[i] != "sgd") {
      unknown(name, fmt::format("unknown extra '+{}'", parts[i]));
    }
  }
  model.name = "mlp-" + parts[0];
  if (focal && layer_norm && weight_decay) {
    model.name += "+extras";
  } else {
    model.name +=
        std::string(focal ? "+focal" : "") + (layer_norm ? "+layer-norm" : "") + (weight_decay ? "+weight-decay" : "");
  }
  model.loss.focal_gamma = focal ? 2 : 0;
  model.shape.layer_norm = layer_norm;
  model.weight_decay = weight_decay ? 1e-2F : 0;
  if (sgd) {
    model.name += "+sgd";
    model.optimizer = Optimizer::sgd;
    model.schedule = Schedule::constant;
    model.batch_size = 0;
    model.learning_rate = 0.1F;
  }
  return model;
}

std::vector<Model> parse_models(const std::string& names) {
  std::vector<Model> models;
  for (const auto& name : split(names, ',')) {
    Model model = parse_model(name);
    for (const Model& other : models) {
      if (other.name == model.name) throw Failure(kMisuse, "--models names " + model.name + " twice");
    }
    models.push_back(std::move(model));
  }
  return models;
}

Precision parse_precision(const std::string& name) {
  const auto found = std::find(kPrecisions.begin(), kPrecisions.end(), name);
  if (found == kPrecisions.end()) {
    throw Failure(kMisuse, fmt::format("precision '{}': must be one of {}", name, fmt::join(kPrecisions, ", ")));
  }
  return static_cast<Precision>(found - kPrecisions.begin());
}

const std::vector<std::string>& default_models() {
  static const std::vector<std::string> names = {"knn-1",
                                                 "knn-3",
                                                 "knn-5",
                                                 "knn-9",
                                                 "knn-1@polar",
                                                 "knn-1@polar:0.25",
                                                 "mlp-xy",
                                                 "mlp-polar",
                                                 "mlp-polar-raw",
                                                 "mlp-polar-trig",
                                                 "mlp-xy+extras",
                                                 "mlp-polar+extras",
                                                 "mlp-polar-raw+extras",
                                                 "mlp-polar-trig+extras"};
  return names;
}

std::vector<float> distance_features(const Model& model, std::span<const float> points) {
  if (model.shape.encoding == Encoding::none) return {points.begin(), points.end()};
  const double w = model.angle_weight;
  std::vector<float> features;
  features.reserve(points.size() / 2 * static_cast<std::size_t>(feature_count(model.shape)));
  const auto add = [&](double value) { features.push_back(static_cast<float>(value)); };
  for (std::size_t i = 0; i + 1 < points.size(); i += 2) {
    const double x = points[i], y = points[i + 1], r = square_root(std::fma(x, x, y * y));
    add(model.shape.encoding == Encoding::polar_raw ? r : 2 * r - 1);
    if (model.shape.encoding == Encoding::polar_trig) {
      add(w * (r > 0 ? x / r : 1));
      add(w * (r > 0 ? y / r : 0));
    } else {
      add(w * (model.shape.encoding == Encoding::polar ? angle(y, x) / kPi : angle(y, x)));
    }
  }
  return features;
}

MlpRun training_run(const Model& model) {
  MlpRun run;
  run.shape = model.shape;
  run.loss = model.loss;
  run.optimizer = model.optimizer;
  run.schedule = model.schedule;
  run.batch_size = model.batch_size;
  run.learning_rate = model.learning_rate;
  run.weight_decay = model.weight_decay;
  run.precision = model.precision;
  return run;
}

std::vector<float> initial_parameters(const MlpShape& shape, std::uint64_t seed) {
  std::vector<float> parameters;
  parameters.reserve(static_cast<std::size_t>(parameter_count(shape)));
  int fan_in = feature_count(shape);
  for (int layer = 0; layer <= shape.hidden_layers; ++layer) {
    const bool hidden = layer < shape.hidden_layers;
    const int outputs = hidden ? shape.width : shape.outputs;
    const auto bound = static_cast<float>(1.0 / square_root(fan_in));
    const std::int64_t draws = static_cast<std::int64_t>(outputs) * (fan_in + 1);
    Words words{};
    for (std::int64_t i = 0; i < draws; ++i) {
      if (i % 4 == 0) {
        words =
            random_words(seed, Stream::weights, static_cast<std::uint64_t>(i / 4), static_cast<std::uint32_t>(layer));
      }
      parameters.push_back((2 * uniform_float(words[static_cast<int>(i % 4)]) - 1) * bound);  // 2 u - 1 is exact
    }
    if (hidden && shape.layer_norm) {
      parameters.insert(parameters.end(), static_cast<std::size_t>(shape.width), 1.0F);
      parameters.insert(parameters.end(), static_cast<std::size_t>(shape.width), 0.0F);
    }
    fan_in = shape.width;
  }
  return parameters;
}

}  // namespace scalelab::host
