// Shards of knn and kmeans, joined: the same files as one process writes, and a line when something is missing.
#include <random>

#include "tests/program.h"

namespace scalelab::host {
namespace {

class Merge : public Program {
 protected:
  Merge() {
    std::mt19937 random(9);
    const auto rows = [&](std::int64_t n, std::int64_t d) {
      std::vector<float> values;
      // Few values: many ties, which go to the lower index.
      for (std::int64_t i = 0; i < n * d; ++i) values.push_back(static_cast<float>(random() % 9));
      return values;
    };
    write_npy("r.npy", rows(401, 3), {401, 3});
    write_npy("q.npy", rows(97, 3), {97, 3});
    write_npy("x.npy", rows(9000, 3), {9000, 3});
    write_npy("c.npy", rows(12, 3), {12, 3});
  }
  void expect_same(const std::vector<std::string>& files) const {
    for (const std::string& file : files) {
      EXPECT_EQ(read_file(folder_ / "got" / file), read_file(folder_ / "want" / file)) << file;
      EXPECT_FALSE(read_file(folder_ / "got" / file).empty()) << file;
    }
  }
};

TEST_F(Merge, NeighboursByQueriesAndByReferences) {
  const Words knn = {"knn", "--data", "r.npy", "--queries", "q.npy", "-k", "7", "--out"};
  const auto with = [&](Words more) {
    Words words = knn;
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  good(with({"want"}));
  for (const std::string option : {"--shard", "--reference-shard"}) {
    fs::remove_all(folder_ / "got");
    for (const char* shard : {"3/4", "1/4", "0/4", "2/4"}) good(with({"got", option, shard}));
    EXPECT_NE(good({"merge", "got"}).find("4 shards merged"), std::string::npos);
    expect_same({"indices.npy", "distances.npy"});
    EXPECT_EQ(result("got")["shards"], 4);
    EXPECT_EQ(result("got")["k"], 7);
  }
  bad(with({"out", "--shard", "3/98", "--reference-shard", "1/2"}), 2, "do not go together");
  bad(with({"out", "--shard", "1/98"}), 2, "--shard 1/98: q.npy holds only 97 queries");
  bad(with({"out", "--reference-shard", "1/100"}), 2, "--k 7: r.npy holds only 4 references in this shard");
  bad(with({"out", "--reference-shard", "5/4"}), 2, "--reference-shard: '5/4' is not i/n");
}

TEST_F(Merge, AssignmentToGivenCentroids) {
  const Words kmeans = {"kmeans", "--data",           "x.npy", "--clusters", "12", "--init",
                        "c.npy",  "--max-iterations", "0",     "--out"};
  const auto with = [&](Words more) {
    Words words = kmeans;
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  good(with({"want"}));
  for (const char* shard : {"1/3", "2/3", "3/3"}) good(with({"got", "--shard", shard}));
  good({"merge", "got"});
  expect_same({"labels.npy", "centroids.npy"});
  EXPECT_EQ(result("got")["inertia"], result("want")["inertia"]);
  bad(with({"out", "--shard", "1/4"}), 2, "--shard 1/4: the 9000 rows of x.npy are dealt in blocks of 4096; use fewer");
  bad({"kmeans", "--data", "x.npy", "--clusters", "12", "--shard", "1/2", "--out", "out"}, 2,
      "--shard: only assigning");
}

TEST_F(Merge, WhatIsMissingOrOfAnotherJobIsSaid) {
  const auto shard = [&](const std::string& which, const std::string& k, const std::string& out) {
    good({"knn", "--data", "r.npy", "--queries", "q.npy", "-k", k, "--shard", which, "--out", out});
  };
  bad({"merge", "nowhere"}, 3, "nowhere: holds no shards");
  shard("2/5", "3", "got");
  bad({"merge", "got"}, 3, "got: missing shards 1, 3, 4, 5 of 5; run them, then merge again");
  for (const char* which : {"1/5", "3/5", "4/5"}) shard(which, "3", "got");
  fs::create_directory(folder_ / "got/shard-5-of-5");  // as a run leaves it that was killed
  bad({"merge", "got"}, 3, "got: missing shard 5 of 5; run them");
  shard("5/5", "4", "got");
  bad({"merge", "got"}, 3, "got/shard-5-of-5: is of another job than got/shard-1-of-5: /k");
  shard("5/5", "3", "got");
  const std::string indices = read_file(folder_ / "got/shard-4-of-5/indices.npy");
  write_text(folder_ / "got/shard-4-of-5/indices.npy", indices.substr(0, indices.size() - 4));
  bad({"merge", "got"}, 3, "got/shard-4-of-5/indices.npy: is cut short");
  EXPECT_FALSE(fs::exists(folder_ / "got/indices.npy"));
  write_text(folder_ / "got/shard-4-of-5/indices.npy", indices);
  good({"merge", "got"});
  shard("1/2", "3", "got");
  bad({"merge", "got"}, 3, "remove what is of another job");
}

TEST_F(Merge, ShardsThatSomebodyChangedAreRefused) {
  const auto shards = [&](const std::string& option, const std::string& out) {
    for (const char* which : {"1/2", "2/2"}) {
      good({"knn", "--data", "r.npy", "--queries", "q.npy", "-k", "3", option, which, "--out", out});
    }
  };
  shards("--shard", "rows");
  const fs::path file = folder_ / "rows/shard-1-of-2/result.json";
  const std::string text = read_file(file), name = "\"distances.npy\"";
  std::string outside = text;
  outside.replace(outside.find(name), name.size(), "\"../distances.npy\"");
  write_text(file, outside);
  bad({"merge", "rows"}, 3, "rows: '../distances.npy' in the result.json of its first shard is no name of a file");
  EXPECT_FALSE(fs::exists(folder_ / "distances.npy"));
  write_text(file, text);
  good({"merge", "rows"});

  shards("--reference-shard", "parts");
  const fs::path first = folder_ / "parts/references-1-of-2";
  const std::string indices = read_file(first / "indices.npy");
  fs::copy_file(first / "distances.npy", first / "indices.npy", fs::copy_options::overwrite_existing);
  bad({"merge", "parts"}, 3, "parts/references-1-of-2: indices.npy and distances.npy are not those of its job");
  write_npy("parts/references-1-of-2/indices.npy", std::vector<float>(97 * 3), {97 * 3});
  bad({"merge", "parts"}, 3, "parts/references-1-of-2: indices.npy and distances.npy are not those of its job");
  write_text(first / "indices.npy", indices);
  good({"merge", "parts"});
}

}  // namespace
}  // namespace scalelab::host
