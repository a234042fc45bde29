// k-means on CUDA. Up to three dimensions: points sorted once into tiles whose boxes say which centroids can matter, so
// that most tiles are added to a centroid without touching a point. Beyond: all pairs, tile by tile (pairwise.cuh).
// Totals are integers (kmeans_total.h): atomics may add them in any order.
#include <algorithm>
#include <bit>
#include <cfloat>
#include <optional>
#include <span>
#include <vector>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/pairwise.cuh"
#include "kernels/cuda/point_order.cuh"
#include "kernels/cuda/tree_search.cuh"
#include "kernels/kmeans_check.h"
#include "kernels/kmeans_ranks.h"
#include "kernels/kmeans_total.h"
#include "scalelab/buffer.h"
#include "scalelab/random.h"

namespace scalelab::cuda {

namespace {

constexpr int kThreads = 256;      // a block: divides the 1024, 1536 or 2048 threads that a multiprocessor holds
constexpr int kWarpsPerBlock = 4;  // of kernels in which a warp works alone, in its own part of shared memory
constexpr int kBlockRows = kKmeansBlockRows;  // and of the weights of k-means++
constexpr std::int64_t kMostBlocks = 4096;    // of kernels whose threads stride
constexpr unsigned kInfinity = 0x7f800000U;   // the bits of that float

using Total = unsigned long long;  // two's complement, as atomics take it

std::int64_t at_most(std::int64_t blocks) { return std::min(blocks, kMostBlocks); }

template <class T>
void clear(T* memory, std::int64_t count, Context& context) {
  SCALELAB_CHECK(cudaMemsetAsync(memory, 0, static_cast<std::size_t>(count) * sizeof(T), stream_of(context)));
}

// Copies without waiting: on the stream, between device buffers.
template <class T>
void copy(T* to, const T* from, std::int64_t count, Context& context) {
  SCALELAB_CHECK(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * sizeof(T), cudaMemcpyDeviceToDevice,
                                 stream_of(context)));
}

// Threads for a pass over (n, d) in which each keeps to one feature: a multiple of d, and of kThreads but for the last
// block.
std::int64_t column_threads(std::int64_t n, std::int64_t d) {
  const std::int64_t wanted = std::min(n * d, kMostBlocks * kThreads);
  return std::max<std::int64_t>(wanted / d, 1) * d;
}

// largest(c) = the bits of max |points(i, c)|; zero before.
__global__ void largest_kernel(const float* points, std::int64_t n, std::int64_t d, std::int64_t threads,
                               unsigned* largest) {
  if (global_thread() >= threads) return;
  unsigned most = 0;
  for (std::int64_t i = global_thread(); i < n * d; i += threads) {
    const unsigned bits = __float_as_uint(points[i]) & 0x7fffffffU;
    most = bits > most ? bits : most;
  }
  atomicMax(&largest[global_thread() % d], most);
}

// total(c) += points(i, c), counted as integers.
__global__ void column_totals_kernel(const float* points, std::int64_t n, std::int64_t d, std::int64_t threads,
                                     const double* units_per_one, Total* totals) {
  if (global_thread() >= threads) return;
  const std::int64_t c = global_thread() % d;
  const double units = units_per_one[c];
  std::int64_t sum = 0;
  for (std::int64_t i = global_thread(); i < n * d; i += threads) sum += to_fixed(points[i], units);
  atomicAdd(&totals[c], static_cast<Total>(sum));
}

__device__ float row_distance(const float* point, const float* centre, std::int64_t d) {
  float sum = 0;
  for (std::int64_t c = 0; c < d; ++c) sum = add_squared_difference(point[c], centre[c], sum);
  return sum;
}

__global__ void distances_kernel(const float* points, std::int64_t n, std::int64_t d, const float* centre,
                                 float* distances) {
  const std::int64_t i = global_thread();
  if (i < n) distances[i] = row_distance(points + i * d, centre, d);
}

// A block sums kBlockRows consecutive distances, one thread adding what all have fetched: the order is promised.
__global__ void block_sums_kernel(const float* distances, std::int64_t n, double* sums) {
  struct Shared {
    float rows[kBlockRows];
  };
  auto& shared = *dynamic_shared<Shared>();
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kBlockRows;
  const int count = n - begin < kBlockRows ? static_cast<int>(n - begin) : kBlockRows;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
    shared.rows[i] = distances[begin + i];
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  double sum = 0;
  for (int i = 0; i < count; ++i) sum += static_cast<double>(shared.rows[i]);
  sums[blockIdx.x] = sum;
}

// Of the rows of all ranks.
double sum_in_blocks(const float* distances, std::int64_t n, Context& context) {
  const std::int64_t blocks = ceil_div(n, kBlockRows);
  Buffer<double> sums(context, {blocks});
  launch(context, blocks, kThreads, kBlockRows * sizeof(float), block_sums_kernel, distances, n, sums.view().data());
  double all = 0;
  for (const double sum : context.ranks.gather(sums.to_host())) all += sum;
  return all;
}

// --- up to three dimensions ------------------------------------------------------------------------------------------

constexpr int kTilePerLane = 8;  // points: with the tile, 256, as many as a window of the order (point_order.cu)
constexpr int kTilePoints = kTilePerLane * kWarp;

// The box of a tile's points, and their totals.
struct PointTile {
  Box box;
  std::int64_t total[kTreeFeatures];
  int count;
};

struct TiledPoints {
  const float4* points;  // (n) near ones together, as BoxTree::points
  const PointTile* tiles;
  std::int64_t n;
  int d;
};

// A warp makes the box and the totals of one tile.
__global__ void make_tiles_kernel(const float4* points, std::int64_t n, int d, const double* units_per_one,
                                  PointTile* tiles) {
  const std::int64_t tile = global_warp(), begin = tile * kTilePoints;
  if (begin >= n) return;
  const int count = n - begin < kTilePoints ? static_cast<int>(n - begin) : kTilePoints;
  PointTile made{};
  made.count = count;
  for (int axis = 0; axis < kTreeFeatures; ++axis) {
    float low = __uint_as_float(kInfinity), high = -low;
    std::int64_t total = 0;
    for (int i = lane_index(); i < count; i += kWarp) {
      const float4 point = points[begin + i];
      const float x = axis == 0 ? point.x : axis == 1 ? point.y : point.z;
      low = smaller(low, x);
      high = larger(high, x);
      if (axis < d) total += to_fixed(x, units_per_one[axis]);
    }
    made.box.low[axis] = warp_min(low);
    made.box.high[axis] = warp_max(high);
    made.total[axis] = warp_sum(total);
  }
  if (lane_index() == 0) tiles[tile] = made;
}

// Where a pass over the tiles leaves its results: totals where they are given, else labels and distances.
struct TileOutput {
  Total* totals;                // (k, d + 1): sums, and the count behind them
  const double* units_per_one;  // (d)
  int* labels;                  // (n)
  float* distances;             // (n) or null
};

// What a warp of assign_tiles_kernel needs of shared memory.
struct TileShared {
  float4 candidates[kMostCandidates];
  union {  // never both at once
    float ends[kMostCandidates];
    TogetherBuffer buffer;
  };
};

__device__ void add_total(const TileOutput& output, int d, int centroid, const std::int64_t* total, int count) {
  Total* row = output.totals + static_cast<std::int64_t>(centroid) * (d + 1);
  for (int axis = 0; axis < kTreeFeatures; ++axis) {
    if (axis < d) atomicAdd(&row[axis], static_cast<Total>(total[axis]));
  }
  atomicAdd(&row[d], static_cast<Total>(count));
}

// The nearest centroid of each of a lane's points: among the listed candidates, or by a search where there is no list.
__device__ __forceinline__ void nearest_of_points(const BoxTree& centroids, const float4 (&point)[kTilePerLane],
                                                  int count, TileShared& shared, Key (&nearest)[kTilePerLane]) {
  if (count < 0) {
    for (int part = 0; part < kTilePerLane; ++part) {
      float4 query = point[0];
#pragma unroll
      for (int i = 1; i < kTilePerLane; ++i) query = i == part ? point[i] : query;
      Nearest<1> found;
      __syncwarp();
      search_together(
          centroids, query.x, query.y, query.z, 1, [](Nearest<1>& list) { list.clear(1); }, shared.buffer, found);
#pragma unroll
      for (int i = 0; i < kTilePerLane; ++i) nearest[i] = i == part ? found.keys[0] : nearest[i];
    }
  }
  for (int j = 0; j < count; ++j) {
    const float4 candidate = shared.candidates[j];
#pragma unroll
    for (int i = 0; i < kTilePerLane; ++i) {
      const Key key = make_key(point_distance(point[i].x, point[i].y, point[i].z, candidate), point_index(candidate));
      nearest[i] = key < nearest[i] ? key : nearest[i];
    }
  }
}

// The points of a tile into the totals of their centroids: for few candidates the warp's shares go out as one sum each.
__device__ __forceinline__ void add_points(const TileOutput& output, int d, const float4 (&point)[kTilePerLane],
                                           const Key (&nearest)[kTilePerLane], int tile_count, int count,
                                           const TileShared& shared) {
  const int lane = lane_index();
  std::int64_t fixed[kTilePerLane][kTreeFeatures];
#pragma unroll
  for (int i = 0; i < kTilePerLane; ++i) {
    fixed[i][0] = to_fixed(point[i].x, output.units_per_one[0]);
    fixed[i][1] = d > 1 ? to_fixed(point[i].y, output.units_per_one[1]) : 0;
    fixed[i][2] = d > 2 ? to_fixed(point[i].z, output.units_per_one[2]) : 0;
  }
  constexpr int kMostShares = 16;  // candidates: each costs four sums over the warp, to save atomic ones; not timed
  if (count < 0 || count > kMostShares) {
#pragma unroll
    for (int i = 0; i < kTilePerLane; ++i) {
      if (i * kWarp + lane < tile_count) add_total(output, d, key_index(nearest[i]), fixed[i], 1);
    }
    return;
  }
  for (int j = 0; j < count; ++j) {
    const int centroid = point_index(shared.candidates[j]);
    std::int64_t sum[kTreeFeatures] = {};
    int members = 0;
#pragma unroll
    for (int i = 0; i < kTilePerLane; ++i) {
      const bool mine = i * kWarp + lane < tile_count && key_index(nearest[i]) == centroid;
      sum[0] += mine ? fixed[i][0] : 0;
      sum[1] += mine ? fixed[i][1] : 0;
      sum[2] += mine ? fixed[i][2] : 0;
      members += mine ? 1 : 0;
    }
    members = warp_sum(members);
    if (members == 0) continue;
    sum[0] = warp_sum(sum[0]);
    sum[1] = warp_sum(sum[1]);
    sum[2] = warp_sum(sum[2]);
    if (lane == 0) add_total(output, d, centroid, sum, members);
  }
}

// A warp does one tile: lists the centroids that can be nearest to a point of its box; one: adds the tile whole; else
// each lane labels its points, and the shares of the candidates are added up over the warp before they go out.
__global__ void __launch_bounds__(kWarpsPerBlock* kWarp, 4)
    assign_tiles_kernel(const __grid_constant__ BoxTree centroids, TiledPoints tiled, TileOutput output) {
  struct Shared {
    TileShared warps[kWarpsPerBlock];
  };
  auto& shared = dynamic_shared<Shared>()->warps[warp_in_block()];
  const std::int64_t begin = global_warp() * kTilePoints;
  if (begin >= tiled.n) return;
  const PointTile& tile = tiled.tiles[global_warp()];
  const int lane = lane_index(), d = tiled.d, tile_count = tile.count;
  const bool totals = output.totals != nullptr;
  const int count = list_candidates(centroids, tile.box, 1, shared.candidates, shared.ends);
  if (totals && count == 1) {
    if (lane == 0) add_total(output, d, point_index(shared.candidates[0]), tile.total, tile_count);
    return;
  }
  Key nearest[kTilePerLane];
  float4 point[kTilePerLane];
#pragma unroll
  for (int i = 0; i < kTilePerLane; ++i) {
    const int slot = i * kWarp + lane;
    point[i] = tiled.points[begin + (slot < tile_count ? slot : tile_count - 1)];
    nearest[i] = kFarthest;
  }
  nearest_of_points(centroids, point, count, shared, nearest);
  if (!totals) {
#pragma unroll
    for (int i = 0; i < kTilePerLane; ++i) {
      if (i * kWarp + lane >= tile_count) continue;
      output.labels[point_index(point[i])] = key_index(nearest[i]);
      if (output.distances != nullptr) output.distances[point_index(point[i])] = key_distance(nearest[i]);
    }
    return;
  }
  add_points(output, d, point, nearest, tile_count, count, shared);
}

// --- any dimension ---------------------------------------------------------------------------------------------------

constexpr int kPairPoints = 64;  // a block holds them against 128 centroids at a time (pairwise.cuh)

// A block labels kPairPoints points: all pairs with the centroids, the nearest so far in registers.
__global__ void __launch_bounds__(kPairThreads)
    assign_pairs_kernel(View<const float> points, View<const float> centroids, int* labels, float* distances) {
  using Tile = PairTile<kPairPoints>;
  auto& tile = *dynamic_shared<Tile>();
  const std::int64_t k = centroids.extent(0), point_begin = static_cast<std::int64_t>(blockIdx.x) * kPairPoints;
  float least[kPairSide];
  int label[kPairSide];
#pragma unroll
  for (int i = 0; i < kPairSide; ++i) {
    least[i] = __uint_as_float(kInfinity);
    label[i] = 0;
  }
  for (std::int64_t begin = 0; begin < k; begin += Tile::kReferences) {
    float pair[kPairSide][kPairSide];
    pair_distances<kPairPoints>(points, point_begin, centroids, begin, k, begin == 0, tile, pair);
#pragma unroll
    for (int j = 0; j < kPairSide; ++j) {
      // Centroids ascend within a thread: of equal distances the first stays.
      const std::int64_t centroid = begin + Tile::reference(j);
      const bool exists = centroid < k;
#pragma unroll
      for (int i = 0; i < kPairSide; ++i) {
        const bool nearer = exists && pair[i][j] < least[i];
        least[i] = nearer ? pair[i][j] : least[i];
        label[i] = nearer ? static_cast<int>(centroid) : label[i];
      }
    }
  }
  // The threads of a row of the block's grid are neighbouring lanes.
  static_assert(kWarp % Tile::kColumns == 0);
#pragma unroll
  for (int i = 0; i < kPairSide; ++i) {
    Key key = make_key(least[i], label[i]);
    for (int step = Tile::kColumns / 2; step > 0; step /= 2) {
      const Key other = __shfl_xor_sync(kAllLanes, key, step);
      key = other < key ? other : key;
    }
    const std::int64_t point = point_begin + Tile::query(i);
    if (threadIdx.x % Tile::kColumns != 0 || point >= points.extent(0)) continue;
    labels[point] = key_index(key);
    if (distances != nullptr) distances[point] = key_distance(key);
  }
}

constexpr int kPrivateTotals = 4096;  // numbers of a table that a block keeps for itself

// totals(label(i)) += points(i), element by element; small tables are gathered block by block first.
__global__ void row_totals_kernel(const float* points, std::int64_t n, std::int64_t d, const int* labels,
                                  const double* units_per_one, std::int64_t k, bool privately, Total* totals) {
  struct Shared {
    Total table[kPrivateTotals];
  };
  Total* table = privately ? dynamic_shared<Shared>()->table : totals;
  const int cells = privately ? static_cast<int>(k * (d + 1)) : 0;
  for (int cell = static_cast<int>(threadIdx.x); cell < cells; cell += kThreads) table[cell] = 0;
  __syncthreads();
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kThreads;
  for (std::int64_t element = global_thread(); element < n * d; element += stride) {
    const std::int64_t i = element / d, c = element % d;
    Total* row = table + labels[i] * (d + 1);
    atomicAdd(&row[c], static_cast<Total>(to_fixed(points[element], units_per_one[c])));
    if (c == 0) atomicAdd(&row[d], Total{1});
  }
  __syncthreads();
  for (int cell = static_cast<int>(threadIdx.x); cell < cells; cell += kThreads) {
    if (table[cell] != 0) atomicAdd(&totals[cell], table[cell]);
  }
}

// Points made ready for assignment to any centroids: sorted into tiles, or as they are. A rank may have none.
class Assignment {
 public:
  // `units_per_one` (d) of the totals, or null where only labels will be asked for.
  Assignment(View<const float> points, bool tiled, const double* units_per_one, Context& context)
      : points_(points), units_per_one_(units_per_one), context_(context) {
    if (!tiled || points.empty()) return;
    const std::int64_t n = points.extent(0), tiles = ceil_div(n, kTilePoints);
    const int d = static_cast<int>(points.extent(1));
    sorted_.emplace(n, context);
    tiles_.emplace(tiles, context);
    Scratch<double> nothing(units_per_one == nullptr ? d : 0, context);
    if (units_per_one == nullptr) clear(nothing.data(), d, context);
    order_points(points, sorted_->data(), kTilePoints, context);
    launch(context, ceil_div(tiles * kWarp, kThreads), kThreads, 0, make_tiles_kernel, sorted_->data(), n, d,
           units_per_one == nullptr ? nothing.data() : units_per_one, tiles_->data());
  }

  void labels(View<const float> centroids, int* labels, float* distances) {
    if (sorted_) return pass(centroids, {nullptr, nullptr, labels, distances});
    launch(context_, ceil_div(points_.extent(0), kPairPoints), kPairThreads, sizeof(PairTile<kPairPoints>),
           assign_pairs_kernel, points_, centroids, labels, distances);
  }

  // totals (k, d + 1): sums, and the count behind them. `scratch` (n) is for labels.
  void totals(View<const float> centroids, int* scratch, Total* totals) {
    const std::int64_t n = points_.extent(0), d = points_.extent(1), k = centroids.extent(0);
    clear(totals, k * (d + 1), context_);
    if (sorted_) return pass(centroids, {totals, units_per_one_, nullptr, nullptr});
    labels(centroids, scratch, nullptr);
    const bool privately = k * (d + 1) <= kPrivateTotals;
    launch(context_, at_most(ceil_div(n * d, kThreads)), kThreads, privately ? kPrivateTotals * sizeof(Total) : 0,
           row_totals_kernel, points_.data(), n, d, scratch, units_per_one_, k, privately, totals);
  }

 private:
  void pass(View<const float> centroids, const TileOutput& output) {
    // Centroids move little between iterations: the first order serves for all of them.
    if (tree_) {
      tree_->move_points(centroids, context_);
    } else {
      tree_.emplace(centroids, context_);
    }
    const std::int64_t n = points_.extent(0);
    const TiledPoints tiled{sorted_->data(), tiles_->data(), n, static_cast<int>(points_.extent(1))};
    launch(context_, ceil_div(ceil_div(n, kTilePoints), kWarpsPerBlock), kWarpsPerBlock * kWarp,
           kWarpsPerBlock * sizeof(TileShared), assign_tiles_kernel, tree_->tree(), tiled, output);
  }

  View<const float> points_;
  const double* units_per_one_;
  Context& context_;
  std::optional<Scratch<float4>> sorted_;
  std::optional<Scratch<PointTile>> tiles_;
  std::optional<BoxTreeStorage> tree_;
};

// --- Lloyd's iterations ----------------------------------------------------------------------------------------------

// The host reads this once per iteration.
struct Step {
  double movement;  // of all centroids, squared, summed
  unsigned long long empty;
};

// A thread makes the mean of one cluster and its movement; clusters without points are counted and left where they are.
__global__ void means_kernel(const Total* totals, std::int64_t k, std::int64_t d, const double* unit,
                             const float* before, float* after, double* movements, Step* step) {
  const std::int64_t j = global_thread();
  if (j >= k) return;
  const Total* row = totals + j * (d + 1);
  const auto count = static_cast<std::int64_t>(row[d]);
  if (count == 0) atomicAdd(&step->empty, 1ULL);
  double movement = 0;
  for (std::int64_t c = 0; c < d; ++c) {
    const float old = before[j * d + c];
    const float mean = count == 0 ? old : mean_of_total(static_cast<std::int64_t>(row[c]), count, unit[c]);
    const double t = static_cast<double>(mean) - static_cast<double>(old);
    movement = fma(t, t, movement);
    after[j * d + c] = mean;
  }
  movements[j] = movement;
}

// One block adds the movements in index order.
__global__ void sum_movements_kernel(const double* movements, std::int64_t k, Step* step) {
  struct Shared {
    double rows[kThreads];
  };
  auto& shared = *dynamic_shared<Shared>();
  double all = 0;
  for (std::int64_t begin = 0; begin < k; begin += kThreads) {
    if (begin + threadIdx.x < k) shared.rows[threadIdx.x] = movements[begin + threadIdx.x];
    __syncthreads();
    for (int i = 0; threadIdx.x == 0 && i < kThreads && begin + i < k; ++i) all += shared.rows[i];
    __syncthreads();
  }
  if (threadIdx.x == 0) step->movement = all;
}

// Sorted ascending, stably, these keys put the farthest point first and of equals the lowest index.
__global__ void far_keys_kernel(const float* distances, std::int64_t n, std::uint64_t* keys, int* order) {
  const std::int64_t i = global_thread();
  if (i >= n) return;
  keys[i] = 0xffffffffU - __float_as_uint(distances[i]);
  order[i] = static_cast<int>(i);
}

// Rows and labels of the points in `order`.
__global__ void pick_rows_kernel(const float* points, std::int64_t d, const int* labels, const int* order,
                                 std::int64_t count, float* rows, int* row_labels) {
  const std::int64_t element = global_thread();
  if (element >= count * d) return;
  const std::int64_t i = element / d, c = element % d;
  rows[element] = points[order[i] * d + c];
  if (c == 0) row_labels[i] = labels[order[i]];
}

class Lloyd {
 public:
  Lloyd(View<const float> points, const RankRows& rows, View<float> centroids, View<int> labels, Context& context)
      : points_(points),
        rows_(rows),
        centroids_(centroids),
        labels_(labels),
        context_(context),
        n_(points.extent(0)),
        d_(points.extent(1)),
        k_(centroids.extent(0)),
        fixed_(fixed_points()),
        units_per_one_(context, {d_}),
        unit_(context, {d_}),
        distances_(n_, context),
        totals_(context, {k_, d_ + 1}),
        next_(k_ * d_, context),
        movements_(k_, context),
        step_(context, {1}) {
    std::vector<double> units_per_one, unit;
    for (const FixedPoint& f : fixed_) {
      units_per_one.push_back(f.units_per_one);
      unit.push_back(f.unit);
    }
    units_per_one_.upload(units_per_one);
    unit_.upload(unit);
    assignment_.emplace(points, d_ <= kTreeFeatures, units_per_one_.view().data(), context);
  }

  // The inertia of all points about their one centroid.
  double spread() {
    Buffer<Total> totals(context_, {d_});
    clear(totals.view().data(), d_, context_);
    const std::int64_t threads = column_threads(n_, d_);
    launch(context_, ceil_div(threads, kThreads), kThreads, 0, column_totals_kernel, points_.data(), n_, d_, threads,
           units_per_one_.view().data(), totals.view().data());
    const std::vector<std::int64_t> sums = sum_over_ranks(totals);
    std::vector<float> mean;
    for (std::size_t c = 0; c < sums.size(); ++c) mean.push_back(mean_of_total(sums[c], rows_.all(), fixed_[c].unit));
    const Buffer<float> centre(context_, mean, {d_});
    launch(context_, ceil_div(n_, kThreads), kThreads, 0, distances_kernel, points_.data(), n_, d_,
           centre.view().data(), distances_.data());
    return sum_in_blocks(distances_.data(), n_, context_);
  }

  // One iteration; returns the summed squared movement and adds to `repaired`.
  double iterate(int& repaired) {
    assignment_->totals(centroids_, labels_.data(), totals_.view().data());
    if (context_.ranks.size() > 1) upload_totals(sum_over_ranks(totals_));
    Step step = means();
    if (step.empty > 0) {
      repaired += static_cast<int>(step.empty);
      repair(static_cast<std::int64_t>(step.empty));
      step = means();
    }
    copy(centroids_.data(), next_.data(), k_ * d_, context_);
    return step.movement;
  }

  double finish() {
    assignment_->labels(centroids_, labels_.data(), distances_.data());
    return sum_in_blocks(distances_.data(), n_, context_);
  }

 private:
  std::vector<FixedPoint> fixed_points() {
    Buffer<unsigned> largest(context_, {d_});
    clear(largest.view().data(), d_, context_);
    const std::int64_t threads = column_threads(n_, d_);
    launch(context_, ceil_div(threads, kThreads), kThreads, 0, largest_kernel, points_.data(), n_, d_, threads,
           largest.view().data());
    std::vector<std::int64_t> most;  // bits, which order as what they stand for
    for (const unsigned bits : largest.to_host()) most.push_back(bits);
    context_.ranks.max(most);
    std::vector<FixedPoint> fixed;
    for (const std::int64_t bits : most) {
      fixed.push_back(fixed_point(std::bit_cast<float>(static_cast<unsigned>(bits)), rows_.all()));
    }
    return fixed;
  }

  std::vector<std::int64_t> sum_over_ranks(const Buffer<Total>& totals) {
    const std::vector<Total> own = totals.to_host();
    std::vector<std::int64_t> all(own.begin(), own.end());
    context_.ranks.sum(all);
    return all;
  }
  void upload_totals(const std::vector<std::int64_t>& totals) {
    totals_.upload(std::vector<Total>(totals.begin(), totals.end()));
  }

  // Means out of the totals, into next_.
  Step means() {
    clear(step_.view().data(), 1, context_);
    launch(context_, ceil_div(k_, kThreads), kThreads, 0, means_kernel, totals_.view().data(), k_, d_,
           unit_.view().data(), centroids_.data(), next_.data(), movements_.data(), step_.view().data());
    launch(context_, 1, kThreads, kThreads * sizeof(double), sum_movements_kernel, movements_.data(), k_,
           step_.view().data());
    return step_.to_host()[0];
  }

  // Moves points into empty clusters, as kmeans.h promises, in the totals. Rare: done on the host, with the few points
  // that can be needed: one for each empty cluster, and at most one for each other cluster that would lose its last.
  void repair(std::int64_t empty) {
    assignment_->labels(centroids_, labels_.data(), distances_.data());
    const std::int64_t wanted = farthest_wanted(n_, empty, k_), first = rows_.begin[rank()];
    Buffer<std::uint64_t> keys(context_, {n_});
    Buffer<int> order(context_, {n_});
    launch(context_, ceil_div(n_, kThreads), kThreads, 0, far_keys_kernel, distances_.data(), n_, keys.view().data(),
           order.view().data());
    if (n_ > 0) sort_pairs(keys.view().data(), order.view().data(), n_, context_);
    Buffer<float> far_rows(context_, {wanted, d_});
    Buffer<int> far_labels(context_, {wanted});
    launch(context_, ceil_div(wanted * d_, kThreads), kThreads, 0, pick_rows_kernel, points_.data(), d_, labels_.data(),
           order.view().data(), wanted, far_rows.view().data(), far_labels.view().data());
    const std::vector<float> rows = far_rows.to_host();
    const std::vector<int> labels = far_labels.to_host(), which = first_of(order, wanted);
    const std::vector<std::uint64_t> far_keys = first_of(keys, wanted);
    std::vector<FarRow> far;
    for (std::size_t i = 0; i < which.size(); ++i) {
      const float distance = std::bit_cast<float>(0xffffffffU - static_cast<unsigned>(far_keys[i]));
      far.push_back({distance, labels[i], first + which[i]});
    }

    const std::vector<Total> own = totals_.to_host();  // of all ranks by now
    std::vector<std::int64_t> totals(own.begin(), own.end()), counts;
    for (std::int64_t j = 0; j < k_; ++j) counts.push_back(totals[j * (d_ + 1) + d_]);
    const std::vector<Move> moves = moves_into_empty(far, counts, context_.ranks);
    // What each moved row counts as, from the rank that owns it.
    std::vector<std::int64_t> moved(moves.size() * d_);
    for (std::size_t i = 0; i < moves.size(); ++i) {
      const auto mine =
          std::find_if(far.begin(), far.end(), [&](const FarRow& row) { return row.index == moves[i].row; });
      for (std::int64_t c = 0; mine != far.end() && c < d_; ++c) {
        moved[i * d_ + c] = to_fixed(rows[(mine - far.begin()) * d_ + c], fixed_[c].units_per_one);
      }
    }
    context_.ranks.sum(moved);
    for (std::size_t i = 0; i < moves.size(); ++i) {
      std::int64_t *from = &totals[moves[i].from * (d_ + 1)], *to = &totals[moves[i].to * (d_ + 1)];
      for (std::int64_t c = 0; c < d_; ++c) {
        from[c] -= moved[i * d_ + c];
        to[c] = moved[i * d_ + c];
      }
      --from[d_];
      to[d_] = 1;
    }
    upload_totals(totals);
  }

  std::size_t rank() const { return static_cast<std::size_t>(context_.ranks.rank()); }

  template <class T>
  std::vector<T> first_of(const Buffer<T>& buffer, std::int64_t count) {
    std::vector<T> host(static_cast<std::size_t>(count));
    context_.backend().download(host.data(), buffer.view().data(), host.size() * sizeof(T), context_);
    return host;
  }

  View<const float> points_;
  const RankRows& rows_;
  View<float> centroids_;
  View<int> labels_;
  Context& context_;
  std::int64_t n_, d_, k_;
  std::vector<FixedPoint> fixed_;  // (d)
  Buffer<double> units_per_one_, unit_;
  Scratch<float> distances_;
  Buffer<Total> totals_;
  Scratch<float> next_;
  Scratch<double> movements_;
  Buffer<Step> step_;
  std::optional<Assignment> assignment_;
};

// --- k-means++ -------------------------------------------------------------------------------------------------------

// What the draws leave for each other on the device.
struct Seeding {
  double units_per_one;
  unsigned largest;             // bits of the largest distance to centroid 0
  Total last_all;               // the sum of all weights that the last change of units left, kNeverChanged before it
  std::int64_t first_unchosen;  // no point before it is unchosen
};

__device__ Total weight_of(float distance, double units_per_one) {
  return static_cast<Total>(to_fixed(distance < FLT_MAX ? distance : FLT_MAX, units_per_one));
}

// distances(i) = the smaller of itself and the distance to centroid j; in round 0 the largest is found.
__global__ void lower_distances_kernel(const float* points, std::int64_t n, std::int64_t d, const float* centroids,
                                       std::int64_t j, float* distances, Seeding* seeding) {
  const std::int64_t i = global_thread();
  float distance = 0;
  if (i < n) {
    distance = row_distance(points + i * d, centroids + j * d, d);
    if (j > 0) distance = smaller(distance, distances[i]);
    distances[i] = distance;
  }
  if (j > 0) return;
  const unsigned largest = warp_max(__float_as_uint(distance));
  if (lane_index() == 0) atomicMax(&seeding->largest, largest);
}

__global__ void fix_units_kernel(std::int64_t n, Seeding* seeding) {
  const float largest = __uint_as_float(seeding->largest);
  seeding->units_per_one = fixed_point(largest < FLT_MAX ? largest : FLT_MAX, n).units_per_one;
  seeding->last_all = kNeverChanged;
}

__device__ Total sum_of_blocks(const Total* weights, std::int64_t n) {
  Total all = 0;
  for (std::int64_t block = lane_index(); block * kBlockRows < n; block += kWarp) all += weights[block];
  return warp_sum(all);
}

// By one warp, a few times in a run at most: counts the weights in units set by the largest of the distances there are;
// returns their sum.
__device__ Total renew_units(const float* distances, std::int64_t n, Total* weights, Seeding* seeding) {
  unsigned most = 0;
  for (std::int64_t i = lane_index(); i < n; i += kWarp) {
    const unsigned bits = __float_as_uint(distances[i]);
    most = bits > most ? bits : most;
  }
  const float largest = __uint_as_float(warp_max(most));
  const double units_per_one = fixed_point(largest < FLT_MAX ? largest : FLT_MAX, n).units_per_one;
  for (std::int64_t block = 0; block * kBlockRows < n; ++block) {
    const std::int64_t begin = block * kBlockRows, end = begin + kBlockRows < n ? begin + kBlockRows : n;
    Total sum = 0;
    for (std::int64_t i = begin + lane_index(); i < end; i += kWarp) sum += weight_of(distances[i], units_per_one);
    sum = warp_sum(sum);
    if (lane_index() == 0) weights[block] = sum;
  }
  __syncwarp();
  const Total all = sum_of_blocks(weights, n);
  if (lane_index() == 0) {
    seeding->units_per_one = units_per_one;
    seeding->last_all = all;
  }
  __syncwarp();
  return all;
}

// A block sums the weights of kBlockRows consecutive points.
__global__ void block_weights_kernel(const float* distances, std::int64_t n, const Seeding* seeding, Total* weights) {
  struct Shared {
    Total warps[kThreads / kWarp];
  };
  auto& shared = *dynamic_shared<Shared>();
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kBlockRows;
  const std::int64_t end = begin + kBlockRows < n ? begin + kBlockRows : n;
  Total sum = 0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    sum += weight_of(distances[i], seeding->units_per_one);
  }
  sum = warp_sum(sum);
  if (lane_index() == 0) shared.warps[warp_in_block()] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  Total all = 0;
  for (int warp = 0; warp < kThreads / kWarp; ++warp) all += shared.warps[warp];
  weights[blockIdx.x] = all;
}

// By one warp: the first i < count at which weight(0) + ... + weight(i) exceeds `left`, and what is left of it before
// i. One must exist. Each lane takes a stretch; then the stretch, of which there is one, is halved among the lanes
// again.
template <class Weight>
__device__ std::int64_t find_weight(std::int64_t count, Weight weight, Total& left) {
  std::int64_t begin = 0;
  while (true) {
    const std::int64_t stretch = (count + kWarp - 1) / kWarp;
    Total sum = 0;
    for (std::int64_t i = lane_index() * stretch; i < (lane_index() + 1) * stretch && i < count; ++i) {
      sum += weight(begin + i);
    }
    int lane = 0;
    Total before = 0;
    for (int other = 0; other < kWarp; ++other) {
      const Total theirs = __shfl_sync(kAllLanes, sum, other);
      if (lane == other && left >= before + theirs) {
        before += theirs;
        lane = other + 1;
      }
    }
    left -= before;
    begin += lane * stretch;
    if (stretch == 1) return begin;
    count = count - lane * stretch < stretch ? count - lane * stretch : stretch;
  }
}

// One warp draws centroid j and copies it.
__global__ void draw_kernel(const float* points, std::int64_t n, std::int64_t d, std::uint64_t seed, std::int64_t j,
                            const float* distances, Total* weights, std::uint8_t* chosen, float* centroids,
                            Seeding* seeding) {
  const Words words = random_words(seed, Stream::kmeans, static_cast<std::uint64_t>(j));
  std::int64_t pick = 0;
  if (j == 0) {
    pick = static_cast<std::int64_t>(uniform_below(static_cast<std::uint64_t>(n), words[0], words[1]));
  } else {
    const std::int64_t blocks = (n + kBlockRows - 1) / kBlockRows;
    Total all = sum_of_blocks(weights, n);
    if (weights_too_coarse(all, seeding->last_all, n)) all = renew_units(distances, n, weights, seeding);
    if (all > 0) {
      Total left = uniform_below(all, words[0], words[1]);
      const double units_per_one = seeding->units_per_one;
      const std::int64_t block = find_weight(
          blocks, [&](std::int64_t i) { return weights[i]; }, left);
      const std::int64_t begin = block * kBlockRows, rows = n - begin < kBlockRows ? n - begin : kBlockRows;
      pick = begin + find_weight(
                         rows, [&](std::int64_t i) { return weight_of(distances[begin + i], units_per_one); }, left);
    } else {
      pick = seeding->first_unchosen;
      while (chosen[pick] != 0) ++pick;
      __syncwarp();
      if (lane_index() == 0) seeding->first_unchosen = pick;
    }
  }
  __syncwarp();
  if (lane_index() == 0) chosen[pick] = 1;
  for (std::int64_t c = lane_index(); c < d; c += kWarp) centroids[j * d + c] = points[pick * d + c];
}

// k-means++ where several ranks own the rows: the draws are made on the host (kmeans_ranks.h), out of what the device
// says of this rank's rows.
class RankSeeding {
 public:
  RankSeeding(View<const float> points, View<float> centroids, Context& context)
      : points_(points),
        centroids_(centroids),
        context_(context),
        n_(points.extent(0)),
        distances_(context, {n_}),
        weights_(context, {ceil_div(n_, kBlockRows)}),
        seeding_(context, {1}) {
    clear(seeding_.view().data(), 1, context);
  }

  Draws::OwnRows own_rows() {
    return {.largest = [this] { return largest(); },
            .weigh =
                [this](double units_per_one) {
                  seeding_.upload(std::vector<Seeding>{{units_per_one, 0, kNeverChanged, 0}});
                  weigh();
                },
            .weight =
                [this] {
                  std::int64_t all = 0;
                  for (const Total weight : weights_.to_host()) all += static_cast<std::int64_t>(weight);
                  return all;
                },
            .at = [this](std::int64_t left) { return row_at(left); }};
  }

  // Copies a row of the rank `owner`, which is `row` there, to centroid j of every rank, and lowers the distances by it.
  void choose(std::int64_t j, std::int64_t row, int owner) {
    const std::int64_t d = points_.extent(1);
    std::vector<float> centroid(static_cast<std::size_t>(d));
    const std::size_t bytes = centroid.size() * sizeof(float);
    if (owner == context_.ranks.rank()) {
      context_.backend().download(centroid.data(), points_.data() + row * d, bytes, context_);
    }
    context_.ranks.broadcast(std::span(centroid), owner);
    context_.backend().upload(centroids_.data() + j * d, centroid.data(), bytes, context_);
    launch(context_, ceil_div(n_, kThreads), kThreads, 0, lower_distances_kernel, points_.data(), n_, d,
           centroids_.data(), j, distances_.view().data(), seeding_.view().data());
    if (j > 0) weigh();
  }

 private:
  void weigh() {
    launch(context_, ceil_div(n_, kBlockRows), kThreads, kThreads / kWarp * sizeof(Total), block_weights_kernel,
           distances_.view().data(), n_, seeding_.view().data(), weights_.view().data());
  }

  float largest() {
    Buffer<unsigned> bits(context_, {1});
    clear(bits.view().data(), 1, context_);
    const std::int64_t threads = column_threads(n_, 1);
    launch(context_, ceil_div(threads, kThreads), kThreads, 0, largest_kernel, distances_.view().data(), n_,
           std::int64_t{1}, threads, bits.view().data());
    return std::bit_cast<float>(bits.to_host()[0]);
  }

  std::int64_t row_at(std::int64_t left) {
    std::int64_t row = 0;
    for (const Total weight : weights_.to_host()) {
      if (left < static_cast<std::int64_t>(weight)) break;
      left -= static_cast<std::int64_t>(weight);
      row += kBlockRows;
    }
    std::vector<float> block(static_cast<std::size_t>(std::min<std::int64_t>(kBlockRows, n_ - row)));
    context_.backend().download(block.data(), distances_.view().data() + row, block.size() * sizeof(float), context_);
    const double units_per_one = seeding_.to_host()[0].units_per_one;
    for (const float distance : block) {
      left -= to_fixed(std::min(distance, FLT_MAX), units_per_one);
      if (left < 0) break;
      ++row;
    }
    return row;
  }

  View<const float> points_;
  View<float> centroids_;
  Context& context_;
  std::int64_t n_;
  Buffer<float> distances_;  // (n) to the nearest centroid
  Buffer<Total> weights_;    // of each block
  Buffer<Seeding> seeding_;
};

void plus_plus_on_ranks(View<const float> points, const RankRows& rows, std::uint64_t seed, View<float> centroids,
                        Context& context) {
  RankSeeding seeding(points, centroids, context);
  Draws draws(rows, context.ranks, seeding.own_rows());
  for (std::int64_t j = 0; j < centroids.extent(0); ++j) {
    const std::int64_t row = draws.draw(seed, j);
    const int owner = rows.owner_of(row);
    seeding.choose(j, row - rows.begin[static_cast<std::size_t>(owner)], owner);
    if (j == 0) draws.set_units();
    if (context.progress) context.progress(j + 1, centroids.extent(0));
  }
}

}  // namespace

void kmeans_assign(View<const float> points, View<const float> centroids, View<int> labels, View<float> distances,
                   Context& context) {
  const Range range("kmeans_assign");
  check_kmeans_assign(points, centroids, labels, distances);
  const std::int64_t n = points.extent(0);
  if (n == 0) return;
  constexpr std::int64_t kTiledCentroids = 128;  // below, looking at all pairs costs less than sorting the points
  const bool tiled = points.extent(1) <= kTreeFeatures && centroids.extent(0) >= kTiledCentroids;
  Assignment assignment(points, tiled, nullptr, context);
  assignment.labels(centroids, labels.data(), distances.empty() ? nullptr : distances.data());
}

void kmeans_plus_plus(View<const float> points, std::uint64_t seed, View<float> centroids, Context& context) {
  const Range range("kmeans_plus_plus");
  const RankRows rows = agree_on_rows(points.extent(0), context.ranks);
  check_kmeans_plus_plus(points, rows.all(), centroids);
  if (context.ranks.size() > 1) return plus_plus_on_ranks(points, rows, seed, centroids, context);
  const std::int64_t n = points.extent(0), d = points.extent(1), k = centroids.extent(0);
  const std::int64_t blocks = ceil_div(n, kBlockRows);
  Scratch<float> distances(n, context);
  Scratch<Total> weights(blocks, context);
  Scratch<std::uint8_t> chosen(n, context);
  Scratch<Seeding> seeding(1, context);
  clear(chosen.data(), n, context);
  clear(seeding.data(), 1, context);
  for (std::int64_t j = 0; j < k; ++j) {
    launch(context, 1, kWarp, 0, draw_kernel, points.data(), n, d, seed, j, distances.data(), weights.data(),
           chosen.data(), centroids.data(), seeding.data());
    launch(context, ceil_div(n, kThreads), kThreads, 0, lower_distances_kernel, points.data(), n, d, centroids.data(),
           j, distances.data(), seeding.data());
    if (j == 0) launch(context, 1, 1, 0, fix_units_kernel, n, seeding.data());
    launch(context, blocks, kThreads, kThreads / kWarp * sizeof(Total), block_weights_kernel, distances.data(), n,
           seeding.data(), weights.data());
    if (context.progress) context.progress(j + 1, k);
  }
}

KmeansResult kmeans_fit(View<const float> points, View<float> centroids, View<int> labels, const KmeansOptions& options,
                        Context& context) {
  const Range range("kmeans_fit");
  const RankRows rows = agree_on_rows(points.extent(0), context.ranks);
  check_kmeans_fit(points, rows.all(), centroids, labels, options);
  const std::int64_t n = rows.all(), d = points.extent(1);
  Lloyd lloyd(points, rows, centroids, labels, context);
  const double threshold =
      options.tolerance > 0 ? options.tolerance * (lloyd.spread() / (static_cast<double>(n) * static_cast<double>(d)))
                            : 0;
  KmeansResult result;
  while (result.iterations < options.max_iterations && !result.converged) {
    result.converged = lloyd.iterate(result.repaired) <= threshold;
    ++result.iterations;
    if (context.progress) context.progress(result.iterations, options.max_iterations);
    if (options.after_iteration) options.after_iteration(result);
  }
  result.inertia = lloyd.finish();
  return result;
}

}  // namespace scalelab::cuda
