// Every kind of file that the program reads (fuzz/targets.h), changed in a few places by a fixed seed: the same inputs on
// every machine. libFuzzer (cmake --preset fuzz) looks further.
#include <gtest/gtest.h>

#include <iterator>
#include <random>

#include "host/program/error.h"
#include "tests/fuzz/targets.h"
#include "tests/paths.h"

namespace scalelab::fuzz {
namespace {

std::string text_of(const fs::path& file) {
  std::ifstream input(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(input), {}};
}

// Changed files of each target: a second or two. SCALELAB_FUZZ_RUNS for more.
int runs() {
  const char* more = std::getenv("SCALELAB_FUZZ_RUNS");
  return more == nullptr ? 800 : std::atoi(more);
}

// What stands for a value in one of the formats, and breaks another.
constexpr std::string_view kTokens[] = {"null",
                                        "true",
                                        "-1",
                                        "0",
                                        "1e308",
                                        "-1e-320",
                                        "NaN",
                                        "18446744073709551616",
                                        "\"\"",
                                        "\"x\"",
                                        "[]",
                                        "{}",
                                        "[[]]",
                                        "\\u0000",
                                        "\xff",
                                        "\xe9",
                                        "\n",
                                        ",",
                                        ";",
                                        "\"",
                                        "'<f8'",
                                        "(0,)",
                                        "(1152921504606846976, 1)",
                                        "9999999999",
                                        "..",
                                        "0..9"};

class Changes {
 public:
  explicit Changes(std::uint64_t seed) : random_(seed) {}
  std::size_t below(std::size_t n) { return n == 0 ? 0 : random_() % n; }  // the same for every library
  std::string of(std::string text, const std::string& other) {
    for (std::size_t count = 1 + below(3); count > 0; --count) {
      const std::size_t at = below(text.size() + 1), some = below(std::min<std::size_t>(text.size() - at, 24) + 1);
      switch (below(12)) {
        case 0: text.erase(at, some); break;
        case 1: text.insert(at, kTokens[below(std::size(kTokens))]); break;
        case 2: text.insert(at, text.substr(at, some)); break;
        case 3: text.resize(at); break;
        case 4: text.replace(at, some, other.substr(below(other.size() + 1), some)); break;
        case 5:
          if (at < text.size()) text[at] = static_cast<char>(below(256));
          break;
        default: replace_value(text, at);
      }
    }
    return text;
  }

 private:
  // The value that begins behind the next colon becomes another: JSON stays JSON.
  void replace_value(std::string& text, std::size_t at) {
    const std::size_t colon = text.find(':', at);
    if (colon == std::string::npos) return;
    const std::size_t end = std::min(text.find_first_of(",}\n", colon), text.size());
    text.replace(colon + 1, end - colon - 1, kTokens[below(14)]);
  }
  std::mt19937_64 random_;
};

class Fuzz : public testing::TestWithParam<Target> {};

TEST_P(Fuzz, NoFileDoesHarm) {
  const Target target = GetParam();
  std::vector<std::string> corpus;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(fs::path(test::kSourceFolder) / "tests/fuzz/corpus" / target.name)) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  ASSERT_FALSE(files.empty());
  for (const fs::path& file : files) {
    corpus.push_back(text_of(file));
    EXPECT_EQ(target.run(corpus.back()), "") << file;
  }
  Changes changes(20240607);
  for (int i = 0; i < runs(); ++i) {
    const std::string text = changes.of(corpus[changes.below(corpus.size())], corpus[changes.below(corpus.size())]);
    const std::string wrong = target.run(text);
    if (wrong.empty()) continue;
    const std::string kept = testing::TempDir() + "fuzz_" + target.name + "_" + std::to_string(i);
    std::ofstream(kept, std::ios::binary) << text;
    ADD_FAILURE() << "change " << i << ", kept in " << kept << ": " << wrong;
  }
}

INSTANTIATE_TEST_SUITE_P(Files, Fuzz, testing::ValuesIn(kTargets),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace scalelab::fuzz
