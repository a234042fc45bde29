// knn on CUDA. Up to three dimensions: a tree of boxes over the references, searched by warps of neighbouring queries.
// Beyond: all pairs, tile by tile, with distances in registers and the nearest so far in shared memory.
#include <algorithm>
#include <string>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/pairwise.cuh"
#include "kernels/cuda/point_order.cuh"
#include "kernels/cuda/tree_search.cuh"
#include "kernels/knn_check.h"

namespace scalelab::cuda {

namespace {

constexpr int kWarpsPerBlock = 4;  // each works alone, in its own part of shared memory
constexpr int kThreads = kWarpsPerBlock * kWarp;

// --- up to three dimensions ------------------------------------------------------------------------------------------

// Queries, near ones together, and where their neighbours go.
struct SortedQueries {
  const float4* points;  // (count) as BoxTree::points
  std::int64_t count;
  int k;
  int* indices;      // (q, k)
  float* distances;  // (q, k) or null
  bool resume;       // the rows already hold neighbours out of other references: keep the nearest of both

  __device__ Key prior(std::int64_t row, int j) const { return make_key(distances[row * k + j], indices[row * k + j]); }
};

template <int K>
union TogetherShared {
  TogetherBuffer buffer;
  unsigned staged[kWarp * K];
};

// Blocks on a multiprocessor: as many as leave the list in registers (tests/kernel_resources.py).
template <int K>
constexpr int kBlocksWanted = K <= 5    ? 8
                              : K <= 9  ? 6
                              : K <= 16 ? 5
                                        : 3;

// A warp finds the neighbours of 32 queries, one to a lane, and writes them row by row.
template <int K>
__global__ void __launch_bounds__(kThreads, kBlocksWanted<K>)
    knn_together_kernel(const __grid_constant__ BoxTree tree, SortedQueries queries) {
  struct Shared {
    TogetherShared<K> warps[kWarpsPerBlock];
  };
  auto& shared = dynamic_shared<Shared>()->warps[warp_in_block()];
  const std::int64_t begin = global_warp() * kWarp;
  if (begin >= queries.count) return;
  const int lane = lane_index(), k = queries.k;
  const std::int64_t last = queries.count - 1;
  const float4 query = queries.points[begin + lane < last ? begin + lane : last];
  const int row = point_index(query);
  Nearest<K> nearest;
  const auto start = [&](Nearest<K>& list) {
    list.clear(k);
    if (!queries.resume) return;
#pragma unroll
    for (int j = 0; j < K; ++j) {
      if (j >= K - k) list.keys[j] = queries.prior(row, j - (K - k));
    }
  };
  search_together(tree, query.x, query.y, query.z, k, start, shared.buffer, nearest);
  // Rows of k numbers go out whole: 32 k numbers pass through shared memory.
  const std::int64_t left = queries.count - begin;
  const int rows = left < kWarp ? static_cast<int>(left) : kWarp;
  for (int part = 0; part < (queries.distances == nullptr ? 1 : 2); ++part) {
    __syncwarp();
#pragma unroll
    for (int j = 0; j < K; ++j) {
      const Key key = nearest.keys[j];
      if (j >= K - k) shared.staged[lane * k + j - (K - k)] = static_cast<unsigned>(part == 0 ? key : key >> 32);
    }
    __syncwarp();
    for (int first = 0; first < rows * k; first += kWarp) {
      const int slot = first + lane;
      const int own = slot / k;
      const std::int64_t to = __shfl_sync(kAllLanes, row, own < kWarp ? own : 0);
      if (slot >= rows * k) continue;
      const std::int64_t place = to * k + slot % k;
      if (part == 0) {
        queries.indices[place] = static_cast<int>(shared.staged[slot]);
      } else {
        queries.distances[place] = __uint_as_float(shared.staged[slot]);
      }
    }
  }
}

// A warp finds the neighbours of one query.
__global__ void __launch_bounds__(kThreads)
    knn_alone_kernel(const __grid_constant__ BoxTree tree, SortedQueries queries) {
  struct Shared {
    AloneBuffer warps[kWarpsPerBlock];
  };
  auto& buffer = dynamic_shared<Shared>()->warps[warp_in_block()];
  if (global_warp() >= queries.count) return;
  const float4 query = queries.points[global_warp()];
  const std::int64_t row = point_index(query);
  search_alone(
      tree, query.x, query.y, query.z, queries.k, queries.resume, [&](int j) { return queries.prior(row, j); }, buffer);
  for (int j = lane_index(); j < queries.k; j += kWarp) {
    const Key key = buffer.keys[j];
    queries.indices[row * queries.k + j] = key_index(key);
    if (queries.distances != nullptr) queries.distances[row * queries.k + j] = key_distance(key);
  }
}

// Queries and references in `parts` pieces each; the pieces' neighbours are merged as they are found.
void knn_by_tree(View<const float> references, View<const float> queries, View<int> indices, View<float> distances,
                 std::int64_t parts, Context& context) {
  const std::int64_t n = references.extent(0), q = queries.extent(0);
  const int k = static_cast<int>(indices.extent(1));
  for (std::int64_t part = 0; part < parts; ++part) {
    const std::int64_t begin = q * part / parts, count = q * (part + 1) / parts - begin;
    if (count == 0) continue;
    const View<const float> some = queries.rows(begin, count);
    Scratch<float4> sorted(count, context);
    order_points(some, sorted.data(), kWarp, context);
    // Merging needs distances, wanted or not.
    const bool own_distances = parts > 1 && distances.empty();
    Scratch<float> merged(own_distances ? count * k : 0, context);
    SortedQueries task{sorted.data(), count, k, indices.data() + begin * k, nullptr, false};
    if (own_distances) task.distances = merged.data();
    if (!distances.empty()) task.distances = distances.data() + begin * k;
    for (std::int64_t piece = 0; piece < parts; ++piece) {
      const std::int64_t first = n * piece / parts, many = n * (piece + 1) / parts - first;
      const BoxTreeStorage storage(references.rows(first, many), context, static_cast<int>(first));
      task.resume = piece > 0;
      if (k > kMostTogether) {
        launch(context, ceil_div(count, kWarpsPerBlock), kThreads, kWarpsPerBlock * sizeof(AloneBuffer),
               knn_alone_kernel, storage.tree(), task);
        continue;
      }
      with_list_length(k, [&](auto length) {
        launch(context, ceil_div(count, kThreads), kThreads, kWarpsPerBlock * sizeof(TogetherShared<length()>),
               knn_together_kernel<length()>, storage.tree(), task);
      });
    }
  }
}

// --- any dimension ---------------------------------------------------------------------------------------------------

// What a block of knn_pairs_kernel keeps: its tiles, and for every query the keys met so far: the nearest, sorted, then
// those waiting to be sorted in.
template <int kQueries, int kKeys>
struct PairsShared {
  PairTile<kQueries> tile;
  Key keys[kQueries][kKeys];
  Key worst[kQueries];  // a key beyond it is not among the k nearest
  int count[kQueries];  // keys in use; beyond kKeys: threads found no room
};

// Block b searches the references of split b % splits for the kQueries queries of group b / splits, and leaves in
// `partial` (q, splits, k) the nearest keys of each query, ascending, kFarthest where there are fewer.
template <int kQueries, int kKeys>
__global__ void __launch_bounds__(kPairThreads)
    knn_pairs_kernel(View<const float> references, View<const float> queries, int k, int splits, Key* partial) {
  using Shared = PairsShared<kQueries, kKeys>;
  using Tile = PairTile<kQueries>;
  static_assert(kKeys >= 2 * kWarp);
  auto& shared = *dynamic_shared<Shared>();
  const std::int64_t n = references.extent(0), q = queries.extent(0);
  const int split = static_cast<int>(blockIdx.x % splits);
  const std::int64_t query_begin = static_cast<std::int64_t>(blockIdx.x / splits) * kQueries;
  const std::int64_t split_begin = n * split / splits, split_end = n * (split + 1) / splits;
  for (int i = static_cast<int>(threadIdx.x); i < kQueries; i += kPairThreads) {
    shared.worst[i] = make_key(__uint_as_float(0x7f800000U), -1);
    shared.count[i] = 0;
  }
  __syncthreads();

  // Sorts a query's keys and keeps the k nearest. By a whole warp.
  const auto cut = [&](int i) {
    const int count = shared.count[i] < kKeys ? shared.count[i] : kKeys;
    __syncwarp();
    sort_front(shared.keys[i], count, kKeys);
    if (lane_index() == 0) {
      shared.count[i] = count < k ? count : k;
      if (count >= k) shared.worst[i] = shared.keys[i][k - 1];
    }
    __syncwarp();
  };

  for (std::int64_t begin = split_begin; begin < split_end; begin += Tile::kReferences) {
    float distances[kPairSide][kPairSide];
    pair_distances<kQueries>(queries, query_begin, references, begin, split_end, begin == split_begin, shared.tile,
                             distances);
    // Pairs that may belong among the nearest, a bit each. Most tiles have none: their least distance is too far.
    unsigned long long waiting = 0;
#pragma unroll
    for (int i = 0; i < kPairSide; ++i) {
      float least = distances[i][0];
#pragma unroll
      for (int j = 1; j < kPairSide; ++j) least = smaller(least, distances[i][j]);
      if (least <= key_distance(shared.worst[Tile::query(i)])) waiting |= 0xffULL << (kPairSide * i);
    }
    while (__syncthreads_or(waiting != 0) != 0) {
      if (waiting != 0) {
#pragma unroll
        for (int i = 0; i < kPairSide; ++i) {
#pragma unroll
          for (int j = 0; j < kPairSide; ++j) {
            const unsigned long long bit = 1ULL << (kPairSide * i + j);
            if ((waiting & bit) == 0) continue;
            const std::int64_t reference = begin + Tile::reference(j);
            const Key key = make_key(distances[i][j], static_cast<int>(reference));
            bool done = reference >= split_end || shared.worst[Tile::query(i)] < key;
            if (!done) {
              const int slot = atomicAdd(&shared.count[Tile::query(i)], 1);
              done = slot < kKeys;
              if (done) shared.keys[Tile::query(i)][slot] = key;
            }
            if (done) waiting &= ~bit;
          }
        }
      }
      __syncthreads();
      for (int i = warp_in_block(); i < kQueries; i += kPairThreads / kWarp) {
        if (shared.count[i] >= (k + kKeys) / 2) cut(i);
      }
    }
  }
  __syncthreads();
  for (int i = warp_in_block(); i < kQueries; i += kPairThreads / kWarp) {
    cut(i);
    if (query_begin + i >= q) continue;
    Key* row = partial + ((query_begin + i) * splits + split) * k;
    for (int j = lane_index(); j < k; j += kWarp) row[j] = j < shared.count[i] ? shared.keys[i][j] : kFarthest;
  }
}

// A warp merges the splits of one of q queries and writes its row. `distances` may be null.
__global__ void __launch_bounds__(kThreads)
    merge_splits_kernel(const Key* partial, std::int64_t q, int splits, int k, int* indices, float* distances) {
  struct Shared {
    AloneBuffer warps[kWarpsPerBlock];
  };
  const std::int64_t row = global_warp();
  if (row >= q) return;
  Key* keys = dynamic_shared<Shared>()->warps[warp_in_block()].keys;
  const int lane = lane_index();
  const Key* source = partial + row * splits * k;
  int found = 0;
  for (int begin = 0; begin < splits * k;) {
    const int room = AloneBuffer::kKeys - found, left = splits * k - begin;
    const int taken = left < room ? left : room;
    for (int i = lane; i < taken; i += kWarp) keys[found + i] = source[begin + i];
    begin += taken;
    sort_front(keys, found + taken, AloneBuffer::kKeys);
    found = k;
  }
  for (int j = lane; j < k; j += kWarp) {
    const Key key = keys[j];
    indices[row * k + j] = key_index(key);
    if (distances != nullptr) distances[row * k + j] = key_distance(key);
  }
}

// The references in so many splits that few queries still fill the device.
template <int kQueries, int kKeys>
void knn_by_pairs(View<const float> references, View<const float> queries, View<int> indices, View<float> distances,
                  Context& context) {
  using Tile = PairTile<kQueries>;
  const std::int64_t n = references.extent(0), q = queries.extent(0);
  const int k = static_cast<int>(indices.extent(1));
  int multiprocessors = 0;
  SCALELAB_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, context.device()));
  const std::int64_t groups = ceil_div(q, kQueries);
  constexpr std::int64_t kMostSplits = 64, kTilesASplit = 4;  // more, or smaller ones, cost more to merge; not timed
  const std::int64_t wanted = ceil_div(4 * multiprocessors, groups), possible = n / (kTilesASplit * Tile::kReferences);
  const int splits =
      static_cast<int>(std::clamp<std::int64_t>(wanted, 1, std::clamp<std::int64_t>(possible, 1, kMostSplits)));
  // Queries in batches whose partial rows take at most 256 MiB.
  const std::int64_t batch = std::max<std::int64_t>((std::int64_t{1} << 28) / (8 * k * splits), kQueries);
  Scratch<Key> partial(std::min(batch, q) * splits * k, context);
  for (std::int64_t begin = 0; begin < q; begin += batch) {
    const std::int64_t count = std::min(batch, q - begin);
    launch(context, ceil_div(count, kQueries) * splits, kPairThreads, sizeof(PairsShared<kQueries, kKeys>),
           knn_pairs_kernel<kQueries, kKeys>, references, queries.rows(begin, count), k, splits, partial.data());
    launch(context, ceil_div(count, kWarpsPerBlock), kThreads, kWarpsPerBlock * sizeof(AloneBuffer),
           merge_splits_kernel, partial.data(), count, splits, k, indices.data() + begin * k,
           distances.empty() ? nullptr : distances.data() + begin * k);
  }
}

// --- merging ---------------------------------------------------------------------------------------------------------

struct MergeShared {
  Key own[kMaxNeighbours], other[kMaxNeighbours];
};

// A warp merges one of q rows. A key's place among both lists is its place in its own and how many of the other come
// before it; of equal keys those of the row that was there come first.
__global__ void __launch_bounds__(kThreads)
    knn_merge_kernel(const int* indices, const float* distances, std::int64_t q, int k, int first, int* merged_indices,
                     float* merged_distances) {
  struct Shared {
    MergeShared warps[kWarpsPerBlock];
  };
  auto& shared = dynamic_shared<Shared>()->warps[warp_in_block()];
  const std::int64_t row = global_warp();
  if (row >= q) return;
  for (int j = lane_index(); j < k; j += kWarp) {
    shared.own[j] = make_key(merged_distances[row * k + j], merged_indices[row * k + j]);
    shared.other[j] = make_key(distances[row * k + j], first + indices[row * k + j]);
  }
  __syncwarp();
  for (int i = lane_index(); i < 2 * k; i += kWarp) {
    const bool is_own = i < k;
    const int j = is_own ? i : i - k;
    const Key key = is_own ? shared.own[j] : shared.other[j];
    const Key* list = is_own ? shared.other : shared.own;
    int low = 0, high = k;  // how many of `list` come before the key
    while (low < high) {
      const int middle = (low + high) / 2;
      if (list[middle] < key || (!is_own && list[middle] == key)) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (j + low >= k) continue;
    merged_indices[row * k + j + low] = key_index(key);
    merged_distances[row * k + j + low] = key_distance(key);
  }
}

}  // namespace

void knn_merge(View<const int> indices, View<const float> distances, std::int64_t first, View<int> merged_indices,
               View<float> merged_distances, Context& context) {
  const Range range("knn_merge");
  check_knn_merge(indices, distances, first, merged_indices, merged_distances);
  const std::int64_t q = indices.extent(0);
  launch(context, ceil_div(q, kWarpsPerBlock), kThreads, kWarpsPerBlock * sizeof(MergeShared), knn_merge_kernel,
         indices.data(), distances.data(), q, static_cast<int>(indices.extent(1)), static_cast<int>(first),
         merged_indices.data(), merged_distances.data());
}

void knn(View<const float> references, View<const float> queries, View<int> indices, View<float> distances,
         Context& context) {
  const Range range("knn");
  check_knn(references, queries, indices, distances);
  const std::int64_t n = references.extent(0), d = references.extent(1);
  const int k = static_cast<int>(indices.extent(1));
  if (queries.extent(0) == 0) return;
  if (d > kTreeFeatures || d == 0) {
    // The more keys a query keeps, the fewer queries a block can hold.
    if (k <= 32) return knn_by_pairs<64, 64>(references, queries, indices, distances, context);
    return knn_by_pairs<16, 256>(references, queries, indices, distances, context);
  }
  // The tree and the sort take several times the memory of the points: where that is not free, in more, smaller pieces.
  for (std::int64_t parts = 1;; parts *= 2) {
    try {
      return knn_by_tree(references, queries, indices, distances, parts, context);
    } catch (const OutOfMemory&) {
      constexpr std::int64_t kSmallestPiece = 65536;  // smaller ones take a few megabytes: then it is not the points
      if (n / (2 * parts) < kSmallestPiece) throw;
    }
  }
}

}  // namespace scalelab::cuda
