// grid: neighbours and labels at every centre of a large grid, beside nanoflann (and a vote), and scikit-learn, SciPy
// and FAISS on a sample of the cells, scaled.
#include "scalelab/grid.h"

#include "bench/bench.h"
#include "bench/knn_peers.h"
#include "host/data/dataset.h"
#include "scalelab/buffer.h"
#include "scalelab/random.h"

namespace scalelab::bench {
namespace {

host::Dataset make_data(const std::string& kind, std::int64_t n, double noise) {
  if (kind == "mixture") return host::sample_spiral(host::default_mixture(), Spiral(), n, 1, noise);
  host::Dataset data;
  data.points.resize(static_cast<std::size_t>(2 * n));
  data.labels.resize(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    float* p = &data.points[static_cast<std::size_t>(2 * i)];
    const auto source = static_cast<std::uint64_t>(kind == "pairs" ? i / 2 : i);
    const Words words = random_words(1, Stream::points, source);
    p[0] = 2 * uniform_float(words[0]) - 1;
    p[1] = 2 * uniform_float(words[1]) - 1;
    if (kind == "collinear") p[1] = 0.5F * p[0];
    if (kind == "clusters" && i % 2 == 0) {  // half of the points in 20 clusters of width 1e-6
      const Words centre = random_words(2, Stream::points, source / 2 % 20);
      for (int axis = 0; axis < 2; ++axis) p[axis] = 2 * uniform_float(centre[axis]) - 1 + 1e-6F * p[axis];
    }
    for (int axis = 0; axis < 2; ++axis) {
      if (kind == "outlier") p[axis] = i == 0 ? 1 : 1e-6F * p[axis];   // all but one in a millionth of the grid's range
      if (kind == "farther") p[axis] = i == 0 ? 1 : 1e-12F * p[axis];  // in a millionth of that
      if (kind == "spot" && i % 2 == 0) p[axis] = 0.25F;               // half of the points in one place
    }
    const bool turned = uniform_double(words[2], words[3]) < noise;
    data.labels[static_cast<std::size_t>(i)] = Spiral().inside(p[0], p[1]) != turned;
  }
  return data;
}

std::uint8_t vote(const int* ids, std::int64_t k, const std::vector<std::uint8_t>& labels) {
  std::int64_t ones = 0;
  for (std::int64_t j = 0; j < k; ++j) ones += labels[static_cast<std::size_t>(ids[j])];
  return 2 * ones > k;
}

struct Arrays {
  Arrays(const Parameters& p, Context& context)
      : labels_wanted(p["what"] == "labels"),
        n(p["n"]),
        size(p["grid"]),
        k(p["k"]),
        data(make_data(p["data"], n, p["noise-percent"].get<double>() / 100)),
        grid{.size = size},
        references(context, data.points, {n, 2}),
        reference_labels(context, data.labels, {n}),
        ids(context, {labels_wanted ? 0 : size, size, k}),
        labels(context, {labels_wanted ? size : 0, size}) {}
  float centre(std::int64_t i) const { return std::fma(static_cast<float>(i) + 0.5F, grid.step_x(), grid.x_min); }

  bool labels_wanted;
  std::int64_t n, size, k;
  host::Dataset data;
  Grid grid;
  Buffer<float> references;
  Buffer<std::uint8_t> reference_labels;
  Buffer<int> ids;
  Buffer<std::uint8_t> labels;
};

#if SCALELAB_HAS_NANOFLANN
Peer nanoflann(const Arrays& a, const std::vector<int>& our_ids, const std::vector<std::uint8_t>& our_labels,
               Context& context) {
  std::vector<int> their_ids(our_ids.size());
  std::vector<std::uint8_t> their_labels(our_labels.size());
  Problem problem;
  problem.run = [&] {
    const Nanoflann<2> tree(a.data.points);
    in_parallel(context.threads(), a.size, [&](std::int64_t begin, std::int64_t end) {
      std::vector<int> nearest(static_cast<std::size_t>(a.k));
      std::vector<float> distances(static_cast<std::size_t>(a.k));
      for (std::int64_t row = begin; row < end; ++row) {
        for (std::int64_t column = 0; column < a.size; ++column) {
          const float query[2] = {a.centre(column), a.centre(row)};
          const std::int64_t cell = row * a.size + column;
          int* to = a.labels_wanted ? nearest.data() : &their_ids[static_cast<std::size_t>(cell * a.k)];
          tree.ask(query, static_cast<int>(a.k), to, distances.data());
          if (a.labels_wanted) their_labels[static_cast<std::size_t>(cell)] = vote(to, a.k, a.data.labels);
        }
      }
    });
  };
  const Round round = time_round(problem, {.seconds = 1}, context);
  Peer peer{.who = a.labels_wanted ? "nanoflann, and a vote" : "nanoflann",
            .wall = round.wall,
            .cpu = round.cpu,
            .version = nanoflann_version()};
  if (a.labels_wanted) {
    peer.answer = compare_labels(our_labels, their_labels);
    return peer;
  }
  std::vector<float> queries;
  for (std::int64_t cell = 0; cell < a.size * a.size; ++cell) {
    queries.push_back(a.centre(cell % a.size));
    queries.push_back(a.centre(cell / a.size));
  }
  peer.answer = compare_neighbours(a.data.points, queries, 2, a.k, our_ids, their_ids, false);
  return peer;
}
#endif

std::vector<Peer> peers(const Arrays& a, Context& context) {
  std::vector<Peer> list;
  const bool on_gpu = &context.backend() != &cpu_backend();  // beside a GPU stand those that use one
  const std::vector<int> our_ids = a.ids.to_host();
  const std::vector<std::uint8_t> our_labels = a.labels.to_host();
#if SCALELAB_HAS_NANOFLANN
  if (!on_gpu) list.push_back(nanoflann(a, our_ids, our_labels, context));
#else
  if (!on_gpu) list.push_back({.who = "nanoflann", .absent = "nanoflann.hpp was not found (libnanoflann-dev)"});
#endif
  // Whole rows, evenly spaced, so that peers see neighbouring queries one after the other as in the whole grid.
  const std::int64_t rows = std::clamp<std::int64_t>(65536 / a.size, 1, a.size), sample = rows * a.size;
  std::vector<float> asked;
  std::vector<int> ids_of_asked;
  std::vector<std::uint8_t> labels_of_asked;
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t row = (2 * i + 1) * a.size / (2 * rows);
    for (std::int64_t column = 0; column < a.size; ++column) {
      asked.push_back(a.centre(column));
      asked.push_back(a.centre(row));
    }
    const std::int64_t first = row * a.size;
    if (a.labels_wanted) {
      labels_of_asked.insert(labels_of_asked.end(), &our_labels[first], &our_labels[first] + a.size);
    } else {
      ids_of_asked.insert(ids_of_asked.end(), &our_ids[first * a.k], &our_ids[first * a.k] + a.size * a.k);
    }
  }
  const PeerFolder folder;
  folder.write("references.f32", a.data.points);
  folder.write("labels.u8", a.data.labels);
  folder.write("queries.f32", asked);
  const char* names = a.labels_wanted ? "scikit-learn,scikit-learn-intelex"
                      : a.n <= 20000  ? "SciPy,scikit-learn,scikit-learn-intelex,FAISS"
                                      : "SciPy,scikit-learn,scikit-learn-intelex";
  const auto answer = [&](const nlohmann::json& row) -> std::string {
    const std::string who = row.at("who");
    if (a.labels_wanted && on_gpu) {  // their neighbours, and a vote that their time is without
      const std::vector<int> ids = folder.read<int>(who + ".ids.i32", static_cast<std::size_t>(sample * a.k));
      std::vector<std::uint8_t> votes;
      for (std::int64_t i = 0; i < sample; ++i) votes.push_back(vote(&ids[i * a.k], a.k, a.data.labels));
      return compare_labels(labels_of_asked, votes) + ", their vote not timed";
    }
    if (a.labels_wanted) {
      return compare_labels(labels_of_asked, folder.read<std::uint8_t>(who + ".labels.u8", labels_of_asked.size()));
    }
    return compare_neighbours(a.data.points, asked, 2, a.k, ids_of_asked,
                              folder.read<int>(who + ".ids.i32", ids_of_asked.size()), on_gpu || who == "FAISS");
  };
  if (on_gpu) {
    return python_peers("knn_gpu.py",
                        fmt::format("{} {} 2 {} {} {} 1 cuda PyTorch,cuVS,FAISS,KeOps", folder.path(), a.n, sample,
                                    a.size * a.size, a.k),
                        context.threads(), answer);
  }
  const std::string arguments = fmt::format("{} {} 2 {} {} {} 1 {} {}", folder.path(), a.n, sample, a.size * a.size,
                                            a.k, a.labels_wanted ? "labels" : "ids", names);
  const auto more = python_peers("knn.py", arguments, context.threads(), answer);
  list.insert(list.end(), more.begin(), more.end());
  return list;
}

Problem make(const Parameters& parameters, Context& context) {
  const auto arrays = std::make_shared<Arrays>(parameters, context);
  const double cells = static_cast<double>(arrays->size) * static_cast<double>(arrays->size);
  Problem problem;
  problem.work.units = cells;
  problem.work.unit = "query";
  problem.work.written_bytes = cells * (arrays->labels_wanted ? 1.0 : 4.0 * static_cast<double>(arrays->k));
  problem.work.bytes = problem.work.written_bytes + 9.0 * static_cast<double>(arrays->n);
  if (!arrays->labels_wanted) {
    problem.work.flop = 6 * cells * static_cast<double>(arrays->k);
    problem.work.counted = "the k answers alone";
  }
  problem.run = [arrays, &context] {
    const Arrays& a = *arrays;
    if (a.labels_wanted) {
      context.backend().grid_knn_labels(a.references, a.reference_labels, static_cast<int>(a.k), a.grid, 0, a.labels,
                                        context);
    } else {
      context.backend().grid_knn(a.references, a.grid, 0, a.ids, View<float>(), context);
    }
    context.synchronize();
  };
  problem.check = [arrays]() -> std::string {
    const Arrays& a = *arrays;
    const auto ids = a.ids.to_host();
    const auto labels = a.labels.to_host();
    for (std::uint64_t s = 0; s < 50; ++s) {
      const Words words = random_words(7, Stream::test, s);
      const auto row = static_cast<std::int64_t>(words[0] % static_cast<std::uint64_t>(a.size));
      const auto column = static_cast<std::int64_t>(words[1] % static_cast<std::uint64_t>(a.size));
      const float query[2] = {a.centre(column), a.centre(row)};
      const auto want = nearest_by_search(a.data.points, 2, query, a.k);
      const std::int64_t cell = row * a.size + column;
      const bool right = a.labels_wanted
                             ? labels[static_cast<std::size_t>(cell)] == vote(want.data(), a.k, a.data.labels)
                             : std::equal(want.begin(), want.end(), ids.begin() + cell * a.k);
      if (!right) return fmt::format("cell ({}, {}): not the answer of a search of all references", row, column);
    }
    return "";
  };
  problem.peers = [arrays, &context] { return peers(*arrays, context); };
  problem.digest = [arrays] { return digest_of(arrays->ids, arrays->labels); };
  return problem;
}

double needed_bytes(const Parameters& p) {
  const double cells = value_of(p, "grid") * value_of(p, "grid");
  return cells * (p["what"] == "ids" ? 4 * value_of(p, "k") : 1) * 1.1 + 80 * value_of(p, "n");
}

// Growth with the cells, the references and the neighbours.
std::vector<CostLine> lines() {
  const auto bytes = [](const Parameters& p) {
    return 2 * value_of(p, "grid") * value_of(p, "grid") + 80 * value_of(p, "n");
  };
  const auto cells = [](const Parameters& p) { return value_of(p, "grid") * value_of(p, "grid"); };
  const Parameters map = {{"what", "labels"}, {"data", "mixture"}, {"n", 10000}, {"grid", 1024},
                          {"k", 5},           {"noise-percent", 0}};
  const std::string by_side = "Labels of 5 neighbours on a grid of G x G cells, 10,000 references";
  const std::string by_n = "Labels of 5 neighbours on 1024 x 1024 cells, n references";
  const std::string by_k = "Labels of k neighbours on 1024 x 1024 cells, 10,000 references";
  const std::vector<std::int64_t> odd = {1, 3, 5, 9, 15, 31, 63, 127};
  return {{"grid-side", by_side, "", map, "grid", doubling(64, kMaxGrid / 2), "", bytes, "grid_knn", cells},
          {"grid-n", by_n, "", map, "n", ladder(100, kHalfDecade, 1e8), "", bytes},
          {"grid-k", by_k, "", map, "k", odd, "", bytes}};
}

}  // namespace

Op grid_op() {
  const auto c = [](const char* what, const char* data, std::int64_t n, std::int64_t grid, std::int64_t k,
                    std::int64_t noise) {
    return Parameters{{"what", what}, {"data", data}, {"n", n}, {"grid", grid}, {"k", k}, {"noise-percent", noise}};
  };
  return {"grid",
          "the k nearest of n references, or the label they vote for, at every cell of a grid",
          {c("ids", "uniform", 10000, 4096, 5, 0), c("ids", "mixture", 10000, 4096, 5, 0),
           c("labels", "uniform", 10000, 4096, 5, 0), c("labels", "mixture", 10000, 4096, 5, 0),
           c("labels", "mixture", 10000, 4096, 5, 10), c("ids", "uniform", 10000, 4096, 1, 0),
           c("ids", "uniform", 10000, 4096, 15, 0), c("ids", "uniform", 10000, 2048, 31, 0),
           c("ids", "uniform", 1000000, 4096, 5, 0), c("ids", "clusters", 10000, 2048, 5, 0),
           c("labels", "clusters", 10000, 2048, 5, 0), c("ids", "collinear", 10000, 1024, 5, 0),
           c("ids", "pairs", 10000, 2048, 5, 0)},
          {{"what", {{"ids", "labels"}}},
           {"data", {{"uniform", "mixture", "clusters", "collinear", "pairs", "outlier", "farther", "spot"}}},
           {"grid", {{}, 1, kMaxGrid}},
           {"k", {{}, 1, kMaxNeighbours}},
           {"noise-percent", {{}, 0, 100}}},
          make,
          lines(),
          {c("ids", "uniform", 10000, 16384, 5, 0), c("labels", "mixture", 10000, 16384, 5, 0),
           c("labels", "mixture", 1000000, 16384, 5, 10)},
          needed_bytes};
}

}  // namespace scalelab::bench
