// The program itself, run as people run it: every bad input ends in its documented exit code with one line that says
// what was wrong and no result left behind; the good paths give what they promise, the same bits every time.
#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <sstream>

#include "host/data/dataset.h"
#include "host/data/png.h"
#include "host/data/source.h"
#include "host/lab/directions.h"
#include "host/program/command.h"
#include "host/program/options.h"
#include "tests/program.h"
#include "tests/support.h"

namespace scalelab::host {

Command add_kmeans(CLI::App& program);
namespace {

// Squared distance as knn.h defines it.
float canonical(const float* q, const float* p, std::size_t d) {
  float s = 0;
  for (std::size_t c = 0; c < d; ++c) {
    const float t = q[c] - p[c];
    s = std::fma(t, t, s);
  }
  return s;
}

// Indices of the k nearest rows, by (distance, index).
std::vector<int> nearest(const std::vector<float>& rows, std::size_t d, const float* query, std::size_t k) {
  std::vector<int> order(rows.size() / d);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return canonical(query, &rows[static_cast<std::size_t>(a) * d], d) <
           canonical(query, &rows[static_cast<std::size_t>(b) * d], d);
  });
  order.resize(k);
  return order;
}

// --- what goes wrong ------------------------------------------------------------------------------------------------

TEST_F(Program, MisusedOptions) {
  write_text(folder_ / "p.csv", "x,y,label\n0,0,0\n1,1,1\n2,2,1\n");
  write_npy<float>("x.npy", {0, 1, 2, 3, 4, 5}, {3, 2});
  const Words boundary = {"boundary", "--data", "p.csv", "--out", "out"};
  const auto with = [](Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  bad({}, 2, "a command is missing");
  bad({"boundry"}, 2, "'boundry' is no command; did you mean boundary?");
  bad({"--seed", "1"}, 2, "a command is missing; see scalelab --help");
  bad(with(boundary, {"--gird", "64"}), 2, "--gird is not known; did you mean --grid?");
  bad(with(boundary, {"--layers", "2"}), 2, "--layers is not known; did you mean --hidden-layers?");
  bad(with(boundary, {"--lables", "y.npy"}), 2, "--lables is not known; did you mean --labels?");
  bad(with(boundary, {"surplus"}), 2, "surplus is not known");
  bad({"boundary", "--out", "out"}, 2, "--data");
  bad({"boundary", "--data", "p.csv"}, 2, "--out");
  bad({"boundary", "--data", "p.csv", "--out", ""}, 2, "--out");
  bad(with(boundary, {"--grid"}), 2, "--grid");
  for (const char* grid : {"0", "100000", "65537", "-1", "1.5", "ten", "0x10", "010", ""}) {
    bad(with(boundary, {std::string("--grid=") + grid}), 2, "--grid");
  }
  for (const char* k : {"0", "129", "-1", "many"}) bad(with(boundary, {"--k", k}), 2, "--k");
  bad(with(boundary, {"--k", "4"}), 2, "--k 4: p.csv holds only 3 points");
  for (const char* seed : {"-1", "18446744073709551616", "1.0", "seed"})
    bad(with(boundary, {"--seed", seed}), 2, "--seed");
  bad(with(boundary, {"--threads", "-2"}), 2, "--threads");
  bad(with(boundary, {"--device", "one"}), 2, "--device");
  bad(with(boundary, {"--backend", "gpu"}), 2, "--backend");
  bad(with(boundary, {"--model", "tree"}), 2, "'tree' is none of knn, mlp");
  bad(with(boundary, {"--width", "32"}), 2, "--width does not belong to --model knn");
  bad(with(boundary, {"--model", "mlp", "--k", "3"}), 2, "--k does not belong to --model mlp");
  for (const auto& [option, value] : std::vector<std::pair<const char*, const char*>>{{"--encoding", "cartesian"},
                                                                                      {"--width", "1"},
                                                                                      {"--width", "257"},
                                                                                      {"--hidden-layers", "0"},
                                                                                      {"--hidden-layers", "5"},
                                                                                      {"--epochs", "-1"},
                                                                                      {"--batch-size", "-1"},
                                                                                      {"--learning-rate", "nan"},
                                                                                      {"--learning-rate", "-1"},
                                                                                      {"--weight-decay", "inf"},
                                                                                      {"--focal", "-0.5"},
                                                                                      {"--schedule", "step"},
                                                                                      {"--activation", "sine"}}) {
    bad(with(boundary, {"--model", "mlp", option, value}), 2, option);
  }
  for (const char* extent : {"0,1,0", "0,1,0,1,2", "1,0,0,1", "0,1,1,1", "0,1,0,nan", "a,b,c,d", "0,1,0,1e39"}) {
    bad(with(boundary, {"--extent", extent}), 2, "--extent");
  }
  bad(with(boundary, {"--extent", "1000000,1000001,0,1", "--grid", "1000"}), 2, "--grid 1000: cells over x");
  for (const char* n : {"0", "-5", "1e3", "1000000001"}) bad({"dataset", "--n", n, "--out", "out"}, 2, "--n");
  for (const char* p : {"-0.1", "1.1", "nan", "x"})
    bad({"dataset", "--n", "5", "--noise", p, "--out", "out"}, 2, "--noise");
  bad({"dataset", "--n", "5", "--mixture-seed", "-1", "--out", "out"}, 2, "--mixture-seed");
  bad({"dataset", "--n", "5", "--json", "--out", "-"}, 2, "--json");
  for (const char* k : {"0", "129"})
    bad({"knn", "--data", "x.npy", "--queries", "x.npy", "--k", k, "--out", "out"}, 2, "--k");
  bad({"knn", "--data", "x.npy", "--queries", "x.npy", "--k", "4", "--out", "out"}, 2, "--k 4: x.npy holds only 3");
  bad({"kmeans", "--data", "x.npy", "--clusters", "0", "--out", "out"}, 2, "--clusters");
  bad({"kmeans", "--data", "x.npy", "--clusters", "4", "--out", "out"}, 2, "--clusters 4: x.npy holds only 3 rows");
  bad({"kmeans", "--data", "x.npy", "--clusters", "2", "--tolerance", "-1", "--out", "out"}, 2, "--tolerance");
}

TEST_F(Program, ListsTakeCommasSpacesAndRanges) {
  const auto planned = [&](const Words& seeds) {
    Words words = {"lottery", "--levels", "1", "--widths", "4", "--dry-run", "--out", "plan", "--seeds"};
    words.insert(words.end(), seeds.begin(), seeds.end());
    return run(words).err;
  };
  const std::string want = planned({"0,1,2,7"});
  EXPECT_NE(want.find("28 to run"), std::string::npos) << want;  // four seeds: dense, and six tickets of a level
  EXPECT_EQ(planned({"0", "1", "2", "7"}), want);
  EXPECT_EQ(planned({"0..2", "7"}), want);
  EXPECT_EQ(planned({"0..2,7"}), want);
  bad({"lottery", "--out", "out", "--seeds", "4..0"}, 2, "the range '4..0' ends before it begins");
  bad({"lottery", "--out", "out", "--seeds", "0..2", "1"}, 2, "--seeds: 1 is there twice");
  bad({"lottery", "--out", "out", "--seeds", "0..10000"}, 2, "is more than 10000 items");
  bad({"lottery", "--out", "out", "--seeds", "1,,2"}, 2, "has an empty item");
  bad({"lottery", "--out", "out", "--widths", "4..300"}, 2, "--widths: '300' is not a whole number from 2 to 256");
}

TEST_F(Program, EveryListTakesCommasAndSpaces) {
  const auto planned = [&](const Words& keep) {
    Words words = {"prune-study", "--scores", "kmeans", "--clusters", "8", "--fractions", "0.5",  "--sizes",
                   "40",          "--seeds",  "0",      "--worlds",   "0", "--out",       "plan", "--dry-run"};
    words.insert(words.end(), keep.begin(), keep.end());
    const auto run_of = run(words);
    EXPECT_EQ(run_of.code, 0) << run_of.err;
    return run_of.err;
  };
  const std::string both = planned({"--keep", "hard,easy"});
  EXPECT_EQ(planned({"--keep", "hard", "easy"}), both);
  EXPECT_EQ(planned({"--keep", "hard easy"}), both);
  EXPECT_NE(planned({"--keep", "hard"}), both);
  bad({"prune-study", "--out", "out", "--keep", "hard,hard"}, 2, "--keep: hard is there twice");

  write_text(folder_ / "p.csv", "x,y,label\n0,0,0\n1,1,1\n2,2,1\n");
  const auto mapped = [&](const Words& more) {
    Words words = {"boundary", "--data", "p.csv", "--k", "1", "--grid", "8", "--out", "map"};
    words.insert(words.end(), more.begin(), more.end());
    good(words);
    return read_file(folder_ / "map" / "labels.npy");
  };
  const std::string map = mapped({"--extent", "-1,1.5,-1,1.5"});
  EXPECT_EQ(mapped({"--extent", "-1", "1.5", "-1", "1.5"}), map);
  EXPECT_EQ(mapped({"--extent", "-1 1.5 -1, 1.5"}), map);
  EXPECT_NE(mapped({}), map);
  const std::string whole = mapped({"--backend", "cpu"});
  for (const Words& devices : {Words{"0 1"}, {"0", "1"}, {"0..1"}, {"0, 1"}}) {
    Words words = {"--backend", "cpu", "--device"};
    words.insert(words.end(), devices.begin(), devices.end());
    EXPECT_EQ(mapped(words), whole);
  }
  bad({"info", "--device", "0..2,1"}, 2, "--device: 1 is there twice");
  bad({"info", "--device", "gpu0"}, 2, "--device: 'gpu0' is not a whole number from 0 to 1023, or a range as 0..4");
  // Before a file a list is one word.
  write_text(folder_ / "mine.json", R"({"grids": [{"n": 20, "model": "knn-1"}]})");
  EXPECT_EQ(run({"sweep", "--device", "0", "mine.json", "--out", "swept", "--dry-run"}).code, 0);
}

TEST_F(Program, BadConfigs) {
  write_text(folder_ / "p.csv", "0,0,0\n1,1,1\n");
  const auto config = [&](const std::string& text, const std::string& says) {
    write_text(folder_ / "c.json", text);
    bad({"boundary", "--data", "p.csv", "--out", "out", "--config", "c.json"}, 2, says);
  };
  config(R"({"gird": 10})", "'gird' is no option of boundary; did you mean --grid?");
  config(R"({"config": "c.json"})", "'config' is no option");
  config(R"({"grid": 0})", "--grid");
  config(R"({"grid": true})", "'grid' must be");
  config(R"({"grid": null})", "'grid' must be");
  config(R"({"quiet": 1})", "'quiet' must be true or false");
  config(R"({"grid": 10)", "c.json: line 1, column 12: is not JSON");
  config("[1]", "c.json: is not a JSON object");
  config("", "c.json: line 1, column 1: is not JSON");
  bad({"boundary", "--data", "p.csv", "--out", "out", "--config", "none.json"}, 2, "none.json: cannot be read");
}

TEST_F(Program, BadData) {
  const auto csv = [&](const std::string& text, const std::string& says) {
    write_text(folder_ / "p.csv", text);
    bad({"boundary", "--data", "p.csv", "--out", "out"}, 3, "p.csv: " + says);
    bad({"boundary", "--data", "p.csv", "--model", "mlp", "--out", "out"}, 3, "p.csv: " + says);
  };
  csv("", "holds no points");
  csv("x,y,label\n0,0,0\n1,1\n", "line 3: 2 columns");
  csv("x,y,label\n0,0,0\n1,one,1\n", "line 3: column 2");
  csv("x,y,label\n0,0,0\n1,nan,1\n", "line 3: column 2");
  csv("x,y,label\n0,0,1\n1,1,1\n", "one class only");
  csv("a,b,c,label\n0,0,0,0\n1,1,1,1\n", "3 coordinates");
  csv("0,0,0\n3e38,3e38,1\n", "the numbers lie so far apart");
  bad({"boundary", "--data", "none.csv", "--out", "out"}, 3, "none.csv: cannot be read");
  bad({"boundary", "--data", ".", "--out", "out"}, 3, ".: is a folder");

  const std::vector<float> six = {0, 1, 2, 3, 4, 5};
  write_npy<float>("x.npy", six, {3, 2});
  const auto npy = [&](const std::string& says) {
    bad({"knn", "--data", "b.npy", "--queries", "x.npy", "--k", "1", "--out", "out"}, 3, "b.npy: " + says);
    bad({"knn", "--data", "x.npy", "--queries", "b.npy", "--k", "1", "--out", "out"}, 3, "b.npy: " + says);
    bad({"kmeans", "--data", "b.npy", "--clusters", "2", "--out", "out"}, 3, "b.npy: " + says);
    bad({"kmeans", "--data", "x.npy", "--init", "b.npy", "--clusters", "3", "--out", "out"}, 3, "b.npy: " + says);
  };
  npy("cannot be read");
  write_text(folder_ / "b.npy", "");
  npy("is empty");
  write_text(folder_ / "b.npy", "x,y,label\n0,0,0\n1,1,1\n");
  npy("is no .npy file");
  write_npy<std::int32_t>("b.npy", {1, 2, 3, 4, 5, 6}, {3, 2});
  npy("holds int32");
  write_npy<float>("b.npy", {1}, {});
  npy("has 0 axes");
  write_npy<float>("b.npy", six, {4, 2});
  npy("is cut short");
  const std::string whole = read_file(folder_ / "x.npy");
  std::string changed = whole;
  changed.replace(changed.find("False"), 5, "True ");
  write_text(folder_ / "b.npy", changed);
  npy("is in Fortran order");
  changed = whole;
  changed.replace(changed.find("<f4"), 3, "<f8");
  write_text(folder_ / "b.npy", changed);
  npy("holds float64");
  write_text(folder_ / "b.npy", whole.substr(0, whole.size() - 1));
  npy("is cut short");
  write_npy<float>("b.npy", {0, 1, 2, NAN, 4, 5}, {3, 2});
  npy("row 1, column 1 is nan");
  write_npy<float>("b.npy", {0, 1, 2, 3, 4, -INFINITY}, {3, 2});
  npy("row 2, column 1 is -inf");

  write_npy<float>("b.npy", six, {2, 3});
  bad({"knn", "--data", "x.npy", "--queries", "b.npy", "--k", "1", "--out", "out"}, 3, "b.npy: has 3 features");
  bad({"kmeans", "--data", "x.npy", "--init", "b.npy", "--clusters", "2", "--out", "out"}, 3,
      "b.npy: has shape (2, 3)");
  bad({"kmeans", "--data", "x.npy", "--init", "kmeans++", "--clusters", "2", "--out", "out"}, 3,
      "kmeans++: cannot be read");
  write_npy<float>("b.npy", {3e38F, 1, 2, 3, 4, -3e38F}, {3, 2});
  bad({"knn", "--data", "x.npy", "--queries", "b.npy", "--k", "1", "--out", "out"}, 3, "overflow");
  bad({"kmeans", "--data", "b.npy", "--clusters", "2", "--out", "out"}, 3, "overflow");
}

TEST_F(Program, OutputThatCannotBeWritten) {
  write_text(folder_ / "p.csv", "0,0,0\n1,1,1\n");
  write_npy<float>("x.npy", {0, 1, 2, 3, 4, 5}, {3, 2});
  write_text(folder_ / "file", "x");
  for (const auto& out : std::vector<std::string>{"file", "file/below", std::string(300, 'x')}) {
    bad({"boundary", "--data", "p.csv", "--k", "1", "--grid", "8", "--out", out}, 74, out + ": cannot be written");
    bad({"knn", "--data", "x.npy", "--queries", "x.npy", "--k", "1", "--out", out}, 74, out + ": cannot be written");
    bad({"kmeans", "--data", "x.npy", "--clusters", "1", "--out", out}, 74, out + ": cannot be written");
  }
  bad({"dataset", "--n", "5", "--out", "file/below"}, 74, "file/below: cannot be written");
  bad({"dataset", "--n", "5", "--out", "/dev/full"}, 74, "/dev/full: cannot be written");  // a full disk
  // A full disk for one file of several: the others must not appear.
  fs::create_directories(folder_ / "full");
  for (const auto& [name, words] : std::vector<std::pair<std::string, Words>>{
           {"labels.npy", {"kmeans", "--data", "x.npy", "--clusters", "1", "--out", "full"}},
           {"distances.npy", {"knn", "--data", "x.npy", "--queries", "x.npy", "--k", "1", "--out", "full"}},
           {"boundary.png", {"boundary", "--data", "p.csv", "--k", "1", "--grid", "8", "--out", "full"}}}) {
    fs::create_symlink("/dev/full", folder_ / "full" / name);
    bad(words, 74, name + ": cannot be written");
    fs::remove(folder_ / "full" / name);
    EXPECT_TRUE(nothing_in("full")) << name;
  }
  for (const Words& words : {Words{"info"}, Words{"info", "--json"}, Words{"--help"}, Words{"--version"},
                             Words{"dataset", "--n", "5", "--out", "-"}}) {
    const Finished finished = run(words, "/dev/full");
    EXPECT_EQ(finished.code, 74) << words[0];
    EXPECT_NE(finished.err.find("standard output: cannot be written"), std::string::npos) << finished.err;
  }
}

TEST_F(Program, CudaWithoutCudaSaysWhy) {
  std::string why;
  if (cuda_backend(&why) != nullptr) GTEST_SKIP() << "a CUDA device answers";
  write_npy<float>("x.npy", {0, 1, 2, 3, 4, 5}, {3, 2});
  bad({"knn", "--data", "x.npy", "--queries", "x.npy", "--k", "1", "--backend", "cuda", "--out", "out"}, 4,
      "--backend cuda: " + why);
}

#if !defined(__SANITIZE_ADDRESS__)  // which reserves terabytes: its address space cannot be limited
TEST_F(Program, TooMuchMemoryIsSaidSo) {
  // Under an address space of 3 GB, a data set of 12 GB.
  rlimit old{};
  ::getrlimit(RLIMIT_AS, &old);
  rlimit tight = old;
  tight.rlim_cur = std::size_t{3} << 30;
  ::setrlimit(RLIMIT_AS, &tight);
  const pid_t child = start({"dataset", "--n", "1000000000", "--out", "out"});
  ::setrlimit(RLIMIT_AS, &old);
  const Finished finished = finish(child);
  EXPECT_EQ(finished.code, 71) << finished.err;
  EXPECT_NE(finished.err.find("out of memory"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}
#endif

TEST_F(Program, SignalsLeaveNothingHalfDone) {
  good({"dataset", "--n", "500", "--out", "p.csv"});
  // Blocked on a pipe that nobody empties.
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  pid_t child = start({"dataset", "--n", "100000", "--out", "-"}, "", ends[1]);
  char first = 0;
  EXPECT_EQ(::read(ends[0], &first, 1), 1);
  ::kill(child, SIGTERM);
  EXPECT_EQ(finish(child).code, 128 + SIGTERM);
  ::close(ends[0]);
  ::close(ends[1]);
  // Busy in an op that would take hours. Its open files show that it has begun.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGXCPU}) {
    fs::create_directory(folder_ / "out");
    const Watch watch(folder_ / "out");
    child = start({"boundary", "--data", "p.csv", "--model", "mlp", "--epochs", "10000000", "--out", "out"});
    EXPECT_TRUE(watch.changed(child));
    ::kill(child, signal);
    const Finished finished = finish(child);
    EXPECT_EQ(finished.code, 128 + signal);
    EXPECT_EQ(finished.out, "");
    EXPECT_EQ(finished.err, "scalelab: stopped by a signal; nothing half-done was left\n");
    EXPECT_TRUE(nothing_in("out"));
  }
}

TEST_F(Program, ALimitOfFileSizesIsAFullDisk) {
  write_text(folder_ / "p.csv", "0,0,a\n1,1,b\n0,1,a\n");
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  rlimit tight = old;
  tight.rlim_cur = 20000;
  ::setrlimit(RLIMIT_FSIZE, &tight);
  const pid_t child = start({"boundary", "--data", "p.csv", "--k", "1", "--grid", "512", "--out", "out"});
  ::setrlimit(RLIMIT_FSIZE, &old);
  const Finished finished = finish(child);
  EXPECT_EQ(finished.code, 74);
  EXPECT_NE(finished.err.find("labels.npy: cannot be written: File too large"), std::string::npos) << finished.err;
  EXPECT_TRUE(nothing_in("out"));
}

TEST_F(Program, WhatAKilledRunLeftIsRemovedByTheNext) {
  write_text(folder_ / "p.csv", "0,0,a\n1,1,b\n0,1,a\n");
  fs::create_directory(folder_ / "out");
  const Watch watch(folder_ / "out");
  const pid_t child = start({"boundary", "--data", "p.csv", "--model", "mlp", "--epochs", "10000000", "--out", "out"});
  EXPECT_TRUE(watch.changed(child));
  ::kill(child, SIGKILL);
  EXPECT_EQ(finish(child).code, 1000 + SIGKILL);
  EXPECT_FALSE(nothing_in("out"));
  good({"boundary", "--data", "p.csv", "--k", "1", "--grid", "16", "--out", "out"});
  for (const auto& entry : fs::directory_iterator(folder_ / "out")) {
    EXPECT_NE(entry.path().filename().string()[0], '.') << entry.path();
  }
}

TEST_F(Program, APipeIsReadOnceOrRefused) {
  const std::string points = "0,0,a\n1,1,b\n0,1,a\n2,2,b\n";
  ASSERT_EQ(::mkfifo((folder_ / "pipe.csv").c_str(), 0600), 0);
  write_text(folder_ / "file.csv", points);
  const auto fed = [&](const Words& words, const std::string& text) {
    const pid_t writer = ::fork();
    if (writer == 0) {  // opening waits for the reader
      write_text(folder_ / "pipe.csv", text);
      ::_exit(0);
    }
    const Finished finished = run(words);
    ::kill(writer, SIGKILL);
    ::waitpid(writer, nullptr, 0);
    return finished;
  };
  const Words prune = {"prune", "--score", "class-mean", "--fraction", "0.5", "--data"};
  const auto with = [&](Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  EXPECT_EQ(fed(with(prune, {"pipe.csv", "--out", "a"}), points).code, 0);
  good(with(prune, {"file.csv", "--out", "b"}));
  EXPECT_EQ(result("a")["data"]["fingerprint"], result("b")["data"]["fingerprint"]);
  EXPECT_EQ(read_file(folder_ / "a" / "kept_ids.npy"), read_file(folder_ / "b" / "kept_ids.npy"));
  EXPECT_EQ(fed({"boundary", "--data", "pipe.csv", "--k", "1", "--grid", "16", "--out", "c"}, points).code, 0);
  // The trials of a sweep may read their data at any time, and its file once.
  write_text(folder_ / "s.json", R"({"grids": [{"data": "pipe.csv", "model": "knn-1", "n": 2}]})");
  bad({"sweep", "s.json", "--out", "out"}, 3, "pipe.csv: is not a regular file");
  const Finished dry = fed({"sweep", "pipe.csv", "--dry-run", "--out", "d"},
                           R"({"grids": [{"model": "knn-1", "n": 50, "grid": 64, "density_points": 1000}]})");
  EXPECT_EQ(dry.code, 0) << dry.err;
}

TEST_F(Program, ANameThatIsTooLongIsSaidSo) {
  const std::string name(300, 'x');
  write_npy<float>("x.npy", {0, 1, 2, 3, 4, 5}, {3, 2});
  write_text(folder_ / "p.csv", "0,0,a\n1,1,b\n");
  for (const Words& words :
       {Words{"boundary", "--data", name, "--out", "out"},
        Words{"boundary", "--data", "p.csv", "--k", "1", "--out", name},
        Words{"knn", "--data", name, "--queries", "x.npy", "--k", "1", "--out", "out"},
        Words{"kmeans", "--data", "x.npy", "--clusters", "1", "--init", name, "--out", "out"},
        Words{"prune", "--data", name, "--score", "random", "--fraction", "1", "--out", "out"},
        Words{"sweep", name, "--out", "out"}, Words{"sweep", name + ".json", "--out", "out"}, Words{"show", name},
        Words{"bench", "show", name}, Words{"dataset", "--n", "5", "--out", name}, Words{"info", "--config", name}}) {
    const Finished finished = run(words);
    EXPECT_TRUE(finished.code == 2 || finished.code == 3 || finished.code == 74) << words[0] << " " << finished.code;
    EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << finished.err;
    EXPECT_NE(finished.err.find(name), std::string::npos) << finished.err;
  }
}

TEST_F(Program, AReaderThatLeavesIsNoFailure) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);  // or the program would hold the reading end itself
  const pid_t child = start({"dataset", "--n", "100000", "--out", "-"}, "", ends[1]);
  ::close(ends[1]);
  char some[100];
  EXPECT_EQ(::read(ends[0], some, sizeof some), 100);
  ::close(ends[0]);
  const Finished finished = finish(child);
  EXPECT_EQ(finished.code, 0);
  EXPECT_EQ(finished.err, "");
}

TEST_F(Program, AnEarlierResultIsNotMistakenForThisOne) {
  write_npy<float>("x.npy", {0, 1, 2, 3, 4, 5}, {3, 2});
  const Words words = {"knn", "--data", "x.npy", "--queries", "x.npy", "--k", "1", "--out", "o"};
  good(words);
  EXPECT_TRUE(fs::exists(folder_ / "o" / "result.json"));
  // The next run fails between its first file and its result.
  fs::remove(folder_ / "o" / "distances.npy");
  fs::create_directory(folder_ / "o" / "distances.npy");
  EXPECT_EQ(run(words).code, 74);
  EXPECT_TRUE(fs::exists(folder_ / "o" / "result.json"));  // it failed before it touched anything
  fs::remove(folder_ / "o" / "distances.npy");
  fs::remove(folder_ / "o" / "result.json");
  fs::create_directory(folder_ / "o" / "result.json");
  EXPECT_EQ(run(words).code, 74);
  EXPECT_FALSE(fs::exists(folder_ / "o" / "distances.npy"));
}

// --- what goes well -------------------------------------------------------------------------------------------------

TEST_F(Program, InfoIsOneDocument) {
  EXPECT_NE(good({"info"}).find("cuda"), std::string::npos);
  const auto info = nlohmann::json::parse(good({"info", "--json"}));
  EXPECT_EQ(info["backends"][0]["name"], "cpu");
  EXPECT_EQ(info["limits"]["grid"], 65536);
  EXPECT_EQ(info["environment"]["command"][1], "info");
}

TEST_F(Program, DatasetWritesThePointsOfItsSeed) {
  const std::string summary = good({"dataset", "--n", "300", "--seed", "7", "--noise", "0.1", "--out", "p.csv"});
  EXPECT_NE(summary.find("seed 7"), std::string::npos);
  const Dataset want = sample_spiral(default_mixture(), Spiral{}, 300, 7, 0.1),
                got = read_labelled({folder_ / "p.csv"}).all;
  EXPECT_TRUE(test::same_bits(got.points, want.points));
  EXPECT_TRUE(test::same_bits(got.labels, want.labels));
  EXPECT_EQ(good({"dataset", "--n", "300", "--seed", "7", "--noise", "0.1", "--out", "-"}),
            read_file(folder_ / "p.csv"));
  const auto document =
      nlohmann::json::parse(good({"dataset", "--n", "300", "--mixture-seed", "0", "--json", "--out", "q.csv"}));
  EXPECT_EQ(document["n"], 300);
  EXPECT_EQ(document["seed"], 0);
  EXPECT_EQ(document["mixture_seed"], 0);
  EXPECT_TRUE(test::same_bits(read_labelled({folder_ / "q.csv"}).all.points,
                              sample_spiral(random_mixture(0), Spiral{}, 300, 0).points));
}

TEST_F(Program, KnnFindsTheNearest) {
  const auto references = test::uniform_floats(3 * 200, 1), queries = test::uniform_floats(3 * 50, 2);
  write_npy<float>("r.npy", references, {200, 3});
  write_npy<float>("q.npy", queries, {50, 3});
  good({"knn", "--data", "r.npy", "--queries", "q.npy", "--k", "7", "--out", "o"});
  const auto indices = npy_values<std::int32_t>("o/indices.npy");
  const auto distances = npy_values<float>("o/distances.npy");
  ASSERT_EQ(indices.size(), 350U);
  ASSERT_EQ(distances.size(), 350U);
  for (std::size_t q = 0; q < 50; ++q) {
    const auto want = nearest(references, 3, &queries[3 * q], 7);
    for (std::size_t j = 0; j < 7; ++j) {
      ASSERT_EQ(indices[7 * q + j], want[j]);
      ASSERT_EQ(distances[7 * q + j],
                canonical(&queries[3 * q], &references[3 * static_cast<std::size_t>(want[j])], 3));
    }
  }
  EXPECT_EQ(result("o")["k"], 7);
  EXPECT_EQ(result("o")["references"]["n"], 200);
}

// Whole numbers from 0 to 2 in so many rows: many of them equal.
std::vector<float> rows_with_twins(std::int64_t n, std::int64_t d) {
  std::vector<float> rows = test::uniform_floats(static_cast<std::size_t>(n * d), 5, 0, 3);
  for (float& value : rows) value = std::floor(value);
  return rows;
}

TEST_F(Program, WithoutQueriesARowIsNotItsOwnNeighbour) {
  // Among three features rows have more twins than neighbours are asked for; of eight, none often.
  for (const std::size_t d : {3U, 8U}) {
    const std::size_t n = 300, k = 6;
    const auto rows = rows_with_twins(300, static_cast<std::int64_t>(d));
    write_npy<float>("x.npy", rows, {300, static_cast<std::int64_t>(d)});
    std::vector<std::int32_t> want;
    std::vector<float> apart;
    for (std::size_t i = 0; i < n; ++i) {
      auto others = nearest(rows, d, &rows[d * i], n);
      std::erase(others, static_cast<int>(i));
      others.resize(k);
      for (const int other : others) {
        want.push_back(other);
        apart.push_back(canonical(&rows[d * i], &rows[d * static_cast<std::size_t>(other)], d));
      }
    }
    if (d == 3) {
      EXPECT_EQ(apart[0], 0) << "a twin";
    }
    // Whole; in pieces of the references; and by shards of either.
    good({"knn", "--data", "x.npy", "-k", "6", "--out", "whole"});
    EXPECT_EQ(result("whole")["queries"]["file"], nullptr);
    good({"knn", "--data", "x.npy", "-k", "6", "--max-mem", "16K", "--out", "pieces"});
    EXPECT_GT(result("pieces")["references"]["pieces"], 1);
    for (const std::string divided : {"--shard", "--reference-shard"}) {
      for (const char* part : {"1/2", "2/2"}) {
        good({"knn", "--data", "x.npy", "-k", "6", divided, part, "--out", "by" + divided});
      }
      good({"merge", "by" + divided});
    }
    for (const char* folder : {"whole", "pieces", "by--shard", "by--reference-shard"}) {
      EXPECT_EQ(npy_values<std::int32_t>(fs::path(folder) / "indices.npy"), want) << folder << ", d = " << d;
      EXPECT_EQ(npy_values<float>(fs::path(folder) / "distances.npy"), apart) << folder << ", d = " << d;
    }
  }
  write_npy<float>("x.npy", {0, 1, 2, 3}, {4, 1});
  bad({"knn", "--data", "x.npy", "-k", "4", "--out", "out"}, 2,
      "--k 4: x.npy holds only 4 rows, and a row is not its own");
  bad({"knn", "--data", "x.npy", "-k", "128", "--out", "out"}, 2, "127 at most");
}

TEST_F(Program, ByCosineOnlyDirectionsCount) {
  const std::size_t d = 5;
  auto rows = test::uniform_floats(120 * d, 8, -1, 1), queries = test::uniform_floats(30 * d, 9, -1, 1);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] *= std::pow(10.0F, static_cast<float>(i / d % 7) - 3);
  write_npy<float>("x.npy", rows, {120, 5});
  write_npy<float>("q.npy", queries, {30, 5});
  good({"knn", "--data", "x.npy", "--queries", "q.npy", "--metric", "cosine", "-k", "9", "--out", "o"});
  EXPECT_EQ(result("o")["metric"], "cosine");
  const auto indices = npy_values<std::int32_t>("o/indices.npy");
  const auto distances = npy_values<float>("o/distances.npy");
  const auto unit = unit_rows(rows, 5), asked = unit_rows(queries, 5);
  for (std::size_t q = 0; q < 30; ++q) {
    const auto want = nearest(unit, d, &asked[d * q], 9);
    for (std::size_t j = 0; j < 9; ++j) {
      ASSERT_EQ(indices[9 * q + j], want[j]);
      double dot = 0, own = 0, other = 0;
      for (std::size_t c = 0; c < d; ++c) {
        const double a = queries[d * q + c], b = rows[d * static_cast<std::size_t>(want[j]) + c];
        dot += a * b;
        own += a * a;
        other += b * b;
      }
      // The rounding of two unit rows and of their distance, each some 2^-24 of at most 2.
      ASSERT_NEAR(distances[9 * q + j], 1 - dot / std::sqrt(own * other), 16 * 0x1p-24);
    }
  }
  for (const char* command : {"knn", "kmeans"}) {
    std::fill_n(rows.begin() + 7 * d, d, 0.0F);
    write_npy<float>("zero.npy", rows, {120, 5});
    const Words words = {command, "--data", "zero.npy", "--metric", "cosine", "--out", "out"};
    Words more = words;
    if (std::string(command) == "kmeans") more.insert(more.end(), {"--clusters", "3"});
    bad(more, 3, "zero.npy: row 7 is all zeros and has no direction; take it out, or use --metric l2");
  }
}

TEST_F(Program, KmeansByCosineHasCentroidsOfLengthOne) {
  const std::size_t d = 4, k = 6;
  auto rows = test::uniform_floats(5000 * d, 21, -1, 1);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] *= static_cast<float>(1 + i / d % 5);
  write_npy<float>("x.npy", rows, {5000, 4});
  good({"kmeans", "--data", "x.npy", "--clusters", "6", "--metric", "cosine", "--tolerance", "0", "--out", "o"});
  const auto labels = npy_values<std::int32_t>("o/labels.npy");
  const auto centroids = NpyMatrix(folder_ / "o" / "centroids.npy").read_all(), unit = unit_rows(rows, 4);
  std::vector<double> sums(k * d), sizes(k);
  double inertia = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto own = static_cast<std::size_t>(labels[i]);
    EXPECT_EQ(labels[i], nearest(centroids, d, &unit[d * i], 1)[0]);
    ++sizes[own];
    double cosine = 0;
    for (std::size_t c = 0; c < d; ++c) {
      cosine += double{unit[d * i + c]} * centroids[d * own + c];
      sums[d * own + c] += unit[d * i + c];
    }
    inertia += 1 - cosine;
  }
  EXPECT_TRUE(result("o")["converged"].get<bool>());
  EXPECT_NEAR(result("o")["inertia"].get<double>(), inertia, 1e-6 * 5000);
  for (std::size_t j = 0; j < k; ++j) {  // a fixed point: the direction of the mean of its rows
    EXPECT_EQ(result("o")["sizes"][j], sizes[j]);
    double length = 0;
    for (std::size_t c = 0; c < d; ++c) length += sums[d * j + c] * sums[d * j + c];
    for (std::size_t c = 0; c < d; ++c) EXPECT_NEAR(centroids[d * j + c], sums[d * j + c] / std::sqrt(length), 1e-6);
  }
  // Opposite rows have no mean direction: the centroid stays what it was.
  write_npy<float>("opposite.npy", {2, 0, -3, 0}, {2, 2});
  good({"kmeans", "--data", "opposite.npy", "--clusters", "1", "--metric", "cosine", "--out", "one"});
  const auto one = NpyMatrix(folder_ / "one" / "centroids.npy").read_all();
  EXPECT_EQ(std::abs(one[0]), 1);
  EXPECT_EQ(one[1], 0);
  EXPECT_EQ(result("one")["inertia"], 2.0);
  // A start from a file may have any length, and shards of an assignment say the same.
  auto longer = centroids;
  for (float& value : longer) value *= 4;
  write_npy<float>("c.npy", longer, {6, 4});
  const Words again = {"kmeans", "--data", "x.npy", "--clusters",       "6", "--metric",
                       "cosine", "--init", "c.npy", "--max-iterations", "0", "--out"};
  const auto with = [&](Words more) {
    Words words = again;
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  good(with({"once"}));
  for (const char* shard : {"1/2", "2/2"}) good(with({"shards", "--shard", shard}));
  good({"merge", "shards"});
  for (const char* folder : {"once", "shards"}) {
    EXPECT_EQ(npy_values<std::int32_t>(fs::path(folder) / "labels.npy"), labels) << folder;
    EXPECT_NEAR(result(folder)["inertia"].get<double>(), inertia, 1e-6 * 5000) << folder;
    EXPECT_EQ(result(folder)["sizes"], result("o")["sizes"]) << folder;
  }
}

TEST_F(Program, OfSeveralStartsTheBestIsKept) {
  write_npy<float>("x.npy", test::uniform_floats(3 * 500, 4), {500, 3});
  const auto kmeans = [&](const std::string& seed, const std::string& restarts, const std::string& out) {
    return good({"kmeans", "--data", "x.npy", "--clusters", "9", "--seed", seed, "--restarts", restarts, "--out", out});
  };
  std::vector<nlohmann::json> alone;
  for (const char* seed : {"3", "4", "5", "6", "7"}) {
    kmeans(seed, "1", seed);
    alone.push_back(result(seed));
  }
  const std::string said = kmeans("3", "5", "best");
  const auto best = std::min_element(alone.begin(), alone.end(), [](const auto& a, const auto& b) {
    return a["inertia"].template get<double>() < b["inertia"].template get<double>();
  });
  ASSERT_NE(best + 1, alone.end()) << "the last start is no test of one before it";
  const std::string seed = std::to_string((*best)["seed"].get<int>());
  double worst = 0;
  for (const auto& one : alone) worst = std::max(worst, one["inertia"].get<double>());
  EXPECT_NE(said.find(fmt::format("the best of 5 starts is that of seed {}; the worst came to {:.9g}, {:.2g} % more\n",
                                  seed, worst, 100 * (worst / (*best)["inertia"].get<double>() - 1))),
            std::string::npos)
      << said;
  for (const char* file : {"labels.npy", "centroids.npy"}) {
    EXPECT_EQ(read_file(folder_ / "best" / file), read_file(folder_ / seed / file)) << file;
  }
  const auto found = result("best");
  for (const char* key : {"inertia", "iterations", "converged", "sizes", "empty"}) EXPECT_EQ(found[key], (*best)[key]);
  for (std::size_t i = 0; i < alone.size(); ++i) {
    EXPECT_EQ(found["restarts"][i]["inertia"], alone[i]["inertia"]);
    EXPECT_EQ(found["restarts"][i]["seed"], 3 + i);
  }
  std::vector<int> sizes(9);
  for (const int label : npy_values<std::int32_t>("best/labels.npy")) ++sizes[static_cast<std::size_t>(label)];
  EXPECT_EQ(found["sizes"], sizes);
  EXPECT_NE(said.find(fmt::format("rows of each: {}\n", fmt::join(sizes, ", "))), std::string::npos) << said;
  write_npy<float>("c.npy", test::uniform_floats(27, 4), {9, 3});
  bad({"kmeans", "--data", "x.npy", "--clusters", "9", "--init", "c.npy", "--restarts", "2", "--out", "out"}, 2,
      "--restarts 2: --init c.npy is one start");
}

// Stopped in a start after the first, at whatever iteration: what the first came to is not lost. There are so many starts
// that a signal always meets one of them, whenever it comes; as few as were begun, and one more, make the whole of it.
TEST_F(Program, AStoppedFitGoesOnInItsStart) {
  write_npy<float>("x.npy", test::uniform_floats(8 * 6000, 4), {6000, 8});
  for (const std::string metric : {"l2", "cosine"}) {
    const auto into = [&](const std::string& folder, const std::string& restarts) {
      return Words{"kmeans",
                   "--data",
                   "x.npy",
                   "--clusters",
                   "40",
                   "--tolerance",
                   "0",
                   "--max-iterations",
                   "12",
                   "--restarts",
                   restarts,
                   "--metric",
                   metric,
                   "--checkpoint-every",
                   "0",
                   "--out",
                   metric + folder,
                   "--quiet"};
    };
    const fs::path got = folder_ / (metric + "got"), want = folder_ / (metric + "want");
    const auto starts_done = [&] {
      const std::string text = read_file(got / "checkpoint");
      const auto head = nlohmann::json::parse(text.substr(0, text.find('\n')), nullptr, false);
      return head.is_object() ? head["done"].size() : 0;
    };
    fs::create_directory(got);
    const Watch watch(got);
    const pid_t fit = start(into("got", "100000"));
    while (starts_done() == 0 && watch.changed(fit)) continue;
    ::kill(fit, SIGTERM);
    ASSERT_EQ(finish(fit).code, 75);
    const std::string few = std::to_string(starts_done() + 2);
    good(into("got", few));
    good(into("want", few));
    EXPECT_GT(result(got)["resumed_after"], 12);
    for (const char* file : {"labels.npy", "centroids.npy"})
      EXPECT_EQ(read_file(got / file), read_file(want / file)) << file;
    EXPECT_EQ(result(got)["restarts"], result(want)["restarts"]);
    EXPECT_FALSE(fs::exists(got / "checkpoint"));
  }
}

// By a clock that goes on by a second whenever it is looked at: no start takes ten of them, and all together do.
TEST_F(Program, CheckpointsComeDueHoweverShortTheStarts) {
  write_npy<float>("x.npy", test::uniform_floats(8 * 600, 4), {600, 8});
  CLI::App program;
  const Command kmeans = add_kmeans(program);
  program.parse(fmt::format("kmeans --data {0}/x.npy --out {0}/out --clusters 9 --tolerance 0 --restarts 8 "
                            "--max-iterations 3 --checkpoint-every 10s",
                            folder_.string()),
                false);
  double now = 0;
  const Common common;
  Context context(cpu_backend(), 0, 1);
  bool written = false;
  context.progress = [&](std::int64_t, std::int64_t) { written |= fs::exists(folder_ / "out/checkpoint"); };
  Progress progress(true, {}, [&now] { return ++now; });
  Session session{common, context, progress};
  kmeans.run(session);
  EXPECT_TRUE(written);
}

TEST_F(Program, KmeansFindsTheClusters) {
  // Three tight clouds far apart, by turns.
  std::vector<float> points = test::uniform_floats(2 * 300, 3, -0.1F, 0.1F);
  for (std::size_t i = 0; i < 300; ++i) points[2 * i] += 10 * static_cast<float>(i % 3);
  write_npy<float>("x.npy", points, {300, 2});
  write_npy<float>("start.npy", {0, 0, 10, 0, 20, 0}, {3, 2});
  for (const std::string init : {"start.npy", "k-means++"}) {
    const std::string summary = good({"kmeans", "--data", "x.npy", "--clusters", "3", "--init", init, "--out", "o"});
    EXPECT_NE(summary.find("seed 0"), std::string::npos);
    const auto labels = npy_values<std::int32_t>("o/labels.npy");
    const auto centroids = NpyMatrix(folder_ / "o" / "centroids.npy").read_all();
    ASSERT_EQ(labels.size(), 300U);
    ASSERT_EQ(centroids.size(), 6U);
    double inertia = 0;
    for (std::size_t i = 0; i < 300; ++i) {
      ASSERT_EQ(labels[i], labels[i % 3]);
      const auto centroid = static_cast<std::size_t>(labels[i]);
      for (std::size_t c = 0; c < 2; ++c)
        inertia += std::pow(double{points[2 * i + c]} - centroids[2 * centroid + c], 2);
    }
    const auto document = result("o");
    EXPECT_NEAR(document["inertia"].get<double>(), inertia, 1e-5 * inertia);
    EXPECT_TRUE(document["converged"].get<bool>());
    EXPECT_GE(document["iterations"].get<int>(), 1);
    EXPECT_EQ(document["repaired"], 0);
    EXPECT_TRUE(document["pairs_in_full"].is_null()) << "two features";
    EXPECT_EQ(document["empty"], 0);
    EXPECT_EQ(document["init"], init);
  }
  // Of rows that are equal no more clusters can be made than there are different ones.
  write_npy<float>("three.npy", {0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1}, {6, 2});
  EXPECT_NE(good({"kmeans", "--data", "three.npy", "--clusters", "5", "--out", "e"}).find("2 clusters are empty"),
            std::string::npos);
  EXPECT_EQ(result("e")["empty"], 2);
  // No iteration: the centroids are the start, k different rows of the data.
  good({"kmeans", "--data", "x.npy", "--clusters", "300", "--init", "random", "--max-iterations", "0", "--out", "o"});
  auto rows = NpyMatrix(folder_ / "o" / "centroids.npy").read_all();
  const auto pairs = [](const std::vector<float>& values) {
    std::vector<std::pair<float, float>> sorted;
    for (std::size_t i = 0; i < values.size(); i += 2) sorted.emplace_back(values[i], values[i + 1]);
    std::sort(sorted.begin(), sorted.end());
    return sorted;
  };
  EXPECT_EQ(pairs(rows), pairs(points));
  EXPECT_FALSE(test::same_bits(rows, points));
}

TEST_F(Program, KnnBoundaryIsTheVoteOfTheNearest) {
  // Four classes named by words, far from the origin.
  std::vector<float> points = test::uniform_floats(2 * 80, 5, 100, 103);
  std::string csv = "east,north,kind\r\n";
  const char* names[] = {"fir", "oak", "ash", "elm"};  // numbered ash, elm, fir, oak
  const std::uint8_t numbers[] = {2, 3, 0, 1};
  std::vector<std::uint8_t> labels;
  for (std::size_t i = 0; i < 80; ++i) {
    char line[100];
    std::snprintf(line, sizeof line, "%.9g,\"%.9g\",%s\r\n", points[2 * i], points[2 * i + 1], names[i % 4]);
    csv += line;
    labels.push_back(numbers[i % 4]);
  }
  write_text(folder_ / "p.csv", csv);
  const std::string text =
      good({"boundary", "--data", "p.csv", "--k", "5", "--grid", "33", "--extent", "100,104,99,103", "--out", "o"});
  EXPECT_NE(text.find("(each point is its own nearest neighbour)"), std::string::npos) << text;
  const auto map = npy_values<std::uint8_t>("o/labels.npy");
  ASSERT_EQ(map.size(), 33U * 33U);
  for (std::size_t row = 0; row < 33; ++row) {
    for (std::size_t column = 0; column < 33; ++column) {
      const float step = 4.0F / 33;
      const float at[2] = {std::fma(static_cast<float>(column) + 0.5F, step, 100.0F),
                           std::fma(static_cast<float>(row) + 0.5F, step, 99.0F)};
      int votes[4] = {};
      for (const int i : nearest(points, 2, at, 5)) ++votes[labels[static_cast<std::size_t>(i)]];
      ASSERT_EQ(map[row * 33 + column], std::max_element(votes, votes + 4) - votes) << row << " " << column;
    }
  }
  int wrong = 0;
  for (std::size_t i = 0; i < 80; ++i) {
    int votes[4] = {};
    for (const int j : nearest(points, 2, &points[2 * i], 5)) ++votes[labels[static_cast<std::size_t>(j)]];
    wrong += std::max_element(votes, votes + 4) - votes != labels[i];
  }
  const auto document = result("o");
  EXPECT_EQ(document["train_error"].get<double>(), wrong / 80.0);
  EXPECT_EQ(document["extent"], (nlohmann::json{{"x_min", 100}, {"x_max", 104}, {"y_min", 99}, {"y_max", 103}}));
  EXPECT_EQ(document["classes"][0]["name"], "ash");
  EXPECT_EQ(document["classes"][3]["points"], 20);
  double area = 0;
  for (const auto& entry : document["classes"]) area += entry["area"].get<double>();
  EXPECT_NEAR(area, 1, 1e-12);
}

TEST_F(Program, ThePictureIsTheMapWithTheLargestYOnTop) {
  // One class above the other; points small against the picture.
  write_text(folder_ / "p.csv", "-0.5,1,1\n0.5,1,1\n-0.5,-1,0\n0.5,-1,0\n");
  good({"boundary", "--data", "p.csv", "--k", "1", "--grid", "200", "--extent", "-1,1,-2,2", "--out", "o"});
  const auto map = npy_values<std::uint8_t>("o/labels.npy");
  ASSERT_EQ(map.size(), 200U * 200U);
  EXPECT_EQ(map.front(), 0);  // row 0 at the smallest y
  EXPECT_EQ(map.back(), 1);
  const std::string png = read_file(folder_ / "o" / "boundary.png");
  ASSERT_GT(png.size(), 33U);
  // The same picture made here, from the map turned over.
  ClassPicture picture(2, 200);
  const std::vector<float> points = {-0.5F, 1, 0.5F, 1, -0.5F, -1, 0.5F, -1};
  const std::vector<std::uint8_t> labels = {1, 1, 0, 0};
  picture.set_points(points, labels, -1, 1, -2, 2);
  std::vector<std::uint8_t> pixels;
  for (std::size_t row = 200; row-- > 0;)
    pixels.insert(pixels.end(), map.begin() + 200 * row, map.begin() + 200 * (row + 1));
  picture.paint(pixels, 0);
  EXPECT_EQ(pixels.front(), 1);
  PngWriter writer(folder_ / "want.png", 200, 200, picture.palette());
  for (std::size_t row = 0; row < 200; ++row) writer.write_row(std::span(pixels).subspan(200 * row, 200));
  writer.commit();
  EXPECT_TRUE(png == read_file(folder_ / "want.png"));
}

TEST_F(Program, TheExtentIsTheDataAndAMargin) {
  write_text(folder_ / "p.csv", "0,10,0\n20,10,1\n10,10,1\n");
  good({"boundary", "--data", "p.csv", "--k", "1", "--grid", "9", "--out", "o"});
  EXPECT_EQ(result("o")["extent"], (nlohmann::json{{"x_min", -1}, {"x_max", 21}, {"y_min", 0}, {"y_max", 20}}));
}

TEST_F(Program, NetworksLearnDataOfAnyScaleAndOffset) {
  // Two and four quadrants, at an offset and in units that would stop a network that saw them raw.
  for (const int classes : {2, 4}) {
    std::string csv;
    const auto draws = test::uniform_floats(1200, 9);
    for (std::size_t i = 0; i < 600; ++i) {
      const float x = draws[2 * i], y = draws[2 * i + 1];
      const int label = classes == 2 ? (x > 0) != (y > 0) : 2 * (y > 0) + (x > 0);
      csv +=
          std::to_string(5000 + 300 * x) + "," + std::to_string(-80000 + 20 * y) + "," + std::to_string(label) + "\n";
    }
    write_text(folder_ / "p.csv", csv);
    for (const std::string encoding : {"xy", "polar-trig"}) {
      good({"boundary",
            "--data",
            "p.csv",
            "--model",
            "mlp",
            "--encoding",
            encoding,
            "--epochs",
            "100",
            "--width",
            "32",
            "--hidden-layers",
            "2",
            "--grid",
            "64",
            "--extent",
            "4700,5300,-80020,-79980",
            "--seed",
            "3",
            "--out",
            "o"});
      const auto document = result("o");
      EXPECT_LT(document["train_error"].get<double>(), 0.03) << classes << " " << encoding;
      EXPECT_EQ(document["model"]["outputs"], classes == 2 ? 1 : 4);
      const auto map = npy_values<std::uint8_t>("o/labels.npy");
      ASSERT_EQ(map.size(), 64U * 64U);
      int wrong = 0;
      for (int row = 0; row < 64; ++row) {
        for (int column = 0; column < 64; ++column) {
          const int label = classes == 2 ? (column >= 32) != (row >= 32) : 2 * (row >= 32) + (column >= 32);
          wrong += map[static_cast<std::size_t>(row * 64 + column)] != label;
        }
      }
      EXPECT_LT(wrong, 0.08 * 64 * 64) << classes << " " << encoding;
    }
  }
}

TEST_F(Program, EveryNetworkOptionIsTakenAndTold) {
  good({"dataset", "--n", "200", "--out", "p.csv"});
  good({"boundary",
        "--data",
        "p.csv",
        "--model",
        "mlp",
        "--encoding",
        "polar",
        "--width",
        "16",
        "--hidden-layers",
        "2",
        "--epochs",
        "5",
        "--batch-size",
        "32",
        "--learning-rate",
        "0.01",
        "--focal",
        "2",
        "--layer-norm",
        "--weight-decay",
        "0.01",
        "--activation",
        "tanh",
        "--schedule",
        "constant",
        "--grid",
        "16",
        "--out",
        "o"});
  auto model = result("o")["model"];
  EXPECT_TRUE(model["final_loss"].is_number());
  model.erase("final_loss");
  EXPECT_EQ(model, (nlohmann::json{{"name", "mlp"},
                                   {"encoding", "polar"},
                                   {"width", 16},
                                   {"layers", 2},
                                   {"outputs", 1},
                                   {"activation", "tanh"},
                                   {"layer_norm", true},
                                   {"focal", 2.0},
                                   {"epochs", 5},
                                   {"batch_size", 32},
                                   {"precision", "fp32"},
                                   {"learning_rate", 0.01},
                                   {"schedule", "constant"},
                                   {"weight_decay", 0.01},
                                   {"parameters", 2 * 16 + 48 + 16 * 16 + 48 + 17}}));
}

TEST_F(Program, ConfigFilesFillWhatTheCommandLineLeavesOpen) {
  write_text(folder_ / "p.csv", "0,0,0\n1,1,1\n");
  write_text(folder_ / "c.json", R"({"k": 2, "grid": 12, "extent": [-1, 1, "-2", 2], "json": true, "quiet": false})");
  const auto document =
      nlohmann::json::parse(good({"boundary", "--data", "p.csv", "--grid", "7", "--out", "o", "--config", "c.json"}));
  EXPECT_EQ(document["grid"], 7);
  EXPECT_EQ(document["model"]["k"], 2);
  EXPECT_EQ(document["extent"]["y_min"], -2);
  nlohmann::json stored = result("o");
  EXPECT_EQ(stored, document);
}

TEST_F(Program, TheSameBitsEveryTimeOnAnyNumberOfThreads) {
  good({"dataset", "--n", "400", "--seed", "2", "--out", "p.csv"});
  write_npy<float>("x.npy", test::uniform_floats(5 * 700, 4), {700, 5});
  const std::vector<std::pair<Words, Words>> commands = {
      {{"boundary", "--data", "p.csv", "--k", "3", "--grid", "150"}, {"labels.npy", "boundary.png"}},
      {{"boundary", "--data", "p.csv", "--model", "mlp", "--epochs", "20", "--grid", "150"},
       {"labels.npy", "boundary.png"}},
      {{"knn", "--data", "x.npy", "--queries", "x.npy", "--k", "9"}, {"indices.npy", "distances.npy"}},
      {{"kmeans", "--data", "x.npy", "--clusters", "11", "--init", "random"}, {"centroids.npy", "labels.npy"}}};
  for (const auto& [words, files] : commands) {
    int number = 0;
    for (const char* threads : {"1", "1", "2", "3"}) {
      Words all = words;
      const std::string out = fmt::format("o{}", number++);
      all.insert(all.end(), {"--threads", threads, "--out", out});
      good(all);
      for (const std::string& file : files) {
        const std::string bytes = read_file(folder_ / out / file);
        EXPECT_GT(bytes.size(), 64U);
        EXPECT_TRUE(bytes == read_file(folder_ / "o0" / file))
            << words[0] << " " << file << " " << threads << " threads";
      }
    }
  }
}

TEST_F(Program, LargeMapsAreMadeInBandsWithoutASeam) {
  // More cells than a band holds (2^26), in far less memory than map, copy and picture would take together.
  write_text(folder_ / "p.csv", "-1,-1,0\n1,-1,1\n-1,1,1\n1,1,0\n0.3,0.2,1\n");
  const Finished finished =
      run({"boundary", "--data", "p.csv", "--k", "1", "--grid", "9000", "--extent", "-2,2,-2,2", "--out", "o"});
  EXPECT_EQ(finished.code, 0) << finished.err;
#if !defined(__SANITIZE_ADDRESS__)
  EXPECT_LT(finished.peak_kilobytes, 300000);
#endif
  const auto map = npy_values<std::uint8_t>("o/labels.npy");
  ASSERT_EQ(map.size(), 9000U * 9000U);
  const std::vector<float> points = {-1, -1, 1, -1, -1, 1, 1, 1, 0.3F, 0.2F};
  const std::uint8_t labels[] = {0, 1, 1, 0, 1};
  for (std::uint64_t draw = 0; draw < 20000; ++draw) {
    // Half of the draws within a row of the seam, which lies 2^26 / 9000 rows below the top.
    const std::int64_t seam = 9000 - (std::int64_t{1} << 26) / 9000;
    const std::int64_t row =
        draw % 2 == 0 ? test::uniform_int(1, 2 * draw, 0, 8999) : test::uniform_int(1, 2 * draw, seam - 1, seam);
    const std::int64_t column = test::uniform_int(1, 2 * draw + 1, 0, 8999);
    const float step = 4.0F / 9000;
    const float at[2] = {std::fma(static_cast<float>(column) + 0.5F, step, -2.0F),
                         std::fma(static_cast<float>(row) + 0.5F, step, -2.0F)};
    ASSERT_EQ(map[static_cast<std::size_t>(row * 9000 + column)],
              labels[static_cast<std::size_t>(nearest(points, 2, at, 1)[0])]);
  }
}

}  // namespace
}  // namespace scalelab::host
