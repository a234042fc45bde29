#include "bench/turns.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "host/program/environment.h"
#include "host/program/error.h"

namespace scalelab::bench {

namespace {

using host::Failure;

// What is run for a turn of `program`: its own options go before those of this program.
std::string command_line(const std::string& program, const Case& one, bool check, const host::Common& common) {
  const std::size_t end = std::min(program.find(' '), program.size());
  std::string options = program.substr(end) + " ";
  const auto pass_on = [&options](const std::string& name, const std::string& value) {
    if (options.find(" " + name + " ") == std::string::npos && options.find(" " + name + "=") == std::string::npos) {
      options += name + " " + value + " ";
    }
  };
  pass_on("--threads", std::to_string(common.threads));
  pass_on("--backend", common.backend);
  pass_on("--device", std::to_string(common.device()));
  const nlohmann::json document = {{"op", one.op}, {"parameters", one.parameters}, {"check", check}};
  return fmt::format("{} bench turn{}--budget {} --json --quiet --case '{}' 2>&1", program.substr(0, end), options,
                     kTurn, document.dump());
}

// Of a turn: what it printed as JSON, or {"wrong": what it said instead}.
nlohmann::json turn_of(const std::string& program, const Case& one, bool check, const host::Common& common) {
  const auto [output, status, late] = run_command(command_line(program, one, check, common));
  auto turn = nlohmann::json::parse(output, nullptr, false);
  if (turn.is_object() && (turn.contains("wrong") || (turn.contains("wall") && turn.contains("cpu")))) return turn;
  const std::string line = output.substr(0, output.find('\n'));
  return {{"wrong", line.empty() ? fmt::format("it said nothing and ended with status {}", status) : line}};
}

}  // namespace

nlohmann::json take_turn(const std::string& text, double seconds, Context& context) {
  const auto one = Parameters::parse(text, nullptr, false);
  if (!one.is_object() || !one.contains("op") || !one.contains("parameters")) {
    throw Failure(host::kMisuse, "--case: is not a JSON object of op and parameters");
  }
  if (!one["op"].is_string()) throw Failure(host::kMisuse, "--case: the op is no text");
  const Op& op = op_named(one["op"]);
  check_parameters(op, one["parameters"], "--case");
  // Where in a page the heap goes on is drawn: two builds that allocate alike up to here would keep one such place
  // each.
  const std::vector<char> shift(16 * (std::random_device()() % 256));
  const Problem problem = op.make(one["parameters"], context);
  if (one.value("check", false)) {
    problem.run_once();
    const std::string wrong = problem.check();
    if (!wrong.empty()) return {{"wrong", wrong}};
  }
  const Round round = time_round(problem, {.seconds = seconds, .least = 1, .cold = false}, context);
  return {{"wall", round.wall}, {"cpu", round.cpu}};
}

namespace {

// The turns that both programs took for a case, so far.
struct Turns {
  std::vector<double> medians[2];
  nlohmann::json samples[2] = {nlohmann::json::array(), nlohmann::json::array()};
};

}  // namespace

Compared compare_in_turn(const std::string& a, const std::string& b, const std::vector<Case>& cases,
                         const TurnOptions& options, host::Session& session) {
  const std::string* const programs[] = {&a, &b};
  std::vector<ComparedCase> compared;
  // A series of turns, added to `turns`; what it says by itself. Nothing, and why_not, where a program cannot do it.
  const auto series = [&](const Case& one, Turns& turns, std::string& why_not) -> Verdict {
    const std::size_t before = turns.medians[0].size();
    double spent[2] = {0, 0};
    for (int round = 0;; ++round) {
      session.progress.update("bench compare", std::ssize(compared), std::ssize(cases));
      for (const int who : {round % 2, 1 - round % 2}) {
        const auto turn = turn_of(*programs[who], one, turns.medians[who].empty(), session.common);
        if (turn.contains("wrong")) {
          why_not = fmt::format("{}: {}", *programs[who], turn["wrong"].get<std::string>());
          return {};
        }
        for (const double sample : turn["wall"]) spent[who] += sample;
        turns.medians[who].push_back(median(turn[options.clock]));
        turns.samples[who].push_back(turn);
      }
      // Enough turns when the interval is narrower than the margin, or the budget is spent.
      if (round + 1 < options.rounds) continue;
      const auto own = [&](int who) { return std::span(turns.medians[who]).subspan(before); };
      const Verdict verdict = compare_in_pairs(own(0), own(1), options.margin);
      const bool narrow = verdict.high <= verdict.low * (1 + options.margin);
      if (narrow || std::max({spent[0], spent[1], kTurn * (round + 1)}) >= options.budget) return verdict;
    }
  };
  for (const Case& one : cases) {
    ComparedCase result{.name = case_name(one.op, one.parameters)};
    Turns turns;
    result.verdict = series(one, turns, result.why_not);
    // A difference must be found twice: in the second series by itself, and in both together.
    const std::string claim = result.verdict.word;
    if (claim == "faster" || claim == "slower") {
      const Verdict second = series(one, turns, result.why_not);
      result.verdict = compare_in_pairs(turns.medians[0], turns.medians[1], options.margin);
      if (second.word != claim && result.verdict.word == claim) result.verdict.word = "undecided";
    }
    result.measured = {{"a", turns.samples[0]}, {"b", turns.samples[1]}};
    compared.push_back(std::move(result));
  }
  const auto failed = [](const ComparedCase& one) { return !one.why_not.empty(); };
  if (std::all_of(compared.begin(), compared.end(), failed)) {
    throw Failure(host::kMisuse, "bench compare: no case can be timed in both: " + compared.front().why_not);
  }
  Compared outcome = compared_of(compared, options.clock, options.fail_over);
  outcome.document["a"] = a;
  outcome.document["b"] = b;
  outcome.document["margin"] = options.margin;
  outcome.document["environment"] = host::environment(session);
  return outcome;
}

}  // namespace scalelab::bench
