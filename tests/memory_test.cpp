// Memory: the program's results where memory is short (scalelab knn --max-mem) or labels are packed (boundary --bits)
// are those of the ordinary runs.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "host/data/npy.h"
#include "tests/paths.h"
#include "tests/support.h"

namespace scalelab::host {
namespace {

namespace fs = std::filesystem;

class Memory : public testing::Test {
 protected:
  Memory() { fs::create_directories(folder_); }
  ~Memory() override { fs::remove_all(folder_); }

  void write_rows(const std::string& name, const std::vector<float>& values, std::int64_t d) const {
    NpyWriter<float> file(folder_ / name, {static_cast<std::int64_t>(values.size()) / d, d});
    file.write(values);
    file.commit();
  }
  // Exit code of `scalelab WORDS`, run in folder_; stderr goes to `err`.
  int run(const std::string& words) {
    const std::string command =
        "cd '" + folder_.string() + "' && '" + test::program() + "' " + words + " --quiet >out.txt 2>err.txt";
    const int status = std::system(command.c_str());
    err = read("err.txt");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string read(const fs::path& name) const {
    std::ifstream input(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(input), {}};
  }
  nlohmann::json result(const std::string& folder) const {
    return nlohmann::json::parse(read(folder + "/result.json"));
  }

  std::string err;
  const fs::path folder_ = fs::path(testing::TempDir()) / ("scalelab_memory_" + std::to_string(::getpid()));
};

TEST_F(Memory, KnnInPiecesGivesTheSameFiles) {
  for (const std::int64_t d : {2, 6}) {
    const std::int64_t n = 5000, q = 300;
    auto references = test::uniform_floats(n * d, 1), queries = test::uniform_floats(q * d, 2);
    for (auto* values : {&references, &queries}) {
      for (float& x : *values) x = std::round(x * 8) / 8;  // ties within and between pieces
    }
    write_rows("refs.npy", references, d);
    write_rows("queries.npy", queries, d);
    const std::string words = "knn --data refs.npy --queries queries.npy --k 7 --out ";
    ASSERT_EQ(run(words + "whole"), 0) << err;
    EXPECT_EQ(result("whole")["references"]["pieces"], 1);
    for (const auto& [limit, pieces, chunks] :
         {std::tuple(d == 2 ? "300K" : "90K", 2, 1), std::tuple("20K", 10, 2), std::tuple("6K", 35, 10)}) {
      ASSERT_EQ(run(words + "parts --max-mem " + limit), 0) << err;
      const auto parts = result("parts");
      EXPECT_GE(parts["references"]["pieces"], pieces) << limit;
      EXPECT_LE(parts["queries"]["rows_at_a_time"], q / chunks) << limit;
      EXPECT_EQ(read("parts/indices.npy"), read("whole/indices.npy")) << "d " << d << ", " << limit;
      EXPECT_EQ(read("parts/distances.npy"), read("whole/distances.npy")) << "d " << d << ", " << limit;
    }
  }
}

#ifndef __SANITIZE_ADDRESS__  // whose shadow of memory is more than the limit
TEST_F(Memory, AFileLargerThanMemoryIsReadWhereItLies) {
  const std::int64_t n = 400000, d = 64;  // 102 MB, where 90 MB may be allocated
  write_rows("large.npy", test::uniform_floats(n * d, 1), d);
  const auto limited = [&](const std::string& words) {
    const std::string command = "cd '" + folder_.string() + "' && ulimit -d 90000 && '" + test::program() + "' " +
                                words + " --data large.npy --clusters 3 --threads 1 --quiet --backend cpu 2>err.txt";
    const int status = std::system(("bash -c \"" + command + "\" >/dev/null").c_str());
    err = read("err.txt");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  EXPECT_EQ(limited("kmeans --max-iterations 1 --init random --out k"), 0) << err;
  EXPECT_EQ(limited("prune --score kmeans --fraction 0.1 --out p"), 0) << err;
  EXPECT_EQ(limited("prune --score kmeans-cosine --fraction 0.1 --out c"), 71) << "a second copy does not fit: " << err;
  ASSERT_EQ(run("kmeans --data large.npy --clusters 3 --max-iterations 1 --init random --out all"), 0) << err;
  EXPECT_EQ(read("k/labels.npy"), read("all/labels.npy"));
}
#endif

TEST_F(Memory, TooLittleAndNonsenseAreRefused) {
  write_rows("x.npy", test::uniform_floats(2000, 1), 2);
  const std::string words = "knn --data x.npy --queries x.npy --k 50 --out o --max-mem ";
  EXPECT_EQ(run(words + "3K"), 71);
  EXPECT_NE(err.find("--max-mem"), std::string::npos) << err;
  for (const char* nonsense : {"''", "K", "3X", "3KB", "-1", "1.5G", "9999999999G", "99999999999999999999"}) {
    EXPECT_EQ(run(words + nonsense), 2) << nonsense << ": " << err;
    EXPECT_NE(err.find("--max-mem"), std::string::npos) << err;
  }
  EXPECT_FALSE(fs::exists(folder_ / "o" / "result.json"));
  // A value that is bad is found in whatever piece it lies.
  auto values = test::uniform_floats(2000, 1);
  values[1990] = std::numeric_limits<float>::quiet_NaN();
  write_rows("nan.npy", values, 2);
  EXPECT_EQ(run("knn --data nan.npy --queries x.npy --k 1 --out o --max-mem 10K"), 3);
  values[1990] = 3e38F;
  write_rows("far.npy", values, 2);
  EXPECT_EQ(run("knn --data far.npy --queries x.npy --k 1 --out o --max-mem 10K"), 3);
  EXPECT_NE(err.find("overflow"), std::string::npos) << err;
  EXPECT_FALSE(fs::exists(folder_ / "o" / "result.json"));
}

TEST_F(Memory, BitsAreTheLabelsPacked) {
  ASSERT_EQ(run("dataset --n 500 --seed 3 --out p.csv"), 0) << err;
  for (const std::int64_t size : {1, 8, 61, 300}) {
    const std::string words = "boundary --data p.csv --k 3 --grid " + std::to_string(size) + " --out ";
    ASSERT_EQ(run(words + "bytes"), 0) << err;
    ASSERT_EQ(run(words + "bits --bits"), 0) << err;
    const std::int64_t across = (size + 7) / 8;
    const std::string all = read("bytes/labels.npy"), packed = read("bits/labels.npy");
    ASSERT_GE(packed.size(), static_cast<std::size_t>(size * across));
    EXPECT_NE(packed.find("(" + std::to_string(size) + ", " + std::to_string(across) + ")"), std::string::npos);
    const std::string labels = all.substr(all.size() - size * size),
                      bits = packed.substr(packed.size() - size * across);
    std::string want(static_cast<std::size_t>(size * across), 0);
    for (std::int64_t i = 0; i < size * size; ++i) {
      if (labels[i] != 0) want[i / size * across + i % size / 8] |= static_cast<char>(1 << i % size % 8);
    }
    EXPECT_EQ(bits, want) << "G " << size;
    EXPECT_EQ(result("bits")["classes"], result("bytes")["classes"]);
    EXPECT_EQ(read("bits/boundary.png"), read("bytes/boundary.png"));
    const auto about = result("bits")["labels"];
    EXPECT_EQ(about["bits_per_cell"], 1);
    EXPECT_EQ(about["bit_order"], "little");
    EXPECT_EQ(about["shape"], nlohmann::json({size, across}));
    EXPECT_EQ(result("bytes")["labels"]["bits_per_cell"], 8);
  }
  std::ofstream(folder_ / "three.csv") << "0,0,a\n1,0,b\n0,1,c\n";
  EXPECT_EQ(run("boundary --data three.csv --k 1 --grid 8 --out o --bits"), 2);
  EXPECT_NE(err.find("--bits"), std::string::npos) << err;
}

}  // namespace
}  // namespace scalelab::host
