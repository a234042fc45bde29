#include "host/program/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "host/program/error.h"

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

OutputFile::OutputFile(fs::path target) : target_(std::move(target)) {
  if (target_ == "-") {
    descriptor_ = ::dup(STDOUT_FILENO);
    if (descriptor_ < 0) cannot_write(target_, std::strerror(errno));
    return;
  }
  std::error_code error;
  const fs::file_status status = fs::status(target_, error);
  if (fs::is_directory(status)) cannot_write(target_, "it is a folder");
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    descriptor_ = ::open(target_.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) cannot_write(target_, std::strerror(errno));
    return;
  }
  if (fs::is_symlink(target_, error)) {  // the file it leads to is replaced, not the link
    const fs::path resolved = fs::weakly_canonical(target_, error);
    if (!error) target_ = resolved;
  }
  temporary_ = target_.parent_path() / fmt::format(".{}.part-{}", target_.filename().string(), ::getpid());
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) {
    temporary_.clear();
    cannot_write(target_, std::strerror(errno));
  }
}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
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
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) {
    const int reason = errno;
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
    cannot_write(target_, std::strerror(reason));
  }
  if (temporary_.empty()) return;
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    const int reason = errno;
    ::unlink(temporary_.c_str());
    cannot_write(target_, std::strerror(reason));
  }
  sync_folder(target_.parent_path());
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

namespace {

struct Fnv {
  std::uint64_t state = 0xcbf29ce484222325U;
  void add(const char* bytes, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      state = (state ^ static_cast<unsigned char>(bytes[i])) * 0x100000001b3U;
    }
  }
  std::string digits() const {
    std::uint64_t z = state;  // every bit of the state moves every bit of the result (splitmix64's last step)
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return fmt::format("{:016x}", z ^ (z >> 31));
  }
};

}  // namespace

std::string fingerprint_of_text(std::string_view text) {
  Fnv hash;
  hash.add(text.data(), text.size());
  return hash.digits();
}

std::string fingerprint_of(const fs::path& file) {
  std::ifstream input(file, std::ios::binary);
  if (!input || fs::is_directory(file)) throw Failure(kBadData, fmt::format("{}: cannot be read", file.string()));
  Fnv hash;
  std::vector<char> block(std::size_t{1} << 20);
  while (input.read(block.data(), static_cast<std::streamsize>(block.size())) || input.gcount() > 0) {
    hash.add(block.data(), static_cast<std::size_t>(input.gcount()));
  }
  return hash.digits();
}

void remove_stale_result(const fs::path& file) {
  if (::unlink(file.c_str()) != 0 && errno != ENOENT) cannot_write(file, std::strerror(errno));
}

}  // namespace scalelab::host
