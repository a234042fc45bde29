#include "host/own_data/kmeans_checkpoint.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "host/program/error.h"
#include "host/program/files.h"

namespace scalelab::host {

namespace {
constexpr const char* kName = "checkpoint";
}

KmeansCheckpoint::KmeansCheckpoint(const std::filesystem::path& folder, std::string of, std::int64_t clusters,
                                   std::int64_t features)
    : centroids(static_cast<std::size_t>(clusters * features)),
      file_(folder / kName),
      of_(std::move(of)),
      clusters_(clusters),
      features_(features) {}

bool KmeansCheckpoint::read(int max_iterations) {
  const std::string bytes = file_text(file_);
  const std::size_t line = bytes.find('\n');
  const nlohmann::json head = nlohmann::json::parse(bytes.substr(0, line), nullptr, false);
  if (line == std::string::npos || !head.is_object() || head.value("schema", 0) != 1) {
    throw Failure(kBadData, file_.string() + ": is no checkpoint of kmeans; remove it, or choose another --out");
  }
  const std::size_t wanted = centroids.size() * sizeof(float);
  if (head.value("of", "") != of_ || head.value("iterations", 0) > max_iterations) return false;
  if (bytes.size() - line - 1 != wanted) {
    throw Failure(kBadData, file_.string() + ": is cut short; remove it to begin anew");
  }
  std::memcpy(centroids.data(), bytes.data() + line + 1, wanted);
  so_far.iterations = head.value("iterations", 0);
  so_far.repaired = head.value("repaired", 0);
  so_far.converged = head.value("converged", false);
  return true;
}

void KmeansCheckpoint::write(const KmeansResult& now, std::span<const float> values) const {
  const nlohmann::json head = {{"schema", 1},
                               {"of", of_},
                               {"clusters", clusters_},
                               {"d", features_},
                               {"iterations", now.iterations},
                               {"repaired", now.repaired},
                               {"converged", now.converged}};
  OutputFile file(file_);
  file.write(head.dump() + "\n");
  file.write(values.data(), values.size_bytes());
  file.commit();
}

bool KmeansCheckpoint::exists(const std::filesystem::path& folder) {
  std::error_code unknown;
  return std::filesystem::exists(folder / kName, unknown);
}

void KmeansCheckpoint::remove(const std::filesystem::path& folder) {
  std::error_code gone;
  std::filesystem::remove(folder / kName, gone);
}

void KmeansCheckpoint::share(Communicator& ranks, int from) {
  ranks.broadcast(std::span(&so_far, 1), from);
  ranks.broadcast(std::span(centroids), from);
}

}  // namespace scalelab::host
