// random: counter-based random numbers (Philox 4x32-10), the same bits on every platform, compiler and backend.
//
// A number is a function of (seed, stream, index) alone, so that any thread can draw any of them in any order.
#pragma once

#include <Random123/philox.h>

#include <cstdint>

#include "scalelab/math.h"
#include "scalelab/view.h"

namespace scalelab {

// What a draw is for. Two uses never share a stream.
enum class Stream : std::uint32_t { mixture = 1, points, label_noise, weights, shuffle, kmeans, bootstrap, test, rows };

struct Words {
  std::uint32_t w[4];
  SCALELAB_HD std::uint32_t operator[](int i) const { return w[i]; }
};

struct NormalPair {
  double first, second;
};

// Four 32-bit words at (seed, stream, index, lane); `index` and `lane` are free for the caller to number draws with.
SCALELAB_HD inline Words random_words(std::uint64_t seed, Stream stream, std::uint64_t index, std::uint32_t lane = 0) {
  r123::Philox4x32 philox;
  r123::Philox4x32::ctr_type counter = {{static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
                                         lane, static_cast<std::uint32_t>(stream)}};
  r123::Philox4x32::key_type key = {{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)}};
  const auto words = philox(counter, key);
  return {words.v[0], words.v[1], words.v[2], words.v[3]};
}

// A multiple of 2^-24 in [0, 1), exact in fp32.
SCALELAB_HD inline float uniform_float(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24F; }

// A multiple of 2^-53 in [0, 1).
SCALELAB_HD inline double uniform_double(std::uint32_t high, std::uint32_t low) {
  const std::uint64_t bits = (static_cast<std::uint64_t>(high) << 32 | low) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

// A uniform integer below n (n >= 1) from 64 random bits; biased by less than n / 2^64.
SCALELAB_HD inline std::uint64_t uniform_below(std::uint64_t n, std::uint32_t high, std::uint32_t low) {
  // The high 64 bits of n * (high:low), by 32-bit halves, because a 128-bit type is not portable.
  const std::uint64_t n_high = n >> 32, n_low = n & 0xffffffffU;
  const std::uint64_t middle = n_high * low + ((n_low * low) >> 32);
  const std::uint64_t carry = n_low * high + (middle & 0xffffffffU);
  return n_high * high + (middle >> 32) + (carry >> 32);
}

// Two independent standard normals from four words (Box-Muller in fp64 with the arithmetic of math.h).
SCALELAB_HD inline NormalPair normal_pair(const Words& words) {
  const double u = 1.0 - uniform_double(words[0], words[1]);  // (0, 1]
  const double radius = square_root(-2.0 * natural_log(u));
  const SinCos turn = sin_cos_turns(uniform_double(words[2], words[3]));
  return {radius * turn.cos, radius * turn.sin};
}

// A random order of 0 .. n - 1, another for every (seed, epoch), evaluated for one position at a time: a Feistel
// network of eight rounds on the smallest power of two >= n and 64, walked until it lands below n.
class Shuffle {
 public:
  SCALELAB_HD Shuffle(std::uint32_t n, std::uint64_t seed, std::uint32_t epoch) : n_(n) {
    int bits = 6;  // below 64 positions the halves would be too short to mix
    while (bits < 32 && (std::uint64_t{1} << bits) < n) ++bits;
    low_bits_ = bits / 2;
    low_mask_ = (1U << low_bits_) - 1U;
    high_mask_ = (1U << (bits - low_bits_)) - 1U;
    const auto a = random_words(seed, Stream::shuffle, epoch, 0);
    const auto b = random_words(seed, Stream::shuffle, epoch, 1);
    for (int i = 0; i < 4; ++i) {
      keys_[i] = a[i];
      keys_[4 + i] = b[i];
    }
  }

  // The row at position i.
  SCALELAB_HD std::uint32_t operator()(std::uint32_t i) const {
    if (n_ <= 1) return 0;
    do i = walk(i);
    while (i >= n_);
    return i;
  }

  // One pass of the network: a bijection of the power of two.
  SCALELAB_HD std::uint32_t walk(std::uint32_t value) const {
    std::uint32_t low = value & low_mask_, high = value >> low_bits_;
    for (int round = 0; round < 8; round += 2) {
      // Each half is changed by a mixed copy of the other (the finaliser of MurmurHash3), so every round inverts.
      std::uint32_t mix = (low + keys_[round]) * 0x85ebca6bU;
      mix = (mix ^ (mix >> 13)) * 0xc2b2ae35U;
      high = (high ^ (mix >> 16)) & high_mask_;
      mix = (high + keys_[round + 1]) * 0x85ebca6bU;
      mix = (mix ^ (mix >> 13)) * 0xc2b2ae35U;
      low = (low ^ (mix >> 16)) & low_mask_;
    }
    return high << low_bits_ | low;
  }

 private:
  std::uint32_t n_, low_mask_, high_mask_, keys_[8];
  int low_bits_;
};

// The row at position i of the order of (seed, epoch).
SCALELAB_HD inline std::uint32_t shuffled_index(std::uint32_t i, std::uint32_t n, std::uint64_t seed,
                                                std::uint32_t epoch) {
  return n <= 1 ? 0 : Shuffle(n, seed, epoch)(i);
}

}  // namespace scalelab
