// knn_oracle: kNN by its definition (scalelab/knn.h), and the op asked the same.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "scalelab/knn.h"
#include "tests/support.h"

namespace scalelab::test {

struct Answer {
  std::vector<int> indices;      // (q, k)
  std::vector<float> distances;  // (q, k)
};

// The canonical distance of knn.h.
inline float canonical(const float* query, const float* reference, std::int64_t d) {
  float s = 0;
  for (std::int64_t c = 0; c < d; ++c) {
    const float t = query[c] - reference[c];
    s = std::fmaf(t, t, s);
  }
  return s;
}

// (n, d) references and (q, d) queries: the first k of every reference in order of (distance, index).
inline Answer naive(const std::vector<float>& references, const std::vector<float>& queries, std::int64_t d,
                    std::int64_t k) {
  const std::int64_t n = static_cast<std::int64_t>(references.size()) / d;
  Answer answer;
  std::vector<std::pair<float, int>> all(n);
  for (std::size_t q = 0; q < queries.size(); q += d) {
    for (std::int64_t i = 0; i < n; ++i) {
      all[i] = {canonical(&queries[q], &references[i * d], d), static_cast<int>(i)};
    }
    std::partial_sort(all.begin(), all.begin() + k, all.end());
    for (std::int64_t j = 0; j < k; ++j) {
      answer.indices.push_back(all[j].second);
      answer.distances.push_back(all[j].first);
    }
  }
  return answer;
}

// What the op says.
inline Answer run_knn(const Backend& backend, const std::vector<float>& references, const std::vector<float>& queries,
                      std::int64_t d, std::int64_t k, int threads = 0, bool with_distances = true) {
  Context context(backend, 0, threads);
  const std::int64_t n = static_cast<std::int64_t>(references.size()) / d;
  const std::int64_t q = static_cast<std::int64_t>(queries.size()) / d;
  const Guarded<float> r(context, references, {n, d}), x(context, queries, {q, d});
  const Guarded<int> indices(context, {q, k});
  const Guarded<float> distances(context, {q, k});
  backend.knn(r, x, indices, with_distances ? distances.view() : View<float>(), context);
  context.synchronize();
  return {indices.to_host(), distances.to_host()};
}

}  // namespace scalelab::test
