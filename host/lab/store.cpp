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

bool says_ok(const nlohmann::json& record) { return record.value("status", std::string()) == "ok"; }

// The records of one file, in order, into `records`. Returns the length of the file up to the end of its last whole
// record; what is behind it is a torn line.
std::int64_t read_shard(const fs::path& file, std::map<std::string, nlohmann::json>& records) {
  std::ifstream input(file, std::ios::binary);
  if (!input) throw Failure(kBadData, fmt::format("{}: cannot be read", file.string()));
  const std::string text((std::istreambuf_iterator<char>(input)), {});
  std::map<std::string, nlohmann::json> own;
  std::size_t begin = 0;
  for (int line = 1; begin < text.size(); ++line) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    const std::string_view bytes(text.data() + begin, end - begin);
    auto record = nlohmann::json::parse(bytes, nullptr, false);
    if (!record.is_object() || !record.contains("id") || !record["id"].is_string()) {
      if (end + 1 == text.size()) break;  // torn, though its line feed reached the disk
      throw Failure(kBadData, fmt::format("{}:{}: is no record of a sweep; remove the line, or choose another --out",
                                          file.string(), line));
    }
    if (const char* wrong = wrong_member(record)) {
      throw Failure(kBadData,
                    fmt::format("{}:{}: '{}' is of another type than a sweep writes; remove the line, and its "
                                "trial is run again",
                                file.string(), line, wrong));
    }
    std::string id = record["id"].get<std::string>();
    own.insert_or_assign(std::move(id), std::move(record));
    begin = end + 1;
  }
  for (auto& [id, record] : own) {
    const auto found = records.find(id);
    if (found == records.end()) {
      records.emplace(id, std::move(record));
    } else if (!says_ok(found->second) && says_ok(record)) {
      found->second = std::move(record);
    }
  }
  return static_cast<std::int64_t>(begin);
}

[[noreturn]] void cannot_write(const fs::path& file, int reason) {
  throw Failure(kCannotWrite, fmt::format("{}: cannot be written: {}; what was there is whole: free some space and run "
                                          "the same command again",
                                          file.string(), std::strerror(reason)));
}

}  // namespace

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
    records_ = read(folder);
    std::map<std::string, nlohmann::json> own;
    const std::int64_t whole = read_shard(file_, own);  // another shard's torn line may be one that is being written
    if (::ftruncate(descriptor_, whole) != 0 || ::lseek(descriptor_, whole, SEEK_SET) < 0) cannot_write(file_, errno);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

std::map<std::string, nlohmann::json> Store::read(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("rows-") && name.ends_with(".jsonl")) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::map<std::string, nlohmann::json> records;
  for (const fs::path& file : files) read_shard(file, records);
  return records;
}

Store::~Store() { ::close(descriptor_); }

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
  if (::fdatasync(descriptor_) != 0 && errno != EINVAL) cannot_write(file_, errno);
  records_.insert_or_assign(record.at("id").get<std::string>(), record);
}

}  // namespace scalelab::host
