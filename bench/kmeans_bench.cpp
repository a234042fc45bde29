// k-means: Lloyd's iterations from given centroids, and k-means++, beside scikit-learn and FAISS on as many threads.
// A row is a whole fit, sorting and last assignment included; the note has the time per iteration, and for our row what
// an iteration adds once the points are sorted. Answers after one iteration are compared: see `compare`.
#include "scalelab/kmeans.h"

#include <unistd.h>

#include <cmath>
#include <fstream>
#include <numeric>

#include "bench/bench.h"
#include "scalelab/buffer.h"
#include "scalelab/random.h"

namespace scalelab::bench {
namespace {

struct Case {
  const char* data;  // uniform, clusters
  std::int64_t n, d, k;
  int iterations;
};

std::vector<float> make_points(const Case& c) {
  std::vector<float> points(static_cast<std::size_t>(c.n * c.d));
  const bool clusters = std::string(c.data) == "clusters";
  for (std::int64_t i = 0; i < c.n; ++i) {
    for (std::int64_t f = 0; f < c.d; ++f) {
      float& x = points[static_cast<std::size_t>(i * c.d + f)];
      const auto at = static_cast<std::uint64_t>(i);
      const auto lane = static_cast<std::uint32_t>(f);
      x = uniform_float(random_words(1, Stream::points, at, lane)[0]);
      if (clusters) {  // 64 spots of deviation 0.01
        const float centre = uniform_float(random_words(2, Stream::points, at % 64, lane)[0]);
        x = centre + 0.01F * static_cast<float>(normal_pair(random_words(3, Stream::points, at, lane)).first);
      }
    }
  }
  return points;
}

template <class T>
std::vector<T> read_file(const std::filesystem::path& file, std::size_t count) {
  std::vector<T> values(count);
  std::ifstream in(file, std::ios::binary);
  in.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(count * sizeof(T)));
  if (!in) throw std::runtime_error("cannot read " + file.string());
  return values;
}

void write_file(const std::filesystem::path& file, const std::vector<float>& values) {
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
}

// A peer's label may differ from ours only where its arithmetic cannot tell the two centroids apart: in fp64, the gap
// between the two distances must be within the rounding of the expanded form, x.x - 2 x.c + c.c in fp32 over d terms,
// and of the peer's centroids, which are sums of fp32.
void compare(const std::string& who, const Case& c, const std::vector<float>& points, const std::vector<float>& ours,
             const std::vector<int>& our_labels, const std::filesystem::path& folder) {
  const auto theirs = read_file<float>(folder / (who + ".centroids.f32"), ours.size());
  const auto labels = read_file<int>(folder / (who + ".labels.i32"), our_labels.size());
  double moved = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    moved = std::max(moved, std::abs(static_cast<double>(ours[i]) - static_cast<double>(theirs[i])));
  }
  std::int64_t differ = 0, unexplained = 0;
  for (std::int64_t i = 0; i < c.n; ++i) {
    const std::int64_t a = our_labels[static_cast<std::size_t>(i)], b = labels[static_cast<std::size_t>(i)];
    if (a == b) continue;
    ++differ;
    double distance_a = 0, distance_b = 0, magnitude = 0, reach = 0;
    for (std::int64_t f = 0; f < c.d; ++f) {
      const double x = points[static_cast<std::size_t>(i * c.d + f)];
      const double p = ours[static_cast<std::size_t>(a * c.d + f)], q = ours[static_cast<std::size_t>(b * c.d + f)];
      distance_a += (x - p) * (x - p);
      distance_b += (x - q) * (x - q);
      magnitude += x * x + 2 * std::abs(x) * (std::abs(p) + std::abs(q)) + p * p + q * q;
      reach += std::abs(x - p) + std::abs(x - q);
    }
    const double bound = 2 * (static_cast<double>(c.d) + 3) * 0x1p-24 * magnitude + 2 * moved * reach;
    unexplained += !(std::abs(distance_a - distance_b) <= bound);
  }
  fmt::print(
      "    {}: after one iteration centroids within {:.2g} of ours; {} of {} labels differ, {} by more than "
      "rounding explains\n",
      who, moved, differ, c.n, unexplained);
}

void lloyd(Bench& bench, Context& context, const Case& c) {
  const std::string name = fmt::format("{} {} x {}, K = {}, {} iterations", c.data, c.n, c.d, c.k, c.iterations);
  if (!bench.wants(name)) return;
  const std::vector<float> points = make_points(c);
  std::vector<float> start;
  for (std::int64_t j = 0; j < c.k; ++j) {
    const auto at = points.begin() + j * (c.n / c.k) * c.d;
    start.insert(start.end(), at, at + c.d);
  }
  const Buffer<float> p(context, points, {c.n, c.d});
  Buffer<float> centroids(context, {c.k, c.d});
  Buffer<int> labels(context, {c.n});
  const Backend& backend = context.backend();
  KmeansResult result;
  const auto fit = [&](int iterations) {
    centroids.upload(start);
    result = backend.kmeans_fit(p, centroids, labels, {.max_iterations = iterations, .tolerance = 0}, context);
    context.synchronize();
  };
  // What an iteration adds, in CPU time: between fits of I and 4 I iterations, the quickest of three, because
  // disturbances only add. The rest of a fit is sorting the points and the last assignment.
  const auto quickest = [&](int iterations) {
    double least = INFINITY;
    for (int run = 0; run < 3; ++run) {
      const double before = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
      fit(iterations);
      least = std::min(least, clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - before);
    }
    return least;
  };
  const double few = quickest(c.iterations), many = quickest(4 * c.iterations);
  const double added = (many - few) / (result.iterations - c.iterations);
  fit(c.iterations);
  if (result.converged) throw std::runtime_error(name + ": converged early, so that times would not compare");
  bench.time(
      name, backend.name, static_cast<double>(c.n) * static_cast<double>(c.k) * c.iterations, "pair",
      [&] { fit(c.iterations); },
      fmt::format("an iteration adds {:.2f} ms of CPU time; {} threads, inertia {:.8g}", 1e3 * added, context.threads(),
                  result.inertia));
  if (!bench.peers()) return;
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / fmt::format("scalelab_kmeans_{}", getpid());
  std::filesystem::create_directories(folder);
  write_file(folder / "points.f32", points);
  write_file(folder / "start.f32", start);
  const auto rows =
      bench.peer(name, "kmeans.py", fmt::format("{} {} {} {} {} 1", folder.string(), c.n, c.d, c.k, c.iterations));
  fit(1);
  for (const auto& row : rows) {
    if (!row.contains("absent")) compare(row["who"], c, points, centroids.to_host(), labels.to_host(), folder);
  }
  std::filesystem::remove_all(folder);
}

void plus_plus(Bench& bench, Context& context, const Case& c) {
  const std::string name = fmt::format("k-means++ {} {} x {}, K = {}", c.data, c.n, c.d, c.k);
  if (!bench.wants(name)) return;
  const std::vector<float> points = make_points(c);
  const Buffer<float> p(context, points, {c.n, c.d});
  Buffer<float> centroids(context, {c.k, c.d});
  bench.time(name, context.backend().name, static_cast<double>(c.n) * static_cast<double>(c.k), "pair", [&] {
    context.backend().kmeans_plus_plus(p, 1, centroids, context);
    context.synchronize();
  });
}

}  // namespace
}  // namespace scalelab::bench

int main(int argc, char** argv) {
  using namespace scalelab;
  bench::Bench bench(argc, argv);
  const Backend* gpu = cuda_backend();
  Context context(gpu != nullptr ? *gpu : cpu_backend(), 0, bench.threads());
  const bench::Case cases[] = {
      {"uniform", 1000000, 2, 100, 20},   {"uniform", 1000000, 2, 1000, 10}, {"clusters", 1000000, 2, 100, 20},
      {"clusters", 1000000, 2, 1000, 10}, {"uniform", 1000000, 3, 1000, 10}, {"uniform", 100000, 512, 100, 5},
      {"clusters", 100000, 512, 100, 5},
  };
  for (const auto& c : cases) bench::lloyd(bench, context, c);
  bench::plus_plus(bench, context, {"uniform", 1000000, 2, 1000, 0});
  bench::plus_plus(bench, context, {"uniform", 100000, 512, 100, 0});
  return bench.finish(context);
}
