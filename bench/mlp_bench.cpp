// mlp: training, scoring and maps of small networks, against PyTorch and scikit-learn on one thread each, with the same
// network, data, batches and optimiser (Adam at a constant 3e-3). A quicker trainer that learns less is no trainer: the
// losses reached are printed side by side, and must agree (PyTorch within a fifth, from the same start).
#include <unistd.h>

#include <cmath>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "bench/bench.h"
#include "scalelab/buffer.h"
#include "scalelab/random.h"

namespace scalelab {
namespace {

constexpr float kRate = 3e-3F;
constexpr int kLast = 5;  // losses are means over this many last epochs

// Fused multiply-adds a core makes when nothing else is asked of it, in GFLOP/s of CPU time; 0: not known here. The
// empty asm makes the compiler believe that every sum is read, so that the loop stays.
#define SCALELAB_FMA_RATE(V, broadcast, fma)                          \
  V sums[12], factor = broadcast(0.999F), term = broadcast(0.001F);   \
  for (V & sum : sums) sum = term;                                    \
  constexpr int kSteps = 10'000'000;                                  \
  const double begin = bench::clock_seconds(CLOCK_THREAD_CPUTIME_ID); \
  for (int i = 0; i < kSteps; ++i) {                                  \
    for (V & sum : sums) sum = fma(factor, sum, term);                \
  }                                                                   \
  asm volatile("" : : "r"(sums) : "memory");                          \
  return 12.0 * 2 * (sizeof(V) / sizeof(float)) * kSteps * 1e-9 /     \
         (bench::clock_seconds(CLOCK_THREAD_CPUTIME_ID) - begin);
#if defined(__x86_64__)
[[gnu::target("avx512f")]] double fma_rate_avx512() { SCALELAB_FMA_RATE(__m512, _mm512_set1_ps, _mm512_fmadd_ps) }
[[gnu::target("avx2,fma")]] double fma_rate_avx2() { SCALELAB_FMA_RATE(__m256, _mm256_set1_ps, _mm256_fmadd_ps) }
double fma_rate() {
  if (__builtin_cpu_supports("avx512f")) return fma_rate_avx512();
  return __builtin_cpu_supports("fma") ? fma_rate_avx2() : 0;
}
#elif defined(__aarch64__)
double fma_rate() { SCALELAB_FMA_RATE(float32x4_t, vdupq_n_f32, vfmaq_f32) }
#else
double fma_rate() { return 0; }
#endif

// Training, per sample: forward 4 w^2 + 6 w, backward twice that without the gradient by the inputs (three hidden
// layers, two features). Scoring: the forward part.
double train_flop(double w) { return 12 * w * w + 14 * w; }
double score_flop(double w) { return 4 * w * w + 6 * w; }

// Times `work` and says what share of the cores' fused multiply-adds it used, by CPU time.
void time_flops(bench::Bench& bench, const std::string& name, const std::string& who, double units,
                const std::string& unit, double flop, const std::function<void()>& work, const std::string& note = "") {
  double cpu = 0;
  int runs = 0;
  bench.time(
      name, who, units, unit,
      [&] {
        const double begin = bench::clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
        work();
        cpu += bench::clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - begin;
        ++runs;
      },
      note);
  const double rate = units * flop * runs / cpu * 1e-9, peak = fma_rate();
  fmt::print("  {:<34} {:.1f} GFLOP/s a core", "", rate);
  if (peak > 0) fmt::print(", {:.0f} % of the {:.0f} of a loop of fused multiply-adds", 100 * rate / peak, peak);
  fmt::print("; {:.4g} {}/s of CPU time\n", units * runs / cpu, unit);
}

struct Data {
  std::vector<float> inputs;
  std::vector<std::uint8_t> labels;
};

Data spiral_points(std::int64_t n) {
  Data data{std::vector<float>(2 * n), std::vector<std::uint8_t>(n)};
  const Spiral spiral;
  for (std::int64_t i = 0; i < n; ++i) {
    const Words words = random_words(1, Stream::points, i);
    for (int c = 0; c < 2; ++c) data.inputs[2 * i + c] = 2 * uniform_float(words[c]) - 1;
    data.labels[i] = spiral.inside(data.inputs[2 * i], data.inputs[2 * i + 1]);
  }
  return data;
}

// Uniform +-1/sqrt(fan_in).
std::vector<float> start(const MlpShape& shape, std::uint64_t seed) {
  std::vector<float> values(parameter_count(shape));
  std::size_t at = 0;
  for (int l = 0; l <= shape.hidden_layers; ++l) {
    const int fan_in = l == 0 ? feature_count(shape) : shape.width;
    const int fan_out = l == shape.hidden_layers ? shape.outputs : shape.width;
    const float bound = 1 / std::sqrt(static_cast<float>(fan_in));
    for (int i = 0; i < fan_out * (fan_in + 1); ++i, ++at) {
      values[at] = bound * (2 * uniform_float(random_words(seed, Stream::weights, at)[0]) - 1);
    }
  }
  return values;
}

// m networks of three hidden layers, trained from the start at every call; returns the first one's loss.
struct Training {
  Training(Context& context, const Data& data, int m, int width, int batch, int epochs)
      : context_(context),
        inputs_(context, data.inputs, {static_cast<std::int64_t>(data.labels.size()), 2}),
        labels_(context, data.labels, {static_cast<std::int64_t>(data.labels.size())}),
        losses_(context, {m, epochs}) {
    for (int i = 0; i < m; ++i) {
      MlpRun run;
      run.shape.width = width;
      run.inputs = inputs_;
      run.labels = labels_;
      run.epochs = epochs;
      run.batch_size = batch;
      run.learning_rate = kRate;
      run.schedule = Schedule::constant;
      run.seed = i;
      starts_.push_back(start(run.shape, i));
      parameters_.emplace_back(context, std::initializer_list<std::int64_t>{parameter_count(run.shape)});
      run.parameters = parameters_.back();
      run.epoch_losses = View<float>(losses_.view().data() + i * epochs, {epochs});
      runs_.push_back(run);
    }
  }
  void operator()() {
    for (std::size_t i = 0; i < runs_.size(); ++i) parameters_[i].upload(starts_[i]);
    context_.backend().mlp_train(runs_, context_);
    context_.synchronize();
  }
  double loss() const {
    const std::vector<float> losses = losses_.to_host();
    double sum = 0;
    for (int i = 1; i <= kLast; ++i) sum += losses[runs_[0].epochs - i];
    return sum / kLast;
  }

 private:
  Context& context_;
  Buffer<float> inputs_;
  Buffer<std::uint8_t> labels_;
  Buffer<float> losses_;
  std::vector<std::vector<float>> starts_;
  std::vector<Buffer<float>> parameters_;
  std::vector<MlpRun> runs_;
};

int run(int argc, char** argv) {
  bench::Bench bench(argc, argv);
  Context one(cpu_backend(), 0, 1), all(cpu_backend(), 0, bench.threads());
  const std::int64_t n = 1000;
  const Data data = spiral_points(n);
  const auto file = std::filesystem::temp_directory_path() / fmt::format("mlp_bench_{}.f32", getpid());
  {
    std::ofstream out(file, std::ios::binary);
    for (std::int64_t i = 0; i < n; ++i) {
      const float row[3] = {data.inputs[2 * i], data.inputs[2 * i + 1], static_cast<float>(data.labels[i])};
      out.write(reinterpret_cast<const char*>(row), sizeof row);
    }
  }
  bool comparable = true;
  const std::string start_file = file.string() + ".start";  // PyTorch begins with the same numbers

  struct Case {
    int width, batch, epochs;
  };
  for (const Case& c : {Case{64, 64, 60}, {64, 0, 300}, {32, 64, 60}, {128, 64, 40}}) {
    const std::string name = fmt::format("train {0}-{0}-{0}, N = {1}, {2}", c.width, n,
                                         c.batch == 0 ? "full batch" : fmt::format("batch {}", c.batch));
    if (!bench.wants(name)) continue;
    Training training(one, data, 1, c.width, c.batch, c.epochs);
    time_flops(bench, name, "scalelab, 1 thread", static_cast<double>(n) * c.epochs, "samples", train_flop(c.width),
               [&] { training(); });
    {
      MlpShape shape;
      shape.width = c.width;
      const std::vector<float> values = start(shape, 0);
      std::ofstream out(start_file, std::ios::binary);
      out.write(reinterpret_cast<const char*>(values.data()),
                static_cast<std::streamsize>(values.size() * sizeof(float)));
    }
    const auto peers =
        bench.peer(name, "mlp.py",
                   fmt::format("train {} --start {} --width {} --batch {} --epochs {}{}", file.string(), start_file,
                               c.width, c.batch, c.epochs, c.width == 64 ? " --compile" : ""));
    fmt::print("  loss reached: scalelab {:.4f}", training.loss());
    for (const auto& peer : peers) {
      if (!peer.contains("loss")) continue;
      const double loss = peer["loss"];
      // scikit-learn draws its own start.
      const double factor = peer["who"].get<std::string>().find("PyTorch") == 0 ? 1.2 : 1.5;
      const bool near = loss < factor * training.loss() && training.loss() < factor * loss;
      comparable = comparable && near;
      fmt::print(", {} {:.4f}{}", peer["who"].get<std::string>(), loss, near ? "" : " (NOT COMPARABLE)");
    }
    fmt::print("\n");
  }

  if (const std::string name = "train 16 networks 64-64-64, N = 1000, batch 64"; bench.wants(name)) {
    Training training(all, data, 16, 64, 64, 20);
    time_flops(bench, name, fmt::format("scalelab, {} threads", all.threads()), 16.0 * n * 20, "samples",
               train_flop(64), [&] { training(); });
    Training alone(one, data, 16, 64, 64, 20);
    bench.time(name, "scalelab, 1 thread", 16.0 * n * 20, "samples", [&] { alone(); });
  }

  for (const int width : {64, 16}) {
    const std::string name = fmt::format("score {0}-{0}-{0}, 512 x 512 points", width);
    if (!bench.wants(name)) continue;
    const std::int64_t points = 512 * 512;
    MlpShape shape;
    shape.width = width;
    const Buffer<float> parameters(one, start(shape, 1), {1, parameter_count(shape)});
    std::vector<float> host(2 * points);
    for (std::int64_t i = 0; i < points; ++i) {
      host[2 * i] = static_cast<float>(i % 512) / 256 - 1;
      host[2 * i + 1] = static_cast<float>(i / 512) / 256 - 1;
    }
    const Buffer<float> inputs(one, host, {points, 2}), scores(one, {1, points, 1});
    const Buffer<std::uint8_t> labels(one, {1, 512, 512});
    time_flops(bench, name, "scalelab mlp_forward, 1 thread", points, "pixels", score_flop(width), [&] {
      one.backend().mlp_forward(shape, parameters, inputs, scores, one);
      one.synchronize();
    });
    for (const Encoding encoding : {Encoding::none, Encoding::polar}) {
      MlpShape encoded = shape;
      encoded.encoding = encoding;
      time_flops(bench, name, encoding == Encoding::none ? "scalelab grid map, xy" : "scalelab grid map, polar", points,
                 "pixels", score_flop(width), [&] {
                   one.backend().grid_mlp_labels(encoded, parameters, {.size = 512}, 0, labels, one);
                   one.synchronize();
                 });
    }
    bench.peer(name, "mlp.py", fmt::format("forward --width {} --points {}", width, points));
  }

  std::filesystem::remove(file);
  std::filesystem::remove(start_file);
  const int code = bench.finish(one);
  if (!comparable) fmt::print(stderr, "a peer's loss is not comparable with ours: the times say nothing\n");
  return code != 0 ? code : comparable ? 0 : 5;
}

}  // namespace
}  // namespace scalelab

int main(int argc, char** argv) { return scalelab::run(argc, argv); }
