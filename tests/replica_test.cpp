// The replica prediction against independently computed errors, limits in closed form, and its own symmetries.
#include "host/lab/replica.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace scalelab::host {
namespace {

constexpr double kDegree = 3.14159265358979323846 / 180;

struct Known {
  double alpha, fraction;
  Keep keep;
  double degrees, error, digits;  // `digits`: half a unit of the last digit known
};

class ReplicaTable : public testing::TestWithParam<Known> {};

TEST_P(ReplicaTable, GivesTheKnownError) {
  const Known& k = GetParam();
  EXPECT_NEAR(solve_replica({k.alpha, k.fraction, k.keep, k.degrees * kDegree}).error, k.error, k.digits);
}

constexpr double k5 = 0.51e-5, k4 = 0.51e-4;
constexpr Keep kHard = Keep::hard, kEasy = Keep::easy, kAll = Keep::random;
INSTANTIATE_TEST_SUITE_P(, ReplicaTable,
                         testing::Values(Known{0.5, 1, kAll, 0, .32885, k5}, Known{0.5, .8, kHard, 0, .37396, k5},
                                         Known{0.5, .1, kHard, 0, .49542, k5}, Known{0.5, .2, kEasy, 0, .33450, k5},
                                         Known{1, .5, kHard, 0, .40573, k5}, Known{1, .5, kEasy, 0, .25019, k5},
                                         Known{3, .8, kHard, 0, .14414, k5}, Known{3, .2, kHard, 0, .45470, k5},
                                         Known{5, 1, kAll, 0, .09383, k5}, Known{5, .5, kHard, 0, .09983, k5},
                                         Known{10, .2, kHard, 0, .09712, k5}, Known{10, .8, kEasy, 0, .04923, k5},
                                         Known{20, .1, kHard, 0, .07630, k5}, Known{20, .2, kHard, 0, .02502, k5},
                                         Known{20, .5, kEasy, 0, .02971, k5}, Known{100, 1, kAll, 0, .00500, k5},
                                         Known{100, .1, kHard, 0, .00500, k5}, Known{100, .5, kEasy, 0, .00622, k5},
                                         Known{100, .2, kEasy, 0, .01098, k5}, Known{20, .4, kHard, 10, .0251, k4},
                                         Known{20, .1, kHard, 10, .4186, k4}, Known{20, .2, kHard, 20, .1524, k4},
                                         Known{20, .8, kHard, 40, .0262, k4}, Known{20, .1, kHard, 40, .3142, k4}));

TEST(Replica, FullDataErrorFallsAsHalfOverAlpha) {
  EXPECT_NEAR(solve_replica({100, 1, kAll, 0}).error * 100, 0.5, 2e-3);
  EXPECT_NEAR(solve_replica({1000, 1, kAll, 0}).error * 1000, 0.5, 2e-3);
}

TEST(Replica, KeepingAllIsKeepingAtRandom) {
  const double all = solve_replica({4, 1, kAll, 0}).error;
  EXPECT_DOUBLE_EQ(solve_replica({4, 1, kHard, 0.3}).error, all);
  EXPECT_DOUBLE_EQ(solve_replica({8, 0.5, kAll, 0}).error, all);
}

TEST(Replica, SmallProbeAnglesJoinTheExactOne) {
  // Two formulas, one and two dimensional: the second must run into the first.
  const double exact = solve_replica({3, .5, kHard, 0}).error;
  EXPECT_NEAR(solve_replica({3, .5, kHard, 0.2 * kDegree}).error, exact, 3e-5);
}

TEST(Replica, HardBeginsToBeatRandomAtTheKnownSizes) {
  EXPECT_NEAR(crossover_with_random(.8, kHard), 1.41, 5.1e-3);
  EXPECT_NEAR(crossover_with_random(.5, kHard), 2.91, 5.1e-3);
  EXPECT_NEAR(crossover_with_random(.2, kHard), 8.80, 5.1e-3);
  EXPECT_NEAR(crossover_with_random(.1, kHard), 18.7, 5.1e-2);
  // Keeping the easy half is better than random everywhere, so there is no crossing.
  EXPECT_EQ(crossover_with_random(.5, kEasy), 0);        // at every size
  EXPECT_EQ(crossover_with_random(.5, kAll), HUGE_VAL);  // the same: at none
}

TEST(Replica, RefusesWhatIsOutOfRange) {
  for (const Perceptron& bad : std::vector<Perceptron>{{0, 1, kAll, 0},
                                                       {-1, 1, kAll, 0},
                                                       {1, 0, kHard, 0},
                                                       {1, 1.1, kHard, 0},
                                                       {1, .5, kHard, 1.6},
                                                       {1, .5, kHard, -.1},
                                                       {NAN, 1, kAll, 0}}) {
    EXPECT_THROW(solve_replica(bad), std::invalid_argument);
  }
}

}  // namespace
}  // namespace scalelab::host
