#include "host/own_data/cluster_count.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "host/lab/row_scores.h"
#include "host/program/error.h"
#include "host/program/options.h"
#include "host/program/ranks.h"
#include "host/program/words.h"
#include "scalelab/random.h"

namespace scalelab::host {

const char* const kAutoClustersHelp =
    "--clusters auto takes, of 31 numbers from 2 to 91, that of the largest mean silhouette: how much\n"
    "nearer a row lies to its own cluster than to the next, 1 at most. It looks at 2,000 random rows at\n"
    "most, and tries each number, up to a quarter of these, by the best of three k-means of them.\n"
    "Below 0.25 the rows hardly fall into clusters, and other numbers do as well. It favours few, round\n"
    "clusters of like size, cannot say that there is only one, and does not see clusters that are too\n"
    "small for the sample.\n";

namespace {

constexpr int kStarts = 3;  // of k-means for each number: one alone may end in a poor place
constexpr int kLane = 1;    // of the random orders of rows: k-means begins with rows of lane 0

// Numbers to try with m rows: every one up to 16, then steps of about an eighth.
std::vector<int> candidates(std::int64_t m) {
  const auto most = static_cast<int>(std::min<std::int64_t>(kMostAutoClusters, m / 4));
  std::vector<int> numbers;
  for (int k = 2; k <= std::max(most, 2); k += std::max(1, k / 8)) numbers.push_back(k);
  return numbers;
}

// (m, m): Euclidean distances of all pairs, or 1 - cosine of rows of length 1; summed in fp64.
std::vector<float> all_distances(std::span<const float> rows, std::int64_t features, bool cosine, Stage& stage) {
  const std::size_t d = static_cast<std::size_t>(features), m = rows.size() / d;
  std::vector<float> columns(rows.size());  // (d, m): the inner loop goes over rows
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t c = 0; c < d; ++c) columns[c * m + i] = rows[i * d + c];
  }
  std::vector<float> distances(m * m);
  std::vector<double> squared(m);
  for (std::size_t i = 0; i < m; ++i) {
    if (i % 64 == 0)
      stage.part(static_cast<std::int64_t>(i), static_cast<std::int64_t>(i), static_cast<std::int64_t>(2 * m));
    std::fill(squared.begin(), squared.end(), 0);
    for (std::size_t c = 0; c < d; ++c) {
      const double own = rows[i * d + c];
      const float* const column = &columns[c * m];
      for (std::size_t j = i + 1; j < m; ++j) {
        const double step = own - column[j];
        squared[j] += step * step;
      }
    }
    for (std::size_t j = i + 1; j < m; ++j) {
      const double distance = cosine ? squared[j] / 2 : std::sqrt(squared[j]);
      distances[i * m + j] = distances[j * m + i] = static_cast<float>(distance);
    }
  }
  return distances;
}

// Labels of the best of kStarts k-means.
std::vector<int> best_labels(std::span<const float> rows, std::int64_t d, int k, bool cosine, std::uint64_t seed,
                             Session& session) {
  std::vector<int> labels;
  double least = std::numeric_limits<double>::infinity();
  for (int start = 0; start < kStarts; ++start) {
    const std::uint64_t own = seed + static_cast<std::uint64_t>(start);
    Prototypes found =
        cosine ? cosine_prototypes(rows, d, k, own, session) : euclidean_prototypes(rows, d, k, own, session);
    double inertia = 0;  // euclidean_prototypes gives roots
    for (const double distance : found.distances) inertia += cosine ? distance : distance * distance;
    if (!(inertia < least)) continue;
    least = inertia;
    labels = std::move(found.labels);
  }
  return labels;
}

}  // namespace

CLI::Option* add_cluster_count(CLI::App& app, int& clusters, const std::string& help) {
  const auto number = whole_number(1, INT32_MAX);
  const auto or_auto = [number](std::string& text) {
    if (text != "auto") {
      const std::string wrong = number(text);
      return wrong.empty() ? wrong : wrong + ", or auto";
    }
    text = std::to_string(kAutoClusters);
    return std::string();
  };
  return app.add_option("--clusters", clusters, help + "; auto: the number that suits the rows, see the end")
      ->transform(CLI::Validator(or_auto, ""))
      ->type_name("INT or {auto}")
      ->default_str("");
}

double ClusterCount::silhouette() const {
  const auto best = [&](const Tried& one) { return one.clusters == clusters; };
  return std::find_if(tried.begin(), tried.end(), best)->silhouette;
}

std::vector<int> sampled_rows(std::int64_t n, std::int64_t features, std::uint64_t seed) {
  constexpr double kMostSteps = 8e9;                  // of all distances: some seconds
  constexpr std::int64_t kMost = 2000, kLeast = 100;  // the distances of 2000 rows take 16 MB
  if (n < kFewestAutoRows) {
    throw Failure(kMisuse, fmt::format("--clusters auto: {} rows are too few to tell; give a number", n));
  }
  const auto affordable = static_cast<std::int64_t>(std::sqrt(kMostSteps / static_cast<double>(features)));
  const std::int64_t m = std::min(n, std::clamp(affordable, kLeast, kMost));
  std::vector<int> ids;
  for (std::int64_t i = 0; i < m; ++i) {
    ids.push_back(
        static_cast<int>(shuffled_index(static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(n), seed, kLane)));
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

double mean_silhouette(std::span<const float> distances, std::span<const int> labels, int clusters) {
  const std::size_t m = labels.size();
  std::vector<double> sizes(static_cast<std::size_t>(clusters));
  for (const int label : labels) ++sizes[static_cast<std::size_t>(label)];
  std::vector<double> sums(sizes.size());  // of a row's distances to each cluster
  double total = 0;
  for (std::size_t i = 0; i < m; ++i) {
    const auto own = static_cast<std::size_t>(labels[i]);
    if (sizes[own] <= 1) continue;
    std::fill(sums.begin(), sums.end(), 0);
    for (std::size_t j = 0; j < m; ++j) sums[static_cast<std::size_t>(labels[j])] += distances[i * m + j];
    const double within = sums[own] / (sizes[own] - 1);
    double next = std::numeric_limits<double>::infinity();
    for (std::size_t c = 0; c < sums.size(); ++c) {
      if (c != own && sizes[c] > 0) next = std::min(next, sums[c] / sizes[c]);
    }
    const double larger = std::max(within, next);
    if (larger > 0 && std::isfinite(next)) total += (next - within) / larger;
  }
  return total / static_cast<double>(m);
}

ClusterCount count_clusters(std::span<const float> sample, std::int64_t features, bool cosine, std::uint64_t seed,
                            Session& session) {
  const Alone alone(session.context);
  Stage stage(session, "number of clusters");
  ClusterCount count;
  count.sample = std::ssize(sample) / features;
  const std::vector<float> distances = all_distances(sample, features, cosine, stage);
  const std::vector<int> numbers = candidates(count.sample);
  const std::int64_t tries = std::ssize(numbers);
  for (const int k : numbers) {
    const std::int64_t done = tries + std::ssize(count.tried);  // the distances count for half
    stage.part(done, done + 1, 2 * tries);
    const std::vector<int> labels = best_labels(sample, features, k, cosine, seed, session);
    count.tried.push_back({k, mean_silhouette(distances, labels, k)});
    if (count.clusters == 0 || count.tried.back().silhouette > count.silhouette()) count.clusters = k;
  }
  return count;
}

std::string reason(const ClusterCount& count) {
  const double best = count.silhouette();
  // As Kaufman and Rousseeuw (1990) read it.
  const char* const structure = best > 0.7   ? "the rows fall into clear clusters"
                                : best > 0.5 ? "the rows fall into clusters"
                                : best > 0.25
                                    ? "the rows fall into clusters that are weak"
                                    : "the rows hardly fall into clusters, and other numbers do nearly as well";
  return fmt::format(
      "{} clusters have the largest mean silhouette, {:.2f}, of {} numbers from {} to {} tried on {} rows: {}",
      count.clusters, best, count.tried.size(), count.tried.front().clusters, count.tried.back().clusters,
      grouped(count.sample), structure);
}

nlohmann::json to_json(const ClusterCount& count) {
  nlohmann::json tried = nlohmann::json::array();
  for (const auto& one : count.tried) tried.push_back({{"clusters", one.clusters}, {"silhouette", one.silhouette}});
  return {{"rule", "largest mean silhouette"},
          {"sample", count.sample},
          {"silhouette", count.silhouette()},
          {"reason", reason(count)},
          {"tried", tried}};
}

}  // namespace scalelab::host
