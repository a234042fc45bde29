#include "host/lab/store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "host/program/error.h"
#include "host/program/file_lock.h"
#include "host/program/files.h"

namespace scalelab::host {

namespace fs = std::filesystem;

namespace {

// The first member of a record that a sweep would have written otherwise, or null.
const char* wrong_member(const nlohmann::json& record) {
  const auto fits = [&](const char* name, auto is) { return !record.contains(name) || is(record[name]); };
  if (!fits("status", [](const nlohmann::json& value) { return value.is_string(); })) return "status";
  if (!fits("seconds", [](const nlohmann::json& value) { return value.is_number(); })) return "seconds";
  if (!fits("metrics", [](const nlohmann::json& value) { return value.is_object(); })) return "metrics";
  return nullptr;
}

[[noreturn]] void cannot_write(const fs::path& file, int reason) {
  throw Failure(kCannotWrite, fmt::format("{}: cannot be written: {}; what was there is whole: free some space and run "
                                          "the same command again",
                                          file.string(), std::strerror(reason)));
}

}  // namespace

Records::Place Records::place_of(const nlohmann::json& record, int file, std::int64_t begin, std::int64_t length) {
  const std::string status = record.value("status", std::string("failed: the record has no status"));
  return {file, status == "ok", status.starts_with("failed"), begin, length};
}

std::int64_t Records::read_shard(const fs::path& file, int number, std::map<std::string, Place>& places) {
  std::ifstream input(file, std::ios::binary);
  if (!input) cannot_read(file);
  std::int64_t begin = 0;
  std::string bytes;
  for (int line = 1; std::getline(input, bytes) && !input.eof(); ++line) {  // a line without its end is torn
    auto record = nlohmann::json::parse(bytes, nullptr, false);
    if (!record.is_object() || !record.contains("id") || !record["id"].is_string()) {
      if (input.peek() == std::ifstream::traits_type::eof()) break;  // torn, though its line feed reached the disk
      throw Failure(kBadData, fmt::format("{}:{}: is no record of a sweep; remove the line, or choose another --out",
                                          file.string(), line));
    }
    if (const char* wrong = wrong_member(record)) {
      throw Failure(kBadData,
                    fmt::format("{}:{}: '{}' is of another type than a sweep writes; remove the line, and its "
                                "trial is run again",
                                file.string(), line, wrong));
    }
    const std::int64_t length = std::ssize(bytes);
    places.insert_or_assign(record["id"].get<std::string>(), place_of(record, number, begin, length));
    begin += length + 1;
  }
  return begin;
}

Records Records::in(const fs::path& folder) {
  Records records;
  for (const std::string& name : names_in(folder)) {
    if (name.starts_with("rows-") && name.ends_with(".jsonl")) records.files_.push_back(folder / name);
  }
  std::sort(records.files_.begin(), records.files_.end());
  for (std::size_t i = 0; i < records.files_.size(); ++i) {
    std::map<std::string, Place> own;
    read_shard(records.files_[i], static_cast<int>(i), own);
    for (const auto& [id, place] : own) {
      const auto [found, added] = records.places_.try_emplace(id, place);
      if (!added && !found->second.ok && place.ok) found->second = place;
    }
  }
  return records;
}

bool Records::failed(const std::string& id) const { return places_.at(id).failed; }

std::vector<std::string> Records::ids() const {
  std::vector<std::string> ids;
  for (const auto& [id, place] : places_) ids.push_back(id);
  return ids;
}

nlohmann::json Records::at(const std::string& id) const {
  const Place& place = places_.at(id);
  const fs::path& file = files_[static_cast<std::size_t>(place.file)];
  std::string bytes(static_cast<std::size_t>(place.length), '\0');
  std::ifstream input(file, std::ios::binary);
  input.seekg(place.begin);
  input.read(bytes.data(), place.length);
  auto record = input ? nlohmann::json::parse(bytes, nullptr, false) : nlohmann::json();
  if (!record.is_object() || record.value("id", nlohmann::json()) != id) {
    throw Failure(kBadData,
                  fmt::format("{}: has changed while it was read; run the same command again", file.string()));
  }
  return record;
}

Store::Store(const fs::path& folder, int shard, int shards) {
  make_output_folder(folder);
  file_ = folder / fmt::format("rows-{}-of-{}.jsonl", shard, shards);
  descriptor_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) cannot_write(file_, errno);
  const Lock lock = lock_file(descriptor_);
  locked_ = lock != Lock::none;
  if (lock == Lock::another) {
    ::close(descriptor_);
    throw Failure(kMisuse, fmt::format("{}: another process is writing this shard; wait for it, or choose another "
                                       "--shard or --out",
                                       file_.string()));
  }
  try {
    records_ = Records::in(folder);
    const auto& files = records_.files_;
    const auto own_file = std::find_if(files.begin(), files.end(),
                                       [&](const fs::path& one) { return one.filename() == file_.filename(); });
    number_ = static_cast<int>(own_file - files.begin());
    std::map<std::string, Records::Place> own;
    const std::int64_t whole =
        Records::read_shard(file_, number_, own);  // another shard's torn line may be one that is being written
    if (::ftruncate(descriptor_, whole) != 0 || ::lseek(descriptor_, whole, SEEK_SET) < 0) cannot_write(file_, errno);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

Store::~Store() {
  ::fdatasync(descriptor_);
  ::close(descriptor_);
}

void Store::append(const nlohmann::json& record) {
  const std::string line = record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  const ::off_t before = ::lseek(descriptor_, 0, SEEK_CUR);
  std::size_t written = 0;
  while (written < line.size()) {
    const ::ssize_t count = ::write(descriptor_, line.data() + written, line.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int reason = errno;
      if (::ftruncate(descriptor_, before) == 0) ::lseek(descriptor_, before, SEEK_SET);
      cannot_write(file_, reason);
    }
    written += static_cast<std::size_t>(count);
  }
  records_.places_.insert_or_assign(record.at("id").get<std::string>(),
                                    Records::place_of(record, number_, before, std::ssize(line) - 1));
}

void Store::flush() {
  if (::fdatasync(descriptor_) != 0 && errno != EINVAL) cannot_write(file_, errno);
}

}  // namespace scalelab::host
