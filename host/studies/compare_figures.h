// compare_figures: pictures of what the models of a comparison say, of the first seed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "host/studies/compare.h"

namespace scalelab::host {

struct Figure {
  std::filesystem::path file;
  std::string model;   // a model's name, `truth` or `sheet`
  std::int64_t n = 0;  // points drawn; 0 for the bare truth and the sheet
};

// One picture for every model and size, of the first seed; the truth, bare and under the largest set's points; and the
// sheet of all of them side by side.
std::vector<Figure> draw_figures(const Comparison& comparison, const std::filesystem::path& folder, Session& session);

}  // namespace scalelab::host
