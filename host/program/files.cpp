#include "host/program/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "host/program/error.h"
#include "host/program/file_lock.h"

namespace scalelab::host {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void cannot_write(const fs::path& target, const std::string& reason) {
  throw Failure(kCannotWrite,
                fmt::format("{}: cannot be written: {}", target == "-" ? "standard output" : target.string(), reason));
}

// Flushes a folder's entries, so that a rename in it survives a power cut. Some file systems refuse; that is no error.
void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

// Every temporary file's name: a dot, the beginning of the target's name, this, and 16 random digits.
constexpr std::string_view kPart = ".scalelab-part-";
constexpr std::size_t kMostOfTarget = 100;  // bytes: with the rest below what any file system allows

// Removes what runs that were killed have left in a folder. A living run holds the lock of its file.
void remove_leftovers(const fs::path& folder) {
  // Not by names_in: what is found is opened in the folder that was read.
  DIR* const entries = ::opendir(folder.empty() ? "." : folder.c_str());
  if (entries == nullptr) return;
  while (const dirent* entry = ::readdir(entries)) {
    const std::string_view name = entry->d_name;
    if (name[0] != '.' || name.find(kPart) == std::string_view::npos) continue;
    const int descriptor = ::openat(::dirfd(entries), entry->d_name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0) continue;
    if (lock_file(descriptor) == Lock::taken) ::unlinkat(::dirfd(entries), entry->d_name, 0);
    ::close(descriptor);
  }
  ::closedir(entries);
}

}  // namespace

void make_output_folder(const fs::path& folder) {
  if (folder.empty()) throw Failure(kMisuse, "--out: the folder's name is empty");
  std::error_code error, unknown;  // of a name that is too long nothing can be known
  fs::create_directories(folder, error);
  const bool there = fs::is_directory(folder, unknown);
  if (error && !there) cannot_write(folder, error.message());
  if (!there) cannot_write(folder, "it is not a folder");
  if (::access(folder.c_str(), W_OK | X_OK) != 0) cannot_write(folder, std::strerror(errno));
}

std::vector<std::string> names_in(const fs::path& folder) {
  const auto close = [](DIR* entries) { ::closedir(entries); };
  const std::unique_ptr<DIR, decltype(close)> entries(::opendir(folder.c_str()), close);
  std::vector<std::string> names;
  for (const dirent* entry; entries && (entry = ::readdir(entries.get())) != nullptr;)
    names.emplace_back(entry->d_name);
  return names;
}

void cannot_read(const fs::path& file) {
  if (errno == ENOMEM) throw std::bad_alloc();
  throw Failure(kBadData, fmt::format("{}: cannot be read", file.string()));
}

OutputFile::OutputFile(fs::path target) : target_(std::move(target)) {
  if (target_ == "-") {
    descriptor_ = ::dup(STDOUT_FILENO);
    if (descriptor_ < 0) cannot_write(target_, std::strerror(errno));
    return;
  }
  std::error_code error;
  const fs::file_status status = fs::status(target_, error);
  if (fs::is_directory(status)) cannot_write(target_, "it is a folder");
  if (error && !fs::exists(status) && status.type() != fs::file_type::not_found) cannot_write(target_, error.message());
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    descriptor_ = ::open(target_.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) cannot_write(target_, std::strerror(errno));
    return;
  }
  if (fs::is_symlink(target_, error)) {  // the file it leads to is replaced, not the link
    const fs::path resolved = fs::weakly_canonical(target_, error);
    if (!error) target_ = resolved;
  }
  remove_leftovers(target_.parent_path());
  open_temporary();
  struct stat old {};
  if (::stat(target_.c_str(), &old) != 0) return;
  // Another owner can be kept by root alone; the mode in any case.
  [[maybe_unused]] const int kept = ::fchown(descriptor_, old.st_uid, old.st_gid);
  ::fchmod(descriptor_, old.st_mode & 0777);
}

void OutputFile::open_temporary() {
  std::random_device random;
  for (int tries = 0; tries < 100; ++tries) {
    const std::uint64_t drawn = std::uint64_t{random()} << 32 | random();
    // Everything that needs memory comes before the file: once this exists, nothing may throw without removing it.
    temporary_ = target_.parent_path() /
                 fmt::format(".{}{}{:016x}", target_.filename().string().substr(0, kMostOfTarget), kPart, drawn);
    const std::string name = temporary_.string();
    descriptor_ = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0) {
      const int reason = errno;
      temporary_.clear();
      if (reason == EEXIST) continue;
      cannot_write(target_, std::strerror(reason));
    }
    at_sudden_end_.emplace(name);
    // Until it is locked it may look like a leftover to another process: then it is gone, or about to be.
    const Lock lock = lock_file(descriptor_);
    struct stat status {};
    if (lock == Lock::none || (lock == Lock::taken && ::fstat(descriptor_, &status) == 0 && status.st_nlink > 0))
      return;
    give_up();
  }
  cannot_write(target_, "no temporary file can be made beside it");
}

void OutputFile::give_up() {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  temporary_.clear();
  at_sudden_end_.reset();
}

OutputFile::~OutputFile() { give_up(); }

void OutputFile::withdraw() {
  if (temporary_.empty()) return;
  if (::unlink(target_.c_str()) != 0 && errno != ENOENT) cannot_write(target_, std::strerror(errno));
}

void OutputFile::write(const void* data, std::size_t bytes) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    throw_if_interrupted();  // a pipe may never take more
    const ::ssize_t written = ::write(descriptor_, from, bytes);
    if (written < 0) {
      if (errno == EINTR) continue;
      if (errno == EPIPE) throw ReaderGone();
      cannot_write(target_, std::strerror(errno));
    }
    from += written;
    bytes -= static_cast<std::size_t>(written);
  }
}

void OutputFile::write_at(std::int64_t offset, const void* data, std::size_t bytes) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    throw_if_interrupted();  // a pipe may never take more
    const ::ssize_t written = ::pwrite(descriptor_, from, bytes, offset);
    if (written < 0) {
      if (errno == EINTR) continue;
      cannot_write(target_, std::strerror(errno));
    }
    from += written;
    offset += written;
    bytes -= static_cast<std::size_t>(written);
  }
}

void OutputFile::commit() {
  // Only regular files can be flushed; for a pipe or device fsync says EINVAL, and closing is all there is.
  if (!temporary_.empty() && ::fsync(descriptor_) != 0) cannot_write(target_, std::strerror(errno));
  if (!temporary_.empty() && ::rename(temporary_.c_str(), target_.c_str()) != 0) {
    cannot_write(target_, std::strerror(errno));
  }
  const bool renamed = !std::exchange(temporary_, fs::path()).empty();
  at_sudden_end_.reset();
  // After fsync nothing is left to fail for a file; a pipe or a device may say only now that it took nothing.
  if (::close(std::exchange(descriptor_, -1)) != 0 && !renamed) cannot_write(target_, std::strerror(errno));
  if (renamed) sync_folder(target_.parent_path());
}

std::string file_text(const std::filesystem::path& file) {
  std::ifstream input(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(input), {}};
}

void write_file(const fs::path& file, std::string_view text) {
  OutputFile output(file);
  output.write(text);
  output.commit();
}

void Fingerprint::add(std::string_view bytes) {
  for (const char byte : bytes) state_ = (state_ ^ static_cast<unsigned char>(byte)) * 0x100000001b3U;
}

std::string Fingerprint::digits() const {
  std::uint64_t z = state_;  // every bit of the state moves every bit of the result (splitmix64's last step)
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return fmt::format("{:016x}", z ^ (z >> 31));
}

std::string fingerprint_of_text(std::string_view text) {
  Fingerprint fingerprint;
  fingerprint.add(text);
  return fingerprint.digits();
}

std::string fingerprint_of(const fs::path& file) {
  std::error_code error;
  const fs::file_status status = fs::status(file, error);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    throw Failure(kBadData, fmt::format("{}: is not a regular file, and is read more than once; save it as a file",
                                        file.string()));
  }
  std::ifstream input(file, std::ios::binary);
  if (!input) cannot_read(file);
  Fingerprint fingerprint;
  std::vector<char> block(std::size_t{1} << 20);
  while (input.read(block.data(), static_cast<std::streamsize>(block.size())) || input.gcount() > 0) {
    fingerprint.add({block.data(), static_cast<std::size_t>(input.gcount())});
  }
  return fingerprint.digits();
}

}  // namespace scalelab::host
