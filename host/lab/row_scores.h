// row_scores: how hard each row is, of what rows and labels alone tell, and which rows a choice keeps.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "host/lab/directions.h"
#include "host/program/command.h"

namespace scalelab::host {

// Of how many rows a choice of `kept` makes sure in each class: this share of an equal part, int(class_floor kept /
// classes).
inline constexpr double kClassFloor = 0.5;
std::int64_t class_floor_rows(double class_floor, std::int64_t kept, int classes);

// The rows kept, ascending: llround(fraction n) of them, at least one. `hard` keeps the largest difficulties, `easy`
// the smallest, `all` everything; ties go to the lower row. Of each class at least class_floor_rows(...) rows
// stay (or all it has), its own hardest or easiest; the rest by rank among all. `random` draws from `seed` without a
// floor, and what it keeps of a smaller fraction is among what it keeps of a larger. Labels lie in 0 .. classes - 1.
// Throws std::invalid_argument: fraction outside (0, 1], class_floor outside [0, 1], a difficulty that is NaN, lengths
// that differ, no rows, another `keep`.
std::vector<int> keep_rows(std::span<const float> difficulty, std::span<const int> labels, int classes,
                           const std::string& keep, double fraction, std::uint64_t seed,
                           double class_floor = kClassFloor);
std::vector<int> keep_rows(std::span<const float> difficulty, std::span<const std::uint8_t> labels, int classes,
                           const std::string& keep, double fraction, std::uint64_t seed,
                           double class_floor = kClassFloor);

// Rows `which` of (n, d), one behind the other.
std::vector<float> rows_at(std::span<const float> rows, std::int64_t features, std::span<const int> which);

// Rows 0 .. n - 1 in a random order, another for every lane. Lane 0 is that of random_scores and of keep_rows' `random`.
std::vector<int> random_order(std::int64_t n, std::uint64_t seed, int lane);

// The score `random`: a number in [0, 1) for each of n rows.
std::vector<float> random_scores(std::int64_t n, std::uint64_t seed);

// k prototypes of (n, d) rows and what lies nearest to which. Where the session's Context has ranks (kmeans.h), all call
// this, each with rows of its own, and have labels and distances of those.
struct Prototypes {
  std::vector<float> centroids;  // (k, d)
  std::vector<int> labels;       // (n)
  std::vector<float> distances;  // (n) to the nearest centroid: Euclidean, or 1 - cosine
  int iterations = 0, repaired = 0;
  bool converged = false;
};
// k-means from a k-means++ start, 300 iterations at most (kmeans.h).
Prototypes euclidean_prototypes(std::span<const float> rows, std::int64_t features, int k, std::uint64_t seed,
                                Session& session);
// The same by spherical_fit (directions.h), of rows that have length 1.
Prototypes cosine_prototypes(std::span<const float> unit, std::int64_t features, int k, std::uint64_t seed,
                             Session& session);
// Distance to the mean of the row's own class.
std::vector<float> class_mean_distances(std::span<const float> rows, std::int64_t features, std::span<const int> labels,
                                        int classes);

}  // namespace scalelab::host
