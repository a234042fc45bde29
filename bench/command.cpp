// scalelab bench: run, list, show, compare.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>

#include "bench/bench.h"
#include "host/command.h"
#include "host/error.h"
#include "host/files.h"
#include "host/statistics.h"

namespace scalelab::host {

namespace {

using namespace scalelab::bench;
using Clock = std::chrono::steady_clock;

std::vector<Op> all_ops() { return {knn_op(), grid_op(), kmeans_op(), mlp_op()}; }

std::string time_text(double seconds) {
  if (!std::isfinite(seconds)) return "-";
  if (seconds < 1e-3) return fmt::format("{:.1f} us", 1e6 * seconds);
  if (seconds < 1) return fmt::format("{:.{}f} ms", 1e3 * seconds, seconds < 0.01 ? 3 : seconds < 0.1 ? 2 : 1);
  return fmt::format("{:.2f} s", seconds);
}

std::string rate_text(double rate, const std::string& unit) {
  const char* prefix = "";
  for (const char* next : {"k", "M", "G", "T"}) {
    if (rate < 1000) break;
    rate /= 1000;
    prefix = next;
  }
  return fmt::format("{:.{}f} {}{}/s", rate, rate < 10 ? 2 : rate < 100 ? 1 : 0, prefix, unit);
}

nlohmann::json number(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(); }
double number_at(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number() ? found->get<double>() : std::nan("");
}

struct CeilingName {
  const char *name, *unit;
  double Ceilings::*value;
};
constexpr CeilingName kCeilings[] = {
    {"copy_bytes", "B", &Ceilings::copy_bytes},         {"write_bytes", "B", &Ceilings::write_bytes},
    {"cache_bytes", "B", &Ceilings::cache_bytes},       {"shared_bytes", "B", &Ceilings::shared_bytes},
    {"fma_flop", "flop", &Ceilings::fma_flop},          {"minimum_ops", "op", &Ceilings::minimum_ops},
    {"tensor_flop", "flop", &Ceilings::tensor_flop},    {"launch_seconds", "", &Ceilings::launch_seconds},
    {"barrier_seconds", "", &Ceilings::barrier_seconds}};

nlohmann::json ceilings_json(const Ceilings& ceilings) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto& [name, unit, value] : kCeilings) object[name] = number(ceilings.*value);
  return object;
}
Ceilings ceilings_of(const nlohmann::json& object) {
  Ceilings ceilings;
  for (const auto& [name, unit, value] : kCeilings) ceilings.*value = number_at(object, name);
  return ceilings;
}

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
  std::string op = "all", filter, out;
  std::vector<std::string> axes;
  double budget = 2;
  int rounds = 5;
  bool peers = false, profile = false;
};

// The default cases of the ops asked for, or with --axis the product of its lists over the op's first case.
struct Selected {
  Op op;
  Parameters parameters;
};
std::vector<Selected> select(const RunOptions& options) {
  std::vector<Selected> list;
  bool known = false;
  for (const Op& op : all_ops()) {
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
      if (case_name(op.name, parameters).find(options.filter) != std::string::npos) list.push_back({op, parameters});
    }
  }
  if (!known) throw Failure(kMisuse, fmt::format("--op: '{}' is none of knn, grid, kmeans, mlp, all", options.op));
  if (list.empty()) throw Failure(kMisuse, fmt::format("--filter: no case's name contains '{}'", options.filter));
  return list;
}

// Slopes of log time against log parameter, for every parameter with three values or more while the others stay.
nlohmann::json exponents(const nlohmann::json& rows) {
  std::map<std::string, std::pair<std::vector<double>, std::vector<double>>> lines;
  std::map<std::string, std::pair<std::string, std::string>> names;
  for (const auto& row : rows) {
    for (const auto& [key, value] : row["parameters"].items()) {
      if (!value.is_number() || !(value.get<double>() > 0) || !row["wall"]["median"].is_number()) continue;
      nlohmann::json rest = row["parameters"];
      rest.erase(key);
      const std::string id = key + rest.dump() + row["op"].get<std::string>();
      lines[id].first.push_back(value.get<double>());
      lines[id].second.push_back(row["wall"]["median"].get<double>());
      names[id] = {key, row["op"].get<std::string>()};
    }
  }
  nlohmann::json list = nlohmann::json::array();
  for (const auto& [id, line] : lines) {
    if (std::set<double>(line.first.begin(), line.first.end()).size() < 3) continue;
    const PowerLaw law = fit_power_law(line.first, line.second);
    list.push_back({{"op", names[id].second},
                    {"parameter", names[id].first},
                    {"from", *std::min_element(line.first.begin(), line.first.end())},
                    {"to", *std::max_element(line.first.begin(), line.first.end())},
                    {"exponent", number(law.slope)}});
  }
  return list;
}

std::string table_of(const nlohmann::json& document) {
  std::string text = document.value("device", std::string("unknown device")) + "\n";
  const Ceilings ceilings = ceilings_of(document.value("ceilings", nlohmann::json::object()));
  text += "Measured ceilings:";
  for (const auto& [name, unit, value] : kCeilings) {
    if (!std::isfinite(ceilings.*value)) continue;
    std::string words = name;
    std::replace(words.begin(), words.end(), '_', ' ');
    words = words.substr(0, words.find(' '));
    text +=
        fmt::format(" {} {},", words, *unit == '\0' ? time_text(ceilings.*value) : rate_text(ceilings.*value, unit));
  }
  text.back() = '\n';
  const auto rows = document.value("rows", nlohmann::json::array());
  for (const auto& row : rows) {
    text += row.value("name", std::string("?")) + "\n";
    const std::string wrong = row.value("wrong", std::string());
    if (!wrong.empty()) {
      text += fmt::format("  WRONG: {}\n", wrong);
      continue;
    }
    const auto& wall = row["wall"];
    const double middle = number_at(wall, "median"), low = number_at(wall, "low"), high = number_at(wall, "high");
    text += fmt::format("  {:<24} {:>10}  [{}, {}]  cold {}  {}", row.value("backend", std::string("scalelab")),
                        time_text(middle), time_text(low), time_text(high), time_text(number_at(row, "cold")),
                        rate_text(number_at(row, "units") / middle, row.value("unit", std::string("unit"))));
    const auto& roof = row["roof"];
    if (roof.is_object() && !roof.value("name", std::string()).empty()) {
      text += fmt::format("  {:.0f} % of the {} roof", 100 * number_at(roof, "share"), roof["name"].get<std::string>());
    }
    text += "\n";
    for (const auto& peer : row.value("peers", nlohmann::json::array())) {
      const std::string who = peer.value("who", std::string("?")), absent = peer.value("absent", std::string());
      if (!absent.empty()) {
        text += fmt::format("  {:<24} absent: {}\n", who, absent);
        continue;
      }
      text +=
          fmt::format("  {:<24} {:>10}  {:.1f}x  {} {}\n", who, time_text(number_at(peer, "median")),
                      number_at(peer, "ratio"), peer.value("answer", std::string()), peer.value("note", std::string()));
    }
    for (const auto& warning : row.value("warnings", nlohmann::json::array())) {
      text += fmt::format("  note: {}\n", warning.get<std::string>());
    }
  }
  if (document.contains("stolen")) {
    text += fmt::format("Other machines on this hardware took up to {:.0f} % of the processors' time during a case.\n",
                        100 * number_at(document, "stolen"));
  }
  for (const auto& law : document.value("exponents", nlohmann::json::array())) {
    text += fmt::format("{}: time grows as {}^{:.2f} from {:g} to {:g}\n", law.value("op", std::string()),
                        law.value("parameter", std::string()), number_at(law, "exponent"), number_at(law, "from"),
                        number_at(law, "to"));
  }
  return text;
}

Outcome bench_run(const RunOptions& options, Session& session) {
  const std::vector<Selected> cases = select(options);
  Context& context = session.context;
  const Backend& backend = context.backend();
  if (options.profile) {
    for (const Selected& one : cases) one.op.make(one.parameters, context).run();
    return {nlohmann::json::object(), fmt::format("{} cases were run once.\n", cases.size()), kDone};
  }
  const auto rounds = static_cast<std::size_t>(options.rounds);
  context.progress = nullptr;  // the bench says itself how far it is
  session.progress.update("bench: ceilings", 0, 1);
  const Ceilings ceilings = backend.measure_ceilings != nullptr ? backend.measure_ceilings(1.5, context) : Ceilings{};

  struct Measured {
    bench::Work work;
    std::string wrong;
    std::vector<Round> rounds;
    std::vector<Peer> peers;
    std::vector<std::string> warnings;
  };
  std::vector<Measured> measured(cases.size());
  Machine machine;
  const auto total = static_cast<std::int64_t>(rounds * cases.size());
  std::int64_t done = 0;
  double stolen_most = 0;
  for (std::size_t round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < cases.size(); ++i) {
      session.progress.update("bench", done++, total);
      Measured& m = measured[i];
      if (!m.wrong.empty()) continue;
      const Problem problem = cases[i].op.make(cases[i].parameters, context);
      if (round == 0) {
        m.work = problem.work;
        problem.run();
        m.wrong = problem.check();
        if (!m.wrong.empty()) continue;
      }
      machine.stolen_and_busy();
      m.rounds.push_back(time_round(problem, options.budget / static_cast<double>(rounds), context));
      const auto [stolen, busy] = machine.stolen_and_busy();
      if (stolen > 0.02) stolen_most = std::max(stolen_most, stolen);
      if (round + 1 == rounds && options.peers && problem.peers) {
        problem.run();
        m.peers = problem.peers();
      }
    }
  }

  nlohmann::json document = {{"schema", 1},
                             {"experiment", "bench"},
                             {"made", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))},
                             {"backend", backend.name},
                             {"device", backend.describe(context)},
                             {"threads", context.threads()},
                             {"ceilings", ceilings_json(ceilings)},
                             {"rows", nlohmann::json::array()},
                             {"environment", environment(session)}};
  bool wrong = false;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Measured& m = measured[i];
    nlohmann::json row = {{"name", case_name(cases[i].op.name, cases[i].parameters)},
                          {"op", cases[i].op.name},
                          {"parameters", cases[i].parameters},
                          {"backend", backend.name},
                          {"unit", m.work.unit},
                          {"units", m.work.units},
                          {"bytes", m.work.bytes},
                          {"flop", m.work.flop},
                          {"minima", m.work.minima},
                          {"counted", m.work.counted}};
    if (!m.wrong.empty()) {
      wrong = true;
      row["wrong"] = m.wrong;
      document["rows"].push_back(std::move(row));
      continue;
    }
    std::vector<double> cold;
    nlohmann::json warnings = nlohmann::json::array();
    for (const char* clock : {"wall", "cpu"}) {
      std::vector<double> medians;
      nlohmann::json samples = nlohmann::json::array();
      for (const Round& r : m.rounds) {
        const auto& values = std::string(clock) == "wall" ? r.wall : r.cpu;
        medians.push_back(median(values));
        samples.push_back(values);
      }
      const Estimate e = estimate(medians);
      row[clock] = {{"median", number(e.median)},
                    {"low", number(e.low)},
                    {"high", number(e.high)},
                    {"rounds", medians},
                    {"samples", samples}};
      if (std::string(clock) == "wall") {
        if (medians.size() < 3) {
          warnings.push_back("fewer than three rounds: the interval says little, and no comparison will be made");
        } else if (e.high > 1.2 * e.low) {
          warnings.push_back(fmt::format("noisy: rounds differ so much that the interval is {:.0f} % wide",
                                         100 * (e.high / e.low - 1)));
        }
      }
    }
    for (const Round& r : m.rounds) cold.push_back(r.cold);
    row["cold"] = number(median(cold));
    const double middle = row["wall"]["median"];
    const Roof roof = binding_roof(m.work, ceilings, middle);
    row["roof"] = {{"name", roof.name}, {"floor_seconds", roof.floor_seconds}, {"share", roof.share}};
    row["peers"] = nlohmann::json::array();
    for (const Peer& peer : m.peers) {
      const double theirs = median(peer.wall);
      row["peers"].push_back({{"who", peer.who},
                              {"absent", peer.absent},
                              {"wall", peer.wall},
                              {"cpu", peer.cpu},
                              {"median", number(theirs)},
                              {"ratio", number(theirs / middle)},
                              {"answer", peer.answer},
                              {"note", peer.note}});
    }
    row["warnings"] = std::move(warnings);
    document["rows"].push_back(std::move(row));
  }
  if (stolen_most > 0) document["stolen"] = stolen_most;
  document["exponents"] = exponents(document["rows"]);
  if (!options.out.empty()) write_file(options.out, json_text(document));
  return {document, table_of(document), wrong ? kCheckFailed : kDone};
}

nlohmann::json read_result(const std::string& file) {
  std::ifstream input(file);
  if (!input) throw Failure(kBadData, fmt::format("{}: cannot be read", file));
  auto document = nlohmann::json::parse(input, nullptr, false);
  if (!document.is_object() || !document.contains("rows") || document.value("experiment", "") != "bench") {
    throw Failure(kBadData, fmt::format("{}: is no result of scalelab bench run", file));
  }
  return document;
}

Outcome bench_compare(const std::string& a_file, const std::string& b_file, const std::string& clock, double margin,
                      double fail_over) {
  const auto a = read_result(a_file), b = read_result(b_file);
  std::map<std::string, nlohmann::json> before;
  for (const auto& row : a["rows"]) before[row.value("name", std::string())] = row;
  nlohmann::json document = {
      {"schema", 1},      {"experiment", "bench compare"},  {"a", a_file}, {"b", b_file}, {"clock", clock},
      {"margin", margin}, {"rows", nlohmann::json::array()}};
  std::string text = fmt::format("{:<78} {:>8}  {:<20} {}\n", "case", "b / a", "95 % interval", "b is");
  std::map<std::string, int> counts;
  bool over = false;
  for (const auto& row : b["rows"]) {
    const std::string name = row.value("name", std::string());
    const auto found = before.find(name);
    if (found == before.end() || row.contains("wrong") || found->second.contains("wrong")) {
      ++counts["not comparable"];
      document["rows"].push_back({{"name", name}, {"verdict", "not comparable"}});
      continue;
    }
    const auto x = found->second[clock]["rounds"].get<std::vector<double>>();
    const auto y = row[clock]["rounds"].get<std::vector<double>>();
    const Verdict verdict = compare_rounds(x, y, margin);
    ++counts[verdict.word];
    over = over || (verdict.word == "slower" && verdict.ratio > 1 + fail_over);
    text += fmt::format("{:<78} {:>8.3f}  {:<20} {}{}\n", name, verdict.ratio,
                        verdict.too_few ? "-" : fmt::format("[{:.3f}, {:.3f}]", verdict.low, verdict.high),
                        verdict.word, verdict.too_few ? " (fewer than three rounds)" : "");
    document["rows"].push_back({{"name", name},
                                {"ratio", number(verdict.ratio)},
                                {"low", number(verdict.low)},
                                {"high", number(verdict.high)},
                                {"verdict", verdict.word},
                                {"too_few", verdict.too_few}});
  }
  text += fmt::format("By {} time:", clock);
  for (const auto& [word, count] : counts) text += fmt::format(" {} {},", count, word);
  text.back() = '\n';
  if (a.value("device", "") != b.value("device", "") || a.value("threads", 0) != b.value("threads", 0)) {
    text += fmt::format("a ran on {} ({} threads), b on {} ({})\n", a.value("device", "?"), a.value("threads", 0),
                        b.value("device", "?"), b.value("threads", 0));
  }
  const bool fails = over && fail_over >= 0 && fail_over < 1e9;
  return {document, text, fails ? kCheckFailed : kDone};
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
    std::string clock = "wall", margin = "3%", fail_over;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand(
      "bench", "How fast this machine is at this work, against its own limits and against what people use instead");
  app->add_option("action", options->action, "run; list the cases; show FILE; compare FILE FILE")
      ->required()
      ->check(CLI::IsMember({"run", "list", "show", "compare"}));
  app->add_option("files", options->files, "Results, for show and compare");
  app->add_option("--op", options->run.op, "knn, grid, kmeans, mlp or all");
  app->add_option("--axis", options->run.axes,
                  "NAME=VALUE,VALUE,...: the op's first case along these values; may be repeated");
  app->add_option("--filter", options->run.filter, "Cases whose name contains this");
  app->add_option("--budget", options->run.budget, "Seconds of samples for each case")->check(real_number(0, 1e5));
  app->add_option("--rounds", options->run.rounds, "Independent looks at each case")->check(whole_number(1, 1000));
  app->add_flag("--peers", options->run.peers, "Time what is used elsewhere on the same arrays");
  app->add_flag("--profile", options->run.profile, "Run each case once and measure nothing: for profilers");
  app->add_option("--out", options->run.out, "File for the result (JSON, with every sample)");
  app->add_option("--clock", options->clock, "compare: wall or cpu time")->check(CLI::IsMember({"wall", "cpu"}));
  app->add_option("--margin", options->margin, "compare: differences up to this are 'same'");
  app->add_option("--fail-over", options->fail_over, "compare: exit 5 when a case is slower by more than this, as 5%");
  return {app, [options](Session& session) -> Outcome {
            const std::size_t wanted = options->action == "show" ? 1 : options->action == "compare" ? 2 : 0;
            if (options->files.size() != wanted) {
              throw Failure(kMisuse, fmt::format("bench {}: takes {} file{}, and {} were given", options->action,
                                                 wanted, wanted == 1 ? "" : "s", options->files.size()));
            }
            if (options->action == "list") return bench_list();
            if (options->action == "run") return bench_run(options->run, session);
            if (options->action == "show") {
              const auto document = read_result(options->files[0]);
              return {document, table_of(document), kDone};
            }
            const double fail_over = options->fail_over.empty() ? 1e9 : parse_share("--fail-over", options->fail_over);
            return bench_compare(options->files[0], options->files[1], options->clock,
                                 parse_share("--margin", options->margin), fail_over);
          }};
}

}  // namespace scalelab::host
