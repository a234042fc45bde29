#include "host/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>

#include "embedded.h"
#include "host/error.h"

namespace scalelab::host {

std::string html_escape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      case '\'': escaped += "&#39;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

std::string script_json(const nlohmann::json& value) {
  // These characters stand in JSON only inside strings, where \u escapes mean the same.
  std::string text;
  for (const char c : value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace)) {
    switch (c) {
      case '<': text += "\\u003c"; break;
      case '>': text += "\\u003e"; break;
      case '&': text += "\\u0026"; break;
      default: text += c;
    }
  }
  return text;
}

std::string base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t block = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      block = block << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) text += i + j <= bytes.size() ? kDigits[block >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

std::string csv_of(const std::vector<std::string>& columns, const std::vector<std::vector<std::string>>& rows) {
  std::string text;
  const auto line = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i > 0) text += ',';
      if (cells[i].find_first_of(",\"\n\r") == std::string::npos) {
        text += cells[i];
        continue;
      }
      text += '"';
      for (const char c : cells[i]) text += c == '"' ? std::string("\"\"") : std::string(1, c);
      text += '"';
    }
    text += '\n';
  };
  line(columns);
  for (const auto& row : rows) line(row);
  return text;
}

std::string fill_template(std::string_view page, const std::map<std::string, std::string>& values) {
  std::string text;
  std::set<std::string> used;
  for (std::size_t at = 0; at < page.size();) {
    const std::size_t open = std::min(page.find("{{", at), page.size());
    text += page.substr(at, open - at);
    if (open == page.size()) break;
    const std::size_t close = page.find("}}", open);
    if (close == std::string_view::npos) throw std::logic_error("report template: {{ without }}");
    const std::string name(page.substr(open + 2, close - open - 2));
    const auto value = values.find(name);
    if (value == values.end()) throw std::logic_error("report template: no value for " + name);
    text += value->second;
    used.insert(name);
    at = close + 2;
  }
  for (const auto& [name, value] : values) {
    if (!used.contains(name)) throw std::logic_error("report template: no place for " + name);
  }
  return text;
}

namespace {

std::string file_bytes(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream bytes;
  bytes << stream.rdbuf();
  if (!stream) throw Failure(kBadData, file.string() + ": cannot be read back");
  return bytes.str();
}

std::string data_uri(const std::string& type, const std::string& bytes) {
  return "data:" + type + ";base64," + base64(bytes);
}

std::string download(const std::string& label, const std::string& file, const std::string& type,
                     const std::string& bytes) {
  return fmt::format("<a class=\"download\" download=\"{}\" href=\"{}\">{}</a>", html_escape(file),
                     data_uri(type, bytes), html_escape(label));
}

bool numeric(const std::string& cell) {
  return !cell.empty() && (std::isdigit(static_cast<unsigned char>(cell[0])) != 0 || cell[0] == '-' || cell[0] == '+');
}

std::string table(const std::vector<std::string>& columns, const std::vector<std::vector<std::string>>& rows,
                  const std::string& caption) {
  std::string html = fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table><caption>{0}"
      "</caption><thead><tr>",
      html_escape(caption));
  for (const auto& column : columns) html += "<th scope=\"col\">" + html_escape(column) + "</th>";
  html += "</tr></thead><tbody>";
  for (const auto& row : rows) {
    html += "<tr>";
    for (const auto& cell : row) {
      html += fmt::format("<td{}>{}</td>", numeric(cell) ? " class=\"number\"" : "", html_escape(cell));
    }
    html += "</tr>";
  }
  return html + "</tbody></table></div>";
}

// A table behind a <details>, with its CSV.
std::string data_behind(const std::string& summary, const std::string& file, const std::vector<std::string>& columns,
                        const std::vector<std::vector<std::string>>& rows) {
  return fmt::format("<details class=\"data\"><summary>{}</summary><p>{}</p>{}</details>", html_escape(summary),
                     download("CSV", file, "text/csv", csv_of(columns, rows)), table(columns, rows, summary));
}

std::string describe(const Model& model) {
  if (model.neighbours == 1) return "the label of the nearest point";
  if (model.is_knn()) return fmt::format("vote of the {} nearest points", model.neighbours);
  std::string text;
  switch (model.shape.encoding) {
    case Encoding::none: text = "network on (x, y)"; break;
    case Encoding::polar: text = "network on (2r \u2212 1, \u03b8/\u03c0)"; break;
    case Encoding::polar_raw: text = "network on (r, \u03b8)"; break;
    case Encoding::polar_trig: text = "network on (2r \u2212 1, cos \u03b8, sin \u03b8)"; break;
  }
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
  std::string html;
  const auto picture = [&](const Figure& figure, const std::string& caption, const std::string& alt) {
    const std::string source = data_uri("image/png", file_bytes(figure.file));
    return fmt::format(
        "<figure><button type=\"button\" class=\"zoom\" aria-label=\"Enlarge: {1}\"><img width=\"512\" "
        "height=\"512\" alt=\"{1}\" src=\"{0}\"></button><figcaption>{2}</figcaption></figure>",
        source, html_escape(alt), caption);
  };
  html +=
      "<article class=\"card\"><h3>the truth</h3><p class=\"what\">a band that winds round the origin; points are "
      "drawn without regard to it</p><div class=\"pair\">";
  for (const Figure& figure : figures) {
    if (figure.model != "truth") continue;
    html += figure.n == 0
                ? picture(figure, "<b>no points</b><span>inside orange, outside blue</span>",
                          "The true labels: an orange spiral band on blue")
                : picture(figure, fmt::format("<b>N = {}</b><span>the points of this seed</span>", grouped(figure.n)),
                          fmt::format("The true labels with {} points drawn on them", grouped(figure.n)));
  }
  html += "</div></article>";
  for (const Model& model : options.models) {
    html += fmt::format("<article class=\"card\"><h3>{}</h3><p class=\"what\">{}</p><div class=\"pair\">",
                        html_escape(model.name), html_escape(describe(model)));
    for (const Figure& figure : figures) {
      if (figure.model != model.name) continue;
      const auto row = std::find_if(comparison.rows.begin(), comparison.rows.end(), [&](const Row& r) {
        return r.model == model.name && r.n == figure.n && r.seed == options.seeds[0];
      });
      const std::string grid = percent(row->grid_error), density = percent(row->density_error);
      const bool trained = row->status == "ok";
      html += picture(figure,
                      fmt::format("<b>N = {}</b><span>{}</span>", grouped(figure.n),
                                  trained ? fmt::format("grid {} %<br>density {} %", grid, density)
                                          : fmt::format("did not train: {}", html_escape(row->status))),
                      fmt::format("{} trained on {} points: {}", model.name, grouped(figure.n),
                                  trained ? fmt::format("{} % of the grid and {} % of fresh draws wrong", grid, density)
                                          : fmt::format("did not train ({})", row->status)));
    }
    html += "</div></article>";
  }
  return html;
}

std::string findings_html(const nlohmann::json& document) {
  std::string html;
  for (const auto& finding : document.at("findings")) {
    std::string points;
    for (const auto& point : finding.at("points")) points += "<li>" + html_escape(point.get<std::string>()) + "</li>";
    if (!points.empty()) points = "<ul>" + points + "</ul>";
    html += fmt::format("<article class=\"finding\" id=\"{}\"><h3>{}</h3><p>{}</p>{}{}</article>",
                        html_escape(finding.at("id").get<std::string>()),
                        html_escape(finding.at("title").get<std::string>()),
                        html_escape(finding.at("text").get<std::string>()), points,
                        data_behind("The numbers behind it", finding.at("id").get<std::string>() + ".csv",
                                    finding.at("columns"), finding.at("table")));
  }
  return html;
}

// Bars on a logarithmic axis of kNN points, one per network and size: from N to its equivalent, with the interval.
std::string equivalents_html(const Comparison& comparison) {
  const auto all = equivalents(comparison);
  if (all.empty()) return "";
  const auto first = static_cast<double>(comparison.curve.front().n),
             last = static_cast<double>(comparison.curve.back().n);
  if (!(last > first)) return "";
  const auto place = [&](double points) {
    return 100 * std::log(std::clamp(points, first, last) / first) / std::log(last / first);
  };
  const auto short_number = [](double points) {
    return points >= 1000 ? fmt::format("{:g}k", points / 1000) : fmt::format("{:g}", points);
  };
  std::string html = "<div class=\"bars\">";
  for (const Equivalent& e : all) {
    if (e.seeds == 0) continue;
    const double from = place(static_cast<double>(e.n)), to = place(e.points);
    const bool interval = std::isfinite(e.interval.low);
    std::string value = e.worded();
    for (const auto& [words, sign] : {std::pair{"more than ", "> "}, {"fewer than ", "< "}, {"about ", "~ "}}) {
      if (value.starts_with(words)) value = sign + value.substr(std::string_view(words).size());
    }
    html += fmt::format(
        "<div class=\"bar\" data-measure=\"{}\"><span class=\"name\">{} <small>at {}</small></span><span "
        "class=\"track\"><i class=\"fill\" style=\"left:{:.2f}%;width:{:.2f}%\"></i>",
        e.measure, html_escape(e.model), grouped(e.n), std::min(from, to), std::abs(to - from));
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
      columns.push_back(fmt::format("N = {}: {}", grouped(n), name));
    }
  }
  std::vector<std::vector<std::string>> rows;
  for (const Model& model : options.models) {
    std::vector<std::string> line = {model.name};
    for (const std::int64_t n : options.sizes) {
      std::vector<double> grid, density, train;
      for (const Row& row : comparison.rows) {
        if (row.model != model.name || row.n != n || row.status != "ok") continue;
        grid.push_back(row.grid_error);
        density.push_back(row.density_error);
        train.push_back(row.train_error);
      }
      for (const auto* values : {&grid, &density, &train}) {
        const Summary summary = summarize(*values);
        std::string cell = summary.n == 0 ? "did not train" : percent(summary.mean);
        if (summary.n > 1) cell += " \u00b1 " + percent(summary.sd);
        if (summary.n > 0 && summary.n < static_cast<int>(options.seeds.size())) {
          cell += fmt::format(" ({} of {} seeds)", summary.n, options.seeds.size());
        }
        line.push_back(cell);
      }
    }
    rows.push_back(std::move(line));
  }
  return fmt::format("<p>{}</p>", download("CSV", "results.csv", "text/csv", csv_of(columns, rows))) +
         table(columns, rows,
               fmt::format("Mean \u00b1 standard deviation over {} seed{}", options.seeds.size(),
                           options.seeds.size() == 1 ? "" : "s"));
}

std::string rows_behind(const std::string& summary, const std::string& file, const std::vector<Row>& rows) {
  std::vector<std::vector<std::string>> lines;
  for (const Row& row : rows) {
    lines.push_back({row.model, std::to_string(row.n), std::to_string(row.seed), fmt::format("{:g}", row.noise),
                     fmt::format("{:.6f}", row.grid_error), fmt::format("{:.6f}", row.density_error), row.status});
  }
  return data_behind(summary, file, {"model", "n", "seed", "label noise", "grid_error", "density_error", "status"},
                     lines);
}

std::string methods(const Comparison& comparison) {
  const CompareOptions& options = comparison.options;
  std::vector<std::string> epochs;
  for (const std::int64_t n : options.sizes) {
    epochs.push_back(fmt::format("{} at N = {}", grouped(options.epochs_at(n)), grouped(n)));
  }
  const MlpShape shape = options.models.empty() ? MlpShape{} : options.models.back().shape;
  std::vector<std::string> items = {
      "The problem: a band that winds four times round the origin of [-1, 1]\u00b2 (tip radius 0.92, half-width a "
      "quarter of the pitch), a cusp at its start and a sharp tip at its end. Inside is orange, outside blue. Points "
      "come from a fixed mixture of 24 Gaussian spots, placed without regard to the band.",
      fmt::format(
          "Seeds: {} of them. One seed is one draw of points, one start of each network and one order of samples. "
          "All models of a seed see the same points, and a smaller set is the beginning of a larger one, so "
          "models are compared pair by pair.",
          options.seeds.size()),
      fmt::format("Label noise in training: {:g} %. Errors are always against the true labels.", 100 * options.noise),
      fmt::format(
          "Grid error: the share of the {0} \u00d7 {0} cell centres of the plane that is given the wrong colour. "
          "Density error: the same share of {1} fresh draws from the mixture, one fixed set for all models.",
          grouped(options.grid), grouped(options.density_points)),
      fmt::format(
          "Networks: {} hidden layers of {} units, ReLU; weights and biases start uniform in \u00b11/\u221afan-in; "
          "Adam (0.9, 0.999) at 3e-3 with cosine decay to 0, batches of 64, binary cross-entropy. Epochs: {}{}. "
          "Extras: focal loss (\u03b3 = 2), layer norm before each activation, decoupled weight decay of 1e-2.",
          shape.hidden_layers, shape.width, fmt::to_string(fmt::join(epochs, ", ")),
          options.same_epochs ? "" : ", so that every network sees the same number of samples"),
      "kNN: exact Euclidean neighbours; equal distances in order of index, equal votes to blue.",
      "Verdicts: the 95 % interval (Student's t) of the paired difference over seeds leaves zero out, and there are "
      "at least three pairs; everything else is called open. No correction for the number of comparisons is made. "
      "Bootstrap intervals resample seeds 2,000 times; with few seeds they are narrow.",
      "Seconds in results.json: a network's share of the joint training, by samples times parameters, and its label "
      "map.",
      "The same seeds give the same numbers whatever the number of threads.",
  };
  std::string html = "<ul>";
  for (const auto& item : items) html += "<li>" + html_escape(item) + "</li>";
  return html + "</ul>";
}

std::string environment_html(const nlohmann::json& document) {
  std::vector<std::vector<std::string>> rows;
  const nlohmann::json environment = document.value("environment", nlohmann::json::object());
  for (const auto& [key, value] : environment.items()) {
    rows.push_back({key, value.is_string() ? value.get<std::string>() : value.is_null() ? "unknown" : value.dump()});
  }
  return rows.empty() ? "" : table({"what", "value"}, rows, "Where it was made");
}

}  // namespace

std::string comparison_page(const Comparison& comparison, const nlohmann::json& document,
                            const std::vector<Figure>& figures) {
  const CompareOptions& options = comparison.options;
  std::vector<std::string> sizes;
  for (const std::int64_t n : options.sizes) sizes.push_back(grouped(n));
  const std::string bars = equivalents_html(comparison);
  const auto& said = document.at("findings");
  const std::string headline =
      said.empty() ? "Which model learns the spiral?" : said.at(0).at("title").get<std::string>();
  std::string chart_js = embedded::chart_js;
  for (std::size_t at = 0; (at = chart_js.find("</script", at)) != std::string::npos; at += 3) {
    chart_js.replace(at, 2, "<\\/");
  }
  const std::string results = document.dump(1) + "\n";
  return fill_template(
      embedded::report_html,
      {
          {"title", html_escape(fmt::format("The spiral at {} points", fmt::to_string(fmt::join(sizes, " and "))))},
          {"headline", html_escape(headline)},
          {"subtitle",
           html_escape(fmt::format(
               "{} model{} on the same points at N = {}, {} seed{}{}. Which one predicts the colour of "
               "a closed spiral best, and how many points is a good idea worth?",
               options.models.size(), options.models.size() == 1 ? "" : "s", fmt::to_string(fmt::join(sizes, " and ")),
               options.seeds.size(), options.seeds.size() == 1 ? "" : "s",
               options.noise > 0 ? fmt::format(", {:g} % label noise", 100 * options.noise) : ""))},
          {"seed", std::to_string(options.seeds[0])},
          {"gallery", gallery(comparison, figures)},
          {"findings", findings_html(document)},
          {"equivalents", bars},
          {"equivalents_hidden", bars.empty() ? "hidden" : ""},
          {"curve_hidden", comparison.curve.empty() ? "hidden" : ""},
          {"curve_data", rows_behind("The data of the kNN curve", "curve.csv", comparison.curve)},
          {"network_data", rows_behind("The data of every model", "rows.csv", comparison.rows)},
          {"noise_hidden", comparison.noise_panel.empty() ? "hidden" : ""},
          {"noise_level", fmt::format("{:g}", 100 * options.noise_panel)},
          {"noise_data", rows_behind("The data of the noise panel", "noise.csv", comparison.noise_panel)},
          {"table", results_table(comparison)},
          {"methods", methods(comparison)},
          {"command", html_escape(document.at("command").get<std::string>())},
          {"environment", environment_html(document)},
          {"results_download", download("results.json", "results.json", "application/json", results)},
          {"results", script_json(document)},
          {"chart_js", chart_js},
      });
}

}  // namespace scalelab::host
