// knn_peers: what knn_bench and grid_bench share: nanoflann on as many threads, the comparison of a peer's answers with
// ours, and the check of ours against every reference.
#pragma once

#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#if __has_include(<nanoflann.hpp>)
#include <nanoflann.hpp>
#define SCALELAB_HAS_NANOFLANN 1
#else
#define SCALELAB_HAS_NANOFLANN 0
#endif

namespace scalelab::bench {

// Calls body(begin, end) for as many equal parts of [0, count) as there are threads.
template <class Body>
void in_parallel(int threads, std::int64_t count, const Body& body) {
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i) {
    workers.emplace_back([&, i] { body(count * i / threads, count * (i + 1) / threads); });
  }
  for (std::thread& worker : workers) worker.join();
}

#if SCALELAB_HAS_NANOFLANN
// "1.4.3", of 0x143.
inline std::string nanoflann_version() {
  std::string digits;
  for (const int shift : {8, 4, 0}) {
    digits += (digits.empty() ? "" : ".") + std::to_string((NANOFLANN_VERSION >> shift) & 15);
  }
  return digits;
}

// A k-d tree of nanoflann with the leaf size that suits these data best.
template <int kFeatures>
class Nanoflann {
 public:
  Nanoflann(const std::vector<float>& points) : points_{points}, tree_(kFeatures, points_, {8}) { tree_.buildIndex(); }
  void ask(const float* query, int k, int* indices, float* distances) const {
    nanoflann::KNNResultSet<float, int> result(k);
    result.init(indices, distances);
    tree_.findNeighbors(result, query, {});
  }

 private:
  struct Points {
    const std::vector<float>& x;
    std::size_t kdtree_get_point_count() const { return x.size() / kFeatures; }
    float kdtree_get_pt(std::size_t i, std::size_t c) const { return x[i * kFeatures + c]; }
    template <class Box>
    bool kdtree_get_bbox(Box&) const {
      return false;
    }
  };
  Points points_;
  nanoflann::KDTreeSingleIndexAdaptor<nanoflann::L2_Simple_Adaptor<float, Points>, Points, kFeatures, int> tree_;
};
#endif

// How many of a peer's neighbours differ from ours, and how many of those by more than rounding explains: the two
// distances, in fp64, must be within the rounding of `terms` operations on `magnitude(query, reference)`, which is the
// distance itself for peers that subtract first, and |q|^2 + |p|^2 for those that expand the square.
inline std::string compare_neighbours(const std::vector<float>& references, const std::vector<float>& queries,
                                      std::int64_t d, std::int64_t k, const std::vector<int>& ours,
                                      const std::vector<int>& theirs, bool expanded) {
  std::int64_t differ = 0, unexplained = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    if (ours[i] == theirs[i]) continue;
    ++differ;
    const float* query = &queries[static_cast<std::int64_t>(i) / k * d];
    const auto distance = [&](int r, double& scale) {
      double sum = 0;
      for (std::int64_t c = 0; c < d; ++c) {
        const double q = query[c], p = references[r * d + c];
        sum += (q - p) * (q - p);
        scale += expanded ? q * q + p * p : (q - p) * (q - p);
      }
      return sum;
    };
    double scale = 0;
    const double a = distance(ours[i], scale), b = distance(theirs[i], scale);
    unexplained += !(std::abs(a - b) <= 2 * static_cast<double>(d + 3) * 0x1p-24 * scale);
  }
  return fmt::format("{} of {} neighbours differ, {} by more than its rounding explains", differ, ours.size(),
                     unexplained);
}

inline std::string compare_labels(const std::vector<std::uint8_t>& ours, const std::vector<std::uint8_t>& theirs) {
  std::int64_t differ = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) differ += ours[i] != theirs[i];
  return fmt::format("{} of {} labels differ", differ, ours.size());
}

// The k nearest of all references by (distance, index), with the canonical distance of knn.h.
inline std::vector<int> nearest_by_search(const std::vector<float>& references, std::int64_t d, const float* query,
                                          std::int64_t k) {
  const std::int64_t n = static_cast<std::int64_t>(references.size()) / d;
  std::vector<std::pair<float, int>> all(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    float s = 0;
    for (std::int64_t c = 0; c < d; ++c) {
      const float t = query[c] - references[static_cast<std::size_t>(i * d + c)];
      s = std::fma(t, t, s);
    }
    all[static_cast<std::size_t>(i)] = {s, static_cast<int>(i)};
  }
  std::partial_sort(all.begin(), all.begin() + k, all.end());
  std::vector<int> ids;
  for (std::int64_t j = 0; j < k; ++j) ids.push_back(all[static_cast<std::size_t>(j)].second);
  return ids;
}

}  // namespace scalelab::bench
