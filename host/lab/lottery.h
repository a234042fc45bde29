// lottery: iterative magnitude pruning with rewinding, and the controls without which it says nothing.
//
// A chain begins with a dense network and goes down in levels. Level n keeps 0.8^n of the weights of the hidden layers
// (to the nearest weight): of those that level n - 1 kept, the ones that its training left largest in magnitude, over
// all hidden layers together, equal magnitudes by index. The output layer, biases and layer norm are never pruned.
//
//   dense        the whole network; level 0 alone
//   rewound      the ticket: the survivors back at their start, trained again
//   fine-tuned   a chain of its own: the survivors go on from their trained values, over the whole schedule again
//   dense-long   the dense network, trained on over the whole schedule as often as the fine-tuned one and never pruned
//   restarted    the rewound ticket's mask, at another start
//   random-mask  as many weights in each layer as the rewound ticket has there, chosen at random; at the chain's start
//   small-dense  a dense network of as many layers, of the width whose parameters are nearest in number to those that
//                the ticket has left, biases and output layer counted on both sides; at a start of its own shape
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "host/program/command.h"
#include "scalelab/mlp.h"

namespace scalelab::host {

inline constexpr std::array<const char*, 7> kTicketKinds = {"dense",     "rewound",     "fine-tuned", "dense-long",
                                                            "restarted", "random-mask", "small-dense"};
inline constexpr int kMaxLotteryLevel = 15;  // 3.5 % of the weights

// A network that is asked for.
struct Ticket {
  std::string kind;  // as above
  int level = 0;     // 0: dense; 1 .. kMaxLotteryLevel: the others
};

// A chain, and what is wanted of it: the levels in between are trained for their own sake only.
struct LotteryChain {
  // How every network of the chain trains: data, rows, loss, optimiser, seed. Its `shape` is the dense network's, its
  // `seed` (< 2^32) also that of the start and of the random masks. The members for parameters, mask, parts of a run
  // and outputs stay empty.
  MlpRun run;
  std::vector<Ticket> wanted;
};

// A trained network, while `done` runs.
struct LotteryNetwork {
  std::size_t chain = 0, ticket = 0;   // chains[chain].wanted[ticket]
  MlpShape shape;                      // the chain's, but for small-dense
  View<const float> parameters;        // (p), backend memory
  std::span<const std::uint8_t> mask;  // (p), 0: pruned
  std::int64_t weights = 0;            // of the hidden layers that are not zero, counted in the trained network
  double density = 0;                  // `weights` over those of the chain's dense network
  // Of the hidden layers' weights that are left: how far they lie from the network's first start, as a share of their
  // length there; and the share of them that pruning that start by magnitude alone, to as many, would have left. By
  // chance the latter is `density`.
  double moved = 0, start_overlap = 0;
  bool diverged = false;  // it did, or one whose training it needed; counts are then zero, and weights may be NaN
  double seconds = 0;     // the share of its level's training
};

// Trains all chains side by side, level by level: one call of mlp_train holds every network of a level. Reports every
// wanted network once. A network's bits depend on its own chain's `run` and its ticket alone: not on the other chains,
// nor on what else is wanted.
//
// After every step each network is counted: a pruned weight that is not zero is Failure(kCheckFailed).
// std::invalid_argument on a kind or level that is none.
void run_lottery(std::span<const LotteryChain> chains, Session& session,
                 const std::function<void(const LotteryNetwork&)>& done);

// --- its parts, for tests and for tables -----------------------------------------------------------------------------

// Which parameters of a network can be pruned: 1 for the weights of the hidden layers, 0 for the rest, (p).
std::vector<std::uint8_t> prunable_weights(const MlpShape& shape);

// Weights kept at a level, of `weights`.
std::int64_t kept_at_level(std::int64_t weights, int level);

// `mask` without its smallest prunable weights, so that `kept` of them are left. std::invalid_argument when `kept` is
// more than there are, or a weight is NaN.
std::vector<std::uint8_t> prune_smallest(std::span<const float> parameters, std::span<const std::uint8_t> mask,
                                         const MlpShape& shape, std::int64_t kept);

// A mask with as many weights in each hidden layer as `mask`, chosen at random; of two masks of one seed the sparser is
// part of the denser.
std::vector<std::uint8_t> random_mask_like(std::span<const std::uint8_t> mask, const MlpShape& shape,
                                           std::uint64_t seed);

// The dense shape whose number of parameters is nearest to that of `shape` with `kept` weights in its hidden layers;
// of two equally near the narrower.
MlpShape small_dense_shape(const MlpShape& shape, std::int64_t kept);

}  // namespace scalelab::host
