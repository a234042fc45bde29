// scalelab boundary: the decision boundary of a model on one's own points: a label for every cell of a large grid, and
// the picture of it.
//
// host/results.md says what result.json holds.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <memory>

#include "host/data/dataset.h"
#include "host/data/npy.h"
#include "host/data/png.h"
#include "host/data/source.h"
#include "host/lab/error_count.h"
#include "host/lab/model.h"
#include "host/lab/trial_options.h"
#include "host/own_data/boundary_page.h"
#include "host/own_data/confusion.h"
#include "host/own_data/others.h"
#include "host/own_data/own_options.h"
#include "host/program/command.h"
#include "host/program/devices.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/lists.h"
#include "host/program/options.h"
#include "host/program/publish.h"
#include "scalelab/buffer.h"

namespace scalelab::host {

namespace {

struct Options {
  std::string data, labels, out, extent, model = "knn", encoding = "xy", activation = "relu", schedule = "cosine",
                                         precision = "fp32";
  std::int64_t grid = 1024;
  int k = 5;
  int width = 64, layers = 3, epochs = 0, batch_size = 64;
  double learning_rate = 3e-3, weight_decay = 0, focal = 0;
  bool layer_norm = false, bits = false;
  std::vector<const CLI::Option*> of_knn, of_mlp;  // options that belong to one model

  std::int64_t row_bytes() const { return bits ? (grid + 7) / 8 : grid; }  // of labels.npy
};

// Labels are made and written in bands of rows of this many cells: a map of any size takes no more memory.
constexpr std::int64_t kBandCells = std::int64_t{1} << 26;

struct Extent {
  float x_min, x_max, y_min, y_max;
};

// A float as a number that prints with the fewest digits.
double shortest(float value) {
  const std::string digits = fmt::format("{}", value);
  double wide = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), wide);
  return wide;
}

// "x0,x1,y0,y1", or with spaces.
Extent parse_extent(const std::string& text) {
  std::vector<float> values;
  bool valid = true;
  try {
    for (const std::string& item : list_items(text)) {
      float& value = values.emplace_back();
      const auto [stop, error] = std::from_chars(item.data(), item.data() + item.size(), value);
      valid = valid && error == std::errc() && stop == item.data() + item.size() && std::isfinite(value);
    }
  } catch (const std::invalid_argument&) {  // an item is empty
    valid = false;
  }
  if (!valid || values.size() != 4 || !(values[0] < values[1]) || !(values[2] < values[3])) {
    throw Failure(kMisuse,
                  fmt::format("--extent: '{}' is not x0,x1,y0,y1, four 32-bit numbers with x0 < x1, y0 < y1", text));
  }
  return {values[0], values[1], values[2], values[3]};
}

// The data's ranges and a margin of 5 % of them on each side. A range of zero takes the other axis's, or 1.
Extent extent_of(const Dataset& data) {
  std::array<double, 2> low, high;
  for (std::size_t axis = 0; axis < 2; ++axis) {
    low[axis] = high[axis] = data.points[axis];
    for (std::size_t i = axis; i < data.points.size(); i += 2) {
      low[axis] = std::min<double>(low[axis], data.points[i]);
      high[axis] = std::max<double>(high[axis], data.points[i]);
    }
  }
  std::array<float, 4> extent{};
  for (std::size_t axis = 0; axis < 2; ++axis) {
    double margin = 0.05 * (high[axis] - low[axis]);
    if (margin == 0) {
      const double other = high[1 - axis] - low[1 - axis];
      margin = std::max(0.5 * (other > 0 ? other : 1.0), 1e-3 * std::abs(low[axis]));
    }
    extent[2 * axis] = static_cast<float>(low[axis] - margin);
    extent[2 * axis + 1] = static_cast<float>(high[axis] + margin);
  }
  return {extent[0], extent[1], extent[2], extent[3]};
}

void check_extent(const Extent& extent, const Dataset& data, const Options& options) {
  FeatureRanges ranges(2);
  ranges.add(data.points);
  const std::array<float, 4> corners = {extent.x_min, extent.y_min, extent.x_max, extent.y_max};
  ranges.add(corners);
  ranges.require_near(options.data);
  if (options.model != "knn") return;
  ranges.require_apart(options.data);
  // Nearest neighbours are found where the points are, and there fp32 must tell one cell from the next.
  const auto distinct = [&](char axis, float low, float high) {
    const float largest = std::max(std::abs(low), std::abs(high));
    const float spacing = std::nextafter(largest, HUGE_VALF) - largest;
    if ((high - low) / static_cast<float>(options.grid) >= spacing) return;
    throw Failure(kMisuse, fmt::format("--grid {}: cells over {} = {} .. {} are narrower than 32-bit numbers can tell "
                                       "apart there; subtract an offset from the data or use a smaller grid",
                                       options.grid, axis, low, high));
  };
  distinct('x', extent.x_min, extent.x_max);
  distinct('y', extent.y_min, extent.y_max);
}

// Fills labels (rows, G) of the grid's rows [row_begin, row_begin + rows).
using Paint = std::function<void(std::int64_t row_begin, View<std::uint8_t> labels)>;

struct Fitted {
  // What paints on a device, as long as the Context lives.
  std::function<Paint(Context&)> painter;
  double train_error = 0;
  nlohmann::json left_out{};  // of kNN: its errors on points that it does not know
  nlohmann::json about;       // the model's options
};

// What the k nearest others of each point would say of it; null where there are no k others, or more than the op finds.
nlohmann::json leave_one_out(const Options& options, const Dataset& data, View<const float> points, Context& context) {
  // Points at a time: bounds the memory of neighbours.
  constexpr std::int64_t kChunk = std::int64_t{1} << 16;
  const std::int64_t n = data.size(), searched = options.k + 1;
  if (searched > n || searched > kMaxNeighbours) return nullptr;
  Confusion confusion(data.class_names);
  for (std::int64_t begin = 0; begin < n; begin += kChunk) {
    const std::int64_t count = std::min(kChunk, n - begin);
    const Buffer<int> indices(context, {count, searched});
    const Buffer<float> distances(context, {count, searched});
    context.backend().knn(points, points.rows(begin, count), indices, distances, context);
    std::vector<int> others = indices.to_host();
    std::vector<float> far = distances.to_host();
    leave_out_self(begin, options.k, others, far);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto own = std::span<const int>(others).subspan(static_cast<std::size_t>(i * options.k),
                                                            static_cast<std::size_t>(options.k));
      confusion.add(data.labels[static_cast<std::size_t>(begin + i)], vote(own, data.labels));
    }
  }
  return confusion.json();
}

Fitted fit_knn(const Options& options, const Dataset& data, const Extent& extent, Session& session) {
  Context& context = session.context;
  const std::int64_t n = data.size();
  if (options.k > n) throw Failure(kMisuse, fmt::format("--k {}: {} holds only {} points", options.k, options.data, n));
  Fitted fitted;
  const std::array<int, 1> ks = {options.k};
  const Buffer<float> own(context, data.points, Shape{n, 2});
  fitted.train_error = knn_point_errors(own, data.labels, ks, own, data.labels, context)[0];
  fitted.left_out = leave_one_out(options, data, own, context);
  fitted.about = {{"name", "knn"}, {"k", options.k}};
  const Grid grid{
      .size = options.grid, .x_min = extent.x_min, .x_max = extent.x_max, .y_min = extent.y_min, .y_max = extent.y_max};
  fitted.painter = [&data, n, grid, k = options.k](Context& on) -> Paint {
    const auto points = std::make_shared<Buffer<float>>(on, data.points, Shape{n, 2});
    const auto labels = std::make_shared<Buffer<std::uint8_t>>(on, data.labels, Shape{n});
    return [=, &on](std::int64_t row_begin, View<std::uint8_t> band) {
      on.backend().grid_knn_labels(*points, *labels, k, grid, row_begin, band, on);
    };
  };
  return fitted;
}

// The network asked for, and how it is trained.
Model network_of(const Options& options, int classes) {
  Model model = parse_model("mlp-" + options.encoding);
  model.shape.width = options.width;
  model.shape.hidden_layers = options.layers;
  model.shape.outputs = classes == 2 ? 1 : classes;
  model.shape.layer_norm = options.layer_norm;
  model.shape.activation = options.activation == "relu"   ? Activation::relu
                           : options.activation == "tanh" ? Activation::tanh
                                                          : Activation::gelu;
  model.loss.focal_gamma = static_cast<float>(options.focal);
  model.batch_size = options.batch_size;
  model.learning_rate = static_cast<float>(options.learning_rate);
  model.schedule = options.schedule == "cosine" ? Schedule::cosine : Schedule::constant;
  model.weight_decay = static_cast<float>(options.weight_decay);
  model.precision = parse_precision(options.precision);
  return model;
}

Fitted fit_mlp(const Options& options, const Dataset& data, const Extent& extent, Session& session) {
  Context& context = session.context;
  const std::int64_t n = data.size();
  MlpRun run = training_run(network_of(options, data.classes));
  // As the 1,000 epochs over 1,000 points of the main comparison: a million points seen.
  run.epochs = options.epochs > 0 ? options.epochs : static_cast<int>(std::clamp<std::int64_t>(1000000 / n, 10, 10000));
  run.seed = session.common.seed;

  std::vector<float> scaled(data.points.size());
  const auto scale = [](double value, double low, double high) {
    return static_cast<float>((value - 0.5 * (low + high)) / (0.5 * (high - low)));
  };
  for (std::size_t i = 0; i < scaled.size(); i += 2) {
    scaled[i] = scale(data.points[i], extent.x_min, extent.x_max);
    scaled[i + 1] = scale(data.points[i + 1], extent.y_min, extent.y_max);
  }
  const Buffer<float> inputs(context, scaled, {n, 2});
  const Buffer<std::uint8_t> labels(context, data.labels, {n});
  const auto start = initial_parameters(run.shape, session.common.seed);
  const auto p = static_cast<std::int64_t>(start.size());
  const Buffer<float> parameters(context, start, Shape{1, p});
  Buffer<float> losses(context, {run.epochs});
  Buffer<int> diverged(context, {1});
  run.inputs = inputs;
  run.labels = labels;
  run.parameters = View<float>(parameters.view().data(), {p});
  run.epoch_losses = losses;
  run.diverged = diverged;
  context.backend().mlp_train(std::span<const MlpRun>(&run, 1), context);
  if (const int epoch = diverged.to_host()[0]; epoch >= 0) {
    throw Failure(kCheckFailed, fmt::format("training diverged in epoch {}: lower --learning-rate (it is {:g})",
                                            epoch + 1, options.learning_rate));
  }

  Fitted fitted;
  fitted.train_error = network_point_error(run.shape, parameters, inputs, data.labels, context);
  fitted.about = {{"name", "mlp"},
                  {"encoding", options.encoding},
                  {"width", options.width},
                  {"layers", options.layers},
                  {"outputs", run.shape.outputs},
                  {"activation", options.activation},
                  {"layer_norm", options.layer_norm},
                  {"focal", options.focal},
                  {"epochs", run.epochs},
                  {"batch_size", options.batch_size},
                  {"learning_rate", options.learning_rate},
                  {"schedule", options.schedule},
                  {"weight_decay", options.weight_decay},
                  {"precision", options.precision},
                  {"parameters", p},
                  {"final_loss", shortest(losses.to_host().back())}};
  const Grid grid{.size = options.grid};  // [-1, 1]^2, as the inputs
  fitted.painter = [grid, p, shape = run.shape, network = parameters.to_host()](Context& on) -> Paint {
    const auto there = std::make_shared<Buffer<float>>(on, network, Shape{1, p});
    return [=, &on](std::int64_t row_begin, View<std::uint8_t> band) {
      const View<std::uint8_t> one(band.data(), {1, band.extent(0), band.extent(1)});
      on.backend().grid_mlp_labels(shape, *there, grid, row_begin, one, on);
    };
  };
  return fitted;
}

// The points, once options and points fit together.
Dataset read_points(const Options& options) {
  for (const CLI::Option* option : options.model == "knn" ? options.of_mlp : options.of_knn) {
    if (option->count() > 0) {
      throw Failure(kMisuse, fmt::format("{} does not belong to --model {}", option->get_name(), options.model));
    }
  }
  if (!options.extent.empty()) parse_extent(options.extent);
  Dataset data = read_labelled({options.data, options.labels}).all;
  if (data.features != 2) {
    throw Failure(kBadData,
                  fmt::format("{}: {} coordinates; a boundary in the plane needs two", options.data, data.features));
  }
  if (options.bits && data.classes != 2) {
    throw Failure(kMisuse,
                  fmt::format("--bits: a bit tells two classes apart, and {} has {}", options.data, data.classes));
  }
  return data;
}

// The files of a map, filled from the top downwards and then committed together.
struct MapFiles {
  ClassPicture picture;
  NpyWriter<std::uint8_t> labels;
  PngWriter png;
  MapPicture map;

  MapFiles(const Options& options, const Dataset& data, const Extent& extent)
      : picture(data.classes, options.grid),
        labels(std::filesystem::path(options.out) / "labels.npy", {options.grid, options.row_bytes()}),
        png(std::filesystem::path(options.out) / "boundary.png", options.grid, options.grid, picture.palette()),
        map(std::filesystem::path(options.out) / "map.png", options.grid, data.classes) {
    picture.set_points(data.points, data.labels, extent.x_min, extent.x_max, extent.y_min, extent.y_max);
  }
};

// Rows of labels upside down, in place.
void flip_rows(std::vector<std::uint8_t>& labels, std::int64_t rows, std::int64_t size) {
  for (std::int64_t top = 0; top < rows / 2; ++top) {
    const auto row = labels.begin() + top * size;
    std::swap_ranges(row, row + size, labels.begin() + (rows - 1 - top) * size);
  }
}

// Some rows of the map.
struct Band {
  std::int64_t begin = 0, rows = 0;  // of the grid
  std::vector<std::int64_t> cells;   // of each class
  std::vector<std::uint8_t> labels;  // (rows, G)
  std::vector<std::uint8_t> bits;    // with --bits: (rows, ceil(G / 8))
};

// Makes bands on one device.
class BandPainter {
 public:
  BandPainter(const Options& options, int classes, std::int64_t most_rows, const Fitted& fitted, Context& context)
      : options_(options),
        classes_(classes),
        context_(context),
        paint_(fitted.painter(context)),
        band_(context, {most_rows, options.grid}),
        packed_(context, {options.bits ? most_rows : 0, options.row_bytes()}) {}

  Band paint(std::int64_t begin, std::int64_t rows) const {
    const View<std::uint8_t> part = band_.view().rows(0, rows);
    paint_(begin, part);
    Band band{begin, rows, std::vector<std::int64_t>(static_cast<std::size_t>(classes_)), download(part), {}};
    for (const std::uint8_t label : band.labels) ++band.cells[label];
    if (options_.bits) {
      const View<std::uint8_t> packed_part = packed_.view().rows(0, rows);
      context_.backend().pack_labels(part, packed_part, context_);
      band.bits = download(packed_part);
    }
    return band;
  }

 private:
  std::vector<std::uint8_t> download(View<const std::uint8_t> from) const {
    std::vector<std::uint8_t> to(static_cast<std::size_t>(from.size()));
    context_.backend().download(to.data(), from.data(), to.size(), context_);
    return to;
  }

  const Options& options_;
  int classes_;
  Context& context_;
  Paint paint_;
  Buffer<std::uint8_t> band_, packed_;
};

// Paints the map into its files, band by band, and returns how many cells each class has. The picture begins with the
// largest y and labels.npy with the smallest: bands are made from the top, and each is written to its own place in
// labels.npy.
std::vector<std::int64_t> paint(const Options& options, int classes, const Fitted& fitted, MapFiles& files,
                                Session& session) {
  const Stage painting(session, "labels");
  Devices devices(session);
  const std::int64_t size = options.grid, each = (size + devices.count() - 1) / devices.count();
  const std::int64_t band_rows = std::clamp<std::int64_t>(kBandCells / size, 1, each);
  std::vector<std::int64_t> cells(static_cast<std::size_t>(classes));
  const auto write = [&](Band& band) {
    for (std::size_t c = 0; c < cells.size(); ++c) cells[c] += band.cells[c];
    files.labels.write_at(band.begin * options.row_bytes(), options.bits ? band.bits : band.labels);
    flip_rows(band.labels, band.rows, size);
    files.map.add(band.labels, size - band.begin - band.rows);
    files.picture.paint(band.labels, size - band.begin - band.rows);
    for (std::int64_t row = 0; row < band.rows; ++row) {
      files.png.write_row(std::span<const std::uint8_t>(band.labels)
                              .subspan(static_cast<std::size_t>(row * size), static_cast<std::size_t>(size)));
    }
  };
  const std::int64_t bands = (size + band_rows - 1) / band_rows;
  devices.deal(std::vector<double>(static_cast<std::size_t>(bands), 1), [&](Session& own) -> Devices::Worker {
    const auto painter = std::make_shared<const BandPainter>(options, classes, band_rows, fitted, own.context);
    return [&, painter](std::size_t i) -> Devices::Delivery {
      const std::int64_t end = size - static_cast<std::int64_t>(i) * band_rows;
      const std::int64_t begin = std::max<std::int64_t>(end - band_rows, 0);
      const auto band = std::make_shared<Band>(painter->paint(begin, end - begin));
      return [&write, band] { write(*band); };
    };
  });
  return cells;
}

nlohmann::json classes_json(const Dataset& data, const std::vector<std::int64_t>& cells, std::int64_t grid,
                            const MapPicture& map, const Extent& extent) {
  nlohmann::json classes = nlohmann::json::array();
  const auto places = map.places_of_names();
  const auto between = [](double low, double high, double share) {
    return shortest(static_cast<float>(low + (high - low) * share));
  };
  for (int c = 0; c < data.classes; ++c) {
    const auto i = static_cast<std::size_t>(c);
    const Rgb colour = class_colour(c, data.classes);
    classes.push_back({{"label", c},
                       {"name", data.class_names[i]},
                       {"points", std::count(data.labels.begin(), data.labels.end(), c)},
                       {"area", static_cast<double>(cells[i]) / static_cast<double>(grid * grid)},
                       {"name_at", nullptr},
                       {"colour", fmt::format("#{:02x}{:02x}{:02x}", colour[0], colour[1], colour[2])}});
    if (places[i][0] < 0) continue;
    classes.back()["name_at"] = {{"x", between(extent.x_min, extent.x_max, places[i][0])},
                                 {"y", between(extent.y_min, extent.y_max, places[i][1])}};
  }
  return classes;
}

std::string text_of(const Options& options, const nlohmann::json& document, double seconds) {
  std::string text = fmt::format(
      "{}: {} on {} points of {} classes, {} x {} cells, training error {:.2f} %{}, seed {}, {:.3g} s\n", options.out,
      options.model == "knn" ? fmt::format("knn, k = {}", options.k) : fmt::format("mlp on {}", options.encoding),
      document["data"]["n"].get<std::int64_t>(), document["classes"].size(), options.grid, options.grid,
      100 * document["train_error"].get<double>(),
      options.model == "knn" ? " (each point is its own nearest neighbour)" : "", document["seed"].get<std::uint64_t>(),
      seconds);
  if (!document["leave_one_out"].is_null()) {
    text += fmt::format("  leave-one-out error {}\n", error_text(document["leave_one_out"]));
  }
  if (std::ssize(document["classes"]) > kMostToldApart) {
    text += fmt::format(
        "  more than {} classes: some colours of boundary.png are hard to tell apart; labels.npy "
        "has the labels\n",
        kMostToldApart);
  }
  for (const auto& entry : document["classes"]) {
    text += fmt::format("  {}  {:5.1f} % of the area, {} points, {}\n", entry["label"].get<int>(),
                        100 * entry["area"].get<double>(), entry["points"].get<std::int64_t>(),
                        entry["name"].get<std::string>());
  }
  return text;
}

Outcome run(const Options& options, Session& session) {
  const Dataset data = read_points(options);
  const Extent extent = options.extent.empty() ? extent_of(data) : parse_extent(options.extent);
  check_extent(extent, data, options);
  make_output_folder(options.out);

  Stage stage(session, "boundary");
  // Maps of networks are painted quickly; a map by kNN is all there is to do.
  const int fit_percent = options.model == "knn" ? 5 : 80;
  stage.part(0, fit_percent, 100);
  MapFiles files(options, data, extent);
  const Fitted fitted = [&] {
    const Stage fitting(session, options.model == "knn" ? "neighbours" : "training");
    return options.model == "knn" ? fit_knn(options, data, extent, session) : fit_mlp(options, data, extent, session);
  }();
  // The map goes into its files band by band while it is painted.
  const double fit_seconds = stage.seconds();
  stage.part(fit_percent, 100, 100);
  const auto cells = paint(options, data.classes, fitted, files, session);
  const double total = stage.seconds();

  Outcome outcome;
  outcome.document = {{"schema", 1},
                      {"study", "boundary"},
                      {"data", {{"file", options.data}, {"n", data.size()}}},
                      {"model", fitted.about},
                      {"grid", options.grid},
                      {"labels",
                       {{"file", "labels.npy"},
                        {"shape", {options.grid, options.row_bytes()}},
                        {"bits_per_cell", options.bits ? 1 : 8},
                        {"bit_order", options.bits ? nlohmann::json("little") : nlohmann::json()}}},
                      {"extent",
                       {{"x_min", shortest(extent.x_min)},
                        {"x_max", shortest(extent.x_max)},
                        {"y_min", shortest(extent.y_min)},
                        {"y_max", shortest(extent.y_max)}}},
                      {"classes", classes_json(data, cells, options.grid, files.map, extent)},
                      {"points", points_to_show(data, session.common.seed)},
                      {"seed", session.common.seed},
                      {"train_error", fitted.train_error},
                      {"leave_one_out", fitted.left_out},
                      {"seconds", {{"fit", fit_seconds}, {"labels", total - fit_seconds}}},
                      {"environment", environment(session)}};
  outcome.text = text_of(options, outcome.document, total);
  publish(options.out, json_text(outcome.document), files.labels, files.png, files.map);
  outcome.page = std::make_shared<Page>(boundary_page(outcome.document, options.out));
  outcome.folder = options.out;
  return outcome;
}

}  // namespace

Command add_boundary(CLI::App& program) {
  auto options = std::make_shared<Options>();
  Options& o = *options;
  CLI::App* app = program.add_subcommand("boundary", "Decision boundary of a model on your own points");
  add_data(*app, o.data, o.labels)
      ->description("Points x, y with labels (numbers or names, 2 to 256 classes): .npy, IDX or text, see the end")
      ->required();
  app->add_option("--model", o.model, "knn or mlp")->check(one_of({"knn", "mlp"}));
  app->add_option("--grid", o.grid, "Cells a side, G")->check(whole_number(1, kMaxGrid));
  add_text(*app, "--extent", o.extent, " ", "x0,x1,y0,y1; without it the data's ranges and 5 % on each side");
  app->add_option(
         "-o,--out", o.out,
         "Folder for labels.npy (G, G) uint8, row 0 at the smallest y; boundary.png, largest y on top; map.png, smaller; "
         "result.json and report.html")
      ->required();
  app->add_flag("--bits", o.bits,
                "Two classes only: labels.npy (G, ceil(G / 8)) uint8, a bit a cell, lowest bit first; numpy.unpackbits("
                "bits, axis=1, count=G, bitorder=\"little\") gives the labels back");
  const auto knn = [&](CLI::Option* option) { o.of_knn.push_back(option->group("Model knn")); };
  const auto mlp = [&](CLI::Option* option) { o.of_mlp.push_back(option->group("Model mlp")); };
  knn(add_neighbours(*app, o.k, "Neighbours that vote; where two labels have equally many, the smaller"));
  mlp(app->add_option("--encoding", o.encoding,
                      "xy, polar, polar-raw or polar-trig. Networks see the extent as [-1, 1]^2: polar coordinates are "
                      "about its centre, in units of half its sides")
          ->check(one_of({"xy", "polar", "polar-raw", "polar-trig"})));
  mlp(add_width(*app, o.width));
  mlp(add_hidden_layers(*app, o.layers));
  mlp(app->add_option("--activation", o.activation, "relu, tanh or gelu")->check(one_of({"relu", "tanh", "gelu"})));
  mlp(app->add_flag("--layer-norm", o.layer_norm, "Layer norm before each activation"));
  mlp(add_epochs(*app, o.epochs)
          ->description("Passes over the points; without it as many as show a million points, 10 to 10000")
          ->default_str(""));
  mlp(app->add_option("--batch-size", o.batch_size, "Points of a step; 0: all of them")
          ->check(whole_number(0, INT32_MAX)));
  mlp(app->add_option("--learning-rate", o.learning_rate, "Rate of Adam")->check(real_number(0, 1000)));
  mlp(app->add_option("--schedule", o.schedule, "cosine (to 0) or constant")->check(one_of({"cosine", "constant"})));
  mlp(app->add_option("--weight-decay", o.weight_decay, "Decoupled, on all parameters")->check(real_number(0, 1000)));
  mlp(add_precision(*app, o.precision));
  mlp(app->add_option("--focal", o.focal, "Gamma of the focal loss; 0: cross-entropy")->check(real_number(0, 100)));
  add_notes(*app,
            {"scalelab boundary --data points.csv --model knn -k 5 --grid 4096 -o boundary",
             "scalelab boundary --data points.csv --model mlp --encoding polar -o boundary-mlp"},
            {kFormatsHelp});
  const auto needs = [options] {
    const auto cells = static_cast<double>(options->grid) * static_cast<double>(options->grid);
    Needs needs{{}, "--grid"};
    if (options->model == "knn") {
      needs.parts = {{Work::grid_knn, cells}};
    } else {
      // A million samples, as without --epochs; the points are not counted for this.
      const double p = static_cast<double>(options->width) * options->width * options->layers;
      needs.parts = {{Work::mlp_train, 1e6 * p}, {Work::grid_mlp, cells * p}};
    }
    return needs;
  };
  return {
      .app = app, .run = [options](Session& session) { return run(*options, session); }, .needs = needs, .deals = true};
}

}  // namespace scalelab::host
