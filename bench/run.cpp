#include "bench/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <string>

#include "bench/result.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/words.h"

namespace scalelab::bench {

namespace {

constexpr double kCeilingSeconds = 0.75;  // before the cases, and again after them
constexpr double kNoticed = 0.02;         // a share of stolen time that is worth a word

// Ticks that the processors of this machine have spent since it started, and those that other machines on the same
// hardware took. Nothing where the kernel does not say.
struct Ticks {
  Ticks() {
    constexpr int kKinds = 8;  // user, nice, system, idle, waiting, interrupts, soft interrupts, stolen
    std::ifstream file("/proc/stat");
    std::string word;
    file >> word;
    for (int kind = 0; kind < kKinds && file >> stolen; ++kind) all += stolen;
    if (!file) all = stolen = 0;
  }
  double all = 0, stolen = 0;
};

// The share stolen since `before`; 0 where it is not known or hardly anything.
double stolen_since(const Ticks& before) {
  const Ticks now;
  const double share = now.all > before.all ? (now.stolen - before.stolen) / (now.all - before.all) : 0;
  return share > kNoticed ? share : 0;
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
    if (std::set<double>(line.x.begin(), line.x.end()).size() < 3) continue;
    const auto [least, most] = std::minmax_element(line.x.begin(), line.x.end());
    list.push_back(growth_json(line.parameter, growth(line.x, line.seconds), *least, *most));
    list.back()["op"] = line.op;
  }
  return list;
}

constexpr double kWarm = 0.1;  // seconds of runs after which a GPU keeps the clock that it has under load

// Why a case cannot be run here; empty: it can.
std::string why_left_out(const Case& one, Context& context) {
  const double need = need_of(one);
  if (need == 0) return "";
  Context host(cpu_backend(), 0, 1);
  const auto free =
      static_cast<double>(std::min(host.backend().memory_free(host), context.backend().memory_free(context)));
  if (need <= free) return "";
  return fmt::format("needs {:.1f} GB, on the device and on the host; {:.1f} GB are free", 1e-9 * need, 1e-9 * free);
}

// One round of a case: in the first its answer is checked, in the last its peers are timed. A case that is wrong, or
// known well enough, is left alone. Returns the share of stolen time.
double take_round(const Case& one, const RunOptions& options, int round, Measured& measured, const Power* power,
                  Context& context) {
  const bool with_peers = options.peers && round + 1 == options.rounds;
  const bool known = is_narrow(measured.rounds, options.clock);
  if (!measured.wrong.empty() || (known && !with_peers)) return 0;
  const Problem problem = op_named(one.op).make(one.parameters, context);
  if (round == 0) {
    measured.work = problem.work;
    problem.run_once();
    if (problem.digest) measured.digest = problem.digest();
    measured.wrong = problem.check();
    if (!measured.wrong.empty()) return 0;
  }
  double stolen = 0;
  if (!known) {
    const Ticks before;
    const bool on_gpu = &context.backend() != &cpu_backend();
    const Pace pace{.seconds = options.budget / options.rounds, .warm = on_gpu ? kWarm : 0};
    measured.rounds.push_back(time_round(problem, pace, context, power));
    stolen = stolen_since(before);
    const bool quick = need_of(one) == 0;  // to fetch and to read
    if (quick && problem.digest && problem.digest() != measured.digest) {
      measured.wrong = "the same work gave another answer than in the first run: this machine computes wrongly";
      return stolen;
    }
  }
  if (with_peers && problem.peers) {
    problem.run_once();
    measured.peers = problem.peers();
  }
  return stolen;
}

// A line of its own, on a terminal or in a log.
void tell(host::Session& session, const std::string& line) {
  if (!session.common.quiet) session.progress.say(line);
}

// All rounds of all cases, and what a case took as soon as it was timed once, which is then kept. False: a signal stopped
// them, and what was measured until then is there.
bool take_rounds(const std::vector<Case>& cases, const RunOptions& options, std::vector<Measured>& measured,
                 double& stolen, const Power* power, const std::function<void()>& keep, host::Session& session) {
  const std::int64_t total = options.rounds * std::ssize(cases);
  std::int64_t done = 0;
  try {
    for (int round = 0; round < options.rounds; ++round) {
      for (std::size_t i = 0; i < cases.size(); ++i) {
        session.progress.update(fmt::format("bench run, round {} of {}", round + 1, options.rounds), done++, total);
        stolen = std::max(stolen, take_round(cases[i], options, round, measured[i], power, session.context));
        if (round > 0 || measured[i].nothing()) continue;
        keep();
        const std::string name = case_name(cases[i].op, cases[i].parameters);
        tell(session, measured[i].rounds.empty() ? fmt::format("{}: WRONG: {}", name, measured[i].wrong)
                                                 : fmt::format("{}: {} in the first round", name,
                                                               time_text(median(measured[i].rounds[0].wall))));
      }
      if (round > 0) keep();
    }
  } catch (const host::Interrupted&) {
    if (std::all_of(measured.begin(), measured.end(), [](const Measured& one) { return one.nothing(); })) throw;
    return false;
  }
  return true;
}

// "40 s", "3 minutes"
std::string duration_text(double seconds) {
  return seconds < 100 ? fmt::format("{:.0f} s", seconds) : host::counted(std::lround(seconds / 60), "minute");
}

// About how long a run takes, before anything of it is known: its samples, and for each round of a case about half as
// long again for its data, its warm-up and its cold run.
std::string announcement(std::size_t cases, const RunOptions& options) {
  constexpr double kBeside = 1.5;
  const double seconds = 2 * kCeilingSeconds + kBeside * options.budget * static_cast<double>(cases);
  return fmt::format(
      "bench run: {} with {} of samples each: about {}{}", host::counted(static_cast<std::int64_t>(cases), "case"),
      duration_text(options.budget), duration_text(seconds),
      options.peers ? fmt::format(", and what the peers take, each script {} at most", duration_text(kPeerSeconds))
                    : "");
}

}  // namespace

nlohmann::json measure_cases(const std::vector<Case>& chosen, const RunOptions& options, host::Session& session) {
  Context& context = session.context;
  context.progress = nullptr;  // the bench says itself how far it is
  session.progress.update("bench run, ceilings", 0, 1);
  const Ceilings before = context.backend().measure_ceilings(kCeilingSeconds, context);
  nlohmann::json document = document_of(before, session);
  document["clock"] = options.clock;
  const auto power = power_of(context, document);
  std::vector<Case> cases;
  for (const Case& one : chosen) {
    const std::string why = why_left_out(one, context);
    if (why.empty()) cases.push_back(one);
    if (!why.empty()) document["left_out"].push_back({{"name", case_name(one.op, one.parameters)}, {"why", why}});
  }

  tell(session, announcement(cases.size(), options));
  std::vector<Measured> measured(cases.size());
  double stolen = 0;
  // With what is known of each case by now, under these roofs.
  const auto document_under = [&](const Ceilings& ceilings, bool whole) {
    nlohmann::json known = document;
    known["ceilings"] = ceilings_json(ceilings);
    for (std::size_t i = 0; i < cases.size(); ++i) {
      if (measured[i].nothing()) continue;  // a signal came before, or its turn is still to come
      known["rows"].push_back(row_of(cases[i], context.backend(), measured[i], ceilings));
      if (is_counted_for(known["device"])) add_prediction(known["rows"].back(), measured[i].work, ceilings);
    }
    if (stolen > 0) known["stolen"] = stolen;
    if (!whole) known["stopped"] = fmt::format("{} of {} cases", known["rows"].size(), cases.size());
    known["exponents"] = exponents(known["rows"]);
    known["noise"] = noise_json(known);
    return known;
  };
  const auto keep = [&] {
    if (options.keep) options.keep(document_under(before, false));
  };
  const bool whole = take_rounds(cases, options, measured, stolen, power.get(), keep, session);
  // The better of two: a machine that was slow for the first second does not lower its roofs.
  return document_under(better_of(before, context.backend().measure_ceilings(kCeilingSeconds, context)), whole);
}

void soak(const Problem& problem, double seconds, Soaked& soaked, const Clocks& clocks) {
  const double began = clocks.wall();
  for (int runs = 0; runs < 2 || clocks.wall() - began < seconds; ++runs) {
    host::throw_if_interrupted();
    problem.run_once();
    const std::string digest = problem.digest();
    if (soaked.runs++ == 0) soaked.digest = digest;
    soaked.differing += digest != soaked.digest ? 1 : 0;
  }
}

nlohmann::json soak_cases(const std::vector<Case>& cases, double seconds, host::Session& session) {
  constexpr double kTurn = 1;  // seconds of a case at a time
  Context& context = session.context;
  context.progress = nullptr;
  const Clocks clocks = steady_clocks();
  const double began = clocks.wall();
  std::vector<Soaked> soaked(cases.size());
  nlohmann::json document = {{"schema", 1},
                             {"experiment", "bench soak"},
                             {"device", context.backend().describe(context)},
                             {"threads", context.threads()},
                             {"rows", nlohmann::json::array()},
                             {"environment", host::environment(session)}};
  const double turn = std::min(kTurn, seconds / static_cast<double>(cases.size()));
  try {
    do {
      for (std::size_t i = 0; i < cases.size(); ++i) {
        const double passed = clocks.wall() - began;
        session.progress.update("bench soak", static_cast<std::int64_t>(passed),
                                static_cast<std::int64_t>(seconds) + 1);
        if (!why_left_out(cases[i], context).empty() || (passed >= seconds && soaked[i].runs > 0)) continue;
        soak(op_named(cases[i].op).make(cases[i].parameters, context), turn, soaked[i], clocks);
      }
    } while (clocks.wall() - began < seconds);
  } catch (const host::Interrupted&) {
    if (std::all_of(soaked.begin(), soaked.end(), [](const Soaked& one) { return one.runs == 0; })) throw;
    document["stopped"] = true;
  }
  std::int64_t runs = 0, differing = 0;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Soaked& one = soaked[i];
    if (one.runs == 0) continue;
    runs += one.runs;
    differing += one.differing;
    document["rows"].push_back({{"name", case_name(cases[i].op, cases[i].parameters)},
                                {"runs", one.runs},
                                {"differing", one.differing},
                                {"answer_digest", one.digest}});
  }
  document.update({{"seconds", clocks.wall() - began}, {"runs", runs}, {"differing", differing}});
  return document;
}

}  // namespace scalelab::bench
