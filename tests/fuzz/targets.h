// What is fuzzed: every kind of file that the program reads, with bytes that nobody wrote. A target gives back what is
// wrong, or nothing. Right is an answer, or one line that names what is wrong with the file and an exit code that blames
// it; never another exception, a crash, or memory in the measure of what a header claims.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "host/data/csv.h"
#include "host/data/idx.h"
#include "host/data/labels.h"
#include "host/data/npy.h"
#include "host/data/source.h"
#include "host/program/crossover.h"

// The whole program, to be called.
#define main scalelab_main
#include "host/main.cpp"
#undef main

namespace scalelab::fuzz {

namespace fs = std::filesystem;
using host::Failure;

// A folder in memory where there is one, gone when the process ends.
inline const fs::path& folder() {
  struct Folder {
    Folder() {
      std::string name =
          (fs::is_directory("/dev/shm") ? "/dev/shm" : fs::temp_directory_path().string()) + "/scalelab-fuzz-XXXXXX";
      if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder can be made");
      path = name;
    }
    ~Folder() { fs::remove_all(path); }
    fs::path path;
  };
  static const Folder made;
  return made.path;
}

inline fs::path file_of(std::string_view bytes, const char* name) {
  const fs::path file = folder() / name;
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << bytes;
  return file;
}

// Of a reader that is called as it is.
template <class Action>
std::string outcome_of(const Action& action) {
  try {
    action();
    return "";
  } catch (const Failure& failure) {
    const std::string line = failure.what();
    if (failure.exit_code != host::kBadData && failure.exit_code != host::kMisuse) return "blames another: " + line;
    return line.find('\n') == std::string::npos ? "" : "more than one line: " + line;
  } catch (const std::exception& error) {
    return std::string("an exception of another kind: ") + error.what();
  }
}

// Of the program with this command line: done, or one line and an exit code that is the file's fault.
inline std::string outcome_of_program(std::vector<std::string> words) {
  words.insert(words.begin(), "scalelab");
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  const fs::path said = folder() / "stderr";
  const int out = ::dup(STDOUT_FILENO), err = ::dup(STDERR_FILENO);
  const int nowhere = ::open("/dev/null", O_WRONLY), to = ::open(said.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  ::dup2(nowhere, STDOUT_FILENO);
  ::dup2(to, STDERR_FILENO);
  const int code = scalelab_main(static_cast<int>(arguments.size()), arguments.data());
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  for (const int descriptor : {out, err, nowhere, to}) ::close(descriptor);
  if (code == host::kDone || code == host::kSomeFailed) return "";
  std::ifstream input(said, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(input)), {});
  if (code != host::kBadData && code != host::kMisuse) return fmt::format("exit code {}: {}", code, text);
  return std::count(text.begin(), text.end(), '\n') == 1 ? "" : "not one line: " + text;
}

inline std::string npy(std::string_view bytes) {
  const fs::path file = file_of(bytes, "a.npy");
  const std::string rows = outcome_of([&] {
    host::Rows rows({file, "none", true});
    const auto values = rows.checked();
    return std::accumulate(values.begin(), values.end(), 0.0);
  });
  return rows.empty() ? outcome_of([&] { return host::read_npy_labels(file).size(); }) : rows;
}

// As they are (which may be what gzip packed), and packed: then their header is reached whatever the checksum says.
inline std::string idx(std::string_view bytes) {
  const fs::path plain = file_of(bytes, "a-idx3-ubyte"), packed = folder() / "b-idx3-ubyte.gz";
  const gzFile to = ::gzopen(packed.c_str(), "wb1");
  ::gzwrite(to, bytes.data(), static_cast<unsigned>(bytes.size()));
  ::gzclose(to);
  std::vector<float> values[2];
  const fs::path* files[] = {&plain, &packed};
  for (int i = 0; i < 2; ++i) {
    const std::string wrong = outcome_of([&] {
      host::Rows rows({*files[i], "none", true});
      const auto checked = rows.checked();
      values[i].assign(checked.begin(), checked.end());
    });
    if (!wrong.empty()) return wrong;
  }
  // What was packed once more is no such file.
  if (!bytes.starts_with("\x1f\x8b") && values[0] != values[1]) return "packed and plain differ";
  return outcome_of([&] { return host::read_idx_integers(plain).size(); });
}

inline std::string labels(std::string_view bytes) {
  const fs::path file = file_of(bytes, "labels");
  return outcome_of([&] { return host::read_labels(file, 3, "rows").classes(); });
}

inline std::string csv(std::string_view bytes) {
  const fs::path file = file_of(bytes, "a.csv");
  return outcome_of([&] {
           const host::CsvTable table = host::read_csv(file, true);
           if (table.values.size() != table.labels.of_row.size() * static_cast<std::size_t>(table.features)) {
             throw std::logic_error("as many coordinates as points are not there");
           }
         }) +
         outcome_of([&] { return host::read_csv(file, false).features; });
}

inline std::string crossovers(std::string_view bytes) {
  const fs::path file = file_of(bytes, "crossovers.json");
  return outcome_of([&] { return host::read_crossovers(file, {.gpu = "gpu", .cpu = "cpu", .threads = 1}); });
}

inline std::string sweep(std::string_view bytes) {
  const std::string file = file_of(bytes, "sweep.json");
  return outcome_of_program({"sweep", file, "--dry-run", "--quiet", "--out", folder() / "none"});
}

// The rows of a sweep that has been done before; what is not among them is run.
inline std::string store(std::string_view bytes) {
  const std::string plan = file_of(R"({"grids": [{"model": "knn-1", "n": [5, 10], "seeds": "0..1", "grid": 16,
                                       "density_points": 10}]})",
                                   "plan.json");
  const fs::path rows = file_of(bytes, "store/rows-1-of-2.jsonl");
  const std::string wrong =
      outcome_of_program({"sweep", plan, "--quiet", "--threads", "1", "--shard", "2/2", "--out", rows.parent_path()});
  fs::remove_all(rows.parent_path());
  return wrong;
}

inline std::string result(std::string_view bytes) {
  const fs::path file = file_of(bytes, "result/result.json");
  return outcome_of_program({"show", file.parent_path(), "--out", folder() / "page"});
}

inline std::string bench(std::string_view bytes) {
  const std::string file = file_of(bytes, "bench.json");
  for (const std::vector<std::string>& words : {std::vector<std::string>{"bench", "show", file},
                                                {"bench", "show", file, "--markdown"},
                                                {"bench", "show", file, "--out", folder() / "page"},
                                                {"bench", "compare", file, file}}) {
    if (const std::string wrong = outcome_of_program(words); !wrong.empty()) return wrong;
  }
  return "";
}

inline std::string config(std::string_view bytes) {
  return outcome_of_program({"bench", "list", "--config", file_of(bytes, "config.json")});
}

struct Target {
  const char* name;  // of its folder in tests/fuzz/corpus too
  std::string (*run)(std::string_view bytes);
};
inline constexpr Target kTargets[] = {
    {"npy", npy},     {"idx", idx},     {"labels", labels}, {"csv", csv},     {"crossovers", crossovers},
    {"sweep", sweep}, {"store", store}, {"result", result}, {"bench", bench}, {"config", config}};

}  // namespace scalelab::fuzz
