// Arithmetic, bits, comparisons, choices and conversions: a table from opcodes to loops over lanes. After the PTX ISA's
// manual; its rows are what nvcc has made of code so far.
#include <limits>

#include "tests/ptx/lanes.h"

namespace ptx {
namespace {

// The types of a result and of its sources. X stands for the type at the end of the opcode, Twice for one of twice its
// size.
template <class D, class... A>
struct Shape {};
struct X;
struct Twice;
template <class T>
using Wider =
    std::conditional_t<sizeof(T) == 2, std::conditional_t<std::is_signed_v<T>, s32, u32>,
                       std::conditional_t<sizeof(T) == 4, std::conditional_t<std::is_signed_v<T>, s64, u64>,
                                          std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>>>;
template <class S, class T>
using Of = std::conditional_t<std::is_same_v<S, X>, T, std::conditional_t<std::is_same_v<S, Twice>, Wider<T>, S>>;
constexpr Shape<X, X> kXX;
constexpr Shape<X, X, X> kXXX;
constexpr Shape<X, X, X, X> kXXXX;
constexpr Shape<bool, X, X> kComparison;

template <class T>
constexpr int kBytes = std::is_same_v<T, bool> ? 0 : sizeof(Lane<T>);
template <class T, class D, class... A, class F>
Form form(Shape<D, A...>, F) {
  return {map<F, Of<D, T>, Of<A, T>...>, {kBytes<Of<A, T>>...}, {kBytes<Of<D, T>>}};
}
template <class T>
std::string suffix() {
  return (std::is_floating_point_v<T> ? ".f" : std::is_signed_v<T> ? ".s" : ".u") + std::to_string(8 * sizeof(T));
}
template <class... T, class S, class F>
void rows(Forms& to, const std::string& opcode, S shape, F f) {
  ((to[opcode + suffix<T>()] = form<T>(shape, f)), ...);
}
template <class... T, class F>
void each(F&& f) {
  (f.template operator()<T>(), ...);
}

// --- integers --------------------------------------------------------------------------------------------------------
template <class T>
T quotient(T a, T b) {
  if (b == 0) return static_cast<T>(~T{0});
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return static_cast<T>(0 - bits_of(a));
  return static_cast<T>(a / b);
}
template <class T>
T remainder_of(T a, T b) {
  if (b == 0) return a;
  return std::is_signed_v<T> && b == static_cast<T>(-1) ? T{0} : static_cast<T>(a % b);
}
template <class T>
T shifted_right(T a, u32 by) {
  if (by >= 8 * sizeof(T)) return a < 0 ? static_cast<T>(-1) : T{0};
  return static_cast<T>(a >> by);
}
template <class T>
T reversed(T a) {
  T r = 0;
  for (unsigned i = 0; i < 8 * sizeof(T); ++i) r = static_cast<T>(r << 1 | (a >> i & 1));
  return r;
}
template <class T>
T inserted(T a, T b, u32 c, u32 d) {  // d bits of a into b, from bit c on
  const u32 bits = 8 * sizeof(T), at = c & 0xff, count = d & 0xff;
  const T ones = count >= bits ? ~T{0} : (T{1} << count) - 1;
  return at >= bits ? b : (b & ~(ones << at)) | ((a & ones) << at);
}
u32 permuted(u32 a, u32 b, u32 c) {
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

// Two halves of so many bits.
template <class Whole, int kBits>
void unpack(Warp& w, const Inst& in, Mask m) {
  const Whole* from = w.from<Whole>(in.o[2]);
  alignas(64) u32 t[kLanes];
  for (int half = 1; half >= 0; --half) {
    if (in.o[half] == kNone) continue;
    for (int l = 0; l < kLanes; ++l) t[l] = static_cast<u32>(from[l] >> half * kBits & ((u64{1} << kBits) - 1));
    store(w.to<u32>(in.o[half]), t, m);
  }
}

void integers(Forms& to) {
  const auto all = [&](const char* name, auto shape, auto f) {
    rows<s16, u16, s32, u32, s64, u64>(to, name, shape, f);
  };
  all("add", kXXX, [](auto a, auto b) { return bits_of(a) + bits_of(b); });
  all("sub", kXXX, [](auto a, auto b) { return bits_of(a) - bits_of(b); });
  all("mul.lo", kXXX, [](auto a, auto b) { return static_cast<u64>(a) * static_cast<u64>(b); });
  all("mul.hi", kXXX, [](auto a, decltype(a) b) { return Wider<decltype(a)>{a} * b >> 8 * sizeof(a); });
  all("mad.lo", kXXXX,
      [](auto a, auto b, auto c) { return static_cast<u64>(a) * static_cast<u64>(b) + static_cast<u64>(c); });
  rows<s16, u16, s32, u32>(to, "mul.wide", Shape<Twice, X, X>(),
                           [](auto a, decltype(a) b) { return Wider<decltype(a)>{a} * b; });
  all("div", kXXX, [](auto a, auto b) { return quotient(a, b); });
  all("rem", kXXX, [](auto a, auto b) { return remainder_of(a, b); });
  all("min", kXXX, [](auto a, auto b) { return b < a ? b : a; });
  all("max", kXXX, [](auto a, auto b) { return a < b ? b : a; });
  all("abs", kXX, [](auto a) { return a < 0 ? 0 - bits_of(a) : bits_of(a); });
  all("neg", kXX, [](auto a) { return 0 - bits_of(a); });
  all("shl", Shape<X, X, u32>(), [](auto a, u32 by) { return by >= 8 * sizeof(a) ? 0 : bits_of(a) << by; });
  all("shr", Shape<X, X, u32>(), [](auto a, u32 by) { return shifted_right(a, by); });

  const auto words = [&](const char* name, auto shape, auto f) { rows<u16, u32, u64>(to, name, shape, f); };
  words("and", kXXX, [](auto a, auto b) { return a & b; });
  words("or", kXXX, [](auto a, auto b) { return a | b; });
  words("xor", kXXX, [](auto a, auto b) { return a ^ b; });
  words("not", kXX, [](auto a) { return ~a; });
  words("mov", kXX, [](auto a) { return a; });
  rows<s16, s32, s64, float, double>(to, "mov", kXX, [](auto a) { return a; });
  rows<u32, u64>(to, "popc", Shape<u32, X>(), [](auto a) { return std::popcount(a); });
  rows<u32, u64>(to, "clz", Shape<u32, X>(), [](auto a) { return std::countl_zero(a); });
  rows<u32, u64>(to, "bfind.shiftamt", Shape<u32, X>(),
                 [](auto a) { return a == 0 ? ~0U : static_cast<u32>(std::countl_zero(a)); });
  rows<u32, u64>(to, "brev", kXX, [](auto a) { return reversed(a); });
  rows<u32, u64>(to, "bfi", Shape<X, X, X, u32, u32>(),
                 [](auto a, auto b, u32 c, u32 d) { return inserted(a, b, c, d); });
  rows<u32>(to, "bmsk.clamp", kXXX, [](u32 a, u32 b) { return a >= 32 ? 0 : (b >= 32 ? ~0U : (1U << b) - 1) << a; });
  to["mov.b32.pack"] = form<u32>(Shape<u32, u16, u16>(), [](u32 low, u32 high) { return low | high << 16; });
  to["mov.b64.pack"] = form<u64>(Shape<u64, u32, u32>(), [](u64 low, u64 high) { return low | high << 32; });
  to["mov.b32.unpack"] = {unpack<u32, 16>, {4}, {4, 4}};
  to["mov.b64.unpack"] = {unpack<u64, 32>, {8}, {4, 4}};
  // Between a generic address and one of global memory, which are the same, or of shared memory.
  to["cvta.global.u64"] = to["cvta.to.global.u64"] = form<u64>(kXX, [](u64 a) { return a; });
  to["cvta.shared.u64"] = form<u64>(kXX, [](u64 a) { return a + kSharedWindow; });
  to["cvta.to.shared.u64"] = form<u64>(kXX, [](u64 a) { return a - kSharedWindow; });
  rows<u32>(to, "prmt", kXXXX, [](u32 a, u32 b, u32 c) { return permuted(a, b, c); });
}

// --- floating point --------------------------------------------------------------------------------------------------
inline float flush(float x) { return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0F, x) : x; }
template <class F>
struct Canonical {
  auto operator()(auto... x) const { return canonical(F()(x...)); }
};
// -0 < +0; a NaN gives the other.
template <class T>
T least(T a, T b) {
  return a != a ? b : b != b ? a : a < b || (a == b && std::signbit(a)) ? a : b;
}
// One of the two numbers on either side of x, by the bits of what it was made of: an approximation that is as far off as
// it may be.
inline float beside(double x, float of) {
  const auto near = static_cast<float>(x);
  const bool up = std::popcount(std::bit_cast<u32>(of)) % 2 != 0;
  if (double{near} == x || (near > x) == up) return near;
  return std::nextafter(near, up ? std::numeric_limits<float>::infinity() : -std::numeric_limits<float>::infinity());
}
// Rows with and without the name of the rounding mode, which is to nearest.
template <class S, class F>
void rounded(Forms& to, const std::string& opcode, S shape, F) {
  rows<float, double>(to, opcode, shape, Canonical<F>());
  rows<float, double>(to, opcode + ".rn", shape, Canonical<F>());
}
void reals(Forms& to) {
  rounded(to, "add", kXXX, [](auto a, auto b) { return a + b; });
  rounded(to, "sub", kXXX, [](auto a, auto b) { return a - b; });
  rounded(to, "mul", kXXX, [](auto a, auto b) { return a * b; });
  rounded(to, "div", kXXX, [](auto a, auto b) { return a / b; });
  rounded(to, "fma", kXXXX, [](auto a, auto b, auto c) { return std::fma(a, b, c); });
  rounded(to, "sqrt", kXX, [](auto a) { return std::sqrt(a); });
  rounded(to, "rcp", kXX, [](auto a) { return 1 / a; });
  const auto both = [&](const char* name, auto shape, auto f) { rows<float, double>(to, name, shape, f); };
  both("min", kXXX, [](auto a, auto b) { return canonical(least(a, b)); });
  both("max", kXXX, [](auto a, auto b) { return canonical(-least(-a, -b)); });
  both("abs", kXX, [](auto a) { return std::fabs(a); });
  both("neg", kXX, [](auto a) { return -a; });
  both("copysign", kXXX, [](auto a, auto b) { return std::copysign(b, a); });
  rows<float>(to, "ex2.approx.ftz", kXX,
              [](float a) { return canonical(flush(static_cast<float>(std::exp2(double{flush(a)})))); });
  rows<float>(to, "rcp.approx.ftz", kXX, [](float a) { return canonical(flush(beside(1 / double{flush(a)}, a))); });
  rows<float>(to, "rsqrt.approx.ftz", kXX,
              [](float a) { return canonical(beside(1 / std::sqrt(double{flush(a)}), a)); });
}

// --- comparisons and choices -----------------------------------------------------------------------------------------
template <class F>
void logic(Warp& w, const Inst& in, Mask m) {  // of predicates
  if constexpr (std::is_invocable_v<F, Mask>)
    store_mask(w.to<Mask>(in.o[0]), F()(w.predicate(in, 2)), m);
  else
    store_mask(w.to<Mask>(in.o[0]), F()(w.predicate(in, 2), w.predicate(in, 3)), m);
}
void choices(Forms& to) {
  const auto numbers = [&](std::string how, auto f) {
    rows<s16, u16, s32, u32, s64, u64, float, double>(to, "setp." + how, kComparison, f);
  };
  numbers("eq", [](auto a, auto b) { return a == b; });
  numbers("ne", [](auto a, auto b) { return a < b || a > b; });
  numbers("lt", [](auto a, auto b) { return a < b; });
  numbers("le", [](auto a, auto b) { return a <= b; });
  numbers("gt", [](auto a, auto b) { return a > b; });
  numbers("ge", [](auto a, auto b) { return a >= b; });
  const auto or_nan = [&](std::string how, auto f) { rows<float, double>(to, "setp." + how, kComparison, f); };
  or_nan("equ", [](auto a, auto b) { return !(a < b || a > b); });
  or_nan("neu", [](auto a, auto b) { return a != b; });
  or_nan("ltu", [](auto a, auto b) { return !(a >= b); });
  or_nan("leu", [](auto a, auto b) { return !(a > b); });
  or_nan("gtu", [](auto a, auto b) { return !(a <= b); });
  or_nan("geu", [](auto a, auto b) { return !(a < b); });
  or_nan("nan", [](auto a, auto b) { return a != a || b != b; });
  rows<u16, s16, u32, s32, float, u64, s64, double>(to, "selp", Shape<X, X, X, bool>(),
                                                    [](auto a, auto b, bool first) { return first ? a : b; });
  const auto predicates = [&](const char* name, std::vector<int> sources, auto f) {
    to[name] = {logic<decltype(f)>, std::move(sources), {0}};
  };
  predicates("and.pred", {0, 0}, [](Mask a, Mask b) { return a & b; });
  predicates("or.pred", {0, 0}, [](Mask a, Mask b) { return a | b; });
  predicates("xor.pred", {0, 0}, [](Mask a, Mask b) { return a ^ b; });
  predicates("not.pred", {0}, [](Mask a) { return ~a; });
  predicates("mov.pred", {0}, [](Mask a) { return a; });
}

// --- conversions -----------------------------------------------------------------------------------------------------
template <class D, class F>
D to_integer(F x, F whole) {
  using Limits = std::numeric_limits<D>;
  if (x != x)
    return sizeof(F) == 4 && sizeof(D) < 8 ? D{0} : std::is_signed_v<D> ? Limits::min() : static_cast<D>(1ULL << 63);
  if (whole < static_cast<F>(Limits::min())) return Limits::min();
  return whole >= static_cast<F>(std::ldexp(1.0, Limits::digits)) ? Limits::max() : static_cast<D>(whole);
}
// .rni, .rzi and .rmi: to an integer that stays a floating-point number, or becomes an integer.
template <class F>
void to_integers(Forms& to, const char* how, F) {
  each<float, double>([&]<class A>() {
    to["cvt" + (how + suffix<A>()) + suffix<A>()] = form<A>(kXX, [](A a) { return canonical(F()(a)); });
    each<s16, u16, s32, u32, s64, u64>([&]<class D>() {
      to["cvt" + (how + suffix<D>()) + suffix<A>()] =
          form<A>(Shape<D, A>(), [](A a) { return to_integer<D>(a, F()(a)); });
    });
  });
}
u32 bf16_of(float x) {
  const u32 bits = std::bit_cast<u32>(x);
  return x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
void conversions(Forms& to) {
  // Registers may be wider than the types: results are extended as theirs says, and sources (.wide) cut.
  each<s8, u8, s16, u16, s32, u32, s64, u64>([&]<class D>() {
    using Extended = std::conditional_t<(sizeof(D) < 4), std::conditional_t<std::is_signed_v<D>, s32, u32>, D>;
    each<s8, u8, s16, u16, s32, u32, s64, u64>([&]<class A>() {
      const std::string name = "cvt" + suffix<D>() + suffix<A>();
      to[name] = form<A>(Shape<Extended, A>(), [](A a) { return static_cast<D>(a); });
      to[name + ".wide"] = form<A>(Shape<Extended, u64>(), [](u64 a) { return static_cast<D>(static_cast<A>(a)); });
    });
  });
  to_integers(to, ".rni", [](auto a) { return std::nearbyint(a); });
  to_integers(to, ".rzi", [](auto a) { return std::trunc(a); });
  to_integers(to, ".rmi", [](auto a) { return std::floor(a); });
  each<float, double>([&]<class D>() {
    each<u8, s16, u16, s32, u32, s64, u64, float, double>([&]<class A>() {
      const std::string types = suffix<D>() + suffix<A>();
      to["cvt" + types] = to["cvt.rn" + types] =
          form<A>(Shape<D, A>(), [](A a) { return canonical(static_cast<D>(a)); });
    });
  });
  to["cvt.sat.f32.f32"] = form<float>(kXX, [](float a) { return a > 0 ? (a < 1 ? a : 1) : 0; });  // NaN: 0
  to["cvt.rn.bf16x2.f32"] =
      form<float>(Shape<u32, X, X>(), [](float a, float b) { return bf16_of(a) << 16 | bf16_of(b); });
}

}  // namespace

const Form* find_form(const std::string& opcode) {
  static const Forms forms = [] {
    Forms all;
    integers(all);
    reals(all);
    choices(all);
    conversions(all);
    add_forms_of_lanes(all);
    return all;
  }();
  auto found = forms.find(opcode);
  const std::size_t type = opcode.rfind('.') + 1;
  if (found == forms.end() && opcode[type] == 'b')  // of bits: as of numbers
    found = forms.find(opcode.substr(0, type) + 'u' + opcode.substr(type + 1));
  return found == forms.end() ? nullptr : &found->second;
}

}  // namespace ptx
