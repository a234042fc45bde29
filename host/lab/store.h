// store: the rows of a sweep on disk, where nothing is lost and nothing is there twice.
//
// A folder of JSON Lines files, one for each shard. A record is one line, written by one write and flushed to disk
// before the next begins; a torn last line (the machine died) is cut off when the shard is opened again. A record has
// an `id`; of two with the same id the later in its file wins, and of two files the one that says "ok".
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace scalelab::host {

// The records of all shards in a folder, by id: where each lies on disk. A record is read when it is asked for, so that
// a hundred thousand of them take little memory.
class Records {
 public:
  // None when there is no such folder. Failure(kBadData) as Store.
  static Records in(const std::filesystem::path& folder);

  std::size_t size() const { return places_.size(); }
  bool contains(const std::string& id) const { return places_.contains(id); }
  bool failed(const std::string& id) const;  // of one that is there: its trial could not be run
  std::vector<std::string> ids() const;
  // std::out_of_range where there is none; Failure(kBadData) where its file has changed meanwhile.
  nlohmann::json at(const std::string& id) const;

 private:
  friend class Store;
  struct Place {
    int file;
    bool ok, failed;
    std::int64_t begin, length;
  };
  // What one file holds, in order: later records of an id replace earlier ones. Returns the length of the file up to
  // the end of its last whole record; what is behind it is a torn line.
  static std::int64_t read_shard(const std::filesystem::path& file, int number, std::map<std::string, Place>& places);
  static Place place_of(const nlohmann::json& record, int file, std::int64_t begin, std::int64_t length);

  std::vector<std::filesystem::path> files_;
  std::map<std::string, Place> places_;
};

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

  // As they were when this was opened, and what was appended since.
  const Records& records() const { return records_; }
  // Whether no other process can open the same shard meanwhile.
  bool locked() const { return locked_; }
  // Written when it returns: a process that is killed loses nothing. Failure(kCannotWrite) when it cannot be; what was
  // there before still is, whole.
  void append(const nlohmann::json& record);
  // On disk when it returns: a power cut loses nothing of what was appended.
  void flush();

 private:
  std::filesystem::path file_;
  int number_ = 0;  // of the file among those of the records
  int descriptor_ = -1;
  bool locked_ = false;
  Records records_;
};

}  // namespace scalelab::host
