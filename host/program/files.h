// files: output that appears whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/program/signals.h"

namespace scalelab::host {

// Nobody reads the pipe that is being written to: there is nothing left to do, and nothing went wrong.
struct ReaderGone : std::exception {
  const char* what() const noexcept override { return "the reader of the output has gone"; }
};

// Makes the folder and checks that it can be written to; Failure(kCannotWrite) otherwise.
void make_output_folder(const std::filesystem::path& folder);

// Names in a folder, in no order; none where there is no folder that can be read. Not by directory_iterator, which ends the
// program where there is no memory.
std::vector<std::string> names_in(const std::filesystem::path& folder);
// After a stream could not be opened, with errno as that left it: std::bad_alloc where it was for want of memory, else
// Failure(kBadData), "FILE: cannot be read".
[[noreturn]] void cannot_read(const std::filesystem::path& file);

// A file being written under a temporary name beside `target`; `commit` flushes it to disk and renames it, the
// destructor without commit removes it. It takes the place of a file that is there, with its owner and mode. A target
// that exists and is no regular file (a device, a pipe) is written to directly, and `-` is standard output. Every
// failure is Failure(kCannotWrite) that names the file and the reason, except that writing to a pipe that nobody reads
// any more throws ReaderGone.
//
// Temporary names are drawn at random and belong to one process, which holds a lock on the file (file_lock.h). Such a
// file in the same folder that nobody holds was left by a run that was killed, and is removed.
//
// A command that leaves several files writes them all first. Then it locks the folder (lock_folder), withdraws
// result.json, commits the others, and result.json last: a result.json so always means that the files beside it are
// whole and belong to it.
class OutputFile {
 public:
  explicit OutputFile(std::filesystem::path target);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  void write(const void* data, std::size_t bytes);  // behind what was written before
  void write(std::string_view text) { write(text.data(), text.size()); }
  void write_at(std::int64_t offset, const void* data, std::size_t bytes);  // anywhere; regular files only
  // Removes the file that is there and will be replaced.
  void withdraw();
  void commit();

 private:
  void open_temporary();
  void give_up();  // the temporary file

  std::filesystem::path target_, temporary_;  // `temporary_` is empty when the target is written to directly
  std::optional<TemporaryFile> at_sudden_end_;
  int descriptor_ = -1;
};

void write_file(const std::filesystem::path& file, std::string_view text);
// The bytes of a file; empty when it cannot be read.
std::string file_text(const std::filesystem::path& file);

// Of bytes that come in pieces: 16 hex digits, equal for equal bytes, and different for different ones but for a chance
// of 2^-64. FNV-1a with a last mix.
class Fingerprint {
 public:
  void add(std::string_view bytes);
  std::string digits() const;

 private:
  std::uint64_t state_ = 0xcbf29ce484222325U;
};
std::string fingerprint_of_text(std::string_view text);
// Failure(kBadData) when the file cannot be read, or not twice: it is a pipe.
std::string fingerprint_of(const std::filesystem::path& file);

}  // namespace scalelab::host
