// scalelab bench: run, soak, list, show, cost and compare, and turn, which compare starts.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <memory>

#include "bench/bench.h"
#include "bench/cost.h"
#include "bench/result.h"
#include "bench/run.h"
#include "bench/turns.h"
#include "host/program/command.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/options.h"
#include "host/program/signals.h"

namespace scalelab::bench {

namespace {

using namespace scalelab::host;

// Does what reads these results; what is of another type there than `bench run` writes is their fault.
template <class Action>
auto of_results(const std::vector<std::string>& files, const Action& action) {
  try {
    return action();
  } catch (const nlohmann::json::exception& error) {
    throw Failure(kBadData, fmt::format("{}: is not as scalelab bench run writes it ({})", fmt::join(files, " or "),
                                        error.what()));
  }
}

// --- options that several of them take -------------------------------------------------------------------------------

// Texts, which may hold spaces: between commas, or a word of the command line each.
CLI::Option* add_filter(CLI::App& app, std::string& filter, const std::string& help) {
  return add_text(app, "--filter", filter, ",", help);
}

void add_cases(CLI::App& app, CaseChoice& choice) {
  std::vector<std::string> names;
  for (const Op& op : all_ops()) names.push_back(op.name);
  names.emplace_back(kEveryOp);
  app.add_option("--op", choice.op, "Cases of this op")->check(one_of(names))->group("Cases");
  app.add_option("--axis", choice.axes,
                 "The op's first case along these values, as n=1e4,1e5 or k=1..5; may be repeated")
      ->type_name("NAME=LIST")
      ->group("Cases");
  add_filter(app, choice.filter, "Cases whose name contains this, or one of several")->group("Cases");
}

CLI::Option* add_clock(CLI::App& app, std::string& clock) {
  return app.add_option("--clock", clock, "The time to go by; cpu for a machine that others use too")
      ->check(one_of({"wall", "cpu"}));
}

void add_budget(CLI::App& app, double& budget, const std::string& help) {
  app.add_option("--budget", budget, help)->check(real_number(0, 1e5));
}

void add_out(CLI::App& app, std::string& out) {
  app.add_option("-o,--out", out, "File for the result: JSON, with every sample; where there are times, CSV beside it")
      ->type_name("FILE");
}

void leave(const std::string& out, const nlohmann::json& document) {
  if (!out.empty()) write_file(out, json_text(document));
}

// And the same as CSV beside it; a FILE.csv is the CSV alone.
void leave_with_csv(const std::string& out, const nlohmann::json& document) {
  const std::filesystem::path file(out);
  if (file.extension() != ".csv") leave(out, document);
  if (!out.empty()) write_file(std::filesystem::path(out).replace_extension(".csv"), csv_of(document));
}

// Fails where an answer was wrong, or a signal stopped it.
int exit_code_of(const nlohmann::json& document) {
  const auto& rows = document.at("rows");
  const bool wrong = std::any_of(rows.begin(), rows.end(), [](const auto& row) { return row.contains("wrong"); });
  return wrong ? kCheckFailed : document.contains("stopped") ? kStopped : kDone;
}

// --- run and list ----------------------------------------------------------------------------------------------------

Command add_run(CLI::App& bench) {
  struct Options : RunOptions {
    CaseChoice choice;
    std::string out;
    bool profile = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = bench.add_subcommand(
      "run", "Times the cases, against what this machine can do at most and against other libraries");
  add_cases(*app, options->choice);
  add_budget(*app, options->budget, "Seconds of samples for each case");
  app->add_option("--rounds", options->rounds, "Times that each case is measured anew, at most")
      ->check(whole_number(1, 1000));
  add_clock(*app, options->clock);
  app->add_flag("--peers", options->peers, "Time other libraries on the same arrays, as far as they are installed");
  app->add_flag("--profile", options->profile, "Run each case once and measure nothing: for profilers");
  add_out(*app, options->out);
  add_notes(*app, {"scalelab bench run --op knn --axis n=1e4,1e5,1e6", "scalelab bench run --peers -o mine.json"});
  return {app, [options](Session& session) -> Outcome {
            // A profiler's run of everything is not meant for what takes minutes under it.
            options->choice.large =
                session.common.backend == "cuda" && (!options->profile || !options->choice.filter.empty());
            const std::vector<Case> cases = chosen_cases(options->choice);
            if (options->profile) {
              for (const Case& one : cases) op_named(one.op).make(one.parameters, session.context).run_once();
              return {nlohmann::json::object(), fmt::format("{} cases were run once.\n", cases.size()), kDone};
            }
            options->keep = [out = options->out](const nlohmann::json& known) { leave_with_csv(out, known); };
            Outcome outcome{.document = measure_cases(cases, *options, session), .text = ""};
            // A signal that stopped it is dealt with: what is there is written and printed as usual.
            if (outcome.document.contains("stopped")) outcome.publishing = std::make_shared<SignalsHeld>();
            leave_with_csv(options->out, outcome.document);
            outcome.text = text_of(outcome.document);
            outcome.exit_code = exit_code_of(outcome.document);
            return outcome;
          }};
}

Command add_list(CLI::App& bench) {
  CLI::App* app = bench.add_subcommand("list", "Lists the ops, their cases, and the lines of bench cost");
  add_notes(*app, {"scalelab bench list"});
  return {app, [](Session&) -> Outcome {
            std::string text;
            nlohmann::json document = {{"ops", nlohmann::json::array()}, {"lines", nlohmann::json::array()}};
            for (const Op& op : all_ops()) {
              text += fmt::format("{}: {}\n", op.name, op.what);
              nlohmann::json names = nlohmann::json::array(), large = nlohmann::json::array();
              for (const Parameters& parameters : op.cases) {
                names.push_back(case_name(op.name, parameters));
                text += "  " + case_name(op.name, parameters) + "\n";
              }
              for (const Parameters& parameters : op.large) {
                const double need = need_of({op.name, parameters});
                large.push_back({{"name", case_name(op.name, parameters)}, {"bytes", need}});
                text += fmt::format("  {}  (with --backend cuda, and {:.2g} GB free)\n", case_name(op.name, parameters),
                                    1e-9 * need);
              }
              document["ops"].push_back({{"name", op.name}, {"what", op.what}, {"cases", names}, {"large", large}});
            }
            text += "Lines of bench cost\n";
            for (const Op& op : all_ops()) {
              for (const CostLine& line : op.lines) {
                const std::string route = line.route.empty() ? "" : " (" + line.route + ")";
                text += fmt::format("  {:<11} {}{}\n", line.group, line.title, route);
                document["lines"].push_back({{"name", line.group}, {"what", line.title}, {"route", line.route}});
              }
            }
            return {document, text, kDone};
          }};
}

// --- soak ------------------------------------------------------------------------------------------------------------

std::string soak_text(const nlohmann::json& document) {
  std::string text = document.at("device").get<std::string>() + "\n";
  for (const auto& row : document.at("rows")) {
    const std::int64_t differing = row.at("differing");
    text += fmt::format("{:<78} {} {:>8} runs{}\n", row.at("name").get<std::string>(),
                        row.at("answer_digest").get<std::string>(), row.at("runs").get<std::int64_t>(),
                        differing > 0 ? fmt::format(", WRONG: {} gave another answer", differing) : "");
  }
  const std::int64_t runs = document.at("runs"), differing = document.at("differing");
  const double seconds = document.at("seconds");
  return text + (differing == 0
                     ? fmt::format("{} runs in {:.0f} s: every answer was the one given first\n", runs, seconds)
                     : fmt::format("{} of {} runs in {:.0f} s gave another answer than the first: this machine "
                                   "computes wrongly\n",
                                   differing, runs, seconds));
}

Command add_soak(CLI::App& bench) {
  struct Options {
    CaseChoice choice;
    double seconds = 60;
    std::string out;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = bench.add_subcommand(
      "soak", "Repeats the cases and compares the bits of their answers: finds a machine that computes wrongly");
  add_cases(*app, options->choice);
  app->add_option("--seconds", options->seconds, "For how long; each case is run twice at least")
      ->check(real_number(0, 1e7));
  add_out(*app, options->out);
  add_notes(*app, {"scalelab bench soak --seconds 3600 --backend cuda"});
  return {app, [options](Session& session) -> Outcome {
            options->choice.large = session.common.backend == "cuda";
            Outcome outcome{.document = soak_cases(chosen_cases(options->choice), options->seconds, session),
                            .text = ""};
            if (outcome.document.contains("stopped")) outcome.publishing = std::make_shared<SignalsHeld>();
            leave(options->out, outcome.document);
            outcome.text = soak_text(outcome.document);
            outcome.exit_code = outcome.document.at("differing") > 0   ? kCheckFailed
                                : outcome.document.contains("stopped") ? kStopped
                                                                       : kDone;
            return outcome;
          }};
}

// --- show ------------------------------------------------------------------------------------------------------------

Command add_show(CLI::App& bench) {
  struct Options {
    std::string result, out, filter, clock;
    bool markdown = false, csv = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = bench.add_subcommand("show", "Shows a result: as text, as a table in Markdown, or as a page");
  app->add_option("result", options->result, "What bench run or bench cost left")->required()->type_name("FILE");
  app->add_flag("--markdown", options->markdown, "As a table in Markdown");
  app->add_flag("--csv", options->csv, "As CSV: a line for each case and for each of its peers");
  add_filter(*app, options->filter, "Rows of that table whose name contains this, or one of several");
  add_clock(*app, options->clock)->default_str("");
  app->add_option("-o,--out", options->out, "Folder for the page, report.html")->type_name("FOLDER");
  add_notes(*app, {"scalelab bench show mine.json -o page"});
  return {app, [options](Session&) -> Outcome {
            return of_results({options->result}, [&]() -> Outcome {
              auto document = read_result(options->result);
              if (!options->clock.empty()) document["clock"] = options->clock;
              if (options->csv) return {document, csv_of(document), kDone};
              if (options->markdown) return {document, markdown_of(document, options->filter), kDone};
              if (options->out.empty()) return {document, text_of(document), kDone};
              auto page = std::make_shared<Page>(page_of(document));
              make_output_folder(options->out);
              return {.document = document, .text = "", .exit_code = kDone, .page = page, .folder = options->out};
            });
          }};
}

// --- cost ------------------------------------------------------------------------------------------------------------

Outcome run_cost(const CostOptions& options, const std::string& out, Session& session) {
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
    write_crossovers(file, contest_of(*cuda_backend(), session.common.device(), session.common.threads),
                     document["made"].get<std::string>().substr(0, 10), amounts);
    text +=
        fmt::format("--backend auto goes by {} of these crossovers from now on: {}\n", amounts.size(), file.string());
  } else if (document.contains("start_seconds")) {
    text += "--backend auto goes by what is assumed: no crossover between the backends was measured\n";
  }
  leave_with_csv(out, document);
  return {document, text, exit_code_of(document)};
}

Command add_cost(CLI::App& bench) {
  struct Options : CostOptions {
    std::int64_t max_memory = 0;
    std::string out;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = bench.add_subcommand(
      "cost", "Measures how time grows with each parameter, and from where on one route or backend is quicker");
  add_filter(*app, options->filter, "Lines whose name contains this, or one of several");
  add_budget(*app, options->budget, "Seconds for each line on each backend");
  add_max_memory(*app, options->max_memory, "Bytes that a case may take, as 8G; without it half of what is free");
  app->add_option("--most", options->most, "Largest value of what varies; without it, as far as time and memory go")
      ->check(whole_number(1, 1'000'000'000'000))
      ->default_str("");
  add_clock(*app, options->clock);
  add_out(*app, options->out);
  add_notes(*app, {"scalelab bench cost --filter knn,kmeans -o cost.json"});
  return {app, [options](Session& session) {
            options->max_bytes = static_cast<double>(options->max_memory);
            options->both = session.common.backend == "auto";
            return run_cost(*options, options->out, session);
          }};
}

// --- compare and turn ------------------------------------------------------------------------------------------------

// A result is a file that cannot be run, or one that is called so and is not there; everything else is a command line.
bool names_program(const std::string& text) {
  if (text.ends_with(".json")) return false;
  return ::access(text.c_str(), F_OK) != 0 || ::access(text.c_str(), X_OK) == 0;
}

// "5%" or "0.05"
double parse_share(const std::string& option, std::string text) {
  const bool percent = text.ends_with('%');
  if (percent) text.pop_back();
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || stop != text.data() + text.size() || !(value >= 0)) {
    throw Failure(kMisuse, fmt::format("{}: '{}' is not a share, as 5% or 0.05", option, text));
  }
  return percent ? value / 100 : value;
}

Command add_compare(CLI::App& bench) {
  struct Options : TurnOptions {
    std::string a, b, margin_text = "3%", fail_over_text, out;
    CaseChoice choice;
    bool relative = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = bench.add_subcommand(
      "compare", "Says where b is faster or slower than a: two results, or two programs that are timed in turn");
  for (const auto& [name, text] : {std::pair{"a", &options->a}, {"b", &options->b}}) {
    app->add_option(name, *text, "A result, or a program with its options ('scalelab --threads 1')")
        ->required()
        ->type_name("FILE");
  }
  app->add_option("--margin", options->margin_text, "Differences up to this are 'same'");
  app->add_option("--fail-over", options->fail_over_text, "Exit 5 when a case is slower by more than this, as 5%");
  add_clock(*app, options->clock);
  app->add_flag("--relative", options->relative,
                "Of two results: each case beside what all cases did together, for a machine whose speed drifts");
  add_out(*app, options->out);
  add_cases(*app, options->choice);
  add_budget(*app, options->budget, "Of two programs: seconds of samples for each case in each");
  app->add_option("--rounds", options->rounds, "Of two programs: turns of each, at least")
      ->check(whole_number(kFewestTurns, 1000));
  add_notes(*app, {"scalelab bench compare old/scalelab new/scalelab --op knn --fail-over 5%",
                   "scalelab bench compare before.json after.json"});
  return {app, [options](Session& session) -> Outcome {
            options->margin = parse_share("--margin", options->margin_text);
            if (!options->fail_over_text.empty()) {
              options->fail_over = parse_share("--fail-over", options->fail_over_text);
            }
            const bool programs = names_program(options->a);
            if (programs != names_program(options->b)) {
              throw Failure(kMisuse, "bench compare: takes two results or two programs, and not one of each");
            }
            const Compared compared =
                programs ? compare_in_turn(options->a, options->b, chosen_cases(options->choice), *options, session)
                         : of_results({options->a, options->b}, [&] {
                             return compare_results(options->a, options->b, *options, options->relative);
                           });
            leave(options->out, compared.document);
            return {compared.document, compared.text, compared.over ? kCheckFailed : kDone};
          }};
}

Command add_turn(CLI::App& bench) {
  struct Options {
    std::string one_case;
    double budget = kTurn;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = bench.add_subcommand("turn", "One turn of one case: bench compare runs this");
  app->group("");  // not for people
  app->add_option("--case", options->one_case, "The case, in JSON")->required();
  add_budget(*app, options->budget, "Seconds of samples");
  add_notes(*app, {R"(scalelab bench turn --case '{"op": "knn", "parameters": {...}, "check": true}')"});
  return {app, [options](Session& session) -> Outcome {
            session.context.progress = nullptr;
            const auto turn = take_turn(options->one_case, options->budget, session.context);
            return {turn, turn.dump() + "\n", kDone};
          }};
}

}  // namespace

std::vector<Command> add_bench(CLI::App& program) {
  CLI::App* app = program.add_subcommand(
      "bench", "How fast this machine is at this work, against its own limits and against other libraries");
  app->require_subcommand(1);
  add_notes(*app, {"scalelab bench run --op knn", "scalelab bench run --help"});
  return {add_run(*app),  add_soak(*app),    add_cost(*app), add_list(*app),
          add_show(*app), add_compare(*app), add_turn(*app)};
}

}  // namespace scalelab::bench
