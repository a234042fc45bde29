#include "host/lab/trial_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "host/lab/model.h"
#include "host/lab/trial.h"
#include "host/program/words.h"
#include "scalelab/grid.h"
#include "scalelab/mlp.h"

namespace scalelab::host {

namespace {

constexpr const char* kDataGroup = "Data";
constexpr const char* kModelGroup = "Model and training";
constexpr const char* kChoiceGroup = "Difficulty";
constexpr const char* kMeasureGroup = "Measured on";

constexpr const char* kNetworks =
    "  mlp-xy         network on the coordinates; the only encoding of data with other than 2 features\n"
    "  mlp-polar      network on radius and angle; mlp-polar-raw, mlp-polar-trig: other forms of it\n"
    "  A network's name may be followed by +focal (focal loss), +layer-norm, +weight-decay, +extras (all\n"
    "  three), +sgd (full-batch gradient descent)\n";

}  // namespace

const std::string kNetworksHelp = std::string("Models, all of them networks:\n") + kNetworks;

const std::string kModelsHelp =
    std::string(
        "Models:\n"
        "  knn-K          vote of the K nearest training points; knn-K@polar, @polar-raw, @polar-trig:\n"
        "                 nearest in radius and angle, as the network of that name is given them;\n"
        "                 knn-K@polar:W multiplies the angle by W\n") +
    kNetworks;

const char* const kScoresHelp =
    "Scores of difficulty (a row is hard where the score is high):\n"
    "  margin         nearness to the true boundary, which is known of the built-in problems alone\n"
    "  boundary       nearness to a row with another label, by rank among the nearest rows\n"
    "  kmeans         distance to the nearest of --clusters centroids; needs no labels\n"
    "  kmeans-cosine  the same by 1 - cosine, on rows of length 1\n"
    "  class-mean     distance to the mean of the row's class\n"
    "  el2n           distance of a network's output to the label after a tenth of its training\n"
    "  forgetting     how often a network in training goes from right to wrong on the row\n"
    "  ddd            of 10 networks trained on random halves, how many misclassify the row unseen\n";

const char* const kOrdersHelp =
    "Orders (of every class alike; all but the growing ones see every row equally often):\n"
    "  random         mixed anew in every pass: what the others are held against\n"
    "  curriculum     the easier half in all passes, then the harder half in as many\n"
    "  anti           the harder half first\n"
    "  growing        a pool that grows from the easiest tenth to all rows by the middle\n"
    "  growing-anti   the same from the hardest\n"
    "  sorted         every pass from easy to hard\n"
    "  sorted-anti    every pass from hard to easy\n";

const char* const kTicketsHelp =
    "Networks (each level of pruning leaves 0.8 of the weights that the level before left, the largest):\n"
    "  dense          the whole network, level 0\n"
    "  rewound        the ticket: the weights that are left, back at their start and trained again\n"
    "  fine-tuned     a chain of its own, whose weights go on from their trained values\n"
    "  dense-long     never pruned, trained as often as the fine-tuned one\n"
    "  restarted      the ticket's weights at another start\n"
    "  random-mask    as many weights in each layer as the ticket has, chosen at random\n"
    "  small-dense    a narrower network with about as many parameters\n";

CLI::Option* add_data(CLI::App& app, std::string& data, std::string& labels) {
  app.add_option("--labels", labels, "File of the labels of --data, where the data do not bring them")
      ->group(kDataGroup);
  return app
      .add_option("--data", data,
                  "Labelled points of your own: .npy, IDX or text, see the end; each seed holds out a fifth for the "
                  "test; or fashion-mnist, with its own test set")
      ->group(kDataGroup);
}

CLI::Option* add_n(CLI::App& app, std::int64_t& n) {
  return app.add_option("--n", n, "Training points")->check(whole_number(2, kMostPoints))->group(kDataGroup);
}

CLI::Option* add_sizes(CLI::App& app, std::string& sizes) {
  return add_list(app, "--sizes", sizes, 1, kMostPoints, "Numbers of training points, before any choice")
      ->group(kDataGroup);
}

CLI::Option* add_worlds(CLI::App& app, std::string& worlds) {
  return add_list(
             app, "--worlds", worlds, 0, UINT32_MAX,
             "Mixtures that the spiral's points come from, as 0..19: 0 the built-in one; over several the worlds are "
             "what is independent")
      ->group(kDataGroup);
}

CLI::Option* add_seeds(CLI::App& app, std::string& seeds) {
  return add_list(app, "--seeds", seeds, 0, UINT32_MAX,
                  "Repetitions: each seed draws its own points, start and shuffles, as 0..4,7")
      ->group(kDataGroup);
}

CLI::Option* add_noise(CLI::App& app, double& noise) {
  return app.add_option("--noise", noise, "Probability that a training label of the spiral is flipped")
      ->check(real_number(0, 0.5))
      ->group(kDataGroup);
}

CLI::Option* add_dimension(CLI::App& app, int& dimension) {
  return app.add_option("--dimension", dimension, "Of the perceptron's inputs")->check(whole_number(2, 10000));
}

CLI::Option* add_model(CLI::App& app, std::string& model) {
  return app.add_option("--model", model, "knn-K, mlp-xy, mlp-polar, ..., see the end")->group(kModelGroup);
}

CLI::Option* add_width(CLI::App& app, int& width) {
  return app.add_option("--width", width, "Units in each hidden layer")
      ->check(whole_number(2, kMaxWidth))
      ->group(kModelGroup);
}

CLI::Option* add_widths(CLI::App& app, std::vector<int>& widths) {
  return add_list(app, "--widths", widths, 2, kMaxWidth, "Units in each hidden layer")->group(kModelGroup);
}

CLI::Option* add_hidden_layers(CLI::App& app, int& hidden_layers) {
  return app.add_option("--hidden-layers", hidden_layers, fmt::format("Hidden layers, 1 to {}", kMaxHiddenLayers))
      ->check(whole_number(1, kMaxHiddenLayers))
      ->group(kModelGroup);
}

CLI::Option* add_epochs(CLI::App& app, int& epochs) {
  return app.add_option("--epochs", epochs, "Passes over the training points")
      ->check(whole_number(1, kMostEpochs))
      ->group(kModelGroup);
}

CLI::Validator precision_name() { return one_of({kPrecisions.begin(), kPrecisions.end()}); }

CLI::Option* add_precision(CLI::App& app, std::string& precision) {
  return app.add_option("--precision", precision, kPrecisionHelp)->check(precision_name())->group(kModelGroup);
}

CLI::Option* add_score(CLI::App& app, std::string& score) {
  return app.add_option("--score", score, "What makes a row hard, see the end")->group(kChoiceGroup);
}

CLI::Option* add_scores(CLI::App& app, std::vector<std::string>& scores) {
  return add_list(app, "--scores", scores, {}, "What makes a row hard, see the end")->group(kChoiceGroup);
}

CLI::Option* add_clusters(CLI::App& app, int& clusters) {
  return app.add_option("--clusters", clusters, "k of the scores that cluster")
      ->check(whole_number(1, kMostClusters))
      ->group(kChoiceGroup);
}

CLI::Option* add_clusters(CLI::App& app, std::vector<int>& clusters) {
  return add_list(app, "--clusters", clusters, 1, kMostClusters,
                  "k of the scores that cluster; one above the number of points is left out")
      ->group(kChoiceGroup);
}

CLI::Option* add_fractions(CLI::App& app, std::vector<double>& fractions) {
  return add_list(app, "--fractions", fractions, 1e-4, 1, "Shares of the points that are kept")->group(kChoiceGroup);
}

CLI::Option* add_keeps(CLI::App& app, std::vector<std::string>& keeps, const std::vector<std::string>& known) {
  return add_list(app, "--keep", keeps, known,
                  fmt::format("Which rows are kept, each in turn: {}", fmt::join(known, ", ")))
      ->group(kChoiceGroup);
}

CLI::Option* add_grid(CLI::App& app, std::int64_t& grid) {
  return app.add_option("--grid", grid, "Cells along each side of the grid that the spiral's grid error is counted on")
      ->check(whole_number(16, kMaxGrid))
      ->group(kMeasureGroup);
}

CLI::Option* add_density_points(CLI::App& app, std::int64_t& points) {
  return app
      .add_option(
          "--density-points", points,
          "Fresh draws that the spiral's density error is counted on; without it the label map is weighted by the "
          "mixture's density, which has no sampling noise")
      ->check(whole_number(0, kMostPoints))
      ->default_str("")
      ->group(kMeasureGroup);
}

}  // namespace scalelab::host
