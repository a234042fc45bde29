// scalelab bench: run, cost, list, show, compare, and turn, which compare starts.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>

#include "bench/bench.h"
#include "bench/cost.h"
#include "bench/result.h"
#include "bench/turns.h"
#include "host/program/command.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/options.h"

namespace scalelab::bench {

namespace {

using namespace scalelab::host;
using Clock = std::chrono::steady_clock;

std::vector<Op> all_ops() { return {knn_op(), grid_op(), kmeans_op(), mlp_op()}; }

// Share of the processors' time that other machines on the same hardware took, and that was busy with anything, since
// the last call; NaN where the kernel does not say.
class Machine {
 public:
  Machine() { read(last_); }
  std::pair<double, double> stolen_and_busy() {
    std::vector<double> now;
    read(now);
    double all = 0;
    for (std::size_t i = 0; i < now.size() && i < last_.size(); ++i) all += now[i] - last_[i];
    const bool known = now.size() >= 8 && last_.size() >= 8 && all > 0;
    const double stolen = known ? (now[7] - last_[7]) / all : std::nan("");
    const double busy = known ? 1 - (now[3] - last_[3] + now[4] - last_[4]) / all : std::nan("");
    last_ = now;
    return {stolen, busy};
  }

 private:
  static void read(std::vector<double>& ticks) {
    std::ifstream file("/proc/stat");
    std::string word;
    file >> word;
    ticks.clear();
    for (double value; ticks.size() < 8 && file >> value;) ticks.push_back(value);
  }
  std::vector<double> last_;
};

struct RunOptions {
  std::string op = "all", filter, out, clock;
  std::vector<std::string> axes;
  double budget = 2;
  int rounds = 5;
  bool peers = false, profile = false;
};

// The default cases of the ops asked for, or with --axis the product of its lists over the op's first case.
std::vector<Case> select(const std::vector<Op>& ops, const RunOptions& options) {
  std::vector<Case> list;
  bool known = false;
  for (const Op& op : ops) {
    if (options.op != "all" && options.op != op.name) continue;
    known = true;
    std::vector<Parameters> cases = op.cases;
    if (!options.axes.empty()) cases = {op.cases[0]};
    for (const std::string& axis : options.axes) {
      const std::size_t equals = axis.find('=');
      const std::string name = axis.substr(0, equals);
      if (equals == std::string::npos || !op.cases[0].contains(name)) {
        std::string names;
        for (const auto& [key, value] : op.cases[0].items()) names += (names.empty() ? "" : ", ") + key;
        throw Failure(kMisuse, fmt::format("--axis: '{}' is no NAME=VALUE[,VALUE...] of {}; its names are {}", axis,
                                           op.name, names));
      }
      std::vector<Parameters> next;
      for (const Parameters& base : cases) {
        for (std::size_t begin = equals + 1; begin <= axis.size();) {
          const std::size_t end = std::min(axis.find(',', begin), axis.size());
          const std::string text = axis.substr(begin, end - begin);
          Parameters one = base;
          if (base[name].is_number()) {
            double value = 0;
            const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
            if (error != std::errc{} || stop != text.data() + text.size() || value < 0 || value > 1e12 ||
                value != std::floor(value)) {
              throw Failure(kMisuse, fmt::format("--axis {}: '{}' is not a whole number", name, text));
            }
            one[name] = static_cast<std::int64_t>(value);
          } else {
            one[name] = text;
          }
          next.push_back(std::move(one));
          begin = end + 1;
        }
      }
      cases = std::move(next);
    }
    for (const Parameters& parameters : cases) {
      check_parameters(op, parameters, "--axis");
      if (wanted(case_name(op.name, parameters), options.filter)) list.push_back({op.name, parameters});
    }
  }
  if (!known) throw Failure(kMisuse, fmt::format("--op: '{}' is none of knn, grid, kmeans, mlp, all", options.op));
  if (list.empty()) throw Failure(kMisuse, fmt::format("--filter: no case's name contains '{}'", options.filter));
  return list;
}

// How time grows with every parameter that has three values or more while the others stay.
nlohmann::json exponents(const nlohmann::json& rows) {
  struct Line {
    std::string op, parameter;
    std::vector<double> x, seconds;
  };
  std::map<std::string, Line> lines;
  for (const auto& row : rows) {
    if (row.contains("wrong")) continue;
    for (const auto& [key, value] : row["parameters"].items()) {
      if (!value.is_number() || !(value.get<double>() > 0)) continue;
      nlohmann::json rest = row["parameters"];
      rest.erase(key);
      Line& line = lines[key + rest.dump() + row["op"].get<std::string>()];
      line.op = row["op"];
      line.parameter = key;
      line.x.push_back(value.get<double>());
      line.seconds.push_back(row["wall"]["median"].get<double>());
    }
  }
  nlohmann::json list = nlohmann::json::array();
  for (const auto& [id, line] : lines) {
    const auto [least, most] = std::minmax_element(line.x.begin(), line.x.end());
    if (std::set<double>(line.x.begin(), line.x.end()).size() < 3) continue;
    const Growth law = growth(line.x, line.seconds);
    list.push_back({{"op", line.op},
                    {"parameter", line.parameter},
                    {"from", *least},
                    {"to", *most},
                    {"exponent", number(law.exponent)},
                    {"low", number(law.low)},
                    {"high", number(law.high)}});
  }
  return list;
}

Outcome bench_run(const RunOptions& options, Session& session) {
  const std::vector<Op> ops = all_ops();
  const std::vector<Case> cases = select(ops, options);
  const auto make = [&ops, &session](const Case& one) {
    const auto named = [&one](const Op& op) { return op.name == one.op; };
    return std::find_if(ops.begin(), ops.end(), named)->make(one.parameters, session.context);
  };
  Context& context = session.context;
  const Backend& backend = context.backend();
  if (options.profile) {
    for (const Case& one : cases) make(one).run();
    return {nlohmann::json::object(), fmt::format("{} cases were run once.\n", cases.size()), kDone};
  }
  const auto rounds = static_cast<std::size_t>(options.rounds);
  context.progress = nullptr;  // the bench says itself how far it is
  session.progress.update("bench: ceilings", 0, 1);
  const auto measure = [&] { return backend.measure_ceilings(0.75, context); };
  Ceilings ceilings = measure();

  nlohmann::json document = document_of(ceilings, session);
  if (!options.clock.empty()) document["clock"] = options.clock;
  const auto power = power_of(context, document);
  std::vector<Measured> measured(cases.size());
  Machine machine;
  const auto total = static_cast<std::int64_t>(rounds * cases.size());
  std::int64_t done = 0;
  double stolen_most = 0;
  for (std::size_t round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < cases.size(); ++i) {
      session.progress.update("bench", done++, total);
      Measured& m = measured[i];
      const bool known = is_narrow(m.rounds, options.clock), last = round + 1 == rounds;
      if (!m.wrong.empty() || (known && !(last && options.peers))) continue;
      const Problem problem = make(cases[i]);
      if (round == 0) {
        m.work = problem.work;
        problem.run();
        m.wrong = problem.check();
        if (!m.wrong.empty()) continue;
      }
      if (!known) {
        machine.stolen_and_busy();
        m.rounds.push_back(
            time_round(problem, {.seconds = options.budget / static_cast<double>(rounds)}, context, power.get()));
        const auto [stolen, busy] = machine.stolen_and_busy();
        if (stolen > 0.02) stolen_most = std::max(stolen_most, stolen);
      }
      if (last && options.peers && problem.peers) {
        problem.run();
        m.peers = problem.peers();
      }
    }
  }

  // Before and after: a machine that was slow for the first second does not lower its roofs.
  ceilings = better_of(ceilings, measure());
  document["ceilings"] = ceilings_json(ceilings);
  bool wrong = false;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    document["rows"].push_back(row_of(cases[i].op, cases[i].parameters, context.backend(), measured[i], ceilings));
    wrong = wrong || !measured[i].wrong.empty();
  }
  if (stolen_most > 0) document["stolen"] = stolen_most;
  document["exponents"] = exponents(document["rows"]);
  if (!options.out.empty()) write_file(options.out, json_text(document));
  return {document, text_of(document), wrong ? kCheckFailed : kDone};
}

Outcome bench_list() {
  std::string text;
  nlohmann::json document = {{"ops", nlohmann::json::array()}};
  for (const Op& op : all_ops()) {
    text += fmt::format("{}: {}\n", op.name, op.what);
    nlohmann::json names = nlohmann::json::array();
    for (const Parameters& parameters : op.cases) {
      names.push_back(case_name(op.name, parameters));
      text += "  " + case_name(op.name, parameters) + "\n";
    }
    document["ops"].push_back({{"name", op.name}, {"what", op.what}, {"cases", names}});
  }
  return {document, text, kDone};
}

Outcome bench_cost(const CostOptions& options, const std::string& out, Session& session) {
  if (&session.context.backend() != &cpu_backend()) {
    throw Failure(kMisuse,
                  "bench cost: it times both backends by itself, with the start of the GPU: --backend auto or cpu");
  }
  if (options.both && options.clock != "wall" && cuda_backend() != nullptr) {
    throw Failure(kMisuse, "--clock cpu: a GPU's time is no CPU time; --backend cpu, or --clock wall");
  }
  const nlohmann::json document = measure_cost(options, session);
  if (document["lines"].empty()) {
    throw Failure(kMisuse, fmt::format("--filter: no line's name contains '{}'", options.filter));
  }
  std::string text = text_of(document);
  const auto amounts = amounts_of(document);
  const auto file = crossover_file();
  if (!amounts.empty() && !file.empty()) {
    write_crossovers(file, contest_of(*cuda_backend(), session.common.device, session.common.threads),
                     document["made"].get<std::string>().substr(0, 10), amounts);
    text +=
        fmt::format("--backend auto goes by {} of these crossovers from now on: {}\n", amounts.size(), file.string());
  } else if (document.contains("start_seconds")) {
    text += "--backend auto goes by what is assumed: no crossover between the backends was measured\n";
  }
  if (!out.empty()) write_file(out, json_text(document));
  const auto& rows = document["rows"];
  const bool wrong = std::any_of(rows.begin(), rows.end(), [](const auto& row) { return row.contains("wrong"); });
  return {document, text, wrong ? kCheckFailed : kDone};
}

// A result is a file that cannot be run, or one that is called so and is not there; everything else is a command line.
bool names_program(const std::string& text) {
  const std::string_view end = ".json";
  if (text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0) return false;
  return ::access(text.c_str(), F_OK) != 0 || ::access(text.c_str(), X_OK) == 0;
}

// "5%" or "0.05"
double parse_share(const std::string& option, std::string text) {
  const bool percent = !text.empty() && text.back() == '%';
  if (percent) text.pop_back();
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || stop != text.data() + text.size() || !(value >= 0)) {
    throw Failure(kMisuse, fmt::format("{}: '{}' is not a share, as 5% or 0.05", option, text));
  }
  return percent ? value / 100 : value;
}

}  // namespace

Command add_bench(CLI::App& program) {
  struct Options {
    std::string action;
    std::vector<std::string> files;
    RunOptions run;
    double budget = -1;  // not given
    std::uint64_t max_memory = 0;
    CostOptions cost;
    std::string clock, margin = "3%", fail_over, one_case;
    bool markdown = false, relative = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand(
      "bench", "How fast this machine is at this work, against its own limits and against what people use instead");
  app->add_option(
         "action", options->action,
         "run the cases; cost: how time grows, and crossovers; list the cases; show FILE; compare A B: two results, "
         "or two programs that are timed in turn (scalelab, 'scalelab --threads 1')")
      ->required()
      ->check(CLI::IsMember({"run", "cost", "list", "show", "compare", "turn"}));
  app->add_option("files", options->files, "Results, for show and compare; or programs, for compare");
  app->add_option("--op", options->run.op, "knn, grid, kmeans, mlp or all");
  app->add_option("--axis", options->run.axes,
                  "NAME=VALUE,VALUE,...: the op's first case along these values; may be repeated");
  app->add_option("--filter", options->run.filter,
                  "Cases (cost: lines) whose name contains this, or one of several, parted by commas");
  app->add_option("--budget", options->budget,
                  "Seconds of samples: for each case (2); compare: for each case in each program (6); cost: in all for "
                  "each line on each backend (6)")
      ->check(real_number(0, 1e5))
      ->default_str("");
  app->add_option("--max-mem", options->max_memory,
                  "cost: bytes that a case may take, as 8G; without it half of what is free")
      ->transform(memory_size())
      ->default_str("");
  app->add_option("--most", options->cost.most, "cost: largest value of what varies")
      ->check(whole_number(0, 1'000'000'000'000));
  app->add_option("--case", options->one_case, "turn: the one case to time, in JSON; compare runs this");
  app->add_option("--rounds", options->run.rounds, "Independent looks at each case, at most")
      ->check(whole_number(1, 1000));
  app->add_flag("--peers", options->run.peers, "Time what is used elsewhere on the same arrays");
  app->add_flag("--profile", options->run.profile, "Run each case once and measure nothing: for profilers");
  app->add_option("-o,--out", options->run.out,
                  "File for the result (JSON, with every sample); show: folder for its page, report.html");
  app->add_flag("--markdown", options->markdown, "show: as a table in Markdown");
  app->add_option("--clock", options->clock,
                  "wall (unless given) or cpu: the time to go by; cpu for a machine that others use too")
      ->check(CLI::IsMember({"wall", "cpu"}));
  app->add_option("--margin", options->margin, "compare: differences up to this are 'same'");
  app->add_flag("--relative", options->relative,
                "compare: each case beside what all cases did together, for a machine whose speed drifts");
  app->add_option("--fail-over", options->fail_over, "compare: exit 5 when a case is slower by more than this, as 5%");
  add_notes(*app, {"scalelab bench run --op knn --axis n=1e4,1e5,1e6", "scalelab bench show mine.json --out page"});
  return {app, [options](Session& session) -> Outcome {
            const std::size_t wanted = options->action == "show" ? 1 : options->action == "compare" ? 2 : 0;
            if (options->files.size() != wanted) {
              throw Failure(kMisuse, fmt::format("bench {}: takes {} file{}, and {} were given", options->action,
                                                 wanted, wanted == 1 ? "" : "s", options->files.size()));
            }
            if (options->action == "list") return bench_list();
            if (options->action == "turn") {
              session.context.progress = nullptr;
              const double seconds = options->budget >= 0 ? options->budget : kTurn;
              const auto turn = take_turn(all_ops(), options->one_case, seconds, session.context);
              return {turn, turn.dump() + "\n", kDone};
            }
            if (options->action == "run") {
              if (options->budget >= 0) options->run.budget = options->budget;
              options->run.clock = options->clock;
              return bench_run(options->run, session);
            }
            if (options->action == "cost") {
              if (options->budget >= 0) options->cost.budget = options->budget;
              options->cost.filter = options->run.filter;
              options->cost.max_bytes = static_cast<double>(options->max_memory);
              if (!options->clock.empty()) options->cost.clock = options->clock;
              options->cost.both = session.common.backend == "auto";
              return bench_cost(options->cost, options->run.out, session);
            }
            if (options->action == "show") {
              auto document = read_result(options->files[0]);
              if (!options->clock.empty()) document["clock"] = options->clock;
              if (options->markdown) return {document, markdown_of(document, options->run.filter), kDone};
              std::string text = text_of(document);
              if (!options->run.out.empty()) {
                make_output_folder(options->run.out);
                write_page(options->run.out, bench::page_of(document));
                text = (std::filesystem::path(options->run.out) / "report.html").string() + "\n";
              }
              return {document, text, kDone};
            }
            TurnOptions turns{.margin = parse_share("--margin", options->margin)};
            turns.rounds = std::max(turns.rounds, options->run.rounds);
            if (!options->fail_over.empty()) turns.fail_over = parse_share("--fail-over", options->fail_over);
            if (!options->clock.empty()) turns.clock = options->clock;
            if (options->budget >= 0) turns.budget = options->budget;
            const std::string &a = options->files[0], &b = options->files[1];
            const bool programs = names_program(a);
            if (programs != names_program(b)) {
              throw Failure(kMisuse, "bench compare: takes two results or two programs, and not one of each");
            }
            const Compared compared =
                programs ? compare_in_turn(a, b, select(all_ops(), options->run), turns, session)
                         : compare_results(a, b, turns.clock, turns.margin, turns.fail_over, options->relative);
            if (!options->run.out.empty()) write_file(options->run.out, json_text(compared.document));
            return {compared.document, compared.text, compared.over ? kCheckFailed : kDone};
          }};
}

}  // namespace scalelab::bench
