// The script that `slurm` prints, run as Slurm would by programs that stand in for sbatch and scontrol. A real Slurm runs
// it in .ci/slurm.sh.
#include "tests/program.h"

namespace scalelab::host {
namespace {

class Slurm : public Program {
 protected:
  Slurm() {
    write_text(folder_ / "my sweep.json",
               R"({"title": "t", "grids": [{"model": "knn-1", "n": [50, 100], "samples": 1000, "seeds": "0..3"}]})");
    // sbatch leaves what it was given in job-1, job-2; scontrol says what it was asked.
    tool("sbatch", "n=$(ls job-* 2>/dev/null | wc -l)\necho \"$@\" >>asked\ncat >job-$((n + 1))\necho 4$n\n");
    tool("scontrol", "echo \"$@\" >>asked\n");
  }
  void tool(const std::string& name, const std::string& body) const {
    write_text(folder_ / name, "#!/bin/bash\n" + body);
    fs::permissions(folder_ / name, fs::perms::owner_all);
  }
  int shell(const std::string& line) const {
    const std::string all = "cd '" + folder_.string() + "' && PATH=\"$PWD:$PATH\" && export PATH && " + line;
    const int status = std::system(all.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
  }
  void submit(const Words& more = {}) const {
    Words words = {"slurm", "my sweep.json", "--tasks", "3"};
    words.insert(words.end(), more.begin(), more.end());
    write_text(folder_ / "script", good(words));
    ASSERT_EQ(shell("sh script >/dev/null"), 0);
  }
};

TEST_F(Slurm, TheTasksDoTheSweepAndTheLastJobMakesItsReport) {
  submit({"--time", "90m", "--gpus-per-task", "1", "--cpus-per-task", "4"});
  const std::string array = read_file(folder_ / "job-1"), merge = read_file(folder_ / "job-2");
  for (const char* line : {"--array=1-3\n", "--time=01:30:00\n", "--signal=B:USR1@120\n", "--requeue\n",
                           "--gpus-per-task=1\n", "--cpus-per-task=4\n", "--job-name=my-sweep\n"}) {
    EXPECT_NE(array.find("#SBATCH " + std::string(line)), std::string::npos) << line << array;
  }
  for (const char* line : {"--time=01:30:00\n", "--signal=B:USR1@120\n", "--job-name=my-sweep-merge\n"}) {
    EXPECT_NE(merge.find("#SBATCH " + std::string(line)), std::string::npos) << line << merge;
  }
  EXPECT_EQ(merge.find("--array"), std::string::npos);
  EXPECT_NE(read_file(folder_ / "asked").find("--dependency=afterany:40"), std::string::npos);
  for (const char* task : {"2", "1", "3"}) {
    ASSERT_EQ(shell(std::string("SLURM_ARRAY_JOB_ID=40 SLURM_ARRAY_TASK_ID=") + task + " bash job-1 >out 2>&1"), 0)
        << read_file(folder_ / "out");
  }
  ASSERT_EQ(shell("bash job-2 >/dev/null 2>&1"), 0);
  good({"sweep", "my sweep.json", "--out", "want", "--quiet"});
  const auto rows = [&](const std::string& folder) {
    nlohmann::json all = result(folder)["rows"];
    for (auto& row : all) row.erase("seconds");
    return all;
  };
  EXPECT_EQ(rows("my sweep").size(), 8U);
  EXPECT_EQ(rows("my sweep"), rows("want"));
}

// A program that stands in for this one waits for the signal, and is given it once it says that it is there.
TEST_F(Slurm, ASignalIsHandedOnAndWhatIsNotFinishedQueuesAgain) {
  submit();
  std::string array = read_file(folder_ / "job-1");
  const std::size_t at = array.find(test::program());
  ASSERT_NE(at, std::string::npos) << array;
  array.replace(at, std::string(test::program()).size(), (folder_ / "stand-in").string());
  write_text(folder_ / "job-1", array);
  const std::string waits = "while :; do :; done\n";  // between any two commands bash hears a signal
  tool("stand-in", "trap 'echo heard >>heard; exit 75' USR1\nkill -USR1 $PPID\n" + waits);
  EXPECT_EQ(shell("SLURM_JOB_ID=42 SLURM_ARRAY_JOB_ID=40 SLURM_ARRAY_TASK_ID=2 bash job-1"), 75);
  EXPECT_EQ(read_file(folder_ / "heard"), "heard\n");
  EXPECT_NE(read_file(folder_ / "asked").find("requeue 40_2\n"), std::string::npos);
  tool("stand-in", "exit 3\n");
  EXPECT_EQ(shell("SLURM_JOB_ID=41 SLURM_ARRAY_JOB_ID=40 SLURM_ARRAY_TASK_ID=1 bash job-1"), 3);
  // A job that is cancelled: both hear it, and nobody asks for another run of it.
  tool("stand-in", "trap 'echo twice >>heard' USR1\ntrap 'exit 75' TERM\nkill -TERM $PPID $$\n" + waits);
  EXPECT_EQ(shell("SLURM_JOB_ID=41 SLURM_ARRAY_JOB_ID=40 SLURM_ARRAY_TASK_ID=1 bash job-1"), 143);
  EXPECT_EQ(read_file(folder_ / "heard"), "heard\n");
  EXPECT_EQ(read_file(folder_ / "asked").find("requeue 40_1"), std::string::npos);
}

TEST_F(Slurm, BadInput) {
  bad({"slurm", "none.json", "--tasks", "3"}, 3, "none.json: cannot be read");
  bad({"slurm", "my sweep.json", "--tasks", "0"}, 2, "--tasks");
  bad({"slurm", "my sweep.json", "--tasks", "2", "--time", "4m"}, 2,
      "--time: 240 s is too short: 120 of them are kept to leave what there is; give 5m or more");
  bad({"slurm", "my sweep.json", "--tasks", "2", "--time", "soon"}, 2, "'soon' is not a time, as 90, 90s, 55m or 2h");
}

}  // namespace
}  // namespace scalelab::host
