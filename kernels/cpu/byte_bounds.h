// byte_bounds: lower bounds of scores (proposals.h) from rows rounded to bytes, at a quarter of a score's price where the
// processor multiplies bytes four at a time.
//
// With y = x - m and c' = c - m a score is |c'|^2 / 2 - y.c'. A row is replaced by whole numbers q of at most
// kMostByte and a scale a: y = a q + r, and c' = b p + s. The product q.p is exact in integers, and by Cauchy-Schwarz
//
//     y.c' = a b q.p + (a q).s + r.c'  <=  a b q.p + |a q| |s| + |r| |c'|.
//
// |r| and |s| are measured, not assumed, so that nothing is asked of how a row is rounded but that no |r| exceeds its |y|.
// The bound is put together in floats, with seven roundings of sums of at most |c'|^2 / 2 + |a q| (|c'| + 2 |s|) +
// |r| |c'|, and so within 7 u (|c'|^2 / 2 + 7 |y| |c'|), less than e of proposals.h: a limit that a *computed* score may
// not exceed, which has room for e, may be held against it. Rows with a scale below kLeastScale are rounded to zeros, so
// that only sums can underflow; what that adds is below underflow_of (proposals.h).
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/cpu/proposals.h"

namespace scalelab::cpu {

inline constexpr int kMostByte = 127;           // of a signed byte, the same on both sides of 0
inline constexpr float kLeastScale = 0x1p-90F;  // less could underflow (above)
// Most features whose products cannot overflow 32 bits: of 127 by 255 each, as one factor is held 128 higher.
inline constexpr std::int64_t kMostByteFeatures = 65536;
// Bytes of a row are multiplied four at a time.
inline constexpr std::int64_t kByteStep = 4;

// Whether this processor multiplies bytes four at a time, in the vectors of AVX-512.
inline bool has_byte_products() {
#if defined(__x86_64__) && defined(__GNUC__)
  return __builtin_cpu_supports("avx512vnni") != 0;
#else
  return false;
#endif
}

inline std::int64_t byte_width(std::int64_t d) { return (d + kByteStep - 1) / kByteStep * kByteStep; }

// A row x in bytes.
struct ByteRow {
  float scale = 0;   // a
  float length = 0;  // |a q| at most
  float rest = 0;    // |r| at most
  int offset = 0;    // -128 (sum of q), which undoes that p is held 128 higher
};

// Rows x, once for all c.
struct ByteRows {
  std::vector<std::int8_t> bytes;  // (n, byte_width)
  std::vector<ByteRow> rows;       // (n)
};

// Those that x is held against, in groups of kMaxLanes.
struct ByteGroups {
  // Makes room for k of d features.
  void resize(std::int64_t k, std::int64_t d) {
    const auto places = static_cast<std::size_t>((k + kMaxLanes - 1) / kMaxLanes * kMaxLanes);
    bytes.resize(places * static_cast<std::size_t>(byte_width(d)));
    half.resize(places, std::numeric_limits<float>::infinity());
    for (auto* each : {&scale, &length, &rest}) each->resize(places);
  }
  std::vector<std::uint8_t> bytes;  // (groups, byte_width / 4, kMaxLanes, 4) p + 128
  // All (groups, kMaxLanes):
  std::vector<float> half;          // |c'|^2 / 2; infinite in lanes without a c
  std::vector<float> scale;         // b
  std::vector<float> length, rest;  // |c'| and |s| at most
};

}  // namespace scalelab::cpu
