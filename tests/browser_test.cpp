// Pages in a real browser (headless Chromium): no errors, charts that are drawn, and live panels that agree with the
// labels of the ops. Built where CMake finds a Chromium; SCALELAB_BROWSER names another.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "host/data/dataset.h"
#include "host/pages/page.h"
#include "host/program/environment.h"
#include "host/studies/compare.h"
#include "host/studies/compare_figures.h"
#include "host/studies/compare_findings.h"
#include "host/studies/compare_page.h"
#include "host/studies/study.h"
#include "scalelab/buffer.h"
#include "scalelab/grid.h"

namespace scalelab::host {
namespace {

namespace fs = std::filesystem;

std::string browser() {
  if (const char* named = std::getenv("SCALELAB_BROWSER")) return named;
  std::istringstream folders(std::getenv("PATH") != nullptr ? std::getenv("PATH") : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    for (const char* name : {"chromium", "chromium-browser", "google-chrome"}) {
      if (::access((fs::path(folder) / name).c_str(), X_OK) == 0) return (fs::path(folder) / name).string();
    }
  }
  return "";
}

#define NEEDS_BROWSER() ASSERT_FALSE(browser().empty()) << "no Chromium on PATH, and SCALELAB_BROWSER is not set"

fs::path folder_of(const std::string& name) {
  const fs::path folder = fs::path(testing::TempDir()) / fmt::format("scalelab_browser_{}_{}", name, ::getpid());
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

std::string decoded(std::string_view text) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t block = 0;
  int bits = 0;
  for (const char c : text) {
    const std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) break;
    block = block << 6 | static_cast<std::uint32_t>(digit);
    if ((bits += 6) >= 8) bytes += static_cast<char>(block >> (bits -= 8) & 255);
  }
  return bytes;
}

// Opens the page, and returns what `probe`, the body of an async function with `report` to fill, left there, beside
// `problems`: errors, warnings and what the content policy refused, also when the page had put it off. Its time is virtual:
// it goes on to the next timer when there is nothing to do, so that one of 200 ms runs after those of the page, which are
// shorter, however long the machine takes.
nlohmann::json ask(const fs::path& folder, std::string page, const std::string& probe,
                   const std::string& size = "1000,900", bool webgl = true) {
  const std::size_t head = page.find("<head>") + 6;
  page.insert(head,
              "<script>window.problems = [];"
              "addEventListener('error', (e) => problems.push('error: ' + e.message));"
              "addEventListener('unhandledrejection', (e) => problems.push('rejected: ' + e.reason));"
              "addEventListener('securitypolicyviolation', (e) => problems.push('policy: ' + e.blockedURI));"
              "for (const kind of ['error', 'warn']) console[kind] = (...words) => problems.push(kind + ': ' + "
              "words.join(' '));</script>");
  page.insert(page.rfind("</body>"),
              "<script>(async () => { const report = {};\ntry {" + probe +
                  "\n} catch (e) { problems.push('probe: ' + e.message); }\nawait new Promise((done) => "
                  "setTimeout(done, 200)); report.problems = problems;"
                  "document.body.textContent = 'BEGIN' + btoa(JSON.stringify(report).replace(/[^\\x00-\\x7f]/g, '?')) "
                  "+ 'END'; })();</script>");
  const fs::path file = folder / "probe.html", out = folder / "dom.txt";
  std::ofstream(file, std::ios::binary) << page;
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666), 1);
    ::dup2(::open("/dev/null", O_WRONLY), 2);
    const std::string name = browser(), data = "--user-data-dir=" + (folder / "profile").string(),
                      window = "--window-size=" + size, url = "file://" + file.string();
    std::vector<const char*> words = {name.c_str(), "--headless",   "--hide-scrollbars",
                                      data.c_str(), window.c_str(), "--virtual-time-budget=20000",
                                      "--dump-dom"};
    if (::geteuid() == 0) words.push_back("--no-sandbox");
    if (webgl) {
      words.insert(words.end(), {"--use-angle=swiftshader", "--enable-unsafe-swiftshader"});
    } else {
      words.insert(words.end(), {"--disable-gpu", "--disable-3d-apis"});
    }
    words.insert(words.end(), {url.c_str(), nullptr});
    ::execv(name.c_str(), const_cast<char**>(words.data()));
    ::_exit(99);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  std::ifstream stream(out, std::ios::binary);
  const std::string dom((std::istreambuf_iterator<char>(stream)), {});
  const std::size_t begin = dom.find(">BEGIN"), end = dom.find("END", begin);  // the script itself has it in quotes
  if (begin == std::string::npos || end == std::string::npos) {
    ADD_FAILURE() << "the browser left no report (status " << status << ")";
    return {{"problems", {"no report"}}};
  }
  return nlohmann::json::parse(decoded(std::string_view(dom).substr(begin + 6, end - begin - 6)));
}

const std::string kCanvases = R"(
  report.charts = [...document.querySelectorAll('.chart canvas')].filter((c) => c.offsetParent !== null).map((canvas) => {
    const {width, height} = canvas, pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data;
    const colours = new Set();
    for (let i = 0; i < pixels.length; i += 4) {
      if (pixels[i + 3] > 200) colours.add(pixels[i] << 16 | pixels[i + 1] << 8 | pixels[i + 2]);
    }
    return colours.size;
  });
  report.width = document.documentElement.scrollWidth;
  report.window = innerWidth;)";

// A small comparison that has every encoding, layer norm, and a width that is no multiple of four.
struct Made {
  Comparison comparison;
  std::string page;
};
Made make_comparison(const fs::path& folder, const std::string& models, int width, int layers) {
  CompareOptions options;
  options.sizes = {100, 300};
  options.seeds = {0, 1};
  options.models = parse_models(models);
  for (Model& model : options.models) {
    model.shape.width = width;
    model.shape.hidden_layers = layers;
  }
  options.grid = 64;
  options.epochs = 12;
  options.density_points = 300;
  options.curve_to = 1000;
  const Common common{.quiet = true};
  Context context(cpu_backend(), 0, 1);
  Progress progress(true);
  Session session{common, context, progress};
  Made made{measure(options, {.out = folder / "store"}, session), {}};
  const auto figures = draw_figures(made.comparison, folder, session);
  const Study study{.command = "compare", .experiment = "compare", .result = made.comparison.sweep};
  nlohmann::json document = study_document(study, made.comparison.curves, session);
  document["command"] = compare_command(made.comparison.options);
  made.page = page_html(comparison_page(made.comparison, findings(made.comparison), document, figures));
  return made;
}

// The logit of a network in double precision, and how far fp32 may lie from it: every dot product of n terms adds
// (n + 2) u times its magnitude, and carries the errors of its inputs, whatever the order of its sums; layer norm to
// first order. Encodings are exact to a few units in the last place.
struct Bounded {
  double value, error;
};
Bounded exact_logit(const MlpShape& shape, const std::vector<float>& p, double x, double y) {
  const double u = std::ldexp(1.0, -24), r = std::hypot(x, y), theta = std::atan2(y, x);
  std::vector<Bounded> values;
  const auto feature = [&](double f) { values.push_back({f, 8 * u * (std::abs(f) + 1)}); };
  switch (shape.encoding) {
    case Encoding::none: feature(x), feature(y); break;
    case Encoding::polar: feature(2 * r - 1), feature(theta / kPi); break;
    case Encoding::polar_raw: feature(r), feature(theta); break;
    case Encoding::polar_trig: feature(2 * r - 1), feature(std::cos(theta)), feature(std::sin(theta)); break;
  }
  std::size_t at = 0;
  const auto dot = [&](std::size_t weights, double bias) {
    double sum = bias, magnitude = std::abs(bias), carried = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double w = p[weights + i];
      sum += w * values[i].value;
      magnitude += std::abs(w * values[i].value);
      carried += std::abs(w) * values[i].error;
    }
    return Bounded{sum, carried + static_cast<double>(values.size() + 2) * u * magnitude};
  };
  const auto width = static_cast<std::size_t>(shape.width);
  for (int l = 0; l < shape.hidden_layers; ++l) {
    const std::size_t fan_in = values.size(), bias = at + width * fan_in;
    std::vector<Bounded> next;
    for (std::size_t j = 0; j < width; ++j) next.push_back(dot(at + j * fan_in, p[bias + j]));
    at = bias + width;
    if (shape.layer_norm) {
      const auto n = static_cast<double>(width);
      double mean = 0, size = 0, mean_error = 0, variance = 0, tilt = 0;
      for (const Bounded& v : next) mean += v.value / n, size += std::abs(v.value) / n, mean_error += v.error / n;
      for (const Bounded& v : next) variance += (v.value - mean) * (v.value - mean) / n;
      mean_error += n * u * size;
      const double deviation = std::sqrt(variance + 1e-5);
      for (const Bounded& v : next) tilt += std::abs(v.value - mean) / deviation * (v.error + mean_error) / n;
      for (std::size_t j = 0; j < width; ++j) {
        const double unit = (next[j].value - mean) / deviation, gain = p[at + j], shift = p[at + width + j];
        next[j] = {gain * unit + shift,
                   std::abs(gain) * ((next[j].error + mean_error + std::abs(unit) * tilt) / deviation +
                                     (n + 8) * u * std::abs(unit)) +
                       4 * u * (std::abs(gain * unit) + std::abs(shift))};
      }
      at += 2 * width;
    }
    for (Bounded& v : next) v.value = std::max(0.0, v.value);
    values = std::move(next);
  }
  return dot(at, p[at + width]);
}

// Whether rounding alone can change the label at (x, y): of a network, the logit is within its bound of 0; of kNN, the
// k-th and the next neighbour are equally far within 8 u (a squared distance is exact to under 4 u).
bool undecided(const Comparison& comparison, std::size_t m, std::int64_t n, const Dataset& data, double x, double y) {
  const Model& model = comparison.options.models[m];
  if (!model.is_knn()) {
    const Bounded logit =
        exact_logit(model.shape, comparison.networks.at({comparison.options.models[m].name, n}), x, y);
    return std::abs(logit.value) <= logit.error;
  }
  std::vector<double> distances;
  for (std::int64_t i = 0; i < n; ++i) {
    const double dx = x - data.points[2 * i], dy = y - data.points[2 * i + 1];
    distances.push_back(dx * dx + dy * dy);
  }
  std::sort(distances.begin(), distances.end());
  const auto k = static_cast<std::size_t>(model.neighbours);
  return distances[k] - distances[k - 1] <= 8 * std::ldexp(1.0, -24) * distances[k];
}

struct Agreement {
  std::int64_t pixels = 0, differing = 0, unexplained = 0;
};

// Every model at every size: the panels' labels on a grid of `size` cells a side against those of the ops.
Agreement agreement(const Comparison& comparison, const nlohmann::json& labels, std::int64_t size) {
  Context context(cpu_backend(), 0, 1);
  const CompareOptions& options = comparison.options;
  const Dataset data = sample_spiral(default_mixture(), Spiral{}, options.sizes.back(), options.seeds[0]);
  const Buffer<float> points(context, data.points, {data.size(), 2});
  const Buffer<std::uint8_t> classes(context, data.labels, {data.size()});
  const Grid grid{.size = size};
  Agreement all;
  for (std::size_t m = 0; m < options.models.size(); ++m) {
    const Model& model = options.models[m];
    for (const std::int64_t n : options.sizes) {
      Buffer<std::uint8_t> map(context, {1, size, size});
      if (model.is_knn()) {
        context.backend().grid_knn_labels(points.view().rows(0, n), classes.view().rows(0, n), model.neighbours, grid,
                                          0, View<std::uint8_t>(map.view().data(), {size, size}), context);
      } else {
        const auto& parameters = comparison.networks.at({comparison.options.models[m].name, n});
        context.backend().grid_mlp_labels(
            model.shape, Buffer<float>(context, parameters, {1, static_cast<std::int64_t>(parameters.size())}), grid, 0,
            map, context);
      }
      const auto exact = map.to_host();
      const std::string live = decoded(labels.at(model.name).at(std::to_string(n)).get<std::string>());
      EXPECT_EQ(live.size(), exact.size()) << model.name;
      if (live.size() != exact.size()) return {1, 1, 1};
      for (std::size_t i = 0; i < exact.size(); ++i) {
        ++all.pixels;
        if (live[i] == static_cast<char>(exact[i])) continue;
        ++all.differing;
        const auto row = static_cast<double>(i / static_cast<std::size_t>(size)),
                   column = static_cast<double>(i % static_cast<std::size_t>(size)),
                   step = 2.0 / static_cast<double>(size);
        all.unexplained += !undecided(comparison, m, n, data, (column + 0.5) * step - 1, (row + 0.5) * step - 1);
      }
    }
  }
  return all;
}

std::string labels_probe(std::int64_t size) {
  return fmt::format(R"(
  report.webgl = scalelabLive.webgl;
  const live = JSON.parse(document.getElementById('live-data').textContent);
  report.labels = {{}};
  for (const model of live.models) {{
    report.labels[model.name] = {{}};
    for (const n of [100, 300]) {{
      report.labels[model.name][n] = btoa(String.fromCharCode(...scalelabLive.labels(model.name, n, {})));
    }}
  }})",
                     size);
}

constexpr const char* kEveryKind = "knn-1,knn-3,knn-9,mlp-xy,mlp-polar,mlp-polar-raw+extras,mlp-polar-trig+layer-norm";

TEST(Browser, LivePanelsShowTheLabelsOfTheOps) {
  NEEDS_BROWSER();
  const fs::path folder = folder_of("live");
  const Made made = make_comparison(folder, kEveryKind, 100, 2);
  const nlohmann::json report = ask(folder, made.page, labels_probe(64) + kCanvases + R"(
  await scalelabLive.settled();
  report.panels = [...document.querySelectorAll('#live-panels canvas')].map((canvas) => {
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data, colours = new Set();
    for (let i = 0; i < pixels.length; i += 4) colours.add(pixels[i] << 16 | pixels[i + 1] << 8 | pixels[i + 2]);
    return colours.size;
  });
  report.captions = [...document.querySelectorAll('#live-panels figcaption')].map((c) => c.textContent);)");
  EXPECT_EQ(report.at("problems"), nlohmann::json::array());
  ASSERT_TRUE(report.value("webgl", false)) << "this Chromium has no WebGL2, not even in software";
  const Agreement found = agreement(made.comparison, report.at("labels"), 64);
  fmt::print("{} of {} pixels differ ({:.4f} %), {} of them by more than rounding\n", found.differing, found.pixels,
             100.0 * static_cast<double>(found.differing) / static_cast<double>(found.pixels), found.unexplained);
  EXPECT_EQ(found.pixels, 7 * 2 * 64 * 64);
  EXPECT_EQ(found.unexplained, 0);
  EXPECT_LE(found.differing * 2000, found.pixels);
  ASSERT_EQ(report.at("panels").size(), 3U);
  for (const auto& colours : report.at("panels")) EXPECT_GE(colours.get<int>(), 2) << report.at("panels");
  EXPECT_NE(report.at("captions")[0].get<std::string>().find("of this view wrong"), std::string::npos);
  ASSERT_FALSE(report.at("charts").empty());
  for (const auto& colours : report.at("charts")) EXPECT_GE(colours.get<int>(), 20);
  fs::remove_all(folder);
}

TEST(Browser, TheLivePanelsNetworkHasTheSizeOfTheComparisons) {
  NEEDS_BROWSER();
  const fs::path folder = folder_of("size");
  const Made made = make_comparison(folder, "mlp-polar,mlp-xy+layer-norm", 64, 3);
  const nlohmann::json report = ask(folder, made.page, labels_probe(32));
  EXPECT_EQ(report.at("problems"), nlohmann::json::array());
  ASSERT_TRUE(report.value("webgl", false)) << "this Chromium has no WebGL2, not even in software";
  const Agreement found = agreement(made.comparison, report.at("labels"), 32);
  fmt::print("{} of {} pixels differ, {} of them by more than rounding\n", found.differing, found.pixels,
             found.unexplained);
  EXPECT_EQ(found.unexplained, 0);
  fs::remove_all(folder);
}

TEST(Browser, AWrongShaderIsFound) {
  NEEDS_BROWSER();
  const fs::path folder = folder_of("wrong");
  Made made = make_comparison(folder, "mlp-polar,mlp-xy+layer-norm", 6, 1);
  const std::string right = "/ deviation + item(", wrong = "/ deviation - item(";
  ASSERT_NE(made.page.find(right), std::string::npos);
  made.page.replace(made.page.find(right), right.size(), wrong);
  const nlohmann::json report = ask(folder, made.page, labels_probe(32));
  ASSERT_TRUE(report.value("webgl", false)) << "this Chromium has no WebGL2, not even in software";
  EXPECT_GT(agreement(made.comparison, report.at("labels"), 32).unexplained, 10);
  fs::remove_all(folder);
}

// The panels against the pictures of the page, the record, pixel by pixel where both show an area: `differ(i)` is the share
// of pixels at which panel i shows the other class.
const std::string kAgainstRecord = R"(
  const classAt = (pixels, i) => {  // 0 blue, 1 orange; -1: a line or a point
    const red = pixels[i], blue = pixels[i + 2];
    return Math.min(red, blue) < 190 ? -1 : blue - red > 15 ? 0 : red - blue > 8 ? 1 : -1;
  };
  const live = JSON.parse(document.getElementById('live-data').textContent);
  const canvases = [...document.querySelectorAll('#live-panels canvas')];
  const records = [live.left, live.right].map(
      ({model, n}) => document.querySelector(`img[data-model="${model}"][data-n="${n}"]`));
  // Loaded, not decoded: virtual time waits for what is loaded, and goes on while another thread decodes.
  await Promise.all(records.map((record) => record.complete || new Promise((done) => record.addEventListener('load', done))));
  await new Promise((done) => setTimeout(done));
  const differ = (i) => {
    const {width, height} = canvases[i], copy = document.createElement('canvas');
    copy.width = width; copy.height = height;
    const own = copy.getContext('2d');
    own.drawImage(records[i], 0, 0, width, height);
    const [a, b] = [own, canvases[i].getContext('2d')].map((context) => context.getImageData(0, 0, width, height).data);
    let unlike = 0, both = 0;
    for (let p = 0; p < a.length; p += 4) {
      const [x, y] = [classAt(a, p), classAt(b, p)];
      if (x < 0 || y < 0) continue;
      ++both;
      if (x !== y) ++unlike;
    }
    return {share: unlike / (width * height), seen: both / (width * height)};
  };
)";

// A device so slow that each look at the clock costs 50 ms, as software that draws on a loaded machine.
std::string slowed(std::string page) {
  page.insert(page.find("<head>") + 6, "<script>let looks = 0; performance.now = () => 50 * ++looks;</script>");
  return page;
}

TEST(Browser, OnSlowSoftwareThePanelsShowTheRecordAtOnceAndInTheEndEveryPixel) {
  NEEDS_BROWSER();
  const fs::path folder = folder_of("slow");
  const Made made = make_comparison(folder, "knn-1,mlp-polar", 8, 1);
  const nlohmann::json report = ask(folder, slowed(made.page), kAgainstRecord + R"(
  report.first = [differ(0), differ(1)];
  const captions = [...document.querySelectorAll('#live-panels figcaption')], told = new Set();
  let done = false;
  scalelabLive.settled().then(() => { done = true; });
  while (!done) {
    if (captions[0].textContent.includes('wrong')) told.add(captions[0].textContent);
    await new Promise((again) => setTimeout(again));
  }
  report.told = told.size;
  report.last = [differ(0), differ(1)];
  report.settled = captions.map((c) => c.textContent);
  // The narrowest run of one colour in the third panel: a pixel, where its cells are as small.
  const {width} = canvases[2], pixels = canvases[2].getContext('2d').getImageData(0, 0, width, width).data;
  report.narrowest = width;
  for (let row = 0; row < width; ++row) {
    for (let column = 1, begin = 0; column < width; ++column) {
      const p = 4 * (row * width + column);
      if (pixels[p] === pixels[p - 4] && pixels[p + 1] === pixels[p - 3] && pixels[p + 2] === pixels[p - 2]) continue;
      report.narrowest = Math.min(report.narrowest, column - begin);
      begin = column;
    }
  })",
                                    "1000,900", true);
  EXPECT_EQ(report.at("problems"), nlohmann::json::array());
  for (const char* when : {"first", "last"}) {
    for (const auto& panel : report.at(when)) {
      EXPECT_LT(panel.at("share").get<double>(), 0.01) << when;
      EXPECT_GT(panel.at("seen").get<double>(), 0.5) << when;
    }
  }
  EXPECT_EQ(report.at("narrowest").get<int>(), 1) << "the panels are not as fine as their pixels";
  EXPECT_LE(report.at("told").get<int>(), 1) << "a share of a coarse map";
  EXPECT_NE(report.at("settled")[0].get<std::string>().find("of this view wrong"), std::string::npos);
  EXPECT_NE(report.at("settled")[2].get<std::string>().find("both right "), std::string::npos);
  fs::remove_all(folder);
}

TEST(Browser, WithoutWebGlThePanelsShowThePicturesAndSaySo) {
  NEEDS_BROWSER();
  const fs::path folder = folder_of("pictures");
  const Made made = make_comparison(folder, "knn-1,mlp-polar", 8, 1);
  const nlohmann::json report = ask(folder, made.page, kCanvases + R"(
  report.webgl = scalelabLive.webgl;
  report.status = document.getElementById('live-status').textContent;
  const pixels = document.querySelector('#live-panels canvas').getContext('2d').getImageData(0, 0, 512, 512).data;
  const colours = new Set();
  for (let i = 0; i < pixels.length; i += 4) colours.add(pixels[i] << 16 | pixels[i + 1] << 8 | pixels[i + 2]);
  report.colours = colours.size;)" + kAgainstRecord + "report.panels = [differ(0), differ(1)];",
                                    "390,800", false);
  EXPECT_EQ(report.at("problems"), nlohmann::json::array());
  EXPECT_FALSE(report.at("webgl").get<bool>());
  EXPECT_NE(report.at("status").get<std::string>().find("no WebGL2"), std::string::npos);
  EXPECT_GE(report.at("colours").get<int>(), 4);
  for (const auto& panel : report.at("panels")) {
    EXPECT_LT(panel.at("share").get<double>(), 0.01);
    EXPECT_GT(panel.at("seen").get<double>(), 0.5);
  }
  EXPECT_LE(report.at("width").get<int>(), report.at("window").get<int>()) << "the page is wider than a phone";
  fs::remove_all(folder);
}

// Every kind of chart there is, on one page.
std::string page_of_charts() {
  Chart chart{.id = "law", .title = "A law & its <band>", .subtitle = "Error against N", .x = {}, .y = {}, .lines = {}};
  chart.x = {.title = "N", .logarithmic = true};
  chart.y = {.title = "error", .logarithmic = true, .percent = true};
  Line line{.name = "series </script>"}, control{.name = "random", .control = true};
  DrawnLaw law{.text = "error = 5 N^-0.5"};
  for (double n = 250; n <= 16000; n *= 2) {
    line.marks.push_back({.x = n, .y = 5 / std::sqrt(n), .low = 4 / std::sqrt(n), .high = 6 / std::sqrt(n)});
    line.samples.push_back({.x = n, .y = 5.5 / std::sqrt(n), .note = "seed 0"});
    control.marks.push_back({.x = n, .y = 8 / std::sqrt(n)});
    law.curve.push_back({.x = n, .y = 5 / std::sqrt(n), .low = 4.5 / std::sqrt(n), .high = 5.5 / std::sqrt(n)});
  }
  control.marks.push_back({.x = 16000, .y = 0});
  law.predicted = Mark{.x = 16000, .y = 5 / std::sqrt(16000.0), .low = .03, .high = .05};
  line.law = law;
  chart.lines = {line, control};
  Chart linear{.id = "linear", .title = "Differences", .subtitle = "", .x = {.title = "width"}, .y = {}, .lines = {}};
  linear.y = {.title = "difference", .zero_line = true};
  linear.lines = {{.name = "a", .marks = {{.x = 1, .y = -1}, {.x = 2, .y = 1}}}};
  HeatMap map{.id = "map", .title = "Map", .subtitle = "", .x_title = "width", .y_title = "order"};
  map.columns = {"4", "8"};
  map.rows = {"easy"};
  map.values = {{-1, std::nan("")}};
  map.texts = {{"-1", "-"}};
  Page page{.title = "Charts", .kicker = "test", .headline = "Charts", .lead = "All of them"};
  page.sections = {
      {.id = "charts", .title = "Charts", .html = chart_html(chart) + chart_html(linear) + heat_map_html(map)}};
  page.document = {{"schema", 1}};
  return page_html(page);
}

TEST(Browser, ChartsAreDrawn) {
  NEEDS_BROWSER();
  const fs::path folder = folder_of("charts");
  const nlohmann::json report = ask(folder, page_of_charts(), kCanvases, "390,800", false);
  EXPECT_EQ(report.at("problems"), nlohmann::json::array());
  ASSERT_EQ(report.at("charts").size(), 2U);
  for (const auto& colours : report.at("charts")) EXPECT_GE(colours.get<int>(), 20);
  EXPECT_LE(report.at("width").get<int>(), report.at("window").get<int>()) << "the page is wider than a phone";
  fs::remove_all(folder);
}

TEST(Browser, ABrokenChartAndANetworkRequestAreFound) {
  NEEDS_BROWSER();
  const fs::path folder = folder_of("broken");
  std::string page = page_of_charts();
  const std::string lines = "\"lines\":[";
  page.replace(page.find(lines), lines.size(), "\"stripes\":[");
  page.insert(page.rfind("</main>"), "<img src=\"http://127.0.0.1:9/x.png\">");
  const nlohmann::json report = ask(folder, page, kCanvases, "390,800", false);
  EXPECT_GE(report.at("problems").size(), 2U) << report.at("problems");
  fs::remove_all(folder);
}

}  // namespace
}  // namespace scalelab::host
