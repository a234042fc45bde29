// The layers: host sees only include; kernels sees include and itself; only .cu and .cuh see CUDA, CUB, Thrust; JSON
// stays in host, bench and tests; a wing of host sees itself and the wings before it. Read off the #include lines of the
// tree, and seen to fail on planted ones. Likewise comments that a formatter broke into lines of a word or two, rulers
// that it cut, and lines that are too long.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "tests/paths.h"

namespace fs = std::filesystem;

namespace {

bool starts_with(const std::string& text, const std::vector<std::string>& prefixes) {
  for (const auto& prefix : prefixes) {
    if (text.rfind(prefix, 0) == 0) return true;
  }
  return false;
}

const std::vector<std::string> kCuda = {"cuda", "cub/", "thrust/", "cooperative_groups", "nvtx3/", "mma.h"};
const std::vector<std::string> kJson = {"nlohmann/"};
const std::vector<std::string> kProject = {"kernels/", "host/", "tests/", "bench/", "scalelab/"};

// The wings of host, each after all that it may include.
const std::vector<std::string> kWings = {"program", "data",     "lab",     "evidence",
                                         "pages",   "own_data", "studies", "python"};

// Whether a file of host may not include `name`: from a wing, what is of a later wing, of none, or of bench. The files
// of host itself (main.cpp) may include all.
bool breaks_wings(const fs::path& file_in_host, const std::string& name) {
  const auto place = [](const std::string& wing) { return std::find(kWings.begin(), kWings.end(), wing); };
  if (!file_in_host.has_parent_path() || !starts_with(name, {"host/"})) return false;
  const auto own = place(*file_in_host.begin()), other = place(*std::next(fs::path(name).begin()));
  return own == kWings.end() || other == kWings.end() || other > own;
}

// "folder/file:line includes X" for every include that breaks a layer.
std::vector<std::string> violations(const fs::path& root) {
  std::vector<std::string> found;
  const std::regex include_line(R"re(^\s*#\s*include\s*[<"]([^>"]+)[>"])re");
  for (const std::string folder : {"include", "kernels", "host", "tests", "bench"}) {
    if (!fs::exists(root / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const fs::path path = entry.path();
      const std::string extension = path.extension();
      if (extension != ".h" && extension != ".cpp" && extension != ".cu" && extension != ".cuh") continue;
      const bool device = extension == ".cu" || extension == ".cuh";
      const bool executor = std::regex_search(path.string(), std::regex("/tests/(ptx|cuda)/"));
      std::vector<std::string> forbidden;
      if (!device && !executor) forbidden.insert(forbidden.end(), kCuda.begin(), kCuda.end());
      if (folder == "include" || folder == "kernels") forbidden.insert(forbidden.end(), kJson.begin(), kJson.end());
      std::vector<std::string> allowed_project = {"scalelab/"};
      if (folder == "kernels") allowed_project.push_back("kernels/");
      if (folder == "host") allowed_project.push_back("host/");
      if (folder == "bench" || folder == "tests") allowed_project = kProject;
      std::ifstream file(path);
      std::string line;
      for (int number = 1; std::getline(file, line); ++number) {
        std::smatch match;
        if (!std::regex_search(line, match, include_line)) continue;
        const std::string name = match[1];
        const bool foreign = starts_with(name, kProject) && !starts_with(name, allowed_project);
        const bool wings = folder == "host" && breaks_wings(fs::relative(path, root / folder), name);
        if (foreign || wings || starts_with(name, forbidden) || name.rfind("..", 0) == 0) {
          found.push_back(fs::relative(path, root).string() + ":" + std::to_string(number) + " includes " + name);
        }
      }
    }
  }
  return found;
}

// The lines of a file that a formatter's reflow of comments leaves: a ruler cut from its title, or a line of at most
// three words that neither ends a sentence nor had to be broken, between a full line and another.
std::vector<int> broken_comments(const std::vector<std::string>& lines) {
  const std::regex title(R"re(^\s*// --- .*[^-]$)re"), ruler(R"re(^\s*// -{8,}$)re");
  const std::regex few_words(R"re(^\s*//\s+\S+( \S+){0,2}$)re"), comment(R"re(^\s*//\s+\S.*$)re");
  std::vector<int> found;
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) {
    const bool cut = std::regex_match(lines[i], title) && std::regex_match(lines[i + 1], ruler);
    const bool torn = i > 0 && lines[i - 1].size() > 95 && std::regex_match(lines[i - 1], comment) &&
                      std::regex_match(lines[i], few_words) && std::regex_match(lines[i + 1], comment) &&
                      std::string(".:;").find(lines[i].back()) == std::string::npos;
    if (cut || torn) found.push_back(static_cast<int>(i) + 1);
  }
  return found;
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

constexpr std::ptrdiff_t kMostColumns = 128;

// The lines of a file that are longer than kMostColumns, in characters of UTF-8.
std::vector<int> long_lines(const std::vector<std::string>& lines) {
  std::vector<int> found;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto begins = [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80U; };
    const auto columns = std::count_if(lines[i].begin(), lines[i].end(), begins);
    if (columns > kMostColumns) found.push_back(static_cast<int>(i) + 1);
  }
  return found;
}

// Calls body with each source file of the tree, by its name and its lines.
template <class Body>
void for_each_source(Body&& body) {
  const fs::path root = scalelab::test::kSourceFolder;
  for (const std::string folder : {"include", "kernels", "host", "tests", "bench"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string extension = entry.path().extension();
      if (extension != ".h" && extension != ".cpp" && extension != ".cu" && extension != ".cuh") continue;
      body(fs::relative(entry.path(), root).string(), lines_of(entry.path()));
    }
  }
}

TEST(Layers, NoFormatterBrokeAComment) {
  for_each_source([](const std::string& file, const std::vector<std::string>& lines) {
    for (const int line : broken_comments(lines)) ADD_FAILURE() << file << ":" << line << ": mend this comment";
  });
}

TEST(Layers, NoLineIsTooLong) {
  for_each_source([](const std::string& file, const std::vector<std::string>& lines) {
    for (const int line : long_lines(lines)) {
      ADD_FAILURE() << file << ":" << line << ": more than " << kMostColumns << " columns";
    }
  });
}

TEST(Layers, ALongLineIsFound) {
  const std::string full(128, 'x'), dot = "\u00b7";
  EXPECT_EQ(long_lines({full, full + "x", "", dot + full}), (std::vector<int>{2, 4}));
  EXPECT_TRUE(long_lines({full.substr(1) + dot}).empty()) << "two bytes are one column";
}

TEST(Layers, ABrokenCommentIsFound) {
  const std::string full = "// a full line " + std::string(100, 'x'), rest = "// how it goes on.";
  EXPECT_EQ(broken_comments({"", "// --- timing", "// " + std::string(100, '-')}), std::vector<int>{2});
  EXPECT_EQ(broken_comments({full, "// and then", rest}), std::vector<int>{2});
  EXPECT_TRUE(broken_comments({full, "// its end.", rest}).empty());
  EXPECT_TRUE(broken_comments({"// --- timing " + std::string(100, '-'), "", full, "// and then", "int x;"}).empty());
}

// `.x = {.title = ...}` inside the braces of a struct: when a member behind it throws, GCC 12 destroys it twice. Where the
// type is named, as in `.x = Axis{.title = ...}`, it does not.
TEST(Layers, NestedMembersNameTheirType) {
  const fs::path root = scalelab::test::kSourceFolder;
  const std::regex nested(R"(\.\w+ = \{\s*\.\w+ = )");
  for (const std::string folder : {"host", "bench"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (entry.path().extension() != ".h" && entry.path().extension() != ".cpp") continue;
      std::ifstream file(entry.path());
      const std::string text(std::istreambuf_iterator<char>(file), {});
      std::smatch found;
      EXPECT_FALSE(std::regex_search(text, found, nested))
          << fs::relative(entry.path(), root).string() << ": name the type in: " << found.str();
    }
  }
}

// Source files under kernels/ that its README does not name.
std::vector<std::string> unnamed_kernels(const fs::path& kernels) {
  std::ifstream file(kernels / "README.md");
  const std::string readme(std::istreambuf_iterator<char>(file), {});
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(kernels)) {
    const std::string name = fs::relative(entry.path(), kernels).string();
    if (!entry.is_regular_file() || name == "README.md") continue;
    if (readme.find("`" + name + "`") == std::string::npos) found.push_back(name);
  }
  return found;
}

TEST(Layers, TheReadmeOfTheKernelsNamesEveryFile) {
  for (const auto& name : unnamed_kernels(fs::path(scalelab::test::kSourceFolder) / "kernels")) {
    ADD_FAILURE() << "kernels/README.md does not say what kernels/" << name << " is";
  }
}

// Types that two headers of host define: whichever the linker takes, the other's users work on another's members. "NAME in
// FILE and FILE".
std::vector<std::string> types_of_one_name(const fs::path& host) {
  std::map<std::string, std::string> where;
  std::vector<std::string> found;
  const std::regex definition(R"re(^(struct|class) (\w+)( : [^;{]*)? \{)re");
  for (const auto& entry : fs::recursive_directory_iterator(host)) {
    if (entry.path().extension() != ".h") continue;
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      std::smatch match;
      if (!std::regex_search(line, match, definition)) continue;
      const auto [first, added] = where.try_emplace(match[2], entry.path().filename());
      if (!added) found.push_back(match[2].str() + " in " + first->second + " and " + entry.path().filename().string());
    }
  }
  return found;
}

TEST(Layers, NoTwoHeadersDefineATypeOfOneName) {
  for (const auto& line : types_of_one_name(fs::path(scalelab::test::kSourceFolder) / "host")) ADD_FAILURE() << line;
}

TEST(Layers, TheTreeKeepsThem) {
  for (const auto& line : violations(scalelab::test::kSourceFolder)) ADD_FAILURE() << line;
}

TEST(Layers, APlantedIncludeIsFound) {
  const fs::path root = fs::path(testing::TempDir()) / "scalelab_layers";
  struct Plant {
    std::string file, include;
  };
  std::vector<Plant> plants = {
      {"host/lab/sweep.cpp", "kernels/cpu/parallel.h"},
      {"include/scalelab/knn.h", "cuda_runtime.h"},
      {"include/scalelab/knn.h", "nlohmann/json.hpp"},
      {"include/scalelab/knn.h", "kernels/distance.h"},
      {"kernels/knn.cpp", "cub/cub.cuh"},
      {"kernels/knn.cpp", "nlohmann/json.hpp"},
      {"kernels/knn.cu", "host/studies/compare_page.h"},
      {"kernels/knn.cpp", "thrust/sort.h"},
      {"host/studies/compare_page.cpp", "../kernels/tile.h"},
      {"kernels/knn.cpp", "tests/support.h"},
      {"host/lab/sweep.cpp", "host/main.h"},
      {"host/attic/sweep.cpp", "host/program/files.h"},
  };
  for (std::size_t i = 0; i + 1 < kWings.size(); ++i) {
    plants.push_back({"host/" + kWings[i] + "/a.cpp", "host/" + kWings[i + 1] + "/b.h"});
    plants.push_back({"host/" + kWings[i] + "/a.h", "host/" + kWings.back() + "/b.h"});
  }
  for (const Plant& plant : plants) {
    fs::remove_all(root);
    fs::create_directories((root / plant.file).parent_path());
    std::ofstream(root / plant.file) << "// a file\n#include <vector>\n#include \"" << plant.include << "\"\n";
    const auto found = violations(root);
    ASSERT_EQ(found.size(), 1U) << plant.file << " with " << plant.include;
    EXPECT_EQ(found[0], plant.file + ":3 includes " + plant.include);
  }
  // What is allowed is not found: a wing's own files, the wing before it, and all of them in main.
  for (std::size_t i = 0; i < kWings.size(); ++i) {
    for (const std::string& file : {"host/" + kWings[i] + "/a.cpp", std::string("host/main.cpp")}) {
      fs::remove_all(root);
      fs::create_directories((root / file).parent_path());
      std::ofstream(root / file) << "#include \"host/" << kWings[i] << "/b.h\"\n#include \"host/program/files.h\"\n";
      EXPECT_TRUE(violations(root).empty()) << file << " of " << kWings[i];
    }
  }
  fs::remove_all(root);
}

}  // namespace
