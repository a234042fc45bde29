// What the lanes of a warp do together: shuffles, votes, products of tiles; and the opcodes that move control.
#include <string>

#include "tests/ptx/lanes.h"

namespace ptx {
namespace {

enum ShuffleMode : u8 { kUpwards, kDownwards, kButterfly, kIndexed };
void shuffle(Warp& w, const Inst& in, Mask m) {
  alignas(64) u32 t[kLanes];
  const u32 *a = w.from<u32>(in.o[2]), *b = w.from<u32>(in.o[3]), *c = w.from<u32>(in.o[4]);
  Mask valid = 0;
  for (int l = 0; l < kLanes; ++l) {
    const int by = b[l] & 31, clamp = c[l] & 31, segment = c[l] >> 8 & 31;
    const int least = l & segment, most = least | (clamp & ~segment);
    int from = in.flags == kUpwards     ? l - by
               : in.flags == kDownwards ? l + by
               : in.flags == kButterfly ? l ^ by
                                        : least | (by & ~segment);
    if (in.flags == kUpwards ? from >= most : from <= most)
      valid |= Mask{1} << l;
    else
      from = l;
    if ((m >> l & 1) && !(m >> from & 1))
      fault(w, in, Mask{1} << l,
            "shuffle reads lane " + std::to_string(from) + ", which does not take part (lanes " + std::to_string(m) +
                ")");
    t[l] = a[from & 31];
  }
  store(w.to<u32>(in.o[0]), t, m);
  if (in.o[1] != kNone) store_mask(w.to<Mask>(in.o[1]), valid, m);
}

void vote(Warp& w, const Inst& in, Mask m) {
  const Mask p = w.predicate(in, 2) & m;
  if (in.flags == kVoteBallot) return store_same(w.to<u32>(in.o[0]), p, m);
  store_mask(w.to<Mask>(in.o[0]), (in.flags == kVoteAll ? p == m : p != 0) ? kAll : 0, m);
}

// How a tensor core adds (PTX_MMA): all exactly, rounded once; fma by fma in fp32, ascending; exactly, towards zero.
enum class Sums { exact, chain, truncate };
Sums sums() {
  const std::string how = setting("PTX_MMA", "exact");
  return how == "chain" ? Sums::chain : how == "truncate" ? Sums::truncate : Sums::exact;
}
// A row of d += a row of a times b.
void add_products(Sums how, const float (&a)[16], const float (&b)[16][8], float (&d)[8]) {
  if (how == Sums::chain) {
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 8; ++column) d[column] = std::fma(a[k], b[k][column], d[column]);
    }
    return;
  }
  double sum[8];
  std::copy_n(d, 8, sum);
  for (int k = 0; k < 16; ++k) {
    for (int column = 0; column < 8; ++column) sum[column] += double{a[k]} * b[k][column];
  }
  for (int column = 0; column < 8; ++column) {
    d[column] = static_cast<float>(sum[column]);
    const bool beyond = std::fabs(d[column]) > std::fabs(sum[column]);
    if (how == Sums::truncate && beyond) d[column] = std::nextafter(d[column], 0.0F);
  }
}

// mma.m16n8k16 of bf16, with sums in fp32. With g = lane / 4 and t = lane % 4, A's element i lies in row
// g (i = 0, 1, 4, 5) or g + 8, column 2t + i % 2 (+ 8 for i >= 4); B's in row 2t + i % 2 (+ 8 for i >= 2), column g; C's and
// D's in row g (i < 2) or g + 8, column 2t + i % 2.
void multiply_tiles(Warp& w, const Inst& in, Mask m) {
  static const Sums how = sums();
  float a[16][16], b[16][8], d[16][8];
  const auto number = [&](Ref pair, int lane, int i) {
    return std::bit_cast<float>(w.from<u32>(pair)[lane] >> 16 * (i % 2) << 16);
  };
  const auto sum = [&](int l, int i) -> float& { return d[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2]; };
  for (int l = 0; l < kLanes; ++l) {
    const int g = l / 4, t = l % 4;
    for (int i = 0; i < 8; ++i) a[g + i / 2 % 2 * 8][2 * t + i % 2 + i / 4 * 8] = number(in.o[4 + i / 2], l, i);
    for (int i = 0; i < 4; ++i) b[2 * t + i % 2 + i / 2 * 8][g] = number(in.o[8 + i / 2], l, i);
    for (int i = 0; i < 4; ++i) sum(l, i) = w.from<float>(in.o[10 + i])[l];
  }
  for (int row = 0; row < 16; ++row) add_products(how, a[row], b, d[row]);
  for (int i = 0; i < 4; ++i) {
    alignas(64) float t[kLanes];
    for (int l = 0; l < kLanes; ++l) t[l] = canonical(sum(l, i));
    store(w.to<float>(in.o[i]), t, m);
  }
}

// What a special register holds, in each lane.
template <class F>
void read_special(Warp& w, const Inst& in, Mask m) {
  alignas(64) u32 t[kLanes];
  for (int l = 0; l < kLanes; ++l) t[l] = F()(w, static_cast<u32>(l));
  store(w.to<u32>(in.o[0]), t, m);
}

}  // namespace

void add_forms_of_lanes(Forms& to) {
  const std::vector<int> word{4}, words{4, 4, 4}, predicate{0};
  const auto shuffles = [&](const char* name, u8 mode) {
    to[name] = {shuffle, words, word, Kind::sync, mode};
    to[std::string(name) + "|"] = {shuffle, words, {4, 0}, Kind::sync, mode};
  };
  shuffles("shfl.sync.up.b32", kUpwards);
  shuffles("shfl.sync.down.b32", kDownwards);
  shuffles("shfl.sync.bfly.b32", kButterfly);
  shuffles("shfl.sync.idx.b32", kIndexed);
  to["vote.sync.all.pred"] = {vote, predicate, predicate, Kind::sync, kVoteAll};
  to["vote.sync.any.pred"] = {vote, predicate, predicate, Kind::sync, kVoteAny};
  to["vote.sync.ballot.b32"] = to["vote.ballot.sync.b32"] = {vote, predicate, word, Kind::sync, kVoteBallot};
  to["mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"] = {
      multiply_tiles, std::vector<int>(10, 4), std::vector<int>(4, 4), Kind::sync, 0, Meet::all};
  to["bar.warp.sync"] = {[](Warp&, const Inst&, Mask) {}, {}, {}, Kind::sync, 0, Meet::anywhere};
  to["bar.sync"] = {nullptr, {}, {}, Kind::barrier};
  to["bar.red.and.pred"] = {nullptr, predicate, predicate, Kind::barrier, kVoteAll};
  to["bar.red.or.pred"] = {nullptr, predicate, predicate, Kind::barrier, kVoteAny};
  to["barrier.cluster.arrive.release"] = {nullptr, {}, {}, Kind::cluster_arrive};
  to["barrier.cluster.wait.acquire"] = {nullptr, {}, {}, Kind::cluster_wait};
  to["membar.cta"] = to["membar.gl"] = {race::fence};
  to["bra"] = to["bra.uni"] = {nullptr, {}, {}, Kind::branch};
  to["ret"] = to["exit"] = {nullptr, {}, {}, Kind::exit};
  to["trap"] = {nullptr, {}, {}, Kind::trap};
  to["nanosleep.u32"] = {nullptr, word, {}, Kind::yield};
  const auto special = [&]<class F>(const char* name, F) { to[name] = {read_special<F>, {}, word}; };
  special("%tid.x", [](const Warp& w, u32 l) { return (w.index * kLanes + l) % w.launch->block; });
  special("%ntid.x", [](const Warp& w, u32) { return w.launch->block; });
  special("%ctaid.x", [](const Warp& w, u32) { return w.block->index; });
  special("%nctaid.x", [](const Warp& w, u32) { return w.launch->grid; });
  special("%laneid", [](const Warp&, u32 l) { return l; });
  special("%lanemask_le", [](const Warp&, u32 l) { return (2U << l) - 1; });
  special("%lanemask_ge", [](const Warp&, u32 l) { return ~((1U << l) - 1); });
}

}  // namespace ptx
