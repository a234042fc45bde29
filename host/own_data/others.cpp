#include "host/own_data/others.h"

namespace scalelab::host {

void leave_out_self(std::int64_t first, int k, std::vector<int>& indices, std::vector<float>& distances) {
  const std::size_t wanted = static_cast<std::size_t>(k), found = wanted + 1, rows = indices.size() / found;
  for (std::size_t i = 0; i < rows; ++i) {
    const std::int64_t self = first + static_cast<std::int64_t>(i);
    std::size_t to = i * wanted;  // never beyond what is still to be read
    for (std::size_t j = 0; j < found && to < (i + 1) * wanted; ++j) {
      const std::size_t from = i * found + j;
      if (indices[from] == self) continue;
      indices[to] = indices[from];
      distances[to] = distances[from];
      ++to;
    }
  }
  indices.resize(rows * wanted);
  distances.resize(rows * wanted);
}

}  // namespace scalelab::host
