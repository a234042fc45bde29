#include "host/lab/trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <limits>
#include <string_view>

#include "host/data/source.h"
#include "host/lab/difficulty.h"
#include "host/lab/lottery.h"
#include "host/lab/model.h"
#include "host/lab/visit_order.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/input.h"
#include "scalelab/grid.h"

namespace scalelab::host {

namespace {

constexpr std::array kKeeps = {"all", "hard", "easy", "random"};
constexpr std::array kFeatures = {"input", "hidden"};

// "none", and the scores of difficulty but for `random`, which is a choice of its own.
const std::vector<const char*>& scores() {
  static const std::vector<const char*> words = [] {
    std::vector<const char*> list = {"none"};
    for (const ScoreKind& kind : score_kinds()) {
      if (kind.name != std::string_view("random")) list.push_back(kind.name);
    }
    return list;
  }();
  return words;
}

// "shuffled", and the orders of a whole run.
const std::vector<const char*>& orders() {
  static const std::vector<const char*> words = [] {
    std::vector<const char*> list = {"shuffled"};
    list.insert(list.end(), kVisitOrders.begin(), kVisitOrders.end());
    return list;
  }();
  return words;
}

[[noreturn]] void refuse(const std::string& member, const std::string& why) {
  throw Failure(kMisuse, fmt::format("trial: '{}' {}", member, why));
}

template <std::integral T>
void read(const nlohmann::json& value, const char* name, T& out, double low, double high) {
  const bool whole = value.is_number_integer() ||
                     (value.is_number() && std::floor(value.get<double>()) == value.get<double>());  // 1e6
  const double number = value.is_number() ? value.get<double>() : std::nan("");
  if (!whole || !(number >= low && number <= high)) {
    refuse(name, fmt::format("must be a whole number from {:.0f} to {:.0f}, and is {}", low, high, value.dump()));
  }
  out = value.is_number_integer() ? value.get<T>() : static_cast<T>(number);
}

void read(const nlohmann::json& value, const char* name, double& out, double low, double high) {
  const double number = value.is_number() ? value.get<double>() : std::nan("");
  if (!(number >= low && number <= high)) {
    refuse(name, fmt::format("must be a number from {:g} to {:g}, and is {}", low, high, value.dump()));
  }
  out = number;
}

void read(const nlohmann::json& value, const char* name, std::string& out, std::span<const char* const> words) {
  if (value.is_string()) {
    out = value.get<std::string>();
    if (words.empty()) return;
    for (const char* word : words) {
      if (out == word) return;
    }
  }
  refuse(name, words.empty() ? fmt::format("must be a text, and is {}", value.dump())
                             : fmt::format("must be one of {}, and is {}", fmt::join(words, ", "), value.dump()));
}

// null leaves open what may be.
template <class T, class... MayBe>
void read(const nlohmann::json& value, const char* name, std::optional<T>& out, const MayBe&... may_be) {
  out.reset();
  if (!value.is_null()) read(value, name, out.emplace(), may_be...);
}

template <class T, class Visit>
void each_training_member(T& training, Visit&& visit) {
  visit("learning_rate", training.learning_rate, 0, 1000);
  visit("batch_size", training.batch_size, 0, 2147483647.0);
  visit("weight_decay", training.weight_decay, 0, 1000);
  visit("optimizer", training.optimizer, kOptimizers);
  visit("schedule", training.schedule, kSchedules);
  visit("focal_gamma", training.focal_gamma, 0, 100);
  visit("activation", training.activation, kActivations);
}

// Every member of a trial, with its name and what it may be: visit(name, member, range or words).
template <class T, class Visit>
void each_member(T& trial, Visit&& visit) {
  const std::span<const char* const> any;
  visit("data", trial.data, any);
  visit("labels", trial.labels, any);
  visit("fingerprint", trial.fingerprint, any);
  visit("n", trial.n, 1, 1e9);
  visit("world", trial.world, 0, 4294967295.0);
  visit("seed", trial.seed, 0, 4294967295.0);
  visit("start", trial.start, 0, 1e6);
  visit("noise", trial.noise, 0, 1);
  visit("dimension", trial.dimension, 0, 10000);
  visit("model", trial.model, any);
  visit("width", trial.width, 0, kMaxWidth);
  visit("hidden_layers", trial.hidden_layers, 0, kMaxHiddenLayers);
  visit("epochs", trial.epochs, 0, kMostEpochs);
  visit("precision", trial.precision, kPrecisions);
  each_training_member(trial.training, visit);
  visit("keep", trial.keep, kKeeps);
  visit("score", trial.score, scores());
  visit("fraction", trial.fraction, 0, 1);
  visit("clusters", trial.clusters, 0, kMostClusters);
  visit("features", trial.features, kFeatures);
  visit("class_floor", trial.class_floor, 0, 1);
  visit("probe_angle", trial.probe_angle, 0, 90);
  visit("order", trial.order, orders());
  visit("ticket", trial.ticket, kTicketKinds);
  visit("level", trial.level, 0, kMaxLotteryLevel);
  visit("grid", trial.grid, 0, static_cast<double>(kMaxGrid));
  visit("density_points", trial.density_points, 0, 1e8);
  visit("test_seed", trial.test_seed, 0, 9.2e18);
}

}  // namespace

bool Trial::is_knn() const { return model.starts_with("knn-"); }
bool Trial::is_network() const { return model.starts_with("mlp-"); }
bool Trial::is_spiral() const { return data == "spiral"; }
bool Trial::is_file() const { return data != "spiral" && data != "perceptron"; }
// Bits 32 to 39 are for the draws of scores and tickets (difficulty.h, lottery.h).
std::uint64_t Trial::start_seed() const { return seed | start << 40; }

namespace {

template <class T>
void put(nlohmann::json& object, const char* name, const T& member) {
  object[name] = member;
}
template <class T>
void put(nlohmann::json& object, const char* name, const std::optional<T>& member) {
  if (member) object[name] = *member;
}

// A number of fp32 as people write it: 0.003.
double decimal(float value) { return std::stod(fmt::format("{}", value)); }

// How a model trains.
Training training_of(const Model& model) {
  const auto word = [](const auto& words, auto value) -> std::string { return words[static_cast<std::size_t>(value)]; };
  return {.learning_rate = decimal(model.learning_rate),
          .weight_decay = decimal(model.weight_decay),
          .batch_size = model.batch_size,
          .optimizer = word(kOptimizers, model.optimizer),
          .schedule = word(kSchedules, model.schedule),
          .focal_gamma = decimal(model.loss.focal_gamma),
          .activation = word(kActivations, model.shape.activation)};
}

// How a network of this trial's model trains by itself.
nlohmann::json own_training(const Trial& trial) {
  nlohmann::json object = nlohmann::json::object();
  const Training own = training_of(parse_model(trial.is_network() ? trial.model : "mlp-xy"));
  each_training_member(own, [&](const char* name, const auto& member, auto&&...) { put(object, name, member); });
  return object;
}

template <class Words>
auto number_of(const Words& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) - words.begin();
}

void train_as(const Training& training, Model& model) {
  if (training.learning_rate) model.learning_rate = static_cast<float>(*training.learning_rate);
  if (training.weight_decay) model.weight_decay = static_cast<float>(*training.weight_decay);
  if (training.batch_size) model.batch_size = *training.batch_size;
  if (training.optimizer) model.optimizer = static_cast<Optimizer>(number_of(kOptimizers, *training.optimizer));
  if (training.schedule) model.schedule = static_cast<Schedule>(number_of(kSchedules, *training.schedule));
  if (training.focal_gamma) model.loss.focal_gamma = static_cast<float>(*training.focal_gamma);
  if (training.activation) {
    model.shape.activation = static_cast<Activation>(number_of(kActivations, *training.activation));
  }
}

}  // namespace

nlohmann::json member_value(const Trial& trial, const std::string& member) {
  const nlohmann::json given = to_json(trial), none;
  const auto found = given.find(member);
  if (found != given.end()) return *found;
  return trial.is_network() ? own_training(trial).value(member, none) : none;
}

nlohmann::json to_json(const Trial& trial) {
  nlohmann::json object = nlohmann::json::object();
  each_member(trial, [&](const char* name, const auto& member, auto&&...) { put(object, name, member); });
  return object;
}

Trial trial_from_json(const nlohmann::json& object) {
  if (!object.is_object()) throw Failure(kMisuse, "trial: is not a JSON object");
  Trial trial;
  std::size_t known = 0;
  each_member(trial, [&](const char* name, auto& member, auto&&... may_be) {
    const auto found = object.find(name);
    if (found == object.end()) return;
    ++known;
    read(*found, name, member, may_be...);
  });
  if (known == object.size()) return trial;
  for (const auto& [key, value] : object.items()) {
    const auto& names = member_names();
    if (std::find(names.begin(), names.end(), key) == names.end())
      throw Failure(kMisuse, "trial: " + not_known(key, member_names()));
  }
  return trial;
}

const std::vector<std::string>& member_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    Trial trial;
    each_member(trial, [&](const char* name, auto&&...) { list.emplace_back(name); });
    return list;
  }();
  return names;
}

Trial resolved(Trial trial) {
  // The problem and its model.
  if (trial.data == "perceptron") {
    if (trial.dimension == 0) trial.dimension = 200;
    if (trial.dimension < 2) refuse("dimension", "must be at least 2");
    trial.model = "perceptron";
  } else {
    if (trial.dimension != 0) refuse("dimension", "is for the perceptron alone");
    if (trial.model == "perceptron") refuse("model", "'perceptron' needs data = perceptron");
    const Model model = parse_model(trial.model);
    trial.model = model.name;
    if (model.is_knn() && trial.keep == "all" && model.neighbours > trial.n) {
      refuse("model", fmt::format("{} asks for more neighbours than there are points (n = {})", model.name, trial.n));
    }
  }
  // A network's shape and training, which another model has not.
  if (trial.is_network()) {
    if (trial.width < 2) refuse("width", fmt::format("must be from 2 to {}", kMaxWidth));
    if (trial.hidden_layers < 1) refuse("hidden_layers", fmt::format("must be from 1 to {}", kMaxHiddenLayers));
    if (trial.epochs < 1) refuse("epochs", "must be at least 1");
  } else {
    if (trial.order != "shuffled") refuse("order", fmt::format("is for networks, and the model is {}", trial.model));
    if (trial.ticket != "dense") refuse("ticket", fmt::format("is for networks, and the model is {}", trial.model));
    trial.start = 0;
    // A score may train networks of its own (el2n, forgetting, ddd, hidden features): then their shape counts.
    const bool trains =
        trial.score == "el2n" || trial.score == "forgetting" || trial.score == "ddd" || trial.features == "hidden";
    if (!trains) {
      trial.width = trial.hidden_layers = trial.epochs = 0;
      trial.precision = "fp32";
      trial.training = {};
    }
  }
  if (trial.training.learning_rate == 0) refuse("learning_rate", "must be above 0");
  // What only the spiral has, and what only a file has.
  if (!trial.is_spiral()) {
    if (trial.noise != 0) refuse("noise", "is for the spiral alone");
    if (trial.world != 0) refuse("world", "is for the spiral alone");
    trial.grid = trial.density_points = 0;
  } else if (trial.grid < 1) {
    refuse("grid", "must be at least 1 for the spiral");
  }
  if (trial.density_points == 0) trial.test_seed = 0;
  if (!trial.is_file() && !trial.labels.empty())
    refuse("labels", "are for data in a file, and the data are " + trial.data);
  if (trial.is_file() && trial.fingerprint.empty())
    trial.fingerprint = fingerprint_of(Source{trial.data, trial.labels});

  // Which rows are kept, in which order they are shown, and the score that either needs.
  const bool scored = trial.keep == "hard" || trial.keep == "easy";
  const bool ordered = trial.order != "shuffled" && trial.order != "random";
  if (trial.keep == "all") trial.fraction = 1;
  if (trial.keep != "all" && !(trial.fraction > 0)) refuse("fraction", "must be above 0");
  if (!scored) trial.class_floor = kClassFloor;
  if (!scored && !ordered) {
    trial.score = "none";
    trial.features = "input";
    trial.probe_angle = 0;
  } else if (trial.score == "none") {
    refuse("score", fmt::format("is missing: '{}' must know what is hard", scored ? "keep" : "order"));
  }
  if (trial.score == "margin" && trial.is_file()) {
    refuse("score", "'margin' is the distance to the true boundary, which is not known of a file");
  }
  if (trial.data == "perceptron" && scored && trial.score != "margin") {
    refuse("score", "must be 'margin' for the perceptron");
  }
  if (trial.data != "perceptron" || trial.score != "margin") trial.probe_angle = 0;
  const bool clusters = trial.score == "kmeans" || trial.score == "kmeans-cosine";
  if (!clusters) trial.clusters = 0;
  if (clusters && trial.clusters == 0) trial.clusters = 100;
  if (trial.clusters > trial.n) {
    refuse("clusters", fmt::format("are {} and there are {} points: ask for fewer", trial.clusters, trial.n));
  }
  // Level 0 of every ticket is the dense network.
  if (trial.level == 0) trial.ticket = "dense";
  if (trial.ticket == "dense") trial.level = 0;
  if (trial.ticket != "dense" && trial.order != "shuffled") refuse("ticket", "needs order = shuffled");
  return trial;
}

Model network_of(const Trial& trial, const std::string& name, int features, int classes) {
  Model model = parse_model(name);
  model.shape.inputs = features;
  model.shape.width = trial.width;
  model.shape.hidden_layers = trial.hidden_layers;
  model.shape.outputs = classes == 2 ? 1 : classes;
  model.precision = parse_precision(trial.precision);
  train_as(trial.training, model);
  return model;
}

std::string trial_id(const Trial& trial) {
  nlohmann::json object = to_json(trial);
  if (trial.is_file()) object.erase("data");  // their fingerprint says what they are, wherever they lie
  object.erase("labels");
  if (trial.precision == "fp32") object.erase("precision");
  for (const char* seed : {"world", "start", "test_seed"}) {
    if (object.at(seed) == 0) object.erase(seed);
  }
  if (trial.class_floor == kClassFloor) object.erase("class_floor");
  if (trial.training != Training{}) {
    const nlohmann::json own = own_training(trial);
    for (const auto& [name, value] : own.items()) {
      if (object.contains(name) && object[name] == value) object.erase(name);
    }
  }
  if (trial.is_file()) object["split"] = "by seed";  // what earlier versions held out was the same for every seed
  object["numerics"] = kNumerics;
  return fingerprint_of_text(object.dump());
}

}  // namespace scalelab::host
