// knn_page: what a page shows of neighbours beside their files, and the page.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "host/data/source.h"
#include "host/own_data/confusion.h"
#include "host/pages/page.h"

namespace scalelab::host {

// Sees the neighbours of every query go by, in order, and makes of them what host/results.md says of `kth_distance`,
// `copies`, `nearest`, `farthest`, `vote` and `plane`.
class NeighbourSummary {
 public:
  // Queries may be the references themselves, of which each then finds itself or (among_others) does not.
  // cosine: distances are 1 - cosine, and not squared ones.
  NeighbourSummary(const Rows& references, const Rows& queries, int k, bool cosine, bool among_others,
                   std::uint64_t seed);
  void add(std::span<const int> indices, std::span<const float> distances);  // of the next queries, (some, k) each
  // After all queries.
  void put_into(nlohmann::json& document) const;

 private:
  struct Pair {
    float distance;  // as it came
    std::int64_t query, reference;
  };
  void see_pair(const Pair& pair);
  void see_vote(std::span<const int> neighbours);
  double distance_of(float value) const;
  nlohmann::json kth_distance() const;
  nlohmann::json pairs(const std::vector<Pair>& list, bool nearest) const;
  nlohmann::json plane() const;

  const Rows &references_, &queries_;
  const int k_;
  const bool cosine_, among_others_, same_rows_, votes_;
  const std::int64_t every_;  // of how many queries the distance of one is kept
  const std::uint64_t seed_;
  std::int64_t seen_ = 0, copies_ = 0;
  std::vector<float> kth_;
  std::vector<Pair> nearest_, farthest_;   // in order
  std::vector<std::string> names_;         // labels of the references, and behind them those that only queries have
  std::vector<int> label_of_query_class_;  // the number in `names_`
  std::optional<Confusion> vote_;
  std::vector<std::int64_t> shown_;  // queries of the plane, ascending
  std::vector<bool> shown_wrong_;    // of those seen so far, where they vote
};

// document: result.json.
Page knn_page(const nlohmann::json& document);
// What a vote of the neighbours came to, for the terminal; empty where there was none.
std::string vote_text(const nlohmann::json& document);

}  // namespace scalelab::host
