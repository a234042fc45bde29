// kmeans_checkpoint: where a fit of k-means stands after an iteration, on disk, so that any number of ranks can go on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "scalelab/communicator.h"
#include "scalelab/kmeans.h"

namespace scalelab::host {

// A file in the folder of the result: a line of JSON {schema, of, clusters, d, iterations, repaired, converged}, then the
// centroids as float32.
class KmeansCheckpoint {
 public:
  // `of` names the data and the options on which the bits of the centroids depend.
  KmeansCheckpoint(const std::filesystem::path& folder, std::string of, std::int64_t clusters, std::int64_t features);

  // Reads the file there, which exists. False where it is of another name, or of more than `max_iterations`.
  // Failure(kBadData) for a file that no run left.
  bool read(int max_iterations);
  void write(const KmeansResult& so_far, std::span<const float> centroids) const;
  static bool exists(const std::filesystem::path& folder);
  static void remove(const std::filesystem::path& folder);
  // Hands what rank `from` has read to all.
  void share(Communicator& ranks, int from);

  KmeansResult so_far;           // without the inertia
  std::vector<float> centroids;  // (clusters, features)

 private:
  std::filesystem::path file_;
  std::string of_;
  std::int64_t clusters_, features_;
};

}  // namespace scalelab::host
