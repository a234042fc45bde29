// What each instruction does to 32 lanes, and the choice of it by opcode. After the PTX ISA's manual; what is not known
// here is refused.
#include <algorithm>
#include <bit>
#include <cfenv>
#include <chrono>
#include <cmath>
#include <limits>
#include <type_traits>

#include "tests/ptx/parse.h"

namespace ptx {

namespace {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s8 = std::int8_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

// --- lanes -----------------------------------------------------------------------------------------------------------
// In registers, 8 and 16 bits lie in the lower part of 32.
template <class T>
using Lane = std::conditional_t<(sizeof(T) < 4), u32, T>;
template <class T>
Lane<T> put(T value) {
  if constexpr (sizeof(T) < 4)
    return static_cast<std::make_unsigned_t<T>>(value);
  else
    return value;
}

template <class L>
inline void store(L* to, const L* values, Mask m) {
  if (m == kAll) {
    std::memcpy(to, values, sizeof(L) * kLanes);
  } else {
    for (int l = 0; l < kLanes; ++l) to[l] = m >> l & 1 ? values[l] : to[l];
  }
}
inline void store_mask(Mask* to, Mask value, Mask m) { *to = (*to & ~m) | (value & m); }

template <class D, class A, class F>
void map1(Warp& w, const Inst& in, Mask m) {
  alignas(64) Lane<D> t[kLanes];
  const Lane<A>* a = w.from<Lane<A>>(in.o[1]);
  for (int l = 0; l < kLanes; ++l) t[l] = put<D>(F()(static_cast<A>(a[l])));
  store(w.to<Lane<D>>(in.o[0]), t, m);
}
template <class D, class A, class B, class F>
void map2(Warp& w, const Inst& in, Mask m) {
  alignas(64) Lane<D> t[kLanes];
  const Lane<A>* a = w.from<Lane<A>>(in.o[1]);
  const Lane<B>* b = w.from<Lane<B>>(in.o[2]);
  for (int l = 0; l < kLanes; ++l) t[l] = put<D>(F()(static_cast<A>(a[l]), static_cast<B>(b[l])));
  store(w.to<Lane<D>>(in.o[0]), t, m);
}
template <class D, class A, class B, class C, class F>
void map3(Warp& w, const Inst& in, Mask m) {
  alignas(64) Lane<D> t[kLanes];
  const Lane<A>* a = w.from<Lane<A>>(in.o[1]);
  const Lane<B>* b = w.from<Lane<B>>(in.o[2]);
  const Lane<C>* c = w.from<Lane<C>>(in.o[3]);
  for (int l = 0; l < kLanes; ++l) t[l] = put<D>(F()(static_cast<A>(a[l]), static_cast<B>(b[l]), static_cast<C>(c[l])));
  store(w.to<Lane<D>>(in.o[0]), t, m);
}

// --- integers --------------------------------------------------------------------------------------------------------
template <class T>
using U = std::make_unsigned_t<T>;
template <class T>
using Wide = std::conditional_t<sizeof(T) == 8, std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>,
                                std::conditional_t<sizeof(T) == 4, std::conditional_t<std::is_signed_v<T>, s64, u64>,
                                                   std::conditional_t<std::is_signed_v<T>, s32, u32>>>;

#define PTX_OP(Name, ...)    \
  struct Name {              \
    template <class T>       \
    T operator() __VA_ARGS__ \
  };
PTX_OP(
    Add, (T a, T b) const { return static_cast<T>(static_cast<U<T>>(a) + static_cast<U<T>>(b)); })
PTX_OP(
    Sub, (T a, T b) const { return static_cast<T>(static_cast<U<T>>(a) - static_cast<U<T>>(b)); })
PTX_OP(
    MulLo, (T a, T b) const { return static_cast<T>(static_cast<u64>(a) * static_cast<u64>(b)); })
PTX_OP(
    MulHi,
    (T a, T b) const { return static_cast<T>((static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b)) >> (8 * sizeof(T))); })
PTX_OP(
    MadLo, (T a, T b, T c) const { return Add()(MulLo()(a, b), c); })
PTX_OP(
    MadHi, (T a, T b, T c) const { return Add()(MulHi()(a, b), c); })
PTX_OP(
    Div, (T a, T b) const {
      if (b == 0) return static_cast<T>(~T{0});
      if constexpr (std::is_signed_v<T>) {
        if (b == -1) return Sub()(T{0}, a);
      }
      return static_cast<T>(a / b);
    })
PTX_OP(
    Rem, (T a, T b) const {
      if (b == 0) return a;
      if constexpr (std::is_signed_v<T>) {
        if (b == -1) return T{0};
      }
      return static_cast<T>(a % b);
    })
PTX_OP(
    Min, (T a, T b) const { return b < a ? b : a; })
PTX_OP(
    Max, (T a, T b) const { return a < b ? b : a; })
PTX_OP(
    Abs, (T a) const { return a < 0 ? Sub()(T{0}, a) : a; })
PTX_OP(
    Neg, (T a) const { return Sub()(T{0}, a); })
PTX_OP(
    And, (T a, T b) const { return a & b; })
PTX_OP(
    Or, (T a, T b) const { return a | b; })
PTX_OP(
    Xor, (T a, T b) const { return a ^ b; })
PTX_OP(
    Not, (T a) const { return static_cast<T>(~a); })
PTX_OP(
    CNot, (T a) const { return static_cast<T>(a == 0); })
PTX_OP(
    Sad, (T a, T b, T c) const { return Add()(c, a < b ? Sub()(b, a) : Sub()(a, b)); })
PTX_OP(
    Same, (T a) const { return a; })
#undef PTX_OP
struct Shl {
  template <class T>
  T operator()(T a, u32 by) const {
    return by >= 8 * sizeof(T) ? T{0} : static_cast<T>(static_cast<U<T>>(a) << by);
  }
};
struct Shr {
  template <class T>
  T operator()(T a, u32 by) const {
    if (by >= 8 * sizeof(T)) return std::is_signed_v<T> && a < 0 ? static_cast<T>(-1) : T{0};
    return static_cast<T>(a >> by);
  }
};
template <class W, class T>
struct MulWide {
  W operator()(T a, T b) const { return static_cast<W>(a) * static_cast<W>(b); }
};
template <class W, class T>
struct MadWide {
  W operator()(T a, T b, W c) const {
    return static_cast<W>(static_cast<U<W>>(static_cast<W>(a) * static_cast<W>(b)) + static_cast<U<W>>(c));
  }
};
struct ShiftLeft {  // shf.l: of {c, b}: the upper word
  u32 operator()(u32 low, u32 high, u32 by) const {
    return static_cast<u32>(((u64{high} << 32 | low) << (by & 31)) >> 32);
  }
};
struct ShiftRight {
  u32 operator()(u32 low, u32 high, u32 by) const { return static_cast<u32>((u64{high} << 32 | low) >> (by & 31)); }
};
struct ShiftLeftClamp {
  u32 operator()(u32 low, u32 high, u32 by) const { return by >= 32 ? low : ShiftLeft()(low, high, by); }
};
struct ShiftRightClamp {
  u32 operator()(u32 low, u32 high, u32 by) const { return by >= 32 ? high : ShiftRight()(low, high, by); }
};
struct Popc {
  template <class T>
  u32 operator()(T a) const {
    return static_cast<u32>(__builtin_popcountll(a));
  }
};
struct Clz {
  template <class T>
  u32 operator()(T a) const {
    return static_cast<u32>(std::countl_zero(static_cast<U<T>>(a)));
  }
};
struct Brev {
  template <class T>
  T operator()(T a) const {
    T r = 0;
    for (unsigned i = 0; i < 8 * sizeof(T); ++i) r = static_cast<T>(r << 1 | (a >> i & 1));
    return r;
  }
};
template <bool kShift>
struct Bfind {
  template <class T>
  u32 operator()(T a) const {
    const U<T> v = std::is_signed_v<T> && a < 0 ? ~static_cast<U<T>>(a) : static_cast<U<T>>(a);
    if (v == 0) return 0xffffffff;
    const u32 zeros = static_cast<u32>(std::countl_zero(v));
    return kShift ? zeros : 8 * sizeof(T) - 1 - zeros;
  }
};
struct Bfe {
  template <class T>
  T operator()(T a, u32 b, u32 c) const {
    const int bits = 8 * sizeof(T), pos = b & 0xff, len = c & 0xff;
    const bool is_signed = std::is_signed_v<T>;
    const bool sign = is_signed && len != 0 && (static_cast<U<T>>(a) >> std::min(pos + len - 1, bits - 1) & 1);
    U<T> d = pos >= bits ? U<T>{0} : static_cast<U<T>>(a) >> pos;
    if (pos >= bits && sign) d = ~U<T>{0};
    if (len < bits) {
      const U<T> keep = (U<T>{1} << len) - 1;
      d &= keep;
      if (sign) d |= ~keep;
    }
    if (pos < bits && sign && pos + len > bits) d |= bits - pos < bits ? ~((U<T>{1} << (bits - pos)) - 1) : U<T>{0};
    return static_cast<T>(d);
  }
};
template <class T>
void bfi(Warp& w, const Inst& in, Mask m) {
  alignas(64) T t[kLanes];
  const T *a = w.from<T>(in.o[1]), *b = w.from<T>(in.o[2]);
  const u32 *c = w.from<u32>(in.o[3]), *d = w.from<u32>(in.o[4]);
  for (int l = 0; l < kLanes; ++l) {
    const u32 bits = 8 * sizeof(T), pos = c[l] & 0xff, len = d[l] & 0xff;
    const T ones = len >= bits ? ~T{0} : (T{1} << len) - 1;
    const T keep = pos >= bits ? T{0} : ones << pos;
    t[l] = (b[l] & ~keep) | ((pos >= bits ? T{0} : a[l] << pos) & keep);
  }
  store(w.to<T>(in.o[0]), t, m);
}
struct Prmt {
  u32 operator()(u32 a, u32 b, u32 c) const {
    const u64 bytes = u64{b} << 32 | a;
    u32 r = 0;
    for (int i = 0; i < 4; ++i) {
      const u32 how = c >> 4 * i & 15;
      u32 byte = static_cast<u32>(bytes >> 8 * (how & 7)) & 0xff;
      if (how & 8) byte = byte & 0x80 ? 0xff : 0;
      r |= byte << 8 * i;
    }
    return r;
  }
};
template <bool kWrap>
struct Bmsk {  // b ones from bit a on
  u32 operator()(u32 a, u32 b) const {
    if (kWrap) a &= 31, b &= 31;
    return a >= 32 ? 0 : (b >= 32 ? ~0U : (1U << b) - 1) << a;
  }
};
void lop3(Warp& w, const Inst& in, Mask m) {
  alignas(64) u32 t[kLanes];
  const u32 *a = w.from<u32>(in.o[1]), *b = w.from<u32>(in.o[2]), *c = w.from<u32>(in.o[3]);
  const u32 table = static_cast<u32>(in.imm);
  for (int l = 0; l < kLanes; ++l) {
    u32 r = 0;
    for (u32 i = 0; i < 8; ++i) {
      const u32 term = (i & 4 ? a[l] : ~a[l]) & (i & 2 ? b[l] : ~b[l]) & (i & 1 ? c[l] : ~c[l]);
      r |= table >> i & 1 ? term : 0;
    }
    t[l] = r;
  }
  store(w.to<u32>(in.o[0]), t, m);
}

// --- floating point --------------------------------------------------------------------------------------------------
inline float canonical(float x) { return x == x ? x : std::bit_cast<float>(0x7fffffffU); }
inline double canonical(double x) { return x == x ? x : std::bit_cast<double>(0xfff8000000000000ULL); }
inline float flush(float x) { return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0F, x) : x; }
inline double flush(double x) { return x; }

template <class F, bool kFtz, bool kSat>
struct Float {
  template <class... T>
  auto operator()(T... x) const {
    auto r = F()((kFtz ? flush(x) : x)...);
    if (kFtz) r = flush(r);
    if (kSat)
      r = r > 0 ? (r < 1 ? r : 1) : 0;  // NaN: 0
    else
      r = canonical(r);
    return r;
  }
};
#define PTX_FLOAT(Name, ...) \
  struct Name {              \
    template <class T>       \
    T operator() __VA_ARGS__ \
  };
PTX_FLOAT(
    FAdd, (T a, T b) const { return a + b; })
PTX_FLOAT(
    FSub, (T a, T b) const { return a - b; })
PTX_FLOAT(
    FMul, (T a, T b) const { return a * b; })
PTX_FLOAT(
    FDiv, (T a, T b) const { return a / b; })
PTX_FLOAT(
    FFma, (T a, T b, T c) const { return std::fma(a, b, c); })
PTX_FLOAT(
    FSqrt, (T a) const { return std::sqrt(a); })
PTX_FLOAT(
    FRcp, (T a) const { return T{1} / a; })
PTX_FLOAT(
    FRsqrt, (T a) const { return static_cast<T>(1 / std::sqrt(static_cast<double>(a))); })
PTX_FLOAT(
    FEx2, (T a) const { return static_cast<T>(std::exp2(static_cast<double>(a))); })
PTX_FLOAT(
    FLg2, (T a) const { return static_cast<T>(std::log2(static_cast<double>(a))); })
PTX_FLOAT(
    FSin, (T a) const { return static_cast<T>(std::sin(static_cast<double>(a))); })
PTX_FLOAT(
    FCos, (T a) const { return static_cast<T>(std::cos(static_cast<double>(a))); })
PTX_FLOAT(
    FTanh, (T a) const { return static_cast<T>(std::tanh(static_cast<double>(a))); })
// -0 < +0; a NaN gives the other.
PTX_FLOAT(
    FMin, (T a, T b) const {
      return a != a ? b : b != b ? a : a < b || (a == b && std::signbit(a)) ? a : b;
    })
PTX_FLOAT(
    FMax, (T a, T b) const {
      return a != a ? b : b != b ? a : a > b || (a == b && !std::signbit(a)) ? a : b;
    })
PTX_FLOAT(
    FMinNan, (T a, T b) const { return a != a   ? a
                                       : b != b ? b
                                                : FMin()(a, b); })
PTX_FLOAT(
    FMaxNan, (T a, T b) const { return a != a   ? a
                                       : b != b ? b
                                                : FMax()(a, b); })
#undef PTX_FLOAT
struct FAbs {
  float operator()(float a) const { return std::bit_cast<float>(std::bit_cast<u32>(a) & 0x7fffffffU); }
  double operator()(double a) const { return std::bit_cast<double>(std::bit_cast<u64>(a) & ~(1ULL << 63)); }
};
struct FNeg {
  float operator()(float a) const { return std::bit_cast<float>(std::bit_cast<u32>(a) ^ 0x80000000U); }
  double operator()(double a) const { return std::bit_cast<double>(std::bit_cast<u64>(a) ^ (1ULL << 63)); }
};
struct FCopySign {  // the sign of a, the rest of b
  template <class T>
  T operator()(T a, T b) const {
    return std::copysign(b, a);
  }
};

// Another rounding mode than to nearest.
template <Execute kRun, int kMode>
void rounded(Warp& w, const Inst& in, Mask m) {
  Execute volatile run = kRun;
  std::fesetround(kMode);
  run(w, in, m);
  std::fesetround(FE_TONEAREST);
}
template <Execute kRun>
Execute in_mode(const Statement& s) {
  if (s.has("rz")) return rounded<kRun, FE_TOWARDZERO>;
  if (s.has("rm")) return rounded<kRun, FE_DOWNWARD>;
  if (s.has("rp")) return rounded<kRun, FE_UPWARD>;
  return kRun;
}

// --- conversions -----------------------------------------------------------------------------------------------------
enum Round { kNearest, kToZero, kDown, kUp };
template <class F>
F to_integral(F x, Round how) {
  switch (how) {
    case kNearest: return std::nearbyint(x);
    case kToZero: return std::trunc(x);
    case kDown: return std::floor(x);
    default: return std::ceil(x);
  }
}
template <class D, class F, Round kHow, bool kFtz>
struct FloatToInt {
  D operator()(F x) const {
    using L = std::numeric_limits<D>;
    if (x != x)
      return sizeof(F) == 4 && sizeof(D) < 8 ? D{0} : std::is_signed_v<D> ? L::min() : static_cast<D>(1ULL << 63);
    if (kFtz) x = flush(x);
    const F y = to_integral(x, kHow);
    if (y < static_cast<F>(L::min())) return L::min();
    if (y >= static_cast<F>(std::ldexp(1.0, L::digits))) return L::max();
    return static_cast<D>(y);
  }
};
template <class F, Round kHow, bool kFtz>
struct FloatToIntegral {
  F operator()(F x) const { return to_integral(kFtz ? flush(x) : x, kHow); }
};
struct Convert {};
template <class D, class A, bool kSat>
struct IntToInt {
  D operator()(A a) const {
    if constexpr (kSat) {
      const __int128 v = a, low = std::numeric_limits<D>::min(), high = std::numeric_limits<D>::max();
      return static_cast<D>(v < low ? low : v > high ? high : v);
    }
    return static_cast<D>(a);
  }
};
template <class D, class A>
struct Cast {
  D operator()(A a) const { return static_cast<D>(a); }
};

// Source and destination registers may be wider than the types: the result is extended as its type says.
template <class D, class A, class F, bool kWideSource, bool kWideResult>
void convert(Warp& w, const Inst& in, Mask m) {
  using To =
      std::conditional_t<sizeof(D) == 8 || kWideResult, std::conditional_t<std::is_floating_point_v<D>, D, u64>, u32>;
  alignas(64) To t[kLanes];
  const auto each = [&](const auto* a) {
    for (int l = 0; l < kLanes; ++l) {
      A x;
      if constexpr (std::is_floating_point_v<A>)
        x = a[l];
      else
        x = static_cast<A>(a[l]);
      const D d = F()(x);
      if constexpr (std::is_same_v<To, D>)
        t[l] = d;
      else if constexpr (std::is_same_v<D, float>)
        t[l] = std::bit_cast<u32>(d);
      else if constexpr (std::is_signed_v<D>)
        t[l] = static_cast<To>(static_cast<s64>(d));
      else
        t[l] = static_cast<To>(d);
    }
  };
  if constexpr (std::is_floating_point_v<A>)
    each(w.from<A>(in.o[1]));
  else if constexpr (sizeof(A) == 8 || kWideSource)
    each(w.from<u64>(in.o[1]));
  else
    each(w.from<u32>(in.o[1]));
  store(w.to<To>(in.o[0]), t, m);
}
template <class D, class A, class F>
Execute conversion(const Inst&, bool wide_source, bool wide_result) {
  return wide_source ? (wide_result ? convert<D, A, F, true, true> : convert<D, A, F, true, false>)
                     : (wide_result ? convert<D, A, F, false, true> : convert<D, A, F, false, false>);
}

u32 bf16_of(float x) {
  if (x != x) return 0x7fff;
  const u32 bits = std::bit_cast<u32>(x);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
struct Bf16Pair {  // the first to the upper half
  u32 operator()(float a, float b) const { return bf16_of(a) << 16 | bf16_of(b); }
};
struct Bf16 {
  u16 operator()(float a) const { return static_cast<u16>(bf16_of(a)); }
};
struct Bf16ToFloat {
  float operator()(u16 a) const { return std::bit_cast<float>(static_cast<u32>(a) << 16); }
};

// --- comparisons and choices -----------------------------------------------------------------------------------------
// The lanes' answers as bits. In two steps, for a loop that gathers bits is no vector loop.
template <class F>
Mask bits_of(F&& answer) {
  alignas(64) u32 t[kLanes];
  for (int l = 0; l < kLanes; ++l) t[l] = answer(l) ? 1U << l : 0U;
  Mask r = 0;
  for (int l = 0; l < kLanes; ++l) r |= t[l];
  return r;
}
enum Compare { kEq, kNe, kLt, kLe, kGt, kGe, kEqu, kNeu, kLtu, kLeu, kGtu, kGeu, kNum, kNan };  // ..u: or a NaN
template <class T, int kOp>
Mask compare(const Lane<T>* a, const Lane<T>* b) {
  return bits_of([&](int l) {
    const T x = static_cast<T>(a[l]), y = static_cast<T>(b[l]);
    switch (kOp) {
      case kEq: return x == y;
      case kNe: return x < y || x > y;
      case kLt: return x < y;
      case kLe: return x <= y;
      case kGt: return x > y;
      case kGe: return x >= y;
      case kEqu: return !(x < y || x > y);
      case kNeu: return x != y;
      case kLtu: return !(x >= y);
      case kLeu: return !(x > y);
      case kGtu: return !(x <= y);
      case kGeu: return !(x < y);
      case kNum: return x == x && y == y;
      default: return x != x || y != y;
    }
  });
}
enum { kPlain, kWithAnd, kWithOr, kWithXor };
template <class T, int kOp>
void setp(Warp& w, const Inst& in, Mask m) {
  Mask r = compare<T, kOp>(w.from<Lane<T>>(in.o[2]), w.from<Lane<T>>(in.o[3]));
  Mask q = ~r;
  if (in.flags != 0) {
    Mask c = *w.from<Mask>(in.o[4]);
    if (in.flags & 8) c = ~c;
    const auto with = [&](Mask x) {
      return (in.flags & 7) == kWithAnd   ? x & c
             : (in.flags & 7) == kWithOr  ? x | c
             : (in.flags & 7) == kWithXor ? x ^ c
                                          : x;
    };
    r = with(r);
    q = with(q);
  }
  store_mask(w.to<Mask>(in.o[0]), r, m);
  if (in.o[1] != kNone) store_mask(w.to<Mask>(in.o[1]), q, m);
}
template <class T, int kOp>
void set(Warp& w, const Inst& in, Mask m) {  // flags: the result is 1.0F instead of all ones
  const Mask r = compare<T, kOp>(w.from<Lane<T>>(in.o[1]), w.from<Lane<T>>(in.o[2]));
  alignas(64) u32 t[kLanes];
  for (int l = 0; l < kLanes; ++l) t[l] = r >> l & 1 ? (in.flags ? 0x3f800000 : 0xffffffff) : 0;
  store(w.to<u32>(in.o[0]), t, m);
}
template <class L>
void selp(Warp& w, const Inst& in, Mask m) {
  Mask p = *w.from<Mask>(in.o[3]);
  if (in.flags) p = ~p;
  const L *a = w.from<L>(in.o[1]), *b = w.from<L>(in.o[2]);
  alignas(64) L t[kLanes];
  for (int l = 0; l < kLanes; ++l) t[l] = p >> l & 1 ? a[l] : b[l];
  store(w.to<L>(in.o[0]), t, m);
}
template <int kOp>
void predicate(Warp& w, const Inst& in, Mask m) {
  Mask a = *w.from<Mask>(in.o[1]), b = in.o[2] == kNone ? 0 : *w.from<Mask>(in.o[2]);
  if (in.flags & 1) a = ~a;
  if (in.flags & 2) b = ~b;
  store_mask(w.to<Mask>(in.o[0]), kOp == 0 ? a & b : kOp == 1 ? a | b : kOp == 2 ? a ^ b : kOp == 3 ? ~a : a, m);
}

// --- moves -----------------------------------------------------------------------------------------------------------
template <class L>
void move(Warp& w, const Inst& in, Mask m) {
  store(w.to<L>(in.o[0]), w.from<L>(in.o[1]), m);
}
// Packs and unpacks: pieces of flags bytes each, imm of them.
void pack(Warp& w, const Inst& in, Mask m) {
  const int bits = in.flags * 8, count = static_cast<int>(in.imm);
  alignas(64) u64 t[kLanes] = {};
  for (int i = 0; i < count; ++i) {
    const u32* a = w.from<u32>(in.o[1 + i]);
    for (int l = 0; l < kLanes; ++l)
      t[l] |= static_cast<u64>(bits == 32 ? a[l] : a[l] & ((1U << bits) - 1)) << i * bits;
  }
  if (bits * count == 64) return store(w.to<u64>(in.o[0]), t, m);
  alignas(64) u32 half[kLanes];
  for (int l = 0; l < kLanes; ++l) half[l] = static_cast<u32>(t[l]);
  store(w.to<u32>(in.o[0]), half, m);
}
void unpack(Warp& w, const Inst& in, Mask m) {
  const int bits = in.flags * 8, count = static_cast<int>(in.imm);
  alignas(64) u64 a[kLanes];
  if (bits * count == 64) {
    std::memcpy(a, w.from<u64>(in.o[count]), sizeof(a));
  } else {
    for (int l = 0; l < kLanes; ++l) a[l] = w.from<u32>(in.o[count])[l];
  }
  for (int i = 0; i < count; ++i) {
    if (in.o[i] == kNone) continue;
    alignas(64) u32 t[kLanes];
    for (int l = 0; l < kLanes; ++l) t[l] = static_cast<u32>(a[l] >> i * bits) & (bits == 32 ? ~0U : (1U << bits) - 1);
    store(w.to<u32>(in.o[i]), t, m);
  }
}

enum Special {
  kTidX,
  kTidY,
  kTidZ,
  kNtidX,
  kNtidY,
  kNtidZ,
  kCtaX,
  kCtaY,
  kCtaZ,
  kNctaX,
  kNctaY,
  kNctaZ,
  kLaneId,
  kWarpId,
  kNwarpId,
  kSmId,
  kNsmId,
  kMaskEq,
  kMaskLt,
  kMaskLe,
  kMaskGt,
  kMaskGe,
  kClock,
  kClock64,
  kTimer,
  kDynamicShared,
  kTotalShared,
  kGridId,
  kClusterX,
  kNclusterX,
  kClusterRank,
  kClusterSize,
  kInClusterX,
  kZero,
  kOne
};
const std::map<std::string_view, Special> kSpecials{{"%tid.x", kTidX},
                                                    {"%tid.y", kTidY},
                                                    {"%tid.z", kTidZ},
                                                    {"%ntid.x", kNtidX},
                                                    {"%ntid.y", kNtidY},
                                                    {"%ntid.z", kNtidZ},
                                                    {"%ctaid.x", kCtaX},
                                                    {"%ctaid.y", kCtaY},
                                                    {"%ctaid.z", kCtaZ},
                                                    {"%nctaid.x", kNctaX},
                                                    {"%nctaid.y", kNctaY},
                                                    {"%nctaid.z", kNctaZ},
                                                    {"%laneid", kLaneId},
                                                    {"%warpid", kWarpId},
                                                    {"%nwarpid", kNwarpId},
                                                    {"%smid", kSmId},
                                                    {"%nsmid", kNsmId},
                                                    {"%lanemask_eq", kMaskEq},
                                                    {"%lanemask_lt", kMaskLt},
                                                    {"%lanemask_le", kMaskLe},
                                                    {"%lanemask_gt", kMaskGt},
                                                    {"%lanemask_ge", kMaskGe},
                                                    {"%clock", kClock},
                                                    {"%clock64", kClock64},
                                                    {"%globaltimer", kTimer},
                                                    {"%dynamic_smem_size", kDynamicShared},
                                                    {"%total_smem_size", kTotalShared},
                                                    {"%gridid", kGridId},
                                                    {"%clusterid.x", kClusterX},
                                                    {"%nclusterid.x", kNclusterX},
                                                    {"%cluster_ctarank", kClusterRank},
                                                    {"%cluster_nctarank", kClusterSize},
                                                    {"%cluster_ctaid.x", kInClusterX},
                                                    {"%cluster_ctaid.y", kZero},
                                                    {"%cluster_ctaid.z", kZero},
                                                    {"%cluster_nctaid.x", kClusterSize},
                                                    {"%cluster_nctaid.y", kOne},
                                                    {"%cluster_nctaid.z", kOne}};
template <class L>
void special(Warp& w, const Inst& in, Mask m) {
  const Launch& launch = *w.worker->launch;
  const Block& block = *w.block;
  alignas(64) L t[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    const u32 thread = static_cast<u32>(w.index * kLanes + l);
    const auto value = [&]() -> u64 {
      switch (in.flags) {
        case kTidX: return thread % launch.block.x;
        case kTidY: return thread / launch.block.x % launch.block.y;
        case kTidZ: return thread / launch.block.x / launch.block.y;
        case kNtidX: return launch.block.x;
        case kNtidY: return launch.block.y;
        case kNtidZ: return launch.block.z;
        case kCtaX: return block.index.x;
        case kCtaY: return block.index.y;
        case kCtaZ: return block.index.z;
        case kNctaX: return launch.grid.x;
        case kNctaY: return launch.grid.y;
        case kNctaZ: return launch.grid.z;
        case kLaneId: return l;
        case kWarpId: return w.index;
        case kNwarpId: return block.warps.size();
        case kSmId: return block.linear % device().sms;
        case kNsmId: return device().sms;
        case kMaskEq: return 1U << l;
        case kMaskLt: return (1U << l) - 1;
        case kMaskLe: return (2U << l) - 1;
        case kMaskGt: return ~((2U << l) - 1);
        case kMaskGe: return ~((1U << l) - 1);
        case kClock:
        case kClock64:
        case kTimer: return static_cast<u64>(std::chrono::steady_clock::now().time_since_epoch().count());
        case kDynamicShared: return launch.dynamic_shared;
        case kTotalShared: return launch.dynamic_shared + launch.kernel->static_shared;
        case kClusterX: return block.index.x / launch.cluster.x;
        case kNclusterX: return launch.grid.x / launch.cluster.x;
        case kClusterRank:
        case kInClusterX: return block.rank;
        case kClusterSize: return launch.cluster.x;
        case kOne: return 1;
        default: return 0;
      }
    };
    t[l] = static_cast<L>(value());
  }
  store(w.to<L>(in.o[0]), t, m);
}

// --- memory ----------------------------------------------------------------------------------------------------------
struct Addresses {
  alignas(64) u64 at[kLanes];  // lanes not in the mask repeat one that is
  u64 low, high;
};
inline void find_addresses(Warp& w, const Inst& in, Mask m, Ref base, Addresses& a) {
  const u64 offset = static_cast<u64>(in.imm);
  if (base == kNone) {
    for (auto& x : a.at) x = offset;
  } else if (in.wide_base) {
    const u64* b = w.from<u64>(base);
    for (int l = 0; l < kLanes; ++l) a.at[l] = b[l] + offset;
  } else {
    const u32* b = w.from<u32>(base);
    for (int l = 0; l < kLanes; ++l) a.at[l] = static_cast<u32>(b[l] + offset);
  }
  if (m != kAll) {
    const u64 first = a.at[__builtin_ctz(m)];
    for (int l = 0; l < kLanes; ++l) a.at[l] = m >> l & 1 ? a.at[l] : first;
  }
  u64 low = a.at[0], high = a.at[0], any = 0;
  for (int l = 0; l < kLanes; ++l) {
    low = std::min(low, a.at[l]);
    high = std::max(high, a.at[l]);
    any |= a.at[l];
  }
  a.low = low;
  a.high = high;
  if (any & (in.bytes - 1)) {
    for (int l = 0; l < kLanes; ++l) {
      if (a.at[l] & (in.bytes - 1))
        fault(w, in, Mask{1} << l,
              "misaligned address " + memory::describe(a.at[l]) + " for an access of " + std::to_string(in.bytes) +
                  " bytes");
    }
  }
}

// Whether each lane's access lies in one allocation (global) or variable (others); otherwise the report.
__attribute__((noinline)) void look_up(Warp& w, const Inst& in, Mask m, Space space, const Addresses& a) {
  MemoryCache& cached = w.worker->caches[in.cache];
  for (int l = 0; l < kLanes; ++l) {
    if (!(m >> l & 1)) continue;
    const u64 from = a.at[l], to = from + in.bytes;
    Range range;
    bool found = false;
    if (space == Space::global) {
      found = memory::find(from, range);
    } else {
      const auto& kernel = *w.worker->launch->kernel;
      for (const Variable& v : space == Space::shared  ? w.worker->launch->shared
                               : space == Space::local ? kernel.local
                                                       : kernel.parameters) {
        if (from >= v.at && from < v.at + v.bytes) {
          range = {v.at, v.at + v.bytes};
          found = true;
        }
      }
    }
    if (!found || !range.holds(from, to)) {
      static const char* const names[] = {"generic", "global", "shared", "local", "param"};
      std::string text = std::string("out of bounds: ") + names[static_cast<int>(space)] + " access of " +
                         std::to_string(in.bytes) + " bytes at " +
                         (space == Space::global ? memory::describe(from) : "offset " + std::to_string(from));
      if (space == Space::shared) {
        text += " (variables:";
        for (const Variable& v : w.worker->launch->shared)
          text += " " + v.name + " [" + std::to_string(v.at) + ", " + std::to_string(v.at + v.bytes) + ")";
        text += ")";
      }
      fault(w, in, Mask{1} << l, text);
    }
    cached = {range, space};
  }
}

void bring_init(Warp& w, const Inst& in, Mask m, const Addresses& a, bool write) {
  for (int l = 0; l < kLanes; ++l) {
    if (!(m >> l & 1)) continue;
    if (write)
      memory::mark_init(a.at[l], in.bytes);
    else if (!memory::is_init(a.at[l], in.bytes))
      fault(w, in, Mask{1} << l, "reads uninitialised memory: " + memory::describe(a.at[l]));
  }
}

// Calls body(lanes, host address of each, space) once for each space that the lanes' addresses are in.
template <class F>
inline void access(Warp& w, const Inst& in, Mask m, Ref base, bool read, bool write, F&& body) {
  Addresses a;
  find_addresses(w, in, m, base, a);
  const auto in_space = [&](Mask lanes, Space space, u64 window) {
    Addresses moved;
    const Addresses* use = &a;
    if (window != 0 || lanes != m) {
      const u64 first = a.at[__builtin_ctz(lanes)] - window;
      moved.low = moved.high = first;
      for (int l = 0; l < kLanes; ++l) {
        moved.at[l] = lanes >> l & 1 ? a.at[l] - window : first;
        moved.low = std::min(moved.low, moved.at[l]);
        moved.high = std::max(moved.high, moved.at[l]);
      }
      use = &moved;
    }
    const MemoryCache& cache = w.worker->caches[in.cache];
    if (cache.space != space || !cache.range.holds(use->low, use->high + in.bytes)) look_up(w, in, lanes, space, *use);
    if (space == Space::global && memory::tracks_init()) [[unlikely]] {
      if (read) bring_init(w, in, lanes, *use, false);
      if (write) bring_init(w, in, lanes, *use, true);
    }
    if (race::on()) [[unlikely]]
      race::note(w, in, lanes, space, use->at, read, write);
    if (w.worker->counts != nullptr) [[unlikely]]
      count::note(w, in, lanes, space, use->at);
    char* const origin = space == Space::global   ? memory::host(0)
                         : space == Space::shared ? w.block->shared
                         : space == Space::local  ? w.local
                                                  : const_cast<char*>(w.worker->launch->parameters.data());
    const u64 stride = space == Space::local ? w.local_stride : 0;
    body(lanes, [&](int l) { return origin + use->at[l] + stride * l; });
  };
  if (in.space != Space::generic) return in_space(m, in.space, 0);
  if (memory::in_arena(a.low) && memory::in_arena(a.high)) return in_space(m, Space::global, 0);
  for (Mask rest = m; rest != 0;) {
    const u64 address = a.at[__builtin_ctz(rest)];
    const u64 windows[] = {kSharedWindow, kLocalWindow, kParamWindow};
    const Space spaces[] = {Space::shared, Space::local, Space::param};
    u64 window = 0, size = 0;
    Space space = Space::global;
    for (int i = 0; i < 3; ++i) {
      if (address - windows[i] < kWindowBytes) {
        window = windows[i];
        size = kWindowBytes;
        space = spaces[i];
      }
    }
    Mask lanes = 0;
    for (int l = 0; l < kLanes; ++l) {
      const bool here =
          size != 0 ? a.at[l] - window < size : a.at[l] - kSharedWindow >= kParamWindow + kWindowBytes - kSharedWindow;
      if ((rest >> l & 1) && here) lanes |= Mask{1} << l;
    }
    if (lanes == 0) lanes = Mask{1} << __builtin_ctz(rest);
    in_space(lanes, space, window);
    rest &= ~lanes;
  }
}

// A vector is moved at once, as by a device: CUB's blocks hand each other a value and its state in one.
inline void copy_at_once(void* to, const void* from, int bytes) {
  switch (bytes) {
    case 2: __builtin_memcpy(to, from, 2); return;
    case 4: __builtin_memcpy(to, from, 4); return;
    case 8: __builtin_memcpy(to, from, 8); return;
    default: __builtin_memcpy(to, from, 16);
  }
}

template <class T, class L>
void load(Warp& w, const Inst& in, Mask m) {
  const int count = in.count;
  access(w, in, m, in.o[count], true, false, [&](Mask lanes, auto&& at) {
    alignas(64) L t[4][kLanes];
    for (int l = 0; l < kLanes; ++l) {
      alignas(16) T values[16 / sizeof(T)];
      copy_at_once(values, at(l), in.bytes);
      for (int k = 0; k < count; ++k) {
        const T value = values[k];
        if constexpr (std::is_signed_v<T>)
          t[k][l] = static_cast<L>(static_cast<s64>(value));
        else
          t[k][l] = static_cast<L>(value);
      }
    }
    for (int k = 0; k < count; ++k) {
      if (in.o[k] != kNone) store(w.to<L>(in.o[k]), t[k], lanes);
    }
  });
}
template <class T, class L>
void load1(Warp& w, const Inst& in, Mask m) {
  access(w, in, m, in.o[1], true, false, [&](Mask lanes, auto&& at) {
    alignas(64) L t[kLanes];
    for (int l = 0; l < kLanes; ++l) {
      const T value = *reinterpret_cast<const volatile T*>(at(l));
      if constexpr (std::is_signed_v<T>)
        t[l] = static_cast<L>(static_cast<s64>(value));
      else
        t[l] = static_cast<L>(value);
    }
    store(w.to<L>(in.o[0]), t, lanes);
  });
}
template <class L>
void load_parameter(Warp& w, const Inst& in, Mask m) {  // at a known place: imm; flags: bytes and whether signed
  const int bytes = in.flags & 15;
  for (int k = 0; k < in.count; ++k) {
    u64 value = 0;
    std::memcpy(&value, w.worker->launch->parameters.data() + in.imm + k * bytes, bytes);
    if (in.flags & 16) value = static_cast<u64>(static_cast<s64>(value << (64 - 8 * bytes)) >> (64 - 8 * bytes));
    alignas(64) L t[kLanes];
    for (auto& x : t) x = static_cast<L>(value);
    if (in.o[k] != kNone) store(w.to<L>(in.o[k]), t, m);
  }
}
template <class T, class L>
void store_to(Warp& w, const Inst& in, Mask m) {
  const int count = in.count;
  access(w, in, m, in.o[0], false, true, [&](Mask lanes, auto&& at) {
    const L* from[4];
    for (int k = 0; k < count; ++k) from[k] = w.from<L>(in.o[1 + k]);
    for (Mask rest = lanes; rest != 0; rest &= rest - 1) {
      const int l = __builtin_ctz(rest);
      alignas(16) T values[16 / sizeof(T)];
      for (int k = 0; k < count; ++k) values[k] = static_cast<T>(from[k][l]);
      if (count == 1)
        *reinterpret_cast<volatile T*>(at(l)) = values[0];
      else
        copy_at_once(at(l), values, in.bytes);
    }
  });
}

enum AtomicOp { kAtomAdd, kAtomMin, kAtomMax, kAtomAnd, kAtomOr, kAtomXor, kAtomExch, kAtomCas, kAtomInc, kAtomDec };
template <class T>
T combined(int op, T old, T b, T c) {
  if constexpr (std::is_floating_point_v<T>) {
    return op == kAtomAdd ? canonical(old + b) : op == kAtomMin ? FMin()(old, b) : op == kAtomMax ? FMax()(old, b) : b;
  } else {
    switch (op) {
      case kAtomAdd: return Add()(old, b);
      case kAtomMin: return std::min(old, b);
      case kAtomMax: return std::max(old, b);
      case kAtomAnd: return old & b;
      case kAtomOr: return old | b;
      case kAtomXor: return old ^ b;
      case kAtomExch: return b;
      case kAtomCas: return old == b ? c : old;
      case kAtomInc: return old >= b ? T{0} : static_cast<T>(old + 1);
      default: return old == 0 || old > b ? b : static_cast<T>(old - 1);
    }
  }
}
template <class T>
void atomic(Warp& w, const Inst& in, Mask m) {
  access(w, in, m, in.o[1], true, true, [&](Mask lanes, auto&& at) {
    alignas(64) T before[kLanes];
    const T *b = w.from<T>(in.o[2]), *c = in.o[3] == kNone ? b : w.from<T>(in.o[3]);
    using Word = std::conditional_t<sizeof(T) == 8, u64, u32>;
    for (Mask rest = lanes; rest != 0; rest &= rest - 1) {
      const int l = __builtin_ctz(rest);
      Word* const place = reinterpret_cast<Word*>(at(l));
      Word old = __atomic_load_n(place, __ATOMIC_SEQ_CST);
      while (!__atomic_compare_exchange_n(place, &old,
                                          std::bit_cast<Word>(combined<T>(in.flags, std::bit_cast<T>(old), b[l], c[l])),
                                          false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
      }
      before[l] = std::bit_cast<T>(old);
    }
    if (in.o[0] != kNone) store(w.to<T>(in.o[0]), before, lanes);
  });
}
void fence(Warp& w, const Inst&, Mask m) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  if (race::on()) race::fence(w, m);
}
void nothing(Warp&, const Inst&, Mask) {}

// --- what lanes do together ------------------------------------------------------------------------------------------
enum ShuffleMode { kUpwards, kDownwards, kButterfly, kIndexed };
void shuffle(Warp& w, const Inst& in, Mask m) {
  alignas(64) u32 t[kLanes];
  const u32 *a = w.from<u32>(in.o[2]), *b = w.from<u32>(in.o[3]), *c = w.from<u32>(in.o[4]);
  Mask valid = 0;
  for (int l = 0; l < kLanes; ++l) {
    const int by = b[l] & 31, clamp = c[l] & 31, segment = c[l] >> 8 & 31;
    const int most = (l & segment) | (clamp & ~segment), least = l & segment;
    int j = l;
    bool in_range = false;
    switch (in.flags) {
      case kUpwards:
        j = l - by;
        in_range = j >= most;
        break;
      case kDownwards:
        j = l + by;
        in_range = j <= most;
        break;
      case kButterfly:
        j = l ^ by;
        in_range = j <= most;
        break;
      default: j = least | (by & ~segment); in_range = j <= most;
    }
    if (in_range)
      valid |= Mask{1} << l;
    else
      j = l;
    if ((m >> l & 1) && !(m >> j & 1))
      fault(w, in, Mask{1} << l,
            "shuffle reads lane " + std::to_string(j) + ", which does not take part (lanes " + std::to_string(m) + ")");
    t[l] = a[j & 31];
  }
  store(w.to<u32>(in.o[0]), t, m);
  if (in.o[1] != kNone) store_mask(w.to<Mask>(in.o[1]), valid, m);
}
enum VoteMode { kVoteAll, kVoteAny, kVoteUni, kVoteBallot };
void vote(Warp& w, const Inst& in, Mask m) {
  Mask p = *w.from<Mask>(in.o[1]);
  if (in.imm & 0x100) p = ~p;
  p &= m;
  if (in.flags == kVoteBallot) {
    alignas(64) u32 t[kLanes];
    for (auto& x : t) x = p;
    return store(w.to<u32>(in.o[0]), t, m);
  }
  const bool r = in.flags == kVoteAll ? p == m : in.flags == kVoteAny ? p != 0 : p == m || p == 0;
  store_mask(w.to<Mask>(in.o[0]), r ? kAll : 0, m);
}
template <class L>
void match(Warp& w, const Inst& in, Mask m) {  // flags: all instead of any
  const L* a = w.from<L>(in.o[2]);
  alignas(64) u32 t[kLanes] = {};
  bool same = true;
  for (int l = 0; l < kLanes; ++l) {
    if (!(m >> l & 1)) continue;
    for (int j = 0; j < kLanes; ++j) {
      if ((m >> j & 1) && a[j] == a[l]) t[l] |= 1U << j;
    }
    same &= t[l] == m;
  }
  if (in.flags) {
    for (auto& x : t) x = same ? m : 0;
  }
  store(w.to<u32>(in.o[0]), t, m);
  if (in.o[1] != kNone) store_mask(w.to<Mask>(in.o[1]), same ? kAll : 0, m);
}
template <class T>
void reduce(Warp& w, const Inst& in, Mask m) {
  const T* a = w.from<T>(in.o[1]);
  T r = a[__builtin_ctz(m)];
  for (Mask rest = m & (m - 1); rest != 0; rest &= rest - 1) r = combined<T>(in.flags, r, a[__builtin_ctz(rest)], T{});
  alignas(64) T t[kLanes];
  for (auto& x : t) x = r;
  store(w.to<T>(in.o[0]), t, m);
}
void active_mask(Warp& w, const Inst& in, Mask m) {
  alignas(64) u32 t[kLanes];
  for (auto& x : t) x = m;
  store(w.to<u32>(in.o[0]), t, m);
}
void elect(Warp& w, const Inst& in, Mask m) {
  alignas(64) u32 t[kLanes];
  for (auto& x : t) x = static_cast<u32>(__builtin_ctz(m));
  if (in.o[0] != kNone) store(w.to<u32>(in.o[0]), t, m);
  if (in.o[1] != kNone) store_mask(w.to<Mask>(in.o[1]), m & -m, m);
}

// mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32, with the fragments of the PTX ISA's manual: with g = lane / 4 and
// t = lane % 4, A's element i lies in row g (i = 0, 1, 4, 5) or g + 8, column 2t + i % 2 (+ 8 for i >= 4); B's in row
// 2t + i % 2 (+ 8 for i >= 2), column g; C's and D's in row g (i < 2) or g + 8, column 2t + i % 2.
void mma_bf16(Warp& w, const Inst& in, Mask m) {
  static const std::string mode = setting("PTX_MMA", "exact");  // exact: one rounding; chain: fp32, ascending; truncate
  float a[16][16], b[16][8], d[16][8];
  const auto half = [](u32 word, int i) { return std::bit_cast<float>(i == 0 ? word << 16 : word & 0xffff0000U); };
  for (int l = 0; l < kLanes; ++l) {
    const int g = l / 4, t = l % 4;
    for (int i = 0; i < 8; ++i) {
      const int row = i < 2 || (i >= 4 && i < 6) ? g : g + 8, column = 2 * t + (i & 1) + (i >= 4 ? 8 : 0);
      a[row][column] = half(w.from<u32>(in.o[4 + i / 2])[l], i & 1);
    }
    for (int i = 0; i < 4; ++i) b[2 * t + (i & 1) + (i >= 2 ? 8 : 0)][g] = half(w.from<u32>(in.o[8 + i / 2])[l], i & 1);
    for (int i = 0; i < 4; ++i) d[i < 2 ? g : g + 8][2 * t + (i & 1)] = w.from<float>(in.o[10 + i])[l];
  }
  for (int row = 0; row < 16; ++row) {
    if (mode == "chain") {
      for (int k = 0; k < 16; ++k) {
        for (int column = 0; column < 8; ++column) d[row][column] = std::fma(a[row][k], b[k][column], d[row][column]);
      }
    } else {
      double sum[8];
      for (int column = 0; column < 8; ++column) sum[column] = d[row][column];
      for (int k = 0; k < 16; ++k) {
        for (int column = 0; column < 8; ++column) sum[column] += static_cast<double>(a[row][k]) * b[k][column];
      }
      for (int column = 0; column < 8; ++column) {
        float r = static_cast<float>(sum[column]);
        if (mode == "truncate" && std::fabs(r) > std::fabs(sum[column])) r = std::nextafter(r, 0.0F);
        d[row][column] = r;
      }
    }
  }
  for (int i = 0; i < 4; ++i) {
    alignas(64) float t[kLanes];
    for (int l = 0; l < kLanes; ++l) t[l] = canonical(d[i < 2 ? l / 4 : l / 4 + 8][l % 4 * 2 + (i & 1)]);
    store(w.to<float>(in.o[i]), t, m);
  }
}

// --- the choice ------------------------------------------------------------------------------------------------------
[[noreturn]] void unknown(const char* what) {
  throw std::runtime_error(std::string("not known to this machine (") + what + ")");
}

template <class T>
struct Tag {
  using type = T;
};
template <class F>
Execute by_int(Type type, F&& f) {
  switch (type) {
    case Type::s16: return f(Tag<s16>());
    case Type::b16:
    case Type::u16: return f(Tag<u16>());
    case Type::s32: return f(Tag<s32>());
    case Type::b32:
    case Type::u32: return f(Tag<u32>());
    case Type::s64: return f(Tag<s64>());
    case Type::b64:
    case Type::u64: return f(Tag<u64>());
    default: unknown("integer type");
  }
}
template <class F>
Execute by_float(Type type, F&& f) {
  if (type == Type::f32) return f(Tag<float>());
  if (type == Type::f64) return f(Tag<double>());
  unknown("floating-point type");
}
bool is_float(Type type) { return type == Type::f32 || type == Type::f64; }
bool is_signed(Type type) { return type == Type::s8 || type == Type::s16 || type == Type::s32 || type == Type::s64; }

template <class F>
Execute int1(Type type) {
  return by_int(type, [](auto tag) -> Execute {
    using T = typename decltype(tag)::type;
    return map1<T, T, F>;
  });
}
template <class F>
Execute int2(Type type) {
  return by_int(type, [](auto tag) -> Execute {
    using T = typename decltype(tag)::type;
    return map2<T, T, T, F>;
  });
}
template <class F>
Execute int3(Type type) {
  return by_int(type, [](auto tag) -> Execute {
    using T = typename decltype(tag)::type;
    return map3<T, T, T, T, F>;
  });
}
template <class F, int kArity>
Execute real(const Statement& s, Type type) {
  return by_float(type, [&](auto tag) -> Execute {
    using T = typename decltype(tag)::type;
    const auto with = [&](auto op) -> Execute {
      using Op = typename decltype(op)::type;
      if constexpr (kArity == 1)
        return in_mode<map1<T, T, Op>>(s);
      else if constexpr (kArity == 2)
        return in_mode<map2<T, T, T, Op>>(s);
      else
        return in_mode<map3<T, T, T, T, Op>>(s);
    };
    if (s.has("ftz")) return s.has("sat") ? with(Tag<Float<F, true, true>>()) : with(Tag<Float<F, true, false>>());
    return s.has("sat") ? with(Tag<Float<F, false, true>>()) : with(Tag<Float<F, false, false>>());
  });
}

template <template <class, int> class Run, class F>
Execute compared(std::string_view op, Type type, F&& wrap) {
  if (is_float(type)) {
    return by_float(type, [&](auto tag) -> Execute {
      using T = typename decltype(tag)::type;
      if (op == "eq") return wrap(Run<T, kEq>());
      if (op == "ne") return wrap(Run<T, kNe>());
      if (op == "lt") return wrap(Run<T, kLt>());
      if (op == "le") return wrap(Run<T, kLe>());
      if (op == "gt") return wrap(Run<T, kGt>());
      if (op == "ge") return wrap(Run<T, kGe>());
      if (op == "equ") return wrap(Run<T, kEqu>());
      if (op == "neu") return wrap(Run<T, kNeu>());
      if (op == "ltu") return wrap(Run<T, kLtu>());
      if (op == "leu") return wrap(Run<T, kLeu>());
      if (op == "gtu") return wrap(Run<T, kGtu>());
      if (op == "geu") return wrap(Run<T, kGeu>());
      if (op == "num") return wrap(Run<T, kNum>());
      if (op == "nan") return wrap(Run<T, kNan>());
      unknown("comparison");
    });
  }
  return by_int(type, [&](auto tag) -> Execute {
    using T = typename decltype(tag)::type;
    if (op == "eq") return wrap(Run<T, kEq>());
    if (op == "ne") return wrap(Run<T, kNe>());
    if (op == "lt" || op == "lo") return wrap(Run<T, kLt>());
    if (op == "le" || op == "ls") return wrap(Run<T, kLe>());
    if (op == "gt" || op == "hi") return wrap(Run<T, kGt>());
    if (op == "ge" || op == "hs") return wrap(Run<T, kGe>());
    unknown("comparison");
  });
}
template <class T, int kOp>
struct SetpRun {
  static constexpr Execute run = setp<T, kOp>;
};
template <class T, int kOp>
struct SetRun {
  static constexpr Execute run = set<T, kOp>;
};

template <class F>
Execute by_memory(Type type, int lane, F&& f) {
  const auto with = [&](auto tag) -> Execute { return lane == 8 ? f(tag, Tag<u64>()) : f(tag, Tag<u32>()); };
  switch (type) {
    case Type::b8:
    case Type::u8: return with(Tag<u8>());
    case Type::s8: return with(Tag<s8>());
    case Type::b16:
    case Type::u16:
    case Type::f16:
    case Type::bf16: return with(Tag<u16>());
    case Type::s16: return with(Tag<s16>());
    case Type::b32:
    case Type::u32:
    case Type::f32: return with(Tag<u32>());
    case Type::s32: return with(Tag<s32>());
    case Type::b64:
    case Type::u64:
    case Type::s64:
    case Type::f64: return f(Tag<u64>(), Tag<u64>());
    default: unknown("type of a memory access");
  }
}

class Selector {
 public:
  Selector(const Statement& s, Inst& in, Builder& builder) : s(s), in(in), b(builder), op(s.parts[0]), type(s.type()) {}

  void select() {
    if (!arithmetic() && !floating() && !bits() && !choices() && !moves() && !memory_access() && !together() &&
        !control())
      unknown("opcode");
  }

 private:
  const Statement& s;
  Inst& in;
  Builder& b;
  const std::string_view op;
  const Type type;
  std::string_view reads_;

  const Operand& operand(std::size_t i) const {
    if (i >= s.operands.size()) unknown("too few operands");
    return s.operands[i];
  }
  Ref source(const Operand& o, int bytes) {
    if (o.kind == Operand::reg) {
      const int own = lane_bytes(b.register_type(o.id));
      if (own != bytes) unknown("register of another width than the type's");
      return o.id;
    }
    if (o.kind == Operand::number) {
      std::uint64_t bits = o.bits;
      if (o.form == 'd' && bytes == 4) bits = std::bit_cast<u32>(static_cast<float>(std::bit_cast<double>(bits)));
      if (o.form == 'f' && bytes == 8)
        bits = std::bit_cast<u64>(static_cast<double>(std::bit_cast<float>(static_cast<u32>(bits))));
      return b.constant(bits, bytes);
    }
    if (o.kind == Operand::symbol) {
      Space space;
      return b.constant(b.symbol(o.name, space) + o.offset, bytes);
    }
    unknown("operand");
  }
  Ref source16(const Operand& o) {
    if (o.kind == Operand::number) return b.constant(o.bits & 0xffff, 4);
    return source(o, 4);
  }
  Ref value(std::size_t i, Type t) {
    if (bytes_of(t) == 2) return source16(operand(i));
    return source(operand(i), lane_bytes(t));
  }
  Ref predicate_source(std::size_t i) {
    const Operand& o = operand(i);
    if (o.kind == Operand::number) return b.constant(o.bits, 0);
    if (o.kind != Operand::reg || b.register_type(o.id) != Type::pred) unknown("a predicate was expected");
    return o.id;
  }
  void result(int place, int id, int bytes) {
    if (id < 0) return;
    if (lane_bytes(b.register_type(id)) != bytes) unknown("result register of another width than the type's");
    in.o[place] = id;
    in.defs |= 1 << place;
  }
  void result(Type t) {
    if (operand(0).kind == Operand::sink) unknown("no result");
    result(0, operand(0).id, lane_bytes(t));
  }
  void sources(Type t, int count) {
    result(t);
    for (int i = 1; i <= count; ++i) in.o[i] = value(i, t);
  }
  bool is(std::string_view name) const { return op == name; }

  bool arithmetic() {
    if (is_float(type) || type == Type::f16x2 || type == Type::bf16x2 || type == Type::f16 || type == Type::bf16)
      return false;
    if (s.has("cc") || is("addc") || is("subc") || is("madc")) unknown("carry");
    if (is("add") || is("sub")) {
      if (s.has("sat")) unknown("sat");
      sources(type, 2);
      in.run = is("add") ? int2<Add>(type) : int2<Sub>(type);
    } else if (is("mul") || is("mad")) {
      const bool mad = is("mad");
      if (s.has("wide")) {
        const Type wide =
            bytes_of(type) == 4 ? (is_signed(type) ? Type::s64 : Type::u64) : (is_signed(type) ? Type::s32 : Type::u32);
        result(wide);
        in.o[1] = value(1, type);
        in.o[2] = value(2, type);
        if (mad) in.o[3] = value(3, wide);
        const auto pick = [&](auto w, auto t) -> Execute {
          using W = typename decltype(w)::type;
          using T = typename decltype(t)::type;
          return mad ? map3<W, T, T, W, MadWide<W, T>> : map2<W, T, T, MulWide<W, T>>;
        };
        if (type == Type::s32)
          in.run = pick(Tag<s64>(), Tag<s32>());
        else if (type == Type::u32)
          in.run = pick(Tag<u64>(), Tag<u32>());
        else if (type == Type::s16)
          in.run = pick(Tag<s32>(), Tag<s16>());
        else if (type == Type::u16)
          in.run = pick(Tag<u32>(), Tag<u16>());
        else
          unknown("mul.wide");
      } else if (s.has("hi")) {
        sources(type, mad ? 3 : 2);
        in.run = mad ? int3<MadHi>(type) : int2<MulHi>(type);
      } else if (s.has("lo")) {
        sources(type, mad ? 3 : 2);
        in.run = mad ? int3<MadLo>(type) : int2<MulLo>(type);
      } else {
        unknown("mul");
      }
    } else if (is("div") || is("rem")) {
      sources(type, 2);
      in.run = is("div") ? int2<Div>(type) : int2<Rem>(type);
    } else if (is("min") || is("max")) {
      if (s.has("relu")) unknown("relu");
      sources(type, 2);
      in.run = is("min") ? int2<Min>(type) : int2<Max>(type);
    } else if (is("abs") || is("neg")) {
      sources(type, 1);
      in.run = is("abs") ? int1<Abs>(type) : int1<Neg>(type);
    } else if (is("sad")) {
      sources(type, 3);
      in.run = int3<Sad>(type);
    } else {
      return false;
    }
    return true;
  }

  bool floating() {
    if (!is_float(type) || is("setp") || is("selp") || is("slct") || is("mov") || is("cvt") || is("ld") || is("st") ||
        is("atom") || is("red") || is("set") || is("mma"))
      return false;
    const bool f64 = type == Type::f64;
    if (is("add") || is("sub") || is("mul")) {
      sources(type, 2);
      in.run = is("add") ? real<FAdd, 2>(s, type) : is("sub") ? real<FSub, 2>(s, type) : real<FMul, 2>(s, type);
    } else if (is("fma") || is("mad")) {
      sources(type, 3);
      in.run = real<FFma, 3>(s, type);
    } else if (is("div")) {
      sources(type, 2);
      in.run = real<FDiv, 2>(s, type);
    } else if (is("rcp") || is("sqrt") || is("rsqrt")) {
      sources(type, 1);
      if (is("rcp")) in.run = real<FRcp, 1>(s, type);
      if (is("sqrt")) in.run = real<FSqrt, 1>(s, type);
      if (is("rsqrt")) in.run = real<FRsqrt, 1>(s, type);
    } else if (is("ex2") || is("lg2") || is("sin") || is("cos") || is("tanh")) {
      if (f64) unknown("type");
      sources(type, 1);
      in.run = is("ex2")   ? real<FEx2, 1>(s, type)
               : is("lg2") ? real<FLg2, 1>(s, type)
               : is("sin") ? real<FSin, 1>(s, type)
               : is("cos") ? real<FCos, 1>(s, type)
                           : real<FTanh, 1>(s, type);
    } else if (is("min") || is("max")) {
      if (s.has("xorsign") || s.operands.size() != 3) unknown("min/max");
      sources(type, 2);
      if (s.has("NaN"))
        in.run = is("min") ? real<FMinNan, 2>(s, type) : real<FMaxNan, 2>(s, type);
      else
        in.run = is("min") ? real<FMin, 2>(s, type) : real<FMax, 2>(s, type);
    } else if (is("abs") || is("neg")) {
      sources(type, 1);
      in.run = f64 ? (is("abs") ? map1<double, double, FAbs> : map1<double, double, FNeg>)
                   : (is("abs") ? map1<float, float, FAbs> : map1<float, float, FNeg>);
    } else if (is("copysign")) {
      sources(type, 2);
      in.run = f64 ? map2<double, double, double, FCopySign> : map2<float, float, float, FCopySign>;
    } else {
      return false;
    }
    return true;
  }

  bool bits() {
    if (is("and") || is("or") || is("xor") || is("not") || is("cnot")) {
      if (type == Type::pred) {
        result(0, operand(0).id, 0);
        in.o[1] = predicate_source(1);
        if (!is("not")) in.o[2] = predicate_source(2);
        in.flags = (operand(1).negated ? 1 : 0) | (!is("not") && operand(2).negated ? 2 : 0);
        in.run = is("and") ? predicate<0> : is("or") ? predicate<1> : is("xor") ? predicate<2> : predicate<3>;
        return true;
      }
      sources(type, is("not") || is("cnot") ? 1 : 2);
      in.run = is("and")   ? int2<And>(type)
               : is("or")  ? int2<Or>(type)
               : is("xor") ? int2<Xor>(type)
               : is("not") ? int1<Not>(type)
                           : int1<CNot>(type);
    } else if (is("shl") || is("shr")) {
      result(type);
      in.o[1] = value(1, type);
      in.o[2] = value(2, Type::u32);
      const bool left = is("shl");
      in.run = by_int(type, [&](auto tag) -> Execute {
        using T = typename decltype(tag)::type;
        return left ? map2<T, T, u32, Shl> : map2<T, T, u32, Shr>;
      });
    } else if (is("shf")) {
      sources(Type::b32, 3);
      const bool clamp = s.has("clamp");
      in.run = s.has("l") ? (clamp ? map3<u32, u32, u32, u32, ShiftLeftClamp> : map3<u32, u32, u32, u32, ShiftLeft>)
                          : (clamp ? map3<u32, u32, u32, u32, ShiftRightClamp> : map3<u32, u32, u32, u32, ShiftRight>);
    } else if (is("popc") || is("clz") || is("bfind") || is("brev")) {
      result(is("brev") ? type : Type::u32);
      in.o[1] = value(1, type);
      in.run = by_int(type, [&](auto tag) -> Execute {
        using T = typename decltype(tag)::type;
        if constexpr (sizeof(T) == 2)
          unknown("type");
        else
          return is("popc")          ? map1<u32, U<T>, Popc>
                 : is("clz")         ? map1<u32, T, Clz>
                 : is("brev")        ? map1<T, T, Brev>
                 : s.has("shiftamt") ? map1<u32, T, Bfind<true>>
                                     : map1<u32, T, Bfind<false>>;
      });
    } else if (is("bfe")) {
      result(type);
      in.o[1] = value(1, type);
      in.o[2] = value(2, Type::u32);
      in.o[3] = value(3, Type::u32);
      in.run = by_int(type, [&](auto tag) -> Execute {
        using T = typename decltype(tag)::type;
        if constexpr (sizeof(T) == 2)
          unknown("type");
        else
          return map3<T, T, u32, u32, Bfe>;
      });
    } else if (is("bfi")) {
      result(type);
      in.o[1] = value(1, type);
      in.o[2] = value(2, type);
      in.o[3] = value(3, Type::u32);
      in.o[4] = value(4, Type::u32);
      in.run = bytes_of(type) == 8 ? bfi<u64> : bfi<u32>;
    } else if (is("bmsk")) {
      sources(Type::b32, 2);
      in.run = s.has("wrap") ? map2<u32, u32, u32, Bmsk<true>> : map2<u32, u32, u32, Bmsk<false>>;
    } else if (is("prmt")) {
      if (s.parts.size() != 2) unknown("mode of prmt");
      sources(Type::b32, 3);
      in.run = map3<u32, u32, u32, u32, Prmt>;
    } else if (is("lop3")) {
      if (s.operands.size() != 5) unknown("lop3 with a predicate");
      sources(Type::b32, 3);
      in.imm = static_cast<s64>(operand(4).bits);
      in.run = lop3;
    } else {
      return false;
    }
    return true;
  }

  bool choices() {
    if (is("setp")) {
      result(0, operand(0).id, 0);
      result(1, operand(0).second, 0);
      in.o[2] = value(1, type);
      in.o[3] = value(2, type);
      if (s.has("ftz")) unknown("ftz");
      if (s.operands.size() > 3) {
        in.o[4] = predicate_source(3);
        in.flags = (s.has("and")   ? kWithAnd
                    : s.has("or")  ? kWithOr
                    : s.has("xor") ? kWithXor
                                   : kPlain) |
                   (operand(3).negated ? 8 : 0);
        if ((in.flags & 7) == kPlain) unknown("setp");
      }
      in.run = compared<SetpRun>(s.parts[1], type, [](auto r) -> Execute { return decltype(r)::run; });
    } else if (is("set")) {
      const Type to = s.type(1);
      result(0, operand(0).id, 4);
      in.o[1] = value(1, type);
      in.o[2] = value(2, type);
      if (s.operands.size() != 3 || bytes_of(to) != 4) unknown("set");
      in.flags = to == Type::f32;
      in.run = compared<SetRun>(s.parts[1], type, [](auto r) -> Execute { return decltype(r)::run; });
    } else if (is("selp")) {
      sources(type, 2);
      in.o[3] = predicate_source(3);
      in.flags = operand(3).negated;
      in.run = bytes_of(type) == 8 ? selp<u64> : selp<u32>;
    } else {
      return false;
    }
    return true;
  }

  bool moves() {
    if (is("mov")) {
      const Operand &to = operand(0), &from = operand(1);
      if (to.kind == Operand::vector || from.kind == Operand::vector) {
        const bool packs = from.kind == Operand::vector;
        const auto& parts = packs ? from.parts : to.parts;
        const int count = static_cast<int>(parts.size());
        if (type == Type::b128) unknown("b128");
        in.imm = count;
        in.flags = static_cast<u8>(bytes_of(type) / count);
        if (packs) {
          result(0, to.id, lane_bytes(type));
          for (int i = 0; i < count; ++i) in.o[1 + i] = source(parts[i], 4);
          in.run = pack;
        } else {
          for (int i = 0; i < count; ++i) {
            if (parts[i].kind != Operand::sink) result(i, parts[i].id, 4);
          }
          in.o[count] = source(from, lane_bytes(type));
          in.run = unpack;
        }
        return true;
      }
      if (type == Type::pred) {
        result(0, to.id, 0);
        in.o[1] = predicate_source(1);
        in.flags = from.negated;
        in.run = predicate<4>;
        return true;
      }
      result(type);
      if (from.kind == Operand::symbol && from.name.starts_with("%")) {
        const auto found = kSpecials.find(from.name);
        if (found == kSpecials.end()) unknown("special register");
        in.flags = found->second;
        in.run = bytes_of(type) == 8 ? special<u64> : special<u32>;
        return true;
      }
      in.o[1] = value(1, type);
      in.run = bytes_of(type) == 8 ? move<u64> : move<u32>;
    } else if (is("cvta")) {
      const bool wide = bytes_of(type) == 8;
      if (!wide) unknown("32-bit addresses");
      sources(type, 1);
      const u64 window = s.has("shared") || s.has("shared::cta") ? kSharedWindow
                         : s.has("local")                        ? kLocalWindow
                         : s.has("param")                        ? kParamWindow
                                                                 : 0;
      if (window == 0) {
        if (!s.has("global") && !s.has("const")) unknown("space");
        in.run = move<u64>;
      } else {
        in.o[2] = b.constant(s.has("to") ? -window : window, 8);
        in.run = map2<u64, u64, u64, Add>;
      }
    } else if (is("cvt")) {
      conversions();
    } else {
      return false;
    }
    return true;
  }

  void conversions() {
    const Type to = s.type(1), from = type;
    if (to == Type::bf16x2 && from == Type::f32) {
      if (!s.has("rn") || s.has("relu") || s.has("satfinite")) unknown("cvt");
      result(0, operand(0).id, 4);
      in.o[1] = value(1, Type::f32);
      in.o[2] = value(2, Type::f32);
      in.run = map2<u32, float, float, Bf16Pair>;
      return;
    }
    const Operand& a = operand(1);
    const bool wide_source = a.kind == Operand::reg ? lane_bytes(b.register_type(a.id)) == 8 : bytes_of(from) == 8;
    const bool wide_result = lane_bytes(b.register_type(operand(0).id)) == 8;
    result(0, operand(0).id, wide_result ? 8 : 4);
    in.o[1] = source(a, wide_source ? 8 : 4);
    const bool ftz = s.has("ftz"), sat = s.has("sat");
    const auto integers = [&](Type t, auto&& f) -> Execute {
      switch (t) {
        case Type::u8:
        case Type::b8: return f(Tag<u8>());
        case Type::s8: return f(Tag<s8>());
        case Type::u16:
        case Type::b16: return f(Tag<u16>());
        case Type::s16: return f(Tag<s16>());
        case Type::u32:
        case Type::b32: return f(Tag<u32>());
        case Type::s32: return f(Tag<s32>());
        case Type::u64:
        case Type::b64: return f(Tag<u64>());
        case Type::s64: return f(Tag<s64>());
        default: unknown("cvt");
      }
    };
    if (to == Type::bf16 && from == Type::f32) {
      in.run = map1<u16, float, Bf16>;
    } else if (to == Type::f32 && from == Type::bf16) {
      in.run = map1<float, u16, Bf16ToFloat>;
    } else if (is_float(to) && is_float(from)) {
      in.run = by_float(to, [&](auto tag) -> Execute {
        using D = typename decltype(tag)::type;
        return by_float(from, [&](auto tag2) -> Execute {
          using A = typename decltype(tag2)::type;
          if constexpr (std::is_same_v<D, A>) {
            const auto pick = [&](auto how) -> Execute {
              constexpr Round kHow = decltype(how)::value;
              if (ftz)
                return sat ? map1<D, A, Float<FloatToIntegral<A, kHow, true>, true, true>>
                           : map1<D, A, Float<FloatToIntegral<A, kHow, true>, true, false>>;
              return sat ? map1<D, A, Float<FloatToIntegral<A, kHow, false>, false, true>>
                         : map1<D, A, Float<FloatToIntegral<A, kHow, false>, false, false>>;
            };
            if (s.has("rni")) return pick(std::integral_constant<Round, kNearest>());
            if (s.has("rzi")) return pick(std::integral_constant<Round, kToZero>());
            if (s.has("rmi")) return pick(std::integral_constant<Round, kDown>());
            if (s.has("rpi")) return pick(std::integral_constant<Round, kUp>());
            if (ftz) return sat ? map1<D, A, Float<Same, true, true>> : map1<D, A, Float<Same, true, false>>;
            return sat ? map1<D, A, Float<Same, false, true>> : map1<D, A, Float<Same, false, false>>;
          } else {
            if (sat) unknown("sat");
            if (ftz) return in_mode<map1<D, A, Float<Cast<D, A>, true, false>>>(s);
            return in_mode<map1<D, A, Float<Cast<D, A>, false, false>>>(s);
          }
        });
      });
    } else if (is_float(to)) {
      if (sat) unknown("sat");
      in.run = integers(from, [&](auto tag) -> Execute {
        using A = typename decltype(tag)::type;
        return by_float(to, [&](auto tag2) -> Execute {
          using D = typename decltype(tag2)::type;
          if (wide_source) return in_mode<convert<D, A, Cast<D, A>, true, false>>(s);
          return in_mode<convert<D, A, Cast<D, A>, false, false>>(s);
        });
      });
    } else if (is_float(from)) {
      in.run = integers(to, [&](auto tag) -> Execute {
        using D = typename decltype(tag)::type;
        return by_float(from, [&](auto tag2) -> Execute {
          using A = typename decltype(tag2)::type;
          const auto pick = [&](auto how) -> Execute {
            constexpr Round kHow = decltype(how)::value;
            return ftz ? conversion<D, A, FloatToInt<D, A, kHow, true>>(in, false, wide_result)
                       : conversion<D, A, FloatToInt<D, A, kHow, false>>(in, false, wide_result);
          };
          if (s.has("rni")) return pick(std::integral_constant<Round, kNearest>());
          if (s.has("rzi")) return pick(std::integral_constant<Round, kToZero>());
          if (s.has("rmi")) return pick(std::integral_constant<Round, kDown>());
          if (s.has("rpi")) return pick(std::integral_constant<Round, kUp>());
          unknown("rounding");
        });
      });
    } else {
      in.run = integers(to, [&](auto tag) -> Execute {
        using D = typename decltype(tag)::type;
        return integers(from, [&](auto tag2) -> Execute {
          using A = typename decltype(tag2)::type;
          if (sat) return conversion<D, A, IntToInt<D, A, true>>(in, wide_source, wide_result);
          return conversion<D, A, IntToInt<D, A, false>>(in, wide_source, wide_result);
        });
      });
    }
  }

  void address(std::size_t i, int place) {
    const Operand& o = operand(i);
    if (o.kind != Operand::address) unknown("an address was expected");
    in.imm = o.offset;
    if (!o.name.empty()) {
      Space space;
      in.imm += static_cast<s64>(b.symbol(o.name, space));
      if (in.space == Space::generic)
        in.imm += space == Space::shared  ? kSharedWindow
                  : space == Space::local ? kLocalWindow
                  : space == Space::param ? kParamWindow
                                          : 0;
      if (o.id >= 0) unknown("symbol and register in one address");
    }
    if (o.id >= 0) {
      in.o[place] = o.id;
      in.wide_base = lane_bytes(b.register_type(o.id)) == 8;
    }
  }
  void find_space() {
    in.strong = s.has("acquire") || s.has("release") || s.has("acq_rel") ? 2 : s.has("volatile") || s.has("relaxed");
    for (std::size_t i = 1; i < s.parts.size(); ++i) {
      const auto part = s.parts[i];
      if (part == "global" || part == "const")
        in.space = Space::global;
      else if (part == "shared" || part == "shared::cta")
        in.space = Space::shared;
      else if (part == "local")
        in.space = Space::local;
      else if (part == "param" || part == "param::entry")
        in.space = Space::param;
      else if (part == "shared::cluster")
        unknown("distributed shared memory");
    }
  }

  bool memory_access() {
    if (is("ld") || is("ldu") || is("st")) {
      find_space();
      const bool reads = !is("st");
      const Operand& data = operand(reads ? 0 : 1);
      const std::vector<Operand> one{data};
      const auto& values = data.kind == Operand::vector ? data.parts : one;
      in.count = static_cast<u8>(values.size());
      if (in.count > 4) unknown("vector");
      in.bytes = static_cast<u8>(bytes_of(type) * in.count);
      if (in.bytes > 16) unknown("vector");
      int lane = 4;
      for (const auto& v : values) {
        if (v.kind == Operand::reg) lane = lane_bytes(b.register_type(v.id));
        if (v.kind == Operand::number && bytes_of(type) == 8) lane = 8;
      }
      for (int k = 0; k < in.count; ++k) {
        if (reads && values[k].kind != Operand::sink) result(k, values[k].id, lane);
        if (!reads) in.o[1 + k] = source(values[k], lane);
      }
      address(reads ? 1 : 0, reads ? in.count : 0);
      if (in.space == Space::param && reads && in.o[in.count] == kNone) {
        in.flags = static_cast<u8>(bytes_of(type) | (is_signed(type) ? 16 : 0));
        in.bytes = 0;
        in.run = lane == 8 ? load_parameter<u64> : load_parameter<u32>;
        return true;
      }
      if (!reads && in.space == Space::param) unknown("st.param");
      in.run = by_memory(type, lane, [&](auto t, auto l) -> Execute {
        using T = typename decltype(t)::type;
        using L = typename decltype(l)::type;
        return reads ? (in.count == 1 ? load1<T, L> : load<T, L>) : store_to<T, L>;
      });
    } else if (is("atom") || is("red")) {
      find_space();
      static const std::map<std::string_view, AtomicOp> ops{
          {"add", kAtomAdd}, {"min", kAtomMin},   {"max", kAtomMax}, {"and", kAtomAnd}, {"or", kAtomOr},
          {"xor", kAtomXor}, {"exch", kAtomExch}, {"cas", kAtomCas}, {"inc", kAtomInc}, {"dec", kAtomDec}};
      bool known = false;
      for (const auto part : s.parts) {
        if (const auto found = ops.find(part); found != ops.end()) {
          in.flags = found->second;
          known = true;
        }
      }
      if (!known || s.has("v2") || s.has("v4")) unknown("atomic operation");
      const int at = is("atom") ? 1 : 0, lane = lane_bytes(type);
      if (lane == 16 || bytes_of(type) < 4) unknown("type");
      if (at == 1 && operand(0).kind != Operand::sink) result(0, operand(0).id, lane);
      in.bytes = static_cast<u8>(lane);
      in.count = 1;
      address(at, 1);
      in.o[2] = value(at + 1, type);
      if (in.flags == kAtomCas) in.o[3] = value(at + 2, type);
      switch (type) {
        case Type::s32: in.run = atomic<s32>; break;
        case Type::u32:
        case Type::b32: in.run = atomic<u32>; break;
        case Type::s64: in.run = atomic<s64>; break;
        case Type::u64:
        case Type::b64: in.run = atomic<u64>; break;
        case Type::f32: in.run = atomic<float>; break;
        case Type::f64: in.run = atomic<double>; break;
        default: unknown("type");
      }
    } else if (is("membar") || is("fence")) {
      in.run = fence;
    } else if (is("prefetch") || is("prefetchu") || is("griddepcontrol") || is("discard") || is("applypriority") ||
               is("pmevent")) {
      in.run = nothing;
    } else {
      return false;
    }
    return true;
  }

  bool together() {
    if (is("shfl")) {
      if (!s.has("sync")) unknown("without sync");
      in.kind = Kind::sync;
      result(0, operand(0).id, 4);
      result(1, operand(0).second, 0);
      for (int i = 1; i < 5; ++i) in.o[1 + i] = source(operand(i), 4);
      in.table = 5;
      in.flags = s.has("up") ? kUpwards : s.has("down") ? kDownwards : s.has("bfly") ? kButterfly : kIndexed;
      in.run = shuffle;
    } else if (is("vote")) {
      if (!s.has("sync")) unknown("without sync");
      in.kind = Kind::sync;
      in.flags = s.has("all") ? kVoteAll : s.has("any") ? kVoteAny : s.has("uni") ? kVoteUni : kVoteBallot;
      result(0, operand(0).id, in.flags == kVoteBallot ? 4 : 0);
      in.o[1] = predicate_source(1);
      in.imm = operand(1).negated ? 0x100 : 0;
      in.o[2] = source(operand(2), 4);
      in.table = 2;
      in.run = vote;
    } else if (is("match")) {
      in.kind = Kind::sync;
      in.flags = s.has("all");
      result(0, operand(0).id, 4);
      result(1, operand(0).second, 0);
      in.o[2] = source(operand(1), lane_bytes(type));
      in.o[3] = source(operand(2), 4);
      in.table = 3;
      in.run = lane_bytes(type) == 8 ? match<u64> : match<u32>;
    } else if (is("redux")) {
      in.kind = Kind::sync;
      static const std::map<std::string_view, AtomicOp> ops{{"add", kAtomAdd}, {"min", kAtomMin}, {"max", kAtomMax},
                                                            {"and", kAtomAnd}, {"or", kAtomOr},   {"xor", kAtomXor}};
      const auto found = ops.find(s.parts[2]);
      if (found == ops.end()) unknown("redux");
      in.flags = found->second;
      result(0, operand(0).id, 4);
      in.o[1] = source(operand(1), 4);
      in.o[2] = source(operand(2), 4);
      in.table = 2;
      if (type == Type::f32) unknown("type");
      in.run = type == Type::s32 ? reduce<s32> : reduce<u32>;
    } else if (is("activemask")) {
      result(0, operand(0).id, 4);
      in.run = active_mask;
    } else if (is("elect")) {
      in.kind = Kind::sync;
      result(0, operand(0).id, 4);
      result(1, operand(0).second, 0);
      in.o[2] = source(operand(1), 4);
      in.table = 2;
      in.run = elect;
    } else if (is("mma")) {
      if (s.opcode != "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32") unknown("shape or types of mma");
      in.kind = Kind::sync;
      in.meet = 2;
      const int sizes[] = {4, 4, 2, 4};
      for (int k = 0, place = 0; k < 4; ++k) {
        if (static_cast<int>(operand(k).parts.size()) != sizes[k]) unknown("fragment");
        for (const auto& part : operand(k).parts) {
          if (k == 0)
            result(place, part.id, 4);
          else
            in.o[place] = source(part, 4);
          ++place;
        }
      }
      in.run = mma_bf16;
    } else {
      return false;
    }
    return true;
  }

  bool control() {
    if (is("bar") || is("barrier")) {
      if (s.has("cluster")) {
        in.kind = s.has("arrive") ? Kind::cluster_arrive : s.has("wait") ? Kind::cluster_wait : Kind::trap;
        if (in.kind == Kind::trap) unknown("cluster barrier");
        return true;
      }
      if (s.has("warp")) {
        in.kind = Kind::sync;
        in.o[0] = source(operand(0), 4);
        in.table = 0;
        in.meet = 1;
        in.run = nothing;
        return true;
      }
      in.kind = Kind::barrier;
      in.flags = s.has("arrive") ? 1 : s.has("red") ? (s.has("and") ? 2 : s.has("or") ? 3 : 4) : 0;
      if (is("bar") || s.has("aligned")) in.flags |= 16;
      std::size_t at = 0;
      if ((in.flags & 15) >= 2) {
        result(0, operand(0).id, (in.flags & 15) == 4 ? 4 : 0);
        at = 1;
      }
      in.o[1] = source(operand(at++), 4);
      std::size_t left = s.operands.size() - at;
      if ((in.flags & 15) >= 2) {
        in.o[3] = predicate_source(s.operands.size() - 1);
        in.imm = operand(s.operands.size() - 1).negated;
        --left;
      }
      if (left > 0) in.o[2] = source(operand(at), 4);
    } else if (is("bra")) {
      in.kind = Kind::branch;
      in.imm = b.label(operand(0).name);
    } else if (is("brx")) {
      in.kind = Kind::indexed;
      in.o[0] = source(operand(0), 4);
      b.table(operand(1).name, in.table);
    } else if (is("ret") || is("exit")) {
      in.kind = Kind::exit;
    } else if (is("trap") || is("brkpt")) {
      in.kind = Kind::trap;
    } else if (is("nanosleep")) {
      in.kind = Kind::yield;
    } else {
      return false;
    }
    return true;
  }
};

}  // namespace

void select(const Statement& statement, Inst& inst, Builder& builder) { Selector(statement, inst, builder).select(); }

}  // namespace ptx
