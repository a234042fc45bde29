// grid: neighbours, labels and the true spiral at every centre of a large grid, beside nanoflann (and a vote), and
// scikit-learn, SciPy and FAISS on a sample of the cells, scaled. Every peer's answers are compared with ours.
#include "scalelab/grid.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/knn_peers.h"
#include "host/dataset.h"
#include "scalelab/buffer.h"
#include "scalelab/random.h"

namespace scalelab::bench {
namespace {

struct Case {
  const char* data;  // uniform, mixture (SPEC's spots), clusters, collinear, pairs
  std::int64_t n, size, k;
  double noise;
  bool labels;        // else ids
  const char* peers;  // of Python, timed on a sample
};

host::Dataset make_data(const Case& c) {
  const std::string kind = c.data;
  if (kind == "mixture") return host::sample_spiral(host::default_mixture(), Spiral(), c.n, 1, c.noise);
  host::Dataset data;
  data.points.resize(static_cast<std::size_t>(2 * c.n));
  data.labels.resize(static_cast<std::size_t>(c.n));
  for (std::int64_t i = 0; i < c.n; ++i) {
    float* p = &data.points[static_cast<std::size_t>(2 * i)];
    const std::uint64_t source = static_cast<std::uint64_t>(kind == "pairs" ? i / 2 : i);
    const Words words = random_words(1, Stream::points, source);
    p[0] = 2 * uniform_float(words[0]) - 1;
    p[1] = 2 * uniform_float(words[1]) - 1;
    if (kind == "collinear") p[1] = 0.5F * p[0];
    if (kind == "clusters" && i % 2 == 0) {  // half of the points in 20 clusters of width 1e-6
      const Words centre = random_words(2, Stream::points, source / 2 % 20);
      for (int axis = 0; axis < 2; ++axis) p[axis] = 2 * uniform_float(centre[axis]) - 1 + 1e-6F * p[axis];
    }
    const bool turned = uniform_double(words[2], words[3]) < c.noise;
    data.labels[static_cast<std::size_t>(i)] = Spiral().inside(p[0], p[1]) != turned;
  }
  return data;
}

std::uint8_t vote(const int* ids, std::int64_t k, const std::vector<std::uint8_t>& labels) {
  std::int64_t ones = 0;
  for (std::int64_t j = 0; j < k; ++j) ones += labels[static_cast<std::size_t>(ids[j])];
  return 2 * ones > k;
}

float centre(const Grid& grid, std::int64_t i, int axis) {
  return axis == 0 ? std::fma(static_cast<float>(i) + 0.5F, grid.step_x(), grid.x_min)
                   : std::fma(static_cast<float>(i) + 0.5F, grid.step_y(), grid.y_min);
}

void run(Bench& bench, Context& context, const Case& c) {
  const std::string name = fmt::format("{} {} {}^2, {} refs, k = {}{}", c.labels ? "labels" : "ids", c.data, c.size,
                                       c.n, c.k, c.noise > 0 ? fmt::format(", {:g} % noise", 100 * c.noise) : "");
  if (!bench.wants(name)) return;
  const host::Dataset data = make_data(c);
  const Grid grid{c.size};
  const std::int64_t cells = c.size * c.size, k = c.k;
  const Buffer<float> references(context, data.points, {c.n, 2});
  const Buffer<std::uint8_t> reference_labels(context, data.labels, {c.n});
  Buffer<int> ids(context, {c.labels ? 0 : c.size, c.size, k});
  Buffer<std::uint8_t> labels(context, {c.labels ? c.size : 0, c.size});
  const Backend& backend = context.backend();
  bench.time(
      name, backend.name, static_cast<double>(cells), "query",
      [&] {
        if (c.labels) {
          backend.grid_knn_labels(references, reference_labels, static_cast<int>(k), grid, 0, labels, context);
        } else {
          backend.grid_knn(references, grid, 0, ids, View<float>(), context);
        }
        context.synchronize();
      },
      backend.describe(context));
  if (!bench.peers()) return;
  const std::vector<int> our_ids = ids.to_host();
  const std::vector<std::uint8_t> our_labels = labels.to_host();

#if SCALELAB_HAS_NANOFLANN
  std::vector<int> their_ids(our_ids.size());
  std::vector<std::uint8_t> their_labels(our_labels.size());
  bench.time(
      name, c.labels ? "nanoflann + vote" : "nanoflann", static_cast<double>(cells), "query",
      [&] {
        const Nanoflann<2> tree(data.points);
        in_parallel(context.threads(), c.size, [&](std::int64_t begin, std::int64_t end) {
          std::vector<int> nearest(static_cast<std::size_t>(k));
          std::vector<float> distances(static_cast<std::size_t>(k));
          for (std::int64_t row = begin; row < end; ++row) {
            for (std::int64_t column = 0; column < c.size; ++column) {
              const float query[2] = {centre(grid, column, 0), centre(grid, row, 1)};
              const std::int64_t cell = row * c.size + column;
              int* to = c.labels ? nearest.data() : &their_ids[static_cast<std::size_t>(cell * k)];
              tree.ask(query, static_cast<int>(k), to, distances.data());
              if (c.labels) their_labels[static_cast<std::size_t>(cell)] = vote(to, k, data.labels);
            }
          }
        });
      },
      fmt::format("{} threads", context.threads()));
  if (c.labels) {
    compare_labels("nanoflann + vote", our_labels, their_labels);
  } else {
    std::vector<float> queries;
    for (std::int64_t cell = 0; cell < cells; ++cell) {
      queries.push_back(centre(grid, cell % c.size, 0));
      queries.push_back(centre(grid, cell / c.size, 1));
    }
    compare_neighbours("nanoflann", data.points, queries, 2, k, our_ids, their_ids, false);
  }
#else
  fmt::print("  {:<34} absent: nanoflann.hpp was not found (libnanoflann-dev)\n", "nanoflann");
#endif

  if (std::string(c.peers).empty()) return;
  // Whole rows, evenly spaced, so that peers see neighbouring queries one after the other as in the whole grid.
  const std::int64_t rows = std::min<std::int64_t>(c.size, 65536 / c.size), sample = rows * c.size;
  std::vector<float> asked;
  std::vector<int> ids_of_asked;
  std::vector<std::uint8_t> labels_of_asked;
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t row = (2 * i + 1) * c.size / (2 * rows);
    for (std::int64_t column = 0; column < c.size; ++column) {
      asked.push_back(centre(grid, column, 0));
      asked.push_back(centre(grid, row, 1));
    }
    const std::int64_t first = row * c.size;
    if (c.labels) {
      labels_of_asked.insert(labels_of_asked.end(), &our_labels[first], &our_labels[first] + c.size);
    } else {
      ids_of_asked.insert(ids_of_asked.end(), &our_ids[first * k], &our_ids[first * k] + c.size * k);
    }
  }
  const PeerFolder folder;
  folder.write("references.f32", data.points);
  folder.write("labels.u8", data.labels);
  folder.write("queries.f32", asked);
  const auto peers = bench.peer(name, "knn.py",
                                fmt::format("{} {} 2 {} {} {} 1 {} {}", folder.path().string(), c.n, sample, cells, k,
                                            c.labels ? "labels" : "ids", c.peers));
  for (const auto& row : peers) {
    if (row.contains("absent")) continue;
    const std::string who = row["who"];
    if (c.labels) {
      compare_labels(who, labels_of_asked, folder.read<std::uint8_t>(who + ".labels.u8", labels_of_asked.size()));
    } else {
      compare_neighbours(who, data.points, asked, 2, k, ids_of_asked,
                         folder.read<int>(who + ".ids.i32", ids_of_asked.size()), who == "faiss");
    }
  }
}

void run_truth(Bench& bench, Context& context) {
  const std::int64_t size = 4096;
  const Backend& backend = context.backend();
  const Grid grid{size};
  Buffer<std::uint8_t> truth(context, {size, size});
  if (bench.wants("spiral labels 4096^2")) {
    bench.time("spiral labels 4096^2", backend.name, static_cast<double>(size * size), "query", [&] {
      backend.grid_spiral_labels(Spiral(), grid, 0, truth, context);
      context.synchronize();
    });
  }
  if (bench.wants("label confusion 4096^2, 2 classes")) {
    backend.grid_spiral_labels(Spiral(), grid, 0, truth, context);
    const std::vector<std::int64_t> zeros(4);
    Buffer<std::int64_t> counts(context, zeros, {2, 2});
    bench.time("label confusion 4096^2, 2 classes", backend.name, static_cast<double>(size * size), "label", [&] {
      backend.label_confusion(truth, truth, counts, context);
      context.synchronize();
    });
  }
}

// Peak memory of a process that makes one label map and nothing else. In a child, and before any thread is started.
void peak_memory(Bench& bench) {
  const std::int64_t size = 16384;
  if (!bench.wants("peak memory of labels mixture 16384^2")) return;
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("cannot fork");
  if (child == 0) {
    Context context(cpu_backend(), 0, bench.threads());
    const host::Dataset data = make_data({"mixture", 10000, size, 5, 0, true, ""});
    const Buffer<float> references(context, data.points, {10000, 2});
    const Buffer<std::uint8_t> reference_labels(context, data.labels, {10000});
    Buffer<std::uint8_t> labels(context, {size, size});
    cpu::grid_knn_labels(references, reference_labels, 5, Grid{size}, 0, labels, context);
    _exit(0);
  }
  int status = 0;
  rusage usage{};
  wait4(child, &status, 0, &usage);
  if (status != 0) throw std::runtime_error("the child that makes a map failed");
  fmt::print("peak memory of labels mixture 16384^2, 10000 refs, k = 5 (cpu): {:.0f} MB, of which the map {:.0f} MB\n",
             static_cast<double>(usage.ru_maxrss) * 1024e-6, static_cast<double>(size * size) * 1e-6);
}

}  // namespace
}  // namespace scalelab::bench

int main(int argc, char** argv) {
  using namespace scalelab;
  bench::Bench bench(argc, argv);
  bench::peak_memory(bench);
  const Backend* gpu = cuda_backend();
  Context context(gpu != nullptr ? *gpu : cpu_backend(), 0, bench.threads());
  const bench::Case cases[] = {
      {"uniform", 10000, 4096, 5, 0, false, "scipy,sklearn,faiss"},
      {"mixture", 10000, 4096, 5, 0, false, "scipy,sklearn"},
      {"uniform", 10000, 4096, 5, 0, true, "sklearn"},
      {"mixture", 10000, 4096, 5, 0, true, "sklearn"},
      {"mixture", 10000, 4096, 5, 0.1, true, "sklearn"},
      {"uniform", 10000, 4096, 1, 0, false, ""},
      {"uniform", 10000, 4096, 15, 0, false, ""},
      {"uniform", 10000, 2048, 31, 0, false, ""},
      {"uniform", 1000000, 4096, 5, 0, false, ""},
      {"clusters", 10000, 2048, 5, 0, false, ""},
      {"clusters", 10000, 2048, 5, 0, true, ""},
      {"collinear", 10000, 1024, 5, 0, false, ""},
      {"pairs", 10000, 2048, 5, 0, false, ""},
  };
  for (const auto& c : cases) bench::run(bench, context, c);
  bench::run_truth(bench, context);
  return bench.finish(context);
}
