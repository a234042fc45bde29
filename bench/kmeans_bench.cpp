// k-means: Lloyd's iterations from given centroids, beside scikit-learn, FAISS and SuperKMeans on as many threads,
// and flash-kmeans where there is a GPU. A run is a whole fit: sorting and the last assignment included.
#include "scalelab/kmeans.h"

#include <fmt/format.h>
#include <cmath>

#include "bench/bench.h"
#include "scalelab/buffer.h"
#include "scalelab/random.h"

namespace scalelab::bench {
namespace {

// d features, and zeros up to `wide`.
Numbers make_points(const std::string& kind, std::int64_t n, std::int64_t d, std::int64_t wide) {
  return drawn(fmt::format("kmeans {} {} {} {}", kind, n, d, wide), n, wide, [=](std::int64_t i, float* row) {
    for (std::int64_t f = 0; f < d; ++f) {
      const auto at = static_cast<std::uint64_t>(i);
      const auto lane = static_cast<std::uint32_t>(f);
      if (kind == "embeddings") {
        row[f] = embedding_coordinate(1, at, lane);
        continue;
      }
      row[f] = uniform_float(random_words(1, Stream::points, at, lane)[0]);
      if (kind == "clusters") {  // 64 spots of deviation 0.01
        const float centre = uniform_float(random_words(2, Stream::points, at % 64, lane)[0]);
        row[f] = centre + 0.01F * static_cast<float>(normal_pair(random_words(3, Stream::points, at, lane)).first);
      }
      if (kind == "outlier" && i == n - 1) row[f] = 1e12F;
    }
  });
}

struct Arrays {
  Arrays(const Parameters& p, Context& c)
      : context(c),
        n(p["n"]),
        d(p.value("padded", p["d"].get<std::int64_t>())),  // zeros behind the data change no distance
        k(p["k"]),
        iterations(p["iterations"]),
        held(make_points(p["data"], n, p["d"], d)),
        points(*held),
        p_(c, points, {n, d}),
        centroids(c, {k, d}),
        labels(c, {n}) {
    if (k > n) throw std::invalid_argument("kmeans: k is above n");
    const bool spot = p["data"] == "spot";  // all centroids begin in one place
    for (std::int64_t j = 0; j < k; ++j) {
      const auto at = points.begin() + (spot ? 0 : j * (n / k) * d);
      start.insert(start.end(), at, at + d);
    }
  }
  void begin() { centroids.upload(start); }
  void fit(int rounds) {
    result = context.backend().kmeans_fit(p_, centroids, labels, {.max_iterations = rounds, .tolerance = 0}, context);
    context.synchronize();
  }
  Context& context;
  std::int64_t n, d, k;
  int iterations;
  Numbers held;
  const std::vector<float>& points;
  std::vector<float> start;
  Buffer<float> p_;
  Buffer<float> centroids;
  Buffer<int> labels;
  KmeansResult result;
};

// A peer's label may differ from ours only where its arithmetic cannot tell the two centroids apart: in fp64, the gap
// between the two distances must be within the rounding of the expanded form, x.x - 2 x.c + c.c in fp32 over d terms,
// and of the peer's centroids, which are sums of fp32.
std::string compare(const Arrays& a, const std::vector<float>& theirs, const std::vector<int>& labels) {
  const auto ours = a.centroids.to_host();
  const auto our_labels = a.labels.to_host();
  double moved = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    moved = std::max(moved, std::abs(static_cast<double>(ours[i]) - static_cast<double>(theirs[i])));
  }
  std::int64_t differ = 0, unexplained = 0;
  for (std::int64_t i = 0; i < a.n; ++i) {
    const std::int64_t mine = our_labels[static_cast<std::size_t>(i)], other = labels[static_cast<std::size_t>(i)];
    if (mine == other) continue;
    ++differ;
    double distance_a = 0, distance_b = 0, magnitude = 0, reach = 0;
    for (std::int64_t f = 0; f < a.d; ++f) {
      const double x = a.points[static_cast<std::size_t>(i * a.d + f)];
      const double p = ours[static_cast<std::size_t>(mine * a.d + f)];
      const double q = ours[static_cast<std::size_t>(other * a.d + f)];
      distance_a += (x - p) * (x - p);
      distance_b += (x - q) * (x - q);
      magnitude += x * x + 2 * std::abs(x) * (std::abs(p) + std::abs(q)) + p * p + q * q;
      reach += std::abs(x - p) + std::abs(x - q);
    }
    const double bound = 2 * (static_cast<double>(a.d) + 3) * 0x1p-24 * magnitude + 2 * moved * reach;
    unexplained += !(std::abs(distance_a - distance_b) <= bound);
  }
  return fmt::format(
      "after one iteration centroids within {:.2g}; {} of {} labels differ, {} by more than rounding "
      "explains",
      moved, differ, a.n, unexplained);
}

std::vector<Peer> peers(Arrays& a) {
  const PeerFolder folder;
  folder.write("points.f32", a.points);
  folder.write("start.f32", a.start);
  const double inertia = a.result.inertia;
  bool once = false;  // ours, after the one iteration that theirs are compared after
  const auto answer = [&, inertia](const nlohmann::json& row) {
    if (row.contains("inertia")) {  // of a peer with a start of its own
      return fmt::format("its own start; its inertia is {:.4f} of ours", row.at("inertia").get<double>() / inertia);
    }
    if (!once) {
      a.begin();
      a.fit(1);
    }
    once = true;
    const std::string who = row.at("who");
    return compare(a, folder.read<float>(who + ".centroids.f32", a.start.size()),
                   folder.read<int>(who + ".labels.i32", static_cast<std::size_t>(a.n)));
  };
  const char* device = &a.context.backend() != &cpu_backend() ? "cuda" : "cpu";
  return python_peers("kmeans.py",
                      fmt::format("{} {} {} {} {} 1 {}", folder.path(), a.n, a.d, a.k, a.iterations, device),
                      a.context.threads(), answer);
}

Problem make(const Parameters& parameters, Context& context) {
  const auto arrays = std::make_shared<Arrays>(parameters, context);
  const double n = static_cast<double>(arrays->n), k = static_cast<double>(arrays->k),
               d = static_cast<double>(arrays->d), iterations = arrays->iterations;
  Problem problem;
  problem.work.units = n * k * iterations;
  problem.work.unit = "pair";
  const double assignments = iterations + 1;  // the last one labels the points
  problem.work.written_bytes = 4 * n;
  problem.work.bytes = assignments * 4 * (n * d + k * d) + problem.work.written_bytes;
  if (arrays->d > kTreeFeatures) {
    problem.work.flop = assignments * n * k * 2 * d;
    problem.work.minima = assignments * n * k;
    problem.work.counted =
        "a multiply-add for every pair and feature; a share above 1 says that bytes settled most pairs without";
  }
  problem.prepare = [arrays] { arrays->begin(); };
  problem.run = [arrays] { arrays->fit(arrays->iterations); };
  problem.check = [arrays]() -> std::string {
    const Arrays& a = *arrays;
    // The labels are those of the centroids returned: of every distance in fp32, the smallest, and the lower index.
    const auto centroids = a.centroids.to_host();
    const auto labels = a.labels.to_host();
    const std::int64_t asked = std::clamp<std::int64_t>(1000000000 / (a.k * a.d), 20, 200);
    for (std::int64_t s = 0; s < asked; ++s) {
      const std::int64_t i = s * (a.n - 1) / (asked - 1);
      float best = INFINITY;
      int nearest = -1;
      for (std::int64_t j = 0; j < a.k; ++j) {
        float sum = 0;
        for (std::int64_t f = 0; f < a.d; ++f) {
          const float t =
              a.points[static_cast<std::size_t>(i * a.d + f)] - centroids[static_cast<std::size_t>(j * a.d + f)];
          sum = std::fma(t, t, sum);
        }
        if (sum < best) {
          best = sum;
          nearest = static_cast<int>(j);
        }
      }
      if (labels[static_cast<std::size_t>(i)] != nearest) {
        return fmt::format("point {}: its label is not the nearest centroid", i);
      }
    }
    return "";
  };
  problem.peers = [arrays] { return peers(*arrays); };
  problem.digest = [arrays] { return digest_of(arrays->centroids, arrays->labels); };
  return problem;
}

double needed_bytes(const Parameters& p) {
  const double d = p.value("padded", value_of(p, "d"));
  return value_of(p, "n") * (24 * d + 24) + 32 * value_of(p, "k") * d;
}

// Sorted tiles against every pair, by points and by clusters, and many features.
std::vector<CostLine> lines() {
  const auto bytes = needed_bytes;
  const auto points = [](const Parameters& p) { return value_of(p, "n"); };
  const auto terms = [](const Parameters& p) { return value_of(p, "n") * value_of(p, "k") * value_of(p, "d"); };
  const Parameters near = {{"data", "uniform"}, {"n", 100000}, {"d", 2}, {"k", 100}, {"iterations", 10}};
  const Parameters far = {{"data", "uniform"}, {"n", 1000}, {"d", 128}, {"k", 100}, {"iterations", 5}};
  const Parameters every_pair = with(near, "padded", kEveryPair);
  const std::string by_n = "k-means: n points in 2 dimensions, 100 clusters, 10 iterations";
  const std::string by_k = "k-means: 100,000 points in 2 dimensions, k clusters, 10 iterations";
  const std::string by_n_far = "k-means: n points in 128 dimensions, 100 clusters, 5 iterations";
  const auto sizes = ladder(100, kHalfDecade, 1e9), clusters = doubling(2, 16384);
  return {{"kmeans-n", by_n, "sorted tiles", near, "n", sizes, "", bytes, "kmeans_near", points},
          {"kmeans-n", by_n, "every pair", every_pair, "n", sizes, "", bytes},
          {"kmeans-k", by_k, "sorted tiles", near, "k", clusters, "", bytes},
          {"kmeans-k", by_k, "every pair", every_pair, "k", clusters, "", bytes},
          {"kmeans-far", by_n_far, "", far, "n", ladder(1000, kHalfDecade, 1e8), "", bytes, "kmeans_far", terms}};
}

}  // namespace

Op kmeans_op() {
  const auto c = [](const char* data, std::int64_t n, std::int64_t d, std::int64_t k, int iterations) {
    return Parameters{{"data", data}, {"n", n}, {"d", d}, {"k", k}, {"iterations", iterations}};
  };
  return {"kmeans",
          "a fit of k centroids to n points in d dimensions by Lloyd's iterations",
          {c("uniform", 1000000, 2, 100, 20), c("uniform", 1000000, 2, 100, 80), c("uniform", 1000000, 2, 1000, 10),
           c("uniform", 1000000, 2, 1000, 40), c("clusters", 1000000, 2, 100, 20), c("clusters", 1000000, 2, 1000, 10),
           c("uniform", 1000000, 3, 1000, 10), c("uniform", 100000, 512, 100, 5), c("clusters", 100000, 512, 100, 5),
           c("embeddings", 100000, 128, 1000, 5), c("embeddings", 100000, 512, 100, 5),
           c("embeddings", 100000, 512, 1000, 2), c("embeddings", 100000, 512, 4000, 1)},
          {{"data", {{"uniform", "clusters", "embeddings", "outlier", "spot"}}}},
          make,
          lines(),
          {c("uniform", 100000000, 2, 1000, 10), c("uniform", 1000000, 1536, 10000, 2)},
          needed_bytes};
}

}  // namespace scalelab::bench
