// others: the neighbours of rows among themselves, without the row itself.
#pragma once

#include <cstdint>
#include <vector>

namespace scalelab::host {

// Of rows' k + 1 nearest among all rows, in the order of Knn (knn.h), the k nearest that are not the row itself: it is left
// out by its number, so that rows equal to it are neighbours at distance 0. Where k + 1 equal rows come before it, it is
// not among the k + 1, and the last of these is left out.
//
// indices, distances: (rows, k + 1) in, (rows, k) out; the i-th of these rows is row first + i of those that indices count.
void leave_out_self(std::int64_t first, int k, std::vector<int>& indices, std::vector<float>& distances);

}  // namespace scalelab::host
