// Pages and their pieces: escaping, encodings, the template, charts and maps as data, pictures, the pages of results.
#include "host/pages/page.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <regex>

#include "host/lab/trial.h"
#include "host/pages/picture.h"
#include "host/program/command.h"
#include "host/program/options.h"
#include "host/studies/sweep_study.h"
#include "host/studies/theory.h"
#include "host/studies/xor_study.h"

namespace scalelab::host {

Command add_theory(CLI::App& program);
Command add_xor(CLI::App& program);
namespace {

TEST(Report, TextIsEscaped) {
  EXPECT_EQ(html_escape("<b a=\"1\" c='2'>x & y</b>"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;x &amp; y&lt;/b&gt;");
  EXPECT_EQ(html_escape("\u03b8 \u00b1"), "\u03b8 \u00b1");
  // A line does not end between a number and its %.
  EXPECT_EQ(html_escape("hard, 50 % of 2 sets, error in %"), "hard, 50&nbsp;% of 2 sets, error in %");
}

TEST(Report, JsonCannotLeaveItsScript) {
  const nlohmann::json value = {{"</script><script>alert(1)</script>", "<!-- & -->"}, {"x", "caf\u00e9 \u2028"}};
  const std::string text = script_json(value);
  EXPECT_EQ(text.find_first_of("<>&"), std::string::npos) << text;
  EXPECT_EQ(nlohmann::json::parse(text), value);
  EXPECT_NO_THROW(script_json({{"bad", "\xff\xfe"}}));
}

TEST(Report, Base64HasThePublishedVectors) {  // RFC 4648, section 10
  const std::vector<std::pair<std::string, std::string>> vectors = {{"", ""},
                                                                    {"f", "Zg=="},
                                                                    {"fo", "Zm8="},
                                                                    {"foo", "Zm9v"},
                                                                    {"foob", "Zm9vYg=="},
                                                                    {"fooba", "Zm9vYmE="},
                                                                    {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, coded] : vectors) EXPECT_EQ(base64(plain), coded);
  EXPECT_EQ(base64(std::string("\xff\xfe\x00", 3)), "//4A");
}

TEST(Report, CsvQuotesWhatNeedsIt) {
  EXPECT_EQ(csv_of({"a", "b,c"}, {{"1,000", "say \"x\""}, {"two\nlines", "plain"}}),
            "a,\"b,c\"\n\"1,000\",\"say \"\"x\"\"\"\n\"two\nlines\",plain\n");
}

TEST(Report, TheTemplateIsFilledOnceAndWhole) {
  EXPECT_EQ(fill_template("a {{x}} b {{y}} {{x}}", {{"x", "{{y}}"}, {"y", "2"}}), "a {{y}} b 2 {{y}}");
  EXPECT_THROW(fill_template("{{x}}", {}), std::logic_error);
  EXPECT_THROW(fill_template("plain", {{"x", "1"}}), std::logic_error);
  EXPECT_THROW(fill_template("{{x", {{"x", "1"}}), std::logic_error);
}

// Nothing is fetched: no address of another machine or file in an attribute, a style sheet or a script.
void expect_no_network(const std::string& page) {
  EXPECT_FALSE(std::regex_search(page, std::regex(R"re((src|href|srcset|action)\s*=\s*["']?\s*(https?:|//|file:))re")));
  EXPECT_EQ(page.find("@import"), std::string::npos);
  EXPECT_EQ(page.find("url(http"), std::string::npos);
  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
  EXPECT_NE(page.find("</html>"), std::string::npos);
}

Chart small_chart() {
  Chart chart{.id = "c", .title = "<b>title</b>", .subtitle = "what & how", .x = {}, .y = {}, .lines = {}};
  chart.x = {.title = "N", .logarithmic = true};
  chart.y = {.title = "error", .logarithmic = true, .percent = true};
  chart.command = "scalelab x --out 'a b'";
  Line line{.name = "</script>",
            .marks = {{.x = 10, .y = 0.5, .low = 0.4, .high = 0.6, .note = "mean"}, {.x = 20, .y = 0}}};
  line.samples = {{.x = 10, .y = 0.55, .note = "seed 3"}};
  line.law = DrawnLaw{
      .text = "N^-1", .curve = {{.x = 10, .y = .5}}, .predicted = Mark{.x = 20, .y = .25, .low = .2, .high = .3}};
  chart.lines = {line, Line{.name = "random", .marks = {{.x = 10, .y = 0.7}}, .control = true},
                 Line{.name = "other", .marks = {{.x = 10, .y = 0.6}}}};
  return chart;
}

TEST(Page, AChartIsDescribedInDataAndHasATableACsvAndACommand) {
  const std::string html = chart_html(small_chart());
  const std::string open = "class=\"description\">";
  const std::size_t begin = html.find(open) + open.size();
  const auto description = nlohmann::json::parse(html.substr(begin, html.find("</script>", begin) - begin));
  ASSERT_EQ(description.at("lines").size(), 3U);
  const auto& line = description.at("lines")[0];
  EXPECT_EQ(line.at("name"), "</script>");
  EXPECT_EQ(line.at("colour"), "c0");
  EXPECT_EQ(line.at("marks"), nlohmann::json::parse(R"([[10, 0.5, 0.4, 0.6, "mean"]])"));  // 0 fits no logarithmic axis
  EXPECT_EQ(line.at("law").at("held"), nlohmann::json::parse("[20, 0.25, 0.2, 0.3]"));
  EXPECT_EQ(description.at("lines")[1].at("colour"), "control");
  EXPECT_EQ(description.at("lines")[2].at("colour"), "c1");
  EXPECT_EQ(html.find("<b>title"), std::string::npos);
  EXPECT_NE(html.find("&lt;b&gt;title&lt;/b&gt;"), std::string::npos);
  EXPECT_NE(html.find("1 point at or below 0"), std::string::npos);
  EXPECT_NE(html.find("<pre>scalelab x --out &#39;a b&#39;</pre>"), std::string::npos);
  const std::string csv =
      "series,what,N,\"error, %\",\"low, %\",\"high, %\"\n</script>,mean,10,50,40,60\n</script>,drawn,20,0,,\n"
      "</script>,law,10,50,,\n</script>,predicted,20,25,20,30\n</script>,seed 3,10,55,,\nrandom,drawn,10,70,,\n"
      "other,drawn,10,60,,\n";
  EXPECT_NE(html.find(base64(csv)), std::string::npos);
}

TEST(Page, TablesAndResultsOfManyRowsAreCutAndSaySo) {
  const auto cells = [](std::size_t n) {
    std::vector<std::vector<std::string>> rows;
    for (std::size_t i = 0; i < n; ++i) rows.push_back({"row" + std::to_string(i) + "."});
    return rows;
  };
  EXPECT_EQ(table_html({"a"}, cells(kMostTableRows), "c").find("more row"), std::string::npos);
  const std::string cut = table_html({"a"}, cells(kMostTableRows + 2), "c", "x.csv");
  EXPECT_NE(cut.find("\u2026 and 2 more rows in x.csv"), std::string::npos);
  EXPECT_NE(cut.find("row499."), std::string::npos);
  EXPECT_EQ(cut.find("row500."), std::string::npos);
  EXPECT_NE(data_behind("s", "x.csv", {"a"}, cells(3)).find(">CSV<"), std::string::npos);
  EXPECT_NE(data_behind("s", "x.csv", {"a"}, cells(kMostRowsOnPage + 1)).find(">CSV of the first 2,000 rows<"),
            std::string::npos);
  const auto page_of = [](std::size_t n) {
    Page page{.title = "t", .headline = "h"};
    page.document = {{"rows", nlohmann::json::array()}};
    for (std::size_t i = 0; i < n; ++i) page.document["rows"].push_back({{"id", "id" + std::to_string(i) + "."}});
    return page_html(page);
  };
  EXPECT_EQ(page_of(kMostRowsOnPage).find("rows_left_out"), std::string::npos);
  const std::string html = page_of(kMostRowsOnPage + 3);
  EXPECT_NE(html.find("\"rows_left_out\":3"), std::string::npos);
  EXPECT_NE(html.find("without 3 of its rows"), std::string::npos);
  EXPECT_NE(html.find("id1999."), std::string::npos);
  EXPECT_EQ(html.find("id2000."), std::string::npos);
}

TEST(Page, WhatIsSaidOfEachSeriesAndSeedIsCutWithTheRows) {
  const auto page_of = [](std::size_t n) {
    Page page{.title = "t", .headline = "h"};
    page.document = {{"rows", nlohmann::json::array()}, {"summary", nlohmann::json::array()}};
    for (std::size_t i = 0; i < n; ++i) page.document["rows"].push_back({{"id", i}});
    for (std::size_t i = 0; i <= kMostTableRows; ++i) {
      page.document["summary"].push_back({{"name", "series" + std::to_string(i) + "."},
                                          {"error", {{"mean", 0.5}, {"values", {0.25}}, {"seeds", {7}}}}});
    }
    return page_html(page);
  };
  const std::string whole = page_of(kMostRowsOnPage), cut = page_of(kMostRowsOnPage + 1);
  EXPECT_NE(whole.find("series500."), std::string::npos);
  EXPECT_NE(whole.find("\"values\":[0.25]"), std::string::npos);
  EXPECT_NE(cut.find("series499."), std::string::npos);
  EXPECT_EQ(cut.find("series500."), std::string::npos);
  EXPECT_EQ(cut.find("\"values\""), std::string::npos);
  EXPECT_EQ(cut.find("\"seeds\""), std::string::npos);
}

TEST(Page, AMapIsColouredAboutItsCentre) {
  HeatMap map{.id = "m", .title = "t", .subtitle = "s", .x_title = "x", .y_title = "y"};
  map.columns = {"1", "2", "3"};
  map.rows = {"<row>"};
  map.values = {{-2, 0, std::nan("")}};
  map.texts = {{"low", "mid", "none"}};
  map.centre = 0.0;
  const std::string html = heat_map_html(map);
  EXPECT_NE(html.find("background:#3284d0\">low"), std::string::npos) << html;
  EXPECT_NE(html.find("background:#f5f5f4\">mid"), std::string::npos) << html;
  EXPECT_NE(html.find("class=\"none\">none"), std::string::npos);
  EXPECT_NE(html.find("&lt;row&gt;"), std::string::npos);
  map.values = {{1, 2}};
  EXPECT_THROW(heat_map_html(map), std::invalid_argument);
}

// The data behind a map of differences say which of them are undecided, as its cells do.
TEST(Page, TheDataBehindAMapHaveItsVerdicts) {
  HeatCells cells;
  cells.add_difference("a", 1000, 0.01, {0.005, 0.015}, "higher");
  cells.add_difference("a", 2000, -0.002, {-0.01, 0.006}, "undecided");
  cells.add_difference("b", 1000, {{"mean", 0.0}, {"low", -0.001}, {"high", 0.001}, {"verdict", "same"}});
  const auto words = [](double n) { return n == 1000 ? "1,000" : "2,000"; };
  const std::string html = heat_map_html(cells.fill(difference_map({.id = "m", .y_title = "choice"}), words));
  EXPECT_NE(html.find(">(-0.20)</td>"), std::string::npos) << html;
  const std::string csv =
      "\"choice, cells in points\",1000,1000: 95 % interval,1000: verdict,2000,2000: 95 % interval,2000: verdict\n"
      "a,+1.00,+0.50 to +1.50,higher,-0.20,-1.00 to +0.60,undecided\nb,+0.00,-0.10 to +0.10,same,,,\n";
  EXPECT_NE(html.find(base64(csv)), std::string::npos) << html;
}

TEST(Page, IsOneFileThatFetchesNothing) {
  Page page{.title = "<t>", .kicker = "k", .headline = "a < b", .lead = "l & m"};
  page.sections = {{.id = "one", .title = "One", .note = "<note>", .html = chart_html(small_chart())}};
  page.command = "scalelab <x>";
  page.document = {{"environment", {{"cpu", "</script><b>"}}}};
  const std::string html = page_html(page);
  expect_no_network(html);
  for (const char* text : {"<title>&lt;t&gt;</title>", "a &lt; b", "l &amp; m", "&lt;note&gt;", "scalelab &lt;x&gt;"}) {
    EXPECT_NE(html.find(text), std::string::npos) << text;
  }
  EXPECT_EQ(html.find("</script><b>"), std::string::npos);
  EXPECT_EQ(html.find("data-choose=\"density\""), std::string::npos);  // nothing to switch between
  page.sections[0].html = "<div data-shown=\"density\"></div>";
  EXPECT_NE(page_html(page).find("data-choose=\"density\""), std::string::npos);
}

// The page of a sweep, its errors by trial.
Page swept_page(const std::string& title, const std::vector<Trial>& trials,
                const std::function<double(const Trial&)>& error) {
  nlohmann::json document = {{"planned", trials.size()}, {"rows", nlohmann::json::array()}};
  document["environment"]["command"] = {"/usr/bin/scalelab", "sweep", "a b.json"};
  std::vector<SweepRow> rows;
  for (const Trial& trial : trials) {
    rows.push_back({trial, {"ok", {{"density_error", error(trial)}}, 0.1}});
    document["rows"].push_back({{"params", to_json(trial)}});
  }
  const Curves curves = curves_of(rows, 0);
  return sweep_page(title, sweep_findings(curves), curves, rows, document);
}

TEST(Story, ASweepOverSizesHasALawThatWasHeldToTheLargest) {
  std::vector<Trial> trials;
  for (std::int64_t n = 250; n <= 16000; n *= 2) {
    for (const char* model : {"knn-1", "mlp-polar"}) {
      for (std::uint64_t seed = 0; seed < 4; ++seed) {
        Trial trial;
        trial.n = n;
        trial.seed = seed;
        trial.model = model;
        trial.epochs = static_cast<int>(1000000 / n);
        trials.push_back(resolved(std::move(trial)));
      }
    }
  }
  const Page page = swept_page("A sweep", trials, [](const Trial& t) {
    const double wobble = 1 + 0.01 * (static_cast<double>(t.seed) - 1.5);
    return (t.is_knn() ? 3 * std::pow(t.n, -0.5) : 9 * std::pow(t.n, -0.8)) * wobble;
  });
  EXPECT_EQ(page.headline, "Along n, density error: knn-1 falls as n^-0.50 and mlp-polar falls as n^-0.80");
  EXPECT_EQ(page.command, "scalelab sweep 'a b.json'");
  const std::string html = page_html(page);
  expect_no_network(html);
  EXPECT_NE(html.find("\"held\":[16000.0,"), std::string::npos);
  EXPECT_NE(html.find("At n 16,000 the lowest density error is that of mlp-polar: 0.39 [0.38, 0.40] %"),
            std::string::npos);
}

TEST(Story, ASweepOverWidthsAndOrdersHasAMapAgainstItsControl) {
  std::vector<Trial> trials;
  for (const int width : {4, 16, 64}) {
    for (const char* order : {"random", "curriculum", "anti"}) {
      for (std::uint64_t seed = 0; seed < 4; ++seed) {
        Trial trial;
        trial.width = width;
        trial.order = order;
        trial.score = trial.order == "random" ? "none" : "margin";
        trial.seed = seed;
        trials.push_back(resolved(std::move(trial)));
      }
    }
  }
  const Page page = swept_page("Orders", trials, [](const Trial& t) {
    const double wobble = 0.001 * static_cast<double>(t.seed * t.seed % 5);
    return 0.1 + wobble + (t.order == "curriculum" && t.width == 4 ? 0.05 + wobble : 0) -
           (t.order == "anti" && t.width == 64 ? 0.02 + wobble : 0);
  });
  EXPECT_EQ(page.headline,
            "Against a random order the density error is lower at 1 of 6 places, higher at 1, the same at 4 and "
            "undecided at 0");
  const std::string html = page_html(page);
  EXPECT_NE(html.find("\"colour\":\"control\""), std::string::npos);
  EXPECT_NE(html.find("id=\"map-density\""), std::string::npos);
  EXPECT_NE(html.find("lowest of those that are lower: anti has 8.00 [8.00, 8.00] % at width 64, random has 10.2 "
                      "[9.90, 10.6] %"),
            std::string::npos);
  // 5 points and the mean of the wobble, (0 + 1 + 4 + 4) / 4 tenths of a point.
  EXPECT_NE(html.find("\">+5.2"), std::string::npos);
  EXPECT_NE(html.find(">same within 0.5</td>"), std::string::npos);
}

// An error of 0 was measured, and is no dash.
TEST(Story, AMapShowsAnErrorOfZero) {
  std::vector<Trial> trials;
  for (const int width : {4, 16, 64}) {
    for (const int layers : {1, 2}) {
      for (std::uint64_t seed = 0; seed < 3; ++seed) {
        Trial trial;
        trial.width = width;
        trial.hidden_layers = layers;
        trial.seed = seed;
        trials.push_back(resolved(std::move(trial)));
      }
    }
  }
  const std::string html = page_html(
      swept_page("Widths", trials, [](const Trial& t) { return t.width == 64 ? 0 : 0.4 / t.width / t.hidden_layers; }));
  const std::string map = html.substr(html.find("id=\"map-density\""));
  const std::string cells = map.substr(0, map.find("</table>"));
  EXPECT_NE(cells.find("\">0.00</td>"), std::string::npos) << cells;
  EXPECT_EQ(cells.find("class=\"none\""), std::string::npos) << cells;
}

// Runs a command of the program in this process.
Outcome run_command(Command (*add)(CLI::App&), const std::string& line) {
  CLI::App program;
  const Command command = add(program);
  program.parse(line, false);
  const Common common{.quiet = true};
  Context context(cpu_backend(), 0, 1);
  Progress progress(true);
  Session session{common, context, progress};
  return command.run(session);
}

std::string text_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

TEST(Story, TheoryAndXorHaveTheirPages) {
  const Page theory = theory_page(
      run_command(add_theory, "theory --alpha 1,10 --fractions 1,0.5 --draws 2 --simulate-to 1 --dimension 20")
          .document);
  const Page of_xor = xor_page(
      run_command(add_xor, "xor --seeds 0..3 --dimension 10 --time 1 --test-examples 50 --widths 2,4").document);
  for (const Page& page : {theory, of_xor}) {
    const std::string html = page_html(page);
    expect_no_network(html);
    EXPECT_NE(html.find("<h1>" + html_escape(page.headline) + "</h1>"), std::string::npos);
    EXPECT_NE(html.find("\"colour\":\"control\""), std::string::npos);
  }
  EXPECT_EQ(
      theory.headline,
      "Keeping the hardest examples beats a random choice of the same size only from 2.91 (50 %) examples per dimension "
      "on; keeping the easiest at every size");
  EXPECT_NE(page_html(theory).find("\"name\":\"hard 50 %\""), std::string::npos);
}

TEST(Story, APageLeavesItsSummaryBesideIt) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / ("scalelab_page_test_" + std::to_string(::getpid()));
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  Page page{.title = "t", .kicker = "k", .headline = "a < b", .lead = "l"};
  page.sections = {
      {.id = "one", .title = "One", .html = "<p></p>" + chart_html(small_chart()) + chart_html(small_chart())}};
  write_page(folder, page);
  EXPECT_EQ(text_of(folder / "report.html"), page_html(page));
  const auto summary = nlohmann::json::parse(text_of(folder / "summary.json"));
  EXPECT_EQ(summary.at("headline"), "a < b");
  EXPECT_EQ(summary.at("picture"), chart_html(small_chart()));
  std::filesystem::remove_all(folder);
}

TEST(Figure, AMapStandsUprightWithItsBoundaryBlackAndItsPointsOnTop) {
  // 8 x 8 cells, upper half (larger y) orange; one blue point in the orange half, one orange in the blue half.
  std::vector<std::uint8_t> labels(64, 0);
  std::fill(labels.begin() + 32, labels.end(), 1);
  const Image plain = draw_map(labels, 4, {}, {});
  ASSERT_EQ(plain.width, 4);
  ASSERT_EQ(plain.height, 4);
  for (int column = 0; column < 4; ++column) {
    EXPECT_EQ(plain.at(0, column), kOrangeArea);
    EXPECT_EQ(plain.at(3, column), kBlueArea);
    // The cells either side of y = 0 are black: half of each pixel there.
    EXPECT_EQ(plain.at(1, column)[0], (kOrangeArea[0] + 1) / 2);
    EXPECT_EQ(plain.at(2, column)[0], (kBlueArea[0] + 1) / 2);
  }
  std::vector<std::uint8_t> large(1024 * 1024, 0);
  const std::vector<float> points = {-0.5F, 0.5F, 0.5F, -0.5F};
  const Image dotted = draw_map(large, 512, points, std::vector<std::uint8_t>{1, 0});
  EXPECT_EQ(dotted.at(128, 128), kOrange);  // x = -0.5 is left, y = 0.5 is up
  EXPECT_EQ(dotted.at(384, 384), kBlue);
  EXPECT_EQ(dotted.at(128, 384), kBlueArea);
  EXPECT_EQ(dotted.at(384, 128), kBlueArea);
}

TEST(Figure, PointsAtTheRimStayInThePicture) {
  const std::vector<std::uint8_t> labels(1024 * 1024, 0);
  const std::vector<float> corners = {-1.F, -1.F, 1.F, 1.F, -1.F, 1.F, 1.F, -1.F};
  const Image image = draw_map(labels, 512, corners, std::vector<std::uint8_t>{1, 1, 1, 1});
  EXPECT_EQ(image.at(0, 0), kOrange);
  EXPECT_EQ(image.at(511, 511), kOrange);
}

TEST(Figure, EveryLetterOfANameIsDrawn) {
  for (const char letter : std::string("abcdefghiklmnoprstuvwxyz0123456789+-.,%=N")) {
    if (letter == 'z') continue;  // in no model's name
    Image image(20, 10, {255, 255, 255});
    EXPECT_EQ(draw_text(image, 1, 1, std::string(1, letter), 1, {0, 0, 0}), 6);
    const auto ink = std::count(image.pixels.begin(), image.pixels.end(), Rgb{0, 0, 0});
    EXPECT_GE(ink, 3) << letter;
  }
}

}  // namespace
}  // namespace scalelab::host
