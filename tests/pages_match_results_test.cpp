// Pages against results: every study is run small as people run it, and what its page and its terminal say is held
// against its result.json: each finding's words, each contrast's difference, interval, count and verdict, each mean with
// its interval, each law.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>

#include "host/data/source.h"
#include "host/evidence/statistics.h"
#include "host/own_data/confusion.h"
#include "host/own_data/kmeans_page.h"
#include "host/pages/page.h"
#include "host/program/words.h"
#include "tests/program.h"
#include "tests/support.h"

namespace scalelab::host {
namespace {

using Json = nlohmann::json;

double value_of(const Json& value) { return value.is_number() ? value.get<double>() : std::nan(""); }

struct Command {
  const char* name;
  Words words;  // but for --out
};

class OfAPage : public Program {
 protected:
  // Text between `begin` and the next `end` of the page.
  std::string part(const std::string& begin, const std::string& end) const {
    const std::size_t from = html_.find(begin);
    if (from == std::string::npos) return "";
    return html_.substr(from, html_.find(end, from) - from);
  }
  Json chart(const std::string& id) const {
    const std::string begin = "class=\"description\">";
    const std::string shown = part("id=\"" + id + "\"", "</script>");
    return Json::parse(shown.substr(shown.find(begin) + begin.size()));
  }
  // The marks of a chart's line, as [x, y, low, high, note].
  Json marks(const std::string& id, const std::string& line, bool joined = true) const {
    const Json description = chart(id);
    for (const Json& one : description["lines"]) {
      if (one["name"] == line && one["joined"] == joined) return one["marks"];
    }
    ADD_FAILURE() << id << " has no line " << line;
    return Json::array();
  }

  std::string html_;
};

class PagesMatchResults : public OfAPage, public testing::WithParamInterface<Command> {
 protected:
  std::string article(const Json& finding) const {
    return part("<article class=\"finding\" id=\"" + finding["id"].get<std::string>() + "\"", "</article>");
  }

  // A contrast's tests, from its mean, spread and number alone: of differing, and of lying within the margin.
  static std::pair<double, double> tests_of(const Json& contrast) {
    const double mean = value_of(contrast["mean"]), sd = value_of(contrast["sd"]), margin = contrast["margin"];
    const int n = contrast["seeds"];
    std::vector<double> values;  // n numbers of that mean and spread
    for (int i = 0; i < n; ++i) values.push_back(mean + (i == 0 ? 1 : i == 1 ? -1 : 0) * sd * std::sqrt((n - 1) / 2.0));
    const Paired p = paired(values, std::vector<double>(values.size()));
    return {p.p_differs(), std::max(p.p_below(margin), p.p_above(-margin))};
  }
  // Holm's step-down rule, the other way round: the smallest p values are rejected one by one while p (m - i) < 5 %.
  static std::vector<bool> rejected(const std::vector<double>& p) {
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < p.size(); ++i) order.push_back(i);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return p[a] < p[b]; });
    std::vector<bool> out(p.size());
    for (std::size_t rank = 0; rank < p.size() && p[order[rank]] * static_cast<double>(p.size() - rank) < 0.05;
         ++rank) {
      out[order[rank]] = true;
    }
    return out;
  }
  // Contrasts that are judged together: all of a finding, or those of one series, choice or measure.
  static std::string family_of(const Json& finding, const Json& contrast) {
    const std::string id = finding["id"];
    if (contrast["place"].contains("series")) return contrast["place"]["series"].dump();
    if (id.rfind("all-", 0) == 0 || id.rfind("hard-or-easy", 0) == 0) return contrast["what"];
    if (contrast["place"].contains("choice")) {
      return contrast["place"]["choice"].dump() + contrast["place"]["budget"].dump();
    }
    if (id.rfind("clusters-", 0) == 0)
      return contrast["what"].get<std::string>() + contrast["against"].get<std::string>();
    if (contrast["place"].contains("level") && !finding["columns"].empty()) return contrast["measure"];
    return "";
  }
  // The words of verdicts follow from the tests of a family, and from nothing else.
  static void expect_verdicts_by_rule(const Json& finding) {
    const std::string id = finding["id"];
    if (id.rfind("ticket-", 0) == 0 || id.rfind("lowest-", 0) == 0) return;  // another finding's; a sweep's last
    std::map<std::string, std::vector<const Json*>> families;
    for (const Json& contrast : finding["contrasts"]) families[family_of(finding, contrast)].push_back(&contrast);
    for (const auto& [name, members] : families) {
      std::vector<const Json*> tested;
      std::vector<double> differs, same;
      for (const Json* contrast : members) {
        if ((*contrast)["seeds"] < 3) {
          EXPECT_EQ((*contrast)["verdict"], "undecided");
          continue;
        }
        tested.push_back(contrast);
        const auto [p_differs, p_same] = tests_of(*contrast);
        differs.push_back(p_differs);
        same.push_back(p_same);
      }
      const auto by_differs = rejected(differs), by_same = rejected(same);
      for (std::size_t i = 0; i < tested.size(); ++i) {
        const std::string want = by_differs[i] ? ((*tested[i])["mean"] < 0 ? "lower" : "higher")
                                 : by_same[i]  ? "same"
                                               : "undecided";
        EXPECT_EQ((*tested[i])["verdict"], want) << finding["id"] << " " << tested[i]->dump();
        EXPECT_EQ((*tested[i])["family"], tested.size()) << finding["id"];
      }
    }
  }

  // The difference of a contrast, from the rows themselves.
  void expect_contrast_shown(const Json& finding, const Json& contrast) const {
    const std::string what = contrast.dump();
    const double low = value_of(contrast["low"]), high = value_of(contrast["high"]);
    if (contrast["seeds"] > 1) {
      EXPECT_NEAR(value_of(contrast["standard_error"]),
                  value_of(contrast["sd"]) / std::sqrt(contrast["seeds"].get<double>()), 1e-15)
          << what;
    }
    if (low > -1 && high < 1) {  // else it ends where differences of fractions do
      EXPECT_NEAR(value_of(contrast["mean"]) * (contrast["seeds"] > 1), (low + high) / 2, 1e-12) << what;
    }
    const std::string shown = article(finding);
    if (finding["columns"].empty()) return;  // said in another finding's table
    for (const std::string& cell :
         {signed_points(value_of(contrast["mean"])),
          signed_points(value_of(contrast["low"])) + " to " + signed_points(value_of(contrast["high"]))}) {
      EXPECT_NE(shown.find(">" + html_escape(cell) + "</td>"), std::string::npos) << cell << " of " << what;
    }
    EXPECT_NE(shown.find(contrast["verdict"].get<std::string>()), std::string::npos) << what;
  }

  // In the table of a finding every mean of errors in per cent stands with its interval, which is the result's.
  static void expect_means_with_intervals(const Json& finding) {
    const std::string id = finding["id"];
    if (id.rfind("laws-", 0) == 0) return;  // what a law predicts has its interval in a column of its own
    const auto mean_in = [](const Json& contrast, const std::string& side, const std::string& part = "") {
      const double mean = value_of(contrast[part.empty() ? "mean_" + side : part + side]);
      const double low = value_of(contrast[part + "low_" + side]), high = value_of(contrast[part + "high_" + side]);
      return fmt::format("{} [{}, {}]", percent(mean), percent(low), percent(high));
    };
    bool means = false;
    for (std::size_t c = 0; c < finding["columns"].size(); ++c) {
      const std::string column = finding["columns"][c];
      if (!column.ends_with(", %") || column == "by chance, %") continue;
      means = means || column != "training errors, %";
      for (const Json& line : finding["table"]) {
        const std::string cell = line[c];
        EXPECT_TRUE(cell == "-" || cell == "- against -" || cell.find(" [") != std::string::npos)
            << id << ", " << column << ": " << cell;
      }
    }
    if (!means || finding["contrasts"].size() != finding["table"].size()) return;
    for (std::size_t i = 0; i < finding["table"].size(); ++i) {
      const Json& contrast = finding["contrasts"][i];
      const std::string line = finding["table"][i].dump();
      EXPECT_NE(line.find(mean_in(contrast, "what")), std::string::npos) << id << " " << contrast;
      EXPECT_TRUE(contrast["train_what"].is_null() ||
                  line.find(mean_in(contrast, "what", "train_")) != std::string::npos)
          << id << " " << contrast;
      if (id == "budget" || id.rfind("start-", 0) == 0) continue;  // of kNN; of chance, which is exact
      EXPECT_NE(line.find(mean_in(contrast, "against")), std::string::npos) << id << " " << contrast;
    }
  }

  // "lower at 2 of 6 places, higher at 1 and undecided at 3": counted again.
  void expect_counts(const Json& finding) const {
    const std::string title = finding["title"], id = finding["id"];
    if (id.rfind("control-", 0) != 0 && id.rfind("all-", 0) != 0) return;
    std::map<std::string, int> counts;
    for (const Json& contrast : finding["contrasts"]) ++counts[contrast["verdict"]];
    const std::string same = counts["same"] == 0 ? "" : fmt::format(", the same at {}", counts["same"]);
    EXPECT_NE(title.find(fmt::format("lower at {} of {} places, higher at {}{} and undecided at {}", counts["lower"],
                                     finding["contrasts"].size(), counts["higher"], same, counts["undecided"])),
              std::string::npos)
        << title;
  }

  void expect_series_shown(const Json& document) const {
    const std::string table = part("id=\"table\"", "</section>");
    for (const Json& series : document["summary"]) {
      // The page of a comparison has its curve and its noise panel in charts alone.
      if (document["study"] == "compare" && !in_comparison(document, series["params"])) continue;
      for (const char* measure : {"grid_error", "density_error", "test_error"}) {
        if (!series.contains(measure)) continue;
        const Json& s = series[measure];
        const std::vector<double> values = s["values"];
        const Summary own = summarize_fractions(values);
        EXPECT_EQ(own.mean, s["mean"]);
        EXPECT_EQ(own.interval.low, s["low"]);
        EXPECT_EQ(own.interval.high, s["high"]);
        const std::string cell =
            fmt::format("{} [{}, {}]", percent(own.mean), percent(own.interval.low), percent(own.interval.high));
        EXPECT_NE(table.find(cell), std::string::npos) << cell << " " << series["params"];
      }
    }
  }
  static bool in_comparison(const Json& document, const Json& params) {
    const auto has = [](const Json& list, const Json& value) {
      return std::find(list.begin(), list.end(), value) != list.end();
    };
    const Json& options = document["options"];
    return has(options["models"], params["model"]) && has(options["sizes"], params["n"]) &&
           params["noise"] == options["noise"];
  }

  // A law stands on the page with the words that the result has for it.
  void expect_laws_shown(const Json& document) const {
    for (const Json& law : document["laws"]) {
      if (document["study"] == "compare") {
        const Json& params = law["params"];
        if (params["noise"] != document["options"]["noise"] || params["model"].get<std::string>().find("knn") != 0) {
          continue;
        }
        EXPECT_NE(part("id=\"law\"", "</article>").find(">" + html_escape(law["text"].get<std::string>()) + "</td>"),
                  std::string::npos)
            << law["text"];
        continue;
      }
      const std::string measure = law["measure"], verdict = law["law"]["verdict"];
      const std::string shown = part("id=\"laws-" + measure.substr(0, measure.find('_')), "</article>");
      EXPECT_NE(shown.find(">" + verdict + "</td>"), std::string::npos) << law["text"];
    }
  }

  // A law is drawn as it was fitted, once: its band ends in what it predicts, and that is what the result has.
  void expect_laws_drawn(const Json& document) const {
    for (const Json& law : document["laws"]) {
      const std::string measure = law["measure"], id = "error-" + measure.substr(0, measure.find('_'));
      if (html_.find("id=\"" + id + "\"") == std::string::npos) continue;
      const Json* fit = nullptr;  // of the verdict, or else the power law
      for (const Json& one : law["law"]["fits"]) {
        if (fit == nullptr || one["form"] == law["law"]["verdict"]) fit = &one;
      }
      const Json& held = (*fit)["held_out"];
      const Json want = Json::array({held["n"], held["predicted"], held["interval"][0], held["interval"][1]});
      const Json description = chart(id);
      for (const Json& line : description["lines"]) {
        if (line["name"] != law["series"] || !line.contains("law")) continue;
        EXPECT_EQ(line["law"]["held"], want) << law["series"];
        EXPECT_EQ(line["law"]["curve"].back(), want) << law["series"];
        ++drawn_laws_;
      }
    }
  }

  // The curves of a comparison draw the means and intervals of its table, of errors of 0 too.
  void expect_curves_drawn(const Json& document) const {
    if (document["study"] != "compare") return;
    for (const Json& series : document["summary"]) {
      const Json& params = series["params"];
      if (params["noise"] != document["options"]["noise"]) continue;
      const std::string model = params["model"];
      const bool curve = model == "knn-1" || model == "knn-5";
      if (!curve && (model.find("knn-") == 0 && model.find('@') == std::string::npos)) continue;
      for (const char* measure : {"grid", "density"}) {
        const Json& s = series[std::string(measure) + "_error"];
        if (!(value_of(s["mean"]) > 0)) continue;
        const Json drawn =
            marks(fmt::format("curve-{}", measure), curve ? "kNN, k = " + model.substr(4) : model, curve);
        const Json want = Json::array({params["n"].get<double>(), s["mean"], s["low"], s["high"], "mean"});
        EXPECT_NE(std::find(drawn.begin(), drawn.end(), want), drawn.end()) << want << " of " << model << drawn;
      }
    }
  }

  // What a network is worth in points of kNN: two significant digits, or a bound.
  void expect_equivalents_shown(const Json& document) const {
    if (document["study"] != "compare") return;
    ASSERT_FALSE(document["equivalents"].empty());
    const std::string shown = article({{"id", "data-equivalent"}});
    for (const Json& e : document["equivalents"]) {
      if (e["seeds_beyond_curve"] != 0 || e["seeds_before_curve"] != 0) continue;
      if (e["unit"] == "world") {
        // As a multiple of the points, and in the title or the points where the encoding alone is told.
        const double size = e["n"];
        const auto times = [&](const char* member) {
          const double value = e[member].get<double>() / size;
          return fmt::format("{:.{}f}", value, value < 9.95 ? 1 : 0);
        };
        const std::string factor = fmt::format("{} [{}, {}] ({})", times("knn_points"), times("low"), times("high"),
                                               e["model"].get<std::string>());
        if (e["model"].get<std::string>().find("knn") == 0) {
          EXPECT_NE(article({{"id", "bias"}}).find(factor), std::string::npos) << factor;
        }
        continue;
      }
      const double points = e["knn_points"], unit = std::pow(10, std::max(0.0, std::floor(std::log10(points)) - 1));
      const std::string cell = grouped(std::llround(points / unit) * std::llround(unit));
      EXPECT_NE(shown.find(">" + cell + "</td>"), std::string::npos) << cell << " of " << e;
    }
  }

  // Every exact error and ratio, every count of a title, every simulated mean with its interval.
  void expect_theory_shown(const Json& document) const {
    if (document["study"] != "theory") return;
    const auto shown_in = [&](const char* finding, const std::string& cell) {
      EXPECT_NE(article({{"id", finding}}).find(">" + cell + "</td>"), std::string::npos) << finding << ": " << cell;
    };
    const auto in_per_cent = [](double error) { return fmt::format("{:.3f}", 100 * error); };
    std::map<std::string, int> lower, all;
    int within = 0, simulated = 0;
    for (const Json& row : document["rows"]) {
      const double error = row["error"], random = row["error_random"];
      if (row["keep"] != "random") {
        lower[row["keep"]] += error < random;
        ++all[row["keep"]];
        shown_in("hard-or-easy", in_per_cent(error));
        shown_in("hard-or-easy", fmt::format("{:.3f}", error / random));
      }
      if (!row.contains("simulated")) continue;
      const Json& s = row["simulated"];
      const double low = s["low"], high = s["high"];
      ++simulated;
      within += low <= error && error <= high;
      shown_in("simulation", in_per_cent(s["mean"]));
      shown_in("simulation", in_per_cent(low) + " to " + in_per_cent(high));
    }
    EXPECT_NE(article({{"id", "hard-or-easy"}})
                  .find(fmt::format("at {} of {} points keeping the hard and {} of {} points keeping the easy",
                                    lower["hard"], all["hard"], lower["easy"], all["easy"])),
              std::string::npos);
    EXPECT_NE(article({{"id", "simulation"}}).find(fmt::format("interval at {} of {} points", within, simulated)),
              std::string::npos);
    // Where a choice pays is what its rows say.
    ASSERT_EQ(document["crossovers"].size(), 4U);
    for (const Json& c : document["crossovers"]) {
      for (const Json& row : document["rows"]) {
        if (row["keep"] != c["keep"] || row["fraction"] != c["fraction"]) continue;
        const bool pays = c["lower"] == "everywhere" || (c["lower"] == "from" && row["alpha_total"] > c["alpha_total"]);
        EXPECT_EQ(row["error"].get<double>() < row["error_random"].get<double>(), pays) << c << row;
      }
      if (c["lower"] == "from") {
        shown_in("crossover", fmt::format("from {:.2f} examples per dimension on", c["alpha_total"].get<double>()));
      } else {
        EXPECT_EQ(c["lower"], "everywhere");
        shown_in("crossover", "at every size");
      }
    }
  }

  // From which fraction on a choice equals all rows, counted again; the frontier's and the map's numbers.
  void expect_prune_shown(const Json& document) const {
    if (document["study"] != "prune-study") return;
    for (const Json& finding : document["findings"]) {
      const std::string id = finding["id"];
      if (id.rfind("equal-", 0) != 0) continue;
      std::map<std::string, std::map<double, bool>> same;  // by choice, then fraction, equal epochs
      for (const Json& c : finding["contrasts"]) {
        if (c["place"]["budget"] == "epochs") same[c["place"]["choice"]][c["place"]["fraction"]] = c["not_worse"];
      }
      double smallest = 2;
      for (const auto& [choice, by_fraction] : same) {
        for (auto at = by_fraction.rbegin(); at != by_fraction.rend() && at->second; ++at) {
          smallest = std::min(smallest, at->first);
        }
      }
      const std::string words =
          smallest > 1 ? "no share measured equals all" : fmt::format("equals all is {:g} % (", 100 * smallest);
      EXPECT_NE(finding["title"].get<std::string>().find(words), std::string::npos) << finding["title"];
    }
    ASSERT_FALSE(document["frontier"].empty());
    for (const Json& entry : document["frontier"]) {
      const std::string measure = entry["measure"];
      const Json drawn = marks("frontier-chart-" + measure.substr(0, measure.find('_')), entry["score"]);
      ASSERT_EQ(drawn.size(), entry["points"].size());
      for (std::size_t i = 0; i < drawn.size(); ++i) {
        EXPECT_EQ(drawn[i][0], entry["points"][i]["kept"]);
        EXPECT_EQ(drawn[i][1], entry["points"][i]["mean"]);
      }
    }
    for (const Json& choice : document["choices"]) {
      if (choice["n"] != 640 || choice["fraction"] == "rule" || !choice["grid_error"].contains("minus_random"))
        continue;
      const Json& c = choice["grid_error"]["minus_random"];
      const std::string text = signed_points(c["mean"]);
      const std::string map = part("id=\"map-scores-grid\"", "</details>");
      EXPECT_NE(map.find(c["verdict"] == "undecided" ? "(" + text + ")" : text), std::string::npos)
          << choice["choice"] << text;
      const std::string interval = signed_points(c["low"]) + " to " + signed_points(c["high"]);
      EXPECT_NE(map.find("title=\"95 % interval: " + interval + "\""), std::string::npos) << interval;
      EXPECT_NE(map.find(">" + interval + "</td>"), std::string::npos) << interval;
    }
  }

  mutable int drawn_laws_ = 0;

  static Json finding_of(const Json& document, const std::string& id) {
    for (const Json& finding : document["findings"]) {
      if (finding["id"] == id) return finding;
    }
    ADD_FAILURE() << "no finding " << id;
    return {};
  }

  // The charts draw the contrasts in points, and the times are counted from the course.
  void expect_xor_shown(const Json& document) const {
    if (document["study"] != "xor") return;
    for (const Json& finding : document["findings"]) {
      const std::string id = finding["id"];
      if (id == "time" || id == "shares" || id == "easy-alone") continue;
      const std::string name = id.rfind("anti", 0) == 0 ? "anti (hard first)" : "curriculum (easy first)";
      const Json drawn = marks(id.ends_with("-long") ? "difference-long" : "difference", name);
      ASSERT_EQ(drawn.size(), finding["contrasts"].size());
      for (std::size_t i = 0; i < drawn.size(); ++i) {
        const Json& c = finding["contrasts"][i];
        EXPECT_EQ(drawn[i], Json::array({c["place"]["width"].get<double>(), 100 * c["mean"].get<double>(),
                                         100 * c["low"].get<double>(), 100 * c["high"].get<double>(), c["verdict"]}));
      }
    }
    const std::string map = part("id=\"map-shares\"", "</script>"), order = part("id=\"map-share-order\"", "</script>");
    for (const Json& arm : document["shares"]) {
      for (const Json& series : arm["summary"]) {
        if (series["params"]["order"] != "random") continue;
        const Json& error = series["test_error"];
        EXPECT_NE(map.find(percent(error["mean"])), std::string::npos) << series["params"];
        const std::string interval = percent(error["low"]) + " to " + percent(error["high"]);
        EXPECT_NE(map.find("title=\"95 % interval: " + interval + "\""), std::string::npos) << interval;
      }
    }
    for (const Json& c : finding_of(document, "shares")["contrasts"]) {
      const std::string text = signed_points(c["mean"]);
      EXPECT_NE(order.find(c["verdict"] == "undecided" ? "(" + text + ")" : text), std::string::npos) << text;
    }
    const std::string shown = article({{"id", "time"}});
    for (const Json& series : document["summary"]) {
      const std::string row =
          fmt::format("<td>{}</td><td class=\"number\">{} of {}</td>", series["params"]["order"].get<std::string>(),
                      series["reached_target"].get<int>(), series["test_error"]["seeds"].size());
      EXPECT_NE(shown.find(row), std::string::npos) << row;
    }
  }
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
  EXPECT_EQ(document["schema"], 2);
  EXPECT_EQ(document["study"], words[0]);
  ASSERT_FALSE(document["findings"].empty());
  for (const Json& finding : document["findings"]) {
    const std::string shown = article(finding);
    const std::string title = finding["title"];
    EXPECT_TRUE(shown.find("<h3>" + html_escape(capitalized(title)) + "</h3>") != std::string::npos ||
                shown.find("<h3>" + html_escape(title) + "</h3>") != std::string::npos)
        << title;
    EXPECT_NE(text.find(title), std::string::npos) << title;
    for (const std::string point : finding["points"]) {
      EXPECT_NE(shown.find(html_escape(point)), std::string::npos) << point;
      EXPECT_NE(text.find(point), std::string::npos) << point;
    }
    expect_verdicts_by_rule(finding);
    for (const Json& contrast : finding["contrasts"]) expect_contrast_shown(finding, contrast);
    expect_counts(finding);
    if (words[0] != "theory") expect_means_with_intervals(finding);
  }
  // No other findings stand on the page.
  std::size_t articles = 0;
  for (std::size_t at = html_.find("<article class=\"finding\""); at != std::string::npos;
       at = html_.find("<article class=\"finding\"", at + 1)) {
    ++articles;
  }
  EXPECT_EQ(articles, document["findings"].size());
  if (document.contains("summary")) expect_series_shown(document);
  if (document.contains("laws")) expect_laws_shown(document);
  expect_curves_drawn(document);
  if (document.contains("laws")) expect_laws_drawn(document);
  if (document["study"] == "sweep") {
    EXPECT_GT(drawn_laws_, 3);
  }
  expect_equivalents_shown(document);
  expect_theory_shown(document);
  expect_xor_shown(document);
  expect_prune_shown(document);
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
    testing::Values(
        Command{"sweep", {"sweep", "s.json"}},
        Command{"prune_study",
                {"prune-study", "--model", "knn-1", "--sizes", "80,160,320,640", "--seeds", "0..3", "--scores",
                 "margin,kmeans", "--clusters", "4,16", "--fractions", "0.25,0.5", "--boundary-rule", "--grid", "48",
                 "--density-points", "1000"}},
        Command{"compare",
                {"compare", "--sizes", "125,500", "--models",
                 "knn-1,knn-5,knn-1@polar:0.5,mlp-polar,mlp-polar+extras,mlp-xy", "--seeds", "0..3", "--epochs", "20",
                 "--width", "12", "--grid", "64", "--curve-to", "2000", "--worlds", "0..3"}},
        Command{"theory",
                {"theory", "--alpha", "1,4,12", "--fractions", "1,0.5,0.2", "--draws", "4", "--simulate-to", "4",
                 "--dimension", "40"}},
        Command{"xor",
                {"xor", "--widths", "2,4,8", "--seeds", "0..4", "--dimension", "30", "--time", "4", "--evaluations",
                 "4", "--test-examples", "200", "--target-error", "0.45", "--long-time", "8"}},
        Command{"curriculum",
                {"curriculum", "--widths", "4,8", "--worlds", "0,5,7", "--seeds", "0..1", "--n", "100", "--epochs",
                 "40", "--grid", "32"}},
        Command{"lottery",
                {"lottery", "--widths", "10", "--levels", "1,4", "--seeds", "0..3", "--n", "60", "--epochs", "20",
                 "--grid", "32", "--density-points", "400"}}),
    [](const auto& info) { return info.param.name; });

// The pages of own data: what they say is counted again from the arrays beside them.
class PagesOfOwnData : public OfAPage {
 protected:
  // 150 rows of four features about three places, so close that some lie nearer to another class, their classes in words,
  // and a twin of the first row.
  PagesOfOwnData() {
    std::vector<float> noise = test::uniform_floats(4 * n_, 11, -2.2F, 2.2F);
    std::string names, csv = "x,y,class\n";
    for (std::size_t row = 0; row < n_; ++row) {
      labels_.push_back(row % 3);
      for (std::size_t c = 0; c < 4; ++c) rows_.push_back(noise[4 * row + c] + (c == row % 3 ? 2.5F : 0));
    }
    for (std::size_t c = 0; c < 4; ++c) rows_[4 * (n_ - 3) + c] = rows_[c];
    for (std::size_t row = 0; row < n_; ++row) {
      names += std::string(kNames[labels_[row]]) + "\n";
      csv += fmt::format("{},{},{}\n", rows_[4 * row], rows_[4 * row + 1], kNames[labels_[row]]);
    }
    write_npy("x.npy", rows_, {static_cast<std::int64_t>(n_), 4});
    write_text(folder_ / "y.txt", names);
    write_text(folder_ / "p.csv", csv);
  }
  // Runs a command, whose page must be that which `show` makes of its result, and returns the result.
  Json made(Words words) {
    words.insert(words.end(), {"--out", "o", "--quiet", "--seed", "3"});
    text_ = good(words);
    html_ = read_file(folder_ / "o" / "report.html");
    const Json document = result("o");
    EXPECT_EQ(document["study"], words[0]);
    EXPECT_LT(html_.size(), 2U << 20);
    good({"show", "o", "--quiet"});
    EXPECT_EQ(read_file(folder_ / "o" / "report.html"), html_);
    return document;
  }
  std::string headline() const { return part("<h1>", "</h1>").substr(4); }
  // Marks of a line of points: those of `points` for which `take` holds.
  void expect_points(const std::string& line, const Json& points, const std::function<bool(std::size_t)>& take) const {
    const Json drawn = marks(html_.find("id=\"plane\"") == std::string::npos ? "map" : "plane", line, false);
    std::size_t at = 0;
    for (std::size_t i = 0; i < points["rows"].size(); ++i) {
      if (!take(i)) continue;
      ASSERT_LT(at, drawn.size()) << line;
      EXPECT_EQ(drawn[at][0], points["x"][i]);
      EXPECT_EQ(drawn[at][1], points["y"][i]);
      EXPECT_EQ(drawn[at][4].get<std::string>().find(fmt::format("row {}", points["rows"][i].get<int>())), 0U);
      ++at;
    }
    EXPECT_EQ(at, drawn.size()) << line;
  }
  // Places in the plane of the rows' first two principal components, and the shares of variance that its titles name.
  void expect_principal(const Json& plane, const Json& points) const {
    ASSERT_EQ(points["rows"].size(), n_);
    std::array<double, 4> mean{};
    for (std::size_t i = 0; i < rows_.size(); ++i)
      mean[i % 4] += static_cast<double>(rows_[i]) / static_cast<double>(n_);
    const auto centred = [&](std::size_t row, std::size_t c) { return rows_[4 * row + c] - mean[c]; };
    const auto variance = [&](const std::array<double, 4>& direction) {
      double sum = 0;
      for (std::size_t row = 0; row < n_; ++row) {
        double at = 0;
        for (std::size_t c = 0; c < 4; ++c) at += centred(row, c) * direction[c];
        sum += at * at;
      }
      return sum;
    };
    // Removes what a direction has of another, and gives it the length 1.
    const auto made_unit = [](std::array<double, 4> v, const std::array<double, 4>& without) {
      const double common = std::inner_product(v.begin(), v.end(), without.begin(), 0.0);
      for (std::size_t c = 0; c < 4; ++c) v[c] -= common * without[c];
      const double length = std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
      for (double& x : v) x /= length;
      return v;
    };
    std::array<double, 4> before{};  // the direction of the axis before
    for (const std::string axis : {"x", "y"}) {
      std::array<double, 4> direction{};  // the covariance times the axis's: its own, if it is principal
      for (std::size_t row = 0; row < n_; ++row) {
        for (std::size_t c = 0; c < 4; ++c) direction[c] += points[axis][row].get<double>() * centred(row, c);
      }
      direction = made_unit(direction, before);
      for (std::size_t row = 0; row < n_; ++row) {
        double at = 0;
        for (std::size_t c = 0; c < 4; ++c) at += centred(row, c) * direction[c];
        EXPECT_NEAR(points[axis][row].get<double>(), at, 1e-2) << axis << " of row " << row;
      }
      const double own = variance(direction);
      for (std::uint64_t seed = 0; seed < 200; ++seed) {
        const auto drawn = test::uniform_floats(4, 100 + seed, -1, 1);
        EXPECT_LE(variance(made_unit({drawn[0], drawn[1], drawn[2], drawn[3]}, before)), own * (1 + 1e-6)) << axis;
      }
      double all = 0;
      for (std::size_t c = 0; c < 4; ++c) {
        std::array<double, 4> of_one{};
        of_one[c] = 1;
        all += variance(of_one);
      }
      EXPECT_EQ(plane[axis + "_title"], fmt::format("{} principal component, {:.0f} % of variance",
                                                    axis == "x" ? "1st" : "2nd", 100 * own / all));
      before = direction;
    }
  }
  // What a confusion says, counted again: of each row its class and what is said of it.
  void expect_confusion(const Json& confusion, const std::vector<int>& said) const {
    std::map<std::pair<int, int>, int> counts;
    int wrong = 0;
    for (std::size_t row = 0; row < said.size(); ++row) {
      ++counts[{labels_[row], said[row]}];
      wrong += labels_[row] != said[row];
    }
    EXPECT_GT(wrong, 5);
    EXPECT_EQ(confusion["wrong"], wrong);
    EXPECT_EQ(confusion["rows"], said.size());
    // Wilson's interval: the shares at which so many lie 1.96 standard deviations away.
    for (const char* end : {"low", "high"}) {
      const double p = confusion[end], n = static_cast<double>(said.size());
      EXPECT_NEAR(std::abs(wrong / n - p) / std::sqrt(p * (1 - p) / n), 1.959964, 1e-5) << end;
    }
    EXPECT_NE(
        headline().find(html_escape(fmt::format("{} % ({} to {} %)", percent(wrong / static_cast<double>(said.size())),
                                                percent(confusion["low"]), percent(confusion["high"])))),
        std::string::npos)
        << headline();
    const std::string map = part("id=\"confusion\"", "</table>");
    for (int label = 0; label < 3; ++label) {
      std::string row = fmt::format("<tr><th scope=\"row\">{}</th>", kNames[label]);
      EXPECT_NE(map.find(row), std::string::npos);
      const std::string cells = map.substr(map.find(row), map.find("</tr>", map.find(row)) - map.find(row));
      std::size_t at = 0;
      for (int other = 0; other < 3; ++other) {
        at = cells.find(fmt::format(">{}</td>", counts[{label, other}]), at + 1);
        EXPECT_NE(at, std::string::npos) << kNames[label] << " " << kNames[other] << " " << cells;
      }
    }
  }
  // The label that most of these rows have, of equally many the smallest.
  int vote(const std::vector<int>& rows) const {
    int votes[3] = {};
    for (const int row : rows) ++votes[labels_[static_cast<std::size_t>(row)]];
    return static_cast<int>(std::max_element(votes, votes + 3) - votes);
  }
  // The k nearest others of a row by its first d features.
  std::vector<int> others(std::size_t row, std::size_t d, std::size_t k) const {
    std::vector<std::pair<double, int>> far;
    for (std::size_t i = 0; i < n_; ++i) {
      double sum = 0;
      for (std::size_t c = 0; c < d; ++c)
        sum += std::pow(static_cast<double>(rows_[4 * i + c]) - rows_[4 * row + c], 2);
      if (i != row) far.emplace_back(sum, static_cast<int>(i));
    }
    std::sort(far.begin(), far.end());
    std::vector<int> nearest;
    for (std::size_t j = 0; j < k; ++j) nearest.push_back(far[j].second);
    return nearest;
  }

  static constexpr const char* kNames[] = {"ash", "elm", "oak"};
  const std::size_t n_ = 150;
  std::vector<float> rows_;  // (n, 4)
  std::vector<int> labels_;
  std::string text_;
};

TEST_F(PagesOfOwnData, ClustersTheirSizesAndTheirLabels) {
  const Json document = made({"kmeans", "--data", "x.npy", "--labels", "y.txt", "--clusters", "4"});
  std::vector<int> sizes(4);
  std::map<std::pair<int, int>, int> with_label;
  const auto clusters = npy_values<std::int32_t>("o/labels.npy");
  for (std::size_t row = 0; row < n_; ++row) {
    ++sizes[static_cast<std::size_t>(clusters[row])];
    ++with_label[{clusters[row], labels_[row]}];
  }
  EXPECT_EQ(document["sizes"], Json(sizes));
  const auto [least, most] = std::minmax_element(sizes.begin(), sizes.end());
  EXPECT_EQ(headline(), fmt::format("150 rows in 4 clusters of {} to {} rows", *least, *most));
  int pure = 0;
  std::vector<int> sorted = sizes;
  std::sort(sorted.rbegin(), sorted.rend());
  const Json drawn = marks("sizes", "");
  ASSERT_EQ(drawn.size(), 4U);
  for (int c = 0; c < 4; ++c) {
    EXPECT_EQ(drawn[c][1], sorted[static_cast<std::size_t>(c)]);
    const int size = sizes[static_cast<std::size_t>(c)];
    int best = 0;
    for (int label = 1; label < 3; ++label) best = with_label[{c, label}] > with_label[{c, best}] ? label : best;
    pure += with_label[{c, best}];
    const std::string line = fmt::format(
        "<tr><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td>{}</td><td "
        "class=\"number\">{}</td>",
        c, size, percent(size / 150.0), kNames[best], percent(with_label[{c, best}] / static_cast<double>(size)));
    EXPECT_NE(html_.find(line), std::string::npos) << line;
    expect_points(fmt::format("cluster {}", c), document["plane"],
                  [&](std::size_t i) { return clusters[document["plane"]["rows"][i].get<std::size_t>()] == c; });
  }
  expect_principal(document["plane"], document["plane"]);
  EXPECT_EQ(document["labelled"]["purity"], pure / 150.0);
  EXPECT_NE(part("<p class=\"lead\">", "</p>").find(html_escape(percent(pure / 150.0) + " % of the rows")),
            std::string::npos);
}

TEST_F(PagesOfOwnData, OfThousandsOfClustersSomePlacesAreDrawn) {
  std::vector<float> rows(20000);
  std::iota(rows.begin(), rows.end(), 0.0F);
  write_npy("many.npy", rows, {20000, 1});
  const Json document =
      made({"kmeans", "--data", "many.npy", "--clusters", "10000", "--init", "random", "--max-iterations", "0"});
  std::vector<int> sizes = document["sizes"];
  std::sort(sizes.rbegin(), sizes.rend());
  const Json drawn = marks("sizes", "");
  ASSERT_EQ(drawn.size(), 1001U);
  for (const Json& mark : drawn) EXPECT_EQ(mark[1], sizes[mark[0].get<std::size_t>() - 1]);
  EXPECT_EQ(drawn.back()[0], 10000);
}

// As where ids are taken for labels: a table of clusters by labels would not fit into any memory.
TEST_F(PagesOfOwnData, LabelsAndClustersOfOneRowEach) {
  constexpr std::int64_t kRows = 150000;
  std::vector<float> rows(kRows);
  std::vector<std::int32_t> ids(kRows);
  std::iota(rows.begin(), rows.end(), 0.0F);
  std::iota(ids.begin(), ids.end(), 0);
  write_npy("ids.npy", ids, {kRows});
  write_npy("rows.npy", rows, {kRows, 1});
  const Rows data({(folder_ / "rows.npy").string(), (folder_ / "ids.npy").string()});
  ClusterSummary seen(data, kRows + 1, 0);  // the last is empty
  seen.add(ids);
  Json document;
  seen.put_into(document);
  const Json& labelled = document["labelled"];
  EXPECT_EQ(labelled["classes"], kRows);
  EXPECT_EQ(labelled["purity"], 1.0);
  EXPECT_EQ(labelled["largest_class"], 1.0 / kRows);
  EXPECT_EQ(labelled["clusters"][149999], Json::parse(R"({"labels": [{"label": "149999", "rows": 1}]})"));
  EXPECT_EQ(labelled["clusters"][150000], Json::parse(R"({"labels": []})"));
}

TEST_F(PagesOfOwnData, LabelsThatOnlyQueriesHaveAreNeverVotedFor) {
  write_text(folder_ / "known.csv", "0,0,elm\n1,0,elm\n0,9,ash\n1,9,ash\n");
  write_text(folder_ / "asked.csv", "0,8,ash\n0,1,oak\n1,8,beech\n1,1,elm\n1,2,ash\n");
  const Json vote = made({"knn", "--data", "known.csv", "--queries", "asked.csv", "-k", "2"})["vote"];
  EXPECT_EQ(vote["wrong"], 3);
  const std::map<std::string, std::pair<int, int>> want = {
      {"ash", {2, 1}}, {"beech", {1, 1}}, {"elm", {1, 0}}, {"oak", {1, 1}}};  // rows, wrong
  std::map<std::string, std::pair<int, int>> got;
  for (const Json& entry : vote["classes"]) got[entry["label"]] = {entry["rows"], entry["wrong"]};
  EXPECT_EQ(got, want);
}

TEST_F(PagesOfOwnData, NeighboursTheirDistancesAndTheirVote) {
  write_npy("r.npy", rows_, {150, 4});  // another file: each row finds itself, and then others
  const Json document = made({"knn", "--data", "x.npy", "--queries", "r.npy", "-k", "3"});
  const auto distances = npy_values<float>("o/distances.npy");
  std::vector<double> kth;
  for (std::size_t row = 0; row < n_; ++row) kth.push_back(std::sqrt(static_cast<double>(distances[3 * row + 2])));
  std::sort(kth.begin(), kth.end());
  const Json& shown = document["kth_distance"];
  EXPECT_EQ(shown["median"], kth[74]);
  EXPECT_EQ(shown["most"], kth[149]);
  EXPECT_NE(headline().find(fmt::format("within a distance of {:.3g}", kth[74])), std::string::npos) << headline();
  EXPECT_EQ(document["copies"], 150);
  const Json drawn = marks("distances", "");
  ASSERT_EQ(drawn.size(), shown["counts"].size());
  for (std::size_t bin = 0; bin < drawn.size(); ++bin) {
    const double low = shown["edges"][bin], high = shown["edges"][bin + 1];
    const auto inside = std::count_if(kth.begin(), kth.end(), [&](double value) {
      return value >= low && (bin + 1 == drawn.size() || value < high);
    });
    EXPECT_NEAR(drawn[bin][1].get<double>(), static_cast<double>(inside), 1) << bin;  // a value on an edge
    EXPECT_EQ(drawn[bin][1], shown["counts"][bin]);
  }
  EXPECT_FALSE(document.contains("vote"));
  expect_points("references", document["plane"]["references"], [](std::size_t) { return true; });
  expect_points("queries", document["plane"]["queries"], [](std::size_t) { return true; });
}

TEST_F(PagesOfOwnData, RowsLeftOutOfTheirOwnVote) {
  const Json document = made({"knn", "--data", "x.npy", "--labels", "y.txt", "-k", "5"});
  std::vector<int> said;
  std::vector<std::array<double, 3>> pairs;  // of a row, its nearest: how far, and which
  for (std::size_t row = 0; row < n_; ++row) {
    const std::vector<int> nearest = others(row, 4, 5);
    said.push_back(vote(nearest));
    double squared = 0;
    for (std::size_t c = 0; c < 4; ++c)
      squared += std::pow(double{rows_[4 * row + c]} - rows_[4 * static_cast<std::size_t>(nearest[0]) + c], 2);
    pairs.push_back({std::sqrt(squared), static_cast<double>(row), static_cast<double>(nearest[0])});
  }
  expect_confusion(document["vote"], said);
  EXPECT_NE(text_.find("leave-one-out error of the neighbours' vote: " + error_text(document["vote"]) + "\n"),
            std::string::npos)
      << text_;
  const Json& plane = document["plane"]["queries"];
  expect_principal(document["plane"], plane);
  for (const bool wrong : {false, true}) {
    expect_points(wrong ? "rows that it gets wrong" : "rows that the vote gets right", plane, [&](std::size_t i) {
      const std::size_t row = plane["rows"][i];
      return (said[row] != labels_[row]) == wrong;
    });
  }
  EXPECT_EQ(document["copies"], 2);
  EXPECT_NE(part("<p class=\"lead\">", "</p>").find("2 rows have an exact copy among the others"), std::string::npos);
  // The nearest pairs, each once, and the rows that are farthest from all others.
  std::sort(pairs.begin(), pairs.end());
  std::vector<std::array<double, 3>> once;
  for (const auto& pair : pairs) {
    const bool told = std::any_of(once.begin(), once.end(), [&](const auto& other) {
      return std::minmax(other[1], other[2]) == std::minmax(pair[1], pair[2]);
    });
    if (!told) once.push_back(pair);
  }
  std::sort(pairs.begin(), pairs.end(),
            [](const auto& a, const auto& b) { return a[0] != b[0] ? a[0] > b[0] : a[1] < b[1]; });
  const std::string tables = part("<section id=\"pairs\"", "</section>");
  for (const auto& [member, want] : {std::pair{"nearest", once}, {"farthest", pairs}}) {
    ASSERT_EQ(document[member].size(), 20U);
    for (std::size_t i = 0; i < 20; ++i) {
      const Json& pair = document[member][i];
      EXPECT_NEAR(pair["distance"].get<double>(), want[i][0], 1e-6) << member << " " << i;
      EXPECT_EQ(pair["query"], want[i][1]) << member << " " << i;
      EXPECT_EQ(pair["reference"], want[i][2]) << member << " " << i;
      EXPECT_EQ(pair["query_label"], kNames[labels_[static_cast<std::size_t>(want[i][1])]]);
      EXPECT_EQ(pair["reference_label"], kNames[labels_[static_cast<std::size_t>(want[i][2])]]);
      EXPECT_NE(tables.find(fmt::format("<td class=\"number\">{:.6g}</td><td class=\"number\">{}</td>",
                                        pair["distance"].get<double>(), static_cast<int>(want[i][1]))),
                std::string::npos)
          << member << " " << i;
    }
  }
}

TEST_F(PagesOfOwnData, TheMapOfABoundaryAndItsErrorsLeftOut) {
  const Json document = made({"boundary", "--data", "p.csv", "--k", "3", "--grid", "1000", "--extent", "-5,5,-4,6"});
  std::vector<int> said;
  for (std::size_t row = 0; row < n_; ++row) said.push_back(vote(others(row, 2, 3)));
  expect_confusion(document["leave_one_out"], said);
  EXPECT_NE(text_.find("leave-one-out error "), std::string::npos);
  const Json drawn = chart("map"), &ground = drawn["ground"];
  EXPECT_EQ(ground["x"], Json({-5.0, 5.0}));
  EXPECT_EQ(ground["y"], Json({-4.0, 6.0}));
  EXPECT_EQ(ground["equal"], true);
  EXPECT_EQ(ground["picture"], data_uri("image/png", read_file(folder_ / "o" / "map.png")));
  // A name stands where the map has that class.
  const auto map = npy_values<std::uint8_t>("o/labels.npy");
  ASSERT_EQ(ground["names"].size(), 3U);
  for (int c = 0; c < 3; ++c) {
    const Json& name = ground["names"][c];
    EXPECT_EQ(name["text"], kNames[c]);
    const auto cell = [](double at, double low) { return static_cast<std::size_t>((at - low) * 100); };
    EXPECT_EQ(map[cell(name["y"], -4) * 1000 + cell(name["x"], -5)], c);
    expect_points(kNames[c], document["points"], [&](std::size_t i) { return document["points"]["label"][i] == c; });
    const double area = static_cast<double>(std::count(map.begin(), map.end(), c)) / 1e6;
    EXPECT_NE(part("id=\"classes\"", "</table>").find(fmt::format("<td class=\"number\">{}</td></tr>", percent(area))),
              std::string::npos)
        << kNames[c];
  }
}

TEST_F(PagesOfOwnData, TheRowsThatStayAndWhatTheyAreWorth) {
  const Json document = made({"prune", "--data", "x.npy", "--labels", "y.txt", "--score", "class-mean", "--fraction",
                              "0.4", "--near-duplicates", "0.0001", "--splits", "3"});
  const auto kept = npy_values<std::int64_t>("o/kept_ids.npy");
  const Json& finding = document["worth"]["findings"][0];
  EXPECT_EQ(headline(), html_escape(finding["title"].get<std::string>()));
  EXPECT_NE(text_.find(finding["title"].get<std::string>()), std::string::npos);
  expect_principal(document["plane"], document["plane"]);
  for (const std::string line : {"kept", "removed"}) {
    expect_points(line, document["plane"], [&](std::size_t i) {
      return std::binary_search(kept.begin(), kept.end(), document["plane"]["rows"][i].get<std::int64_t>()) ==
             (line == "kept");
    });
  }
  const Json drawn = marks("scores", "kept");
  for (std::size_t bin = 0; bin < drawn.size(); ++bin) EXPECT_EQ(drawn[bin][1], document["histogram"]["kept"][bin]);
  for (int c = 0; c < 3; ++c) {
    const auto stay = std::count_if(kept.begin(), kept.end(),
                                    [&](std::int64_t row) { return labels_[static_cast<std::size_t>(row)] == c; });
    EXPECT_NE(html_.find(fmt::format("<tr><td>{}</td><td class=\"number\">50</td><td class=\"number\">{}</td>",
                                     kNames[c], stay)),
              std::string::npos)
        << kNames[c];
  }
  const Json& pair = document["near_duplicates"]["nearest"][0];
  EXPECT_EQ(pair["row"].get<int>() + pair["matched"].get<int>(), 147);  // the twins
  EXPECT_NE(html_.find(fmt::format("<td class=\"number\">{:.6f}</td><td class=\"number\">{}</td>",
                                   pair["cosine"].get<double>(), pair["row"].get<int>())),
            std::string::npos);
}

}  // namespace
}  // namespace scalelab::host
