#include "host/own_data/near_duplicates.h"

#include <algorithm>
#include <numeric>

#include "host/lab/row_scores.h"
#include "scalelab/buffer.h"
#include "scalelab/knn.h"

namespace scalelab::host {

namespace {

// Rows compared among themselves in one call: all pairs of a block come out of one search.
constexpr std::int64_t kBlock = kMaxNeighbours;

// One cluster's rows in the order in which they are visited.
void visit_cluster(const UnitRowsAt& unit_rows_at, std::int64_t d, std::span<const int> members, double eps,
                   Session& session, std::vector<Duplicate>& removed) {
  Context& context = session.context;
  const Backend& backend = context.backend();
  const auto size = std::ssize(members);
  const Buffer<float> stayed(context, {size, d});  // rows that stay, in the order in which they were visited
  std::vector<int> stayed_rows;
  for (std::int64_t begin = 0; begin < size; begin += kBlock) {
    const std::int64_t count = std::min(kBlock, size - begin);
    const std::vector<float> values =
        unit_rows_at(members.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)));
    const Buffer<float> block(context, values, {count, d});
    // The nearest row that stayed before this block, and all pairs within it.
    std::vector<int> before(static_cast<std::size_t>(count), -1);
    std::vector<float> before_distance(static_cast<std::size_t>(count));
    const auto staying = std::ssize(stayed_rows);
    if (staying > 0) {
      Buffer<int> indices(context, {count, 1});
      Buffer<float> distances(context, {count, 1});
      backend.knn(stayed.view().rows(0, staying), block, indices, distances, context);
      before = indices.to_host();
      before_distance = distances.to_host();
    }
    Buffer<int> within(context, {count, count});
    Buffer<float> within_distances(context, {count, count});
    backend.knn(block, block, within, within_distances, context);
    const std::vector<int> near = within.to_host();
    const std::vector<float> near_distance = within_distances.to_host();

    std::vector<bool> stays(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) {
      int matched = -1;
      float distance = 0;
      if (before[i] >= 0) {
        matched = stayed_rows[before[i]];
        distance = before_distance[i];
      }
      for (std::int64_t j = 0; j < count; ++j) {  // ascending by distance, then by visit
        const int other = near[i * count + j];
        if (other >= i || !stays[other]) continue;
        if (matched < 0 || near_distance[i * count + j] < distance) {
          matched = members[begin + other];
          distance = near_distance[i * count + j];
        }
        break;
      }
      if (matched >= 0 && static_cast<double>(distance) <= 2 * eps) {
        removed.push_back({members[begin + i], matched, static_cast<float>(1 - 0.5 * static_cast<double>(distance))});
        continue;
      }
      stays[i] = true;
      backend.upload(stayed.view().data() + std::ssize(stayed_rows) * d, values.data() + i * d,
                     static_cast<std::size_t>(d) * sizeof(float), context);
      stayed_rows.push_back(members[begin + i]);
    }
  }
}

}  // namespace

std::vector<int> preference(std::span<const float> difficulty, bool hard) {
  std::vector<int> order(difficulty.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return hard ? difficulty[a] > difficulty[b] : difficulty[a] < difficulty[b]; });
  return order;
}

std::vector<Duplicate> near_duplicates(std::span<const float> unit, std::int64_t features,
                                       std::span<const int> clusters, std::span<const int> order, double eps,
                                       Session& session) {
  const auto unit_rows_at = [&](std::span<const int> rows) { return rows_at(unit, features, rows); };
  return near_duplicates(unit_rows_at, features, clusters, order, eps, {}, session);
}

std::vector<Duplicate> near_duplicates(const UnitRowsAt& unit_rows_at, std::int64_t features,
                                       std::span<const int> clusters, std::span<const int> order, double eps,
                                       const ClusterShare& share, Session& session) {
  std::vector<std::vector<int>> members;
  std::int64_t all = 0;
  for (const int row : order) {
    const auto cluster = static_cast<std::size_t>(clusters[row]);
    if (!share.has(clusters[row])) continue;
    if (cluster >= members.size()) members.resize(cluster + 1);
    members[cluster].push_back(row);
    ++all;
  }
  std::vector<Duplicate> removed;
  Stage stage(session, "near-duplicates");
  std::int64_t done = 0;
  for (const auto& cluster : members) {
    const auto size = std::ssize(cluster);
    if (size == 0) continue;
    stage.part(done, done + size, all);
    visit_cluster(unit_rows_at, features, cluster, eps, session, removed);
    done += size;
  }
  std::sort(removed.begin(), removed.end(), [](const Duplicate& a, const Duplicate& b) { return a.row < b.row; });
  return removed;
}

}  // namespace scalelab::host
