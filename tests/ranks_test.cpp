// What ranks agree on before each does its share, with threads in the place of processes.
#include "host/program/ranks.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "host/data/npy.h"

namespace scalelab::host {
namespace {

// The lines that each of `size` ranks ends with.
std::vector<std::string> ends(int size, const std::function<void(Communicator&)>& body) {
  std::vector<std::string> lines(static_cast<std::size_t>(size));
  run_on_ranks(size, [&](Communicator& ranks) {
    try {
      body(ranks);
    } catch (const SharedFailure& failure) {
      lines[static_cast<std::size_t>(ranks.rank())] = std::to_string(failure.exit_code) + " " + failure.what();
    }
  });
  return lines;
}

TEST(Ranks, AFailureOfOneIsThrownByAll) {
  const auto one = [](Communicator& ranks) {
    on_all(ranks, [&] {
      if (ranks.rank() == 2) throw Failure(kBadData, "x.npy: is gone");
    });
  };
  EXPECT_EQ(ends(4, one), std::vector<std::string>(4, "3 rank 2 of 4: x.npy: is gone"));
  const auto all = [](Communicator& ranks) {
    on_all(ranks, [&] { throw std::invalid_argument("no rows " + std::to_string(ranks.rank())); });
  };
  EXPECT_EQ(ends(3, all), std::vector<std::string>(3, "2 no rows 0"));
  EXPECT_EQ(ends(3, [](Communicator& ranks) { on_all(ranks, [] {}); }), std::vector<std::string>(3));
  Communicator alone;
  EXPECT_THROW(on_all(alone, [] { throw std::domain_error("as it is"); }), std::domain_error);
}

TEST(Ranks, WhatDiffersIsNamed) {
  const auto differs = [](Communicator& ranks) {
    require_equal(ranks, {{"the year", "2026"}, {"the version", ranks.rank() == 1 ? "0.3" : "0.2"}});
  };
  EXPECT_EQ(ends(3, differs),
            std::vector<std::string>(3, "2 rank 1 of 3: the version differs from that of rank 0: '0.3', not '0.2'"));
  EXPECT_EQ(ends(2,
                 [](Communicator& ranks) {
                   require_equal(ranks, {{"a", ""}, {"b", "x"}});
                 }),
            std::vector<std::string>(2));
}

TEST(Ranks, SharesAreWholeBlocksAndCoverAllRows) {
  for (const std::int64_t n : {1, 4095, 4096, 4097, 100000}) {
    for (const int size : {1, 2, 3, 7, 64}) {
      std::int64_t next = 0;
      for (int rank = 0; rank < size; ++rank) {
        const Share share = share_of(n, 4096, rank, size);
        EXPECT_EQ(share.first, next);
        if (share.count > 0) {
          EXPECT_EQ(share.first % 4096, 0);
        }
        EXPECT_LE(share.count, (n / 4096 / size + 2) * 4096);
        next += share.count;
      }
      EXPECT_EQ(next, n);
    }
  }
}

TEST(Ranks, TheLaunchersAreKnownByTheirVariables) {
  const std::vector<std::string> names = {
      "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE", "PMIX_RANK",
      "SLURM_PROCID",         "SLURM_STEP_NUM_TASKS"};
  const auto launch = [&](const std::vector<std::pair<std::string, std::string>>& set) {
    for (const std::string& name : names) ::unsetenv(name.c_str());
    for (const auto& [name, value] : set) ::setenv(name.c_str(), value.c_str(), 1);
    const Launch found = find_launch();
    for (const std::string& name : names) ::unsetenv(name.c_str());
    return std::vector<int>{found.rank, found.size, found.mpi};
  };
  EXPECT_EQ(launch({}), (std::vector{0, 1, 0}));
  EXPECT_EQ(launch({{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "3"}}), (std::vector{2, 3, 1}));
  EXPECT_EQ(launch({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"SLURM_PROCID", "1"}, {"SLURM_STEP_NUM_TASKS", "2"}}),
            (std::vector{1, 2, 1}));
  EXPECT_EQ(launch({{"PMIX_RANK", "0"}, {"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "5"}}), (std::vector{0, 5, 1}));
  EXPECT_EQ(launch({{"SLURM_PROCID", "4"}, {"SLURM_STEP_NUM_TASKS", "5"}}), (std::vector{4, 5, 0}));
  EXPECT_EQ(launch({{"SLURM_PROCID", "0"}}), (std::vector{0, 1, 0})) << "a batch script is no step";
}

TEST(Ranks, RangesOfFeaturesAreThoseOfAllRows) {
  std::atomic<int> refused{0};
  run_on_ranks(3, [&](Communicator& ranks) {
    FeatureRanges ranges(2);
    if (ranks.rank() == 0) ranges.add(std::vector<float>{-1e19F, 1, 5, 1});
    if (ranks.rank() == 2) ranges.add(std::vector<float>{1e19F, -2});
    if (ranks.rank() != 1) ranges.require_near("own rows are fine");  // rank 1 has none
    ranges.add_those_of(ranks);
    try {
      ranges.require_near("x.npy");
    } catch (const Failure&) {
      ++refused;
    }
  });
  EXPECT_EQ(refused, 3);
}

}  // namespace
}  // namespace scalelab::host
