// The page of a comparison: live panels, pictures, findings, charts.
#include "host/studies/compare_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "embedded.h"
#include "host/data/dataset.h"
#include "host/evidence/statistics.h"
#include "host/pages/page.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/words.h"
#include "host/studies/compare_findings.h"
#include "host/studies/study.h"

namespace scalelab::host {

namespace {

// A picture as an address that holds it.
std::string picture_uri(const std::filesystem::path& file) {
  const std::string bytes = file_text(file);
  if (bytes.empty()) throw Failure(kBadData, file.string() + ": cannot be read back");
  return data_uri("image/png", bytes);
}

// "(2r - 1, theta/pi)", of kNN with the angle's weight before it.
std::string feature_words(const Model& model) {
  const std::string w = model.angle_weight == 1 ? "" : fmt::format("{} ", model.angle_weight);
  switch (model.shape.encoding) {
    case Encoding::polar: return fmt::format("(2r \u2212 1, {}\u03b8/\u03c0)", w);
    case Encoding::polar_raw: return fmt::format("(r, {}\u03b8)", w);
    case Encoding::polar_trig: return fmt::format("(2r \u2212 1, {0}cos \u03b8, {0}sin \u03b8)", w);
    default: return "(x, y)";
  }
}

std::string describe(const Model& model) {
  const std::string features = feature_words(model);
  if (model.is_knn()) {
    const std::string where = is_encoded_knn(model) ? " in " + features : "";
    if (model.neighbours == 1) return "the label of the nearest point" + where;
    return fmt::format("vote of the {} nearest points{}", model.neighbours, where);
  }
  std::string text = "network on " + features;
  std::vector<std::string> extras;
  if (model.loss.focal_gamma > 0) extras.push_back("focal loss");
  if (model.shape.layer_norm) extras.push_back("layer norm");
  if (model.weight_decay > 0) extras.push_back("weight decay");
  if (model.optimizer == Optimizer::sgd) extras.push_back("full-batch gradient descent");
  if (!extras.empty()) text += fmt::format(" with {}", fmt::join(extras, ", "));
  return text;
}

std::string gallery(const Comparison& comparison, const std::vector<Figure>& figures) {
  const CompareOptions& options = comparison.options;
  std::string html = "<div class=\"gallery\">";
  const auto picture = [&](const Figure& figure, const std::string& caption, const std::string& alt) {
    const std::string source = picture_uri(figure.file);
    return fmt::format(
        "<figure><button type=\"button\" class=\"zoom\" aria-label=\"Enlarge: {1}\"><img width=\"512\" "
        "height=\"512\" alt=\"{1}\" data-model=\"{3}\" data-n=\"{4}\" src=\"{0}\"></button><figcaption>{2}"
        "</figcaption></figure>",
        source, html_escape(alt), caption, html_escape(figure.model), figure.n);
  };
  // The truth first.
  html +=
      "<article class=\"card\"><h3>the truth</h3><p class=\"what\">a band that winds round the origin; points are "
      "drawn without regard to it</p><div class=\"pair\">";
  for (const Figure& figure : figures) {
    if (figure.model != "truth") continue;
    html += figure.n == 0
                ? picture(figure, "<b>no points</b><span>inside orange, outside blue</span>",
                          "The true labels: an orange spiral band on blue")
                : picture(figure, fmt::format("<b>n = {}</b><span>the points of this seed</span>", grouped(figure.n)),
                          fmt::format("The true labels with {} points drawn on them", grouped(figure.n)));
  }
  html += "</div></article>";
  // A card for each model, with a picture for each size that could be measured.
  for (const Model& model : options.models) {
    html += fmt::format("<article class=\"card\"><h3>{}</h3><p class=\"what\">{}</p><div class=\"pair\">",
                        html_escape(model.name), html_escape(describe(model)));
    for (const Figure& figure : figures) {
      if (figure.model != model.name) continue;
      const Measurement* measured = comparison.measurement(model.name, figure.n, options.seeds[0]);
      if (measured == nullptr || measured->failed()) continue;
      const std::string grid = percent(measured->values.at("grid_error")),
                        density = percent(measured->values.at("density_error"));
      const bool trained = measured->status == "ok";
      html += picture(figure,
                      fmt::format("<b>n = {}</b><span>{}</span>", grouped(figure.n),
                                  trained ? fmt::format("grid {}&nbsp;%<br>density {}&nbsp;%", grid, density)
                                          : fmt::format("did not train: {}", html_escape(measured->status))),
                      fmt::format("{} trained on {} points: {}", model.name, grouped(figure.n),
                                  trained ? fmt::format("{} % of the grid wrong, by density {} %", grid, density)
                                          : fmt::format("did not train ({})", measured->status)));
    }
    html += "</div></article>";
  }
  return html + "</div>";
}

// Bars on a logarithmic axis of kNN points, one per network and size: from n to its equivalent, with the interval.
std::string equivalents_html(const Comparison& comparison) {
  const auto all = equivalents(comparison);
  if (all.empty()) return "";
  const auto curve = comparison.options.curve_sizes();
  const auto first = static_cast<double>(curve.front()), last = static_cast<double>(curve.back());
  if (!(last > first)) return "";
  const auto place = [&](double points) {
    return 100 * std::log(std::clamp(points, first, last) / first) / std::log(last / first);
  };
  const auto short_number = [](double points) {
    return points >= 1000 ? fmt::format("{:g}k", points / 1000) : fmt::format("{:g}", points);
  };
  std::string html = "<div class=\"bars\">";
  for (const Equivalent& e : all) {
    if (e.units == 0) continue;
    const double from = place(static_cast<double>(e.n)), to = place(e.rows);
    const bool interval = std::isfinite(e.interval.low);
    std::string value = e.worded();
    for (const auto& [words, sign] : {std::pair{"more than ", "> "}, {"fewer than ", "< "}, {"about ", "~ "}}) {
      if (value.starts_with(words)) value = sign + value.substr(std::string_view(words).size());
    }
    html += fmt::format(
        "<div class=\"bar\" data-shown=\"{}\"><span class=\"name\">{} <small>at {}</small></span><span "
        "class=\"track\"><i class=\"fill\" style=\"left:{:.2f}%;width:{:.2f}%\"></i>",
        short_measure(e.measure), html_escape(e.model), grouped(e.n), std::min(from, to), std::abs(to - from));
    if (interval) {
      html += fmt::format("<i class=\"range\" style=\"left:{:.2f}%;width:{:.2f}%\"></i>", place(e.interval.low),
                          place(e.interval.high) - place(e.interval.low));
    }
    html += fmt::format(
        "<i class=\"own\" style=\"left:{:.2f}%\"></i><i class=\"dot{}\" style=\"left:{:.2f}%\"></i></span>"
        "<span class=\"value\">{}</span></div>",
        from, e.beyond > 0 ? " beyond" : "", to, html_escape(value));
  }
  html += "<div class=\"bar axis\" aria-hidden=\"true\"><span class=\"name\">kNN points</span><span class=\"track\">";
  std::vector<double> ticks;
  for (double n = first; n <= last * 1.001; n *= 4) ticks.push_back(n);
  for (const double n : ticks) html += fmt::format("<b style=\"left:{:.2f}%\">{}</b>", place(n), short_number(n));
  return html + "</span><span class=\"value\"></span></div></div>";
}

std::string results_table(const Comparison& comparison) {
  const CompareOptions& options = comparison.options;
  std::vector<std::string> columns = {"model"};
  for (const std::int64_t n : options.sizes) {
    for (const char* name : {"grid error, %", "density error, %", "training error, %"}) {
      columns.push_back(fmt::format("n = {}: {}", grouped(n), name));
    }
  }
  std::vector<std::vector<std::string>> rows;
  for (const Model& model : options.models) {
    auto& line = rows.emplace_back(std::vector<std::string>{model.name});
    for (const std::int64_t n : options.sizes) {
      for (const char* measure : {"grid_error", "density_error", "train_error"}) {
        line.push_back(comparison.errors(model.name, n, measure).worded());
      }
    }
  }
  return fmt::format("<p>{}</p>", download_html("CSV", "results.csv", "text/csv", csv_of(columns, rows))) +
         table_html(columns, rows, "Errors in %: " + table_caption(options));
}

std::string worlds_method(const CompareOptions& options) {
  std::string text = fmt::format(
      "Worlds: a world is a mixture, drawn from its number; world 0 is the built-in one. All but the finding over "
      "worlds is about world {}.",
      options.worlds[0]);
  if (options.worlds.size() > 1) {
    text += fmt::format(
        " In the other {} the main questions are asked once more, on one seed each: networks without extras and kNN on "
        "encodings at n = {}, kNN on (x, y) at n = {} and, where encodings are asked about, at others.",
        options.worlds.size() - 1, grouped(options.sizes.front()), grouped(options.sizes.back()));
  }
  if (options.starts > 1) {
    text += fmt::format(
        " At n = {} each network of world {} without extras has {} on each seed's points, which are averaged.",
        grouped(options.sizes.front()), options.worlds[0], counted(options.starts, "start"));
  }
  return text;
}

std::vector<std::string> methods(const Comparison& comparison) {
  const CompareOptions& options = comparison.options;
  std::vector<std::string> epochs;
  for (const std::int64_t n : options.sizes) {
    epochs.push_back(fmt::format("{} at n = {}", grouped(options.epochs_at(n)), grouped(n)));
  }
  const Model network = options.models.empty() ? Model{} : options.models.back();
  const MlpShape& shape = network.shape;
  return {
      "The problem: a band that winds four times round the origin of [-1, 1]\u00b2 (tip radius 0.92, half-width a "
      "quarter of the pitch), a cusp at its start and a sharp tip at its end. Inside is orange, outside blue. Points "
      "come from a mixture of 24 Gaussian spots, placed without regard to the band.",
      worlds_method(options),
      fmt::format(
          "Seeds: {} of them. One seed is one draw of points, one start of each network and one order of samples. "
          "All models of a seed see the same points, and a smaller set is the beginning of a larger one, so "
          "models are compared pair by pair.",
          options.seeds.size()),
      fmt::format("Label noise in training: {:g} %. Errors are always against the true labels.", 100 * options.noise),
      fmt::format(
          "Grid error: the share of the {0} \u00d7 {0} cell centres of the plane that is given the wrong colour. "
          "Density error: {1}.",
          grouped(options.grid), density_words(options.density_points)),
      fmt::format(
          "Networks: {} hidden layers of {} units, ReLU; weights and biases start uniform from \u22121/\u221afan-in "
          "to 1/\u221afan-in; Adam (0.9, 0.999) at 0.003 with cosine decay to 0, batches of 64, binary "
          "cross-entropy. Epochs: {}{}. Products between hidden layers in {}. Extras: focal loss (\u03b3 = 2), layer "
          "norm before each activation, decoupled weight decay of 0.01.",
          shape.hidden_layers, shape.width, fmt::to_string(fmt::join(epochs, ", ")),
          options.same_epochs ? "" : ", so that every network sees the same number of samples",
          kPrecisions[static_cast<std::size_t>(network.precision)]),
      "kNN: exact Euclidean neighbours; equal distances in order of index, equal votes to blue. knn-K@E measures "
      "distances in the features of an encoding, the same that a network of that encoding is given, with the angle "
      "cut at \u03c0. @E:W multiplies the features of the angle by W: how far a step of the angle counts beside one "
      "of the radius is a choice that every encoding makes. W = 1/4 was picked on world 0, so that it is the other "
      "worlds which judge it.",
      "Training error: the share of a model's own training points that it gives the wrong colour. For kNN each of them "
      "is its own nearest neighbour, so that at k = 1 it says nothing.",
      "Means stand with their 95 % interval (Student's t over seeds); ratios and data equivalents are geometric means, "
      "with the interval of their logarithms. A network that failed to train counts with the error it has.",
      kVerdictMethods,
      "The same seeds give the same numbers whatever the number of threads.",
  };
}

// --- live panels -----------------------------------------------------------------------------------------------------

// So that a page of some megabytes answers while a hand moves.
constexpr int kMostLiveNeighbours = 9;
constexpr std::int64_t kMostLivePoints = 10'000;
constexpr std::size_t kMostLiveBytes = 4 << 20;  // of networks; what is beyond is in the pictures alone

template <class T>
std::string base64_of(std::span<const T> values) {
  return base64({reinterpret_cast<const char*>(values.data()), values.size_bytes()});
}

const char* encoding_name(Encoding encoding) {
  switch (encoding) {
    case Encoding::polar: return "polar";
    case Encoding::polar_raw: return "polar-raw";
    case Encoding::polar_trig: return "polar-trig";
    default: return "xy";
  }
}

// What live.js evaluates: null when there is no model that it can.
nlohmann::json live_data(const Comparison& comparison) {
  const CompareOptions& options = comparison.options;
  std::set<std::int64_t> sizes;
  for (std::int64_t n = 250; n <= std::min(kMostLivePoints, options.sizes.back()); n *= 2) sizes.insert(n);
  for (const std::int64_t n : options.sizes) {
    if (n <= kMostLivePoints) sizes.insert(n);
  }
  auto models = nlohmann::json::array();
  std::size_t bytes = 0;
  for (const Model& model : options.models) {
    if (is_encoded_knn(model)) continue;  // in the pictures alone
    if (model.is_knn()) {
      if (model.neighbours > kMostLiveNeighbours || sizes.empty() || *sizes.rbegin() < model.neighbours) continue;
      models.push_back({{"name", model.name}, {"k", model.neighbours}});
      continue;
    }
    nlohmann::json networks = nlohmann::json::object();
    for (const std::int64_t n : options.sizes) {
      const auto found = comparison.networks.find({model.name, n});
      if (found == comparison.networks.end()) continue;
      const std::vector<float>& parameters = found->second;
      bytes += parameters.size() * sizeof(float);
      const bool finite = std::all_of(parameters.begin(), parameters.end(), [](float p) { return std::isfinite(p); });
      if (bytes <= kMostLiveBytes && finite) networks[std::to_string(n)] = base64_of(std::span(parameters));
    }
    if (networks.empty()) continue;
    models.push_back({{"name", model.name},
                      {"encoding", encoding_name(model.shape.encoding)},
                      {"width", model.shape.width},
                      {"layers", model.shape.hidden_layers},
                      {"layer_norm", model.shape.layer_norm},
                      {"networks", networks}});
  }
  if (models.empty()) return nullptr;
  const std::int64_t n = sizes.empty() ? 1 : *sizes.rbegin();
  const Dataset data = sample_spiral(mixture_of_world(options.worlds[0]), Spiral{}, n, options.seeds[0], options.noise);
  // The article's question: a network with the right idea on little data against nearest neighbours on more.
  std::string left = models.front().at("name"), right = models.back().at("name");
  for (const auto& model : models) {
    const std::string name = model.at("name");
    if (name == "mlp-polar") left = name;
    if (name == "knn-5") right = name;
  }
  const Spiral spiral;
  return {{"points", base64_of(std::span(data.points))},
          {"labels", base64_of(std::span(data.labels))},
          {"sizes", sizes},
          {"seed", options.seeds[0]},
          {"spiral", {{"turns", spiral.turns}, {"tip_radius", spiral.tip_radius}, {"start_angle", spiral.start_angle}}},
          {"models", models},
          {"left", {{"model", left}, {"n", options.sizes.front()}}},
          {"right", {{"model", right}, {"n", options.sizes.back()}}}};
}

std::string live_panels() {
  const auto panel = [](const std::string& side, const std::string& name, const std::string& chooser) {
    return fmt::format(
        "<figure data-side=\"{}\"><div class=\"chooser\">{}</div><div class=\"stage\"><canvas width=\"400\" "
        "height=\"400\" tabindex=\"0\" role=\"img\" aria-label=\"{}\"></canvas><i hidden></i></div><figcaption>"
        "</figcaption></figure>",
        side, chooser, name);
  };
  const auto chooser = [](const std::string& side) {
    return fmt::format(
        "<label>{0} model<select></select></label><label>n = <output></output><input type=\"range\" min=\"0\" "
        "max=\"0\" step=\"1\" aria-label=\"{0}: training points\"></label>",
        side);
  };
  return "<noscript><p class=\"unavailable\">The live panels need JavaScript; the pictures below are the record."
         "</p></noscript><div class=\"live\" id=\"live-panels\" hidden>" +
         panel("left", "Left model", chooser("Left")) + panel("right", "Right model", chooser("Right")) +
         panel("difference", "Where the two differ, and which of them is right",
               "<span>Where the two differ, and which of them is right</span>") +
         "</div><div class=\"tools\"><span class=\"buttons\"><button type=\"button\" id=\"live-in\" "
         "aria-label=\"Zoom in\">+</button><button type=\"button\" id=\"live-out\" aria-label=\"Zoom out\">\u2212"
         "</button><button type=\"button\" id=\"live-reset\">whole</button></span><label><input type=\"checkbox\" "
         "id=\"live-points\"> training points</label><label><input type=\"checkbox\" id=\"live-confidence\"> shade by "
         "confidence</label><span>Drag, double-click or pinch; wheel once a panel is chosen; keys + \u2212 0 and "
         "arrows.</span></div><p class=\"unavailable\" id=\"live-status\" role=\"status\"></p>";
}

// --- charts ----------------------------------------------------------------------------------------------------------

// The errors at one place of a line: their mean as a mark, seeds as samples.
void add_errors(Line& line, double x, const SeedErrors& errors) {
  for (const auto& [seed, error] : errors.by_unit()) {
    line.samples.push_back({.x = x, .y = error, .note = fmt::format("seed {}", seed)});
  }
  if (errors.empty()) return;
  const Summary mean = errors.summary();
  line.marks.push_back({.x = x, .y = mean.mean, .low = mean.interval.low, .high = mean.interval.high, .note = "mean"});
}

// One model's errors over n.
Line error_line(const std::string& name, const Comparison& comparison, const std::vector<std::int64_t>& sizes,
                const std::string& model, const std::string& measure) {
  Line line{.name = name};
  for (const std::int64_t n : sizes) {
    add_errors(line, static_cast<double>(n), comparison.errors(model, n, measure));
  }
  return line;
}

Chart curve_chart(const Comparison& comparison, const std::string& title, const std::string& measure) {
  const std::string shown = short_measure(measure);
  const auto sizes = comparison.options.curve_sizes();
  Chart chart{.id = "curve-" + shown,
              .title = title,
              .subtitle = fmt::format(
                  "{}{} error against the number of training points, both axes logarithmic. Small "
                  "dots are single seeds, lines and large marks means with their 95 % intervals. A "
                  "dashed line runs from a model's mark to the kNN curve: where it ends, kNN on (x, y) does as well.",
                  shown == "grid" ? "G" : "D", shown.substr(1)),
              .x = Axis{.title = "training points n", .short_name = "n", .logarithmic = true},
              .y = Axis{.title = shown + " error", .logarithmic = true, .percent = true},
              .lines = {},
              .command = compare_command(comparison.options),
              .measure = shown};
  for (const int k : kCurveNeighbours) {
    Line line = error_line(fmt::format("kNN, k = {}", k), comparison, sizes, fmt::format("knn-{}", k), measure);
    line.colour = k == 1 ? "blue" : "blue-soft";
    line.dashed = k != 1;
    chart.lines.push_back(std::move(line));
  }
  chart.x.ticks.assign(sizes.begin(), sizes.end());
  const auto all = equivalents(comparison);
  for (const Model& model : comparison.options.models) {
    if (model.is_knn() && !is_encoded_knn(model)) continue;
    Line line = error_line(model.name, comparison, comparison.options.sizes, model.name, measure);
    line.colour = model.is_knn() ? "blue" : "orange";
    line.joined = false;
    line.hollow = model.name.find('+') != std::string::npos;
    // Blue is kNN, orange a network; the shape of a mark is the encoding, and a hollow one has extras.
    switch (model.shape.encoding) {
      case Encoding::polar: line.shape = "triangle"; break;
      case Encoding::polar_raw: line.shape = "rectRot"; break;
      case Encoding::polar_trig: line.shape = "circle"; break;
      case Encoding::none: line.shape = "rect"; break;
    }
    // From a mark to the kNN curve: as many points as kNN needs for that error.
    std::vector<Line> bridges;
    for (const Equivalent& e : all) {
      if (e.model != model.name || e.measure != measure || e.units == 0 || !std::isfinite(e.rows)) continue;
      for (const Mark& mark : line.marks) {
        if (mark.x != static_cast<double>(e.n) || !(mark.y > 0)) continue;  // 0 has no place on the axis
        bridges.push_back({.name = model.name,
                           .marks = {{.x = mark.x, .y = mark.y, .note = "equivalent"},
                                     {.x = e.rows, .y = mark.y, .note = "equivalent"}},
                           .colour = line.colour,
                           .dashed = true,
                           .thin = true,
                           .bare = true});
      }
    }
    chart.lines.push_back(std::move(line));
    chart.lines.insert(chart.lines.end(), bridges.begin(), bridges.end());
  }
  return chart;
}

Chart noise_chart(const Comparison& comparison, const std::string& title, const std::string& measure) {
  const CompareOptions& options = comparison.options;
  const std::string shown = short_measure(measure);
  Chart chart{.id = "noise-" + shown,
              .title = title,
              .subtitle = fmt::format("Mean {} error of kNN against k on the same points; with noise, {:g} % of the "
                                      "training labels are flipped and errors are against the true labels. Small "
                                      "dots are single seeds.",
                                      shown, 100 * options.noise_panel),
              .x = Axis{.title = "neighbours k", .short_name = "k", .zero = true},
              .y = Axis{.title = shown + " error", .percent = true, .zero = true},
              .lines = {},
              .command = compare_command(options),
              .measure = shown,
              .low = true};
  for (const int k : kPanelNeighbours) chart.x.ticks.push_back(k);
  for (const double noise : {0.0, options.noise_panel}) {
    for (std::size_t i = 0; i < options.sizes.size(); ++i) {
      const std::int64_t n = options.sizes[i];
      Line line{.name = fmt::format("n = {}, {}", grouped(n),
                                    noise > 0 ? fmt::format("{:g} % noise", 100 * noise) : "no noise")};
      line.colour = noise > 0 ? "orange" : "blue";
      line.dashed = i % 2 == 1;
      line.shape = i % 2 == 1 ? "rectRot" : "circle";
      for (const int k : kPanelNeighbours) {
        add_errors(line, static_cast<double>(k), comparison.errors(fmt::format("knn-{}", k), n, measure, noise));
      }
      chart.lines.push_back(std::move(line));
    }
  }
  return chart;
}

// The question in three pictures: the truth, a network on the smallest set, neighbours on the largest.
std::string front_pictures(const Comparison& comparison, const std::vector<Figure>& figures) {
  const CompareOptions& options = comparison.options;
  std::string html = "<div class=\"pictures\">";
  const auto named = [&](const std::string& wished, bool knn) {
    std::string name;
    for (const Model& model : options.models) {
      if (model.is_knn() == knn && !is_encoded_knn(model) && (name.empty() || model.name == wished)) name = model.name;
    }
    return name;
  };
  const std::vector<std::pair<std::string, std::int64_t>> wanted = {
      {"truth", 0}, {named("mlp-polar", false), options.sizes.front()}, {named("knn-5", true), options.sizes.back()}};
  for (const auto& [model, n] : wanted) {
    for (const Figure& figure : figures) {
      if (figure.model != model || figure.n != n) continue;
      const SeedErrors errors = comparison.errors(model, n, "grid_error");
      html += fmt::format(
          "<figure><img width=\"512\" height=\"512\" alt=\"{0}\" src=\"{1}\"><figcaption><b>{0}</b><span>{2}</span>"
          "</figcaption></figure>",
          html_escape(n == 0 ? "the truth" : fmt::format("{} on {} points", model, grouped(n))),
          picture_uri(figure.file),
          errors.empty() ? "" : html_escape(fmt::format("grid error {} %", worded(errors.summary()))));
    }
  }
  return html + "</div>";
}

const Finding* finding_named(const std::vector<Finding>& said, const std::string& id) {
  const auto found = std::find_if(said.begin(), said.end(), [&](const Finding& f) { return f.id == id; });
  return found == said.end() ? nullptr : &*found;
}

// The panels: what each network is worth, the kNN curve, the noise panel.
std::string charts_html(const Comparison& comparison, const std::vector<Finding>& said) {
  const CompareOptions& options = comparison.options;
  std::string charts;
  const Finding* worth = finding_named(said, "data-equivalent");
  const std::string bars = equivalents_html(comparison);
  if (!bars.empty()) {
    charts += fmt::format(
        "<div class=\"panel\"><h3>How many kNN points is a model worth?</h3><p class=\"what\">From the points the "
        "model saw (grey tick) to the points kNN on (x, y) needs for the same error (dot), with its 95&nbsp;% "
        "interval over seeds. An arrow head: beyond the curve.</p>{}{}</div>",
        bars,
        worth == nullptr ? ""
                         : data_behind("The data of these bars", "equivalents.csv", worth->columns, worth->table,
                                       compare_command(options)));
  }
  // The law of k = 1 for this error, and else what the axes are.
  const auto curve_title = [&](const std::string& measure) -> std::string {
    const Finding* law = finding_named(said, "law");
    if (law != nullptr) {
      for (const auto& line : law->table) {
        if (line[0] == "knn-1" && line[1] == short_measure(measure)) return "kNN, k = 1: " + line[2];
      }
    }
    return "Error against the number of training points";
  };
  const Finding* why = finding_named(said, "why-k1");
  for (const std::string measure : {"grid_error", "density_error"}) {
    if (options.curve_to > 0) {
      charts += chart_html(curve_chart(comparison, curve_title(measure), measure));
    }
    if (options.noise_panel > 0) {
      charts += chart_html(noise_chart(
          comparison, why == nullptr ? "The order of k, without label noise and with" : why->title, measure));
    }
  }
  return charts;
}

}  // namespace

Page comparison_page(const Comparison& comparison, const std::vector<Finding>& said, const nlohmann::json& document,
                     const std::vector<Figure>& figures) {
  const CompareOptions& options = comparison.options;
  std::vector<std::string> sizes;
  for (const std::int64_t n : options.sizes) sizes.push_back(grouped(n));
  const std::string listed_sizes = fmt::to_string(fmt::join(sizes, " and "));
  Page page{.title = fmt::format("The spiral at {} points", listed_sizes),
            .kicker = "scalelab compare",
            .headline = said.empty() ? "Which model learns the spiral?" : said.front().title,
            .lead = fmt::format("{} on the same points at n = {}, {}{}. Which one predicts the colour of a closed "
                                "spiral best, and how many points is a good idea worth?",
                                counted(std::ssize(options.models), "model"), listed_sizes,
                                counted(std::ssize(options.seeds), "seed"),
                                options.noise > 0 ? fmt::format(", {:g} % label noise", 100 * options.noise) : "")};
  // What moves comes first, where there is a model that a browser can evaluate.
  const nlohmann::json live = live_data(comparison);
  if (!live.is_null()) {
    page.sections.push_back(
        {.id = "live",
         .title = "Two models, place by place",
         .note = fmt::format("Not pictures: the networks and points of seed {} are in this page and are evaluated at "
                             "every pixel as you move. The pictures further down are the record.",
                             options.seeds[0]),
         .html = live_panels()});
    page.scripts = "<script type=\"application/json\" id=\"live-data\">" + script_json(live) + "</script>\n" +
                   script_html(embedded::live_js);
  }
  // The record: pictures, findings, charts, and the table.
  page.sections.push_back(
      {.id = "pictures",
       .title = "What each model makes of the same points",
       .note = fmt::format("Areas are what the model predicts, the black line is where it changes its mind, dots are "
                           "its training points (seed {}; the errors are of the model in the picture, means over seeds "
                           "stand in the table). Choose a picture to enlarge it.",
                           options.seeds[0]),
       .html = gallery(comparison, figures)});
  page.sections.push_back(
      {.id = "findings",
       .title = "Findings",
       .note = "Every sentence is worded from the numbers of this run. Models are compared on the same points, seed by "
               "seed; a difference that the seeds do not establish is called undecided.",
       .html = findings_html(said)});
  const std::string charts = charts_html(comparison, said);
  if (!charts.empty()) {
    page.sections.push_back({.id = "charts",
                             .title = "Error against data",
                             .note = "Grid error counts every place alike; density error counts places as often as "
                                     "data come from there.",
                             .html = "<div class=\"panels\">" + charts + "</div>"});
  }
  page.sections.push_back(
      {.id = "table", .title = "Every model, every size, every error", .html = results_table(comparison)});
  page.methods = methods(comparison);
  page.command = document.at("command");
  page.document = document;
  page.picture = front_pictures(comparison, figures);
  return page;
}

Page comparison_page_from(const nlohmann::json& document, const std::filesystem::path& folder) {
  std::vector<Figure> figures;
  for (const auto& entry : document.value("figures", nlohmann::json::array())) {
    figures.push_back({folder / entry.at("file").get<std::string>(), entry.at("model"), entry.at("n")});
  }
  return comparison_page(comparison_from(document, folder), findings_from(document), document, figures);
}

}  // namespace scalelab::host
