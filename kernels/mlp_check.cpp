#include "kernels/mlp_check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernels/knn_check.h"

namespace scalelab {

namespace {

[[noreturn]] void refuse(const std::string& who, const std::string& what) {
  throw std::invalid_argument(who + ": " + what);
}

void require(bool good, const std::string& who, const std::string& what) {
  if (!good) refuse(who, what);
}

void require_equal(const std::string& who, const std::string& what, std::int64_t got, std::int64_t want) {
  if (got != want) refuse(who, what + " is " + std::to_string(got) + ", expected " + std::to_string(want));
}

void check_loss(const MlpLoss& loss, const std::string& who) {
  require(loss.focal_gamma >= 0 && std::isfinite(loss.focal_gamma), who, "focal_gamma must be finite and >= 0");
}

std::string name_of(std::size_t run) { return "mlp_train: run " + std::to_string(run); }

void check_run(const MlpRun& run, const std::string& who) {
  check_mlp_shape(run.shape, who);
  check_loss(run.loss, who);
  constexpr std::int64_t kMost = std::numeric_limits<int>::max();
  const std::int64_t n = run.inputs.extent(0), p = parameter_count(run.shape);
  require(!run.inputs.empty(), who, "no inputs");
  require_equal(who, "inputs per row", run.inputs.extent(1), run.shape.inputs);
  require(n <= kMost, who, "more than 2^31 - 1 inputs");
  require_equal(who, "number of labels", run.labels.size(), n);
  require(run.rows.size() <= kMost, who, "more than 2^31 - 1 rows");
  require_equal(who, "number of parameters", run.parameters.size(), p);
  if (!run.weight_mask.empty()) require_equal(who, "length of weight_mask", run.weight_mask.size(), p);
  require(run.epochs >= 0, who, "epochs must be >= 0");
  require(run.batch_size >= 0, who, "batch_size must be >= 0");
  const auto finite = [](float x) { return x >= 0 && std::isfinite(x); };
  require(finite(run.learning_rate), who, "learning_rate must be finite and >= 0");
  require(finite(run.weight_decay), who, "weight_decay must be finite and >= 0");
  require(run.momentum >= 0 && run.momentum < 1, who, "momentum must be in [0, 1)");
  require(run.beta1 >= 0 && run.beta1 < 1, who, "beta1 must be in [0, 1)");
  require(run.beta2 >= 0 && run.beta2 < 1, who, "beta2 must be in [0, 1)");
  require(finite(run.epsilon) && run.epsilon > 0, who, "epsilon must be finite and > 0");
  require(run.precision <= Precision::bf16, who, "unknown precision");
  const int epoch_end = epoch_end_of(run);
  require(run.epoch_begin >= 0 && run.epoch_begin <= epoch_end && epoch_end <= run.epochs, who,
          "epochs [" + std::to_string(run.epoch_begin) + ", " + std::to_string(epoch_end) + ") are not within 0 .. " +
              std::to_string(run.epochs));
  if (!run.state.empty()) {
    require_equal(who, "length of state", run.state.size(), 2 * p);
  } else {
    require(run.epoch_begin == 0 && epoch_end == run.epochs, who, "a run cut into calls needs `state`");
  }
  if (!run.epoch_losses.empty()) {
    require_equal(who, "length of epoch_losses", run.epoch_losses.size(), epoch_end - run.epoch_begin);
  }
  if (!run.diverged.empty()) require_equal(who, "length of diverged", run.diverged.size(), 1);
}

}  // namespace

void check_mlp_shape(const MlpShape& shape, const std::string& who) {
  const auto within = [&](const char* what, int got, int low, int high) {
    require(got >= low && got <= high, who,
            std::string(what) + " must be in " + std::to_string(low) + " .. " + std::to_string(high) + ", got " +
                std::to_string(got));
  };
  within("inputs", shape.inputs, 1, kMaxInputs);
  within("width", shape.width, 2, kMaxWidth);
  within("hidden_layers", shape.hidden_layers, 1, kMaxHiddenLayers);
  within("outputs", shape.outputs, 1, kMaxOutputs);
  require(shape.encoding <= Encoding::polar_trig, who, "unknown encoding");
  require(shape.activation <= Activation::gelu, who, "unknown activation");
  require(shape.encoding == Encoding::none || shape.inputs == 2, who,
          "a polar encoding needs 2 inputs, got " + std::to_string(shape.inputs));
}

void check_mlp_forward(const MlpShape& shape, View<const float> parameters, View<const float> inputs,
                       View<const float> scores) {
  const std::string who = "mlp_forward";
  check_mlp_shape(shape, who);
  const std::int64_t m = parameters.extent(0), n = inputs.extent(0);
  require_equal(who, "scores", scores.size(), parameters.empty() || inputs.empty() ? 0 : m * n * shape.outputs);
  if (scores.empty()) return;
  require_equal(who, "parameters per network", parameters.extent(1), parameter_count(shape));
  require_equal(who, "inputs per row", inputs.extent(1), shape.inputs);
  require_equal(who, "networks of scores", scores.extent(0), m);
  require_equal(who, "rows of scores", scores.extent(1), n);
}

void check_mlp_backward(const MlpShape& shape, const MlpLoss& loss, View<const float> parameters,
                        View<const float> inputs, View<const std::uint8_t> labels, View<const float> gradients,
                        View<const float> losses) {
  const std::string who = "mlp_backward";
  check_mlp_shape(shape, who);
  check_loss(loss, who);
  require_equal(who, "gradients", gradients.size(), parameters.size());
  if (parameters.empty()) return;
  const std::int64_t p = parameter_count(shape);
  require_equal(who, "parameters per network", parameters.extent(1), p);
  require(!inputs.empty(), who, "no inputs");
  require(inputs.extent(0) <= std::numeric_limits<int>::max(), who, "more than 2^31 - 1 inputs");
  require_equal(who, "inputs per row", inputs.extent(1), shape.inputs);
  require_equal(who, "number of labels", labels.size(), inputs.extent(0));
  require_equal(who, "gradients per network", gradients.extent(1), p);
  require_equal(who, "number of losses", losses.size(), parameters.extent(0));
}

void check_grid_mlp_labels(const MlpShape& shape, View<const float> parameters, const Grid& grid,
                           std::int64_t row_begin, View<const std::uint8_t> labels) {
  const std::string who = "grid_mlp_labels";
  check_mlp_shape(shape, who);
  require(shape.inputs == 2, who, "the network has " + std::to_string(shape.inputs) + " inputs, a grid needs 2");
  check_band(who.c_str(), grid, row_begin, labels.extent(1), labels.extent(2));
  const std::int64_t m = labels.extent(0), p = parameter_count(shape);
  require(labels.rank() == 3, who, "labels must be of shape (m, rows, G)");
  require(parameters.extent(0) == m && (m == 0 || parameters.extent(1) == p), who,
          "parameters are (" + std::to_string(parameters.extent(0)) + ", " + std::to_string(parameters.extent(1)) +
              "), expected (" + std::to_string(m) + ", " + std::to_string(p) + ")");
}

void check_mlp_runs(std::span<const MlpRun> runs) {
  std::vector<std::pair<const float*, std::size_t>> outputs;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    check_run(runs[i], name_of(i));
    outputs.emplace_back(runs[i].parameters.data(), i);
  }
  std::sort(outputs.begin(), outputs.end());
  for (std::size_t i = 1; i < outputs.size(); ++i) {
    const auto [before, first] = outputs[i - 1];
    if (outputs[i].first < before + runs[first].parameters.size()) {
      refuse(name_of(outputs[i].second), "its parameters overlap those of run " + std::to_string(first));
    }
  }
}

void refuse_mlp_row(std::size_t run, std::int64_t position, int row, std::int64_t n) {
  refuse(name_of(run), "rows[" + std::to_string(position) + "] = " + std::to_string(row) + " is not in 0 .. " +
                           std::to_string(n - 1));
}

}  // namespace scalelab
