// k-means by processes that mpirun started: the same bytes for any number of them, also when one of them is killed and
// another number goes on; and one line, without waiting for anybody, when something is wrong. Built where MPI was found.
#include <signal.h>

#include <cctype>
#include <random>

#include "host/program/file_lock.h"
#include "tests/program.h"

namespace scalelab::host {
namespace {

class Mpi : public Program {
 protected:
  Mpi() {
    // More ranks than processors, as root, in a container.
    for (const auto& [name, value] :
         {std::pair{"OMPI_ALLOW_RUN_AS_ROOT", "1"}, std::pair{"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
          std::pair{"OMPI_MCA_rmaps_base_oversubscribe", "1"}, std::pair{"OMPI_MCA_hwloc_base_binding_policy", "none"},
          std::pair{"OMPI_MCA_btl_vader_single_copy_mechanism", "none"}, std::pair{"OMPI_MCA_mpi_yield_when_idle", "1"},
          std::pair{"OMPI_MCA_btl", "self,vader"}}) {
      ::setenv(name, value, 0);
    }
    std::mt19937 random(5);
    std::vector<float> points;
    for (std::int64_t i = 0; i < kRows * kFeatures; ++i)
      points.push_back(static_cast<float>(random() % 100000) * 1e-3F);
    write_npy("x.npy", points, {kRows, kFeatures});
  }

  static constexpr std::int64_t kRows = 3 * 4096 + 100, kFeatures = 5;

  pid_t start_shell(const std::string& line) const {
    const pid_t child = ::fork();
    if (child != 0) return child;
    if (::chdir(folder_.c_str()) != 0) ::_exit(99);
    ::dup2(::open("/dev/null", O_RDONLY), 0);
    ::dup2(::open(".out", O_WRONLY | O_CREAT | O_TRUNC, 0666), 1);
    ::dup2(::open(".err", O_WRONLY | O_CREAT | O_TRUNC, 0666), 2);
    const std::string command = "exec " + line;
    ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    ::_exit(99);
  }
  static std::string mpirun(int ranks, const std::string& words) {
    return std::string(test::kMpirun) + " -n " + std::to_string(ranks) + " " + test::program() + " " + words;
  }
  Finished shell(const std::string& line) const { return finish(start_shell(line)); }

  // The one line that the program says, for mpirun says more.
  static std::string said(const Finished& finished) {
    std::string lines;
    for (std::size_t at = 0; (at = finished.err.find("scalelab: ", at)) != std::string::npos; ++at) {
      if (at > 0 && finished.err[at - 1] != '\n') continue;
      lines += finished.err.substr(at, finished.err.find('\n', at) - at);
    }
    return lines;
  }
  void refused(const std::string& line, int code, const std::string& says) const {
    const Finished finished = shell(line);
    EXPECT_EQ(finished.code, code) << line << finished.err;
    EXPECT_EQ(said(finished), "scalelab: " + says) << line << finished.err;
    EXPECT_TRUE(nothing_in("out"));
  }

  void expect_same(const std::string& got, const std::string& want) const {
    for (const char* file : {"centroids.npy", "labels.npy"}) {
      EXPECT_EQ(read_file(folder_ / got / file), read_file(folder_ / want / file)) << got << " " << file;
      EXPECT_FALSE(read_file(folder_ / got / file).empty());
    }
    for (const char* key :
         {"clusters", "inertia", "iterations", "converged", "repaired", "empty", "sizes", "restarts"}) {
      EXPECT_EQ(result(got)[key], result(want)[key]) << got << " " << key;
    }
    EXPECT_FALSE(fs::exists(folder_ / got / "checkpoint"));
  }

  // Lines that begin with a folder's name: ranks say what was done once together.
  static std::ptrdiff_t said_of(const std::string& folder, const std::string& out) {
    std::ptrdiff_t lines = out.starts_with(folder + ": ") ? 1 : 0;
    for (std::size_t at = 0; (at = out.find("\n" + folder + ": ", at)) != std::string::npos; ++at) ++lines;
    return lines;
  }

  // Iterations of the start that a checkpoint holds, and how many starts are done; 0 where there is none.
  std::pair<int, int> left_in(const std::string& folder) const {
    const std::string text = read_file(folder_ / folder / "checkpoint");
    const auto head = nlohmann::json::parse(text.substr(0, text.find('\n')), nullptr, false);
    if (!head.is_object()) return {0, 0};
    return {head.value("iterations", 0), static_cast<int>(head["done"].size())};
  }

  // The ranks that mpirun has started, in no order.
  static std::vector<pid_t> children_of(pid_t parent) {
    std::vector<pid_t> found;
    for (const auto& entry : fs::directory_iterator("/proc")) {
      if (std::isdigit(static_cast<unsigned char>(entry.path().filename().string()[0])) == 0) continue;
      const std::string stat = read_file(entry.path() / "stat");
      const std::size_t name = stat.rfind(')');
      if (name == std::string::npos || stat.find("(scalelab)") == std::string::npos) continue;
      char state = 0;
      int of = 0;
      if (std::sscanf(stat.c_str() + name + 1, " %c %d", &state, &of) == 2 && of == parent)
        found.push_back(std::stoi(stat));
    }
    return found;
  }
};

constexpr const char* kFit =
    "kmeans --data x.npy --clusters 30 --tolerance 0 --max-iterations 60 --checkpoint-every 0 -o ";

TEST_F(Mpi, AnyNumberOfRanksWritesTheSameFiles) {
  for (const std::string start : {"--init k-means++ --clusters 30", "--init random --clusters 30 --restarts 3",
                                  "--metric cosine --clusters 30 --restarts 2", "--clusters auto --metric cosine"}) {
    const std::string words = "kmeans --data x.npy --max-iterations 9 " + start + " -o ";
    ASSERT_EQ(shell(test::program() + (" " + words) + "alone").code, 0);
    EXPECT_EQ(result("alone")["ranks"], 1);
    for (const int ranks : {1, 2, 3, 4}) {
      const Finished finished = shell(mpirun(ranks, words + "together"));
      ASSERT_EQ(finished.code, 0) << finished.err;
      EXPECT_EQ(said_of("together", finished.out), 1) << finished.out;
      EXPECT_EQ(result("together")["ranks"], ranks);
      expect_same("together", "alone");
    }
  }
}

TEST_F(Mpi, AnyNumberOfRanksKeepsTheSameRows) {
  for (const std::string score : {"kmeans", "kmeans-cosine", "random"}) {
    const std::string clusters = score == "kmeans" ? "auto" : "30";
    const std::string words = "prune --data x.npy --clusters " + clusters + " --score " + score +
                              " --near-duplicates 1e-4 --fraction 0.4 -o ";
    ASSERT_EQ(shell(test::program() + (" " + words) + "alone").code, 0);
    for (const int ranks : {2, 3}) {
      const Finished finished = shell(mpirun(ranks, words + "together"));
      ASSERT_EQ(finished.code, 0) << finished.err;
      EXPECT_EQ(result("together")["ranks"], ranks);
      for (const char* file : {"kept_ids.npy", "scores.npy", "removed.csv"}) {
        EXPECT_EQ(read_file(folder_ / "together" / file), read_file(folder_ / "alone" / file)) << score << " " << file;
      }
    }
  }
}

// Each kill meets ranks that are at work or wait for the folder, which is held: none can come to its end before.
TEST_F(Mpi, AKilledRankEndsAllAndAnotherNumberGoesOnToTheSameBits) {
  ASSERT_EQ(shell(std::string(test::program()) + " " + kFit + "want").code, 0);
  const auto before_last = result("want")["iterations"].get<unsigned>() - 1;
  std::mt19937 random(7);
  for (int kill = 0; kill < 10; ++kill) {
    const int ranks = 2 + kill % 3, moment = 1 + static_cast<int>(random() % before_last);
    fs::remove_all(folder_ / "got");
    fs::create_directory(folder_ / "got");
    auto publishing = lock_folder(folder_ / "got");
    const Watch watch(folder_ / "got");
    const pid_t run = start_shell(mpirun(ranks, std::string(kFit) + "got"));
    while (left_in("got").first < moment && watch.changed(run)) continue;
    const std::vector<pid_t> processes = children_of(run);
    ASSERT_EQ(processes.size(), static_cast<std::size_t>(ranks));
    const int left = left_in("got").first;
    ::kill(processes[random() % processes.size()], SIGKILL);
    const Finished killed = finish(run);
    EXPECT_NE(killed.code, 0);
    EXPECT_NE(killed.err.find("rank"), std::string::npos) << killed.err;
    EXPECT_FALSE(fs::exists(folder_ / "got/result.json"));
    publishing.reset();
    const Finished rest = shell(mpirun(1 + (ranks + 1) % 4, std::string(kFit) + "got"));
    ASSERT_EQ(rest.code, 0) << rest.err;
    EXPECT_GE(result("got")["resumed_after"], left);
    EXPECT_GE(left, moment);
    expect_same("got", "want");
  }
}

// Of work of hours, so that a signal always meets it; as few starts as were begun make the whole of it.
TEST_F(Mpi, ASignalToOneRankEndsAllAfterTheSameIteration) {
  fs::create_directory(folder_ / "got");
  const Watch watch(folder_ / "got");
  const pid_t run = start_shell(mpirun(3, std::string(kFit) + "got --restarts 100000"));
  while (!fs::exists(folder_ / "got/checkpoint") && watch.changed(run)) continue;
  const std::vector<pid_t> processes = children_of(run);
  ASSERT_EQ(processes.size(), 3U);
  ::kill(processes[1], SIGUSR1);
  const Finished stopped = finish(run);
  EXPECT_EQ(stopped.code, 75) << stopped.err;
  EXPECT_EQ(said(stopped).find("scalelab: stopped by a signal after "), 0U) << stopped.err;
  EXPECT_FALSE(fs::exists(folder_ / "got/result.json"));
  const std::string starts = " --restarts " + std::to_string(left_in("got").second + 1);
  ASSERT_EQ(shell(std::string(test::program()) + " " + kFit + "want" + starts).code, 0);
  ASSERT_EQ(shell(mpirun(2, std::string(kFit) + "got" + starts)).code, 0);
  EXPECT_GT(result("got")["resumed_after"], 0);
  expect_same("got", "want");
}

TEST_F(Mpi, WhatIsWrongIsSaidOnceAndNobodyWaits) {
  write_npy("few.npy", std::vector<float>{1, 2, 3, 4, 5, 6}, {3, 2});
  refused(mpirun(4, "kmeans --data few.npy --clusters 2 -o out"), 2, "few.npy: holds 3 rows for 4 ranks; start fewer");
  refused(mpirun(2, "kmeans --data none.npy --clusters 2 -o out"), 3,
          "none.npy: cannot be read: No such file or directory");
  refused(mpirun(2, "kmeans --data x.npy --clusters 2 --init few.npy -o out"), 3,
          "rank 0 of 2: few.npy: has shape (3, 2); --clusters 2 and the data's 5 features need (2, 5)");
  refused(mpirun(2, "knn --data x.npy --queries x.npy -o out"), 2,
          "2 processes were started together, but knn does not divide its work among them: start one, or each with a "
          "--shard where it has that");
  const std::string one = std::string(test::program()) + " kmeans --data x.npy -o out --clusters ";
  const std::string rest =
      " --init k-means++ --seed 0 --tolerance 0.0001 --metric l2 --max-iterations 300 --restarts 1'";
  refused(std::string(test::kMpirun) + " -n 1 " + one + "3 : -n 1 " + one + "4", 2,
          "rank 1 of 2: the command differs from that of rank 0: '--clusters 4" + rest + ", not '--clusters 3" + rest);
  const Finished unlike = shell(std::string(test::kMpirun) + " -n 1 " + test::program() +
                                " prune --data x.npy --fraction 0.5 -o out --clusters 3 : -n 1 " + test::program() +
                                " prune --data x.npy --fraction 0.5 -o out --clusters 4");
  EXPECT_EQ(unlike.code, 2) << unlike.err;
  EXPECT_EQ(said(unlike).find("scalelab: rank 1 of 2: the command differs from that of rank 0: "), 0U) << unlike.err;
  // A value that only the second rank reads.
  std::vector<float> points(8192 * 2, 1.0F);
  points[8000 * 2] = std::numeric_limits<float>::quiet_NaN();
  write_npy("nan.npy", points, {8192, 2});
  const Finished finished = shell(mpirun(2, "kmeans --data nan.npy --clusters 2 -o out"));
  EXPECT_EQ(finished.code, 3) << finished.err;
  EXPECT_EQ(said(finished).find("scalelab: rank 1 of 2: nan.npy: "), 0U) << finished.err;
}

TEST_F(Mpi, RanksThatSeeOtherFilesAreRefused) {
  fs::create_directory(folder_ / "other");
  std::vector<float> points(kRows * kFeatures, 1.0F);
  write_npy("other/x.npy", points, {kRows, kFeatures});
  const std::string words = std::string(" ") + test::program() + " kmeans --data x.npy --clusters 3 -o out";
  const Finished finished =
      shell(std::string(test::kMpirun) + " -n 1" + words + " : -n 1 sh -c 'cd other && exec" + words + "'");
  EXPECT_EQ(finished.code, 2) << finished.err;
  EXPECT_EQ(said(finished).find("scalelab: rank 1 of 2: x.npy differs from that of rank 0: '12388 rows of 5, "), 0U)
      << finished.err;
}

}  // namespace
}  // namespace scalelab::host
