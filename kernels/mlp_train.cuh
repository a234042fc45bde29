// mlp_train: one training run on the device, from its queue to its results: who trains it, where its memory is, and the
// walk over its epochs. Seen by mlp.cu alone, whose host side chooses crews and launches the kernel at the end of this
// file.
//
// A crew (mlp_block.cuh) trains one run at a time: a block, or where a network is wider than 64 a team: some blocks
// that share a run, as a cluster or as part of one cooperative launch. Each element of each product is one chain in one
// thread, so that a run's bits do not depend on who trains it. A slice is a part of every run's steps: a launch trains
// one slice, and progress is reported between launches. A run's samples are taken in tiles of at most `layout.samples`;
// a batch is one tile or several.
//
// Memory of a run: its network (MlpLayout packed: `size` floats) and its planes lie in shared memory, or for kWidth 0
// in the workspace, which is in L2. The two moments follow them on chip where that costs no resident block, and lie in
// the workspace otherwise, with gradient and mask: 16 bytes a parameter and step. Below fp32 master weights lie where
// the moments lie.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/mlp_block.cuh"
#include "kernels/mlp_gradients.cuh"
#include "kernels/mlp_step.h"
#include "scalelab/mlp.h"
#include "scalelab/random.h"

namespace scalelab::cuda {

// --- a run, as the device sees it ------------------------------------------------------------------------------------

// MlpRun with device pointers alone; arrays that may be absent are null.
struct alignas(16) Job {
  MlpLayout layout;
  float gamma;
  const float* features;       // (n, features), encoded
  const std::uint8_t* labels;  // (n)
  const int* rows;             // (r), or null: all
  std::int64_t r, batch;
  bool shuffle;
  std::uint64_t seed;
  float* parameters;  // (p)
  std::int64_t p;
  const std::uint8_t* weight_mask;  // (p) or null
  float* state;                     // (2 p) or null
  double* sums;                     // (kSamples) losses of an epoch that a slice ends within; null: none does
  float *epoch_losses, *gradients;  // or null. `gradients` (p): no training, the gradient over all rows
  float* loss;                      // with `gradients`: (1)
  int* diverged;                    // or null
  int* status;                      // -1, or the epochs finished before the run diverged
  int epochs, epoch_begin, epoch_end;
  float learning_rate, momentum, beta1, beta2, epsilon, weight_decay;
  Schedule schedule;
  Optimizer optimizer;
};

inline constexpr float kMaxFloat = 0x1.fffffep127F;  // the largest
// Steps whose constants are computed at a time: one by each lane of a warp, as a power and a cosine in double take
// long.
inline constexpr int kSteps = 32;

// A place in a run: the next tile of samples.
struct Cursor {
  int epoch;
  std::int64_t begin;  // position in the epoch
};

__device__ inline bool comes_before(const Cursor& a, const Cursor& b) {
  return a.epoch < b.epoch || (a.epoch == b.epoch && a.begin < b.begin);
}

// What one slice trains of a run: whole batches, from `begin` up to `end`.
struct Part {
  Cursor begin, end;
  int status;  // of the run: -1, or the epochs it finished before it diverged, and then there is nothing to do
  __device__ bool idle() const { return status >= 0 || !comes_before(begin, end); }
};

// Where a tile lies in its batch and epoch.
struct TilePlace {
  Flow flow;
  std::int64_t samples;  // of its batch
  bool ends;             // whether it is its batch's last
  Cursor next;           // the tile behind it
};

// What a block knows of its run, and what is not to lie in the registers of each thread meanwhile.
template <int kMaxSamples>
struct TrainShared {
  double sums[kSamples];  // losses of the epoch, by row modulo kSamples
  double loss_sum;        // of all samples in order, when gradients are wanted in place of training
  std::int64_t step;      // the number of the step that the tile at hand is part of
  TilePlace tile;         // where that lies
  Cursor cursor;          // its place; from the way back on that of the next
  Part part;
  MlpStep steps[kSteps];
  int rows[kMaxSamples];
  int labels[kMaxSamples];
  Job run;    // each step asks it for much
  Rule rule;  // of the step that the batch at hand ends with
  int job;
};

// The crew of a run on chip.
template <int kWidth>
using Trainer = Block<kWidth, 4>;

// What the blocks of a team tell each other, in global memory.
struct TeamState {
  int job;
  int bad;  // votes of all() that were against, in this run
  unsigned arrived;
};

struct Teams {
  int blocks;  // of each
  bool clusters;
  TeamState* states;
};

// The crew of a run at kWidth 0: `blocks` blocks, of which this is number `rank`.
struct Team {
  static constexpr int kWidth = 0, kTileRows = 4, kThreads = kThreadsOf<0>;  // half a block's rows: twice the threads
  static constexpr bool kTeam = true, kSplit = false;
  // Samples of a tile at most. So many give a plane of width 128 a register tile for each thread of 32 blocks; a plane
  // of width 256 is then 1 MB, and all planes of a run stay in L2. Not timed (bench/results/gpu.md).
  static constexpr int kMaxSamples = 1024;
  int rank, blocks;
  bool cluster;
  TeamState* state;
  unsigned meetings = 0;  // thread 0: barriers passed

  __device__ Team(const Teams& teams)
      : rank(static_cast<int>(blockIdx.x) % teams.blocks),
        blocks(teams.blocks),
        cluster(teams.clusters),
        state(teams.states + blockIdx.x / teams.blocks) {}
  // Warps are dealt to the blocks in turn, so that a few tiles meet many multiprocessors.
  __device__ int thread() const { return (warp_in_block() * blocks + rank) * kWarp + lane_index(); }
  __device__ int threads() const { return kThreadsOf<0> * blocks; }
  __device__ bool leads() const { return rank == 0; }
  __device__ void sync() {
    if (blocks == 1) {
      __syncthreads();
    } else if (cluster) {
      cluster_barrier();
    } else {
      __syncthreads();
      if (threadIdx.x == 0) {
        ++meetings;
        __threadfence();
        atomicAdd(&state->arrived, 1U);
        const unsigned all_arrived = meetings * static_cast<unsigned>(blocks);
        while (static_cast<int>(atomicAdd(&state->arrived, 0U) - all_arrived) < 0) {  // the count may wrap
        }
        __threadfence();
      }
      __syncthreads();
    }
  }
  // Once against, always against, until the next run.
  __device__ bool all(bool good) {
    const bool block_good = __syncthreads_and(good ? 1 : 0) != 0;
    if (blocks == 1) return block_good;
    if (threadIdx.x == 0 && !block_good) atomicAdd(&state->bad, 1);
    sync();
    return state->bad == 0;
  }
  __device__ int samples(const MlpLayout& layout) const { return layout.samples; }
  __device__ int row(const MlpLayout& layout) const { return layout.row(); }
};

// This block's crew: itself alone, or its team.
template <class Crew>
__device__ inline Crew crew_of(const Teams& teams) {
  if constexpr (Crew::kTeam) {
    return Crew(teams);
  } else {
    return {};
  }
}

template <class Crew>
using SharedOf = TrainShared<Crew::kTeam ? Team::kMaxSamples : kSamples>;
static_assert(sizeof(SharedOf<Trainer<16>>) % 16 == 0 && sizeof(SharedOf<Team>) % 16 == 0);

// Floats of each part of a run's memory: the packed network, and all that belongs to a tile of samples.
struct TrainParts {
  // planes: features (first_rows), scores (outputs), layer norm's 1 / deviation (layers, samples), the planes of all
  // layers, and planes of deltas: for kWidth 0 two, on chip below fp32 one.
  std::int64_t network, planes;
  SCALELAB_HD static int delta_planes(const MlpLayout& layout, bool on_chip) {
    return !on_chip ? 2 : layout.precision == Precision::fp32 ? 0 : 1;
  }
  SCALELAB_HD static TrainParts of(const MlpLayout& layout, bool on_chip) {
    return {layout.size, static_cast<std::int64_t>(layout.first_rows + layout.outputs) * layout.row() +
                             (layout.layer_norm ? layout.layers * layout.samples : 0) +
                             static_cast<std::int64_t>(layout.layers * layout.kinds + delta_planes(layout, on_chip)) *
                                 layout.plane()};
  }
};

// How many times the size of the network a run has in the workspace: two moments, gradient, mask; below fp32 master
// weights.
SCALELAB_HD constexpr int workspace_parts(bool split) { return split ? 5 : 4; }

// The rule of one step, from the constants that its crew computed.
__device__ inline Rule rule_of(const Job& job, const MlpStep& step) {
  Rule rule{job.optimizer,     -step.rate * job.weight_decay,
            -step.rate,        job.momentum,
            job.beta1,         job.beta2,
            1.0F - job.beta1,  1.0F - job.beta2,
            -step.scaled_rate, step.inverse_root,
            job.epsilon};
  prepare_adam(rule);
  return rule;
}

// --- one run ---------------------------------------------------------------------------------------------------------

__device__ inline std::int64_t steps_per_epoch(const Job& job) { return (job.r + job.batch - 1) / job.batch; }

// Samples of the tile that begins at position `begin`: up to the end of the tile, of the batch or of the epoch.
__device__ inline int tile_count(const Job& job, std::int64_t begin) {
  const std::int64_t in_batch = job.batch - begin % job.batch, in_epoch = job.r - begin;
  const std::int64_t left = in_batch < in_epoch ? in_batch : in_epoch;
  return left < job.layout.samples ? static_cast<int>(left) : job.layout.samples;
}

// Row numbers of the tile at `cursor`, each block for itself, by its last threads, which have least to do meanwhile.
__device__ inline void find_rows(const Job& job, const Cursor& cursor, int* rows) {
  const int count = tile_count(job, cursor.begin);
  for (int s = static_cast<int>(blockDim.x - 1 - threadIdx.x); s < count; s += static_cast<int>(blockDim.x)) {
    std::int64_t position = cursor.begin + s;
    if (job.shuffle) {
      position = shuffled_index(static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(job.r), job.seed,
                                static_cast<std::uint32_t>(cursor.epoch));
    }
    rows[s] = job.rows != nullptr ? job.rows[position] : static_cast<int>(position);
  }
}

// Features of the tile's rows into x (features, samples), zeros behind `count`, and labels, which only the crew's first
// block needs, into its `labels`.
template <class Crew>
__device__ inline void gather(const Crew& crew, const Job& job, const int* rows, int count, float* x, int* labels) {
  const int thread = crew.thread(), threads = crew.threads(), features = job.layout.features;
  const int samples = crew.samples(job.layout), row = crew.row(job.layout);
  if (crew.leads()) {
    for (int s = static_cast<int>(threadIdx.x); s < samples; s += Crew::kThreads) {
      labels[s] = s < count ? job.labels[rows[s]] : 0;
    }
  }
  if (features <= 4) {  // a sample a thread, so that no index is divided
    for (int s = thread; s < samples; s += threads) {
      for (int f = 0; f < features; ++f) {
        x[f * row + s] = s < count ? job.features[static_cast<std::int64_t>(rows[s]) * features + f] : 0.0F;
      }
    }
    return;
  }
  for (int e = thread; e < samples * features; e += threads) {
    const int s = e / features, f = e - s * features;
    x[f * row + s] = s < count ? job.features[static_cast<std::int64_t>(rows[s]) * features + f] : 0.0F;
  }
}

// By the crew's first block: scores, losses, and in place of the scores the gradient of the mean loss over a batch of
// `samples` with respect to them. Adds each loss to the sum of its column; where `in_order`, all of them in order to
// `loss_sum`, in thread 0. Returns whether this thread's losses are finite.
template <class Crew>
__device__ __forceinline__ bool losses_and_deltas(const Crew& crew, const Job& job, const MlpLayout& layout,
                                                  const float* packed, const float* top, std::int64_t samples,
                                                  int count, const int* labels, float* scores, double* sums,
                                                  bool in_order, double& loss_sum) {
  if (!crew.leads()) return true;
  constexpr int kThreads = Crew::kThreads;
  const int thread = static_cast<int>(threadIdx.x), outputs = layout.outputs, row = crew.row(layout);
  const float scale = 1.0F / static_cast<float>(samples);
  bool finite = true;
  for (int begin = 0; begin < crew.samples(layout); begin += kSamples) {
    for (int e = thread; e < outputs * kSamples; e += kThreads) {
      const int j = e / kSamples, s = begin + e % kSamples;
      scores[j * row + s] = score_of(layout, packed, top, j, s, row);
    }
    if (outputs > 1) __syncthreads();  // otherwise each thread goes on with its own
    for (int column = thread; column < kSamples; column += kThreads) {
      const int s = begin + column;
      if (s >= count) {
        for (int j = 0; j < outputs; ++j) scores[j * row + s] = 0;
        continue;
      }
      const float loss = outputs == 1 ? binary_loss(job.gamma, scale, labels[s] > 0, scores + s)
                                      : softmax_loss(job.gamma, scale, labels[s], outputs, scores + s, row);
      finite = finite && ::fabsf(loss) <= kMaxFloat;
      sums[column] += loss;
    }
    if (!in_order) continue;
    __syncthreads();
    if (thread == 0) {
      for (int column = 0; column < kSamples && begin + column < count; ++column) {
        loss_sum += sums[column];
        sums[column] = 0;
      }
    }
    __syncthreads();
  }
  return finite;
}

// The sum of `sums`, in order; the block must have met at a barrier since the last was added.
__device__ inline double total(const double* sums) {
  double sum = 0;
  for (int s = 0; s < kSamples; ++s) sum += sums[s];
  return sum;
}

// Blocks on a multiprocessor that registers must allow: what shared memory allows of the usual shapes. What
// ptxas makes of it, and the occupancy that follows: tests/kernel_resources.py.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800  // a quarter of the shared memory
template <int kWidth>
inline constexpr int kTrainBlocks = kWidth == 16 ? 3 : 1;
#else
#if defined(__CUDA_ARCH__) && (__CUDA_ARCH__ < 900 || __CUDA_ARCH__ >= 1200)  // 100 or 164 KB of shared memory
inline constexpr int kTrainBlocksOf64 = 1;
#else
inline constexpr int kTrainBlocksOf64 = 2;
#endif
template <int kWidth>
inline constexpr int kTrainBlocks = kWidth == 16   ? 8
                                    : kWidth == 32 ? 4
                                    : kWidth == 64 ? kTrainBlocksOf64
                                                   : 1;
#endif

// --- the acts of a run -----------------------------------------------------------------------------------------------

// Where the parts of a run's memory are.
struct RunMemory {
  Network net;
  float* x;        // (first_rows, samples) features of a tile
  float* scores;   // (outputs, samples), then the gradient with respect to them
  float* inverse;  // (layers, samples) 1 / deviation, with layer norm
  MlpPlanes planes;
  float* deltas;   // TrainParts::delta_planes
  float* moments;  // (2, size)
  float* mask;     // (size)
};

// `own`: this crew's part of the workspace. `behind`: shared memory behind TrainShared, read for kWidth > 0.
template <class Crew>
__device__ __forceinline__ RunMemory place_memory(const Crew& crew, const Job& job, float* own, float* behind,
                                                  bool moments_on_chip) {
  const MlpLayout& layout = job.layout;
  const int size = layout.size, row = crew.row(layout);
  const bool on_chip = Crew::kWidth > 0 && moments_on_chip;
  float* const values = Crew::kWidth > 0 ? behind : own + workspace_parts(Crew::kSplit) * std::int64_t{size};
  float* const x = values + size;
  float* const scores = x + layout.first_rows * row;
  float* const inverse = scores + layout.outputs * row;
  const MlpPlanes planes{inverse + (layout.layer_norm ? layout.layers * crew.samples(layout) : 0), layout.plane(),
                         layout.kinds};
  float* const deltas = planes.base + layout.layers * layout.kinds * layout.plane();
  float* const moments = on_chip ? deltas + TrainParts::delta_planes(layout, true) * layout.plane() : own;
  float* const mask = own + 3 * std::int64_t{size};
  float* const master = !Crew::kSplit ? values : on_chip ? moments + 2 * size : mask + size;
  const Network net{values,
                    master,
                    moments,
                    moments + size,
                    own + 2 * std::int64_t{size},
                    job.weight_mask != nullptr ? mask : nullptr};
  return {net, x, scores, inverse, planes, deltas, moments, mask};
}

// An even share of the run's steps.
__device__ inline Part part_of(const Job& job, int slice, int slices) {
  const std::int64_t steps = steps_per_epoch(job), all = steps * (job.epoch_end - job.epoch_begin);
  const std::int64_t share = all / slices, rest = all % slices;
  const auto cursor_at = [&](int at) {
    const std::int64_t step = share * at + (at < rest ? at : rest);
    return Cursor{job.epoch_begin + static_cast<int>(step / steps), step % steps * job.batch};
  };
  return {cursor_at(slice), cursor_at(slice + 1), *job.status};
}

// By each block for itself.
template <class Crew>
__device__ __forceinline__ void clear_sums(double* sums) {
  for (int s = static_cast<int>(threadIdx.x); s < kSamples; s += Crew::kThreads) sums[s] = 0;
}

// Parameters, moments and mask from the run's arrays into its memory. Where a weight is masked, it and its moments are
// zero. What is written last is complete behind the next barrier.
template <class Crew>
__device__ __forceinline__ void load_run(Crew& crew, const Job& job, const RunMemory& memory) {
  const MlpLayout& layout = job.layout;
  const int thread = crew.thread(), threads = crew.threads(), size = layout.size, row = crew.row(layout);
  float *const master = memory.net.master, *const moments = memory.moments, *const mask = memory.mask;
  pack(crew, layout, job.parameters, master);
  for (int i = thread; i < 2 * size; i += threads) moments[i] = 0;
  for (int i = thread; i < size; i += threads) mask[i] = 1;
  // Rows behind the last feature take part in register tiles.
  for (int i = layout.features * row + thread; i < layout.first_rows * row; i += threads) memory.x[i] = 0;
  crew.sync();
  for_each_parameter(layout, thread, threads, [&](int p, int at) {
    const bool learns = job.weight_mask == nullptr || job.weight_mask[p] != 0;
    if (!learns) master[at] = mask[at] = 0;
    if (job.state != nullptr && learns) {
      moments[at] = job.state[p];
      moments[size + at] = job.state[job.p + p];
    }
  });
  if (!Crew::kSplit) return;
  // What products read: split numbers for the weights between hidden layers, copies of all else.
  crew.sync();
  float* const values = memory.net.values;
  for (int i = thread; i < size; i += threads) {
    const auto between = [&](int l) {
      return l < layout.layers && i >= layout.weights[l] && i < layout.weights[l] + layout.padded * layout.stride;
    };
    static_assert(kMaxHiddenLayers == 4);
    const bool splits = between(1) || between(2) || between(3);
    if (!kHalves<Crew> || !splits) values[i] = splits ? word_of(layout, master[i]) : master[i];
  }
  if constexpr (kHalves<Crew>) {
    for (int l = 1; l < layout.layers; ++l) {
      for (int e = thread; e < layout.padded * layout.padded / 2; e += threads) {
        const int row = layout.weights[l] + 2 * e / layout.padded * layout.stride, column = 2 * e % layout.padded;
        Halves::put(values + row, layout.padded, column, make_float2(master[row + column], master[row + column + 1]),
                    layout.precision == Precision::bf16x3);
      }
    }
  }
}

__device__ inline TilePlace place_of(const Job& job, const Cursor& cursor) {
  const int count = tile_count(job, cursor.begin);
  const std::int64_t in_batch = cursor.begin % job.batch, batch_begin = cursor.begin - in_batch;
  const std::int64_t samples = job.r - batch_begin < job.batch ? job.r - batch_begin : job.batch;
  const bool ends = in_batch + count == samples, epoch_ends = cursor.begin + count == job.r;
  const Cursor next = epoch_ends ? Cursor{cursor.epoch + 1, 0} : Cursor{cursor.epoch, cursor.begin + count};
  return {{in_batch == 0, ends && job.gradients == nullptr, count}, samples, ends, next};
}

// The rule of `step`, by the block's first warp. `constants`: of the steps that share a group of kSteps with it, found
// when the group begins, or where they are `wanted`. Lane: a step.
__device__ __forceinline__ void find_rule(const Job& job, std::int64_t step, bool wanted, MlpStep* constants,
                                          Rule& rule) {
  const int lane = static_cast<int>(threadIdx.x), in_group = static_cast<int>(step % kSteps);
  if (wanted || in_group == 0) {
    static_assert(kSteps == kWarp);
    const std::int64_t mine = step - in_group + lane, steps = steps_per_epoch(job) * job.epochs;
    if (mine < steps) {
      constants[lane] = mlp_step(job.learning_rate, job.schedule, job.optimizer, job.beta1, job.beta2, mine, steps);
    }
    __syncwarp();
  }
  if (lane == 0) rule = rule_of(job, constants[in_group]);
}

// Whether every master weight is finite. A vote of the crew.
template <class Crew>
__device__ __forceinline__ bool finite_weights(Crew& crew, const MlpLayout& layout, const float* master) {
  bool good = true;
  for (int i = crew.thread(); i < layout.size; i += crew.threads()) good = good && ::fabsf(master[i]) <= kMaxFloat;
  return crew.all(good);
}

// A run's first place in a slice, and what the last one summed of its epoch. By each block for itself.
template <class Crew>
__device__ __forceinline__ void start_run(const Job& job, const Part& part, SharedOf<Crew>& shared) {
  if (part.begin.begin == 0) {
    clear_sums<Crew>(shared.sums);
  } else {
    for (int s = static_cast<int>(threadIdx.x); s < kSamples; s += Crew::kThreads) shared.sums[s] = job.sums[s];
  }
  if (threadIdx.x == 0) {
    shared.part = part;
    shared.cursor = part.begin;
    shared.step = part.begin.epoch * steps_per_epoch(job) + part.begin.begin / job.batch;
    shared.loss_sum = 0;
    shared.rule = Rule{};  // read also where nothing is learned
  }
  if (!part.idle()) find_rows(job, part.begin, shared.rows);
}

// Trains the slice's part of a run, which is at least a batch, tile by tile: features in, forward, losses, backward, and
// with the last tile of a batch the update. A run ends early, before an update, when a loss of the batch is not finite,
// and behind an epoch when a weight is not: it has diverged. Returns the run's status: -1, or how many epochs were
// finished with everything finite. Begins behind a barrier since load_run and start_run. memory(): a RunMemory.
template <class Crew, class Memory>
__device__ __forceinline__ int train_part(Crew& crew, const Job& job, const Memory& memory, SharedOf<Crew>& shared,
                                          const Part& part) {
  const MlpLayout& layout = job.layout;
  const TilePlace& tile = shared.tile;  // from the first barrier on
  bool finite = true;
  while (comes_before(shared.cursor, part.end)) {
    const TilePlace found = place_of(job, shared.cursor);
    gather(crew, job, shared.rows, found.flow.count, memory().x, shared.labels);
    if (threadIdx.x == 0) shared.tile = found;
    if (found.flow.begins && job.gradients == nullptr && threadIdx.x < kWarp) {
      const bool first = !comes_before(part.begin, shared.cursor);
      find_rule(job, shared.step, first, shared.steps, shared.rule);
    }
    crew.sync();
    // Forward, and what the scores cost. Meanwhile the threads that have nothing to do look for the next tile's rows.
    const RunMemory at = memory();
    const float* const top = forward_hidden(crew, layout, at.net.values, at.x, at.planes, at.inverse);
    if (tile.flow.begins) finite = true;
    finite =
        losses_and_deltas(crew, job, layout, memory().net.values, top, tile.samples, tile.flow.count, shared.labels,
                          memory().scores, shared.sums, job.gradients != nullptr, shared.loss_sum) &&
        finite;
    if (comes_before(tile.next, part.end)) find_rows(job, tile.next, shared.rows);
    const bool all_finite = crew.all(finite);
    if (tile.flow.learns && !all_finite) return shared.cursor.epoch;
    if (threadIdx.x == 0) {
      shared.cursor.epoch = tile.next.epoch;  // one by one, without what lies between them
      shared.cursor.begin = tile.next.begin;
      if (tile.ends) ++shared.step;
    }
    // Back, with the update where the batch ends.
    backward(crew, layout, memory, tile.flow, shared.rule);
    if (job.gradients == nullptr && shared.cursor.begin == 0) {
      const int epoch = shared.cursor.epoch - 1;
      if (!finite_weights(crew, layout, memory().net.master)) return epoch;
      if (crew.thread() == 0 && job.epoch_losses != nullptr) {
        job.epoch_losses[epoch - job.epoch_begin] = static_cast<float>(total(shared.sums) / static_cast<double>(job.r));
      }
      __syncthreads();
      clear_sums<Crew>(shared.sums);
    }
  }
  return -1;
}

// What is left of the run outside the crew: parameters, state, sums and `status`, or the gradients and the loss. Comes
// behind the barrier that ended the last step.
template <class Crew>
__device__ __forceinline__ void store_run(Crew& crew, const Job& job, const RunMemory& memory,
                                          const SharedOf<Crew>& shared, int status) {
  const MlpLayout& layout = job.layout;
  const int thread = crew.thread(), threads = crew.threads(), size = layout.size;
  if (job.gradients != nullptr) {
    for_each_parameter(layout, thread, threads, [&](int p, int at) { job.gradients[p] = memory.net.gradient[at]; });
    if (thread == 0) *job.loss = static_cast<float>(shared.loss_sum / static_cast<double>(job.r));
    return;
  }
  for_each_parameter(layout, thread, threads, [&](int p, int at) {
    job.parameters[p] = memory.net.master[at];
    if (job.state != nullptr) {
      job.state[p] = memory.moments[at];
      job.state[job.p + p] = memory.moments[size + at];
    }
  });
  const Part& part = shared.part;
  if (part.end.begin > 0 && crew.leads()) {
    for (int s = static_cast<int>(threadIdx.x); s < kSamples; s += Crew::kThreads) job.sums[s] = shared.sums[s];
  }
  // Epochs that a diverged run did not finish have no loss.
  if (job.epoch_losses != nullptr && status >= 0) {
    for (int e = (status > part.begin.epoch ? status : part.begin.epoch) + thread; e < part.end.epoch; e += threads) {
      job.epoch_losses[e - job.epoch_begin] = __int_as_float(0x7fc00000);
    }
  }
  if (thread == 0) {
    *job.status = status;
    if (job.diverged != nullptr) *job.diverged = status;
  }
}

// Crew: one run after the other from the queue of `jobs` (count), longest first, until it is empty. Shared memory: a
// SharedOf<Crew>, then for kWidth > 0 network and planes, and where `moments_on_chip` the moments. workspace (crews,
// floats). slice of slices: which part of each run's steps this launch trains.
template <class Crew>
__global__ void __launch_bounds__(Crew::kThreads, kTrainBlocks<Crew::kWidth>)
    mlp_train_kernel(const Job* jobs, int count, int* queue, bool moments_on_chip, float* workspace,
                     std::int64_t floats, Teams teams, int slice, int slices) {
  SharedOf<Crew>& shared = *dynamic_shared<SharedOf<Crew>>();
  Crew crew = crew_of<Crew>(teams);
  const std::int64_t team = blockIdx.x / (Crew::kTeam ? teams.blocks : 1);
  float* const own = workspace + team * floats;
  int* const next_job = Crew::kTeam ? &teams.states[team].job : &shared.job;
  for (;;) {
    // The crew's first thread takes a run for all of them.
    if (crew.thread() == 0) {
      *next_job = atomicAdd(queue, 1);
      if (Crew::kTeam) teams.states[team].bad = 0;
    }
    crew.sync();
    const int mine = *next_job;
    if (mine >= count) return;
    for (int i = static_cast<int>(threadIdx.x); i < static_cast<int>(sizeof(Job) / 4); i += Crew::kThreads) {
      reinterpret_cast<unsigned*>(&shared.run)[i] = reinterpret_cast<const unsigned*>(jobs + mine)[i];
    }
    __syncthreads();
    const Job& job = shared.run;

    const auto memory = [&] {
      return place_memory(crew, job, own, reinterpret_cast<float*>(&shared + 1), moments_on_chip);
    };
    load_run(crew, job, memory());
    start_run<Crew>(job, part_of(job, slice, slices), shared);
    crew.sync();
    const Part& part = shared.part;
    const int status = part.idle() ? part.status : train_part(crew, job, memory, shared, part);
    store_run(crew, job, memory(), shared, status);
    crew.sync();  // before the next run takes anything of this one's
  }
}

}  // namespace scalelab::cuda
