// mlp on CUDA: forward, backward and whole training runs in fp32, with the arithmetic of the CPU twin, chain for chain;
// below fp32 within rounding of it. This file: scoring, and the host's side of training. The device's side of training
// is mlp_train.cuh (a run) and mlp_gradients.cuh (its way back); mlp_block.cuh has what both share with scoring: how a
// network lies in memory, and who computes what.
//
// Training: a block, or a team of blocks, is one whole run. Runs of one class (width, fp32 or not) go into a queue
// sorted longest first, from which every crew takes the next until it is empty; each class is one launch a slice.
// Nothing depends on what other crews do.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/cuda/device.cuh"
#include "kernels/mlp_block.cuh"
#include "kernels/mlp_check.h"
#include "kernels/mlp_train.cuh"
#include "scalelab/mlp.h"

namespace scalelab::cuda {

namespace {

// --- the other kernels -----------------------------------------------------------------------------------------------
// Block: a network.
__global__ void mlp_pack_kernel(const __grid_constant__ MlpLayout layout, const float* parameters, std::int64_t p,
                                float* packed) {
  Block<0> crew;
  pack(crew, layout, parameters + blockIdx.x * p, packed + static_cast<std::int64_t>(blockIdx.x) * layout.size);
}

// Thread: points in turn, (n, 2) to (n, features).
__global__ void mlp_encode_kernel(Encoding encoding, const float* inputs, std::int64_t n, int features,
                                  float* encoded) {
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = global_thread(); i < n; i += threads) {
    float point[3];
    encode_point(encoding, inputs[2 * i], inputs[2 * i + 1], point);
    encoded[i * features] = point[0];
    encoded[i * features + 1] = point[1];
    if (features == 3) encoded[i * features + 2] = point[2];
  }
}

struct RowList {
  const int* rows;
  std::int64_t count, n;
};

// first_bad[list] = the first position of a list whose row is not in 0 .. n - 1; it must begin as INT_MAX.
// Block: a list.
__global__ void mlp_check_rows_kernel(const RowList* lists, int* first_bad) {
  const RowList list = lists[blockIdx.x];
  for (std::int64_t i = threadIdx.x; i < list.count; i += blockDim.x) {
    if (list.rows[i] < 0 || list.rows[i] >= list.n) {
      atomicMin(first_bad + blockIdx.x, static_cast<int>(i));
      return;
    }
  }
}

struct Rows {
  const float* inputs;
  std::int64_t n;
  int inputs_per_row;
  Encoding encoding;
  float* scores;  // (m, n, outputs)
};

// Block: a run of tiles (score_tiles of mlp_block.cuh), a tile 64 consecutive rows of one network.
template <int kWidth>
__global__ void __launch_bounds__(kThreadsOf<kWidth>, kScoringBlocks<kWidth>)
    mlp_forward_kernel(const __grid_constant__ MlpLayout layout, const float* packed, std::int64_t m, float* workspace,
                       std::int64_t floats, Rows rows) {
  float* const memory = kWidth > 0 ? dynamic_shared<float>() : workspace + blockIdx.x * floats;
  const int thread = static_cast<int>(threadIdx.x), features = layout.features, outputs = layout.outputs;
  const auto count_of = [&](std::int64_t tile) {
    const std::int64_t left = rows.n - tile * kSamples;
    return left < kSamples ? static_cast<int>(left) : kSamples;
  };
  const auto fetch = [&](std::int64_t tile, float* x) {
    const int count = count_of(tile);
    const float* const from = rows.inputs + tile * kSamples * rows.inputs_per_row;
    if (rows.encoding != Encoding::none) {
      for (int s = thread; s < kSamples; s += kThreadsOf<kWidth>) {
        float point[3] = {0, 0, 0};
        if (s < count) encode_point(rows.encoding, from[2 * s], from[2 * s + 1], point);
        x[s] = point[0];
        x[kRow + s] = point[1];
        if (features == 3) x[2 * kRow + s] = point[2];
      }
      return;
    }
    for (int e = thread; e < kSamples * features; e += kThreadsOf<kWidth>) {
      const int s = e / features, f = e - s * features;
      x[f * kRow + s] = s < count ? from[e] : 0.0F;
    }
  };
  const auto emit = [&](std::int64_t network, std::int64_t tile, const float* top, const float* weights) {
    const int elements = count_of(tile) * outputs;
    float* const to = rows.scores + (network * rows.n + tile * kSamples) * outputs;
    for (int e = thread; e < elements; e += kThreadsOf<kWidth>) {
      const int s = e / outputs, j = e - s * outputs;
      to[e] = score_of(layout, weights, top, j, s);
    }
  };
  score_tiles<kWidth>(layout, packed, m, (rows.n + kSamples - 1) / kSamples, memory, fetch, emit);
}

template <int kWidth>
struct MlpForwardKernel {
  static constexpr auto kernel = mlp_forward_kernel<kWidth>;
};

// --- host side of training -------------------------------------------------------------------------------------------

// Features of data sets, encoded once for all runs that share one.
class FeatureTables {
 public:
  const float* of(const MlpShape& shape, View<const float> inputs, Context& context) {
    if (shape.encoding == Encoding::none) return inputs.data();
    auto& table = tables_[{inputs.data(), inputs.extent(0), shape.encoding}];
    if (table == nullptr) {
      const std::int64_t n = inputs.extent(0);
      const int features = feature_count(shape);
      table = std::make_unique<Scratch<float>>(n * features, context);
      launch(context, std::min<std::int64_t>(ceil_div(n, 256), 4096), 256, 0, mlp_encode_kernel, shape.encoding,
             inputs.data(), n, features, table->data());
    }
    return table->data();
  }

 private:
  std::map<std::tuple<const float*, std::int64_t, Encoding>, std::unique_ptr<Scratch<float>>> tables_;
};

std::size_t train_shared_bytes(const MlpLayout& layout, bool moments_on_chip) {
  const TrainParts parts = TrainParts::of(layout, true);
  const int networks = !moments_on_chip ? 1 : layout.precision == Precision::fp32 ? 3 : 4;
  return sizeof(TrainShared<kSamples>) + static_cast<std::size_t>(parts.network * networks + parts.planes) * 4;
}

// Which kernel trains a run.
struct TrainClass {
  int width;   // the narrowest class that holds it, if its memory fits on chip; otherwise 0
  bool split;  // below fp32, which takes two hidden layers to differ from it
  auto operator<=>(const TrainClass&) const = default;
};

TrainClass train_class(const MlpShape& shape, Precision precision, Context& context) {
  const bool split = precision != Precision::fp32 && shape.hidden_layers > 1;
  const int width = class_of(shape);
  if (width == 0) return {0, split};
  const std::size_t bytes = train_shared_bytes(make_layout(shape, width, split ? precision : Precision::fp32), false);
  return {bytes <= static_cast<std::size_t>(max_shared_bytes(context)) ? width : 0, split};
}

// use<Crew>() for the crew that trains a class.
template <class Use>
auto with_crew(const TrainClass& of, Use use) {
  const auto either = [&]<class Crew>() {
    return of.split ? use.template operator()<Tensor<Crew>>() : use.template operator()<Crew>();
  };
  switch (of.width) {
    case 16: return either.template operator()<Trainer<16>>();
    case 32: return either.template operator()<Trainer<32>>();
    case 64: return either.template operator()<Trainer<64>>();
    default: return either.template operator()<Team>();
  }
}

// The runs of one class, ready to be trained slice by slice.
class JobClass {
 public:
  // `jobs` are taken from the queue in the order given.
  JobClass(const TrainClass& of, std::vector<Job> jobs, Context& context)
      : class_(of),
        jobs_(std::move(jobs)),
        on_device_(static_cast<std::int64_t>(jobs_.size()), context),
        queue_(1, context) {
    const auto count = static_cast<std::int64_t>(jobs_.size());
    if (of.width == 0) {
      crews_ = choose_teams(context);
    } else {
      std::size_t bytes_with_moments = 0;
      for (const Job& job : jobs_) {
        shared_bytes_ = std::max(shared_bytes_, train_shared_bytes(job.layout, false));
        bytes_with_moments = std::max(bytes_with_moments, train_shared_bytes(job.layout, true));
      }
      crews_ = std::min(count, resident(shared_bytes_, context));
      if (bytes_with_moments <= static_cast<std::size_t>(max_shared_bytes(context)) &&
          std::min(count, resident(bytes_with_moments, context)) >= crews_) {
        moments_on_chip_ = true;
        shared_bytes_ = bytes_with_moments;
      }
    }
    context.backend().upload(on_device_.data(), jobs_.data(), jobs_.size() * sizeof(Job), context);
    for (const Job& job : jobs_) {
      const TrainParts parts = TrainParts::of(job.layout, of.width > 0);
      floats_ = std::max(floats_,
                         workspace_parts(of.split) * parts.network + (of.width > 0 ? 0 : parts.network + parts.planes));
    }
    const std::size_t free_bytes = context.backend().memory_free(context);
    const auto fit = static_cast<std::int64_t>(free_bytes / 2 / sizeof(float)) / floats_;
    crews_ = std::clamp<std::int64_t>(fit, 1, crews_);
    workspace_ = std::make_unique<Scratch<float>>(crews_ * floats_, context);
    states_ = std::make_unique<Scratch<TeamState>>(crews_, context);
  }

  // Queues one launch.
  void train(int slice, int slices, Context& context) {
    SCALELAB_CHECK(cudaMemsetAsync(queue_.data(), 0, sizeof(int), stream_of(context)));
    const auto state_bytes = static_cast<std::size_t>(crews_) * sizeof(TeamState);
    SCALELAB_CHECK(cudaMemsetAsync(states_->data(), 0, state_bytes, stream_of(context)));
    Together together;
    if (team_blocks_ > 1) together = clusters_ ? Together{team_blocks_, false} : Together{1, true};
    with_crew(class_, [&]<class Crew>() {
      launch_together(context, together, crews_ * team_blocks_, Crew::kThreads, shared_bytes_, mlp_train_kernel<Crew>,
                      on_device_.data(), static_cast<int>(jobs_.size()), queue_.data(), moments_on_chip_,
                      workspace_->data(), floats_, Teams{team_blocks_, clusters_, states_->data()}, slice, slices);
    });
  }

 private:
  std::int64_t resident(std::size_t bytes, Context& context) const {
    return with_crew(
        class_, [&]<class Crew>() { return resident_blocks(context, mlp_train_kernel<Crew>, Crew::kThreads, bytes); });
  }

  // Sets the teams and the planes of their jobs; returns how many teams there are.
  std::int64_t choose_teams(Context& context) {
    shared_bytes_ = sizeof(SharedOf<Team>);
    const auto count = static_cast<std::int64_t>(jobs_.size());
    const std::int64_t most = resident(shared_bytes_, context);
    // As many blocks as a plane gives four warps of tiles each, one for each of a multiprocessor's schedulers.
    const auto samples_of = [](const Job& job) {
      const std::int64_t samples = std::min<std::int64_t>(job.batch, Team::kMaxSamples);
      return round_up(static_cast<int>(samples), kSamples);
    };
    std::int64_t useful = 1;
    for (const Job& job : jobs_) {
      const std::int64_t tiles = std::int64_t{job.layout.padded / Team::kTileRows} * samples_of(job) / kTileColumns;
      useful = std::max(useful, tiles / (4 * kWarp));
    }
    const std::int64_t share = std::max<std::int64_t>(1, std::min(useful, most / count));
    team_blocks_ = static_cast<int>(std::bit_floor(static_cast<std::uint64_t>(share)));
    if (team_blocks_ == 1) return std::min(count, most);
    const auto has = [&](cudaDeviceAttr attribute) {
      int value = 0;
      SCALELAB_CHECK(cudaDeviceGetAttribute(&value, attribute, context.device()));
      return value != 0;
    };
    int fit = 0;
    if (team_blocks_ <= kMaxCluster && has(cudaDevAttrClusterLaunch)) {
      cudaLaunchAttribute cluster = Together{team_blocks_, false}.attribute();
      cudaLaunchConfig_t config{};
      config.gridDim = dim3(static_cast<unsigned>(team_blocks_));
      config.blockDim = dim3(kThreadsOf<0>);
      config.dynamicSmemBytes = shared_bytes_;
      config.attrs = &cluster;
      config.numAttrs = 1;
      const cudaError_t asked = class_.split
                                    ? cudaOccupancyMaxActiveClusters(&fit, mlp_train_kernel<Tensor<Team>>, &config)
                                    : cudaOccupancyMaxActiveClusters(&fit, mlp_train_kernel<Team>, &config);
      if (asked != cudaSuccess) {  // a part of a device may refuse the size: no clusters, but no error
        cudaGetLastError();
        fit = 0;
      }
      clusters_ = fit > 0;
    }
    if (!clusters_ && has(cudaDevAttrCooperativeLaunch)) fit = static_cast<int>(most / team_blocks_);
    if (fit == 0) {
      team_blocks_ = 1;
      return std::min(count, most);
    }
    for (Job& job : jobs_) job.layout.samples = samples_of(job);
    return std::min<std::int64_t>(count, fit);
  }

  static constexpr int kMaxCluster = 8;  // blocks; what every device with clusters takes

  TrainClass class_;
  std::vector<Job> jobs_;
  Scratch<Job> on_device_;
  Scratch<int> queue_;
  std::unique_ptr<Scratch<float>> workspace_;
  std::unique_ptr<Scratch<TeamState>> states_;
  std::int64_t floats_ = 0, crews_ = 0;  // floats of workspace per crew
  int team_blocks_ = 1;
  bool clusters_ = false;
  std::size_t shared_bytes_ = 0;
  bool moments_on_chip_ = false;
};

// Multiply-adds of a run's forward passes.
double cost_of(const Job& job) {
  return static_cast<double>(job.p) * static_cast<double>(job.r) * (job.epoch_end - job.epoch_begin);
}

// What training is cut by: batches of the longest run, and the seconds that all runs will take, roughly.
class Length {
 public:
  void add(const Job& job, const TrainClass& of) {
    const std::int64_t steps = (job.r + job.batch - 1) / job.batch * (job.epoch_end - job.epoch_begin);
    const int tile = of.width > 0 ? kSamples : Team::kMaxSamples;
    const double tiles = static_cast<double>(steps) * static_cast<double>(ceil_div(job.batch, tile));
    most_steps_ = std::max(most_steps_, steps);
    most_tiles_ = std::max(most_tiles_, tiles);
    tiles_ += tiles;
    most_ = std::max(most_, cost_of(job));
    all_ += cost_of(job);
  }

  // So many parts that each takes `seconds` at most: where a multiprocessor does 10^11 multiply-adds a second, and where
  // a tile of samples takes as long as the way through a network's layers, back and forth, whatever there is to compute
  // (counted: bench/results/gpu-training.md, and as much again); one run after the other on each multiprocessor.
  int parts(double seconds, Context& context) const {
    constexpr double kSecondsOfATile = 20e-6, kMostParts = 1e6;  // of more parts, launches alone take seconds
    int multiprocessors = 0;
    SCALELAB_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, context.device()));
    const double whole = std::max(
        {most_ / 0x1p35, all_ / 0x1p41, most_tiles_ * kSecondsOfATile, tiles_ / multiprocessors * kSecondsOfATile});
    return static_cast<int>(
        std::clamp(std::ceil(whole / seconds), 1.0, std::min(static_cast<double>(most_steps_), kMostParts)));
  }

 private:
  std::int64_t most_steps_ = 1;  // of one run
  double most_tiles_ = 0, tiles_ = 0, most_ = 0, all_ = 0;
};

// How long a launch of training may last: as the environment says; little where the device ends kernels that take long,
// as one with a display may; half a second where somebody wants to hear of progress; otherwise for ever.
double seconds_of_a_launch(Context& context) {
  if (const char* asked = std::getenv("SCALELAB_LAUNCH_SECONDS")) {
    const double seconds = std::atof(asked);
    if (seconds > 0) return seconds;
    throw std::invalid_argument(std::string("SCALELAB_LAUNCH_SECONDS must be a number above 0, not ") + asked);
  }
  int ends_kernels = 0;
  SCALELAB_CHECK(cudaDeviceGetAttribute(&ends_kernels, cudaDevAttrKernelExecTimeout, context.device()));
  if (ends_kernels != 0) return 0.2;
  return context.progress ? 0.5 : std::numeric_limits<double>::infinity();
}

// Jobs by class, the longest of each first.
std::vector<std::unique_ptr<JobClass>> classes_of(std::map<TrainClass, std::vector<Job>> jobs, Context& context) {
  std::vector<std::unique_ptr<JobClass>> classes;
  for (auto& [of, members] : jobs) {
    std::stable_sort(members.begin(), members.end(),
                     [](const Job& a, const Job& b) { return cost_of(a) > cost_of(b); });
    classes.push_back(std::make_unique<JobClass>(of, std::move(members), context));
  }
  return classes;
}

// Throws when a run names a row it does not have. Waits for the device.
void check_rows(std::span<const MlpRun> runs, Context& context) {
  std::vector<RowList> lists;
  std::vector<std::size_t> owners;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].rows.empty()) continue;
    lists.push_back({runs[i].rows.data(), runs[i].rows.size(), runs[i].inputs.extent(0)});
    owners.push_back(i);
  }
  if (lists.empty()) return;
  const auto count = static_cast<std::int64_t>(lists.size());
  std::vector<int> first_bad(lists.size(), std::numeric_limits<int>::max());
  const Scratch<RowList> on_device(count, context);
  const Scratch<int> results(count, context);
  const Backend& backend = context.backend();
  backend.upload(on_device.data(), lists.data(), lists.size() * sizeof(RowList), context);
  backend.upload(results.data(), first_bad.data(), first_bad.size() * sizeof(int), context);
  launch(context, count, 256, 0, mlp_check_rows_kernel, on_device.data(), results.data());
  backend.download(first_bad.data(), results.data(), first_bad.size() * sizeof(int), context);
  for (std::size_t i = 0; i < lists.size(); ++i) {
    if (first_bad[i] == std::numeric_limits<int>::max()) continue;
    int row = 0;
    backend.download(&row, lists[i].rows + first_bad[i], sizeof row, context);
    refuse_mlp_row(owners[i], first_bad[i], row, lists[i].n);
  }
}

Job job_of(const MlpRun& run, const TrainClass& of, const float* features, int* status) {
  Job job{};
  job.layout = make_layout(run.shape, of.width, of.split ? run.precision : Precision::fp32);
  job.gamma = run.loss.focal_gamma;
  job.features = features;
  job.labels = run.labels.data();
  job.rows = run.rows.empty() ? nullptr : run.rows.data();
  job.r = row_count(run);
  job.batch = run.batch_size == 0 ? job.r : std::min<std::int64_t>(run.batch_size, job.r);
  job.shuffle = run.shuffle;
  job.seed = run.seed;
  job.parameters = run.parameters.data();
  job.p = run.parameters.size();
  job.weight_mask = run.weight_mask.empty() ? nullptr : run.weight_mask.data();
  job.state = run.state.empty() ? nullptr : run.state.data();
  job.epoch_losses = run.epoch_losses.empty() ? nullptr : run.epoch_losses.data();
  job.diverged = run.diverged.empty() ? nullptr : run.diverged.data();
  job.status = status;
  job.epochs = run.epochs;
  job.epoch_begin = run.epoch_begin;
  job.epoch_end = epoch_end_of(run);
  job.learning_rate = run.learning_rate;
  job.momentum = run.momentum;
  job.beta1 = run.beta1;
  job.beta2 = run.beta2;
  job.epsilon = run.epsilon;
  job.weight_decay = run.weight_decay;
  job.schedule = run.schedule;
  job.optimizer = run.optimizer;
  return job;
}

}  // namespace

void pack_networks(const MlpLayout& layout, View<const float> parameters, float* packed, Context& context) {
  launch(context, parameters.extent(0), 256, 0, mlp_pack_kernel, layout, parameters.data(), parameters.extent(1),
         packed);
}

void mlp_forward(const MlpShape& shape, View<const float> parameters, View<const float> inputs, View<float> scores,
                 Context& context) {
  const Range range("mlp_forward");
  check_mlp_forward(shape, parameters, inputs, scores);
  if (scores.empty()) return;
  const std::int64_t n = inputs.extent(0);
  const Rows rows{inputs.data(), n, shape.inputs, shape.encoding, scores.data()};
  launch_scoring<MlpForwardKernel>(shape, parameters, parameters.extent(0) * ceil_div(n, kSamples), 0, context, rows);
}

void mlp_backward(const MlpShape& shape, const MlpLoss& loss, View<const float> parameters, View<const float> inputs,
                  View<const std::uint8_t> labels, View<float> gradients, View<float> losses, Context& context) {
  const Range range("mlp_backward");
  check_mlp_backward(shape, loss, parameters, inputs, labels, gradients, losses);
  if (parameters.empty()) return;
  // A run of one epoch in one batch that keeps its gradient in place of taking the step.
  const std::int64_t m = parameters.extent(0), p = parameters.extent(1);
  FeatureTables tables;
  const float* const features = tables.of(shape, inputs, context);
  const TrainClass of = train_class(shape, Precision::fp32, context);
  const Scratch<int> status(1, context);
  SCALELAB_CHECK(cudaMemsetAsync(status.data(), 0xff, sizeof(int), stream_of(context)));
  MlpRun run;
  run.shape = shape;
  run.loss = loss;
  run.inputs = inputs;
  run.labels = labels;
  run.shuffle = false;
  run.epochs = 1;
  run.batch_size = 0;
  std::vector<Job> jobs;
  for (std::int64_t i = 0; i < m; ++i) {
    Job job = job_of(run, of, features, status.data());
    job.parameters = const_cast<float*>(parameters.data()) + i * p;  // only read
    job.p = p;
    job.gradients = gradients.data() + i * p;
    job.loss = losses.data() + i;
    jobs.push_back(job);
  }
  JobClass(of, std::move(jobs), context).train(0, 1, context);
}

void mlp_train(std::span<const MlpRun> runs, Context& context) {
  const Range range("mlp_train");
  check_mlp_runs(runs);
  check_rows(runs, context);
  if (runs.empty()) return;

  FeatureTables tables;
  std::map<TrainClass, std::vector<Job>> by_class;
  const Scratch<int> statuses(static_cast<std::int64_t>(runs.size()), context);
  SCALELAB_CHECK(cudaMemsetAsync(statuses.data(), 0xff, runs.size() * sizeof(int), stream_of(context)));
  Length length;
  std::int64_t samples = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const TrainClass of = train_class(runs[i].shape, runs[i].precision, context);
    const Job job = job_of(runs[i], of, tables.of(runs[i].shape, runs[i].inputs, context), statuses.data() + i);
    by_class[of].push_back(job);
    length.add(job, of);
    samples += job.r * (job.epoch_end - job.epoch_begin);
  }
  // Parts give the bits of the whole: what an epoch has summed is carried over, and in scratch the state of runs that
  // have none.
  const int slices = length.parts(seconds_of_a_launch(context), context);
  const std::int64_t sums = slices > 1 ? static_cast<std::int64_t>(runs.size()) * kSamples : 0;
  const Scratch<double> epoch_sums(sums, context);
  std::int64_t carried = 0;
  for (auto& [of, jobs] : by_class) {
    for (const Job& job : jobs) carried += job.state == nullptr && slices > 1 ? 2 * job.p : 0;
  }
  const Scratch<float> states(carried, context);
  SCALELAB_CHECK(
      cudaMemsetAsync(states.data(), 0, static_cast<std::size_t>(carried) * sizeof(float), stream_of(context)));
  std::int64_t at = 0, sums_at = 0;
  for (auto& [of, jobs] : by_class) {
    for (Job& job : jobs) {
      if (slices == 1) continue;
      job.sums = epoch_sums.data() + sums_at;
      sums_at += kSamples;
      if (job.state != nullptr) continue;
      job.state = states.data() + at;
      at += 2 * job.p;
    }
  }
  const auto classes = classes_of(std::move(by_class), context);
  for (int slice = 0; slice < slices; ++slice) {
    for (const auto& members : classes) members->train(slice, slices, context);
    if (!context.progress) continue;
    context.synchronize();
    context.progress(static_cast<std::int64_t>(static_cast<double>(samples) * (slice + 1) / slices), samples);
  }
}

}  // namespace scalelab::cuda
