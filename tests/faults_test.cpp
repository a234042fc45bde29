// The machine fails at every step of every command that writes (failing_calls.cpp): what the program then says is one
// line, nothing that was there is lost, nothing half-done is left, and the same command does the rest.
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>

#include "host/program/error.h"
#include "tests/program.h"

namespace scalelab::host {
namespace {

struct Writing {
  const char* name;
  Words words;  // writes into the folder `out`
};
void PrintTo(const Writing& writing, std::ostream* to) { *to << writing.name; }
std::vector<Writing> writing_commands() {
  const Words small = {"--seeds", "0,1", "--grid", "16", "--density-points", "100"};
  const Words network = {"--n", "20", "--widths", "4", "--epochs", "2"};
  const auto joined = [](Words words, std::initializer_list<Words> more) {
    for (const Words& some : more) words.insert(words.end(), some.begin(), some.end());
    words.insert(words.end(), {"--threads", "2", "--quiet", "--out", "out"});
    return words;
  };
  return {
      {"dataset", {"dataset", "--n", "50", "--out", "out/points.csv"}},
      {"boundary", joined({"boundary", "--data", "p.csv", "--k", "1", "--grid", "32"}, {})},
      {"knn", joined({"knn", "--data", "x.npy", "--queries", "x.npy", "--k", "2"}, {})},
      {"kmeans", joined({"kmeans", "--data", "x.npy", "--clusters", "3"}, {})},
      {"prune", joined({"prune", "--data", "x.npy", "--clusters", "3", "--fraction", "0.5"}, {})},
      {"sweep", joined({"sweep", "sweep.json"}, {})},
      {"compare", joined({"compare", "--sizes", "10,20", "--models", "knn-1", "--curve-to", "0"}, {small})},
      {"prune_study", joined({"prune-study", "--sizes", "10,20", "--model", "knn-1", "--scores", "margin"}, {small})},
      {"curriculum", joined({"curriculum", "--orders", "curriculum"}, {network, small})},
      {"lottery", joined({"lottery", "--levels", "1"}, {network, small})},
      {"xor", joined({"xor", "--seeds", "0,1", "--dimension", "4", "--widths", "2", "--time", "1", "--test-examples",
                      "10", "--evaluations", "2"},
                     {})},
      {"theory", joined({"theory", "--alpha", "1", "--fractions", "1"}, {})},
      {"show", {"show", "shown", "--out", "out"}},
  };
}

class Faults : public Program, public testing::WithParamInterface<Writing> {
 protected:
  Faults() {
    write_text(folder_ / "p.csv", "0,0,a\n1,1,b\n0,1,a\n");
    write_npy<float>("x.npy", {0, 0, 0, 1, 1, 0, 5, 5, 5, 6, 6, 5, -4, 0, -4, 1}, {8, 2});
    write_text(folder_ / "sweep.json", R"({"grids": [{"model": ["knn-1", "mlp-xy"], "n": [5, 10], "epochs": 2,
                                           "width": 4, "seeds": "0..1", "grid": 16, "density_points": 10}]})");
    if (std::string(GetParam().name) == "show") good({"sweep", "sweep.json", "--out", "shown", "--quiet"});
  }

  // The command with a fault, and how many calls counted. Without one (at 0) they are counted alone.
  Finished faulty(const char* fault, long at = 0) {
    const fs::path count = folder_ / "count";
    for (const auto& [name, value] : settings(fault, at, count)) ::setenv(name.c_str(), value.c_str(), 1);
    const pid_t child = start(GetParam().words);
    for (const auto& [name, value] : settings(fault, at, count)) ::unsetenv(name.c_str());
    const Finished finished = finish(child);
    calls = std::atol(read_file(count).c_str());
    return finished;
  }
  static std::map<std::string, std::string> settings(const char* fault, long at, const fs::path& count) {
    return {{"LD_PRELOAD", test::kFailingCalls},
            {"FAULT", fault},
            {"FAULT_AT", std::to_string(at)},
            {"FAULT_FILE", count.string()}};
  }
  void empty() const {
    fs::remove_all(folder_ / "out");
    fs::create_directory(folder_ / "out");
  }
  // What the command has left: of data the bytes, of a store's rows what was measured, of all else that it is there.
  std::map<std::string, std::string> left() const {
    std::map<std::string, std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / "out")) {
      if (!entry.is_regular_file()) continue;
      std::string text = read_file(entry.path());
      const std::string end = entry.path().extension();
      if (end == ".jsonl") text = measured(text);
      if (end == ".json" || end == ".html" || entry.path().filename() == "rows.csv") text.clear();  // times are in it
      found[entry.path().filename()] = text;
    }
    return found;
  }
  static std::string measured(const std::string& lines) {
    std::istringstream input(lines);
    std::set<std::string> rows;
    for (std::string line; std::getline(input, line);) {
      const nlohmann::json row = nlohmann::json::parse(line);
      rows.insert(row["id"].dump() + row["status"].dump() + row["metrics"].dump());
    }
    return testing::PrintToString(rows);
  }
  // Whole, or not there, and nothing beside it that nobody will read.
  void nothing_half_done(const std::string& where) const {
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / "out")) {
      EXPECT_NE(entry.path().filename().string()[0], '.') << where << entry.path();
    }
    result_is_whole(where);
  }
  void result_is_whole(const std::string& where) const {
    const fs::path file = folder_ / "out" / "result.json";
    if (fs::exists(file)) {
      EXPECT_TRUE(nlohmann::json::accept(read_file(file))) << where;
    }
  }
  void one_line(const Finished& finished, const std::string& where) const {
    EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << where << finished.err;
    EXPECT_EQ(finished.err.rfind("scalelab: ", 0), 0U) << where << finished.err;
  }

  // Calls 1 to `count`: all where there are few, and otherwise as many spread over them, the last with them.
  static std::vector<long> some_of(long count) {
    const long few = std::min(count, 15L);
    std::vector<long> taken;
    for (long i = 1; i <= few; ++i) taken.push_back(count * i / few);
    return taken;
  }

  long calls = 0;
};

TEST_P(Faults, KilledAtAnyStepTheSameCommandDoesTheRest) {
  empty();
  ASSERT_EQ(faulty("kill").code, 0);
  const auto whole = left();
  ASSERT_GT(calls, 4);
  for (const long step : some_of(calls)) {
    const std::string where = "step " + std::to_string(step) + ": ";
    empty();
    EXPECT_EQ(faulty(step % 2 == 0 ? "kill" : "torn", step).code, 1000 + SIGKILL) << where;
    result_is_whole(where);
    EXPECT_EQ(run(GetParam().words).code, 0) << where;
    nothing_half_done(where);
    EXPECT_EQ(left(), whole) << where;
  }
}

TEST_P(Faults, ADiskThatFailsIsOneLineAndTheResultBeforeIsWholeOrGone) {
  empty();
  ASSERT_EQ(faulty("full").code, 0);
  const auto whole = left();
  for (const long step : some_of(calls)) {
    if (step % 4 < 2) empty();  // otherwise upon what is there
    const char* const fault = step % 2 == 0 ? "full" : "broken";
    const std::string where = std::string(fault) + " at step " + std::to_string(step) + ": ";
    const Finished finished = faulty(fault, step);
    if (finished.code != 0) {
      EXPECT_EQ(finished.code, kCannotWrite) << where;
      one_line(finished, where);
    }
    nothing_half_done(where);
    for (const auto& [file, text] : left()) {  // of a store's rows there may be some
      if (!file.ends_with(".jsonl")) {
        EXPECT_EQ(text, whole.at(file)) << where << file;
      }
    }
  }
  EXPECT_EQ(run(GetParam().words).code, 0);
  EXPECT_EQ(left(), whole);
}

TEST_P(Faults, ShortReadsAndWritesNoThreadsAndAClockThatRunsBackChangeNothing) {
  empty();
  ASSERT_EQ(run(GetParam().words).code, 0);
  const auto whole = left();
  for (const char* fault : {"short", "threads", "clock"}) {
    empty();
    const Finished finished = faulty(fault);
    EXPECT_EQ(finished.code, 0) << fault << finished.err;
    EXPECT_EQ(left(), whole) << fault;
  }
}

TEST_P(Faults, FilesThatCannotBeOpenedAreOneLine) {
  empty();
  ASSERT_EQ(faulty("files").code, 0);
  for (const long step : some_of(calls)) {
    const std::string where = "file " + std::to_string(step) + ": ";
    empty();
    const Finished finished = faulty("files", step);
    if (finished.code != 0) {
      EXPECT_TRUE(finished.code == kCannotWrite || finished.code == kBadData) << where << finished.code;
      one_line(finished, where);
    }
    nothing_half_done(where);
  }
}

TEST_P(Faults, MemoryThatIsRefusedIsOneLine) {
  empty();
  faulty("memory");
  const auto whole = left();
  const long steps = calls;
  // Of thousands a few, from the first of the command itself on: what is before belongs to the loader and the libraries.
  for (int part = 1; part <= 12; ++part) {
    for (const char* fault : {"memory", "small"}) {
      const long step = steps * (12 + part) / 24;
      const std::string where = std::string(fault) + " " + std::to_string(step) + ": ";
      empty();
      const Finished finished = faulty(fault, step);
      if (finished.code == kSomeFailed) {
        EXPECT_NE(finished.out.find("failed"), std::string::npos)
            << where << "a trial may fail by itself: " << finished.out;
      } else if (finished.code != 0) {
        EXPECT_EQ(finished.code, kOutOfMemory) << where << finished.err;
        one_line(finished, where);
      } else {
        EXPECT_EQ(left(), whole) << where;
      }
      nothing_half_done(where);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Commands, Faults, testing::ValuesIn(writing_commands()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace scalelab::host
