#include "host/program/crossover.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "host/program/command.h"
#include "host/program/environment.h"
#include "host/program/files.h"

namespace scalelab::host {

namespace {

const std::vector<Crossover>& assumed() {
  static const std::vector<Crossover> rows = {
      {Work::knn_near, "knn_near", "knn", "references and queries, up to 3 features", 1e7},
      {Work::knn_far, "knn_far", "knn", "references x queries x features beyond 3", 1.5e10},
      {Work::grid_knn, "grid_knn", "grid_knn_labels", "cells", 3e8},
      {Work::grid_mlp, "grid_mlp", "grid_mlp_labels", "cells x parameters", 2.5e10},
      {Work::mlp_train, "mlp_train", "mlp_train", "samples seen x parameters", 1e10},
      {Work::kmeans_near, "kmeans_near", "kmeans_fit", "points, up to 3 features", 1e7},
      {Work::kmeans_far, "kmeans_far", "kmeans_fit", "points x clusters x features beyond 3", 1e9},
      {Work::max_margin, "max_margin", "max_margin", "sets", 100},
      {Work::xor_sgd, "xor_sgd", "xor_sgd", "networks", 300},
  };
  return rows;
}

constexpr int kSchema = 1;  // of the file: one of another number is not read

// The file's entries, or why there are none.
nlohmann::json entries_of(const std::filesystem::path& file, std::string* why_none) {
  if (!std::filesystem::is_regular_file(file)) {
    *why_none = "not measured on this machine";
    return nlohmann::json::array();
  }
  const auto document = nlohmann::json::parse(file_text(file), nullptr, false);
  const auto entries = document.is_object() ? document.find("machines") : document.end();
  const auto schema = document.is_object() ? document.find("schema") : document.end();
  if (entries == document.end() || !entries->is_array() || schema == document.end() || *schema != kSchema) {
    *why_none = fmt::format("{} is broken", file.string());
    return nlohmann::json::array();
  }
  return *entries;
}

bool is_of(const nlohmann::json& entry, const Contest& contest) {
  const auto same = [&entry](const char* name, const nlohmann::json& value) {
    const auto found = entry.find(name);
    return found != entry.end() && *found == value;
  };
  return entry.is_object() && same("gpu", contest.gpu) && same("cpu", contest.cpu) && same("threads", contest.threads);
}

// An amount of work: no amount that a computer will ever see lies beyond 1e24.
bool sensible(const nlohmann::json& value) {
  return value.is_number() && value.get<double>() > 0 && value.get<double>() < 1e24;
}

}  // namespace

std::span<const Crossover> assumed_crossovers() { return assumed(); }

Contest contest_of(const Backend& cuda, int device, int threads) {
  Context cpu(cpu_backend(), 0, threads);
  Contest contest{.gpu = {}, .cpu = cpu_model(), .threads = cpu.threads()};
  if (cuda.name_device != nullptr) contest.gpu = cuda.name_device(device).product;
  if (contest.cpu.empty()) {
    const std::string line = cpu_backend().describe(cpu);
    contest.cpu = line.substr(0, line.find(','));
  }
  return contest;
}

std::filesystem::path crossover_file() {
  const auto folder_in = [](const char* variable) {
    const char* value = std::getenv(variable);
    return std::filesystem::path(value == nullptr ? "" : value);
  };
  std::filesystem::path cache = folder_in("XDG_CACHE_HOME");
  if (!cache.is_absolute()) {  // as its specification has it
    const std::filesystem::path home = folder_in("HOME");
    cache = home.empty() ? "" : home / ".cache";
  }
  return cache.empty() ? cache : cache / "scalelab" / "crossovers.json";
}

Crossovers read_crossovers(const std::filesystem::path& file, const Contest& contest) {
  Crossovers result{.rows = assumed(), .note = {}};
  const nlohmann::json entries = entries_of(file, &result.note);
  if (!result.note.empty()) return result;
  result.note = "not measured with this GPU, CPU and number of threads";
  for (const nlohmann::json& entry : entries) {
    if (!is_of(entry, contest)) continue;
    const auto day = entry.find("measured"), amounts = entry.find("amounts");
    if (day == entry.end() || !day->is_string() || amounts == entry.end() || !amounts->is_object()) {
      return {.rows = assumed(), .note = fmt::format("{} is broken", file.string())};
    }
    std::vector<Crossover> rows = assumed();
    for (Crossover& row : rows) {
      const auto amount = amounts->find(row.name);
      if (amount == amounts->end()) continue;
      if (!sensible(*amount)) {
        return {.rows = assumed(), .note = fmt::format("{}: {} is no amount of work", file.string(), row.name)};
      }
      row.amount = amount->get<double>();
      row.measured = day->get<std::string>();
    }
    result = {.rows = std::move(rows), .note = {}};
  }
  return result;
}

void write_crossovers(const std::filesystem::path& file, const Contest& contest, const std::string& day,
                      const std::map<std::string, double>& amounts) {
  std::string why_none;
  nlohmann::json kept = nlohmann::json::array();
  for (const nlohmann::json& entry : entries_of(file, &why_none)) {
    if (entry.is_object() && !is_of(entry, contest)) kept.push_back(entry);
  }
  kept.push_back({{"gpu", contest.gpu},
                  {"cpu", contest.cpu},
                  {"threads", contest.threads},
                  {"measured", day},
                  {"version", kVersion},
                  {"amounts", amounts}});
  make_output_folder(file.parent_path());
  write_file(file, json_text({{"schema", kSchema}, {"machines", kept}}));
}

}  // namespace scalelab::host
