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
// The lanes for which is(lane). In two steps, for a loop that gathers bits is no vector loop.
template <class F>
inline Mask lanes_where(F&& is) {
  alignas(64) u32 bits[kLanes];
  for (int l = 0; l < kLanes; ++l) bits[l] = is(l) ? 1U << l : 0U;
  Mask all = 0;
  for (int l = 0; l < kLanes; ++l) all |= bits[l];
  return all;
}
inline void store_mask(Mask* to, Mask value, Mask m) { *to = (*to & ~m) | (value & m); }

// What a source at a place holds in each lane, as a T. A bool is a predicate.
template <class T>
struct Source {
  Source(const Warp& w, const Inst& in, int place) : from(w.from<Lane<T>>(in.o[place])) {}
  T operator[](int l) const { return static_cast<T>(from[l]); }
  const Lane<T>* from;
};
template <>
struct Source<bool> {
  Source(const Warp& w, const Inst& in, int place) : from(w.predicate(in, place)) {}
  bool operator[](int l) const { return from >> l & 1; }
  Mask from;
};

// o[0] becomes F of o[2], o[3] ..., which have types A, in the lanes of the mask.
template <class F, class D, class... A>
void map(Warp& w, const Inst& in, Mask m) {
  const auto loop = [&](auto... from) {
    if constexpr (std::is_same_v<D, bool>) {
      store_mask(w.to<Mask>(in.o[0]), lanes_where([&](int l) { return F()(from[l]...); }), m);
    } else {
      alignas(64) Lane<D> result[kLanes];
      for (int l = 0; l < kLanes; ++l) result[l] = to_lane<D>(F()(from[l]...));
      store(w.to<Lane<D>>(in.o[0]), result, m);
    }
  };
  [&]<std::size_t... i>(std::index_sequence<i...>) { loop(Source<A>(w, in, 2 + i)...); }
  (std::index_sequence_for<A...>());
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

// What an opcode does where its operands are registers of one width each: bytes a lane of its sources and of its results (0:
// a predicate). Results lie at places 0, 1 ..., sources behind them, but not before place 2.
struct Form {
  Execute run = nullptr;
  std::vector<int> sources = {}, results = {};
  Kind kind = Kind::simple;
  u8 flags = 0;
  Meet meet = Meet::here;
};
using Forms = std::unordered_map<std::string, Form>;
const Form* find_form(const std::string& opcode);  // null: none (arithmetic.cpp)
void add_forms_of_lanes(Forms& to);                // what lanes do together, and what moves control (together.cpp)

// Memory accesses, with registers of so many bytes a lane (access.cpp).
Execute load_of(Type type, int lane);
void load_matrices(Warp& w, const Inst& in, Mask m);
Execute store_of(Type type, int lane);
Execute atomic_of(Type type);
enum VoteMode : u8 { kVotesIgnored, kVoteAll, kVoteAny, kVoteBallot };

}  // namespace ptx
