// knn on the CPU: up to three features by tiles of nearby queries (knn_tile-inl.h), more by every distance, in blocks.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/knn.cpp"
#include <hwy/foreach_target.h>

#include "kernels/simd-inl.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernels/knn_check.h"
#include "kernels/knn_tile-inl.h"
#include "kernels/parallel.h"
#include "kernels/point_tree.h"
#include "scalelab/backend.h"

#ifndef SCALELAB_KERNELS_KNN_TASK  // once, not once per target
#define SCALELAB_KERNELS_KNN_TASK
namespace scalelab::cpu {

// One call of knn with d <= 3, references and queries sorted into trees.
struct TreeTask {
  const PointTree& references;
  const PointTree& queries;
  std::size_t k;
  int* ids;          // (q, k)
  float* distances;  // (q, k), or null
};

// One call of knn with larger d.
struct BlockTask {
  View<const float> references;  // (n, d)
  View<const float> queries;     // (q, d)
  std::int64_t k;
  int* ids;
  float* distances;
};

}  // namespace scalelab::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace scalelab::cpu::HWY_NAMESPACE {

// --- up to three features --------------------------------------------------------------------------------------------

// One thread's work on the nodes of the tree of queries.
template <int kFeatures>
class QueryTiles {
 public:
  explicit QueryTiles(const TreeTask& task) : task_(task), k_(task.k), selector_(task.k) {}

  // Answers every query of a node. `list` has the candidates of a node above it, or is null: then they are gathered.
  void visit(std::int64_t index, const Candidates* list, std::size_t level) {
    const PointTree::Node& node = task_.queries.nodes()[index];
    Tile tile;
    for (int axis = 0; axis < kFeatures; ++axis) set_axis(tile, axis, node.low[axis], node.high[axis]);
    if (list == nullptr) {
      Candidates& gathered = work_.level(level++);
      const std::size_t most = node.leaf() ? std::numeric_limits<std::size_t>::max() : 1536 + 8 * k_;
      if (!collect(task_.references, tile, k_, most, work_, gathered)) {
        visit(index + 1, nullptr, level);
        visit(index + node.right, nullptr, level);
        return;
      }
      list = &gathered;
    }
    Candidates& near = work_.level(level++);
    narrow<kFeatures, false>(*list, tile, k_, work_, near);
    if (!node.leaf() && is_worth_splitting(node.end - node.begin, near.size)) {
      visit(index + 1, &near, level);
      visit(index + node.right, &near, level);
    } else {
      list_queries(node, near);
    }
  }

 private:
  // Halves lose about a third of the candidates that are not neighbours everywhere; weighed against filtering twice.
  bool is_worth_splitting(std::int64_t queries, std::size_t candidates) const {
    const double vectors = static_cast<double>(queries) / static_cast<double>(selector_.lanes());
    const double saved = 0.3 * vectors * static_cast<double>(candidates - k_) * selector_.clocks_per_candidate();
    return saved > 2 * (100 + 2.5 * static_cast<double>(candidates));
  }

  void list_queries(const PointTree::Node& node, const Candidates& list) {
    const DF d;
    const std::int64_t lanes = static_cast<std::int64_t>(selector_.lanes()), k = static_cast<std::int64_t>(k_);
    const std::vector<TreePoint>& points = task_.queries.points();
    alignas(64) float x[3][kMostLanes];
    const float* const coordinates[3] = {x[0], x[1], x[2]};
    int ids[kMaxNeighbours * kMostLanes];
    float distances[kMaxNeighbours * kMostLanes];
    selector_.use(list);
    for (std::int64_t first = node.begin; first < node.end; first += lanes) {
      for (std::int64_t lane = 0; lane < lanes; ++lane) {  // lanes beyond the last query repeat it
        const TreePoint& point = points[std::min(first + lane, node.end - 1)];
        for (int axis = 0; axis < 3; ++axis) x[axis][lane] = point.x[axis];
      }
      const PointLanes<kFeatures> queries{hn::Load(d, x[0]), hn::Load(d, x[1]), hn::Load(d, x[2]),
                                          list.x.data(),     list.y.data(),     list.z.data()};
      selector_.nearest(queries, coordinates, task_.distances != nullptr, work_);
      selector_.write(ids, task_.distances != nullptr ? distances : nullptr);
      for (std::int64_t i = first; i < std::min(first + lanes, node.end); ++i) {
        const std::int64_t to = points[i].id * k, from = (i - first) * k;
        std::copy_n(ids + from, k, task_.ids + to);
        if (task_.distances != nullptr) std::copy_n(distances + from, k, task_.distances + to);
      }
    }
  }

  const TreeTask& task_;
  std::size_t k_;
  Workspace work_;
  Selector<kFeatures> selector_;
};

template <int kFeatures>
void visit_pieces(const TreeTask& task, Context& context) {
  // Pieces for the threads: the largest nodes of at most kPiece queries.
  constexpr std::int64_t kPiece = 2048;
  const auto& nodes = task.queries.nodes();
  std::vector<std::int64_t> pieces, stack(1, 0);
  while (!stack.empty()) {
    const std::int64_t i = stack.back();
    stack.pop_back();
    if (nodes[i].leaf() || nodes[i].end - nodes[i].begin <= kPiece) {
      pieces.push_back(i);
    } else {
      stack.push_back(i + nodes[i].right);
      stack.push_back(i + 1);
    }
  }
  std::vector<std::unique_ptr<QueryTiles<kFeatures>>> workers(std::max(context.threads(), 1));
  parallel_for(context, static_cast<std::int64_t>(pieces.size()), [&](std::int64_t piece) {
    auto& worker = workers[omp_get_thread_num()];
    if (!worker) worker = std::make_unique<QueryTiles<kFeatures>>(task);
    worker->visit(pieces[piece], nullptr, 0);
  });
}

void knn_by_tiles(const TreeTask& task, int features, Context& context) {
  if (features == 3) {
    visit_pieces<3>(task, context);
  } else {
    visit_pieces<2>(task, context);
  }
}

// --- more features ---------------------------------------------------------------------------------------------------

// The k smallest (distance, id) of one query, ids coming in ascending order: a heap of distance bits over id, whose
// top is the k-th so far.
struct Nearest {
  std::uint64_t* keys;  // (k)
  std::int64_t size = 0;
  float limit = std::numeric_limits<float>::infinity();  // a distance at or above it cannot enter

  void insert(float distance, std::int64_t id, std::int64_t k) {
    if (size == k) {
      if (!(distance < limit)) return;
      std::pop_heap(keys, keys + k);
      --size;
    }
    keys[size++] = std::uint64_t{std::bit_cast<std::uint32_t>(distance)} << 32 | static_cast<std::uint64_t>(id);
    std::push_heap(keys, keys + size);
    if (size == k) limit = std::bit_cast<float>(static_cast<std::uint32_t>(keys[0] >> 32));
  }
};

// References stand side by side in vectors, kWide of them; kTall queries share what is loaded. Both sized so that the
// sums fill the registers: 32 of AVX-512, 16 or more elsewhere.
inline constexpr int kWide = kMostLanes >= 16 ? 3 : 2;
inline constexpr int kTall = kMostLanes >= 16 ? 6 : 4;

// Canonical distances of kQueries queries to the references of a panel (d, kWide * lanes), offered to their heaps.
template <int kQueries>
HWY_NOINLINE void offer_panel(const float* HWY_RESTRICT panel, std::int64_t first_id, std::int64_t count,
                              const float* HWY_RESTRICT queries, std::int64_t features, std::int64_t k,
                              Nearest* HWY_RESTRICT nearest) {
  const DF d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  VF sum[kQueries][kWide];
  for (auto& row : sum) {
    for (VF& s : row) s = hn::Zero(d);
  }
  for (std::int64_t c = 0; c < features; ++c) {
    VF reference[kWide];
    HWY_UNROLL(3)
    for (int w = 0; w < kWide; ++w) reference[w] = hn::LoadU(d, panel + (c * kWide + w) * lanes);
    HWY_UNROLL(6)
    for (int i = 0; i < kQueries; ++i) {
      const VF query = hn::Set(d, queries[i * features + c]);
      HWY_UNROLL(3)
      for (int w = 0; w < kWide; ++w) {
        const VF t = hn::Sub(reference[w], query);  // the other sign has the same square
        sum[i][w] = fused(d, t, t, sum[i][w]);
      }
    }
  }
  for (int i = 0; i < kQueries; ++i) {
    for (int w = 0; w < kWide; ++w) {
      if (w * lanes >= count) break;
      const auto enters = hn::And(hn::Lt(sum[i][w], hn::Set(d, nearest[i].limit)), hn::FirstN(d, count - w * lanes));
      if (HWY_LIKELY(hn::AllFalse(d, enters))) continue;
      alignas(64) float distances[kMostLanes];
      hn::Store(sum[i][w], d, distances);
      for (std::int64_t lane = 0; lane < std::min(lanes, count - w * lanes); ++lane) {
        if (distances[lane] < nearest[i].limit) nearest[i].insert(distances[lane], first_id + w * lanes + lane, k);
      }
    }
  }
}

// Turns `count` rows of `features` floats into a panel: feature c of row i at c * wide + i. Squares of four by four at
// a time, as writing single floats so far apart would cost one query more than its distances do.
HWY_NOINLINE void pack_panel(const float* HWY_RESTRICT rows, std::int64_t count, std::int64_t features,
                             std::int64_t wide, float* HWY_RESTRICT panel) {
  std::int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<float, 4> four;
  const hn::RepartitionToWide<decltype(four)> pairs;
  for (; i + 4 <= count; i += 4) {
    const float* row = rows + i * features;
    std::int64_t c = 0;
    for (; c + 4 <= features; c += 4) {
      const auto r0 = hn::LoadU(four, row + c), r1 = hn::LoadU(four, row + features + c);
      const auto r2 = hn::LoadU(four, row + 2 * features + c), r3 = hn::LoadU(four, row + 3 * features + c);
      // 00 10 01 11, 20 30 21 31; 02 12 03 13, 22 32 23 33
      const auto a = hn::BitCast(pairs, hn::InterleaveLower(four, r0, r1));
      const auto b = hn::BitCast(pairs, hn::InterleaveLower(four, r2, r3));
      const auto e = hn::BitCast(pairs, hn::InterleaveUpper(four, r0, r1));
      const auto f = hn::BitCast(pairs, hn::InterleaveUpper(four, r2, r3));
      float* to = panel + c * wide + i;
      hn::StoreU(hn::BitCast(four, hn::InterleaveLower(pairs, a, b)), four, to);
      hn::StoreU(hn::BitCast(four, hn::InterleaveUpper(pairs, a, b)), four, to + wide);
      hn::StoreU(hn::BitCast(four, hn::InterleaveLower(pairs, e, f)), four, to + 2 * wide);
      hn::StoreU(hn::BitCast(four, hn::InterleaveUpper(pairs, e, f)), four, to + 3 * wide);
    }
    for (; c < features; ++c) {
      for (std::int64_t j = 0; j < 4; ++j) panel[c * wide + i + j] = row[j * features + c];
    }
  }
#endif
  for (; i < count; ++i) {
    for (std::int64_t c = 0; c < features; ++c) panel[c * wide + i] = rows[i * features + c];
  }
}

void knn_by_blocks(const BlockTask& task, Context& context) {
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(DF())), wide = kWide * lanes, k = task.k;
  const std::int64_t n = task.references.extent(0), features = task.references.extent(1), q = task.queries.extent(0);
  // A panel of references is packed once for a block of queries; with few queries the references are shared out too.
  constexpr std::int64_t kBlock = 20 * 12;
  const std::int64_t blocks = (q + kBlock - 1) / kBlock, wanted = 4 * context.threads();
  const std::int64_t slices = std::clamp<std::int64_t>((wanted + blocks - 1) / blocks, 1, (n + 4095) / 4096);
  const std::int64_t slice_size = (n + slices - 1) / slices;
  const std::uint64_t none = std::numeric_limits<std::uint64_t>::max();
  std::vector<std::uint64_t> partial(slices > 1 ? slices * q * k : 0, none);  // (q, slices, k)
  const auto write = [&](std::int64_t query, std::uint64_t* keys, std::int64_t count) {
    std::partial_sort(keys, keys + k, keys + count);
    for (std::int64_t j = 0; j < k; ++j) {
      task.ids[query * k + j] = static_cast<int>(keys[j] & 0xffffffffU);
      if (task.distances != nullptr) {
        task.distances[query * k + j] = std::bit_cast<float>(static_cast<std::uint32_t>(keys[j] >> 32));
      }
    }
  };
  parallel_for(context, blocks * slices, [&](std::int64_t piece) {
    const std::int64_t block = piece / slices, slice = piece % slices;
    const std::int64_t first = block * kBlock, queries = std::min(kBlock, q - first);
    const std::int64_t begin = std::min(n, slice * slice_size), end = std::min(n, begin + slice_size);
    std::vector<std::uint64_t> keys(queries * k);
    std::vector<Nearest> nearest(queries);
    for (std::int64_t i = 0; i < queries; ++i) nearest[i].keys = keys.data() + i * k;
    std::vector<float> panel(features * wide);
    for (std::int64_t r = begin; r < end; r += wide) {
      const std::int64_t count = std::min(wide, end - r);
      pack_panel(task.references.data() + r * features, count, features, wide, panel.data());
      std::int64_t i = 0;
      const float* rows = task.queries.data() + first * features;
      for (; i + kTall <= queries; i += kTall) {
        offer_panel<kTall>(panel.data(), r, count, rows + i * features, features, k, nearest.data() + i);
      }
      for (; i < queries; ++i) {
        offer_panel<1>(panel.data(), r, count, rows + i * features, features, k, nearest.data() + i);
      }
    }
    for (std::int64_t i = 0; i < queries; ++i) {
      if (slices == 1) {
        write(first + i, nearest[i].keys, k);
      } else {
        std::copy_n(nearest[i].keys, nearest[i].size, partial.data() + ((first + i) * slices + slice) * k);
      }
    }
  });
  if (slices > 1) {
    for (std::int64_t query = 0; query < q; ++query) write(query, partial.data() + query * slices * k, slices * k);
  }
}

}  // namespace scalelab::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scalelab::cpu {
namespace {

HWY_EXPORT(knn_by_tiles);
HWY_EXPORT(knn_by_blocks);

// Threads take this many rows at a time.
constexpr std::int64_t kMergeRows = 4096;

}  // namespace

void knn_merge(View<const int> indices, View<const float> distances, std::int64_t first, View<int> merged_indices,
               View<float> merged_distances, Context& context) {
  check_knn_merge(indices, distances, first, merged_indices, merged_distances);
  const std::int64_t q = indices.extent(0), k = indices.extent(1);
  parallel_for(context, (q + kMergeRows - 1) / kMergeRows, [&](std::int64_t piece) {
    std::pair<float, int> own[kMaxNeighbours];
    for (std::int64_t row = piece * kMergeRows; row < std::min(q, (piece + 1) * kMergeRows); ++row) {
      for (std::int64_t j = 0; j < k; ++j) own[j] = {merged_distances(row, j), merged_indices(row, j)};
      for (std::int64_t j = 0, a = 0, b = 0; j < k; ++j) {
        const std::pair<float, int> other(distances(row, b), static_cast<int>(first) + indices(row, b));
        const bool from_other = other < own[a];
        const std::pair<float, int>& next = from_other ? other : own[a];
        merged_distances(row, j) = next.first;
        merged_indices(row, j) = next.second;
        ++(from_other ? b : a);
      }
    }
  });
}

void knn(View<const float> references, View<const float> queries, View<int> indices, View<float> distances,
         Context& context) {
  const std::int64_t d = references.extent(1), q = queries.extent(0), k = indices.extent(1);
  check_knn(references, queries, indices, distances);
  if (q == 0) return;
  int* ids = indices.data();
  float* squared = distances.empty() ? nullptr : distances.data();
  if (d > 3) {
    HWY_DYNAMIC_DISPATCH(knn_by_blocks)(BlockTask{references, queries, k, ids, squared}, context);
    return;
  }
  constexpr int kGranule = 16;                                  // queries of a leaf: one vector of AVX-512
  constexpr std::int64_t kMostQueries = std::int64_t{1} << 30;  // of one tree, whose point ids are ints
  const PointTree reference_tree = PointTree::of_references(references, static_cast<int>(k), context);
  for (std::int64_t first = 0; first < q; first += kMostQueries) {
    const View<const float> part = queries.rows(first, std::min(kMostQueries, q - first));
    const PointTree query_tree = PointTree::of_queries(part, kGranule, context);
    const TreeTask task{reference_tree, query_tree, static_cast<std::size_t>(k), ids + first * k,
                        squared == nullptr ? nullptr : squared + first * k};
    HWY_DYNAMIC_DISPATCH(knn_by_tiles)(task, static_cast<int>(d), context);
  }
}

}  // namespace scalelab::cpu
#endif
