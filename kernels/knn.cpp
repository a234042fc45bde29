// knn on the CPU: up to three features by tiles of nearby queries (knn_tile-inl.h), more by blocks of queries against
// every reference: by bounds from bytes (cpu/byte_bounds.h) or by its score where that pays (cpu/proposals.h), by its
// canonical distance elsewhere.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/knn.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/simd-inl.h"

#include <hwy/cache_control.h>

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

#include "kernels/cpu/byte_bounds-inl.h"
#include "kernels/cpu/byte_bounds.h"
#include "kernels/cpu/examined.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/point_tree.h"
#include "kernels/cpu/proposals-inl.h"
#include "kernels/cpu/proposals.h"
#include "kernels/knn_check.h"
#include "kernels/knn_tile-inl.h"
#include "scalelab/backend.h"
#include "scalelab/work.h"

#ifndef SCALELAB_KERNELS_KNN_TASK  // once, not once per target
#define SCALELAB_KERNELS_KNN_TASK
namespace scalelab::cpu {

// One call of knn with d <= kTreeFeatures, references and queries sorted into trees.
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

// Whether scores pay for what they need per query and reference, and for candidates beyond the neighbours.
inline bool scores_pay(std::int64_t n, std::int64_t q, std::int64_t d, std::int64_t k) {
  return d >= 8 && d <= kMostScoreFeatures && q * d >= 8192 && n * d >= 4096 * k;
}

// Whether bounds from bytes pay for rounding the references to bytes.
inline bool bytes_pay(std::int64_t q, std::int64_t d) { return d >= 32 && d <= kMostByteFeatures && q >= 64; }

// At this score or above it, a reference's *computed canonical* distance is not below the k-th so far, of a query at
// least `spread` = |x - m|^2 from the centre: for a true distance t = |x - m|^2 + 2 score comes out at t (1 - g) or
// more. Rounded up; not finite where nothing can be said.
inline float entry_limit(float kth, double spread, double error, std::int64_t d) {
  const double farthest = (kth + underflow_of(d)) * (1 + distance_share(d));
  return rounded_up(0.5 * (farthest - spread) + error);
}

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
      if (!collect(task_.references, tile, k_, work_, gathered)) {
        if (node.leaf()) return search_queries(node);
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

  // The queries of a leaf one by one.
  void search_queries(const PointTree::Node& node) {
    for (std::int64_t i = node.begin; i < node.end; ++i) {
      const TreePoint& query = task_.queries.points()[static_cast<std::size_t>(i)];
      search(task_.references, query.x, k_, work_);
      std::sort_heap(work_.found.begin(), work_.found.end());
      const std::size_t to = static_cast<std::size_t>(query.id) * k_;
      for (std::size_t j = 0; j < k_; ++j) {
        task_.ids[to + j] = work_.found[j].id;
        if (task_.distances != nullptr) task_.distances[to + j] = work_.found[j].distance;
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
    auto& worker = workers[thread_index()];
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

// Canonical distances of some queries, by their numbers, to the references of a panel (kGroupsAtOnce, d, lanes),
// offered to their heaps.
template <int kQueries>
HWY_NOINLINE void offer_panel(const float* HWY_RESTRICT panel, std::int64_t first_id, std::int64_t count,
                              const float* HWY_RESTRICT queries, const int* HWY_RESTRICT numbers, std::int64_t features,
                              std::int64_t k, Nearest* HWY_RESTRICT nearest) {
  const ScoreTag d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<ScoreTag> sum[kQueries][kGroupsAtOnce];
  const float* query[kQueries];
  for (int i = 0; i < kQueries; ++i) {
    query[i] = queries + numbers[i] * features;
    for (auto& s : sum[i]) s = hn::Zero(d);
  }
  for (std::int64_t c = 0; c < features; ++c) {
    hn::Vec<ScoreTag> reference[kGroupsAtOnce];
    for (int g = 0; g < kGroupsAtOnce; ++g) reference[g] = hn::LoadU(d, panel + (g * features + c) * lanes);
    for (int i = 0; i < kQueries; ++i) {
      const auto x = hn::Set(d, query[i][c]);
      for (int g = 0; g < kGroupsAtOnce; ++g) {
        const auto t = hn::Sub(reference[g], x);  // the other sign has the same square
        sum[i][g] = fused(d, t, t, sum[i][g]);
      }
    }
  }
  for (int i = 0; i < kQueries; ++i) {
    Nearest& own = nearest[numbers[i]];
    auto least = sum[i][0];
    for (int g = 1; g < kGroupsAtOnce; ++g) least = hn::Min(least, sum[i][g]);
    if (HWY_LIKELY(hn::AllFalse(d, hn::Lt(least, hn::Set(d, own.limit))))) continue;
    for (int g = 0; g < kGroupsAtOnce; ++g) {
      if (g * lanes >= count) break;
      const auto enters = hn::And(hn::Lt(sum[i][g], hn::Set(d, own.limit)), hn::FirstN(d, count - g * lanes));
      if (hn::AllFalse(d, enters)) continue;
      alignas(64) float distances[kMaxLanes];
      hn::Store(sum[i][g], d, distances);
      for (std::int64_t lane = 0; lane < std::min(lanes, count - g * lanes); ++lane) {
        if (distances[lane] < own.limit) own.insert(distances[lane], first_id + g * lanes + lane, k);
      }
    }
  }
}

// Turns `count` rows of `features` floats into a group: feature c of row i at c * wide + i; with kCentred, of centre
// less row. Squares of four by four at a time, as writing single floats so far apart would cost one query more than its
// distances do.
template <bool kCentred>
HWY_NOINLINE void pack_group(const float* HWY_RESTRICT rows, std::int64_t count, std::int64_t features,
                             const float* HWY_RESTRICT centre, std::int64_t wide, float* HWY_RESTRICT group) {
  const auto value = [=](std::int64_t row, std::int64_t c) {
    const float r = rows[row * features + c];
    return kCentred ? centre[c] - r : r;
  };
  std::int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  constexpr std::int64_t kAhead = 16;  // rows
  const Four four;
  for (; i + 4 <= count; i += 4) {
    std::int64_t c = 0;
    for (; c + 4 <= features; c += 4) {
      hn::Vec<Four> r[4];
      for (std::int64_t j = 0; j < 4; ++j) {
        if (c % 16 == 0) hwy::Prefetch(rows + (i + j + kAhead) * features + c);
        r[j] = hn::LoadU(four, rows + (i + j) * features + c);
        if (kCentred) r[j] = hn::Sub(hn::LoadU(four, centre + c), r[j]);
      }
      transpose(r);
      for (std::int64_t j = 0; j < 4; ++j) hn::StoreU(r[j], four, group + (c + j) * wide + i);
    }
    for (; c < features; ++c) {
      for (std::int64_t j = 0; j < 4; ++j) group[c * wide + i + j] = value(i + j, c);
    }
  }
#endif
  for (; i < count; ++i) {
    for (std::int64_t c = 0; c < features; ++c) group[c * wide + i] = value(i, c);
  }
}

// The references as scores need them, about the mean of some of them, and as bounds from bytes do unless `bytes` is null.
Scored score_references(View<const float> references, ByteGroups* bytes, Context& context) {
  const std::int64_t n = references.extent(0), d = references.extent(1), some = std::min<std::int64_t>(n, 256);
  // References that a thread takes at a time.
  constexpr std::int64_t kPiece = 4096;
  Scored scored;
  std::vector<double> mean(static_cast<std::size_t>(d));
  for (std::int64_t i = 0; i < some; ++i) {
    for (std::int64_t c = 0; c < d; ++c) mean[static_cast<std::size_t>(c)] += references(i * (n / some), c);
  }
  for (const double sum : mean) scored.centre.push_back(static_cast<float>(sum / static_cast<double>(some)));
  const float* centre = scored.centre.data();
  const std::vector<float> origin(static_cast<std::size_t>(d));
  const double centre_length = slightly_above(std::sqrt(extents_of(centre, d, origin.data()).square));
  scored.half.resize(static_cast<std::size_t>(n));
  if (bytes != nullptr) bytes->resize(n, d);
  std::vector<Scored> pieces(static_cast<std::size_t>((n + kPiece - 1) / kPiece));  // their bounds
  Context silent(cpu_backend(), 0, context.threads());  // progress belongs to the op, not to this step
  parallel_for(silent, static_cast<std::int64_t>(pieces.size()), [&](std::int64_t piece) {
    for (std::int64_t i = piece * kPiece; i < std::min(n, (piece + 1) * kPiece); ++i) {
      const Extents c = extents_of(references.data() + i * d, d, centre);
      scored.half[static_cast<std::size_t>(i)] = add_half(c, centre_length, pieces[static_cast<std::size_t>(piece)]);
    }
    if (bytes == nullptr) return;
    round_groups_to_bytes(references.data(), piece * kPiece, std::min(n, (piece + 1) * kPiece), d, centre, *bytes);
  });
  for (const Scored& piece : pieces) {
    scored.longest = std::max(scored.longest, piece.longest);
    scored.most_half = std::max(scored.most_half, piece.most_half);
  }
  return scored;
}

constexpr int kBlockParts = 4;  // of kScoreRows queries each, whose scores are held at once
constexpr int kBlockQueries = kBlockParts * kScoreRows;

// At most kBlockQueries queries against references that come panel by panel, in ascending order of their ids.
class QueryBlock {
 public:
  QueryBlock(const BlockTask& task, const Scored& scored, const ByteGroups& bytes, std::int64_t first,
             std::int64_t count)
      : task_(task),
        scored_(scored),
        bytes_(bytes),
        d_(task.references.extent(1)),
        queries_(task.queries.data() + first * d_),
        count_(static_cast<int>(count)),
        keys_(static_cast<std::size_t>(count * task.k)),
        nearest_(static_cast<std::size_t>(count)),
        bounds_(scored.centre.empty() ? 0 : static_cast<std::size_t>(count)),
        panel_(static_cast<std::size_t>(d_ * kPanel)),
        centred_(bounds_.empty() ? 0 : static_cast<std::size_t>(d_ * kPanel)),
        pairs_(d_, Insert{this}) {
    for (int i = 0; i < count_; ++i) nearest_[i].keys = keys_.data() + i * task.k;
    for (std::size_t i = 0; i < bounds_.size(); ++i) {
      const Extents x = extents_of(queries_ + static_cast<std::int64_t>(i) * d_, d_, scored.centre.data());
      bounds_[i].spread = x.spread / slightly_above(1);
      bounds_[i].error = score_error(slightly_above(std::sqrt(x.square)), d_, scored);
    }
    std::fill_n(pause_, kBlockParts, 1);
    std::fill_n(wait_, kBlockParts, 1);
    if (bytes.bytes.empty()) return;
    byte_queries_.bytes.resize(static_cast<std::size_t>(count * byte_width(d_)));
    byte_queries_.rows.resize(static_cast<std::size_t>(count));
    round_rows_to_bytes(queries_, 0, count, d_, scored.centre.data(), byte_queries_);
  }
  QueryBlock(const QueryBlock&) = delete;
  QueryBlock& operator=(const QueryBlock&) = delete;

  // References of a panel.
  static std::int64_t panel() { return kGroupsAtOnce * static_cast<std::int64_t>(hn::Lanes(ScoreTag())); }

  // Offers references [first, first + references), at most a panel of them.
  void offer(std::int64_t first, std::int64_t references) {
    const float* rows = task_.references.data() + first * d_;
    bool packed = false, centred = false;
    for (int part = 0; part * kScoreRows < count_; ++part) {
      const int begin = part * kScoreRows, end = std::min(count_, begin + kScoreRows);
      int undecided[kScoreRows], left = 0;
      if (bounds_.empty() || wait_[part] > 0) {
        --wait_[part];
        for (int i = begin; i < end; ++i) undecided[left++] = i;
      } else {
        const bool by_bytes = !byte_queries_.rows.empty() && byte_wait_[part]-- <= 0;
        if (!by_bytes && !centred) {
          pack<true>(rows, references, centred_.data());
          centred = true;
        }
        if (!by_bytes) full_ += (end - begin) * references;
        left = by_bytes ? propose<true>(first, references, begin, end, undecided)
                        : propose<false>(first, references, begin, end, undecided);
        // Where scores, or bounds, decide little, they are left out for a while.
        const bool little = 2 * left > end - begin;
        if (by_bytes) {
          byte_pause_[part] = little ? std::min(2 * byte_pause_[part] + 1, 63) : 0;
          byte_wait_[part] = byte_pause_[part];
        } else {
          pause_[part] = little ? std::min(2 * pause_[part] + 1, 15) : 0;
          wait_[part] = pause_[part];
        }
      }
      if (left == 0) continue;
      full_ += left * references;
      if (!packed) pack<false>(rows, references, panel_.data());
      packed = true;
      decide(first, references, undecided, left);
    }
  }

  // The heap of every query, all references offered.
  const std::vector<Nearest>& finish() {
    pairs_.finish();
    knn_pairs.full += full_;
    return nearest_;
  }

 private:
  static constexpr std::int64_t kPanel = kGroupsAtOnce * kMaxLanes;
  struct Bound {
    double spread, error;
    float limit = std::numeric_limits<float>::infinity();  // of a score: at or above it nothing enters
  };
  struct Insert {
    QueryBlock* block;
    void operator()(int query, int id, float distance) const {
      Nearest& nearest = block->nearest_[static_cast<std::size_t>(query)];
      if (!(distance < nearest.limit)) return;
      nearest.insert(distance, id, block->task_.k);
      block->renew(query);
    }
  };

  template <bool kCentred>
  void pack(const float* rows, std::int64_t references, float* panel) {
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(ScoreTag()));
    for (std::int64_t g = 0; g * lanes < references; ++g) {
      pack_group<kCentred>(rows + g * lanes * d_, std::min(lanes, references - g * lanes), d_, scored_.centre.data(),
                           lanes, panel + g * d_ * lanes);
    }
  }

  void renew(int query) {
    Bound& bound = bounds_[static_cast<std::size_t>(query)];
    bound.limit = entry_limit(nearest_[static_cast<std::size_t>(query)].limit, bound.spread, bound.error, d_);
  }

  // Scores of queries [begin, end), or their lower bounds from bytes: the few references that may enter become pairs;
  // queries with many, or of which scores say nothing, are left undecided. Returns how many.
  template <bool kBytes>
  int propose(std::int64_t first, std::int64_t references, int begin, int end, int* undecided) {
    // Of a panel: of a query with more, the distances to all of it are computed at once, from its packed rows.
    constexpr std::size_t kMostCandidates = 4;
    const ScoreTag df;
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(df));
    alignas(64) float scores[kScoreRows * kPanel];
    if constexpr (kBytes) {
      lower_scores(first, references, begin, end, scores);
    } else {
      alignas(64) float half[kPanel];
      std::copy_n(scored_.half.data() + first, references, half);
      std::fill(half + references, half + kPanel, std::numeric_limits<float>::infinity());
      score_rows<kGroupsAtOnce>(queries_ + begin * d_, end - begin, d_, centred_.data(), half, scores);
    }
    int left = 0;
    for (int i = begin; i < end; ++i) {
      const float limit = bounds_[static_cast<std::size_t>(i)].limit;
      if (!(limit < std::numeric_limits<float>::infinity())) {
        undecided[left++] = i;
        continue;
      }
      const float* own = scores + (i - begin) * kGroupsAtOnce * lanes;
      const auto most = hn::Set(df, limit);
      auto least = hn::LoadU(df, own);
      for (int g = 1; g < kGroupsAtOnce; ++g) least = hn::Min(least, hn::LoadU(df, own + g * lanes));
      if (HWY_LIKELY(hn::AllFalse(df, hn::Lt(least, most)))) continue;
      std::size_t candidates = 0;
      for (int g = 0; g < kGroupsAtOnce; ++g) {
        candidates += hn::CountTrue(df, hn::Lt(hn::LoadU(df, own + g * lanes), most));
      }
      if (candidates > kMostCandidates) {
        undecided[left++] = i;
        continue;
      }
      for (int g = 0; g < kGroupsAtOnce; ++g) {
        for_each_lane(hn::Lt(hn::LoadU(df, own + g * lanes), most), [&](int lane) {
          const std::int64_t id = first + g * lanes + lane;
          full_ += kBytes ? 1 : 0;
          pairs_.add(i, queries_ + i * d_, static_cast<int>(id), task_.references.data() + id * d_);
        });
      }
    }
    return left;
  }

  // scores (end - begin, kGroupsAtOnce, lanes): lower bounds of those of queries [begin, end).
  void lower_scores(std::int64_t first, std::int64_t references, int begin, int end, float* scores) {
    static_assert(kByteGroups == kGroupsAtOnce, "their panels are of one size");
    const std::int64_t group = first / kMaxLanes, width = byte_width(d_);
    const ByteRow* rows = &byte_queries_.rows[static_cast<std::size_t>(begin)];
    alignas(64) std::int32_t sums[kScoreRows * kPanel];
    lower_panel(byte_queries_.bytes.data() + begin * width, rows, end - begin, width, bytes_, group,
                (references + kMaxLanes - 1) / kMaxLanes, sums, scores);
  }

  // The canonical distances of some queries to all references of the packed panel.
  void decide(std::int64_t first, std::int64_t references, const int* queries, int count) {
    pairs_.finish();  // ids come in ascending order
    const float* panel = panel_.data();
    int i = 0;
    for (; i + kPointsAtOnce <= count; i += kPointsAtOnce) {
      offer_panel<kPointsAtOnce>(panel, first, references, queries_, queries + i, d_, task_.k, nearest_.data());
    }
    for (; i < count; ++i) {
      offer_panel<1>(panel, first, references, queries_, queries + i, d_, task_.k, nearest_.data());
    }
    if (bounds_.empty()) return;
    for (i = 0; i < count; ++i) renew(queries[i]);
  }

  const BlockTask& task_;
  const Scored& scored_;
  const ByteGroups& bytes_;
  std::int64_t d_;
  const float* queries_;
  int count_;
  std::int64_t full_ = 0;  // pairs of which all features were needed
  std::vector<std::uint64_t> keys_;
  std::vector<Nearest> nearest_;
  std::vector<Bound> bounds_;                                       // none without scores
  std::vector<float> panel_, centred_;                              // (kGroupsAtOnce, d, lanes), of p and of m - p
  ByteRows byte_queries_;                                           // none without bounds from bytes
  int pause_[kBlockParts], wait_[kBlockParts];                      // panels to come without scores
  int byte_pause_[kBlockParts] = {}, byte_wait_[kBlockParts] = {};  // ... without bounds from bytes
  Pairs<Insert> pairs_;
};

void knn_by_blocks(const BlockTask& task, Context& context) {
  const std::int64_t n = task.references.extent(0), q = task.queries.extent(0), k = task.k;
  // With few queries the references are shared out too.
  const std::int64_t blocks = (q + kBlockQueries - 1) / kBlockQueries, wanted = 4 * context.threads();
  const std::int64_t slices = std::clamp<std::int64_t>((wanted + blocks - 1) / blocks, 1, (n + 4095) / 4096);
  const std::int64_t panels = (n + QueryBlock::panel() - 1) / QueryBlock::panel();
  const std::int64_t slice_size = (panels + slices - 1) / slices * QueryBlock::panel();
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
  knn_pairs.pairs += n * q;
  Scored scored;
  ByteGroups bytes;
  if (const std::int64_t d = task.references.extent(1); scores_pay(n, q, d, k)) {
    scored = score_references(task.references, bytes_pay(q, d) && multiplies_bytes() ? &bytes : nullptr, context);
  }
  parallel_for(context, blocks * slices, [&](std::int64_t piece) {
    const std::int64_t first = piece / slices * kBlockQueries, slice = piece % slices;
    const std::int64_t queries = std::min<std::int64_t>(kBlockQueries, q - first);
    const std::int64_t begin = std::min(n, slice * slice_size), end = std::min(n, begin + slice_size);
    QueryBlock block(task, scored, bytes, first, queries);
    for (std::int64_t r = begin; r < end; r += QueryBlock::panel())
      block.offer(r, std::min(QueryBlock::panel(), end - r));
    const std::vector<Nearest>& nearest = block.finish();
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

PairWork knn_work() { return {knn_pairs.pairs, knn_pairs.full}; }

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
  if (d > kTreeFeatures) {
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
