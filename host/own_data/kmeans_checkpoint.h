// kmeans_checkpoint: where a fit of k-means stands after an iteration, on disk, so that any number of ranks can go on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "scalelab/communicator.h"
#include "scalelab/kmeans.h"

namespace scalelab::host {

// What was done of several starts, one after the other.
struct KmeansStarts {
  std::vector<KmeansResult> done;  // of the starts that have ended
  std::vector<float> best;         // (clusters, features): the centroids of the best of these; empty: there are none
  KmeansResult so_far;             // of the start that has not, without the inertia
  std::vector<float> centroids;    // (clusters, features), of that start; empty: it has not begun

  // Which of the starts that have ended has the least inertia; of equal ones the first. -1: there are none.
  int best_start() const;
  int iterations() const;  // of all starts
};

// A file in the folder of the result: a line of JSON {schema, of, clusters, d, iterations, repaired, converged, done
// [{iterations, repaired, converged, inertia}]}, then as float32 the centroids and, where starts are done, the best.
class KmeansCheckpoint {
 public:
  // `job` names the data and the options on which the bits of the centroids depend, but for how many starts there are, and
  // how many iterations each.
  KmeansCheckpoint(const std::filesystem::path& folder, std::string job, std::int64_t clusters, std::int64_t features);

  // Reads the file there, which exists. False where it is of another name, or not on the way to so many `starts` of
  // `max_iterations` each. Failure(kBadData) for a file that no run left.
  bool read(int starts, int max_iterations, KmeansStarts& into) const;
  void write(const KmeansStarts& now) const;
  static bool exists(const std::filesystem::path& folder);
  static void remove(const std::filesystem::path& folder);
  // Hands what rank `from` has read to all.
  void share(Communicator& ranks, int from, KmeansStarts& starts) const;

 private:
  std::filesystem::path file_;
  std::string job_;
  std::int64_t clusters_, features_;
};

}  // namespace scalelab::host
