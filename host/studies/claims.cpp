#include "host/studies/claims.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "host/program/environment.h"
#include "host/program/words.h"
#include "host/studies/claim_questions.h"

namespace scalelab::host {

namespace {

using Json = nlohmann::json;

// --- the table -------------------------------------------------------------------------------------------------------

struct Claim {
  const char *id, *claim;
  const char* study;                     // its folder in the story
  std::vector<Question> questions = {};  // none: nothing here tests it
  const char* instead = "";              // where it was not measured, what that takes
};
struct Source {
  const char *name, *title;
  std::vector<Claim> claims;
};

const std::set<std::string> kSame = {"same"}, kNotWorse = {"not worse", "lower"}, kLower = {"lower"},
                            kHigher = {"higher"}, kNotLower = {"same", "higher"}, kNotHigher = {"same", "lower"},
                            kPower = {"power", "power with floor"};
const Json kSmallest = {{"n", "smallest"}};
constexpr const char* kNeedsImages =
    "It takes images, which are not here: install Debian's package dataset-fashion-mnist and run the same command again.";

Source spiral_claims() {
  const auto extras_on_polar = [](const char* region, const std::set<std::string>& expected) {
    return verdicts({"regions", "mlp-polar+extras", "mlp-polar", region}, expected);
  };
  const auto does_something = [](const std::string& extra) {
    return any_of(verdicts({"extras", "mlp-polar+" + extra, "mlp-polar"}, {"lower", "higher"}));
  };
  const auto stands_up = [](const char* knn, const char* network) {
    return verdicts({"worlds", knn, network, "grid_error"}, kNotHigher);
  };
  return {
      "Dzekman 2024",
      "Why Scaling Works: Inductive Biases vs The Bitter Lesson",
      {{"A1",
        "On (x, y) a network leaves isolated patches at the smallest size",
        "compare",
        {above(2, "patches, where the truth has 2", of_summary("mlp-xy", "patches"))}},
       {"A2",
        "Sparse parts of the space are hard",
        "compare",
        {verdicts({"regions", "mlp-xy", "mlp-xy everywhere", "sparse_error"}, kHigher)}},
       {"A3",
        "Regularisation helps (x, y) to an extent, and where there are few points not as the bias does",
        "compare",
        {verdicts({"extras", "mlp-xy+extras", "mlp-xy", "grid_error", kSmallest}, kLower),
         verdicts({"regions", "mlp-polar", "mlp-xy+extras", "sparse_error"}, kLower)}},
       {"A4",
        "Polar coordinates beat (x, y) at the same number of points",
        "compare",
        {verdicts({"encodings", "mlp-polar", "mlp-xy"}, kLower)}},
       {"A5",
        "They are better where there are no samples",
        "compare",
        {verdicts({"regions", "mlp-polar", "mlp-xy", "sparse_error"}, kLower)}},
       {"A6",
        "Focal loss, layer norm and weight decay on top of it are not much better at all",
        "compare",
        {verdicts({"extras", "mlp-polar+extras", "mlp-polar", "*", kSmallest}, kNotLower)}},
       {"A7", "They add an artefact near the centre", "compare", {extras_on_polar("centre_error", kHigher)}},
       {"A8",
        "The tip, where there are no data, still fails with them",
        "compare",
        {extras_on_polar("tip_error", kNotLower)}},
       {"A9", "They catch more of the curve near the origin", "compare", {extras_on_polar("centre_error", kLower)}},
       {"A10",
        "Focal loss, layer norm and weight decay each do something",
        "extras",
        {does_something("focal"), does_something("layer-norm"), does_something("weight-decay")}},
       {"A11",
        "kNN with ten times the points stands up to the right bias",
        "compare",
        {stands_up("knn-5", "mlp-polar"), stands_up("knn-5", "mlp-polar-raw"), stands_up("knn-5", "mlp-polar-trig")}},
       {"A12", "k = 1 is generally better than k = 5", "compare", {verdicts({"k1-vs-k5"}, kLower)}},
       {"A13",
        "because without label noise a vote has nothing to average out",
        "compare",
        {verdicts({"why-k1", "*", "*", "*", {{"noise", 0.0}}}, kLower),
         verdicts({"why-k1", "*", "*", "*", {{"noise", "largest"}}}, kHigher)}},
       {"A14",
        "kNN is the weaker learner: at the same number of points every network beats it",
        "compare",
        {verdicts({"equal-n"}, kLower)}},
       {"A15", "More data keep lowering the error: a power law", "scaling", {laws("knn-1", "*", kPower)}},
       {"A16",
        "Infinitely many boundaries fit the sample: two networks on it disagree elsewhere",
        "compare",
        {above(0.5, "% of the plane", disagreements())}},
       {"A17",
        "Where labels are fuzzy, a tenth of them flipped, the learner without a bias keeps working: with ten "
        "times the points kNN stands up to the right bias",
        "fuzzy",
        {stands_up("knn-15", "mlp-polar"), stands_up("knn-15", "mlp-polar-raw"),
         stands_up("knn-15", "mlp-polar-trig")}}}};
}

Source pruning_claims() {
  const Json largest = {{"n", "largest"}};
  return {
      "Sorscher et al. 2022",
      "Beyond neural scaling laws",
      {{"B1", "With random data the error falls as a power law", "scaling", {laws("*", "density_error", kPower)}},
       {"B2", "With chosen data it falls faster than with random data", "prune-study", {any_of(steeper_frontiers())}},
       {"B3",
        "A few chosen examples are worth ten times as many at random",
        "prune-study",
        {any_of(above(10, "times as many random rows", rows_worth()))}},
       {"B4",
        "Many examples can go without effect: 80 % of them do as well as all",
        "prune-study",
        {any_of(verdicts({"equal-*", "*", "all", "*", {{"n", "largest"}, {"fraction", 0.8}}}, kNotWorse))}},
       {"B5",
        "The distance to the nearest centroid is a good score: hard rows beat random ones",
        "prune-study",
        {any_of(verdicts({"control-*", "kmeans* hard*", "random*", "*", largest}, kLower))}},
       {"B6",
        "and it needs no labels",
        "prune-study",
        {any_of(verdicts({"control-*", "kmeans*floor 0* hard*", "random*", "*", largest}, kLower))}},
       {"B7",
        "It is as good as scores that train networks",
        "prune-study",
        {any_of(verdicts({"scores-*", "el2n* hard*", "kmeans* hard*", "*", largest}, kNotLower))}},
       {"B8", "It hardly depends on the number of clusters", "prune-study", {verdicts({"clusters-*"}, kSame)}},
       {"B9",
        "With little data keep the easy, with much the hard: for the perceptron, exactly",
        "theory",
        {hard_from_a_size_on()}},
       {"B9",
        "on the spiral, by the distance to clusters, with the smallest and the largest n",
        "prune-study",
        {any_of(verdicts({"hard-or-easy-*", "kmeans*", "*", "*", {{"n", "smallest"}}}, kHigher)),
         any_of(verdicts({"hard-or-easy-*", "kmeans*", "*", "*", largest}, kLower))}},
       {"B10", "A probe that is wrong by an angle costs some of what choosing gains", "probe", {wrong_probe_costs()}},
       {"B11",
        "Clusters align with classes: most rows have the most frequent label of their cluster",
        "images",
        {above(50, "% of the rows", purities())},
        kNeedsImages},
       {"B12",
        "Prototypes of the classes beat the distance to clusters",
        "images",
        {any_of(verdicts({"scores-*", "class-mean* hard*", "kmeans* hard*"}, kLower))},
        kNeedsImages},
       {"B13",
        "Choosing saves compute: by a score that trains nothing, fewer rows in as many epochs do as well as all",
        "prune-study",
        {any_of(
            verdicts({"equal-*", "kmeans* hard*", "all", "*", {{"n", "largest"}, {"budget", "epochs"}}}, kNotWorse))}},
       {"B14",
        "Data sets that are chosen once serve later tasks",
        "prune-study",
        {},
        "Not here: it takes a second task, other than the one that the rows were chosen for."},
       {"B16",
        "What a network has learnt to see is a better place to choose in than the pixels",
        "images",
        {any_of(verdicts({"scores-*", "kmeans* hidden* hard*", "kmeans* hard*"}, kLower))},
        kNeedsImages}}};
}

Source ticket_claims() {
  const Json smallest = {{"width", "smallest"}}, widest = {{"width", "largest"}};
  return {
      "Sarao Mannelli et al. 2024",
      "Tilting the odds at the lottery",
      {{"C1", "Larger networks learn better", "xor", {wider_is_better()}},
       {"C2",
        "In the largest networks easy-first makes no difference (rate falling to 0)",
        "xor",
        {verdicts({"curriculum-long", "*", "*", "*", widest}, kSame)}},
       {"C3", "It helps smaller ones", "xor", {any_of(verdicts({"curriculum*"}, kLower))}},
       {"C4", "It helps more than the parameters of the next width", "xor", {any_of(order_beats_width())}},
       {"C5",
        "Rewound tickets of less than 10 % of the weights do as well as the dense network",
        "lottery",
        {verdicts({"rewound-dense-*", "*", "*", "*", {{"level", 11}}}, kNotWorse)}},
       {"C6",
        "A network that starts with so few weights fails",
        "lottery",
        {verdicts({"small-dense-dense-*", "*", "*", "*", {{"level", 11}}}, kHigher)}},
       {"C7",
        "The mask needs its start: with another the ticket is worse",
        "lottery",
        {verdicts({"rewound-restarted-*", "*", "*", "*", {{"level", 11}}}, kLower)}},
       {"C8",
        "The size to start from matters: pruned to so few weights, a large start beats a network that began with as many",
        "lottery",
        {verdicts({"rewound-small-dense-*", "*", "*", "*", {{"level", 11}}}, kLower)}},
       {"C10",
        "Easy-first saves time to an error that both orders come to",
        "xor",
        {above(0, "% of the time saved", time_saved())}},
       {"C11",
        "Easy to hard step by step helps",
        "curriculum",
        {verdicts({"growing", "*", "*", "*", smallest}, kLower)}},
       {"C12",
        "On images too easy-first helps the smallest networks and makes no difference in the largest",
        "images-order",
        {verdicts({"curriculum", "*", "*", "*", smallest}, kLower),
         verdicts({"curriculum", "*", "*", "*", widest}, kSame)},
        kNeedsImages},
       {"C13",
        "To begin with the right examples at all matters more: easy ones alone beat the curriculum",
        "xor",
        {verdicts({"easy-alone"}, kLower)}}}};
}

// What the table adds beyond the sources: the encoding with the learner held fixed.
Source own_claims() {
  return {"scalelab",
          "What separates the encoding from the learner",
          {{"S1",
            "The encoding alone, with kNN before and after, is worth more than its own points",
            "compare",
            {above(1, "times the data", data_factors("knn-*"))}},
           {"S2",
            "and more than ten times as many",
            "compare",
            {verdicts({"bias", "knn-*", "knn-*", "grid_error", {{"against_n", "largest"}}}, kLower)}}}};
}

std::vector<Source> sources() { return {spiral_claims(), pruning_claims(), ticket_claims(), own_claims()}; }

}  // namespace

nlohmann::json answered_claims(const std::map<std::string, nlohmann::json>& results) {
  Json list = Json::array();
  for (const Source& source : sources()) {
    for (const Claim& claim : source.claims) {
      const auto found = results.find(claim.study);
      std::vector<Json> parts;
      // Of several questions each must have been measured.
      bool whole = found != results.end() && !claim.questions.empty();
      for (std::size_t q = 0; whole && q < claim.questions.size(); ++q) {
        const std::vector<Json> more = claim.questions[q](found->second);
        whole = !more.empty();
        parts.insert(parts.end(), more.begin(), more.end());
      }
      if (!whole) parts.clear();
      const std::string command = parts.empty() ? "" : command_of(found->second);
      list.push_back({{"id", claim.id},
                      {"source", fmt::format("{}: {}", source.name, source.title)},
                      {"claim", claim.claim},
                      {"study", claim.study},
                      {"command", parts.empty() ? claim.instead : command},
                      {"answer", answer_of(parts)},
                      {"parts", parts}});
    }
  }
  return list;
}

namespace {

// The figures of a claim: each part where they are few, else how many there are of each answer, and those that
// contradict or are undecided, as far as they fit.
std::string figure_of(const Json& claim) {
  constexpr std::size_t kMostShown = 3;  // more do not fit the cell of a table
  const Json& parts = claim["parts"];
  std::map<std::string, int> counts;
  for (const Json& one : parts) ++counts[one["answer"]];
  std::vector<std::string> shown;
  for (const char* answer : {kContradicted, kUndecided, kHolds}) {
    for (const Json& one : parts) {
      const bool few = parts.size() <= kMostShown;
      if (one["answer"] == answer && shown.size() < kMostShown &&
          (few || answer != std::string(kHolds) || shown.empty()))
        shown.push_back(text_of(one["words"]));
    }
  }
  std::string text = fmt::format("{}", fmt::join(shown, "; "));
  if (parts.size() <= kMostShown) return text;
  std::vector<std::string> numbers;
  for (const auto& [answer, count] : counts) numbers.push_back(fmt::format("{} {}", answer, count));
  return fmt::format("of {} comparisons {}. {}", parts.size(), listed(numbers), text);
}

// What would settle what is undecided: the most that any part asks for, and what is not a number of units.
std::string settles_of(const Json& claim) {
  if (claim["answer"] != kUndecided) return "";
  Json most;
  std::set<std::string> all;
  for (const Json& one : claim["parts"]) {
    if (one["answer"] != kUndecided) continue;
    if (!one.contains("units")) {
      all.insert(text_of(one["settles"]));
    } else if (most.is_null() || one["units"] > most["units"]) {
      most = one;
    }
  }
  if (!most.is_null()) all.insert(text_of(most["settles"]));
  return fmt::format("; would be settled by {}", fmt::join(all, ", "));
}

// What measured a claim: the study, whose command stands below; or what measuring it takes.
std::string measured_by(const Json& claim) {
  const std::string study = claim["study"];
  if (!claim["parts"].empty()) return study;
  return claim["command"] == "" ? study + ": left out of this run" : text_of(claim["command"]);
}

// The studies that answer claims, each with its page and the command that makes it again.
Section commands_section(const Json& claims) {
  std::map<std::string, std::string> commands;
  for (const Json& claim : claims) {
    if (!claim["parts"].empty()) commands[claim["study"]] = claim["command"];
  }
  std::string html;
  for (const auto& [study, command] : commands) {
    html += fmt::format("<p><a href=\"../{0}/report.html\">{0}</a></p><pre>{1}</pre>", html_escape(study),
                        html_escape(command));
  }
  return {.id = "commands", .title = "What measured them", .html = html};
}

}  // namespace

Page claims_page(const nlohmann::json& document) {
  std::map<std::string, int> counts;
  std::vector<std::pair<std::string, std::vector<std::vector<std::string>>>> tables;  // by source, in order
  for (const Json& claim : document.at("claims")) {
    const std::string source = claim["source"], answer = claim["answer"];
    ++counts[answer];
    if (tables.empty() || tables.back().first != source) tables.push_back({source, {}});
    tables.back().second.push_back({text_of(claim["id"]), text_of(claim["claim"]), answer + settles_of(claim),
                                    claim["parts"].empty() ? "-" : figure_of(claim), measured_by(claim)});
  }
  int all = 0;
  std::vector<std::string> said;
  for (const char* answer : {kHolds, kContradicted, kUndecided, kNotTested}) {
    all += counts[answer];
    const bool plural = answer == std::string(kHolds) && counts[answer] > 1;
    if (counts[answer] > 0) said.push_back(fmt::format("{} {}", counts[answer], plural ? "hold" : answer));
  }
  Page page{.title = "Claims and what was found",
            .kicker = "scalelab story",
            .headline = fmt::format("Of {} claims: {}", all, fmt::join(said, ", ")),
            .lead =
                "Each claim of the three sources that can be tested, with the figures that answer it and the "
                "study that measured them, whose command stands at the end. A claim holds where every comparison it is "
                "about came out as it says, "
                "after the corrections on the study's page; one that came out otherwise contradicts it."};
  for (std::size_t i = 0; i < tables.size(); ++i) {
    const auto& [source, rows] = tables[i];
    page.sections.push_back({.id = fmt::format("source-{}", i + 1),
                             .title = source,
                             .html = table_html({"", "claim", "answer", "figures", "measured by"}, rows, "")});
  }
  page.sections.push_back(commands_section(document.at("claims")));
  page.methods = {
      "Every answer is read from the result.json of the study named: from the verdicts of its contrasts, and from "
      "means and figures with their 95 % intervals. Nothing on this page is written by hand but the claims "
      "themselves, in the program's own words.",
      "A claim holds for the settings that were run: the sizes, widths and data of the study's command."};
  page.command = command_of(document);
  page.document = document;
  return page;
}

}  // namespace scalelab::host
