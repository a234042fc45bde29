#include "kernels/kmeans_check.h"

#include <limits>
#include <stdexcept>
#include <string>

namespace scalelab {

namespace {

void require(bool condition, const std::string& what) {
  if (!condition) throw std::invalid_argument(what);
}

void check_points(const std::string& op, View<const float> points, View<const float> centroids) {
  constexpr std::int64_t kMost = std::numeric_limits<int>::max();
  const std::int64_t n = points.extent(0), k = centroids.extent(0);
  require(points.rank() == 2 && centroids.rank() == 2, op + ": points (n, d) and centroids (k, d) have two axes");
  require(points.extent(1) >= 1 && points.extent(1) == centroids.extent(1),
          op + ": points have " + std::to_string(points.extent(1)) + " features, centroids " +
              std::to_string(centroids.extent(1)));
  require(k >= 1, op + ": no centroids");
  require(n <= kMost && k <= kMost, op + ": more than 2^31 - 1 points or centroids");
}

void check_labels(const std::string& op, std::int64_t n, View<int> labels) {
  require(labels.size() == n,
          op + ": " + std::to_string(labels.size()) + " labels for " + std::to_string(n) + " points");
}

}  // namespace

void check_kmeans_assign(View<const float> points, View<const float> centroids, View<int> labels,
                         View<float> distances) {
  const std::int64_t n = points.extent(0);
  check_points("kmeans_assign", points, centroids);
  check_labels("kmeans_assign", n, labels);
  require(distances.empty() || distances.size() == n,
          "kmeans_assign: " + std::to_string(distances.size()) + " distances for " + std::to_string(n) + " points");
}

void check_kmeans_plus_plus(View<const float> points, std::int64_t n, View<float> centroids) {
  const std::int64_t k = centroids.extent(0);
  check_points("kmeans_plus_plus", points, centroids);
  require(k <= n, "kmeans_plus_plus: " + std::to_string(k) + " centroids of " + std::to_string(n) + " points");
}

void check_kmeans_fit(View<const float> points, std::int64_t n, View<float> centroids, View<int> labels,
                      const KmeansOptions& options) {
  const std::int64_t k = centroids.extent(0);
  check_points("kmeans_fit", points, centroids);
  check_labels("kmeans_fit", points.extent(0), labels);
  require(k <= n, "kmeans_fit: " + std::to_string(k) + " clusters of " + std::to_string(n) + " points");
  require(options.max_iterations >= 0, "kmeans_fit: max_iterations is negative");
  require(options.tolerance >= 0, "kmeans_fit: tolerance is negative or NaN");
}

}  // namespace scalelab
