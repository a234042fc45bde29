// scalelab story: every experiment in order, and the front page that leads through them.
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <memory>

#include "host/data/source.h"
#include "host/pages/page.h"
#include "host/program/command.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/options.h"
#include "host/program/own_program.h"
#include "host/program/words.h"
#include "host/studies/claims.h"

namespace scalelab::host {

namespace fs = std::filesystem;

namespace {

// One experiment: a command, run into a folder of its own.
struct Step {
  const char* folder;
  std::vector<std::string> words, quick;  // its command line but for --out
  const char* data = "";                  // the data set that it needs, which may not be installed
};
struct Chapter {
  const char *id, *title, *note;
  std::vector<Step> steps;
};

using Words = std::vector<std::string>;

constexpr const char* kComparisonAlone = " --starts 1 --grid 512 --curve-to 0 --noise-panel 0 --budget-seeds 0";

// Each extra by itself on the network with the right bias.
Words each_extra(const std::string& how_much) {
  return split("compare --models mlp-polar,mlp-polar+focal,mlp-polar+layer-norm,mlp-polar+weight-decay " + how_much +
                   " --worlds 0" + kComparisonAlone,
               ' ');
}

// kNN on many points against networks on few, with a tenth of the labels flipped.
Words fuzzy_labels(const std::string& how_much) {
  return split("compare --noise 0.1 --models knn-15,mlp-xy,mlp-polar,mlp-polar-raw,mlp-polar-trig " + how_much +
                   kComparisonAlone,
               ' ');
}

// The hardest images by three scores, also in what a network has learnt to see, and without a floor of labels.
Words chosen_images(const std::string& how_much) {
  return split("prune-study --data fashion-mnist " + how_much +
                   " --scores kmeans,class-mean,el2n --clusters 20 --features input,hidden --keep hard "
                   "--class-floors 0 --no-equal-steps",
               ' ');
}

Words ordered_images(const std::string& how_much) {
  return split("curriculum --data fashion-mnist " + how_much + " --orders curriculum", ' ');
}

// By the teacher itself and by a probe that is off; such a point takes seconds, so that they are few.
Words wrong_probe(const std::string& points) { return split("theory --wrong-angle 20 " + points, ' '); }

std::vector<Chapter> chapters() {
  return {
      {"bias",
       "Bias against data",
       "Is it better to have the right idea, or ten times the data? A network that is told the spiral is round, and "
       "nearest neighbours that know nothing.",
       {{"compare",
         {"compare"},
         {"compare", "--sizes", "250,1000", "--seeds", "0..2", "--epochs", "300", "--grid", "256", "--curve-to",
          "16000", "--worlds", "0..4", "--starts", "1", "--budget-seeds", "0"}},
        {"scaling", {"sweep", "scaling"}, {"sweep", "scaling-quick"}},
        {"extras", each_extra("--sizes 1000 --seeds 0..19 --epochs 1000"),
         each_extra("--sizes 250 --seeds 0..2 --epochs 300")},
        {"fuzzy", fuzzy_labels("--sizes 1000,10000 --seeds 0..4 --worlds 0..19 --epochs 1000"),
         fuzzy_labels("--sizes 250,1000 --seeds 0..2 --worlds 0..4 --epochs 300")}}},
      {"choice",
       "Choosing the data",
       "More data at random buys ever less. Does it help to choose which examples to keep, and by what?",
       {{"theory",
         {"theory", "--draws", "4", "--simulate-to", "5"},
         {"theory", "--alpha", "0.5,1,3,10", "--fractions", "1,0.5,0.2"}},
        {"probe", wrong_probe("--alpha 1,3,10 --fractions 0.5,0.2"), wrong_probe("--alpha 3 --fractions 0.5")},
        {"prune-study",
         {"prune-study"},
         {"prune-study", "--model", "knn-1", "--sizes", "1000,2000,4000,8000", "--seeds", "0..2", "--scores",
          "margin,boundary,kmeans", "--fractions", "0.5", "--clusters", "100", "--grid", "256"}}}},
      {"order",
       "Ordering the data, against width",
       "Does it pay to show the easy examples first, and does that depend on how large the network is?",
       {{"xor",
         {"xor"},
         {"xor", "--seeds", "0..19", "--dimension", "60", "--widths", "2,4,8,16,64", "--test-examples", "1000"}},
        {"curriculum",
         {"curriculum"},
         {"curriculum", "--widths", "4,16,64", "--seeds", "0..2", "--epochs", "200", "--grid", "128", "--orders",
          "curriculum,anti"}},
        {"lottery",
         {"lottery"},
         {"lottery", "--widths", "32", "--levels", "3,8", "--seeds", "0..2", "--epochs", "200", "--grid", "128"}}}},
      {"images",
       "The same on images",
       "Ten thousand images of clothes, chosen and ordered without a look at their test set: here a cluster can be a "
       "class, and a network can see more than pixels.",
       {{"images", chosen_images("--sizes 10000 --seeds 0..4 --fractions 0.1,0.3,0.5,0.7,0.9 --samples 200000"),
         chosen_images("--sizes 2000 --seeds 0..2 --fractions 0.5 --samples 50000"), "fashion-mnist"},
        {"images-order", ordered_images("--n 2000 --widths 4,16,64 --seeds 0..11 --epochs 50"),
         ordered_images("--n 500 --widths 4,64 --seeds 0..2 --epochs 20"), "fashion-mnist"}}},
  };
}

constexpr const char* kClaimsFolder = "claims";

// Why a step cannot be run here; empty where it can.
std::string lacking(const Step& step) {
  if (*step.data == '\0') return "";
  try {
    files_of({.data = step.data});
  } catch (const Failure& failure) {
    return failure.what();
  }
  return "";
}

nlohmann::json summary_in(const fs::path& folder) {
  const auto summary = nlohmann::json::parse(file_text(folder / "summary.json"), nullptr, false);
  return summary.is_object() ? summary : nlohmann::json();
}

// What a step is done by: its command line and the program's version, as a line of text.
std::string stamp_of(const std::vector<std::string>& words) {
  std::string text = kVersion;
  for (const auto& word : words) text += " " + word;
  return text + "\n";
}

// Runs this program with these words, its output to nobody, and returns its exit code, or 128 + the signal that ended
// it. A signal that comes meanwhile is handed on, and the step decides what it means.
int run_program(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  std::vector<std::string> copy = words;
  for (auto& word : copy) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw Failure(kFault, fmt::format("story: cannot start a process: {}", std::strerror(errno)));
  if (child == 0) {
    const int nowhere = ::open("/dev/null", O_WRONLY);
    ::dup2(nowhere, STDOUT_FILENO);
    exec_own_program(arguments.data());
    ::_exit(kFault);
  }
  int status = 0, handed = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    try {
      throw_if_interrupted();
    } catch (const Interrupted& interrupted) {
      if (handed++ == 0) ::kill(child, interrupted.signal);
    }
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::vector<std::string> command_words(const std::vector<std::string>& given, const fs::path& folder,
                                       const Common& common) {
  std::vector<std::string> words = {"scalelab"};
  words.insert(words.end(), given.begin(), given.end());
  words.insert(words.end(), {"--out", folder.string(), "--seed", std::to_string(common.seed), "--backend",
                             common.backend, "--device", fmt::format("{}", fmt::join(common.devices, ",")), "--threads",
                             std::to_string(common.threads)});
  if (common.quiet) words.push_back("--quiet");
  if (common.look) words.push_back("--look");
  words.push_back("--in-story");
  return words;
}

std::string chapter_html(const Chapter& chapter, const fs::path& out,
                         const std::map<std::string, std::string>& failed) {
  std::string html;
  for (const Step& step : chapter.steps) {
    const auto failure = failed.find(step.folder);
    const nlohmann::json summary = failure == failed.end() ? summary_in(out / step.folder) : nlohmann::json();
    if (!summary.is_object()) {
      html += fmt::format("<article class=\"chapter\"><h3>{}</h3><p class=\"what\">{}</p></article>",
                          html_escape(step.folder),
                          html_escape(failure != failed.end() ? "Failed: " + failure->second
                                      : lacking(step).empty() ? "Not done yet."
                                                              : "Left out: " + lacking(step)));
      continue;
    }
    // A chart's id is its page's own; here several pages' charts stand side by side.
    std::string picture = summary.value("picture", "");
    const std::string id = "<div class=\"panel\" id=\"";
    if (const std::size_t at = picture.find(id); at != std::string::npos) {
      picture.insert(at + id.size(), html_escape(step.folder) + "-");
    }
    html += fmt::format(
        "<article class=\"chapter\"><div><h3>{0}</h3><p class=\"what\">{1}</p></div>{2}<p class=\"more\"><a "
        "href=\"{3}/report.html\">All of it: {3} \u2192</a></p></article>",
        html_escape(summary.value("headline", "")), html_escape(summary.value("lead", "")), picture,
        html_escape(step.folder));
  }
  return html;
}

Page front_page(const fs::path& out, const std::map<std::string, std::string>& failed, bool quick, Session& session) {
  Page page{.title = "What data and scale are worth", .kicker = "scalelab story"};
  const nlohmann::json first = summary_in(out / chapters().front().steps.front().folder);
  page.headline = first.is_object() ? first.value("headline", page.title) : page.title;
  page.lead =
      "Questions about data and scale, each asked with every model and every control beside it: what is a good "
      "idea worth in data, what is choosing the data worth, and what is its order worth. Each chapter shows what was "
      "found, and leads to its page with every number behind it.";
  if (quick) page.lead += " This is the quick run: small sizes and few seeds, a look and not a result.";
  page.document = {{"schema", 2},
                   {"study", "story"},
                   {"experiment", "story"},
                   {"title", page.title},
                   {"quick", quick},
                   {"failed", failed},
                   {"environment", environment(session)}};
  page.document["environment"].erase("in_story");  // it is the page that the others lead back to
  for (const Chapter& chapter : chapters()) {
    page.sections.push_back(
        {.id = chapter.id, .title = chapter.title, .note = chapter.note, .html = chapter_html(chapter, out, failed)});
    for (const Step& step : chapter.steps) {
      const nlohmann::json summary = summary_in(out / step.folder);
      page.document["pages"][step.folder] =
          summary.is_object()
              ? nlohmann::json{{"headline", summary.value("headline", "")}, {"command", summary.value("command", "")}}
              : nlohmann::json();
    }
  }
  if (const nlohmann::json claims = summary_in(out / kClaimsFolder); claims.is_object()) {
    page.sections.push_back(
        {.id = "claims",
         .title = "What became of the claims",
         .html = fmt::format(
             "<article class=\"chapter\"><div><h3>{0}</h3><p class=\"what\">{1}</p></div><p class=\"more\"><a "
             "href=\"{2}/report.html\">All of them: {2} \u2192</a></p></article>",
             html_escape(claims.value("headline", "")), html_escape(claims.value("lead", "")), kClaimsFolder)});
  }
  page.methods = {
      "Every page is one file and states its seeds, its intervals and the command that makes it again. A "
      "difference that the seeds do not establish is called undecided.",
      "The folders hold the results as JSON beside each page."};
  page.command = command_of(page.document);
  return page;
}

// What the steps that are done say of the sources' claims, as a page in a folder of its own.
Page write_claims(const fs::path& out, Session& session) {
  std::map<std::string, nlohmann::json> results;
  for (const Chapter& chapter : chapters()) {
    for (const Step& step : chapter.steps) {
      auto result = nlohmann::json::parse(file_text(out / step.folder / "result.json"), nullptr, false);
      if (result.is_object()) results[step.folder] = std::move(result);
    }
  }
  const nlohmann::json document = {{"schema", 2},
                                   {"study", "claims"},
                                   {"experiment", "claims"},
                                   {"title", "Claims and what was found"},
                                   {"environment", environment(session)},
                                   {"claims", answered_claims(results)}};
  Page page = claims_page(document);
  make_output_folder(out / kClaimsFolder);
  write_file(out / kClaimsFolder / "result.json", json_text(document));
  write_page(out / kClaimsFolder, page);
  return page;
}

// Runs a step that is not done yet; what it found, or why it failed, is added to `text` and `failed`.
void run_step(const Step& step, bool quick, const fs::path& out, std::map<std::string, std::string>& failed,
              std::string& text, Session& session) {
  const fs::path folder = out / step.folder;
  const auto& words = quick ? step.quick : step.words;
  const std::string stamp = stamp_of(words) + std::to_string(session.common.seed);
  if (file_text(folder / "done.txt") == stamp && summary_in(folder).is_object()) {
    text += fmt::format("{}: done before\n", step.folder);
    return;
  }
  if (const std::string why = lacking(step); !why.empty()) {
    text += fmt::format("{}: left out: {}\n", step.folder, why);
    return;
  }
  if (!session.common.quiet) session.progress.say(fmt::format("{}: {}", step.folder, fmt::join(words, " ")));
  const int code = run_program(command_words(words, folder, session.common));
  if (code == kStopped || code >= 128 || code == kCannotWrite) {
    throw Failure(static_cast<ExitCode>(code == kCannotWrite ? kCannotWrite : kStopped),
                  fmt::format("story: {} ended early; the same command goes on from there", step.folder));
  }
  if (code != kDone) failed[step.folder] = fmt::format("exit code {} of scalelab {}", code, fmt::join(words, " "));
  if (code == kDone) write_file(folder / "done.txt", stamp);
  text += fmt::format("{}: {}\n", step.folder,
                      code == kDone ? summary_in(folder).value("headline", "") : "failed: " + failed[step.folder]);
}

Outcome run_story(const fs::path& out, bool quick, const Session& given) {
  Common common = given.common;
  common.look = common.look || quick;  // on every page
  common.in_story = true;
  Session session{common, given.context, given.progress};
  make_output_folder(out);
  std::map<std::string, std::string> failed;
  std::string text;
  for (const Chapter& chapter : chapters()) {
    for (const Step& step : chapter.steps) {
      run_step(step, quick, out, failed, text, session);
      // Readable from the first step on.
      write_file(out / "index.html", page_html(front_page(out, failed, quick, session)));
    }
  }
  text += fmt::format("claims: {}\n", write_claims(out, session).headline);
  const Page page = front_page(out, failed, quick, session);
  write_file(out / "index.html", page_html(page));
  write_file(out / "result.json", json_text(page.document));
  text += (out / "index.html").string() + "\n";
  return {page.document, text, failed.empty() ? kDone : kSomeFailed};
}

}  // namespace

Command add_story(CLI::App& program) {
  struct Options {
    std::string out = "./scalelab-story";
    bool quick = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app =
      program.add_subcommand("story", "Every experiment in order, and one page that leads through what they found");
  app->add_option("-o,--out", options->out,
                  "Folder of index.html and of the experiments; what is done is not run again");
  app->add_flag("--quick", options->quick, "Small sizes and few seeds: a look in a few minutes, not a result");
  add_notes(*app, {"scalelab story --quick -o story"});
  return {.app = app,
          .run = [options](Session& session) { return run_story(options->out, options->quick, session); },
          .deals = true};
}

}  // namespace scalelab::host
