// mlp_check: the arguments of the network ops against mlp.h, the same on every backend. Only what Views say of
// themselves is looked at, never the memory behind them.
#pragma once

#include <span>
#include <string>

#include "scalelab/grid.h"

namespace scalelab {

// Each throws std::invalid_argument, its text beginning with the op's name (and for a run, which).
void check_mlp_shape(const MlpShape& shape, const std::string& who);
void check_mlp_forward(const MlpShape& shape, View<const float> parameters, View<const float> inputs,
                       View<const float> scores);
void check_mlp_backward(const MlpShape& shape, const MlpLoss& loss, View<const float> parameters,
                        View<const float> inputs, View<const std::uint8_t> labels, View<const float> gradients,
                        View<const float> losses);
void check_grid_mlp_labels(const MlpShape& shape, View<const float> parameters, const Grid& grid,
                           std::int64_t row_begin, View<const std::uint8_t> labels);
void check_mlp_runs(std::span<const MlpRun> runs);
// For the backend to call when rows[position] = row of run `run` is not among its n inputs.
[[noreturn]] void refuse_mlp_row(std::size_t run, std::int64_t position, int row, std::int64_t n);

// The epoch behind the last one that a run asks for.
inline int epoch_end_of(const MlpRun& run) { return run.epoch_end < 0 ? run.epochs : run.epoch_end; }
// r, the rows of an epoch.
inline std::int64_t row_count(const MlpRun& run) { return run.rows.empty() ? run.inputs.extent(0) : run.rows.size(); }

}  // namespace scalelab
