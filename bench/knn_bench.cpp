// knn: neighbours of arbitrary queries, beside nanoflann, SciPy, scikit-learn, its Intel extension, FAISS, PyTorch and
// KeOps on as many threads, and with a GPU beside PyTorch, CuPy and KeOps on it. Building an index counts, ours and theirs.
#include "scalelab/knn.h"

#include "bench/bench.h"
#include "bench/knn_peers.h"
#include "scalelab/buffer.h"
#include "scalelab/random.h"

namespace scalelab::bench {
namespace {

// The kinds of data, all but the first such that cells of one size do not suit them.
const std::vector<std::string> kKinds = {"uniform",   // in the square or cube from -1 to 1
                                         "clusters",  // half of the points in 20 clusters of width 1e-6
                                         "outlier",   // one reference a million times as far as the others
                                         "core",      // half of the points in a hundredth of the range
                                         "spot",      // half of the points in one place
                                         "outside",   // the queries far from all references
                                         "line",      // all on one line
                                         "lattice",   // whole numbers from -32 to 32: ties everywhere
                                         "scales",    // halved or doubled up to 20 times: no scale suits all
                                         "embeddings"};
// Those of them that are timed in 2 and 3 dimensions because of what is awkward in them.
constexpr std::size_t kFirstAwkward = 2, kLastAwkward = 8;

// Coordinate f of point i.
float coordinate(const std::string& kind, std::uint64_t i, std::uint32_t f, bool query) {
  const auto uniform = [](std::uint64_t seed, std::uint64_t at, std::uint32_t lane) {
    return 2 * uniform_float(random_words(seed, Stream::points, at, lane)[0]) - 1;
  };
  const std::uint64_t seed = query ? 2 : 1;
  const float x = uniform(seed, i, f);
  const bool half = i % 2 == 0;
  if (kind == "clusters" && half) return uniform(3, i / 2 % 20, f) + 1e-6F * x;
  if (kind == "outlier" && !query && i == 0) return 1e6F;
  if (kind == "core" && half) return 0.01F * x;
  if (kind == "spot" && half) return 0.25F;
  if (kind == "outside" && query) return x + 50;
  if (kind == "line") return static_cast<float>(f + 1) * uniform(seed, i, 0);
  if (kind == "lattice") return std::rint(32 * x);
  if (kind == "embeddings") return embedding_coordinate(seed, i, f);
  if (kind == "scales") return std::ldexp(x, static_cast<int>(i % 40) - 20);
  return x;
}

// (count, wide): d features, and zeros behind them.
Numbers make_points(const std::string& kind, std::int64_t count, std::int64_t d, std::int64_t wide, bool query) {
  const std::string name = fmt::format("knn {} {} {} {} {}", kind, count, d, wide, query);
  return drawn(name, count, wide, [=](std::int64_t i, float* row) {
    for (std::int64_t f = 0; f < d; ++f) {
      row[f] = coordinate(kind, static_cast<std::uint64_t>(i), static_cast<std::uint32_t>(f), query);
    }
  });
}

struct Arrays {
  // Features of zeros behind the d of the data, where `padded` asks for them, change no distance; from four features on
  // every pair is looked at.
  Arrays(const Parameters& p, Context& context)
      : n(p["n"]),
        q(p["q"]),
        d(p.value("padded", p["d"].get<std::int64_t>())),
        k(p["k"]),
        held{make_points(p["data"], n, p["d"], d, false), make_points(p["data"], q, p["d"], d, true)},
        references(*held[0]),
        queries(*held[1]),
        r(context, references, {n, d}),
        x(context, queries, {q, d}),
        indices(context, {q, k}),
        distances(context, {q, k}) {}
  std::int64_t n, q, d, k;
  Numbers held[2];
  const std::vector<float>&references, &queries;
  Buffer<float> r, x;
  Buffer<int> indices;
  Buffer<float> distances;
};

#if SCALELAB_HAS_NANOFLANN
template <int kFeatures>
Peer nanoflann(const Arrays& a, const std::vector<int>& ours, Context& context) {
  std::vector<int> ids(ours.size());
  std::vector<float> distances(ids.size());
  Problem problem;
  problem.run = [&] {
    const Nanoflann<kFeatures> tree(a.references);
    in_parallel(context.threads(), a.q, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        tree.ask(&a.queries[i * a.d], static_cast<int>(a.k), &ids[i * a.k], &distances[i * a.k]);
      }
    });
  };
  const Round round = time_round(problem, {.seconds = 1}, context);
  return {.who = "nanoflann",
          .wall = round.wall,
          .cpu = round.cpu,
          .answer = compare_neighbours(a.references, a.queries, a.d, a.k, ours, ids, false),
          .version = nanoflann_version()};
}
#endif

std::vector<Peer> peers(const Arrays& a, Context& context) {
  std::vector<Peer> list;
  const bool on_gpu = &context.backend() != &cpu_backend();  // beside a GPU stand those that use one
  const std::vector<int> ours = a.indices.to_host();
  if (a.d <= kTreeFeatures && !on_gpu) {
#if SCALELAB_HAS_NANOFLANN
    if (a.d == 2) list.push_back(nanoflann<2>(a, ours, context));
    if (a.d == 3) list.push_back(nanoflann<3>(a, ours, context));
#else
    list.push_back({.who = "nanoflann", .absent = "nanoflann.hpp was not found (libnanoflann-dev)"});
#endif
  }
  // Python's peers are timed on a part of the queries: the slow ones would take hours for all.
  const std::int64_t sample = std::min<std::int64_t>(a.q, std::max<std::int64_t>(5000, 100000 / a.k));
  const std::vector<float> asked(a.queries.begin(), a.queries.begin() + sample * a.d);
  const std::vector<int> ours_of_asked(ours.begin(), ours.begin() + sample * a.k);
  const PeerFolder folder;
  folder.write("references.f32", a.references);
  folder.write("queries.f32", asked);
  const char* names = a.d <= kTreeFeatures ? (a.n <= 20000 ? "SciPy,scikit-learn,scikit-learn-intelex,FAISS"
                                                           : "SciPy,scikit-learn,scikit-learn-intelex")
                                           : "FAISS,PyTorch,scikit-learn,scikit-learn-intelex";
  const std::string shape = fmt::format("{} {} {} {} {} {} 1", folder.path(), a.n, a.d, sample, a.q, a.k);
  const auto answer = [&](const nlohmann::json& row) {
    const std::string who = row.at("who");
    const bool subtracts = who == "KeOps" || (a.d <= kTreeFeatures && (who == "SciPy" || who == "scikit-learn"));
    return compare_neighbours(a.references, asked, a.d, a.k, ours_of_asked,
                              folder.read<int>(who + ".ids.i32", ours_of_asked.size()), !subtracts);
  };
  const auto add = [&](std::vector<Peer> more) { list.insert(list.end(), more.begin(), more.end()); };
  if (!on_gpu) add(python_peers("knn.py", fmt::format("{} ids {}", shape, names), context.threads(), answer));
  // KeOps looks at every pair: on the CPU it is asked where that is a second's work.
  const bool few = static_cast<double>(a.n) * static_cast<double>(sample) * static_cast<double>(a.d) < 1e9;
  const char* of_device = on_gpu ? " cuda PyTorch,cuVS,FAISS,CuPy,KeOps" : few ? " cpu CuPy,KeOps" : " cpu CuPy";
  add(python_peers("knn_gpu.py", shape + of_device, context.threads(), answer));
  return list;
}

Problem make(const Parameters& parameters, Context& context) {
  const auto arrays = std::make_shared<Arrays>(parameters, context);
  Problem problem;
  const Arrays& a = *arrays;
  const double n = static_cast<double>(a.n), q = static_cast<double>(a.q), d = static_cast<double>(a.d);
  problem.work.units = q;
  problem.work.unit = "query";
  problem.work.written_bytes = 8 * q * static_cast<double>(a.k);
  problem.work.bytes = 4 * (n * d + q * d) + problem.work.written_bytes;
  if (a.d > kTreeFeatures) {
    problem.work.flop = 2 * n * q * d;
    problem.work.minima = n * q;
    problem.work.counted =
        "a multiply-add for every pair and feature; a share above 1 says that bytes settled most pairs without";
  } else {
    problem.work.flop = 3 * q * d * static_cast<double>(a.k);
    problem.work.counted = "the k answers alone";
  }
  problem.run = [arrays, &context] {
    context.backend().knn(arrays->r, arrays->x, arrays->indices, arrays->distances, context);
    context.synchronize();
  };
  problem.check = [arrays]() -> std::string {
    const Arrays& a = *arrays;
    const auto ids = arrays->indices.to_host();
    const std::int64_t asked = std::clamp<std::int64_t>(4000000000 / (a.n * a.d), 3, 20);
    for (std::int64_t s = 0; s < asked; ++s) {
      const std::int64_t i = s * (a.q - 1) / (asked - 1);
      const auto want = nearest_by_search(a.references, a.d, &a.queries[static_cast<std::size_t>(i * a.d)], a.k);
      if (!std::equal(want.begin(), want.end(), ids.begin() + i * a.k)) {
        return fmt::format("query {}: the neighbours are not those of a search of all references", i);
      }
    }
    return "";
  };
  problem.peers = [arrays, &context] { return peers(*arrays, context); };
  problem.digest = [arrays] { return digest_of(arrays->indices, arrays->distances); };
  return problem;
}

double needed_bytes(const Parameters& p) {
  const double d = p.value("padded", value_of(p, "d"));
  return 24 * (value_of(p, "n") + value_of(p, "q")) * d + 20 * value_of(p, "q") * value_of(p, "k");
}

// A tree against every pair, the k that are asked for, and many features.
std::vector<CostLine> lines() {
  const auto bytes = needed_bytes;
  const auto points = [](const Parameters& p) { return value_of(p, "n") + value_of(p, "q"); };
  const auto terms = [](const Parameters& p) { return value_of(p, "n") * value_of(p, "q") * value_of(p, "d"); };
  const Parameters near = {{"data", "uniform"}, {"n", 100000}, {"q", 100000}, {"d", 2}, {"k", 5}};
  const Parameters fewer = with(with(near, "n", 30000), "q", 30000);
  const Parameters far = {{"data", "uniform"}, {"n", 1000}, {"q", 1000}, {"d", 128}, {"k", 10}};
  const std::string by_n = "Neighbours: n queries among n references in 2 dimensions, k = 5";
  const std::string by_k = "Neighbours: 30,000 queries among 30,000 references in 2 dimensions, by k";
  const std::string by_n_far = "Neighbours: 1,000 queries among n references in 128 dimensions, k = 10";
  const auto sizes = ladder(10, kHalfDecade, 1e9);
  return {{"knn-n", by_n, "tree", near, "n", sizes, "q", bytes, "knn_near", points},
          {"knn-n", by_n, "every pair", with(near, "padded", kEveryPair), "n", sizes, "q", bytes},
          {"knn-k", by_k, "", fewer, "k", doubling(1, kMaxNeighbours), "", bytes},
          {"knn-far", by_n_far, "", far, "n", ladder(1000, kHalfDecade, 1e8), "", bytes, "knn_far", terms}};
}

}  // namespace

Op knn_op() {
  const auto c = [](const std::string& data, std::int64_t n, std::int64_t q, std::int64_t d, std::int64_t k) {
    return Parameters{{"data", data}, {"n", n}, {"q", q}, {"d", d}, {"k", k}};
  };
  std::vector<Parameters> cases = {c("uniform", 1000000, 1000000, 3, 16), c("uniform", 1000000, 1000000, 2, 5),
                                   c("uniform", 10000, 1000000, 2, 5),    c("clusters", 1000000, 1000000, 2, 5),
                                   c("uniform", 100000, 1000000, 2, 128), c("uniform", 100000, 5000, 128, 10),
                                   c("uniform", 100000, 1, 128, 10)};
  for (const int d : {64, 512, 768}) cases.push_back(c("embeddings", 100000, 5000, d, 10));
  for (std::size_t kind = kFirstAwkward; kind <= kLastAwkward; ++kind) {
    for (const int d : {2, 3}) cases.push_back(c(kKinds[kind], 100000, 100000, d, 5));
  }
  return {"knn",
          "the k nearest of n references for q arbitrary queries in d dimensions",
          cases,
          {{"data", {kKinds}}, {"k", {{}, 1, kMaxNeighbours}}},
          make,
          lines(),
          {c("uniform", 10000000, 10000000, 2, 5), c("uniform", 100000, 100000, 128, 10),
           c("uniform", 1000000, 100000, 768, 10)},
          needed_bytes};
}

}  // namespace scalelab::bench
