#include "host/own_data/boundary_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "host/own_data/confusion.h"
#include "host/own_data/projection.h"
#include "host/program/environment.h"
#include "host/program/files.h"
#include "host/program/words.h"

namespace scalelab::host {

namespace {

using Json = nlohmann::json;

constexpr double kRoomForAName = 0.03;   // of the map's side, from a place to the nearest cell of another class
constexpr std::size_t kMostNamed = 40;   // classes whose names stand on the map
constexpr std::size_t kMostListed = 12;  // classes whose points stand in the legend one by one
constexpr double kMostStretched = 4;     // sides of a map that is drawn with one unit for both axes

std::vector<Rgb> colours_of(int classes) {
  std::vector<Rgb> colours;
  for (int c = 0; c < classes; ++c) colours.push_back(class_colour(c, classes));
  return colours;
}

struct Sides {
  double x_min, x_max, y_min, y_max;
};
Sides sides_of(const Json& document) {
  const Json& extent = document.at("extent");
  return {extent.at("x_min"), extent.at("x_max"), extent.at("y_min"), extent.at("y_max")};
}

bool has_equal_units(const Json& document) {
  const Sides sides = sides_of(document);
  const double ratio = (sides.y_max - sides.y_min) / (sides.x_max - sides.x_min);
  return ratio <= kMostStretched && ratio >= 1 / kMostStretched;
}

Ground ground_of(const Json& document, const std::filesystem::path& folder) {
  const Sides sides = sides_of(document);
  Ground ground{.picture = data_uri("image/png", file_text(folder / "map.png")),
                .x_min = sides.x_min,
                .x_max = sides.x_max,
                .y_min = sides.y_min,
                .y_max = sides.y_max,
                .equal = has_equal_units(document)};
  for (const Json& entry : document.at("classes")) {
    const Json& at = entry.at("name_at");
    if (at.is_null() || ground.names.size() == kMostNamed) continue;
    ground.names.push_back({entry.at("name"), at.at("x"), at.at("y")});
  }
  return ground;
}

Chart map_chart(const Json& document, const std::filesystem::path& folder) {
  const Json &points = document.at("points"), &classes = document.at("classes");
  Chart chart{.id = "map",
              .title = "What the model says everywhere",
              .x = Axis{.title = "first feature", .short_name = "x"},
              .y = Axis{.title = "second feature", .short_name = "y"},
              .command = command_of(document)};
  chart.subtitle = "Each place has the colour of the class that the model gives it, and each point that of its own. " +
                   shown_rows_text(std::ssize(points.at("rows")), document.at("data").at("n"), "points", 0);
  if (!has_equal_units(document)) chart.subtitle += " The two axes have units of their own.";
  if (std::ssize(classes) > kMostToldApart) {
    chart.subtitle += fmt::format(
        " Some of the {} colours look alike: names stand on the largest areas, and a point says "
        "its class.",
        classes.size());
  }
  chart.ground = ground_of(document, folder);
  const std::vector<int> labels = points.at("label");
  for (std::size_t c = 0; c < classes.size(); ++c) {
    const std::string name = classes.at(c).at("name");
    Line line = points_line(
        points, classes.size() <= kMostListed ? name : "", classes.at(c).at("colour"),
        [&](std::size_t i) { return labels[i] == static_cast<int>(c); }, [&](std::size_t) { return name; });
    chart.lines.push_back(std::move(line));
  }
  return chart;
}

std::string classes_table(const Json& document) {
  std::vector<std::vector<std::string>> lines;
  for (const Json& entry : document.at("classes")) {
    lines.push_back({entry.at("name"), entry.at("colour"), grouped(entry.at("points")),
                     percent(entry.at("points").get<double>() / document.at("data").at("n").get<double>()),
                     percent(entry.at("area"))});
  }
  return "<div class=\"panel\">" +
         table_html({"class", "colour", "points", "share of the points, %", "share of the map, %"}, lines,
                    "Classes: their points, and where the model says them") +
         "</div>";
}

std::string model_text(const Json& document) {
  const Json& model = document.at("model");
  if (model.at("name") == "knn") {
    return model.at("k") == 1 ? "the class of the nearest point"
                              : fmt::format("the vote of the {} nearest points", text_of(model.at("k")));
  }
  return fmt::format("a network of {} of {} units", counted(model.at("layers"), "hidden layer"),
                     text_of(model.at("width")));
}

}  // namespace

MapPicture::MapPicture(const std::filesystem::path& file, std::int64_t size, int classes)
    : size_(size),
      side_(std::min(size, kMostMapCells)),
      classes_(classes),
      cells_(static_cast<std::size_t>(side_ * side_)),
      png_(file, side_, side_, colours_of(classes)) {}

void MapPicture::add(std::span<const std::uint8_t> labels, std::int64_t row_begin) {
  const std::int64_t rows = std::ssize(labels) / size_;
  // The middle one of the cells that a row or column of the picture shows.
  const auto middle = [this](std::int64_t i) { return (2 * i + 1) * size_ / (2 * side_); };
  for (std::int64_t row = 0; row < side_; ++row) {
    if (middle(row) < row_begin || middle(row) >= row_begin + rows) continue;
    for (std::int64_t column = 0; column < side_; ++column) {
      cells_[static_cast<std::size_t>(row * side_ + column)] =
          labels[static_cast<std::size_t>((middle(row) - row_begin) * size_ + middle(column))];
    }
  }
}

void MapPicture::commit() {
  for (std::int64_t row = 0; row < side_; ++row) {
    png_.write_row(std::span<const std::uint8_t>(cells_).subspan(static_cast<std::size_t>(row * side_),
                                                                 static_cast<std::size_t>(side_)));
  }
  png_.commit();
}

// Distances by a chamfer of two passes: to a neighbour in the row or column 1, to one across 1.4, to what is outside the map
// as to another class.
std::vector<std::array<double, 2>> MapPicture::places_of_names() const {
  constexpr float kAcross = 1.4F;  // about sqrt 2
  const auto cell = [this](std::int64_t row, std::int64_t column) {
    return static_cast<std::size_t>(row * side_ + column);
  };
  std::vector<float> depth(cells_.size());
  const auto deepen = [&](std::int64_t row, std::int64_t column, std::int64_t step) {
    float least = std::min({row, column, side_ - 1 - row, side_ - 1 - column}) == 0 ? 1.0F : HUGE_VALF;
    const std::array<std::array<std::int64_t, 2>, 4> before = {{{0, -step}, {-step, -1}, {-step, 0}, {-step, 1}}};
    for (const auto& [down, right] : before) {
      const std::int64_t r = row + down, c = column + right;
      if (r < 0 || c < 0 || r >= side_ || c >= side_) continue;
      const float far = down != 0 && right != 0 ? kAcross : 1.0F;
      const bool same = cells_[cell(r, c)] == cells_[cell(row, column)];
      least = std::min(least, far + (same ? depth[cell(r, c)] : 0));
    }
    return least;
  };
  for (std::int64_t row = 0; row < side_; ++row) {
    for (std::int64_t column = 0; column < side_; ++column) depth[cell(row, column)] = deepen(row, column, 1);
  }
  std::vector<std::array<double, 2>> places(static_cast<std::size_t>(classes_), {-1, -1});
  std::vector<float> deepest(places.size(), static_cast<float>(kRoomForAName * static_cast<double>(side_)));
  for (std::int64_t row = side_ - 1; row >= 0; --row) {
    for (std::int64_t column = side_ - 1; column >= 0; --column) {
      float& here = depth[cell(row, column)];
      here = std::min(here, deepen(row, column, -1));
      const std::size_t label = cells_[cell(row, column)];
      if (here <= deepest[label]) continue;
      deepest[label] = here;
      places[label] = {(static_cast<double>(column) + 0.5) / static_cast<double>(side_),
                       1 - (static_cast<double>(row) + 0.5) / static_cast<double>(side_)};
    }
  }
  return places;
}

Json points_to_show(const Dataset& data, std::uint64_t seed) {
  const std::vector<std::int64_t> shown = rows_to_show(data.size(), 2, seed);
  const ReadRow read = row_reader(data.points, 2);
  Json points = Plane(shown, 2, read).points(shown, read);
  std::vector<int> labels;
  for (const std::int64_t row : shown) labels.push_back(data.labels[static_cast<std::size_t>(row)]);
  points["label"] = labels;
  return points;
}

Page boundary_page(const Json& document, const std::filesystem::path& folder) {
  const Json &data = document.at("data"), &left_out = document.at("leave_one_out");
  const std::string model = model_text(document), points = counted(data.at("n"), "point");
  Page page{.title = "Decision boundary", .kicker = "scalelab boundary"};
  page.headline = left_out.is_null()
                      ? capitalized(fmt::format("{} is wrong for {} % of the {} that it learned from", model,
                                                percent(document.at("train_error")), points))
                      : capitalized(fmt::format("{} is wrong for {} of {}, each left out of its own vote", model,
                                                error_text(left_out), points));
  page.lead = fmt::format("What {} of {} says at each of {} x {} places between them: {}.", model,
                          text_of(data.at("file")), grouped(document.at("grid")), grouped(document.at("grid")),
                          counted(std::ssize(document.at("classes")), "class", "classes"));
  page.sections.push_back({.id = "boundary", .title = "The map", .html = chart_html(map_chart(document, folder))});
  page.sections.push_back({.id = "classes", .title = "Classes", .html = classes_table(document)});
  if (!left_out.is_null()) {
    page.sections.push_back({.id = "errors",
                             .title = "Points left out",
                             .note = "Each point is given the commonest class of its neighbours, itself not among them "
                                     "(leave-one-out): what the model would say of a point that it had not seen.",
                             .html = confusion_html(left_out, command_of(document))});
  }
  page.methods = {
      "labels.npy beside this page holds the class of every cell, the smallest y first; boundary.png is the whole map, a "
      "pixel for a cell."};
  if (document.at("model").at("name") == "knn") {
    page.methods.emplace_back(
        "Of classes with equally many votes the first is said. Intervals are at 95 %, as if points "
        "were independent.");
  } else {
    page.methods.emplace_back(
        "A network is usually more often wrong on points that it has not seen: the error above is no "
        "estimate of that.");
  }
  page.command = command_of(document);
  page.document = document;
  return page;
}

}  // namespace scalelab::host
