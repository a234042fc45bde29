// scalelab merge: the shards of a result, joined into what one process would have written.
//
// A shard is a folder shard-i-of-n (rows of queries or of data) or references-i-of-n (all queries, some references) with a
// result.json that has, beside what it has alone, shard {index, of, first (its first row), rows, joined (files joined by
// rows), equal (files that are the same in all), inertia_blocks,
// sizes (rows of each cluster)}. Of prune it has `prune`, and prune.cpp finishes the job.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <regex>
#include <vector>

#include "host/data/npy.h"
#include "host/own_data/prune.h"
#include "host/program/command.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/input.h"
#include "host/program/options.h"
#include "host/program/publish.h"
#include "scalelab/buffer.h"

namespace scalelab::host {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

struct Shards {
  std::string kind;               // shard, references
  std::vector<fs::path> folders;  // by index
  std::vector<json> results;

  const json& shard(std::size_t i) const { return results[i].at("shard"); }
};

// What stays the same in all shards of one job.
json common_part(json result) {
  for (const char* own : {"shard", "seconds", "environment"}) result.erase(own);
  for (const char* plan : {"references", "queries"}) {
    if (!result.contains(plan)) continue;
    for (const char* own : {"pieces", "rows_at_a_time"}) result[plan].erase(own);
  }
  return result;
}

// Failure(kBadData) that says which shards are missing, and which are of another job.
Shards find_shards(const fs::path& folder) {
  const std::regex name("(shard|references)-([0-9]{1,6})-of-([0-9]{1,6})");
  Shards found;
  std::size_t parts = 0;
  for (const std::string& file : names_in(folder)) {
    std::smatch match;
    if (!std::regex_match(file, match, name)) continue;
    const std::size_t count = std::stoul(match[3]), index = std::stoul(match[2]);
    if (parts != 0 && (parts != count || found.kind != match[1])) {
      throw Failure(kBadData, fmt::format("{}: holds {}-...-of-{} beside {}; remove what is of another job",
                                          folder.string(), found.kind, parts, file));
    }
    parts = count;
    found.kind = match[1];
    found.folders.resize(parts);
    if (index >= 1 && index <= parts) found.folders[index - 1] = folder / file;
  }
  if (parts == 0) throw Failure(kBadData, folder.string() + ": holds no shards, as shard-1-of-8");
  std::vector<std::size_t> missing;
  std::error_code unknown;
  for (std::size_t i = 0; i < parts; ++i) {
    const fs::path result = found.folders[i] / "result.json";
    if (found.folders[i].empty() || !fs::exists(result, unknown)) {
      missing.push_back(i + 1);
      continue;
    }
    found.results.push_back(read_json(result, result.string(), kBadData));
  }
  if (!missing.empty()) {
    throw Failure(kBadData, fmt::format("{}: missing {} {} of {}; run them, then merge again", folder.string(),
                                        missing.size() == 1 ? "shard" : "shards", fmt::join(missing, ", "), parts));
  }
  const json first = common_part(found.results[0]);
  for (std::size_t i = 1; i < parts; ++i) {
    const json other = common_part(found.results[i]);
    if (other == first) continue;
    throw Failure(kBadData, fmt::format("{}: is of another job than {}: {}", found.folders[i].string(),
                                        found.folders[0].string(), json::diff(first, other)[0].value("path", "")));
  }
  return found;
}

// Files written side by side, put in place by one commit.
struct Joined {
  std::vector<std::unique_ptr<OutputFile>> files;
  OutputFile& add(const fs::path& file) { return *files.emplace_back(std::make_unique<OutputFile>(file)); }
  void commit() {
    for (auto& file : files) file->commit();
  }
};

NpyArray array_of(const Shards& shards, std::size_t i, const std::string& file) {
  NpyArray array = read_npy(shards.folders[i] / file);
  if (shards.kind == "shard" && array.rows() != shards.shard(i).at("rows").get<std::int64_t>()) {
    throw Failure(kBadData, (shards.folders[i] / file).string() + ": has other rows than its result.json says");
  }
  return array;
}

// One shard's rows behind the other's.
void join_rows(const Shards& shards, const std::string& name, OutputFile& file) {
  NpyArray array = array_of(shards, 0, name);
  const std::string descr = array.descr;
  std::vector<std::int64_t> shape = array.shape;
  shape[0] = 0;
  for (std::size_t i = 0; i < shards.results.size(); ++i) shape[0] += shards.shard(i).at("rows").get<std::int64_t>();
  write_npy_start(file, descr, shape);
  for (std::size_t i = 0; i < shards.results.size(); ++i) {
    if (i > 0) array = array_of(shards, i, name);
    shape[0] = array.rows();
    if (array.descr != descr || array.shape != shape) {
      throw Failure(kBadData,
                    (shards.folders[i] / name).string() + ": is another kind of array than in the first shard");
    }
    file.write(array.bytes.data(), array.bytes.size());
  }
}

void copy_equal(const Shards& shards, const std::string& name, OutputFile& file) {
  const std::string bytes = file_text(shards.folders[0] / name);
  for (std::size_t i = 1; i < shards.folders.size(); ++i) {
    if (file_text(shards.folders[i] / name) == bytes) continue;
    throw Failure(kBadData, (shards.folders[i] / name).string() + ": differs from that of the first shard");
  }
  file.write(bytes);
}

template <class T>
std::vector<T> values_of(const NpyArray& array) {
  std::vector<T> values(array.bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), array.bytes.data(), values.size() * sizeof(T));
  return values;
}

// The neighbours that a shard found: arrays (q, k), alike in all shards.
struct Neighbours {
  NpyArray indices, distances;
};
Neighbours neighbours_of(const Shards& shards, std::size_t i, const std::vector<std::int64_t>& shape) {
  Neighbours found{read_npy(shards.folders[i] / "indices.npy"), read_npy(shards.folders[i] / "distances.npy")};
  const std::vector<std::int64_t>& own = found.indices.shape;
  if (own.size() != 2 || (!shape.empty() && own != shape) || found.distances.shape != own ||
      found.indices.descr != "<i4" || found.distances.descr != "<f4") {
    throw Failure(kBadData, shards.folders[i].string() + ": indices.npy and distances.npy are not those of its job");
  }
  return found;
}

// The nearest of all references, out of the nearest of each part of them.
void join_references(const Shards& shards, Context& context, Joined& joined, const fs::path& folder) {
  Neighbours found = neighbours_of(shards, 0, {});
  const std::vector<std::int64_t> shape = found.indices.shape;
  const Shape of_view{shape[0], shape[1]};
  const Buffer<int> best(context, values_of<int>(found.indices), of_view);
  const Buffer<float> nearest(context, values_of<float>(found.distances), of_view);
  for (std::size_t i = 1; i < shards.folders.size(); ++i) {
    found = neighbours_of(shards, i, shape);
    const auto first = shards.shard(i).at("first").get<std::int64_t>();
    std::vector<int> own = values_of<int>(found.indices);
    for (int& index : own) index -= static_cast<int>(first);
    context.backend().knn_merge(Buffer<int>(context, own, of_view),
                                Buffer<float>(context, values_of<float>(found.distances), of_view), first, best,
                                nearest, context);
  }
  const std::vector<int> all = best.to_host();
  const std::vector<float> all_distances = nearest.to_host();
  OutputFile& indices_file = joined.add(folder / "indices.npy");
  write_npy_start(indices_file, "<i4", shape);
  indices_file.write(all.data(), all.size() * sizeof(int));
  OutputFile& distances_file = joined.add(folder / "distances.npy");
  write_npy_start(distances_file, "<f4", shape);
  distances_file.write(all_distances.data(), all_distances.size() * sizeof(float));
}

// A file of the folder, and of no other, whatever a result.json names.
fs::path inside(const fs::path& folder, const std::string& name) {
  if (fs::path(name).has_filename() && fs::path(name).filename() == name) return folder / name;
  throw Failure(kBadData, fmt::format("{}: '{}' in the result.json of its first shard is no name of a file",
                                      folder.string(), name));
}

// What the shards of prune found, joined, and the choice that is made of it.
Outcome join_prune(const Shards& shards, const fs::path& folder, Session& session) {
  std::vector<float> scores;
  std::vector<Duplicate> duplicates;
  double seconds = 0;
  for (std::size_t i = 0; i < shards.results.size(); ++i) {
    const auto unlike = [&](const char* file) {
      return Failure(kBadData, fmt::format("{}: is not that of its job", (shards.folders[i] / file).string()));
    };
    const NpyArray own = array_of(shards, i, "scores.npy");
    if (own.descr != "<f4" || own.shape.size() != 1) throw unlike("scores.npy");
    const std::vector<float> some = values_of<float>(own);
    scores.insert(scores.end(), some.begin(), some.end());
    if (const auto found = shards.shard(i).value("near_duplicates", std::int64_t{0}); found > 0) {
      const NpyArray pairs = read_npy(shards.folders[i] / "duplicates.npy"),
                     cosines = read_npy(shards.folders[i] / "cosines.npy");
      if (pairs.descr != "<i8" || pairs.shape != std::vector<std::int64_t>{found, 2}) throw unlike("duplicates.npy");
      if (cosines.descr != "<f4" || cosines.shape != std::vector{found}) throw unlike("cosines.npy");
      const std::vector<std::int64_t> rows = values_of<std::int64_t>(pairs);
      const std::vector<float> near = values_of<float>(cosines);
      for (std::size_t j = 0; j < near.size(); ++j) {
        duplicates.push_back({static_cast<int>(rows[2 * j]), static_cast<int>(rows[2 * j + 1]), near[j]});
      }
    }
    seconds += shards.results[i].value("seconds", 0.0);
  }
  return finish_prune(shards.results[0].at("prune"), folder, std::move(scores), std::move(duplicates), seconds,
                      static_cast<int>(shards.results.size()), session);
}

Outcome run(const fs::path& folder, Session& session) {
  const Shards shards = find_shards(folder);
  if (shards.results[0].contains("prune")) return join_prune(shards, folder, session);
  Joined joined;
  Outcome outcome;
  outcome.document = common_part(shards.results[0]);
  if (shards.kind == "references") {
    join_references(shards, session.context, joined, folder);
  } else {
    for (const std::string name : shards.shard(0).at("joined"))
      join_rows(shards, name, joined.add(inside(folder, name)));
    for (const std::string name : shards.shard(0).value("equal", json::array())) {
      copy_equal(shards, name, joined.add(inside(folder, name)));
    }
  }
  double seconds = 0, inertia = 0;
  std::vector<std::int64_t> sizes(shards.shard(0).value("sizes", json::array()).size());
  for (std::size_t i = 0; i < shards.results.size(); ++i) {
    seconds += shards.results[i].value("seconds", 0.0);
    for (const double block : shards.shard(i).value("inertia_blocks", json::array())) inertia += block;
    const json own = shards.shard(i).value("sizes", json::array());
    for (std::size_t c = 0; c < std::min(sizes.size(), own.size()); ++c) sizes[c] += own[c].get<std::int64_t>();
  }
  if (shards.shard(0).contains("inertia_blocks")) outcome.document["inertia"] = inertia;
  if (!sizes.empty()) outcome.document["sizes"] = sizes;
  outcome.document["shards"] = shards.results.size();
  outcome.document["seconds"] = seconds;
  outcome.document["environment"] = environment(session);
  outcome.text =
      fmt::format("{}: {} shards merged, {:.3g} s of work in them\n", folder.string(), shards.results.size(), seconds);
  publish(folder, json_text(outcome.document), joined);
  return outcome;
}

}  // namespace

Command add_merge(CLI::App& program) {
  auto folder = std::make_shared<std::string>();
  CLI::App* app =
      program.add_subcommand("merge", "Joins the shards of knn, kmeans and prune, and says which are missing");
  app->add_option("folder", *folder, "The --out of the shards; the joined files are put there")->required();
  add_notes(*app, {"scalelab knn --data r.npy --queries q.npy --shard 3/8 -o neighbours", "scalelab merge neighbours"});
  return {app, [folder](Session& session) { return run(*folder, session); }};
}

}  // namespace scalelab::host
