// kmeans_page: what a page shows of a clustering beside its fit, and the page.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "host/data/source.h"
#include "host/own_data/projection.h"
#include "host/pages/page.h"

namespace scalelab::host {

// Sees the cluster of every row go by, in order, and makes of them what host/results.md says of `labelled` and `plane`.
class ClusterSummary {
 public:
  ClusterSummary(const Rows& data, std::int64_t clusters, std::uint64_t seed);
  void add(std::span<const int> labels);  // of the next rows: clusters, 0 .. clusters - 1
  // After all rows.
  void put_into(nlohmann::json& document) const;

 private:
  nlohmann::json labelled() const;

  const Rows& data_;
  std::int64_t clusters_, seen_ = 0;
  std::vector<std::int64_t> shown_;                         // rows of the plane, ascending
  std::vector<int> shown_clusters_;                         // of those seen so far
  std::map<std::pair<int, int>, std::int64_t> with_label_;  // rows by cluster and label
};

// document: result.json.
Page kmeans_page(const nlohmann::json& document);

}  // namespace scalelab::host
