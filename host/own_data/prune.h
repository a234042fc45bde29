// prune: what is left of it when its shards are done (merge.cpp).
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "host/own_data/near_duplicates.h"
#include "host/program/command.h"

namespace scalelab::host {

// The choice among all rows, out of what the shards found, and the files that one process would have left in `folder`.
// job: "prune" of the shards' result.json; scores: (n); duplicates: of all shards, in any order; seconds: of all.
Outcome finish_prune(const nlohmann::json& job, const std::filesystem::path& folder, std::vector<float> scores,
                     std::vector<Duplicate> duplicates, double seconds, int shards, Session& session);

}  // namespace scalelab::host
