// csv: points in tables of text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "host/data/dataset.h"
#include "host/data/labels.h"

namespace scalelab::host {

struct CsvTable {
  std::vector<float> values;  // (n, d)
  std::int64_t features = 0;  // d
  Labels labels;              // none where every column is a coordinate
  std::string fingerprint;    // of the file's bytes (files.h)
};

// Numeric columns, and where `labelled` a last one of labels (numbers or names, up to kMostClasses). Cells are separated
// by commas, or, where the first line has none, by semicolons, tabs, bars or spaces. A first line of names is a header. Throws
// Failure(kBadData) naming file, line and column: missing, empty, ragged, non-numeric, not finite, a first line that is
// neither names nor a point, labels that are no UTF-8, a file of another kind (file_kind.h). The file is read once: it may
// be a pipe.
CsvTable read_csv(const std::filesystem::path& file, bool labelled);

// Header `x,y,label`, then one point a line; floats with the fewest digits that read back to the same bits.
void write_points_csv(const std::filesystem::path& file, const Dataset& data);

}  // namespace scalelab::host
