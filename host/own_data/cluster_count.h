// cluster_count: how many clusters, where --clusters auto asks for it.
//
// Of the numbers tried the one with the largest mean silhouette (Rousseeuw 1987), of equal ones the smallest. A row's
// silhouette is (b - a) / max(a, b): a its mean distance to the other rows of its cluster, b the smallest mean distance to
// the rows of another; 0 where it is alone in its cluster or both are 0. Only a sample of the rows is looked at, and each
// number is tried by the best of three k-means of the sample alone.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "host/program/command.h"

namespace CLI {
class Option;
}  // namespace CLI

namespace scalelab::host {

inline constexpr int kAutoClusters = -1;            // what --clusters auto is as a number
inline constexpr int kMostAutoClusters = 91;        // the largest number tried
inline constexpr std::int64_t kFewestAutoRows = 8;  // numbers up to a quarter of the rows are tried, from 2 on

// --clusters, a number or auto; 0: not given.
CLI::Option* add_cluster_count(CLI::App& app, int& clusters, const std::string& help);
// What auto does and where it is weak: for the end of a command's help.
extern const char* const kAutoClustersHelp;

struct ClusterCount {
  struct Tried {
    int clusters;
    double silhouette;
  };
  int clusters = 0;
  std::int64_t sample = 0;   // rows looked at
  std::vector<Tried> tried;  // ascending
  double silhouette() const;
};

// Ids of the rows to look at, ascending: 2,000 of n at the most, fewer of very many features. Failure(kMisuse) for fewer
// than kFewestAutoRows rows.
std::vector<int> sampled_rows(std::int64_t n, std::int64_t features, std::uint64_t seed);

// sample: (m, d); `cosine`: its rows have length 1, and are clustered by cosine. By this process alone, whatever its
// Context's ranks do meanwhile. The same on every backend.
ClusterCount count_clusters(std::span<const float> sample, std::int64_t features, bool cosine, std::uint64_t seed,
                            Session& session);

// The mean over m rows. distances: (m, m); labels: (m), 0 .. clusters - 1.
double mean_silhouette(std::span<const float> distances, std::span<const int> labels, int clusters);

std::string reason(const ClusterCount& count);  // a sentence
nlohmann::json to_json(
    const ClusterCount& count);  // {rule, sample, silhouette, reason, tried [{clusters, silhouette}]}

}  // namespace scalelab::host
