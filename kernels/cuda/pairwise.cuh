// pairwise: distances between tiles of queries and references in any number of dimensions, in registers.
//
// A block owns kQueries queries; its threads form a grid of kQueries / 8 rows and the rest columns, and a thread holds
// the distances of 8 queries and 8 references. Coordinates pass through shared memory kDepth at a time, transposed, and
// every distance is its own chain over ascending coordinates: the canonical distance, bit for bit.
#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/distance.h"

namespace scalelab::cuda {

inline constexpr int kPairThreads = 128;  // a block: tiles of 64 x 128 or 16 x 512 pairs, 64 pairs a thread
inline constexpr int kPairSide = 8;       // queries, and references, of one thread
inline constexpr int kPairDepth = 8;      // coordinates in shared memory at a time

template <int kQueries>
struct PairTile {
  static constexpr int kRows = kQueries / kPairSide;
  static constexpr int kColumns = kPairThreads / kRows;
  static constexpr int kReferences = kColumns * kPairSide;
  // The row's end is padding: neighbouring coordinates start in other banks when rows are filled a point at a time.
  float queries[kPairDepth][kQueries + 4];
  float references[kPairDepth][kReferences + 4];

  // This thread's queries are query(0 .. 7) of the block's, its references reference(0 .. 7) of the tile. A thread's
  // eight come as two runs of four, so that they are read four at a time and a warp's reads fill whole lines.
  __device__ static int query(int i) {
    const int row = static_cast<int>(threadIdx.x) / kColumns;
    return 4 * row + i % 4 + i / 4 * (kQueries / 2);
  }
  __device__ static int reference(int i) {
    const int column = static_cast<int>(threadIdx.x) % kColumns;
    return 4 * column + i % 4 + i / 4 * (kReferences / 2);
  }
};

// Coordinates [depth, depth + kPairDepth), as far as there are any, of rows [begin, begin + kRows) into
// tile[coordinate][row]; rows from `end` on are zero, and their distances mean nothing.
template <int kRows, int kStride>
__device__ inline void load_transposed(View<const float> rows, std::int64_t begin, std::int64_t end, int depth,
                                       float (&tile)[kPairDepth][kStride]) {
  const int d = static_cast<int>(rows.extent(1));
  const int wide = d - depth < kPairDepth ? d - depth : kPairDepth;
  for (int slot = static_cast<int>(threadIdx.x); slot < kRows * wide; slot += kPairThreads) {
    const int row = slot / wide, c = slot % wide;
    tile[c][row] = begin + row < end ? rows.data()[(begin + row) * d + depth + c] : 0.0F;
  }
}

// distances[i][j] of query(i) and reference(j) for the tile of references [reference_begin, + kReferences). Every
// thread of the block takes part; the block is synchronised on return. `first` tile of a block: loads the queries,
// which stay in place where all coordinates fit at once.
template <int kQueries>
__device__ inline void pair_distances(View<const float> queries, std::int64_t query_begin, View<const float> references,
                                      std::int64_t reference_begin, std::int64_t reference_end, bool first,
                                      PairTile<kQueries>& tile, float (&distances)[kPairSide][kPairSide]) {
  using Tile = PairTile<kQueries>;
  const int d = static_cast<int>(queries.extent(1));
#pragma unroll
  for (int i = 0; i < kPairSide; ++i) {
#pragma unroll
    for (int j = 0; j < kPairSide; ++j) distances[i][j] = 0;
  }
  for (int depth = 0; depth < d; depth += kPairDepth) {
    if (first || d > kPairDepth) {
      load_transposed<kQueries>(queries, query_begin, queries.extent(0), depth, tile.queries);
    }
    load_transposed<Tile::kReferences>(references, reference_begin, reference_end, depth, tile.references);
    __syncthreads();
    const int wide = d - depth < kPairDepth ? d - depth : kPairDepth;
#pragma unroll 2
    for (int c = 0; c < wide; ++c) {
      float q[kPairSide], p[kPairSide];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float4 four_q = *reinterpret_cast<const float4*>(&tile.queries[c][Tile::query(4 * half)]);
        const float4 four_p = *reinterpret_cast<const float4*>(&tile.references[c][Tile::reference(4 * half)]);
        q[4 * half] = four_q.x, q[4 * half + 1] = four_q.y, q[4 * half + 2] = four_q.z, q[4 * half + 3] = four_q.w;
        p[4 * half] = four_p.x, p[4 * half + 1] = four_p.y, p[4 * half + 2] = four_p.z, p[4 * half + 3] = four_p.w;
      }
#pragma unroll
      for (int i = 0; i < kPairSide; ++i) {
#pragma unroll
        for (int j = 0; j < kPairSide; ++j) distances[i][j] = add_squared_difference(q[i], p[j], distances[i][j]);
      }
    }
    __syncthreads();
  }
}

}  // namespace scalelab::cuda
