#include "bench/cost.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <new>
#include <optional>
#include <set>

#include "bench/result.h"
#include "host/program/crossover.h"
#include "host/program/error.h"
#include "scalelab/buffer.h"

namespace scalelab::bench {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double at(const Parameters& p, const char* name) { return p.at(name).get<double>(); }

// first, and every value `factor` times the last, rounded to two digits, up to `last`.
std::vector<std::int64_t> ladder(double first, double factor, double last) {
  std::vector<std::int64_t> values;
  for (double value = first; value <= last * 1.001; value *= factor) {
    const double digit = std::pow(10, std::max(0.0, std::floor(std::log10(value * 1.0001)) - 1));
    values.push_back(std::llround(std::round(value / digit) * digit));
  }
  return values;
}
std::vector<std::int64_t> doubling(std::int64_t first, std::int64_t last, std::int64_t factor = 2) {
  std::vector<std::int64_t> values;
  for (std::int64_t value = first; value <= last; value *= factor) values.push_back(value);
  return values;
}

// Parameters of the network of mlp_bench: two inputs, three hidden layers, one output.
double network(const Parameters& p) {
  const double w = at(p, "width");
  return 2 * w * w + 6 * w + 1;
}

}  // namespace

std::vector<CostLine> cost_lines() {
  const double root = std::sqrt(10.0);
  const auto near_bytes = [](const Parameters& p) {
    const double d = p.contains("padded") ? at(p, "padded") : at(p, "d");
    return 24 * (at(p, "n") + at(p, "q")) * d + 20 * at(p, "q") * at(p, "k");
  };
  const auto grid_bytes = [](const Parameters& p) { return 2 * at(p, "grid") * at(p, "grid") + 80 * at(p, "n"); };
  const auto kmeans_bytes = [](const Parameters& p) {
    const double d = p.contains("padded") ? at(p, "padded") : at(p, "d");
    return at(p, "n") * (24 * d + 24) + 32 * at(p, "k") * d;
  };
  const auto map_bytes = [](const Parameters& p) { return 24 * at(p, "n"); };
  const auto train_bytes = [](const Parameters& p) {
    return 40 * at(p, "n") + at(p, "m") * (40 * network(p) + 8 * at(p, "epochs"));
  };
  const auto with = [](Parameters p, const char* name, std::int64_t value) {
    p[name] = value;
    return p;
  };
  const Parameters near = {{"data", "uniform"}, {"n", 100000}, {"q", 100000}, {"d", 2}, {"k", 5}};
  const Parameters fewer = with(with(near, "n", 30000), "q", 30000);
  const Parameters far = {{"data", "uniform"}, {"n", 1000}, {"q", 1000}, {"d", 128}, {"k", 10}};
  const Parameters grid = {{"what", "labels"}, {"data", "mixture"}, {"n", 10000}, {"grid", 1024},
                           {"k", 5},           {"noise-percent", 0}};
  const Parameters clusters = {{"data", "uniform"}, {"n", 100000}, {"d", 2}, {"k", 100}, {"iterations", 10}};
  const Parameters wide = {{"data", "uniform"}, {"n", 1000}, {"d", 128}, {"k", 100}, {"iterations", 5}};
  const Parameters train = {{"what", "train"}, {"m", 1},    {"width", 64},        {"batch", 64},
                            {"epochs", 10},    {"n", 1000}, {"precision", "fp32"}};
  const Parameters map = {{"what", "map"}, {"m", 1},    {"width", 64},        {"batch", 0},
                          {"epochs", 0},   {"n", 4096}, {"precision", "fp32"}};
  const Op knn = knn_op(), cells = grid_op(), kmeans = kmeans_op(), mlp = mlp_op();
  const std::string by_n = "Neighbours: n queries among n references in 2 dimensions, k = 5";
  const std::string by_k = "Neighbours: 30,000 queries among 30,000 references in 2 dimensions, by k";
  const std::string means_n = "k-means: n points in 2 dimensions, 100 clusters, 10 iterations";
  const std::string means_k = "k-means: 100,000 points in 2 dimensions, k clusters, 10 iterations";
  const auto both = [](const Parameters& p) { return at(p, "n") + at(p, "q"); };
  const auto pairs = [](const Parameters& p) { return at(p, "n") * at(p, "q") * at(p, "d"); };
  const auto side = [](const Parameters& p) { return at(p, "grid") * at(p, "grid"); };
  const auto points = [](const Parameters& p) { return at(p, "n"); };
  const auto assigned = [](const Parameters& p) { return at(p, "n") * at(p, "k") * at(p, "d"); };
  const auto drawn = [](const Parameters& p) { return at(p, "n") * network(p); };
  const auto seen = [](const Parameters& p) { return at(p, "m") * at(p, "n") * at(p, "epochs") * network(p); };
  // Features of zeros behind the data change no answer; from four features on the ops look at every pair.
  return {
      {"knn-n", by_n, "tree", knn, near, "n", ladder(10, root, 1e9), "q", near_bytes, "knn_near", both},
      {"knn-n", by_n, "every pair", knn, with(near, "padded", 4), "n", ladder(10, root, 1e9), "q", near_bytes},
      {"knn-k", by_k, "", knn, fewer, "k", doubling(1, 128), "", near_bytes},
      {"knn-far", "Neighbours: 1,000 queries among n references in 128 dimensions, k = 10", "", knn, far, "n",
       ladder(1000, root, 1e8), "", near_bytes, "knn_far", pairs},
      {"grid-side", "Labels of 5 neighbours on a grid of G x G cells, 10,000 references", "", cells, grid, "grid",
       doubling(64, 32768), "", grid_bytes, "grid_knn", side},
      {"grid-n", "Labels of 5 neighbours on 1024 x 1024 cells, n references", "", cells, grid, "n",
       ladder(100, root, 1e8), "", grid_bytes},
      {"grid-k",
       "Labels of k neighbours on 1024 x 1024 cells, 10,000 references",
       "",
       cells,
       grid,
       "k",
       {1, 3, 5, 9, 15, 31, 63, 127},
       "",
       grid_bytes},
      {"kmeans-n", means_n, "sorted tiles", kmeans, clusters, "n", ladder(100, root, 1e9), "", kmeans_bytes,
       "kmeans_near", points},
      {"kmeans-n", means_n, "every pair", kmeans, with(clusters, "padded", 4), "n", ladder(100, root, 1e9), "",
       kmeans_bytes},
      {"kmeans-k", means_k, "sorted tiles", kmeans, clusters, "k", doubling(2, 16384), "", kmeans_bytes},
      {"kmeans-k", means_k, "every pair", kmeans, with(clusters, "padded", 4), "k", doubling(2, 16384), "",
       kmeans_bytes},
      {"kmeans-far", "k-means: n points in 128 dimensions, 100 clusters, 5 iterations", "", kmeans, wide, "n",
       ladder(1000, root, 1e8), "", kmeans_bytes, "kmeans_far", assigned},
      {"mlp-width", "Training a network of three hidden layers, 1,000 points, 10 epochs, by width", "", mlp, train,
       "width", doubling(4, 256), "", train_bytes},
      {"mlp-m", "Training m networks 2-64-64-64-1 at once, 1,000 points, 10 epochs", "", mlp, train, "m",
       doubling(1, 65536, 4), "", train_bytes, "mlp_train", seen},
      {"mlp-map", "Labels of a network 2-64-64-64-1 at n cells", "", mlp, map, "n", doubling(4096, 1 << 30, 4), "",
       map_bytes, "grid_mlp", drawn},
  };
}

namespace {

// The rows of a line on one backend, and the line's own entry.
struct Measuring {
  const CostOptions& options;
  host::Session& session;
  const Ceilings& ceilings;
  const Power* power;
  double max_bytes;
  nlohmann::json& rows;

  nlohmann::json line(const CostLine& line, Context& context, const std::string& progress) const {
    constexpr int kRounds = 3;
    nlohmann::json entry = {{"group", line.group},
                            {"title", line.title},
                            {"route", line.route},
                            {"backend", context.backend().name},
                            {"axis", line.axis},
                            {"work", line.work},
                            {"rows", nlohmann::json::array()},
                            {"ended", "the end of its list"}};
    // The backend's name tells lines apart only where there are two.
    const std::string backend = options.both && cuda_backend() != nullptr ? context.backend().name : "";
    entry["name"] = line.route.empty() || backend.empty() ? line.route + backend : line.route + ", " + backend;
    if (entry["name"] == "") entry["name"] = line.op.name;
    std::vector<double> x, took, seconds;  // `took`: a row as a whole
    const Clock::time_point start = Clock::now();
    for (std::size_t i = 0; i < line.values.size(); ++i) {
      session.progress.update(progress, static_cast<std::int64_t>(i), static_cast<std::int64_t>(line.values.size()));
      const std::int64_t value = line.values[i];
      if (options.most > 0 && value > options.most) break;
      Parameters parameters = line.fixed;
      parameters[line.axis] = value;
      if (!line.follows.empty()) parameters[line.follows] = value;
      if (line.bytes(parameters) > max_bytes) {
        entry["ended"] = "the limit of memory";
        break;
      }
      // What the next one will take, by how the last two have grown, cubically at the most.
      if (!took.empty()) {
        const double step = static_cast<double>(value) / x.back();
        double exponent = 1;
        if (took.size() >= 2) {
          exponent = std::log(took.back() / took[took.size() - 2]) / std::log(x.back() / x[x.size() - 2]);
        }
        if (seconds_since(start) + took.back() * std::pow(step, std::clamp(exponent, 0.0, 3.0)) > options.budget) {
          entry["ended"] = "its budget";
          break;
        }
      }
      const Clock::time_point before = Clock::now();
      Measured measured;
      try {
        for (int round = 0; round < kRounds && measured.wrong.empty(); ++round) {
          const Problem problem = line.op.make(parameters, context);
          if (round == 0) {
            measured.work = problem.work;
            problem.run();
            measured.wrong = problem.check();
          }
          // Long runs are repeated less: the rounds are what counts.
          const bool brief = took.empty() || took.back() < 0.05 * options.budget;
          if (measured.wrong.empty()) {
            measured.rounds.push_back(
                time_round(problem, {.seconds = 0, .least = brief ? 3U : 1U, .cold = false}, context, power));
          }
        }
      } catch (const OutOfMemory&) {
        entry["ended"] = "the limit of memory";
        break;
      } catch (const std::bad_alloc&) {
        entry["ended"] = "the limit of memory";
        break;
      }
      nlohmann::json row = row_of(line.op.name, parameters, context.backend(), measured, ceilings);
      // Rows of two backends stand in one document, under a name each.
      row["name"] = fmt::format("{} on {}", row["name"].get<std::string>(), context.backend().name);
      if (line.amount) row["amount"] = line.amount(parameters);
      entry["rows"].push_back(rows.size());
      rows.push_back(row);
      if (!measured.wrong.empty()) {
        entry["ended"] = "a wrong answer";
        break;
      }
      x.push_back(static_cast<double>(value));
      took.push_back(seconds_since(before));
      seconds.push_back(row[options.clock]["median"].get<double>());
    }
    const std::size_t first = x.size() > 5 ? x.size() - 5 : 0;
    const Growth law = growth(std::span(x).subspan(first), std::span(seconds).subspan(first));
    entry["growth"] = {{"parameter", line.axis},
                       {"exponent", number(law.exponent)},
                       {"low", number(law.low)},
                       {"high", number(law.high)},
                       {"from", x.empty() ? nlohmann::json() : nlohmann::json(x[first])},
                       {"to", x.empty() ? nlohmann::json() : nlohmann::json(x.back())}};
    return entry;
  }
};

// The rungs of a line by x, `of` a row; `more` seconds are added to each time.
std::vector<Rung> rungs_of(const nlohmann::json& document, const nlohmann::json& line,
                           const std::function<double(const nlohmann::json&)>& of, double more) {
  std::vector<Rung> rungs;
  for (const auto& index : line.at("rows")) {
    const auto& row = document.at("rows").at(index.get<std::size_t>());
    if (row.contains("wrong")) continue;
    const auto& clock = row.at(document.value("clock", "wall"));
    const double middle = number_at(clock, "median"), low = number_at(clock, "low"), high = number_at(clock, "high");
    rungs.push_back({of(row),
                     {middle + more, std::isfinite(low) ? low + more : middle + more,
                      std::isfinite(high) ? high + more : middle + more}});
  }
  return rungs;
}

// Those of both whose x is in both.
void keep_shared(std::vector<Rung>& a, std::vector<Rung>& b) {
  std::set<double> in_a, in_b;
  for (const Rung& rung : a) in_a.insert(rung.x);
  for (const Rung& rung : b) in_b.insert(rung.x);
  std::erase_if(a, [&in_b](const Rung& rung) { return !in_b.contains(rung.x); });
  std::erase_if(b, [&in_a](const Rung& rung) { return !in_a.contains(rung.x); });
}

// "tree is quicker than every pair from n = 54 on [40, 71]"
std::string worded(const Crossing& c, const std::string& what, const std::string& from, const std::string& to) {
  if (c.word == "always")
    return fmt::format("{} is quicker than {} from {} = {:.3g} on, the least measured", to, from, what, c.at);
  if (c.word == "never") return fmt::format("{} is not quicker than {} up to {} = {:.3g}", to, from, what, c.at);
  return fmt::format("{} is quicker than {} from {} = {:.3g} on [{:.3g}, {:.3g}]", to, from, what, c.at, c.low, c.high);
}

}  // namespace

nlohmann::json crossings_of(const nlohmann::json& document) {
  nlohmann::json list = nlohmann::json::array();
  const auto& lines = document.at("lines");
  for (const auto& a : lines) {
    for (const auto& b : lines) {
      // Between routes towards the one that is named first, which is the one for large sizes; from the CPU to the GPU.
      const bool backends =
          a.at("backend") == "cpu" && b.at("backend") != "cpu" && a.at("route") == b.at("route") && a.at("work") != "";
      const bool routes = a.at("backend") == b.at("backend") && &a > &b;
      if (a.at("group") != b.at("group") || (!backends && !routes)) continue;
      const std::string axis = a.at("axis"), what = backends ? "amount" : axis;
      const auto x_of = [&](const nlohmann::json& row) {
        return backends ? number_at(row, "amount") : number_at(row.at("parameters"), axis.c_str());
      };
      std::vector<Rung> from = rungs_of(document, a, x_of, 0),
                        to = rungs_of(document, b, x_of, backends ? number_at(document, "start_seconds") : 0);
      keep_shared(from, to);
      if (from.size() < 2) continue;
      const Crossing c = crossing(from, to);
      list.push_back({{"group", a.at("group")},
                      {"kind", backends ? "backend" : "route"},
                      {"from", a.at("name")},
                      {"to", b.at("name")},
                      {backends ? "work" : "axis", backends ? a.at("work") : a.at("axis")},
                      {"word", c.word},
                      {"at", c.at},
                      {"low", c.low},
                      {"high", c.high},
                      {"text", backends ? worded(c, what, a.at("name"), b.at("name"))
                                        : fmt::format("On {}, {}", a.at("backend").get<std::string>(),
                                                      worded(c, what, a.at("route"), b.at("route")))}});
    }
  }
  return list;
}

std::map<std::string, double> amounts_of(const nlohmann::json& document) {
  std::map<std::string, double> amounts;
  for (const auto& crossing : document.value("crossings", nlohmann::json::array())) {
    if (crossing.value("kind", "") != "backend") continue;
    for (const host::Crossover& row : host::assumed_crossovers()) {
      if (crossing.value("work", "") != row.name) continue;
      const double at = number_at(crossing, "at");
      if (crossing.value("word", "") == "never" && at < row.amount) continue;  // the assumption may still be right
      amounts[row.name] = at;
    }
  }
  return amounts;
}

nlohmann::json measure_cost(const CostOptions& options, host::Session& session) {
  session.context.progress = nullptr;  // the bench says itself how far it is
  const Backend* cuda = options.both ? cuda_backend() : nullptr;
  Context cpu(cpu_backend(), 0, session.common.threads);
  std::optional<Context> gpu;
  double start_seconds = 0;
  if (cuda != nullptr) {
    // What a command pays that takes the GPU: the device's start, and that of the first kernels.
    const Clock::time_point before = Clock::now();
    gpu.emplace(*cuda, session.common.device, session.common.threads);
    Parameters smallest = knn_op().cases[0];
    for (const char* name : {"n", "q"}) smallest[name] = 100;
    knn_op().make(smallest, *gpu).run();
    start_seconds = seconds_since(before);
  }
  session.progress.update("bench cost: ceilings", 0, 1);
  Context& main = gpu ? *gpu : cpu;
  const Ceilings ceilings = main.backend().measure_ceilings(1.5, main);
  host::Session of_main{session.common, main, session.progress};
  nlohmann::json document = document_of(ceilings, of_main);
  const auto power = power_of(main, document);
  document["clock"] = options.clock;
  document["lines"] = nlohmann::json::array();
  if (gpu) document["start_seconds"] = start_seconds;
  const std::vector<CostLine> lines = cost_lines();
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const CostLine& line = lines[i];
    if (!wanted(line.group, options.filter)) continue;
    for (Context* context : {&cpu, gpu ? &*gpu : nullptr}) {
      if (context == nullptr) continue;
      const bool of_device = context == &main;
      const double free =
          static_cast<double>(std::min(cpu.backend().memory_free(cpu), context->backend().memory_free(*context)));
      const Measuring measuring{options,
                                session,
                                of_device ? ceilings : Ceilings{},
                                of_device ? power.get() : nullptr,
                                options.max_bytes > 0 ? options.max_bytes : free / 2,
                                document["rows"]};
      document["lines"].push_back(measuring.line(
          line, *context,
          fmt::format("bench cost: {} on {}, {} of {}", line.group, context->backend().name, i + 1, lines.size())));
    }
  }
  document["crossings"] = crossings_of(document);
  return document;
}

}  // namespace scalelab::bench
