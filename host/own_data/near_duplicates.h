// near_duplicates: rows so close in direction to a row that stays that they say nothing new.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "host/program/command.h"

namespace scalelab::host {

struct Duplicate {
  int row;
  int matched;   // the row that stays in its place
  float cosine;  // of the two
};

// Rows by how much they are wanted: largest difficulty first for `hard`, smallest first otherwise; ties: the lower row.
std::vector<int> preference(std::span<const float> difficulty, bool hard);

// Rows are visited in the order given, each cluster by itself. A row is removed when a row of its cluster that stayed
// before it has cosine >= 1 - eps with it; it is matched to the one of largest cosine, of equal ones the one visited
// first. A removed row removes no other, so that every removed row is near a row that stays.
// Cosines are 1 - s/2, s the squared distance of the unit rows by the arithmetic of knn.h: small differences keep their
// digits. Two rows are compared at a time with a kernel that holds one cluster, never a matrix of all pairs.
// unit: (n, d) rows of length 1 (unit_rows); clusters: (n) numbers from 0 up; order: every row once. eps >= 0.
// Returns the removed rows, ascending.
std::vector<Duplicate> near_duplicates(std::span<const float> unit, std::int64_t features,
                                       std::span<const int> clusters, std::span<const int> order, double eps,
                                       Session& session);

// The same of every cluster whose number leaves `index` when divided by `of`. `unit_rows_at` gives the rows asked for, at
// length 1 and one behind the other: (rows, d).
struct ClusterShare {
  int index = 0, of = 1;
  bool has(int cluster) const { return cluster % of == index; }
};
using UnitRowsAt = std::function<std::vector<float>(std::span<const int> rows)>;
std::vector<Duplicate> near_duplicates(const UnitRowsAt& unit_rows_at, std::int64_t features,
                                       std::span<const int> clusters, std::span<const int> order, double eps,
                                       const ClusterShare& share, Session& session);

}  // namespace scalelab::host
