#include "host/own_data/kmeans_checkpoint.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "host/program/error.h"
#include "host/program/files.h"

namespace scalelab::host {

namespace {

constexpr const char* kName = "checkpoint";

nlohmann::json described(const KmeansResult& result) {
  return {{"iterations", result.iterations},
          {"repaired", result.repaired},
          {"converged", result.converged},
          {"inertia", result.inertia}};
}

KmeansResult result_of(const nlohmann::json& described) {
  return {.iterations = described.value("iterations", 0),
          .converged = described.value("converged", false),
          .repaired = described.value("repaired", 0),
          .inertia = described.value("inertia", 0.0)};
}

}  // namespace

int KmeansStarts::best_start() const {
  const auto less = [](const KmeansResult& a, const KmeansResult& b) { return a.inertia < b.inertia; };
  return done.empty() ? -1 : static_cast<int>(std::min_element(done.begin(), done.end(), less) - done.begin());
}

int KmeansStarts::iterations() const {
  int sum = so_far.iterations;
  for (const KmeansResult& result : done) sum += result.iterations;
  return sum;
}

KmeansCheckpoint::KmeansCheckpoint(const std::filesystem::path& folder, std::string job, std::int64_t clusters,
                                   std::int64_t features)
    : file_(folder / kName), job_(std::move(job)), clusters_(clusters), features_(features) {}

bool KmeansCheckpoint::read(int starts, int max_iterations, KmeansStarts& into) const {
  const std::string bytes = file_text(file_);
  const std::size_t line = bytes.find('\n');
  const nlohmann::json head = nlohmann::json::parse(bytes.substr(0, line), nullptr, false);
  const auto no_checkpoint = [&] {
    return Failure(kBadData, file_.string() + ": is no checkpoint of kmeans; remove it, or choose another --out");
  };
  if (line == std::string::npos || !head.is_object() || head.value("schema", 0) < 1) throw no_checkpoint();
  if (head.value("schema", 0) != 2 || head.value("of", "") != job_) return false;
  KmeansStarts found;
  found.so_far = result_of(head);
  for (const auto& one : head.value("done", nlohmann::json::array())) {
    if (!one.is_object()) throw no_checkpoint();
    found.done.push_back(result_of(one));
    // A start that the limit ended goes on under another one.
    if (!found.done.back().converged && found.done.back().iterations != max_iterations) return false;
    if (found.done.back().iterations > max_iterations) return false;
  }
  if (found.so_far.iterations > max_iterations || std::ssize(found.done) >= starts) return false;
  const auto values = static_cast<std::size_t>(clusters_ * features_), count = found.done.empty() ? values : 2 * values;
  if (bytes.size() - line - 1 != count * sizeof(float)) {
    throw Failure(kBadData, file_.string() + ": is cut short; remove it to begin anew");
  }
  const char* const from = bytes.data() + line + 1;
  found.centroids.resize(values);
  std::memcpy(found.centroids.data(), from, values * sizeof(float));
  found.best.resize(count - values);
  if (count > values) std::memcpy(found.best.data(), from + values * sizeof(float), values * sizeof(float));
  into = std::move(found);
  return true;
}

void KmeansCheckpoint::write(const KmeansStarts& now) const {
  nlohmann::json head = described(now.so_far);
  head.update(
      {{"schema", 2}, {"of", job_}, {"clusters", clusters_}, {"d", features_}, {"done", nlohmann::json::array()}});
  for (const KmeansResult& result : now.done) head["done"].push_back(described(result));
  OutputFile file(file_);
  file.write(head.dump() + "\n");
  file.write(now.centroids.data(), now.centroids.size() * sizeof(float));
  file.write(now.best.data(), now.best.size() * sizeof(float));
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

void KmeansCheckpoint::share(Communicator& ranks, int from, KmeansStarts& starts) const {
  std::int64_t done = std::ssize(starts.done);
  ranks.broadcast(std::span(&done, 1), from);
  starts.done.resize(static_cast<std::size_t>(done));
  const auto values = static_cast<std::size_t>(clusters_ * features_);
  starts.centroids.resize(values);
  starts.best.resize(done > 0 ? values : 0);
  ranks.broadcast(std::span(&starts.so_far, 1), from);
  ranks.broadcast(std::span(starts.centroids), from);
  if (done == 0) return;
  ranks.broadcast(std::span(starts.done), from);
  ranks.broadcast(std::span(starts.best), from);
}

}  // namespace scalelab::host
