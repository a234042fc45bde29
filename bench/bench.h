// bench: what every *_bench.cpp shares: timing with raw samples, a table of ratios, a JSON result, peers in Python.
//
// Use: NAME_bench [--json FILE] [--seconds S] [--threads T] [--filter TEXT] [--no-peers]
// A row is a case and an implementation; the first implementation of a case is ours and the ratio of each other row is
// its median over ours. Times are wall time; `cpu` is the process's CPU time per run, steadier on shared machines.
#pragma once

#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "scalelab/backend.h"

namespace scalelab::bench {

inline double clock_seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

class Bench {
 public:
  Bench(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
      const std::string option = argv[i];
      if (option == "--no-peers") {
        peers_ = false;
        continue;
      }
      if (i + 1 >= argc) usage(argv[0]);
      const std::string value = argv[++i];
      if (option == "--json") {
        json_file_ = value;
      } else if (option == "--seconds") {
        seconds_ = std::stod(value);
      } else if (option == "--threads") {
        threads_ = std::stoi(value);
      } else if (option == "--filter") {
        filter_ = value;
      } else {
        usage(argv[0]);
      }
    }
    program_ = std::filesystem::path(argv[0]).filename();
  }

  int threads() const { return threads_; }
  bool peers() const { return peers_; }
  // Whether the case's name contains the text of --filter.
  bool wants(const std::string& name) const { return name.find(filter_) != std::string::npos; }

  // Times `work` once to warm up, then until --seconds have gone by, at least three times. `units` is the work of one
  // run in `unit` (queries, samples, ...), for the rate column; `note` says what a reader must know.
  void time(const std::string& name, const std::string& who, double units, const std::string& unit,
            const std::function<void()>& work, const std::string& note = "") {
    work();
    std::vector<double> wall, cpu;
    const double start = clock_seconds(CLOCK_MONOTONIC);
    while (wall.size() < 3 || clock_seconds(CLOCK_MONOTONIC) - start < seconds_) {
      const double wall_before = clock_seconds(CLOCK_MONOTONIC), cpu_before = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
      work();
      wall.push_back(clock_seconds(CLOCK_MONOTONIC) - wall_before);
      cpu.push_back(clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_before);
    }
    add(name, who, units, unit, wall, cpu, note);
  }

  // Adds the rows that `python3 bench/peers/SCRIPT ARGUMENTS` prints, one JSON object a line:
  // {"who": ..., "units": ..., "unit": ..., "wall": [seconds], "cpu": [seconds], "note": ...}, or {"who", "absent":
  // why}. SCALELAB_PYTHON names another interpreter. Returns the objects, so that answers can be checked.
  std::vector<nlohmann::json> peer(const std::string& name, const std::string& script, const std::string& arguments) {
    std::vector<nlohmann::json> rows;
    if (!peers_) return rows;
    const char* python = std::getenv("SCALELAB_PYTHON");
    const std::string limit =
        threads_ > 0 ? fmt::format("OMP_NUM_THREADS={0} OPENBLAS_NUM_THREADS={0} MKL_NUM_THREADS={0} ", threads_) : "";
    const std::string command =
        limit + (python != nullptr ? python : "python3") + " bench/peers/" + script + " " + arguments;
    FILE* pipe = popen(command.c_str(), "r");
    if (pipe == nullptr) throw std::runtime_error("cannot run " + command);
    std::string output;
    std::array<char, 4096> chunk;
    while (std::size_t got = fread(chunk.data(), 1, chunk.size(), pipe)) output.append(chunk.data(), got);
    const int status = pclose(pipe);
    std::size_t begin = 0;
    while (begin < output.size()) {
      const std::size_t end = std::min(output.find('\n', begin), output.size());
      const std::string line = output.substr(begin, end - begin);
      begin = end + 1;
      if (line.empty() || line[0] != '{') continue;
      const auto row = nlohmann::json::parse(line);
      if (row.contains("absent")) {
        fmt::print("  {:<44} {:<22} absent: {}\n", name, row["who"].get<std::string>(),
                   row["absent"].get<std::string>());
      } else {
        add(name, row["who"], row["units"], row["unit"], row["wall"], row.value("cpu", std::vector<double>{}),
            row.value("note", ""));
      }
      rows.push_back(row);
    }
    if (status != 0) fmt::print("  {:<44} {}: exit status {}\n", name, script, WEXITSTATUS(status));
    return rows;
  }

  // Writes the JSON file; returns the exit code.
  int finish(Context& context) {
    if (!json_file_.empty()) {
      nlohmann::json document = {{"schema", 1},
                                 {"program", program_},
                                 {"backend", context.backend().name},
                                 {"device", context.backend().describe(context)},
                                 {"rows", rows_}};
      std::ofstream file(json_file_);
      file << document.dump(1) << '\n';
      if (!file.flush()) {
        std::cerr << "cannot write " << json_file_ << '\n';
        return 74;
      }
    }
    return 0;
  }

 private:
  [[noreturn]] static void usage(const char* program) {
    std::cerr << "usage: " << program << " [--json FILE] [--seconds S] [--threads T] [--filter TEXT] [--no-peers]\n";
    std::exit(2);
  }

  void add(const std::string& name, const std::string& who, double units, const std::string& unit,
           const std::vector<double>& wall, const std::vector<double>& cpu, const std::string& note) {
    const double middle = median(wall);
    if (name != current_) {
      current_ = name;
      ours_ = middle;
      fmt::print("{}\n", name);
    }
    fmt::print("  {:<34} {:>10.3f} ms  cpu {:>10.3f} ms  {:>11.4g} {}/s  {:>8.2f}x  {}\n", who, 1e3 * middle,
               1e3 * median(cpu), units / middle, unit, middle / ours_, note);
    std::fflush(stdout);
    rows_.push_back({{"case", name},
                     {"who", who},
                     {"units", units},
                     {"unit", unit},
                     {"wall", wall},
                     {"cpu", cpu},
                     {"median", middle},
                     {"ratio", middle / ours_},
                     {"note", note}});
  }

  std::string program_, json_file_, filter_, current_;
  double seconds_ = 1, ours_ = 1;
  int threads_ = 0;
  bool peers_ = true;
  nlohmann::json rows_ = nlohmann::json::array();
};

}  // namespace scalelab::bench
