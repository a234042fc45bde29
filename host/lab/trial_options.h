// trial_options: the options that set members of Trial (trial.h), each worded and bounded here alone. Where a command
// sweeps over a member, its option is the plural and takes a list.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "host/program/options.h"

namespace scalelab::host {

// Data.
// --data and --labels (source.h), in place of the command's own problem.
CLI::Option* add_data(CLI::App& app, std::string& data, std::string& labels);
CLI::Option* add_n(CLI::App& app, std::int64_t& n);
CLI::Option* add_sizes(CLI::App& app, std::string& sizes);
CLI::Option* add_worlds(CLI::App& app, std::string& worlds);
CLI::Option* add_seeds(CLI::App& app, std::string& seeds);
CLI::Option* add_noise(CLI::App& app, double& noise);
CLI::Option* add_dimension(CLI::App& app, int& dimension);  // of the perceptron

// Models and their training.
CLI::Option* add_model(CLI::App& app, std::string& model);
CLI::Option* add_width(CLI::App& app, int& width);
CLI::Option* add_widths(CLI::App& app, std::vector<int>& widths);
CLI::Option* add_hidden_layers(CLI::App& app, int& hidden_layers);
CLI::Option* add_epochs(CLI::App& app, int& epochs);
CLI::Option* add_precision(CLI::App& app, std::string& precision);
CLI::Validator precision_name();
inline constexpr const char* kPrecisionHelp =
    "In which networks train: fp32, bf16x3 (tensor cores, close to fp32) or bf16 (tensor cores); the CPU emulates the "
    "last two, slower";

// Choice of rows.
CLI::Option* add_score(CLI::App& app, std::string& score);
CLI::Option* add_scores(CLI::App& app, std::vector<std::string>& scores);
CLI::Option* add_clusters(CLI::App& app, int& clusters);
CLI::Option* add_clusters(CLI::App& app, std::vector<int>& clusters);
CLI::Option* add_fractions(CLI::App& app, std::vector<double>& fractions);
CLI::Option* add_keeps(CLI::App& app, std::vector<std::string>& keeps, const std::vector<std::string>& known);

// What errors are counted on.
CLI::Option* add_grid(CLI::App& app, std::int64_t& grid);
CLI::Option* add_density_points(CLI::App& app, std::int64_t& points);

// What names mean, for the end of a command's help: of models, of those of them that are networks, of scores, of orders
// (visit_order.h) and of tickets (lottery.h).
extern const std::string kModelsHelp, kNetworksHelp;
extern const char* const kScoresHelp;
extern const char* const kOrdersHelp;
extern const char* const kTicketsHelp;

}  // namespace scalelab::host
