#include "host/lab/lottery.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <utility>

#include "host/lab/model.h"
#include "host/program/error.h"
#include "scalelab/buffer.h"
#include "scalelab/random.h"

namespace scalelab::host {

namespace {

// Seeds of trials are below 2^32: these bits keep a chain's other draws apart from its start and its shuffles.
constexpr std::uint64_t kNewStart = std::uint64_t{1} << 32, kRandomMask = std::uint64_t{1} << 33;

// The weights of one hidden layer, as a range of the parameters.
struct Block {
  std::int64_t begin, count;
};
std::vector<Block> weight_blocks(const MlpShape& shape) {
  std::vector<Block> blocks;
  std::int64_t at = 0, fan_in = feature_count(shape);
  for (int layer = 0; layer < shape.hidden_layers; ++layer) {
    blocks.push_back({at, shape.width * fan_in});
    at += shape.width * fan_in + shape.width * (shape.layer_norm ? 3 : 1);
    fan_in = shape.width;
  }
  return blocks;
}

std::int64_t count_prunable(const MlpShape& shape) {
  std::int64_t weights = 0;
  for (const Block& block : weight_blocks(shape)) weights += block.count;
  return weights;
}

// A network on its way through a level.
struct Entrant {
  std::size_t chain;
  std::string kind;
  MlpShape shape;
  std::vector<std::uint8_t> mask;  // (p)
  std::vector<float> start;        // (p); empty: it cannot be trained, because one that it needs diverged
  std::vector<float> first;        // (p), where its weights began: `start`, but for what goes on from trained values
};

// One of those that go on from level to level: rewound, fine-tuned, dense-long.
struct Lineage {
  int deepest = -1;                // level down to which it is trained
  std::vector<std::uint8_t> mask;  // of the level reached
  std::vector<float> trained;      // likewise; empty: diverged

  // The mask of the next level; empty after a divergence.
  std::vector<std::uint8_t> next_mask(const MlpShape& shape, int level) const {
    if (trained.empty()) return {};
    return prune_smallest(trained, mask, shape, kept_at_level(count_prunable(shape), level));
  }
};

struct ChainState {
  Lineage rewound, tuned, longer;
};

bool wants(const LotteryChain& chain, const std::string& kind, int level) {
  return std::any_of(chain.wanted.begin(), chain.wanted.end(),
                     [&](const Ticket& ticket) { return ticket.kind == kind && ticket.level == level; });
}

ChainState plan(const LotteryChain& chain) {
  ChainState state;
  for (const Ticket& ticket : chain.wanted) {
    const bool known = std::find(kTicketKinds.begin(), kTicketKinds.end(), ticket.kind) != kTicketKinds.end();
    const bool dense = ticket.kind == "dense";
    if (!known || (dense ? ticket.level != 0 : ticket.level < 1 || ticket.level > kMaxLotteryLevel)) {
      throw std::invalid_argument(fmt::format("lottery: no ticket '{}' at level {}", ticket.kind, ticket.level));
    }
    // The dense network counts as level 0 of the rewound. A control needs the mask, which the level before gives.
    Lineage& lineage = ticket.kind == "fine-tuned"   ? state.tuned
                       : ticket.kind == "dense-long" ? state.longer
                                                     : state.rewound;
    const bool itself = dense || ticket.kind == "rewound" || &lineage != &state.rewound;
    if (ticket.kind != "small-dense") lineage.deepest = std::max(lineage.deepest, ticket.level - (itself ? 0 : 1));
  }
  return state;
}

// The networks of one chain that train at a level.
std::vector<Entrant> entrants_at(int level, std::size_t index, const LotteryChain& chain, const ChainState& state) {
  const MlpShape& shape = chain.run.shape;
  const std::uint64_t seed = chain.run.seed;
  std::vector<Entrant> entrants;
  // Without a mask (its origin diverged) there is nothing to start.
  const auto enter = [&](const char* kind, std::vector<std::uint8_t> mask, std::vector<float> start) {
    if (mask.empty()) start.clear();
    entrants.push_back({index, kind, shape, std::move(mask), start, std::move(start)});
  };
  if (level == 0) {
    if (state.rewound.deepest >= 0 || state.tuned.deepest >= 0 || state.longer.deepest >= 0) {
      std::vector<float> start = initial_parameters(shape, seed);
      enter("dense", std::vector<std::uint8_t>(start.size(), 1), start);
    }
    return entrants;
  }
  const bool rewound = state.rewound.deepest >= level, restarted = wants(chain, "restarted", level),
             random = wants(chain, "random-mask", level);
  if (rewound || restarted || random) {
    const auto mask = state.rewound.next_mask(shape, level);
    if (rewound) enter("rewound", mask, initial_parameters(shape, seed));
    if (restarted) enter("restarted", mask, initial_parameters(shape, seed | kNewStart));
    if (random) {
      enter("random-mask", mask.empty() ? mask : random_mask_like(mask, shape, seed), initial_parameters(shape, seed));
    }
  }
  // Those that go on have moved from where the chain began.
  if (state.tuned.deepest >= level) {
    enter("fine-tuned", state.tuned.next_mask(shape, level), state.tuned.trained);
    entrants.back().first = initial_parameters(shape, seed);
  }
  if (state.longer.deepest >= level) {
    enter("dense-long", state.longer.trained.empty() ? std::vector<std::uint8_t>() : state.longer.mask,
          state.longer.trained);
    entrants.back().first = initial_parameters(shape, seed);
  }
  if (wants(chain, "small-dense", level)) {
    const MlpShape small = small_dense_shape(shape, kept_at_level(count_prunable(shape), level));
    std::vector<float> start = initial_parameters(small, seed);
    std::vector<std::uint8_t> mask(start.size(), 1);
    entrants.push_back({index, "small-dense", small, std::move(mask), start, std::move(start)});
  }
  return entrants;
}

// Weights of the hidden layers that are not zero. A mask that grew back is a fault of whoever trained.
std::int64_t measured_weights(const Entrant& entrant, int level, std::span<const float> parameters) {
  std::int64_t weights = 0;
  for (const Block& block : weight_blocks(entrant.shape)) {
    for (std::int64_t i = block.begin; i < block.begin + block.count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (entrant.mask[at] == 0 && parameters[at] != 0) {
        throw Failure(kCheckFailed,
                      fmt::format("lottery: {} at level {}: weight {} is pruned, and is {} after training",
                                  entrant.kind, level, i, parameters[at]));
      }
      weights += parameters[at] != 0;
    }
  }
  return weights;
}

// What a trained network's weights have to do with their start.
void compare_with_start(const Entrant& entrant, std::span<const float> trained, LotteryNetwork& network) {
  const std::vector<std::uint8_t> prunable = prunable_weights(entrant.shape);
  const auto left = [&](std::size_t i) { return prunable[i] != 0 && entrant.mask[i] != 0; };
  std::int64_t kept = 0, both = 0;
  for (std::size_t i = 0; i < prunable.size(); ++i) kept += left(i);
  const std::vector<std::uint8_t> every(prunable.size(), 1);
  const auto by_start = prune_smallest(entrant.first, every, entrant.shape, kept);
  double moved = 0, length = 0;
  for (std::size_t i = 0; i < prunable.size(); ++i) {
    if (!left(i)) continue;
    both += by_start[i] != 0;
    moved += std::pow(static_cast<double>(trained[i]) - entrant.first[i], 2);
    length += std::pow(static_cast<double>(entrant.first[i]), 2);
  }
  network.moved = std::sqrt(moved / length);
  network.start_overlap = static_cast<double>(both) / static_cast<double>(kept);
}

// Trains one level of all chains in one call, reports it, and moves the chains on to it.
void train_level(int level, std::vector<Entrant>& entrants, std::span<const LotteryChain> chains,
                 std::vector<ChainState>& states, Session& session,
                 const std::function<void(const LotteryNetwork&)>& done) {
  Context& context = session.context;
  const auto count = static_cast<std::int64_t>(entrants.size());
  std::vector<Buffer<float>> parameters;
  std::vector<Buffer<std::uint8_t>> masks;
  Buffer<int> diverged(context, std::vector<int>(entrants.size(), -1), {count});
  std::vector<MlpRun> runs;
  // What a network costs beside the others: its share of the seconds of the call.
  double cost = 0;
  const auto cost_of = [&](const Entrant& entrant) {
    const MlpRun& run = chains[entrant.chain].run;
    const auto rows = static_cast<double>(run.rows.empty() ? run.inputs.extent(0) : run.rows.size());
    return entrant.start.empty() ? 0 : rows * run.epochs * static_cast<double>(entrant.start.size());
  };
  for (std::int64_t i = 0; i < count; ++i) {
    const Entrant& entrant = entrants[static_cast<std::size_t>(i)];
    const auto p = static_cast<std::int64_t>(entrant.start.size());
    // Where the training it needed diverged there is nothing to train: all its weights are NaN, as if it had itself.
    const std::vector<float> nan(entrant.start.empty() ? static_cast<std::size_t>(parameter_count(entrant.shape)) : 0,
                                 std::numeric_limits<float>::quiet_NaN());
    const std::vector<float>& values = entrant.start.empty() ? nan : entrant.start;
    parameters.emplace_back(context, values, Shape{std::ssize(values)});
    masks.emplace_back(context, entrant.start.empty() ? std::vector<std::uint8_t>() : entrant.mask, Shape{p});
    if (entrant.start.empty()) continue;
    MlpRun run = chains[entrant.chain].run;
    run.shape = entrant.shape;
    run.parameters = parameters.back();
    run.weight_mask = masks.back();
    run.diverged = diverged.view().rows(i, 1);
    runs.push_back(run);
    cost += cost_of(entrant);
  }
  // One call trains all that can be trained.
  double seconds = 0;
  if (!runs.empty()) {
    const Stage stage(session, fmt::format("training {} networks of level {}", runs.size(), level));
    context.backend().mlp_train(runs, context);
    context.synchronize();
    seconds = stage.seconds();
  }
  const std::vector<int> diverged_at = diverged.to_host();
  for (std::size_t i = 0; i < entrants.size(); ++i) {
    Entrant& entrant = entrants[i];
    const LotteryChain& chain = chains[entrant.chain];
    LotteryNetwork network;
    network.chain = entrant.chain;
    network.shape = entrant.shape;
    network.parameters = parameters[i];
    network.mask = entrant.mask;
    network.diverged = entrant.start.empty() || diverged_at[i] >= 0;
    network.seconds = cost > 0 ? seconds * cost_of(entrant) / cost : 0;
    std::vector<float> trained;
    if (!network.diverged) {
      trained = parameters[i].to_host();
      network.weights = measured_weights(entrant, level, trained);
      network.density = static_cast<double>(network.weights) / static_cast<double>(count_prunable(chain.run.shape));
      compare_with_start(entrant, trained, network);
    }
    // Reported as often as it is wanted.
    for (network.ticket = 0; network.ticket < chain.wanted.size(); ++network.ticket) {
      const Ticket& ticket = chain.wanted[network.ticket];
      if (ticket.kind == entrant.kind && ticket.level == level) done(network);
    }
    // What it learnt is where its lineage goes on; from the dense network all three do.
    ChainState& state = states[entrant.chain];
    for (const auto& [lineage, kind] : {std::pair{&state.rewound, "rewound"}, std::pair{&state.tuned, "fine-tuned"},
                                        std::pair{&state.longer, "dense-long"}}) {
      if (entrant.kind != kind && entrant.kind != "dense") continue;
      lineage->mask = entrant.mask;
      lineage->trained = trained;
    }
  }
}

}  // namespace

void run_lottery(std::span<const LotteryChain> chains, Session& session,
                 const std::function<void(const LotteryNetwork&)>& done) {
  std::vector<ChainState> states;
  int deepest = -1;
  for (const LotteryChain& chain : chains) {
    states.push_back(plan(chain));
    for (const Ticket& ticket : chain.wanted) deepest = std::max(deepest, ticket.level);
  }
  Stage levels(session, "tickets");
  for (int level = 0; level <= deepest; ++level) {
    levels.part(level, level + 1, deepest + 1);
    std::vector<Entrant> entrants;
    for (std::size_t i = 0; i < chains.size(); ++i) {
      for (Entrant& entrant : entrants_at(level, i, chains[i], states[i])) entrants.push_back(std::move(entrant));
    }
    train_level(level, entrants, chains, states, session, done);
  }
}

std::vector<std::uint8_t> prunable_weights(const MlpShape& shape) {
  std::vector<std::uint8_t> prunable(static_cast<std::size_t>(parameter_count(shape)), 0);
  for (const Block& block : weight_blocks(shape)) std::fill_n(prunable.begin() + block.begin, block.count, 1);
  return prunable;
}

std::int64_t kept_at_level(std::int64_t weights, int level) {
  double share = 1;
  for (int i = 0; i < level; ++i) share *= 0.8;
  return std::llround(share * static_cast<double>(weights));
}

std::vector<std::uint8_t> prune_smallest(std::span<const float> parameters, std::span<const std::uint8_t> mask,
                                         const MlpShape& shape, std::int64_t kept) {
  const std::vector<std::uint8_t> prunable = prunable_weights(shape);
  if (parameters.size() != prunable.size() || mask.size() != prunable.size()) {
    throw std::invalid_argument(fmt::format("lottery: {} parameters and a mask of {} for a network of {}",
                                            parameters.size(), mask.size(), prunable.size()));
  }
  std::vector<std::pair<float, std::size_t>> survivors;  // magnitude, index
  for (std::size_t i = 0; i < prunable.size(); ++i) {
    if (prunable[i] == 0 || mask[i] == 0) continue;
    if (std::isnan(parameters[i])) throw std::invalid_argument(fmt::format("lottery: weight {} is NaN", i));
    survivors.emplace_back(std::abs(parameters[i]), i);
  }
  const auto pruned = static_cast<std::int64_t>(survivors.size()) - kept;
  if (kept < 0 || pruned < 0) {
    throw std::invalid_argument(fmt::format("lottery: {} weights of {} cannot be kept", kept, survivors.size()));
  }
  std::nth_element(survivors.begin(), survivors.begin() + pruned, survivors.end());
  std::vector<std::uint8_t> result(mask.begin(), mask.end());
  for (std::int64_t i = 0; i < pruned; ++i) result[survivors[static_cast<std::size_t>(i)].second] = 0;
  return result;
}

std::vector<std::uint8_t> random_mask_like(std::span<const std::uint8_t> mask, const MlpShape& shape,
                                           std::uint64_t seed) {
  std::vector<std::uint8_t> result(mask.begin(), mask.end());
  std::uint32_t layer = 0;
  for (const Block& block : weight_blocks(shape)) {
    const auto weights = result.begin() + block.begin;
    const auto kept = std::count_if(weights, weights + block.count, [](std::uint8_t m) { return m != 0; });
    std::fill_n(weights, block.count, 0);
    // The first so many of one order of the layer: the fewer, the fewer of the same.
    const Shuffle order(static_cast<std::uint32_t>(block.count), seed | kRandomMask, layer++);
    for (std::uint32_t i = 0; i < kept; ++i) weights[order(i)] = 1;
  }
  return result;
}

MlpShape small_dense_shape(const MlpShape& shape, std::int64_t kept) {
  const std::int64_t target = parameter_count(shape) - count_prunable(shape) + kept;
  const auto distance = [&](const MlpShape& s) { return std::abs(parameter_count(s) - target); };
  MlpShape best = shape;
  best.width = 2;
  for (MlpShape candidate = best; candidate.width <= shape.width; ++candidate.width) {
    if (distance(candidate) < distance(best)) best = candidate;
  }
  return best;
}

}  // namespace scalelab::host
