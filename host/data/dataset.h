// dataset: labelled points, where they come from, and the CSV they travel in.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "host/data/mixture.h"
#include "scalelab/spiral.h"

namespace scalelab::host {

struct Dataset {
  std::vector<float> points;         // (n, d)
  std::vector<std::uint8_t> labels;  // (n), 0 .. classes - 1
  int features = 2;                  // d
  int classes = 2;
  std::vector<std::string> class_names;  // what each class is called in the file it came from
  std::string fingerprint{};             // of that file's bytes (files.h)

  std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
};

// n points of the mixture, labelled by the spiral (1 inside, 0 outside), each label turned over with probability
// `label_noise`. Point i depends on (seed, i) alone, so that the first n of a larger set are the smaller set; the same
// bits on every machine.
Dataset sample_spiral(const Mixture& mixture, const Spiral& spiral, std::int64_t n, std::uint64_t seed,
                      double label_noise = 0);

// Header `x,y,label`, then one point a line; floats with the fewest digits that read back to the same bits.
void write_points_csv(const std::filesystem::path& file, const Dataset& data);
// Any numeric columns and a last column of labels (numbers or names; up to 256 classes, numbered in sorted order: by
// value when all are integers, else by name). Cells are separated by commas, or, where the first line has none, by
// semicolons or tabs. A first line of names is a header. Throws Failure(kBadData) naming file, line and column: missing,
// empty, ragged, non-numeric, not finite, fewer than two classes, a first line that is neither names nor a point, labels
// that are no UTF-8, a file of another kind (file_kind.h). The file is read once: it may be a pipe.
Dataset read_points_csv(const std::filesystem::path& file);

}  // namespace scalelab::host
