// Scores against hand-made maps, and points against votes counted by hand.
#include "host/lab/error_count.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "host/data/dataset.h"
#include "host/lab/model.h"
#include "tests/support.h"

namespace scalelab::host {
namespace {

class ScoreTest : public test::OnBackend {};

// The truth by its definition, one cell at a time.
std::vector<std::uint8_t> true_labels(const Grid& grid) {
  std::vector<std::uint8_t> labels;
  for (std::int64_t row = 0; row < grid.size; ++row) {
    for (std::int64_t column = 0; column < grid.size; ++column) {
      const float x = std::fma(static_cast<float>(column) + 0.5F, grid.step_x(), grid.x_min);
      const float y = std::fma(static_cast<float>(row) + 0.5F, grid.step_y(), grid.y_min);
      labels.push_back(Spiral{}.inside(x, y) ? 1 : 0);
    }
  }
  return labels;
}

// A paint that copies from a map in host memory.
GridTruth::Paint copy_of(const std::vector<std::uint8_t>& map, std::int64_t size, Context& context) {
  return [&map, size, &context](std::int64_t row, View<std::uint8_t> band) {
    context.backend().upload(band.data(), map.data() + row * size, static_cast<std::size_t>(band.size()), context);
  };
}

TEST(Score, VotesCountAndTiesGoToTheSmallestLabel) {
  const std::vector<std::uint8_t> labels = {0, 1, 1, 0, 2, 255};
  EXPECT_EQ(vote(std::vector{1}, labels), 1);
  EXPECT_EQ(vote(std::vector{0, 1, 2}, labels), 1);
  EXPECT_EQ(vote(std::vector{1, 2, 0, 3}, labels), 0);
  EXPECT_EQ(vote(std::vector{4, 1}, labels), 1);
  EXPECT_EQ(vote(std::vector{5, 5, 4}, labels), 255);
}

TEST_P(ScoreTest, HandMadeMapsInBandsOfAnySize) {
  Context context(backend());
  const std::int64_t size = 37;
  const std::vector<std::uint8_t> truth = true_labels({.size = size});
  const double cells = static_cast<double>(size * size);
  const double inside = static_cast<double>(std::count(truth.begin(), truth.end(), 1)) / cells;
  ASSERT_GT(inside, 0.25);
  ASSERT_LT(inside, 0.36);
  for (const std::int64_t band_rows : {0, 1, 5, 36, 37, 1000}) {
    const GridTruth grid(context, Spiral{}, default_mixture(), size, band_rows);
    const GridScore right = grid.score(copy_of(truth, size, context));
    EXPECT_EQ(right.error, 0);
    EXPECT_DOUBLE_EQ(right.class_one, inside);
    EXPECT_FALSE(right.one_class());

    std::vector<std::uint8_t> map = truth;
    for (const std::size_t cell : {0, 36, 700, 1368}) map[cell] ^= 1;
    EXPECT_DOUBLE_EQ(grid.score(copy_of(map, size, context)).error, 4 / cells);

    for (auto& label : map = truth) label ^= 1;
    EXPECT_EQ(grid.score(copy_of(map, size, context)).error, 1);

    map.assign(truth.size(), 0);
    const GridScore blue = grid.score(copy_of(map, size, context));
    EXPECT_DOUBLE_EQ(blue.error, inside);
    EXPECT_EQ(blue.class_one, 0);
    EXPECT_TRUE(blue.one_class());
    map.assign(truth.size(), 1);
    const GridScore orange = grid.score(copy_of(map, size, context));
    EXPECT_DOUBLE_EQ(orange.error, 1 - inside);
    EXPECT_TRUE(orange.one_class());
  }
}

// Runs of wrong cells at the edges of rows and bands, and single ones.
TEST_P(ScoreTest, TheDensityErrorIsTheMassOfTheWrongCells) {
  Context context(backend());
  const std::int64_t size = 37;
  const std::vector<std::uint8_t> truth = true_labels({.size = size});
  std::vector<std::uint8_t> map = truth;
  for (const std::size_t cell : {0, 1, 36, 37, 38, 300, 301, 302, 303, 304, 305, 306, 307, 308, 700, 1331, 1368}) {
    map[cell] ^= 1;
  }
  const CellMass mass(mixture_of_world(2), size);
  double want = 0;
  for (std::int64_t cell = 0; cell < size * size; ++cell) {
    if (map[cell] != truth[cell]) want += mass.of(cell / size, cell % size, cell % size + 1);
  }
  const double one =
      GridTruth(context, Spiral{}, mixture_of_world(2), size).score(copy_of(map, size, context)).density_error;
  EXPECT_NEAR(one, want, 1e-15);
  ASSERT_GT(one, 1e-3);
  for (const std::int64_t band_rows : {1, 5, 36}) {
    const GridTruth grid(context, Spiral{}, mixture_of_world(2), size, band_rows);
    EXPECT_EQ(grid.score(copy_of(map, size, context)).density_error, one);
    EXPECT_EQ(grid.score(copy_of(truth, size, context)).density_error, 0);
  }
  for (auto& label : map = truth) label ^= 1;
  EXPECT_NEAR(GridTruth(context, Spiral{}, mixture_of_world(2), size).score(copy_of(map, size, context)).density_error,
              1, 1e-12);
}

TEST_P(ScoreTest, OnePointPaintsTheGridInItsColour) {
  Context context(backend());
  const GridTruth grid(context, Spiral{}, default_mixture(), 33, 4);
  const Buffer<float> point(context, std::vector{0.1F, 0.2F}, {1, 2});
  const Buffer<std::uint8_t> label(context, std::vector<std::uint8_t>{1}, {1});
  const GridScore score = grid.knn({parse_model("knn-1"), point, label});
  EXPECT_EQ(score.class_one, 1);
  EXPECT_TRUE(score.one_class());
}

TEST_P(ScoreTest, HalfPlanesOfANetworkAndOfTwoPoints) {
  Context context(backend());
  const std::int64_t size = 64;
  // Two references at (-+1/2, 0): the boundary is x = 0, and so is that of relu(x) - relu(-x) > 0.
  MlpShape shape;
  shape.width = 2;
  shape.hidden_layers = 1;
  const Buffer<float> parameters(context, std::vector{1.0F, 0.0F, -1.0F, 0.0F, 0.0F, 0.0F, 1.0F, -1.0F, 0.0F}, {9});
  const Buffer<float> points(context, std::vector{-0.5F, 0.0F, 0.5F, 0.0F}, {2, 2});
  const Buffer<std::uint8_t> labels(context, std::vector<std::uint8_t>{0, 1}, {2});
  double wrong = 0;
  const auto truth = true_labels({.size = size});
  for (std::size_t cell = 0; cell < truth.size(); ++cell) wrong += truth[cell] != (cell % size >= size / 2 ? 1 : 0);
  const GridTruth grid(context, Spiral{}, default_mixture(), size, 7);
  EXPECT_DOUBLE_EQ(grid.knn({parse_model("knn-1"), points, labels}).error, wrong / size / size);
  EXPECT_DOUBLE_EQ(grid.network(shape, parameters).error, wrong / size / size);
  EXPECT_DOUBLE_EQ(grid.network(shape, parameters).class_one, 0.5);

  const Buffer<float> queries(context, std::vector{-0.9F, 0.3F, 0.2F, 0.9F, -0.1F, -0.1F, 0.7F, 0.0F}, {4, 2});
  const std::vector<std::uint8_t> asked = {0, 1, 1, 0};
  EXPECT_EQ(network_predictions(shape, parameters, queries, context), (std::vector<std::uint8_t>{0, 1, 0, 1}));
  EXPECT_EQ(network_point_error(shape, parameters, queries, asked, context), 0.5);
  EXPECT_EQ(knn_point_errors(points, std::vector<std::uint8_t>{0, 1}, std::vector{1}, queries, asked, context),
            std::vector{0.5});
}

// Every cell of the map by the definition: the vote of the nearest in the encoding's features, in fp64. In bands that
// begin anywhere.
TEST_P(ScoreTest, TheMapOfNeighboursOnAnEncoding) {
  Context context(backend());
  const Grid grid{.size = 40};
  const Dataset data = sample_spiral(default_mixture(), Spiral{}, 60, 5);
  for (const char* name : {"knn-1@polar", "knn-3@polar:0.25", "knn-2@polar-trig", "knn-1@polar-raw"}) {
    const Model model = parse_model(name);
    const std::vector<float> features = distance_features(model, data.points);
    const std::int64_t f = feature_count(model.shape);
    const Buffer<float> references(context, features, {60, f});
    const Buffer<std::uint8_t> labels(context, data.labels, {60});
    Buffer<std::uint8_t> map(context, {40, 40});
    for (const auto& [begin, rows] : {std::pair{0, 13}, {13, 1}, {14, 26}}) {
      knn_labels({model, references, labels, data.labels}, grid, begin, map.view().rows(begin, rows), context);
    }
    const std::vector<std::uint8_t> got = map.to_host();
    for (std::size_t cell = 0; cell < got.size(); ++cell) {
      const std::vector<float> centre = {static_cast<float>(cell % 40) / 20 - 0.975F,
                                         static_cast<float>(cell / 40) / 20 - 0.975F};
      const std::vector<float> at = distance_features(model, centre);
      std::vector<std::pair<double, int>> order;
      for (int i = 0; i < 60; ++i) {
        double distance = 0;
        for (std::int64_t c = 0; c < f; ++c) {
          const double t =
              static_cast<double>(at[static_cast<std::size_t>(c)]) - features[static_cast<std::size_t>(i * f + c)];
          distance += t * t;
        }
        order.push_back({distance, i});
      }
      std::sort(order.begin(), order.end());
      std::vector<int> nearest;
      for (int j = 0; j < model.neighbours; ++j) nearest.push_back(order[static_cast<std::size_t>(j)].second);
      EXPECT_EQ(got[cell], vote(nearest, data.labels)) << name << " cell " << cell;
    }
  }
}

TEST_P(ScoreTest, RegionsAndPatchesAreThoseOfTheMap) {
  Context context(backend());
  const std::int64_t size = 64;
  const Grid cells{.size = size};
  const std::vector<std::uint8_t> truth = true_labels(cells);
  const CellMass mass(mixture_of_world(2), size);
  const Regions regions(Spiral{}, mass, cells);
  std::vector<std::uint8_t> map = truth;
  Regions::Counts wrong{};
  for (const std::size_t cell : {5, 6, 700, 2000, 2079, 2080, 2081, 2145, 3300, 3301, 3700}) {
    map[cell] ^= 1;
    const auto at = static_cast<std::int64_t>(cell);
    regions.count(at / size, at % size, at % size + 1, wrong);
  }
  for (const std::int64_t band_rows : {0, 1, 7}) {
    const GridTruth grid(context, Spiral{}, mixture_of_world(2), size, band_rows);
    const GridScore right = grid.score(copy_of(truth, size, context));
    const GridScore score = grid.score(copy_of(map, size, context));
    for (std::size_t region = 0; region < Regions::kCount; ++region) {
      EXPECT_EQ(right.region_errors[region], 0);
      EXPECT_EQ(score.region_errors[region], static_cast<double>(wrong[region]) / regions.cells(region));
    }
    EXPECT_GT(score.region_errors[1], 0);
    EXPECT_GT(score.patches, right.patches);
  }
}

TEST_P(ScoreTest, OneSearchServesEveryK) {
  Context context(backend());
  // On a line at x = 1 .. 5 with labels 1 0 0 1 1; the query at 0.9 sees them in order.
  const Buffer<float> references(context, std::vector{1.F, 0.F, 2.F, 0.F, 3.F, 0.F, 4.F, 0.F, 5.F, 0.F}, {5, 2});
  const std::vector<std::uint8_t> labels = {1, 0, 0, 1, 1};
  const Buffer<float> query(context, std::vector{0.9F, 0.F}, {1, 2});
  const std::vector<std::uint8_t> one = {1};
  // Votes: k = 1: 1; k = 2: a tie, so 0; k = 3: 0; k = 4: a tie, so 0; k = 5: 1.
  EXPECT_EQ(knn_point_errors(references, labels, std::vector{5, 1, 2, 3, 4}, query, one, context),
            (std::vector{0.0, 0.0, 1.0, 1.0, 1.0}));
  EXPECT_EQ(knn_point_errors(references, labels, std::vector{1}, references, labels, context), std::vector{0.0});
}

SCALELAB_ON_EACH_BACKEND(ScoreTest);

}  // namespace
}  // namespace scalelab::host
