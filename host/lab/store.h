// store: the rows of a sweep on disk, where nothing is lost and nothing is there twice.
//
// A folder of JSON Lines files, one for each shard. A record is one line, written by one write and flushed to disk
// before the next begins; a torn last line (the machine died) is cut off when the shard is opened again. A record has
// an `id`; of two with the same id the later in its file wins, and of two files the one that says "ok".
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace scalelab::host {

class Store {
 public:
  // Opens the shard's file for appending, and locks it where its file system has locks: Failure(kMisuse) when another
  // process has it open,
  // Failure(kCannotWrite) when it cannot be written, Failure(kBadData) naming file and line when a line that is not the
  // last is no record. `shard` is 1 .. shards.
  Store(const std::filesystem::path& folder, int shard = 1, int shards = 1);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // The records of all shards in a folder, by id; none when there is no such folder.
  static std::map<std::string, nlohmann::json> read(const std::filesystem::path& folder);

  // The same, as they were when this was opened, and what was appended since.
  const std::map<std::string, nlohmann::json>& records() const { return records_; }
  // Whether no other process can open the same shard meanwhile.
  bool locked() const { return locked_; }
  // On disk when it returns. Failure(kCannotWrite) when it is not; what was there before still is, whole.
  void append(const nlohmann::json& record);

 private:
  std::filesystem::path file_;
  int descriptor_ = -1;
  bool locked_ = false;
  std::map<std::string, nlohmann::json> records_;
};

}  // namespace scalelab::host
