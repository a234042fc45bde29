#include "bench/turns.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "host/error.h"
#include "host/files.h"

namespace scalelab::bench {

namespace {

using host::Failure;

// A child that answers in turn. Its questions go through a named pipe, which this side holds open at both ends: opening
// it never waits, and the child sees its end when this side is gone, however it went.
class Contender {
 public:
  Contender(const std::string& command, const host::Common& common) : named_(command) {
    const std::string pipe = folder_.path() + "/questions";
    if (::mkfifo(pipe.c_str(), 0600) != 0) throw Failure(host::kCannotWrite, "cannot make a pipe in " + pipe);
    questions_ = ::open(pipe.c_str(), O_RDWR | O_CLOEXEC);
    if (questions_ < 0) throw Failure(host::kCannotWrite, "cannot open " + pipe);
    const std::size_t end = std::min(command.find(' '), command.size());
    std::string options = command.substr(end) + " ";
    const auto pass_on = [&options](const std::string& name, const std::string& value) {
      if (options.find(" " + name + " ") == std::string::npos && options.find(" " + name + "=") == std::string::npos) {
        options += name + " " + value + " ";
      }
    };
    pass_on("--threads", std::to_string(common.threads));
    pass_on("--backend", common.backend);
    pass_on("--device", std::to_string(common.device));
    const std::string line = fmt::format("{} bench turns --quiet{}< '{}' 2>&1", command.substr(0, end), options, pipe);
    answers_ = ::popen(line.c_str(), "r");
    if (answers_ == nullptr) throw Failure(host::kFault, command + ": cannot be started");
  }
  ~Contender() {
    ::close(questions_);
    ::pclose(answers_);
  }
  Contender(const Contender&) = delete;
  Contender& operator=(const Contender&) = delete;

  nlohmann::json ask(const nlohmann::json& question) {
    const std::string line = question.dump() + "\n";
    std::string text;
    if (::write(questions_, line.data(), line.size()) == static_cast<ssize_t>(line.size())) {
      for (int letter = std::fgetc(answers_); letter != '\n' && letter != EOF; letter = std::fgetc(answers_)) {
        text.push_back(static_cast<char>(letter));
      }
    }
    auto answer = nlohmann::json::parse(text, nullptr, false);
    if (answer.is_object()) return answer;
    host::throw_if_interrupted();
    throw Failure(host::kMisuse, fmt::format("bench compare: '{}' cannot be timed in turn: {}", named_,
                                             text.empty() ? "it ended without a word" : text));
  }

 private:
  std::string named_;
  PeerFolder folder_;
  int questions_ = -1;
  FILE* answers_ = nullptr;
};

}  // namespace

host::Outcome answer_in_turn(const std::vector<Op>& ops, host::Session& session) {
  session.context.progress = nullptr;
  host::OutputFile output("-");
  Problem problem;
  for (std::string line; std::getline(std::cin, line);) {
    nlohmann::json answer;
    try {
      const auto question = Parameters::parse(line);
      if (question.contains("seconds")) {
        if (!problem.run) throw std::runtime_error("no case was made");
        const Round round =
            time_round(problem, {.seconds = question["seconds"], .least = 1, .cold = false}, session.context);
        answer = {{"wall", round.wall}, {"cpu", round.cpu}};
      } else {
        problem = {};
        const auto op = std::find_if(ops.begin(), ops.end(), [&](const Op& one) { return one.name == question["op"]; });
        if (op == ops.end()) throw std::runtime_error("the op is not known");
        problem = op->make(question["parameters"], session.context);
        answer = {{"wrong", ""}};
        if (question.value("check", false)) {
          problem.run();
          answer["wrong"] = problem.check();
        }
      }
    } catch (const host::Interrupted&) {
      throw;
    } catch (const std::exception& error) {
      answer = {{"error", error.what()}};
    }
    output.write(answer.dump() + "\n");
  }
  return {};
}

Compared compare_in_turn(const std::string& a, const std::string& b, const std::vector<Case>& cases,
                         const TurnOptions& options, host::Session& session) {
  Contender first(a, session.common), second(b, session.common);
  Contender* const both[] = {&first, &second};
  std::vector<ComparedCase> compared;
  for (const Case& one : cases) {
    ComparedCase result{.name = case_name(one.op, one.parameters)};
    std::vector<double> medians[2];
    nlohmann::json samples[2] = {nlohmann::json::array(), nlohmann::json::array()};
    double spent = 0;
    for (int round = 0;; ++round) {
      session.progress.update("bench compare", std::ssize(compared), std::ssize(cases));
      for (int who = 0; who < 2 && result.why_not.empty(); ++who) {
        const auto made = both[who]->ask({{"op", one.op}, {"parameters", one.parameters}, {"check", round == 0}});
        result.why_not = made.value("error", made.value("wrong", ""));
        if (!result.why_not.empty()) result.why_not = fmt::format("{}: {}", who == 0 ? a : b, result.why_not);
      }
      if (!result.why_not.empty()) break;
      double longest = 0;
      for (const int who : {round % 2, 1 - round % 2}) {
        const auto times = both[who]->ask({{"seconds", kTurn}});
        if (times.contains("error")) throw Failure(host::kFault, times["error"].get<std::string>());
        double seconds = 0;
        for (const double sample : times["wall"]) seconds += sample;
        longest = std::max(longest, std::max(kTurn, seconds));
        medians[who].push_back(median(times[options.clock]));
        samples[who].push_back(times);
      }
      spent += longest;
      if (round + 1 < options.rounds) continue;
      result.verdict = compare_in_pairs(medians[0], medians[1], options.margin);
      if (spent >= options.budget || result.verdict.high <= result.verdict.low * (1 + options.margin)) break;
    }
    result.measured = {{"a", samples[0]}, {"b", samples[1]}};
    compared.push_back(std::move(result));
  }
  Compared outcome = compared_of(compared, options.clock, options.fail_over);
  outcome.document["a"] = a;
  outcome.document["b"] = b;
  outcome.document["margin"] = options.margin;
  outcome.document["in_turn"] = true;
  outcome.document["environment"] = host::environment(session);
  return outcome;
}

}  // namespace scalelab::bench
