// What host/results.md says of the files that commands leave, held against real ones: every member of a result stands
// there, in the section of its command, and nothing stands there that no result has. And a table beside each result of a
// study says what its rows say.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include "host/pages/page.h"
#include "tests/program.h"

namespace scalelab::host {
namespace {

using Paths = std::set<std::string>;

// The members of a document by path: "fits[].a", of a list's elements all together. An empty list or object is a member
// itself.
void collect(const nlohmann::json& value, const std::string& path, Paths& paths) {
  if ((value.is_object() || value.is_array()) && !value.empty()) {
    for (const auto& [name, member] : value.items()) {
      const bool of_list = value.is_array();
      collect(member, of_list ? path + "[]" : path.empty() ? name : path + "." + name, paths);
    }
    return;
  }
  paths.insert(path);
}

// What stands in backquotes in the first column of the tables of each section, by the section's first word.
std::map<std::string, Paths> documented() {
  std::map<std::string, Paths> sections;
  std::ifstream file(fs::path(test::kSourceFolder) / "host/results.md");
  std::string section;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("## ", 0) == 0) section = line.substr(3, line.find(' ', 3) - 3);
    if (line.rfind("| `", 0) != 0) continue;
    const std::string cell = line.substr(0, line.find(" | ", 2));
    for (std::size_t from = cell.find('`'); from != std::string::npos;) {
      const std::size_t to = cell.find('`', from + 1);
      sections[section].insert(cell.substr(from + 1, to - from - 1));
      from = cell.find('`', to + 1);
    }
  }
  return sections;
}

// Whether a documented member is the one at `path`, or holds it: what is documented whole ends in ".*" or stands for all
// below it.
bool covers(const std::string& entry, const std::string& path) {
  if (entry == path) return true;
  if (entry.rfind(path + "[]", 0) == 0 || entry.rfind(path + ".", 0) == 0) return true;  // of which there are none here
  if (entry.ends_with(".*")) return path.rfind(entry.substr(0, entry.size() - 1), 0) == 0;
  return path.rfind(entry + "[]", 0) == 0 && path.find('.', entry.size()) == std::string::npos;  // a list of values
}

// Wherever a mean has an interval, its spread and number stand beside it; but for means of logarithms.
void expect_spread(const nlohmann::json& value, const std::string& path) {
  const auto has = [&](const char* name) { return value.is_object() && value.contains(name); };
  if (has("mean") && has("low") && !path.ends_with(".time_of_random")) {
    EXPECT_TRUE(has("sd") && has("standard_error")) << path << " " << value;
    EXPECT_TRUE(has("seeds") || has("worlds") || has("draws")) << path << " " << value;
  }
  if (!value.is_structured()) return;
  for (const auto& [name, member] : value.items()) expect_spread(member, value.is_array() ? path : path + "." + name);
}

class Results : public Program {
 protected:
  // Holds the results of a command, files or folders, against its section and those named. Of its section's members only
  // those in `rare` may be absent.
  void expect_documented(const std::string& command, const std::vector<fs::path>& results, Words sections,
                         const Paths& rare = {}) {
    Paths found;
    for (const fs::path& name : results) {
      const auto document = name.has_extension() ? nlohmann::json::parse(read_file(folder_ / name)) : result(name);
      collect(document, "", found);
      expect_spread(document, command);
    }
    static const auto all = documented();
    sections.push_back(command);
    Paths entries;
    for (const std::string& section : sections) {
      const auto at = all.find(section);
      ASSERT_NE(at, all.end()) << section << " is no section of host/results.md";
      entries.insert(at->second.begin(), at->second.end());
    }
    for (const std::string& path : found) {
      const bool known = std::any_of(entries.begin(), entries.end(), [&](const auto& e) { return covers(e, path); });
      EXPECT_TRUE(known) << command << ": host/results.md does not say what " << path << " is";
    }
    const auto own = all.find(command);
    for (const std::string& entry : own->second) {
      if (rare.contains(entry)) continue;
      const bool used = std::any_of(found.begin(), found.end(), [&](const auto& p) { return covers(entry, p); });
      EXPECT_TRUE(used) << command << ": no result has the member " << entry << " of host/results.md";
    }
  }
  // A table with a line for each row of the result, and its columns.
  void expect_table(const fs::path& folder) {
    const std::string table = read_file(folder_ / folder / "rows.csv");
    const auto rows = result(folder)["rows"];
    EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 1 + std::ssize(rows)) << folder;
    const std::string head = "," + table.substr(0, table.find('\n')) + ",";
    Paths members;
    for (const auto& row : rows) collect(row, "", members);
    for (std::string member : members) {
      if (member.rfind("params.", 0) == 0) member = member.substr(7);
      member = member.substr(0, member.find("[]"));
      EXPECT_NE(head.find("," + member + ","), std::string::npos) << folder << ": " << member << " in " << head;
    }
  }
};

TEST_F(Results, EveryMemberOfAResultIsDocumented) {
  good({"dataset", "--n", "120", "--out", "points.csv"});
  good({"knn", "--data", "points.csv", "--queries", "points.csv", "--k", "2", "--out", "knn", "--quiet"});
  for (const char* shard : {"1/2", "2/2"}) {
    good({"knn", "--data", "points.csv", "--queries", "points.csv", "--k", "2", "--shard", shard, "--out", "shards"});
  }
  good({"merge", "shards"});
  good({"dataset", "--n", "40", "--seed", "2", "--out", "queries.csv"});
  good({"knn", "--data", "points.csv", "--queries", "queries.csv", "--k", "3", "--out", "vote", "--quiet"});
  expect_documented("knn", {"knn", "shards", "vote"}, {"environment"});
  good({"kmeans", "--data", "points.csv", "--clusters", "3", "--out", "kmeans", "--quiet"});
  good({"kmeans", "--data", "points.csv", "--clusters", "auto", "--restarts", "2", "--out", "auto", "--quiet"});
  expect_documented("kmeans", {"kmeans", "auto"}, {"environment"});
  good({"prune", "--data", "points.csv", "--clusters", "auto", "--fraction", "0.5", "--near-duplicates", "0.001",
        "--out", "prune", "--quiet"});
  for (const char* shard : {"1/2", "2/2"}) {
    good({"prune", "--data", "points.csv", "--clusters-from", "kmeans", "--fraction", "0.5", "--shard", shard, "--out",
          "parts", "--quiet"});
  }
  good({"merge", "parts"});
  expect_documented("prune", {"prune", "parts"}, {"environment"});
  good({"boundary", "--data", "points.csv", "--grid", "32", "--out", "boundary", "--quiet"});
  good({"boundary", "--data", "points.csv", "--grid", "32", "--model", "mlp", "--epochs", "2", "--width", "4", "--out",
        "network", "--quiet"});
  expect_documented("boundary", {"boundary", "network"}, {"environment"});
}

TEST_F(Results, EveryMemberOfAStudyIsDocumented) {
  write_text(folder_ / "plan.json", R"({"title": "A plan", "grids": [
    {"model": ["knn-1", "knn-3"], "n": [20, 40, 80, 160], "grid": 64, "seeds": "0..2"}]})");
  good({"sweep", "plan.json", "--out", "sweep", "--quiet"});
  expect_documented("sweep", {"sweep"}, {"environment", "findings", "trials"});
  expect_table("sweep");
  good({"theory", "--draws", "3", "--dimension", "20", "--simulate-to", "1", "--alpha", "0.5,1,3,10", "--fractions",
        "1,0.5", "--wrong-angle", "20", "--quiet", "--out", "theory"});
  expect_documented("theory", {"theory"}, {"environment", "findings"});
  expect_table("theory");
}

TEST_F(Results, EveryMemberOfAStudyOfNetworksIsDocumented) {
  const Words small = {"--seeds", "0..2", "--grid", "64", "--density-points", "50", "--quiet"};
  const auto study = [&](Words words, const std::string& out) {
    words.insert(words.end(), small.begin(), small.end());
    words.insert(words.end(), {"--out", out});
    good(words);
    expect_table(out);
  };
  const Words sections = {"environment", "findings", "trials"};
  study({"compare", "--sizes", "20,80", "--worlds", "0..1", "--models", "knn-1,knn-1@polar,mlp-xy", "--curve-to", "160",
         "--epochs", "20", "--width", "8"},
        "compare");
  expect_documented("compare", {"compare"}, sections);
  study({"lottery", "--widths", "8", "--levels", "2", "--n", "60", "--epochs", "10"}, "lottery");
  expect_documented("lottery", {"lottery"}, sections);
  study({"curriculum", "--widths", "4,8", "--n", "60", "--epochs", "10"}, "curriculum");
  expect_documented("curriculum", {"curriculum"}, sections);
}

TEST_F(Results, EveryMemberOfAPruneStudyIsDocumented) {
  good({"dataset", "--n", "160", "--out", "points.csv"});
  const Words sections = {"environment", "findings", "trials"};
  good({"prune-study", "--sizes", "40,80,160,320", "--seeds", "0..2", "--scores", "kmeans", "--clusters", "4,8",
        "--fractions", "0.4,0.8", "--model", "knn-1", "--grid", "64", "--quiet", "--out", "spiral"});
  good({"prune-study", "--sizes",          "80,160", "--seeds",   "0..2",  "--scores", "margin", "--fractions",
        "0.5",         "--model",          "mlp-xy", "--samples", "2000",  "--width",  "8",      "--grid",
        "64",          "--density-points", "50",     "--quiet",   "--out", "network"});
  good({"prune-study", "--problem", "perceptron", "--dimension", "20", "--sizes", "40", "--seeds", "0..1",
        "--fractions", "0.5", "--angles", "0", "--quiet", "--out", "perceptron"});
  good({"prune-study", "--data", "points.csv", "--model", "knn-1", "--seeds", "0..1", "--scores", "kmeans",
        "--clusters", "4", "--quiet", "--out", "own"});
  expect_documented("prune-study", {"spiral", "network", "perceptron", "own"}, sections);
}

TEST_F(Results, EveryMemberOfXorIsDocumented) {
  good({"xor",  "--widths",     "4,8",   "--seeds",
        "0..3", "--long-seeds", "0..2",  "--share-seeds",
        "0..2", "--dimension",  "20",    "--test-examples",
        "50",   "--time",       "2",     "--long-time",
        "4",    "--quiet",      "--out", "xor"});
  expect_documented("xor", {"xor"}, {"environment", "findings"});
}

// The quick story whole: every experiment leaves its page, to which the front page leads with its headline; and what is
// done is not done again.
TEST_F(Results, AStoryLeadsToEveryExperiment) {
  good({"story", "--quick", "--quiet", "--out", "story"});
  expect_documented("story", {"story"}, {"environment"}, {"failed.*"});
  const std::string front = read_file(folder_ / "story/index.html");
  const auto document = result("story");
  EXPECT_EQ(front.find("../index.html"), std::string::npos);
  std::size_t done = 0;
  for (const auto& [name, page] : document["pages"].items()) {
    if (page.is_null()) continue;  // images, where they are not installed
    ++done;
    const auto summary = nlohmann::json::parse(read_file(folder_ / "story" / name / "summary.json"));
    EXPECT_EQ(page["headline"], summary["headline"]);
    EXPECT_NE(front.find("href=\"" + name + "/report.html\""), std::string::npos) << name;
    EXPECT_NE(front.find(html_escape(page["headline"].get<std::string>())), std::string::npos) << name;
    EXPECT_NE(read_file(folder_ / "story" / name / "report.html").find("href=\"../index.html\""), std::string::npos)
        << name;
  }
  EXPECT_GE(done, 8U);
  const std::string again = good({"story", "--quick", "--quiet", "--out", "story"});
  for (const auto& [name, page] : document["pages"].items()) {
    EXPECT_TRUE(page.is_null() || again.find(name + ": done before") != std::string::npos) << name << "\n" << again;
  }
}

TEST_F(Results, EveryMemberOfABenchIsDocumented) {
  // A peer, whose script a shell runs in the place of Python; the others have none.
  write_text(folder_ / "knn.py",
             "head -c 100000 /dev/zero >\"$1/one.ids.i32\"\n"
             "echo '{\"who\": \"one\", \"version\": \"1\", \"wall\": [1], \"cpu\": [1]}'\n");
  ::setenv("SCALELAB_PYTHON", "sh", 1);
  ::setenv("SCALELAB_PEERS", folder_.c_str(), 1);
  good({"bench", "run", "--backend", "cpu", "--op", "knn", "--axis", "n=100,200,400", "--axis", "q=50", "--budget",
        "0.01", "--rounds", "3", "--peers", "--quiet", "--out", "run.json"});
  ::unsetenv("SCALELAB_PYTHON");
  ::unsetenv("SCALELAB_PEERS");
  good({"bench", "cost", "--backend", "cpu", "--filter", "knn-n", "--most", "100", "--budget", "1", "--threads", "1",
        "--quiet", "--out", "cost.json"});
  expect_documented("bench", {"run.json", "cost.json"}, {"environment"},
                    {"rows[].predicted.seconds", "rows[].predicted.bound", "rows[].joules", "rows[].megahertz", "power",
                     "start_seconds",                                                           // of a GPU
                     "left_out[].name", "left_out[].why", "rows[].wrong", "stolen", "stopped",  // of a machine at fault
                     "rows[].peers[].own_route"});                                              // of maps of networks
  good({"bench", "soak", "--op", "knn", "--axis", "n=50", "--axis", "q=10", "--axis", "k=1", "--seconds", "0",
        "--quiet", "--out", "soak.json"});
  expect_documented("soak", {"soak.json"}, {"environment"}, {"stopped"});
  good({"bench", "compare", "run.json", "run.json", "--out", "compared.json"});
  expect_documented("compared", {"compared.json"}, {"environment"}, {"rows[].why", "rows[].a", "rows[].b"});
}

}  // namespace
}  // namespace scalelab::host
