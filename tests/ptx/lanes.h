// The registers of a warp's lanes, and loops over them that the compiler makes vector code of.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <type_traits>
#include <utility>

#include "tests/ptx/machine.h"

namespace ptx {

// In registers, 8 and 16 bits lie in the lower part of 32.
template <class T>
using Lane = std::conditional_t<(sizeof(T) < 4), u32, T>;
template <class D, class T>
Lane<D> to_lane(T value) {
  if constexpr (sizeof(D) < 4)
    return static_cast<std::make_unsigned_t<D>>(value);
  else
    return static_cast<D>(value);
}

template <class L>
inline void store(L* to, const L* values, Mask m) {
  if (m == kAll) {
    std::memcpy(to, values, sizeof(L) * kLanes);
  } else {
    for (int l = 0; l < kLanes; ++l) to[l] = m >> l & 1 ? values[l] : to[l];
  }
}
template <class L>
inline void store_same(L* to, L value, Mask m) {
  for (int l = 0; l < kLanes; ++l) to[l] = m >> l & 1 ? value : to[l];
}
inline void store_mask(Mask* to, Mask value, Mask m) { *to = (*to & ~m) | (value & m); }

// o[0] becomes F of o[1], o[2] ..., which have types A, in the lanes of the mask.
template <class F, class D, class... A>
void map(Warp& w, const Inst& in, Mask m) {
  alignas(64) Lane<D> result[kLanes];
  const auto loop = [&](const Lane<A>*... from) {
    for (int l = 0; l < kLanes; ++l) result[l] = to_lane<D>(F()(static_cast<A>(from[l])...));
  };
  [&]<std::size_t... i>(std::index_sequence<i...>) { loop(w.from<Lane<A>>(in.o[1 + i])...); }
  (std::index_sequence_for<A...>());
  store(w.to<Lane<D>>(in.o[0]), result, m);
}

// Calls body(lane) for each lane of the mask.
template <class F>
inline void for_lanes(Mask m, F&& body) {
  for (; m != 0; m &= m - 1) body(__builtin_ctz(m));
}

template <class T>
auto bits_of(T value) {
  return static_cast<std::make_unsigned_t<T>>(value);
}
inline float canonical(float x) { return x == x ? x : std::bit_cast<float>(0x7fffffffU); }
inline double canonical(double x) { return x == x ? x : std::bit_cast<double>(0xfff8000000000000ULL); }

enum AtomicOp : u8 { kAdd, kMin, kMax };

// What an opcode does where its operands are registers of one width each: the loop, and bytes a lane of the result and of
// each source (0: a predicate).
struct Form {
  Execute run = nullptr;
  int sources = 0;
  std::array<u8, 5> bytes{};
};
const Form* find_form(std::string_view opcode);  // null: none (arithmetic.cpp)

// Memory accesses (access.cpp), with registers of so many bytes a lane, and what lanes do together (together.cpp).
Execute load_of(Type type, int lane);
Execute matrix_load_of(bool turned);
Execute store_of(Type type, int lane);
Execute atomic_of(Type type);
void fence(Warp& w, const Inst&, Mask m);
enum ShuffleMode : u8 { kUpwards, kDownwards, kButterfly, kIndexed };
void shuffle(Warp& w, const Inst& in, Mask m);
enum VoteMode : u8 { kVotesIgnored, kVoteAll, kVoteAny, kVoteBallot };
void vote(Warp& w, const Inst& in, Mask m);
void multiply_tiles(Warp& w, const Inst& in, Mask m);

}  // namespace ptx
