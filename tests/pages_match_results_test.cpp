// Pages against results: every study is run small as people run it, and what its page and its terminal say is held
// against its result.json: each finding's words, each contrast's difference, interval, count and verdict, each mean with
// its interval, each law.
#include <fmt/format.h>

#include <cmath>
#include <map>

#include "host/evidence/statistics.h"
#include "host/pages/page.h"
#include "host/program/words.h"
#include "tests/program.h"

namespace scalelab::host {
namespace {

using Json = nlohmann::json;

double value_of(const Json& value) { return value.is_number() ? value.get<double>() : std::nan(""); }

struct Command {
  const char* name;
  Words words;  // but for --out
};

class PagesMatchResults : public Program, public testing::WithParamInterface<Command> {
 protected:
  // Text between `begin` and the next `end` of the page.
  std::string part(const std::string& begin, const std::string& end) const {
    const std::size_t from = html_.find(begin);
    if (from == std::string::npos) return "";
    return html_.substr(from, html_.find(end, from) - from);
  }
  std::string article(const Json& finding) const {
    return part("<article class=\"finding\" id=\"" + finding["id"].get<std::string>() + "\"", "</article>");
  }

  // The words of a verdict follow from the interval and the number of seeds, and from nothing else.
  static std::string verdict_by_rule(const Json& contrast) {
    const double low = value_of(contrast["low"]), high = value_of(contrast["high"]);
    if (contrast["seeds"] < 3) return "undecided";
    return low > 0 ? "higher" : high < 0 ? "lower" : "undecided";
  }

  // The difference of a contrast, from the rows themselves.
  void expect_contrast_shown(const Json& finding, const Json& contrast) const {
    const std::string what = contrast.dump();
    EXPECT_EQ(contrast["verdict"], verdict_by_rule(contrast)) << what;
    EXPECT_NEAR(value_of(contrast["mean"]) * (contrast["seeds"] > 1),
                (value_of(contrast["low"]) + value_of(contrast["high"])) / 2, 1e-12)
        << what;
    const std::string shown = article(finding);
    if (finding["columns"].empty()) return;  // said in another finding's table
    for (const std::string& cell :
         {signed_points(value_of(contrast["mean"])),
          signed_points(value_of(contrast["low"])) + " to " + signed_points(value_of(contrast["high"]))}) {
      EXPECT_NE(shown.find(">" + html_escape(cell) + "</td>"), std::string::npos) << cell << " of " << what;
    }
    EXPECT_NE(shown.find(contrast["verdict"].get<std::string>()), std::string::npos) << what;
  }

  // "lower at 2 of 6 places, higher at 1 and undecided at 3": counted again.
  void expect_counts(const Json& finding) const {
    const std::string title = finding["title"], id = finding["id"];
    if (id.rfind("control-", 0) != 0 && id.rfind("all-", 0) != 0) return;
    std::map<std::string, int> counts;
    for (const Json& contrast : finding["contrasts"]) ++counts[contrast["verdict"]];
    EXPECT_NE(title.find(fmt::format("lower at {} of {} places, higher at {} and undecided at {}", counts["lower"],
                                     finding["contrasts"].size(), counts["higher"], counts["undecided"])),
              std::string::npos)
        << title;
  }

  std::string html_;
};

TEST_P(PagesMatchResults, EveryVerdictIntervalAndCount) {
  write_text(folder_ / "s.json", R"({"grids": [
    {"model": ["knn-1", "knn-5"], "n": [125, 250, 500, 1000, 2000], "seeds": "0..3", "grid": 64, "density_points": 2000},
    {"model": "mlp-polar", "width": 4, "n": [125, 250, 500, 1000], "epochs": 3, "seeds": "0..3", "grid": 64,
     "density_points": 2000}]})");
  Words words = GetParam().words;
  words.insert(words.end(), {"--out", "o", "--quiet", "--seed", "3"});
  const std::string text = good(words);
  const Json document = result("o");
  html_ = read_file(folder_ / "o" / "report.html");
  EXPECT_GE(document["schema"], 1);
  ASSERT_FALSE(document["findings"].empty());
  for (const Json& finding : document["findings"]) {
    const std::string shown = article(finding);
    const std::string title = finding["title"];
    EXPECT_NE(shown.find("<h3>" + html_escape(capitalized(title)) + "</h3>"), std::string::npos) << title;
    EXPECT_NE(text.find(title), std::string::npos) << title;
    for (const std::string point : finding["points"]) {
      EXPECT_NE(shown.find(html_escape(point)), std::string::npos) << point;
      EXPECT_NE(text.find(point), std::string::npos) << point;
    }
    for (const Json& contrast : finding["contrasts"]) expect_contrast_shown(finding, contrast);
    expect_counts(finding);
  }
  // No other findings stand on the page.
  std::size_t articles = 0;
  for (std::size_t at = html_.find("<article class=\"finding\""); at != std::string::npos;
       at = html_.find("<article class=\"finding\"", at + 1)) {
    ++articles;
  }
  EXPECT_EQ(articles, document["findings"].size());
  const std::string table = part("id=\"table\"", "</section>");
  for (const Json& series : document["summary"]) {
    for (const char* measure : {"grid_error", "density_error", "test_error"}) {
      if (!series.contains(measure)) continue;
      const Json& s = series[measure];
      const std::vector<double> values = s["values"];
      const Summary own = summarize(values);
      EXPECT_EQ(own.mean, s["mean"]);
      EXPECT_EQ(own.interval.low, s["low"]);
      const std::string cell =
          fmt::format("{} [{}, {}]", percent(own.mean), percent(own.interval.low), percent(own.interval.high));
      EXPECT_NE(table.find(cell), std::string::npos) << cell << " " << series["params"];
    }
  }
  for (const Json& law : document["laws"]) {
    const std::string verdict = law["law"]["verdict"];
    const std::string shown =
        part("id=\"laws-" + law["measure"].get<std::string>().substr(0, law["measure"].get<std::string>().find('_')),
             "</article>");
    EXPECT_NE(shown.find(">" + verdict + "</td>"), std::string::npos) << law["text"];
  }
  for (const std::string& said : {html_, text}) {
    EXPECT_EQ(said.find("+-"), std::string::npos);
    EXPECT_EQ(said.find("\u00b1"), std::string::npos);
    EXPECT_EQ(said.find("is open"), std::string::npos);
  }
  // And the page can be made again.
  good({"show", "o", "--quiet"});
  EXPECT_EQ(read_file(folder_ / "o" / "report.html"), html_);
}

INSTANTIATE_TEST_SUITE_P(
    Studies, PagesMatchResults,
    testing::Values(Command{"sweep", {"sweep", "s.json"}},
                    Command{"prune_study",
                            {"prune-study", "--model", "knn-1", "--sizes", "80,160,320,640", "--seeds", "0..3",
                             "--scores", "margin,kmeans", "--clusters", "4,16", "--fractions", "0.25,0.5",
                             "--boundary-rule", "--grid", "48", "--density-points", "1000"}},
                    Command{"curriculum_on_the_spiral",
                            {"curriculum", "--problem", "spiral", "--widths", "4,8", "--seeds", "0..3", "--n", "100",
                             "--epochs", "40", "--grid", "32", "--density-points", "400"}},
                    Command{"lottery",
                            {"lottery", "--widths", "10", "--levels", "1,4", "--seeds", "0..3", "--n", "60", "--epochs",
                             "20", "--grid", "32", "--density-points", "400"}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace scalelab::host
