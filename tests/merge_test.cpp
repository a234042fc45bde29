// Shards of knn, kmeans and prune, joined: the same files as one process writes, and a line when something is missing.
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

// Rows of which some are near to others in direction, in two classes.
class MergePrune : public Merge {
 protected:
  static constexpr int kRows = 5000;
  MergePrune() {
    std::mt19937 random(11);
    std::vector<float> rows;
    std::vector<std::int32_t> labels;
    for (int i = 0; i < kRows; ++i) {
      const int group = static_cast<int>(random() % 700);
      for (int c = 0; c < 4; ++c) {
        rows.push_back(static_cast<float>(1 + (group * (3 + c)) % 23) + 1e-3F * static_cast<float>(random() % 100));
      }
      labels.push_back(i % 7 == 0);
    }
    write_npy("p.npy", rows, {kRows, 4});
    write_npy("y.npy", labels, {kRows});
  }
  static Words prune(const Words& more) {
    Words words = {"prune", "--data", "p.npy", "--labels", "y.npy", "--seed", "3", "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  static Words with(Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  void shards_give(const Words& options) {
    fs::remove_all(folder_ / "got");
    for (const char* shard : {"2/3", "3/3", "1/3"}) good(with(prune(options), {"--shard", shard, "--out", "got"}));
    good({"merge", "got"});
    expect_same({"kept_ids.npy", "scores.npy", "removed.csv"});
    for (const char* key : {"kept", "removed", "classes", "near_duplicates", "seed", "score", "data"}) {
      EXPECT_EQ(result("got")[key], result("want")[key]) << key;
    }
  }
};

TEST_F(MergePrune, ScoresNearDuplicatesAndTheChoice) {
  good({"kmeans", "--data", "p.npy", "--clusters", "20", "--seed", "3", "--out", "clusters"});
  const Words choice = {"--near-duplicates", "1e-5", "--fraction", "0.3"};
  // What one process does that makes the clusters itself.
  good(with(prune(choice), {"--clusters", "20", "--out", "want"}));
  EXPECT_GT(result("want")["removed"]["near_duplicates"], 100);
  shards_give(with(choice, {"--clusters-from", "clusters"}));
  for (const Words& options :
       {with(choice, {"--clusters-from", "clusters", "--keep", "easy"}),
        with(choice, {"--clusters-from", "clusters", "--score", "class-mean"}),
        Words{"--score", "random", "--fraction", "0.2"}, Words{"--score", "class-mean", "--fraction", "0.2"},
        Words{"--clusters-from", "clusters", "--fraction", "0.6"}}) {
    fs::remove_all(folder_ / "want");
    good(with(prune(options), {"--out", "want"}));
    shards_give(options);
  }
}

TEST_F(MergePrune, WhatDoesNotFitIsSaid) {
  bad(prune({"--clusters", "20", "--fraction", "0.3", "--shard", "1/2", "--out", "out"}), 2,
      "--shard: clusters are made of all rows: make them once");
  bad(prune({"--score", "random", "--near-duplicates", "0.1", "--shard", "1/2", "--out", "out"}), 2,
      "--shard: clusters");
  bad(prune({"--score", "random", "--fraction", "0.1", "--shard", "1/5001", "--out", "out"}), 2,
      "holds only 5000 rows");
  bad({"prune", "--data", "p.npy", "--score", "random", "--fraction", "0.1", "--splits", "3", "--shard", "1/2", "--out",
       "out"},
      2, "--splits: without labels there is no error to measure");
  bad(prune({"--clusters-from", "none", "--fraction", "0.3", "--out", "out"}), 3, "none/centroids.npy: cannot be read");
  good({"kmeans", "--data", "x.npy", "--clusters", "5", "--out", "others"});
  bad(prune({"--clusters-from", "others", "--fraction", "0.3", "--out", "out"}), 3,
      "--clusters-from others: has 9000 labels and centroids of 3 features; the data have 5000 rows of 4");
  good({"kmeans", "--data", "p.npy", "--clusters", "5", "--out", "own"});
  bad(prune({"--clusters-from", "own", "--clusters", "5", "--fraction", "0.3", "--out", "out"}), 2, "one of them");
  bad(prune({"--clusters-from", "own", "--score", "kmeans-cosine", "--fraction", "0.3", "--out", "out"}), 2,
      "has clusters of its own");
  good({"kmeans", "--data", "p.npy", "--clusters", "5", "--metric", "cosine", "--out", "cosine"});
  bad(prune({"--clusters-from", "cosine", "--fraction", "0.3", "--out", "out"}), 3,
      "--clusters-from cosine: its clusters are by cosine");
  bad(prune({"--clusters-from", "own", "--score", "random", "--fraction", "0.3", "--out", "out"}), 2, "of no use");
  write_npy("own/labels.npy", std::vector<std::int32_t>(kRows, 5), {kRows});
  bad(prune({"--clusters-from", "own", "--fraction", "0.3", "--out", "out"}), 3, "label 5 is none of its 5 clusters");
  write_npy("own/labels.npy", std::vector<std::int32_t>(kRows, 4), {kRows});
  for (const char* shard : {"1/1", "1/3"}) {
    bad(prune({"--clusters-from", "own", "--fraction", "0.3", "--shard", shard, "--out", "out"}), 3,
        "--clusters-from own: its labels are of other rows: row ");
  }
  // Shards of other options, and of other data by the same name.
  const Words options = {"--score", "random", "--fraction", "0.3", "--out", "got", "--shard"};
  good(prune(with(options, {"1/2"})));
  good(with(prune(with(options, {"2/2"})), {"--keep", "easy"}));
  bad({"merge", "got"}, 3, "got/shard-2-of-2: is of another job than got/shard-1-of-2: /prune/keep");
  write_npy("p.npy", std::vector<float>(4 * kRows, 1.0F), {kRows, 4});
  good(prune(with(options, {"2/2"})));
  bad({"merge", "got"}, 3, "is of another job than got/shard-1-of-2: /data/looks");
  good(prune(with(options, {"1/2"})));
  write_npy("got/shard-1-of-2/scores.npy", std::vector<float>(kRows), {kRows / 2, 2});
  bad({"merge", "got"}, 3, "got/shard-1-of-2/scores.npy: is not that of its job");
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
