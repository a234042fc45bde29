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

constexpr double kCeilingSeconds = 1.5;  // as long as `bench run` measures them in two parts

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Seconds that a line's next value will take as a row, by how the last two have grown, cubically at the most; 0 before
// the first. `took` are the seconds of rows at `x`.
double foreseen(const std::vector<double>& x, const std::vector<double>& took, double next) {
  if (took.empty()) return 0;
  double exponent = 1;
  if (took.size() >= 2) {
    exponent = std::log(took.back() / took[took.size() - 2]) / std::log(x.back() / x[x.size() - 2]);
  }
  return took.back() * std::pow(next / x.back(), std::clamp(exponent, 0.0, 3.0));
}

// The rows of a line on one backend, and the line's own entry.
struct Measuring {
  const CostOptions& options;
  host::Session& session;
  Context& context;
  const Ceilings& ceilings;
  const Power* power;
  double max_bytes;
  nlohmann::json& rows;

  // A few rounds of one case, or what is wrong with its answer. Where a run is `brief`, three samples in each.
  Measured look(const Op& op, const Parameters& parameters, bool brief) const {
    constexpr int kRounds = 3;  // the fewest that say how far they scatter
    Measured measured;
    for (int round = 0; round < kRounds && measured.wrong.empty(); ++round) {
      const Problem problem = op.make(parameters, context);
      if (round == 0) {
        measured.work = problem.work;
        problem.run_once();
        measured.wrong = problem.check();
      }
      if (!measured.wrong.empty()) break;
      measured.rounds.push_back(
          time_round(problem, {.seconds = 0, .least = brief ? 3U : 1U, .cold = false}, context, power));
    }
    return measured;
  }

  // Adds the row of a case to the document, its number to the entry.
  const nlohmann::json& add_row(const Op& op, const CostLine& line, const Parameters& parameters,
                                const Measured& measured, nlohmann::json& entry) const {
    nlohmann::json row = row_of({op.name, parameters}, context.backend(), measured, ceilings);
    // Rows of two backends stand in one document, under a name each.
    row["name"] = fmt::format("{} on {}", row["name"].get<std::string>(), context.backend().name);
    if (line.amount) row["amount"] = line.amount(parameters);
    entry["rows"].push_back(rows.size());
    rows.push_back(std::move(row));
    return rows.back();
  }

  // The entry of a line, without rows.
  nlohmann::json entry_of(const Op& op, const CostLine& line) const {
    // The backend's name tells lines apart only where there are two.
    const std::string backend = options.both && cuda_backend() != nullptr ? context.backend().name : "";
    std::string name = line.route + (line.route.empty() || backend.empty() ? "" : ", ") + backend;
    if (name.empty()) name = op.name;
    return {{"group", line.group},
            {"title", line.title},
            {"name", name},
            {"route", line.route},
            {"backend", context.backend().name},
            {"axis", line.axis},
            {"work", line.work},
            {"rows", nlohmann::json::array()},
            {"ended", "the end of its list"}};
  }

  // Goes up a line's values until one of its limits is met.
  // `say`: called with the share of the line's values that are done.
  nlohmann::json measure(const Op& op, const CostLine& line, const std::function<void(double)>& say) const {
    constexpr double kBrief = 0.05;   // of the budget: longer runs are repeated less, the rounds are what counts
    constexpr std::size_t kLast = 5;  // sizes that the growth is fitted to, 1.5 decades or so: the small ones bend it
    nlohmann::json entry = entry_of(op, line);
    std::vector<double> x, took, seconds;  // `took`: a row as a whole
    const Clock::time_point start = Clock::now();
    const auto end = [&entry](const char* why) { entry["ended"] = why; };
    for (std::size_t i = 0; i < line.values.size(); ++i) {
      say(static_cast<double>(i) / static_cast<double>(line.values.size()));
      const std::int64_t value = line.values[i];
      if (options.most > 0 && value > options.most) break;
      Parameters parameters = line.fixed;
      parameters[line.axis] = value;
      if (!line.follows.empty()) parameters[line.follows] = value;
      if (line.bytes(parameters) > max_bytes) {
        end("the limit of memory");
        break;
      }
      if (seconds_since(start) + foreseen(x, took, static_cast<double>(value)) > options.budget && !took.empty()) {
        end("its budget");
        break;
      }
      const Clock::time_point before = Clock::now();
      try {
        const Measured measured = look(op, parameters, took.empty() || took.back() < kBrief * options.budget);
        const nlohmann::json& row = add_row(op, line, parameters, measured, entry);
        if (!measured.wrong.empty()) {
          end("a wrong answer");
          break;
        }
        seconds.push_back(row[options.clock]["median"].get<double>());
      } catch (const OutOfMemory&) {
        end("the limit of memory");
        break;
      } catch (const std::bad_alloc&) {
        end("the limit of memory");
        break;
      }
      x.push_back(static_cast<double>(value));
      took.push_back(seconds_since(before));
    }
    const std::size_t first = x.size() > kLast ? x.size() - kLast : 0;
    const auto last = [first](const std::vector<double>& values) { return std::span(values).subspan(first); };
    entry["growth"] = growth_json(line.axis, growth(last(x), last(seconds)), x.empty() ? std::nan("") : x[first],
                                  x.empty() ? std::nan("") : x.back());
    return entry;
  }
};

// The rungs of a line by x, which x_of says of a row; `more` seconds are added to each time.
std::vector<Rung> rungs_of(const nlohmann::json& document, const nlohmann::json& line,
                           const std::function<double(const nlohmann::json&)>& x_of, double more) {
  std::vector<Rung> rungs;
  for (const auto& index : line.at("rows")) {
    const auto& row = document.at("rows").at(index.get<std::size_t>());
    if (row.contains("wrong")) continue;
    const auto& clock = row.at(document.value("clock", "wall"));
    const double middle = number_at(clock, "median"), low = number_at(clock, "low"), high = number_at(clock, "high");
    rungs.push_back({x_of(row),
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
std::string worded(const Takeover& c, const std::string& what, const std::string& from, const std::string& to) {
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
      const Takeover c = takeover(from, to);
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
    gpu.emplace(*cuda, session.common.device(), session.common.threads);
    Parameters smallest = op_named("knn").cases[0];
    for (const char* name : {"n", "q"}) smallest[name] = 100;
    op_named("knn").make(smallest, *gpu).run_once();
    start_seconds = seconds_since(before);
  }
  session.progress.update("bench cost, ceilings", 0, 1);
  Context& main = gpu ? *gpu : cpu;
  const Ceilings ceilings = main.backend().measure_ceilings(kCeilingSeconds, main);
  host::Session of_main{session.common, main, session.progress};
  nlohmann::json document = document_of(ceilings, of_main);
  const auto power = power_of(main, document);
  document["clock"] = options.clock;
  document["lines"] = nlohmann::json::array();
  if (gpu) document["start_seconds"] = start_seconds;
  std::vector<std::pair<const Op*, const CostLine*>> lines;
  for (const Op& op : all_ops()) {
    for (const CostLine& line : op.lines) {
      if (wanted(line.group, options.filter)) lines.emplace_back(&op, &line);
    }
  }
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto [op, line] = lines[i];
    for (Context* context : {&cpu, gpu ? &*gpu : nullptr}) {
      if (context == nullptr) continue;
      const bool of_device = context == &main;
      const double free =
          static_cast<double>(std::min(cpu.backend().memory_free(cpu), context->backend().memory_free(*context)));
      const Measuring measuring{options,
                                session,
                                *context,
                                of_device ? ceilings : Ceilings{},
                                of_device ? power.get() : nullptr,
                                options.max_bytes > 0 ? options.max_bytes : free / 2,
                                document["rows"]};
      const std::string name =
          fmt::format("bench cost, {} on {}, {} of {}", line->group, context->backend().name, i + 1, lines.size());
      const double before = static_cast<double>(i) + (context == &cpu ? 0 : 0.5), each = gpu ? 0.5 : 1;
      document["lines"].push_back(measuring.measure(*op, *line, [&](double share) {
        constexpr double kSteps = 1000;  // of a line
        session.progress.update(name, std::llround(kSteps * (before + each * share)),
                                std::llround(kSteps * static_cast<double>(lines.size())));
      }));
    }
  }
  document["crossings"] = crossings_of(document);
  return document;
}

}  // namespace scalelab::bench
