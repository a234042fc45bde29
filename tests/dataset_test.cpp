// dataset: fixed bits, the distribution drawn from against closed forms, and the CSV in which points travel.
#include "host/data/dataset.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "host/data/csv.h"
#include "host/data/source.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "tests/support.h"

namespace scalelab::host {
namespace {

namespace fs = std::filesystem;

std::uint64_t fnv1a(const void* data, std::size_t bytes, std::uint64_t hash = 0xcbf29ce484222325U) {
  const auto* byte = static_cast<const unsigned char*>(data);
  for (std::size_t i = 0; i < bytes; ++i) hash = (hash ^ byte[i]) * 0x100000001b3U;
  return hash;
}

std::uint64_t checksum(const Dataset& data) {
  return fnv1a(data.labels.data(), data.labels.size(), fnv1a(data.points.data(), data.points.size() * sizeof(float)));
}

TEST(Dataset, IsTheSameBitsOnEveryMachine) {
  EXPECT_EQ(checksum(sample_spiral(default_mixture(), Spiral{}, 10000, 0)), 4921654893653732379U);
  EXPECT_EQ(checksum(sample_spiral(default_mixture(), Spiral{}, 10000, 1)), 12469883969492487093U);
  EXPECT_EQ(checksum(sample_spiral(default_mixture(), Spiral{}, 10000, 1, 0.1)), 18158418971576016129U);
  EXPECT_EQ(checksum(sample_spiral(random_mixture(7), Spiral{}, 10000, (std::uint64_t{1} << 40) + 1)),
            2529622934895033609U);
}

TEST(Dataset, TheFirstPointsOfALargerSetAreTheSmallerSet) {
  const Dataset small = sample_spiral(default_mixture(), Spiral{}, 1000, 3, 0.2);
  Dataset large = sample_spiral(default_mixture(), Spiral{}, 10000, 3, 0.2);
  large.points.resize(small.points.size());
  large.labels.resize(small.labels.size());
  EXPECT_TRUE(test::same_bits(large.points, small.points));
  EXPECT_TRUE(test::same_bits(large.labels, small.labels));
  EXPECT_NE(checksum(sample_spiral(default_mixture(), Spiral{}, 1000, 4, 0.2)), checksum(small));
  EXPECT_EQ(sample_spiral(default_mixture(), Spiral{}, 0, 3).size(), 0);
}

TEST(Dataset, DefaultMixtureIsTheFile) {
  const Mixture& mixture = default_mixture();
  ASSERT_EQ(mixture.spots.size(), 24U);
  double total = 0;
  for (const auto& spot : mixture.spots) total += spot.weight;
  EXPECT_NEAR(total, 1, 1e-12);
  EXPECT_EQ(mixture.spots[0].x, 0.13383367775873012);
  EXPECT_EQ(mixture.spots[0].sigma, 0.066327374485647836);
  EXPECT_EQ(mixture.spots[2].y, -0.95668999363457896);
  EXPECT_EQ(mixture.spots[3].weight, 0.02628038135026067);
}

TEST(Dataset, RandomMixturesKeepTheirRanges) {
  double log_sigma = 0, x = 0, weight_ratio = 0;
  constexpr int kMixtures = 200, kSpots = 24;
  for (std::uint64_t seed = 0; seed < kMixtures; ++seed) {
    const Mixture mixture = random_mixture(seed);
    ASSERT_EQ(mixture.spots.size(), static_cast<std::size_t>(kSpots));
    double total = 0, smallest = 1, largest = 0;
    for (std::uint64_t i = 0; i < kSpots; ++i) {
      const auto& spot = mixture.spots[i];
      ASSERT_LE(std::abs(spot.x), 1);
      ASSERT_LE(std::abs(spot.y), 1);
      // The exponential is home-made: against the C library's, a few units in the last place.
      const Words words = random_words(seed, Stream::mixture, i, 1);
      const double want = 0.06 * std::pow(0.25 / 0.06, uniform_double(words[0], words[1]));
      ASSERT_NEAR(spot.sigma, want, 2e-15 * want);
      total += spot.weight;
      smallest = std::min(smallest, spot.weight);
      largest = std::max(largest, spot.weight);
      log_sigma += std::log(spot.sigma);
      x += spot.x;
    }
    ASSERT_NEAR(total, 1, 1e-12);
    ASSERT_LE(largest / smallest, 3);
    weight_ratio = std::max(weight_ratio, largest / smallest);
  }
  constexpr double kDraws = kMixtures * kSpots;
  const double span = std::log(0.25 / 0.06);
  EXPECT_NEAR(log_sigma / kDraws, std::log(0.06) + span / 2, 5 * span / std::sqrt(12 * kDraws));
  EXPECT_NEAR(x / kDraws, 0, 5 * 2 / std::sqrt(12 * kDraws));
  EXPECT_GT(weight_ratio, 2.8);
  EXPECT_THROW(random_mixture(1, 0), std::invalid_argument);
}

double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

// The mixture's mass in [x0, x1] x [y0, y1], before truncation.
double mass(const Mixture& mixture, double x0, double x1, double y0, double y1) {
  double sum = 0;
  for (const auto& s : mixture.spots) {
    sum += s.weight * (normal_cdf((x1 - s.x) / s.sigma) - normal_cdf((x0 - s.x) / s.sigma)) *
           (normal_cdf((y1 - s.y) / s.sigma) - normal_cdf((y0 - s.y) / s.sigma));
  }
  return sum;
}

TEST(Mixture, TheMassOfCellsIsThatOfTheNormalDistribution) {
  for (const std::uint64_t world : {0, 5}) {
    const Mixture mixture = mixture_of_world(world);
    const double whole = mass(mixture, -1, 1, -1, 1);
    for (const std::int64_t size : {1, 7, 48, 1024}) {
      const CellMass cells(mixture, size);
      double sum = 0;
      for (std::int64_t row = 0; row < size; ++row) sum += cells.of(row, 0, size);
      EXPECT_NEAR(sum, 1, 1e-12);
      const double cell = 2.0 / static_cast<double>(size);
      for (const std::int64_t row : {std::int64_t{0}, size / 3, size - 1}) {
        for (const std::int64_t begin : {std::int64_t{0}, size / 2}) {
          const auto at = [&](std::int64_t i) { return -1 + static_cast<double>(i) * cell; };
          EXPECT_NEAR(cells.of(row, begin, size), mass(mixture, at(begin), 1, at(row), at(row + 1)) / whole, 1e-12);
          EXPECT_NEAR(cells.of(row, begin, begin + 1),
                      mass(mixture, at(begin), at(begin + 1), at(row), at(row + 1)) / whole, 1e-12);
        }
      }
    }
  }
}

TEST(Mixture, WorldZeroIsTheDefaultAndOthersComeFromTheirSeed) {
  EXPECT_EQ(mixture_of_world(0).spots[3].x, default_mixture().spots[3].x);
  EXPECT_EQ(mixture_of_world(7).spots[3].x, random_mixture(7).spots[3].x);
}

TEST(Dataset, PointsFollowTheTruncatedMixture) {
  constexpr std::int64_t n = 200000;
  constexpr int kSide = 16;
  const Dataset data = sample_spiral(default_mixture(), Spiral{}, n, 11);
  std::vector<double> counts(kSide * kSide);
  double sum[2] = {}, squares[2] = {};
  for (std::int64_t i = 0; i < n; ++i) {
    int at[2];
    for (int axis = 0; axis < 2; ++axis) {
      const double v = data.points[2 * i + axis];
      ASSERT_LE(std::abs(v), 1);
      at[axis] = std::min(static_cast<int>((v + 1) / 2 * kSide), kSide - 1);
      sum[axis] += v;
      squares[axis] += v * v;
    }
    ++counts[at[1] * kSide + at[0]];
  }
  const double whole = mass(default_mixture(), -1, 1, -1, 1);
  double chi2 = 0, thin_expected = 0, thin_got = 0;
  int cells = 1;
  double want[2] = {}, want_squares[2] = {};
  for (int row = 0; row < kSide; ++row) {
    for (int column = 0; column < kSide; ++column) {
      const double width = 2.0 / kSide, x = -1 + column * width, y = -1 + row * width;
      const double expected = n * mass(default_mixture(), x, x + width, y, y + width) / whole;
      const double got = counts[row * kSide + column];
      if (expected < 20) {  // too few for a chi-square: thin cells count as one
        thin_expected += expected;
        thin_got += got;
        continue;
      }
      chi2 += (got - expected) * (got - expected) / expected;
      ++cells;
    }
  }
  ASSERT_GT(thin_expected, 20);
  chi2 += (thin_got - thin_expected) * (thin_got - thin_expected) / thin_expected;
  // Mean cells - 1, standard deviation sqrt(2 (cells - 1)); five of them.
  EXPECT_NEAR(chi2, cells - 1, 5 * std::sqrt(2.0 * (cells - 1)));

  // Moments by the midpoint rule over narrow strips, whose error is far below a standard error.
  constexpr int kStrips = 4000;
  for (int i = 0; i < kStrips; ++i) {
    const double low = -1 + i * 2.0 / kStrips, high = low + 2.0 / kStrips, middle = (low + high) / 2;
    const double strip[2] = {mass(default_mixture(), low, high, -1, 1) / whole,
                             mass(default_mixture(), -1, 1, low, high) / whole};
    for (int axis = 0; axis < 2; ++axis) {
      want[axis] += strip[axis] * middle;
      want_squares[axis] += strip[axis] * middle * middle;
    }
  }
  for (int axis = 0; axis < 2; ++axis) {
    EXPECT_NEAR(sum[axis] / n, want[axis], 5 * std::sqrt(want_squares[axis] / n));
    EXPECT_NEAR(squares[axis] / n, want_squares[axis], 5 * std::sqrt(want_squares[axis] / n));
  }
}

TEST(Dataset, TheTipIsNearlyEmpty) {
  // The inside of the last quarter turn, where the band runs into its tip, holds 0.9 % of the mass.
  constexpr std::int64_t n = 400000;
  const Dataset data = sample_spiral(default_mixture(), Spiral{}, n, 12);
  const double end = 8 * kPi, c = 0.92 / end;
  std::int64_t near = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    if (data.labels[i] == 0) continue;
    const double x = data.points[2 * i], y = data.points[2 * i + 1];
    const double turned = std::atan2(y, x) - 0.75 * kPi;
    // The turn whose centre line is nearest.
    const double t = turned + 2 * kPi * std::round((std::hypot(x, y) / c - turned) / (2 * kPi));
    near += t > end - kPi / 2;
  }
  EXPECT_NEAR(static_cast<double>(near) / n, 0.009, 0.0005);
}

TEST(Dataset, LabelsAreTheTruthTurnedOverAtTheRateAskedFor) {
  constexpr std::int64_t n = 100000;
  const Dataset clean = sample_spiral(default_mixture(), Spiral{}, n, 5);
  for (std::int64_t i = 0; i < n; ++i) {
    ASSERT_EQ(clean.labels[i] == 1, Spiral{}.inside(clean.points[2 * i], clean.points[2 * i + 1]));
  }
  for (const double rate : {0.0, 0.1, 0.5, 1.0}) {
    const Dataset noisy = sample_spiral(default_mixture(), Spiral{}, n, 5, rate);
    EXPECT_TRUE(test::same_bits(noisy.points, clean.points));
    std::int64_t turned[2] = {}, of[2] = {};
    for (std::int64_t i = 0; i < n; ++i) {
      ++of[clean.labels[i]];
      turned[clean.labels[i]] += noisy.labels[i] != clean.labels[i];
    }
    for (int c = 0; c < 2; ++c) {  // at the same rate in both classes
      const auto count = static_cast<double>(of[c]);
      EXPECT_NEAR(static_cast<double>(turned[c]) / count, rate, 5 * std::sqrt(rate * (1 - rate) / count));
    }
  }
  EXPECT_THROW(sample_spiral(default_mixture(), Spiral{}, 1, 0, -0.1), std::invalid_argument);
  EXPECT_THROW(sample_spiral(default_mixture(), Spiral{}, 1, 0, NAN), std::invalid_argument);
  EXPECT_THROW(sample_spiral(default_mixture(), Spiral{}, -1, 0), std::invalid_argument);
  const Mixture outside{{{50, 50, 0.1, 1}}};
  EXPECT_THROW(sample_spiral(outside, Spiral{}, 1, 0), std::invalid_argument);
}

class Csv : public testing::Test {
 protected:
  Csv() : file_(fs::path(testing::TempDir()) / ("scalelab_csv_" + std::to_string(::getpid()) + ".csv")) {}
  ~Csv() override { fs::remove(file_); }
  Dataset read(const std::string& text) {
    std::ofstream(file_, std::ios::binary) << text;
    return read_labelled({file_}).all;
  }
  // The failure's text, which must name the file.
  std::string complaint(const std::string& text) {
    try {
      read(text);
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.exit_code, kBadData);
      const std::string line = failure.what();
      EXPECT_EQ(line.find('\n'), std::string::npos);
      EXPECT_EQ(line.rfind(file_.string() + ": ", 0), 0U) << line;
      return line.substr(std::min(line.size(), file_.string().size() + 2));
    }
    return "accepted";
  }
  fs::path file_;
};

TEST_F(Csv, WhatIsWrittenReadsBackToTheSameBits) {
  Dataset data = sample_spiral(default_mixture(), Spiral{}, 5000, 1);
  const float awkward[] = {-0.0F, 1e-45F, 3.4028235e38F, 0.1F, 1e-5F, 16777216.0F};
  std::copy(std::begin(awkward), std::end(awkward), data.points.begin());
  write_points_csv(file_, data);
  const Dataset back = read_labelled({file_}).all;
  EXPECT_TRUE(test::same_bits(back.points, data.points));
  EXPECT_TRUE(test::same_bits(back.labels, data.labels));
  EXPECT_EQ(back.class_names, data.class_names);
  EXPECT_EQ(back.features, 2);
  std::ifstream input(file_);
  std::string header;
  std::getline(input, header);
  EXPECT_EQ(header, "x,y,label");
}

TEST_F(Csv, NamesWithCommasAndQuotesSurvive) {
  Dataset data;
  data.features = 3;
  data.points = {1, 2, 3, 4, 5, 6};
  data.labels = {1, 0};
  data.class_names = {"a \"b\"", "c, d"};
  write_points_csv(file_, data);
  const Dataset back = read_labelled({file_}).all;
  EXPECT_EQ(back.class_names, data.class_names);
  EXPECT_EQ(back.features, 3);
  EXPECT_TRUE(test::same_bits(back.points, data.points));
  EXPECT_TRUE(test::same_bits(back.labels, data.labels));
}

TEST_F(Csv, FormsThatMeanTheSame) {
  const std::vector<float> points = {0.5F, -1, 2, 3};
  const std::vector<std::uint8_t> labels = {0, 1};
  for (const char* text : {
           "x,y,label\n0.5,-1,0\n2,3,1\n", "0.5,-1,0\n2,3,1\n", "0.5,-1,0\n2,3,1",  // no header, no end of line
           "x,y,label\r\n0.5,-1,0\r\n2,3,1\r\n",                                    // CRLF
           "\xef\xbb\xbfx,y,label\n0.5,-1,0\n2,3,1\n",                              // byte order mark
           "\"x\",\"y\",\"label\"\n\"0.5\",\"-1\",\"0\"\n\"2\",\"3\",\"1\"\n",      // quoted
           " 0.5 , -1 , 0 \n\n 2 , +3 , 1 \n\n",                                    // spaces, blank lines, plus
           "5e-1,-1.0,0.0\n2.0,3.,1.0\n",                                           // whole numbers as decimals
       }) {
    const Dataset data = read(text);
    EXPECT_TRUE(test::same_bits(data.points, points)) << text;
    EXPECT_TRUE(test::same_bits(data.labels, labels)) << text;
    EXPECT_EQ(data.class_names, (std::vector<std::string>{"0", "1"})) << text;
  }
}

TEST_F(Csv, ClassesAreNumberedByValueOrByName) {
  Dataset data = read("1,1,10\n1,1,9\n1,1,-3\n1,1,10.0\n");
  EXPECT_EQ(data.class_names, (std::vector<std::string>{"-3", "9", "10"}));
  EXPECT_EQ(data.labels, (std::vector<std::uint8_t>{2, 1, 0, 2}));
  data = read("1,1,dog\n1,1,cat\n1,1,dog\n1,1,7\n");
  EXPECT_EQ(data.class_names, (std::vector<std::string>{"7", "cat", "dog"}));
  EXPECT_EQ(data.labels, (std::vector<std::uint8_t>{2, 1, 2, 0}));
  EXPECT_EQ(data.classes, 3);
  std::string many;
  for (int c = 0; c < 256; ++c) many += "0,0," + std::to_string(c) + "\n";
  EXPECT_EQ(read(many).classes, 256);
  EXPECT_EQ(complaint(many + "0,0,256\n"),
            "line 257: column 3: '256' is the 257th label; the last column must name one of up to 256 classes");
}

TEST_F(Csv, WhatIsWrongIsNamed) {
  EXPECT_EQ(complaint(""), "holds no points");
  EXPECT_EQ(complaint("x,y,label\n"), "holds no points");
  EXPECT_EQ(complaint("x,y,label\n1,2,0\n3,4\n"), "line 3: 2 columns where line 1 has 3");
  EXPECT_EQ(complaint("1,2,0\n3,4,1,5\n"), "line 2: 4 columns where line 1 has 3");
  EXPECT_EQ(complaint("x,y,label\n1,2,0\n3,four,1\n"), "line 3: column 2: 'four' is not a number");
  EXPECT_EQ(complaint("1,2,0\n3,,1\n"), "line 2: column 2: '' is not a number");
  EXPECT_EQ(complaint("1,2,0\n3,1.5x,1\n"), "line 2: column 2: '1.5x' is not a number");
  EXPECT_NE(complaint(",x,y,label\n0,1,2,a\n").find("in pandas by index=False"), std::string::npos);
  EXPECT_NE(complaint("label,x,y\ndog,1,2\n").find("only the last column, the label, may be text"), std::string::npos);
  EXPECT_EQ(complaint("1,2,0\nnan,4,1\n"), "line 2: column 1: 'nan' is not a finite 32-bit number");
  EXPECT_EQ(complaint("1,2,0\n-inf,4,1\n"), "line 2: column 1: '-inf' is not a finite 32-bit number");
  EXPECT_EQ(complaint("1,2,0\n1e39,4,1\n"), "line 2: column 1: '1e39' is not a finite 32-bit number");
  EXPECT_EQ(complaint("1,2,0\n3,4,\n"), "line 2: column 3: the label is empty");
  EXPECT_EQ(complaint("1,2,0\n3,4,nan\n"), "line 2: column 3: the label 'nan' is not finite");
  EXPECT_EQ(complaint("1,2,7\n3,4,7.0\n"), "one class only: every label is '7'; at least two classes are needed");
  EXPECT_EQ(complaint("1\n2\n"),
            "line 1: one column; each line needs its coordinates and a label, separated by commas, semicolons, tabs, "
            "bars or spaces");
  EXPECT_EQ(
      complaint("0,1,label\n1,2,0\n3,4,1\n"),
      "line 1: column 3: the label 'label' is a word and all others are numbers; remove the line if it is a header");
  EXPECT_NE(complaint("1,2,tea\n3,4,caf\xe9\n").find("line 2: column 3: the label 'caf\xe9' is not in UTF-8"),
            std::string::npos);
  EXPECT_EQ(read("1,2,tea\n3,4,caf\xc3\xa9\n").class_names[0], "caf\xc3\xa9");
  EXPECT_EQ(complaint("1,2,0\n3,4,\"1\n5,6,0\n"), "line 3: a quoted cell that is never closed");
  EXPECT_EQ(complaint("1,2,0\n3,4,1\"\n").rfind("line 2: ", 0), 0U);
  EXPECT_EQ(complaint(std::string("1,2,0\n3,\x01\n,1\n", 14)).rfind("line 2: ", 0), 0U);
}

TEST_F(Csv, SemicolonsAndTabsSeparateToo) {
  const Dataset comma = read("x,y,l\n1,2,a\n3,4,b\n");
  for (const std::string text : {"x;y;l\n1;2;a\n3;4;b\n", "x\ty\tl\n1\t2\ta\n3\t4\tb\n", "1;2;a\n3;4;b\n",
                                 "\xef\xbb\xbfx;y;l\r\n1;2;a\r\n3;4;b\r\n"}) {
    const Dataset other = read(text);
    EXPECT_TRUE(test::same_bits(other.points, comma.points)) << text;
    EXPECT_EQ(other.class_names, comma.class_names) << text;
  }
  EXPECT_EQ(read("1,2,a;b\n3,4,c\td\n").class_names, (std::vector<std::string>{"a;b", "c\td"}));
  EXPECT_NE(complaint("x;y;l\n0,5;1,2;a\n").find("decimal point"), std::string::npos);
  EXPECT_NE(complaint("0,5;1,2;a\n0,7;1,2;b\n").find("decimal point"), std::string::npos);
}

TEST_F(Csv, AFirstLineIsNeitherLostNorMadeUp) {
  // pandas without names of columns.
  EXPECT_NE(complaint("0,1,species\n1,2,a\n3,4,b\n1,2,a\n").find("line 1: looks like a header"), std::string::npos);
  EXPECT_NE(complaint("0,1,2\n1,2,0\n3,4,1\n").find("line 1: looks like a header"), std::string::npos);
  EXPECT_EQ(read("0,1,a\n1,2,a\n3,4,b\n").size(), 3);  // a point there, of a class that others have
  EXPECT_EQ(read("0,1,1\n1,2,0\n3,4,0\n").size(), 3);
  // A point without coordinates.
  EXPECT_NE(complaint("?,?,rare\n1,2,a\n3,4,b\n").find("line 1: column 1: '?' is not a number"), std::string::npos);
  EXPECT_NE(complaint("NA,NA,rare\n1,2,a\n3,4,b\n").find("line 1: column 1"), std::string::npos);
  EXPECT_NE(complaint(",,rare\n1,2,a\n3,4,b\n").find("line 1: column 1"), std::string::npos);
  EXPECT_NE(complaint("unknown,lost,a\n1,2,a\n3,4,b\n").find("line 1: has no coordinates"), std::string::npos);
}

TEST_F(Csv, FilesOfOtherKindsAreRecognised) {
  using namespace std::string_literals;
  const std::pair<std::string, const char*> kinds[] = {
      {"\x93NUMPY\1\0v\0{'descr': '<f4'"s, "cut short inside its header"},
      {"\x1f\x8b\x08\0\0"s, "gunzip"},
      {"PAR1\x15\0"s, "Parquet"},
      {"PK\3\4\x14\0"s, "zip"},
      {"\xff\xfex\0,\0y\0\n\0"s, "UTF-16"},
      {"\xfe\xff\0x\0,\0y\0\n"s, "UTF-16"},
      {"x\0,\0y\0\n\0"s, "UTF-16"},
      {"\x28\xb5\x2f\xfd\4\0"s, "unzstd"},
      {"\xfd"
       "7zXZ\0"s,
       "unxz"},
      {"\x89HDF\r\n\x1a\n"s, "HDF5"}};
  for (const auto& [bytes, says] : kinds) EXPECT_NE(complaint(bytes).find(says), std::string::npos) << complaint(bytes);
}

TEST_F(Csv, TheFingerprintIsThatOfTheFile) {
  for (const char* text : {"0,0,a\n1,1,b\n", "x,y,l\r\n0,0,a\r\n1,1,b",
                           "\xef\xbb\xbf"
                           "0,0,a\n1,1,\"b\nc\"\n\n"}) {
    read(text);
    EXPECT_EQ(read_csv(file_, true).fingerprint, fingerprint_of(file_)) << text;
  }
}

TEST_F(Csv, MissingFilesAndFoldersAreNamed) {
  for (const fs::path& path : {fs::path(file_.string() + ".missing"), fs::path(testing::TempDir())}) {
    try {
      read_csv(path, true);
      ADD_FAILURE() << path;
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.exit_code, kBadData);
      EXPECT_EQ(std::string(failure.what()).rfind(path.string() + ": ", 0), 0U);
    }
  }
}

}  // namespace
}  // namespace scalelab::host
