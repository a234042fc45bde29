// publish: the files of a result, put in place together.
#pragma once

#include <filesystem>
#include <string>

#include "host/program/file_lock.h"
#include "host/program/files.h"

namespace scalelab::host {

// Puts `files` (OutputFile, NpyWriter, PngWriter: written, not committed) in their places and, last, result.json with
// this text: while it is there, the files beside it are whole and belong to it. One process at a time in a folder.
template <class... Files>
void publish(const std::filesystem::path& folder, const std::string& result, Files&... files) {
  const auto publishing = lock_folder(folder);
  OutputFile result_file(folder / "result.json");
  result_file.write(result);
  result_file.withdraw();
  (files.commit(), ...);
  result_file.commit();
}

}  // namespace scalelab::host
