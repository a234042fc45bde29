#include "host/lab/directions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "host/program/error.h"

namespace scalelab::host {

namespace {

// A Context whose ops report to somewhere else meanwhile.
class ReportsTo {
 public:
  using Report = std::function<void(std::int64_t, std::int64_t)>;
  ReportsTo(Context& context, Report report)
      : context_(context), before_(std::exchange(context.progress, std::move(report))) {}
  ~ReportsTo() { context_.progress = std::move(before_); }
  ReportsTo(const ReportsTo&) = delete;
  ReportsTo& operator=(const ReportsTo&) = delete;
  void before(std::int64_t done, std::int64_t total) const {
    if (before_) before_(done, total);
  }

 private:
  Context& context_;
  Report before_;
};

// Rows of `moved` that are all zeros, as the mean of opposite rows is, become those of `before`.
void keep_directions(std::span<const float> before, std::span<float> moved, std::int64_t features) {
  for (std::int64_t begin = 0; begin < std::ssize(moved); begin += features) {
    const auto row = moved.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(features));
    if (std::any_of(row.begin(), row.end(), [](float value) { return value != 0; })) continue;
    std::copy_n(before.begin() + begin, features, row.begin());
  }
}

}  // namespace

void scale_to_unit(std::span<float> rows, std::int64_t features) {
  for (std::size_t begin = 0; begin < rows.size(); begin += static_cast<std::size_t>(features)) {
    const auto row = rows.subspan(begin, static_cast<std::size_t>(features));
    double squares = 0;
    for (const float value : row) squares += static_cast<double>(value) * value;
    if (squares == 0) continue;
    const double length = std::sqrt(squares);
    for (float& value : row) value = static_cast<float>(value / length);
  }
}

std::vector<float> unit_rows(std::span<const float> rows, std::int64_t features) {
  std::vector<float> unit(rows.begin(), rows.end());
  scale_to_unit(unit, features);
  return unit;
}

void make_one_minus_cosine(std::span<float> squared) {
  for (float& distance : squared) distance *= 0.5F;  // |a - b|^2 = 2 (1 - a.b)
}

void require_directions(std::span<const float> rows, std::int64_t features, std::int64_t first, const std::string& file,
                        const std::string& instead) {
  for (std::int64_t row = 0; row * features < std::ssize(rows); ++row) {
    const auto begin = rows.begin() + row * features;
    if (std::any_of(begin, begin + features, [](float value) { return value != 0; })) continue;
    throw Failure(kBadData, fmt::format("{}: row {} is all zeros and has no direction; take it out, or use {}", file,
                                        first + row, instead));
  }
}

KmeansResult spherical_fit(View<const float> unit, View<float> centroids, View<int> labels,
                           const KmeansOptions& options, Context& context) {
  const std::int64_t d = unit.extent(1);
  const Backend& backend = context.backend();
  std::vector<float> at(static_cast<std::size_t>(centroids.size())), moved(at.size());
  const std::size_t bytes = at.size() * sizeof(float);
  backend.download(at.data(), centroids.data(), bytes, context);
  KmeansResult fit;
  KmeansOptions one_step{.max_iterations = 1, .tolerance = 0, .after_iteration = {}};
  const ReportsTo progress(context, [&](std::int64_t done, std::int64_t total) {
    progress.before(fit.iterations * total + done, options.max_iterations * total);
  });
  while (fit.iterations < options.max_iterations && !fit.converged) {
    fit.repaired += backend.kmeans_fit(unit, centroids, labels, one_step, context).repaired;
    ++fit.iterations;
    backend.download(moved.data(), centroids.data(), bytes, context);
    scale_to_unit(moved, d);
    keep_directions(at, moved, d);
    double movement = 0;
    for (std::size_t i = 0; i < moved.size(); ++i) {
      const double step = static_cast<double>(moved[i]) - at[i];
      movement += step * step;
    }
    std::swap(at, moved);
    backend.upload(centroids.data(), at.data(), bytes, context);
    fit.converged = movement <= options.tolerance / static_cast<double>(d);
    if (options.after_iteration) options.after_iteration(fit);
  }
  one_step.max_iterations = 0;  // labels and inertia of the centroids as they are
  fit.inertia = backend.kmeans_fit(unit, centroids, labels, one_step, context).inertia / 2;
  return fit;
}

}  // namespace scalelab::host
