// The layers: host sees only include; kernels sees include and itself; only .cu and .cuh see CUDA, CUB, Thrust; JSON
// stays in host, bench and tests. Read off the #include lines of the tree, and seen to fail on planted ones.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

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
      const bool executor = path.string().find("/tests/simt/") != std::string::npos;
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
        if (foreign || starts_with(name, forbidden) || name.rfind("..", 0) == 0) {
          found.push_back(fs::relative(path, root).string() + ":" + std::to_string(number) + " includes " + name);
        }
      }
    }
  }
  return found;
}

TEST(Layers, TheTreeKeepsThem) {
  for (const auto& line : violations(SCALELAB_SOURCE_DIR)) ADD_FAILURE() << line;
}

TEST(Layers, APlantedIncludeIsFound) {
  const fs::path root = fs::path(testing::TempDir()) / ("scalelab_layers_" + std::to_string(::getpid()));
  struct Plant {
    const char *file, *include;
  };
  const std::vector<Plant> plants = {
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
  };
  for (const Plant& plant : plants) {
    fs::remove_all(root);
    fs::create_directories((root / plant.file).parent_path());
    std::ofstream(root / plant.file) << "// a file\n#include <vector>\n#include \"" << plant.include << "\"\n";
    const auto found = violations(root);
    ASSERT_EQ(found.size(), 1U) << plant.file << " with " << plant.include;
    EXPECT_EQ(found[0], std::string(plant.file) + ":3 includes " + plant.include);
  }
  fs::remove_all(root);
}

}  // namespace
