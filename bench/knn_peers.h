// knn_peers: what knn_bench and grid_bench share: nanoflann on as many threads, files for bench/peers/knn.py, and the
// comparison of a peer's answers with ours.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "bench/bench.h"

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

class PeerFolder {
 public:
  PeerFolder() : path_(std::filesystem::temp_directory_path() / fmt::format("scalelab_knn_{}", getpid())) {
    std::filesystem::create_directories(path_);
  }
  ~PeerFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  template <class T>
  void write(const std::string& name, const std::vector<T>& values) const {
    std::ofstream out(path_ / name, std::ios::binary);
    out.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
    if (!out.flush()) throw std::runtime_error("cannot write " + (path_ / name).string());
  }
  template <class T>
  std::vector<T> read(const std::string& name, std::size_t count) const {
    std::vector<T> values(count);
    std::ifstream in(path_ / name, std::ios::binary);
    in.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(count * sizeof(T)));
    if (!in) throw std::runtime_error("cannot read " + (path_ / name).string());
    return values;
  }

 private:
  std::filesystem::path path_;
};

// Says how many of a peer's neighbours differ from ours, and how many of those by more than rounding explains: the two
// distances, in fp64, must be within the rounding of `terms` operations on `magnitude(query, reference)`, which is the
// distance itself for peers that subtract first, and |q|^2 + |p|^2 for those that expand the square.
inline void compare_neighbours(const std::string& who, const std::vector<float>& references,
                               const std::vector<float>& queries, std::int64_t d, std::int64_t k,
                               const std::vector<int>& ours, const std::vector<int>& theirs, bool expanded) {
  std::int64_t differ = 0, unexplained = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    if (ours[i] == theirs[i]) continue;
    ++differ;
    const float* query = &queries[i / k * d];
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
  fmt::print("    {}: {} of {} neighbours differ from ours, {} by more than its rounding explains\n", who, differ,
             ours.size(), unexplained);
}

inline void compare_labels(const std::string& who, const std::vector<std::uint8_t>& ours,
                           const std::vector<std::uint8_t>& theirs) {
  std::int64_t differ = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) differ += ours[i] != theirs[i];
  fmt::print("    {}: {} of {} labels differ from ours\n", who, differ, ours.size());
}

}  // namespace scalelab::bench
