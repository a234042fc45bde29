// visit_order: easy first, hard first, or mixed: in which order a network sees its rows.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace scalelab::host {

// `random` first: what the others are held against.
inline constexpr std::array<const char*, 7> kVisitOrders = {"random",       "curriculum", "anti",       "growing",
                                                            "growing-anti", "sorted",     "sorted-anti"};

// The row indices of a whole training run, one visit after the other: one epoch of MlpRun with shuffle off. Every order
// has `epochs` visits a row, and in all but the growing ones every row of `rows` is in it exactly so often, so that they
// differ in nothing but the order.
//
//   random       `epochs` passes over all rows, mixed another way in each: what MlpRun with shuffle on visits, as one
//   curriculum   half and half: each class is cut at its own median difficulty; `epochs` passes over the easier
//                halves, then as many over the harder ones, mixed within each pass
//   anti         the same, the harder halves first
//   growing      passes as long as those of `random`, each over the easiest part of every class, again and again until the
//                pass is full: a tenth in the first pass, growing evenly to all rows by the middle one; all from there
//                on. Easy rows are seen more often
//   growing-anti the same from the hardest
//   sorted       `epochs` passes over all rows, each from easy to hard
//   sorted-anti  each from hard to easy
//
// Difficulty is ranked within a class, and classes are interleaved in proportion all along, so that "easy" cannot mean
// one of them. Of an odd class the harder half has the row more; equally difficult rows rank by their index.
//
// difficulty: one value a data point, larger is harder (not read by `random`, and may then be empty); labels: one a
// data point; rows: indices of points, each once. std::invalid_argument: another order, a NaN, a row out of range,
// epochs < 0, or 2^31 visits and more.
std::vector<int> visit_order(std::span<const float> difficulty, std::span<const int> rows,
                             std::span<const std::uint8_t> labels, const std::string& order, int epochs,
                             std::uint64_t seed);

}  // namespace scalelab::host
