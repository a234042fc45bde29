// Sorting points into tiles: a recursive grid whose cells are visited in Morton order, and cut where a cell's share of
// the points fits a tile. Every level has its own box, so that clusters of any scale are resolved.
#include "kernels/kmeans_tiles.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>

#include "kernels/cpu/parallel.h"

namespace scalelab::cpu {

namespace {

struct Range {
  std::int64_t begin, end;
  bool crowded = false;  // more than a tile's points in one cell of its grid
};

// Cuts order[begin, end) into ranges of at most kTilePoints, reordering it; ranges of one crowded cell are left to the
// caller. `scratch` has the same indices. `chunks`: into how many pieces the work is cut for threads.
class Partition {
 public:
  Partition(View<const float> points, int* order, int* scratch, int chunks, Context& context)
      : points_(points),
        order_(order),
        scratch_(scratch),
        d_(static_cast<int>(points.extent(1))),
        chunks_(chunks),
        context_(context) {}

  void cut(std::int64_t begin, std::int64_t end, std::vector<Range>& ranges) {
    begin_ = begin;
    end_ = end;
    const std::int64_t count = end - begin;
    if (count <= kTilePoints) {
      ranges.push_back({begin, end});
      return;
    }
    double extent = measure();
    if (!(extent > 0)) {  // one place: any order will do
      for (std::int64_t i = begin; i < end; i += kTilePoints) ranges.push_back({i, std::min(i + kTilePoints, end)});
      return;
    }
    // About 16 points a cell: fine enough to cut tiles near their full size.
    const int bits_wanted = std::bit_width(static_cast<std::uint64_t>(count / 16)) / d_;
    bits_ = std::clamp(bits_wanted, 1, d_ == 2 ? 9 : 6);
    cells_per_one_ = static_cast<double>(1 << bits_) / extent;
    sort_by_cell();
    walk(0, std::int64_t{1} << (bits_ * d_), ranges);
  }

 private:
  // The box's low corner, and its longest side.
  double measure() {
    struct Corners {
      float low[kTreeFeatures], high[kTreeFeatures];
    };
    std::vector<Corners> found(static_cast<std::size_t>(chunks_));
    for_each_chunk([&](std::int64_t chunk, std::int64_t i0, std::int64_t i1) {
      Corners box{};
      for (int c = 0; c < d_; ++c) box.low[c] = box.high[c] = points_(order_[i0], c);
      for (std::int64_t i = i0; i < i1; ++i) {
        const float* x = &points_(order_[i], 0);
        for (int c = 0; c < d_; ++c) {
          box.low[c] = std::min(box.low[c], x[c]);
          box.high[c] = std::max(box.high[c], x[c]);
        }
      }
      found[static_cast<std::size_t>(chunk)] = box;
    });
    double extent = 0;
    for (int c = 0; c < d_; ++c) {
      float low = found[0].low[c], high = found[0].high[c];
      for (const Corners& box : found) {
        low = std::min(low, box.low[c]);
        high = std::max(high, box.high[c]);
      }
      low_[c] = low;
      extent = std::max(extent, static_cast<double>(high) - low);
    }
    return extent;
  }

  std::uint32_t cell_of(const float* x) const {
    std::uint32_t morton = 0;
    const int last = (1 << bits_) - 1;
    for (int c = 0; c < d_; ++c) {
      auto q = static_cast<std::uint32_t>(std::min(static_cast<int>((x[c] - low_[c]) * cells_per_one_), last));
      if (d_ == 2) {  // two (three) apart from each other
        q = (q | q << 8) & 0x00ff00ffU;
        q = (q | q << 4) & 0x0f0f0f0fU;
        q = (q | q << 2) & 0x33333333U;
        q = (q | q << 1) & 0x55555555U;
      } else {
        q = (q | q << 16) & 0x030000ffU;
        q = (q | q << 8) & 0x0300f00fU;
        q = (q | q << 4) & 0x030c30c3U;
        q = (q | q << 2) & 0x09249249U;
      }
      morton |= q << c;
    }
    return morton;
  }

  // A stable counting sort: each chunk counts, the counts of all become places, each chunk fills its places.
  void sort_by_cell() {
    const std::size_t cells = std::size_t{1} << (bits_ * d_);
    std::vector<std::uint32_t> keys(static_cast<std::size_t>(end_ - begin_));
    std::vector<std::vector<std::int64_t>> places(static_cast<std::size_t>(chunks_));
    for_each_chunk([&](std::int64_t chunk, std::int64_t i0, std::int64_t i1) {
      auto& count = places[static_cast<std::size_t>(chunk)];
      count.assign(cells, 0);
      for (std::int64_t i = i0; i < i1; ++i) {
        const std::uint32_t key = cell_of(&points_(order_[i], 0));
        keys[static_cast<std::size_t>(i - begin_)] = key;
        ++count[key];
      }
    });
    first_.assign(cells + 1, end_);
    std::int64_t place = begin_;
    for (std::size_t cell = 0; cell < cells; ++cell) {
      first_[cell] = place;
      for (auto& count : places) place += std::exchange(count[cell], place);
    }
    for_each_chunk([&](std::int64_t chunk, std::int64_t i0, std::int64_t i1) {
      auto& next = places[static_cast<std::size_t>(chunk)];
      for (std::int64_t i = i0; i < i1; ++i) scratch_[next[keys[static_cast<std::size_t>(i - begin_)]]++] = order_[i];
    });
    for_each_chunk(
        [&](std::int64_t, std::int64_t i0, std::int64_t i1) { std::copy(scratch_ + i0, scratch_ + i1, order_ + i0); });
  }

  // Cells [low, high): an aligned power of two of them, so that what they cover is a box.
  void walk(std::int64_t low, std::int64_t high, std::vector<Range>& ranges) const {
    const std::int64_t begin = first_[static_cast<std::size_t>(low)], end = first_[static_cast<std::size_t>(high)];
    if (begin == end) return;
    if (end - begin <= kTilePoints || high - low == 1) {
      ranges.push_back({begin, end, end - begin > kTilePoints});
      return;
    }
    const std::int64_t middle = (low + high) / 2;
    walk(low, middle, ranges);
    walk(middle, high, ranges);
  }

  template <class Body>
  void for_each_chunk(Body&& body) {
    const std::int64_t count = end_ - begin_;
    if (chunks_ == 1) {
      body(0, begin_, end_);
      return;
    }
    parallel_for(context_, chunks_, [&](std::int64_t chunk) {
      body(chunk, begin_ + count * chunk / chunks_, begin_ + count * (chunk + 1) / chunks_);
    });
  }

  View<const float> points_;
  int *order_, *scratch_;
  int d_, chunks_, bits_ = 0;
  Context& context_;
  std::int64_t begin_ = 0, end_ = 0;
  double low_[kTreeFeatures] = {}, cells_per_one_ = 0;
  std::vector<std::int64_t> first_;  // (cells + 1) place of each cell's first point
};

void cut_on_one_thread(View<const float> points, int* order, int* scratch, const Range& range, Context& context,
                       std::vector<Range>& ranges) {
  std::vector<Range> parts;
  Partition(points, order, scratch, 1, context).cut(range.begin, range.end, parts);
  for (const Range& part : parts) {
    if (part.crowded) {
      cut_on_one_thread(points, order, scratch, part, context, ranges);
    } else {
      ranges.push_back(part);
    }
  }
}

std::vector<Range> cut_into_tiles(View<const float> points, int* order, Context& context) {
  const std::int64_t n = points.extent(0);
  std::iota(order, order + n, 0);
  Buffer<int> scratch(context, {n});
  std::vector<Range> coarse, ranges;
  const auto chunks = static_cast<int>(std::clamp<std::int64_t>(n / 65536, 1, context.threads()));
  Partition(points, order, scratch.view().data(), chunks, context).cut(0, n, coarse);
  std::vector<std::vector<Range>> fine(coarse.size());
  parallel_for(context, static_cast<std::int64_t>(coarse.size()), [&](std::int64_t i) {
    auto& own = fine[static_cast<std::size_t>(i)];
    const Range& range = coarse[static_cast<std::size_t>(i)];
    if (range.crowded) {
      cut_on_one_thread(points, order, scratch.view().data(), range, context, own);
    } else {
      own.push_back(range);
    }
  });
  for (const auto& own : fine) ranges.insert(ranges.end(), own.begin(), own.end());
  return ranges;
}

void add(PointBox& whole, const PointBox& part, int d) {
  for (int c = 0; c < d; ++c) {
    whole.low[c] = whole.count == 0 ? part.low[c] : std::min(whole.low[c], part.low[c]);
    whole.high[c] = whole.count == 0 ? part.high[c] : std::max(whole.high[c], part.high[c]);
    whole.total[c] += part.total[c];
  }
  whole.count += part.count;
}

}  // namespace

SortedTiles::SortedTiles(View<const float> points, const double* units_per_one, Context& context)
    : d(static_cast<int>(points.extent(1))), order(context, {0}), coordinates(context, {0}) {
  Buffer<int> sorted(context, {points.extent(0)});
  const std::vector<Range> ranges = cut_into_tiles(points, sorted.view().data(), context);
  tile_count = static_cast<std::int64_t>(ranges.size());
  block_count = (tile_count + kBlockTiles - 1) / kBlockTiles;
  first_slot.resize(ranges.size() + 1);
  std::int64_t slot = 0;
  for (std::size_t tile = 0; tile < ranges.size(); ++tile) {
    first_slot[tile] = slot;
    slot += (ranges[tile].end - ranges[tile].begin + kTileAlign - 1) / kTileAlign * kTileAlign;
  }
  first_slot[ranges.size()] = slot;
  order = Buffer<int>(context, {slot});
  coordinates = Buffer<float>(context, {d, slot});
  tiles.resize(ranges.size());
  blocks.resize(static_cast<std::size_t>(block_count));
  parallel_for(context, block_count, [&](std::int64_t block) {
    const std::int64_t end_tile = std::min((block + 1) * kBlockTiles, tile_count);
    for (std::int64_t tile = block * kBlockTiles; tile < end_tile; ++tile) {
      const Range& range = ranges[static_cast<std::size_t>(tile)];
      const std::int64_t first = first_slot[static_cast<std::size_t>(tile)];
      const auto count = static_cast<int>(range.end - range.begin), all = slots(tile);
      int* ids = &order.view()(first);
      for (int i = 0; i < all; ++i) ids[i] = sorted.view()(range.begin + std::min(i, count - 1));
      PointBox box;
      box.count = count;
      for (int c = 0; c < d; ++c) {
        float* x = &coordinates.view()(c, first);
        for (int i = 0; i < all; ++i) x[i] = points(ids[i], c);
        float low = x[0], high = x[0];
        std::int64_t total = 0;
        for (int i = 0; i < count; ++i) {
          low = std::min(low, x[i]);
          high = std::max(high, x[i]);
          total += to_fixed(x[i], units_per_one[c]);
        }
        box.low[c] = low;
        box.high[c] = high;
        box.total[c] = total;
      }
      tiles[static_cast<std::size_t>(tile)] = box;
      add(blocks[static_cast<std::size_t>(block)], box, d);
    }
  });
}

}  // namespace scalelab::cpu
