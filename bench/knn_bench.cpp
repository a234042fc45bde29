// knn: neighbours of arbitrary queries, beside nanoflann, SciPy, scikit-learn, FAISS and PyTorch on as many threads,
// and with a GPU beside PyTorch, CuPy and KeOps on it. Building an index counts, ours and theirs. Every peer's answers
// are compared with ours.
#include "scalelab/knn.h"

#include "bench/bench.h"
#include "bench/knn_peers.h"
#include "scalelab/buffer.h"
#include "scalelab/random.h"

namespace scalelab::bench {
namespace {

struct Case {
  const char* data;  // uniform, clusters
  std::int64_t n, q, d, k;
  std::int64_t sample;  // queries that Python's peers are timed on
  const char* peers;
};

std::vector<float> make_points(const Case& c, std::int64_t count, std::uint64_t seed) {
  std::vector<float> points(static_cast<std::size_t>(count * c.d));
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t f = 0; f < c.d; ++f) {
      const auto lane = static_cast<std::uint32_t>(f);
      float& x = points[static_cast<std::size_t>(i * c.d + f)];
      x = 2 * uniform_float(random_words(seed, Stream::points, static_cast<std::uint64_t>(i), lane)[0]) - 1;
      if (std::string(c.data) == "clusters" && i % 2 == 0) {  // half of the points in 20 clusters of width 1e-6
        const std::uint64_t cluster = static_cast<std::uint64_t>(i) / 2 % 20;
        x = 2 * uniform_float(random_words(3, Stream::points, cluster, lane)[0]) - 1 + 1e-6F * x;
      }
    }
  }
  return points;
}

#if SCALELAB_HAS_NANOFLANN
template <int kFeatures>
void time_nanoflann(Bench& bench, const std::string& name, const Case& c, const std::vector<float>& references,
                    const std::vector<float>& queries, const std::vector<int>& ours, int threads) {
  std::vector<int> ids(static_cast<std::size_t>(c.q * c.k));
  std::vector<float> distances(ids.size());
  bench.time(
      name, "nanoflann", static_cast<double>(c.q), "query",
      [&] {
        const Nanoflann<kFeatures> tree(references);
        in_parallel(threads, c.q, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) {
            tree.ask(&queries[i * c.d], static_cast<int>(c.k), &ids[i * c.k], &distances[i * c.k]);
          }
        });
      },
      fmt::format("{} threads", threads));
  compare_neighbours("nanoflann", references, queries, c.d, c.k, ours, ids, false);
}
#endif

void run(Bench& bench, Context& context, const Case& c) {
  const std::string name = fmt::format("{} {} refs, {} queries, d = {}, k = {}", c.data, c.n, c.q, c.d, c.k);
  if (!bench.wants(name)) return;
  const std::vector<float> references = make_points(c, c.n, 1), queries = make_points(c, c.q, 2);
  const Buffer<float> r(context, references, {c.n, c.d}), x(context, queries, {c.q, c.d});
  Buffer<int> indices(context, {c.q, c.k});
  Buffer<float> distances(context, {c.q, c.k});
  const Backend& backend = context.backend();
  bench.time(
      name, backend.name, static_cast<double>(c.q), "query",
      [&] {
        backend.knn(r, x, indices, distances, context);
        context.synchronize();
      },
      backend.describe(context));
  if (!bench.peers()) return;
  const std::vector<int> ours = indices.to_host();
  if (c.d <= 3) {
#if SCALELAB_HAS_NANOFLANN
    if (c.d == 2) time_nanoflann<2>(bench, name, c, references, queries, ours, context.threads());
    if (c.d == 3) time_nanoflann<3>(bench, name, c, references, queries, ours, context.threads());
#else
    fmt::print("  {:<34} absent: nanoflann.hpp was not found (libnanoflann-dev)\n", "nanoflann");
#endif
  }
  const PeerFolder folder;
  const std::vector<float> asked(queries.begin(), queries.begin() + c.sample * c.d);
  const std::vector<int> ours_of_asked(ours.begin(), ours.begin() + c.sample * c.k);
  folder.write("references.f32", references);
  folder.write("queries.f32", asked);
  const std::string shape = fmt::format("{} {} {} {} {} {} 1", folder.path().string(), c.n, c.d, c.sample, c.q, c.k);
  auto rows = bench.peer(name, "knn.py", fmt::format("{} ids {}", shape, c.peers));
  if (&backend != &cpu_backend()) {
    const auto on_gpu = bench.peer(name, "knn_gpu.py", shape + " cuda torch-gpu,cupy,keops");
    rows.insert(rows.end(), on_gpu.begin(), on_gpu.end());
  }
  for (const auto& row : rows) {
    if (row.contains("absent")) continue;
    const std::string who = row["who"];
    const auto theirs = folder.read<int>(who + ".ids.i32", ours_of_asked.size());
    compare_neighbours(
        who, references, asked, c.d, c.k, ours_of_asked, theirs,
        who != "keops" && (c.d > 3 || who == "faiss" || who == "torch" || who == "torch-gpu" || who == "cupy"));
  }
}

}  // namespace
}  // namespace scalelab::bench

int main(int argc, char** argv) {
  using namespace scalelab;
  bench::Bench bench(argc, argv);
  const Backend* gpu = cuda_backend();
  Context context(gpu != nullptr ? *gpu : cpu_backend(), 0, bench.threads());
  const bench::Case cases[] = {
      {"uniform", 1000000, 1000000, 3, 16, 20000, "scipy,sklearn"},
      {"uniform", 1000000, 1000000, 2, 5, 50000, "scipy,sklearn"},
      {"uniform", 10000, 1000000, 2, 5, 20000, "scipy,sklearn,faiss"},
      {"clusters", 1000000, 1000000, 2, 5, 20000, "scipy"},
      {"uniform", 100000, 1000000, 2, 128, 5000, "scipy,sklearn"},
      {"uniform", 100000, 5000, 128, 10, 5000, "faiss,torch,sklearn"},
      {"uniform", 100000, 1, 128, 10, 1, "faiss,torch"},
  };
  for (const auto& c : cases) bench::run(bench, context, c);
  return bench.finish(context);
}
