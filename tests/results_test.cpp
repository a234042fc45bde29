// What host/results.md says of the files that commands leave, held against real ones: every member of a result stands
// there, in the section of its command, and nothing stands there that no result has. And a table beside each result of a
// study says what its rows say.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

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
  std::ifstream file(fs::path(SCALELAB_SOURCE_DIR) / "host/results.md");
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

class Results : public Program {
 protected:
  // Holds the results of a command in `folders` against its section and those named.
  void expect_documented(const std::string& command, const std::vector<fs::path>& folders, Words sections) {
    Paths found;
    for (const fs::path& folder : folders) collect(result(folder), "", found);
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
  expect_documented("knn", {"knn"}, {"environment"});
  good({"kmeans", "--data", "points.csv", "--clusters", "3", "--out", "kmeans", "--quiet"});
  expect_documented("kmeans", {"kmeans"}, {"environment"});
  good({"prune", "--data", "points.csv", "--clusters", "3", "--fraction", "0.5", "--near-duplicates", "0.001", "--out",
        "prune", "--quiet"});
  expect_documented("prune", {"prune"}, {"environment"});
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
  good({"theory", "--draws", "3", "--dimension", "20", "--simulate-to", "1", "--quiet", "--out", "theory"});
  expect_documented("theory", {"theory"}, {"environment", "findings"});
  expect_table("theory");
}

}  // namespace
}  // namespace scalelab::host
