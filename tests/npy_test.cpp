// npy: the bytes NumPy would write, every way a file can be wrong, and that no byte of a header can do harm.
#include "host/data/npy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>

#include "host/program/error.h"
#include "host/program/signals.h"
#include "tests/support.h"

namespace scalelab::host {
namespace {

namespace fs = std::filesystem;

// A file as NumPy writes it: version 1.0, or 2.0 with a four-byte length.
std::string npy(const std::string& dictionary, const std::string& numbers, int version = 1) {
  const std::size_t prefix = version == 1 ? 10 : 12;
  std::string header = dictionary;
  header.append(64 - (prefix + header.size() + 1) % 64, ' ');
  header += '\n';
  std::string bytes = "\x93NUMPY";
  bytes += static_cast<char>(version);
  bytes += '\0';
  for (std::size_t i = 0; i < prefix - 8; ++i) bytes += static_cast<char>(header.size() >> (8 * i) & 0xff);
  return bytes + header + numbers;
}

std::string dictionary(const std::string& descr, const std::string& shape, const char* fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }";
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

class Npy : public testing::Test {
 protected:
  Npy() : file_(fs::path(testing::TempDir()) / ("scalelab_npy_" + std::to_string(::getpid()) + ".npy")) {}
  ~Npy() override { fs::remove(file_); }
  void write(const std::string& bytes) const { std::ofstream(file_, std::ios::binary) << bytes; }
  std::vector<float> read(const std::string& bytes, bool round_float64 = false) const {
    write(bytes);
    return NpyMatrix(file_, round_float64).read_all();
  }
  std::string complaint(const std::string& bytes, bool round_float64 = false) const {
    try {
      read(bytes, round_float64);
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.exit_code, kBadData);
      const std::string line = failure.what();
      EXPECT_EQ(line.rfind(file_.string() + ": ", 0), 0U) << line;
      EXPECT_EQ(line.find('\n'), std::string::npos);
      return line.substr(std::min(line.size(), file_.string().size() + 2));
    }
    return "accepted";
  }
  const fs::path file_;
  const std::vector<float> six_ = {1, 2, 3, -4, 0.5F, 6e30F};
};

TEST_F(Npy, WritesWhatNumpyWrites) {
  const auto written = [&](auto writer, const auto& values) {
    writer.write(std::span(values));
    writer.commit();
    std::ifstream input(file_, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(input), {});
  };
  // Exactly these bytes come from numpy.save of NumPy 1.24.
  EXPECT_EQ(written(NpyWriter<float>(file_, {2, 3}), six_), npy(dictionary("<f4", "(2, 3)"), bytes_of(six_)));
  const std::vector<std::int32_t> integers = {7, -1, 1 << 30};
  EXPECT_EQ(written(NpyWriter<std::int32_t>(file_, {3}), integers), npy(dictionary("<i4", "(3,)"), bytes_of(integers)));
  const std::vector<std::uint8_t> bytes = {0, 255, 3, 4};
  EXPECT_EQ(written(NpyWriter<std::uint8_t>(file_, {2, 2}), bytes), npy(dictionary("|u1", "(2, 2)"), bytes_of(bytes)));
  EXPECT_EQ(npy(dictionary("<f4", "(2, 3)"), "").size(), 128U);
}

TEST_F(Npy, PiecesInAnyOrderMakeTheSameFile) {
  NpyWriter<float> writer(file_, {2, 3});
  writer.write_at(3, std::span(six_).subspan(3));
  writer.write_at(0, std::span(six_).first(3));
  writer.commit();
  EXPECT_TRUE(test::same_bits(NpyMatrix(file_).read_all(), six_));
}

TEST_F(Npy, ReadsFloat32InEveryLawfulForm) {
  for (const std::string& bytes :
       {npy(dictionary("<f4", "(2, 3)"), bytes_of(six_)), npy(dictionary("<f4", "(2,3)"), bytes_of(six_), 2),
        npy(dictionary("<f4", "(6,)"), bytes_of(six_), 3), npy(dictionary("<f4", "(6, 1)", "True"), bytes_of(six_)),
        // Python 2 on Windows: longs, and texts marked as unicode.
        npy(dictionary("<f4", "(2L, 3L)"), bytes_of(six_)),
        npy("{u'descr': u'<f4', u'fortran_order': False, u'shape': (2L, 3L), }", bytes_of(six_)),
        npy("{\"shape\": (2, 3), \"fortran_order\": False, \"descr\": \"<f4\"}", bytes_of(six_)),
        // A header that leaves the numbers unaligned.
        std::string("\x93NUMPY\x01\0\x3c\0", 10) + dictionary("<f4", "(2, 3)") + "\n" + bytes_of(six_)}) {
    EXPECT_TRUE(test::same_bits(read(bytes), six_));
  }
  write(npy(dictionary("<f4", "(2, 3)"), bytes_of(six_)));
  const NpyMatrix matrix(file_);
  EXPECT_EQ(matrix.rows(), 2);
  EXPECT_EQ(matrix.features(), 3);
  std::vector<float> row(3);
  matrix.read(1, 1, row);
  EXPECT_TRUE(test::same_bits(row, {-4, 0.5F, 6e30F}));
  EXPECT_THROW(matrix.read(1, 2, row), std::invalid_argument);
  EXPECT_THROW(matrix.read(-1, 1, row), std::invalid_argument);
  EXPECT_THROW(matrix.read(0, 2, row), std::invalid_argument);
  write(npy(dictionary("<f4", "(6,)"), bytes_of(six_)));
  EXPECT_EQ(NpyMatrix(file_).rows(), 6);
  EXPECT_EQ(NpyMatrix(file_).features(), 1);
}

TEST_F(Npy, EveryHalfIsWidenedExactly) {
  for (std::uint32_t half = 0; half < 65536; ++half) {
    const int exponent = static_cast<int>(half >> 10 & 31), fraction = static_cast<int>(half & 1023);
    const double sign = half >> 15 ? -1 : 1;
    const float got = half_to_float(static_cast<std::uint16_t>(half));
    if (exponent == 31) {
      ASSERT_TRUE(fraction == 0 ? got == sign * INFINITY : std::isnan(got)) << half;
      continue;
    }
    const double want = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    ASSERT_EQ(got, sign * want) << half;
    ASSERT_EQ(std::signbit(got), half >> 15 != 0) << half;
  }
  const std::vector<std::uint16_t> halves = {0x3c00, 0xc000, 0x0001};
  EXPECT_TRUE(test::same_bits(read(npy(dictionary("<f2", "(3, 1)"), bytes_of(halves))), {1, -2, 0x1p-24F}));
}

TEST_F(Npy, Float64IsRoundedOnlyWhenAsked) {
  const std::vector<double> wide = {1, 0.1, -1e-3};
  const std::string bytes = npy(dictionary("<f8", "(3,)"), bytes_of(wide));
  EXPECT_EQ(complaint(bytes), "holds float64; save it as float32, or say --round-float64 to have each number rounded");
  EXPECT_TRUE(test::same_bits(read(bytes, true), {1, 0.1F, -1e-3F}));
  EXPECT_EQ(complaint(npy(dictionary("<f8", "(1,)"), bytes_of(std::vector<double>{1e39})), true),
            "row 0, column 0 is inf as a 32-bit number; every number must be finite");
}

TEST_F(Npy, IntegersOfEveryTypeAreRead) {
  const auto integers = [&](const std::string& descr, const std::string& shape, const std::string& numbers) {
    write(npy(dictionary(descr, shape), numbers));
    return read_npy_integers(file_);
  };
  using Integers = std::vector<std::int64_t>;
  EXPECT_EQ(integers("|i1", "(3,)", bytes_of(std::vector<std::int8_t>{-1, 0, 127})), (Integers{-1, 0, 127}));
  EXPECT_EQ(integers("|u1", "(2,)", bytes_of(std::vector<std::uint8_t>{0, 255})), (Integers{0, 255}));
  EXPECT_EQ(integers("|b1", "(2, 1)", bytes_of(std::vector<std::uint8_t>{0, 1})), (Integers{0, 1}));
  EXPECT_EQ(integers("<i2", "(2,)", bytes_of(std::vector<std::int16_t>{-32768, 5})), (Integers{-32768, 5}));
  EXPECT_EQ(integers("<u2", "(1,)", bytes_of(std::vector<std::uint16_t>{65535})), (Integers{65535}));
  EXPECT_EQ(integers("<i4", "(2,)", bytes_of(std::vector<std::int32_t>{-7, 7})), (Integers{-7, 7}));
  EXPECT_EQ(integers("<u4", "(1,)", bytes_of(std::vector<std::uint32_t>{4294967295})), (Integers{4294967295}));
  EXPECT_EQ(integers("<i8", "(1,)", bytes_of(Integers{INT64_MIN})), (Integers{INT64_MIN}));
  EXPECT_EQ(integers("<u8", "(1,)", bytes_of(std::vector<std::uint64_t>{INT64_MAX})), (Integers{INT64_MAX}));
  const auto refused = [&](const std::string& descr, const std::string& shape, const std::string& numbers) {
    try {
      integers(descr, shape, numbers);
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.exit_code, kBadData);
      return std::string(failure.what()).substr(file_.string().size() + 2);
    }
    return std::string("nothing");
  };
  const std::string eight(8, '\xff');
  EXPECT_EQ(refused("<u8", "(1,)", eight), "row 0 is 18446744073709551615, which a signed 64-bit integer cannot hold");
  EXPECT_EQ(refused("<f4", "(2,)", eight), "holds float32; little-endian integers are needed");
  EXPECT_EQ(refused(">i4", "(2,)", eight), "holds int32; little-endian integers are needed");
  EXPECT_EQ(refused("<i4", "(1, 2)", eight), "has shape (1, 2); one integer a row is needed");
  EXPECT_EQ(refused("<i4", "(3,)", eight), "is cut short: its header promises shape (3), and 8 bytes follow");
  EXPECT_EQ(refused("<i4", "(0,)", ""), "has shape (0) and so no numbers");
}

// The first and last code points of each length in UTF-8 (RFC 3629), and what is none: a byte that no text in UTF-8 has,
// so that a reader of labels refuses it.
TEST_F(Npy, TextIsReadAsUtf8) {
  const std::vector<std::uint32_t> characters = {0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x10000, 0x10ffff, 0x110000, ~0U};
  write(npy(dictionary("<U1", "(9,)"), bytes_of(characters)));
  EXPECT_EQ(read_npy_labels(file_),
            (std::vector<std::string>{"\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xef\xbf\xbf",
                                      "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\xff", "\xff"}));
  write(npy(dictionary("<U3", "(2,)"), bytes_of(std::vector<std::uint32_t>{'a', 0xe9, 0, 'b', 0, 0})));
  EXPECT_EQ(read_npy_labels(file_), (std::vector<std::string>{"a\xc3\xa9", "b"}));
  write(npy(dictionary("|S2", "(2,)"), std::string("ab\xe9\0", 4)));
  EXPECT_EQ(read_npy_labels(file_), (std::vector<std::string>{"ab", "\xe9"}));
}

TEST_F(Npy, WhatIsWrongIsNamed) {
  const std::string numbers = bytes_of(six_);
  EXPECT_EQ(complaint(""), "is empty");
  EXPECT_EQ(
      complaint("x,y,label\n1,2,0\n"),
      "is no .npy file, it looks like text; in Python: numpy.save(out, numpy.loadtxt(file, 'f4', delimiter=','))");
  EXPECT_EQ(complaint(std::string("\1\2\3\4\5\6\7\0\1\2\3\4", 12)), "is no .npy file");
  EXPECT_EQ(complaint(npy(dictionary("<i4", "(2, 3)"), numbers)), "holds int32; float32, float16 or uint8 is needed");
  EXPECT_EQ(complaint(npy(dictionary("<i8", "(1, 3)"), numbers)), "holds int64; float32, float16 or uint8 is needed");
  EXPECT_EQ(complaint(npy(dictionary("|O", "(2, 3)"), numbers)),
            "holds Python objects; float32, float16 or uint8 is needed");
  EXPECT_EQ(complaint(npy("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (6,), }", numbers)),
            "holds type [('x', '<f4')]; float32, float16 or uint8 is needed");
  EXPECT_EQ(complaint(npy(dictionary("<\n\x1b[2J\xff", "(2, 3)"), numbers)),
            "holds type <??[2J?; float32, float16 or uint8 is needed");
  EXPECT_EQ(complaint(npy(dictionary(">f4", "(2, 3)"), numbers)),
            "holds big-endian float32; little-endian float32, float16 or uint8 is needed");
  EXPECT_EQ(complaint(npy(dictionary("<f4", "(2, 3)", "True"), numbers)),
            "is in Fortran order; save it in C order (numpy.ascontiguousarray)");
  EXPECT_EQ(complaint(npy(dictionary("<f4", "()"), numbers)), "has 0 axes; (rows, features) is needed");
  EXPECT_EQ(complaint(npy(dictionary("<f4", "(2, 3, 4)"), numbers)),
            "is cut short: its header promises shape (2, 3, 4), and 24 bytes follow");
  EXPECT_EQ(complaint(npy(dictionary("<f4", "(0, 3)"), "")), "has shape (0, 3) and so no numbers");
  EXPECT_EQ(complaint(npy(dictionary("<f4", "(3, 3)"), numbers)),
            "is cut short: its header promises shape (3, 3), and 24 bytes follow");
  EXPECT_EQ(complaint(npy(dictionary("<f4", "(1, 3)"), numbers)),
            "holds more than the shape (1, 3) that its header promises: 24 bytes follow");
  // A product of extents that overflows.
  EXPECT_EQ(complaint(npy(dictionary("<f4", "(4611686018427387904, 4)"), numbers)).rfind("is cut short", 0), 0U);
  EXPECT_EQ(complaint(npy(dictionary("<f4", "(2, -3)"), numbers)), "has a header that cannot be read");
  EXPECT_EQ(complaint(npy("{'descr': '<f4', 'shape': (2, 3), }", numbers)), "has a header that cannot be read");
  EXPECT_EQ(complaint(npy("{'descr': , 'fortran_order': False, 'shape': (2, 3), }", numbers)),
            "has a header that cannot be read");
  std::vector<float> bad = six_;
  bad[4] = NAN;
  EXPECT_EQ(complaint(npy(dictionary("<f4", "(2, 3)"), bytes_of(bad))),
            "row 1, column 1 is nan; every number must be finite");
  bad[4] = -INFINITY;
  EXPECT_EQ(complaint(npy(dictionary("<f4", "(2, 3)"), bytes_of(bad))),
            "row 1, column 1 is -inf; every number must be finite");
  EXPECT_THROW(NpyMatrix(file_.string() + ".missing"), Failure);
  EXPECT_THROW(NpyMatrix(fs::path(testing::TempDir())), Failure);
  EXPECT_THROW(NpyMatrix("/dev/null"), Failure);
}

TEST_F(Npy, AFileThatIsChangedMeanwhileIsNamed) {
  write(npy(dictionary("<f4", "(2, 3)"), bytes_of(six_)));
  const NpyMatrix matrix(file_);
  EXPECT_EQ(matrix.read_all(), six_);
  fs::resize_file(file_, fs::file_size(file_) - 4);  // what is mapped now ends in zeros, without a word of the system
  EXPECT_THROW(matrix.read_all(), Failure);
  EXPECT_THROW(matrix.require_unchanged(), Failure);
}

TEST_F(Npy, AFileThatIsCutMeanwhileEndsInALine) {
  const std::int64_t rows = 100000;  // many pages
  write(npy(dictionary("<f4", "(100000, 1)"), std::string(4 * rows, '\0')));
  EXPECT_EXIT(
      {
        catch_signals();
        const NpyMatrix matrix(file_);
        fs::resize_file(file_, 4096);
        const auto values = matrix.mapped();
        ::_exit(std::accumulate(values.begin(), values.end(), 0.0F) == 0 ? 0 : 1);
      },
      testing::ExitedWithCode(kBadData), "scalelab: .*npy: cannot be read to its end: it was made shorter meanwhile");
}

TEST_F(Npy, AFileCutAnywhereIsRefused) {
  const std::string whole = npy(dictionary("<f4", "(2, 3)"), bytes_of(six_));
  ASSERT_EQ(complaint(whole), "accepted");
  for (std::size_t size = 0; size < whole.size(); ++size)
    ASSERT_NE(complaint(whole.substr(0, size)), "accepted") << size;
}

TEST_F(Npy, NoByteOfAHeaderDoesHarm) {
  const std::string whole = npy(dictionary("<f4", "(2, 3)"), bytes_of(six_));
  int refused = 0;
  for (std::size_t at = 0; at < 128; ++at) {
    for (const int change : {1, 4, 32, 128, 255}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ change);
      refused += complaint(changed) != "accepted";  // anything but a Failure ends the test
    }
  }
  EXPECT_GT(refused, 300);
}

TEST(FeatureRanges, KnowWhatSquaredDistancesCannotHold) {
  const auto ranges = [](const std::vector<float>& rows) {
    FeatureRanges ranges(2);
    ranges.add(rows);
    return ranges;
  };
  const auto overflow = [&](const std::vector<float>& rows) {
    try {
      ranges(rows).require_near("x.npy");
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.exit_code, kBadData);
      return std::string(failure.what()).find("x.npy: the numbers lie so far apart") == 0;
    }
    return false;
  };
  EXPECT_FALSE(overflow({5, 5}));
  EXPECT_FALSE(overflow({1e30F, 0, 1e30F, 1}));  // far from the origin, near each other
  EXPECT_FALSE(overflow({-6e18F, 0, 6e18F, 0}));
  EXPECT_TRUE(overflow({-1e19F, 0, 1e19F, 0}));
  EXPECT_TRUE(overflow({-8e18F, -8e18F, 8e18F, 8e18F}));
  const auto underflow = [&](const std::vector<float>& rows) {
    try {
      ranges(rows).require_apart("x.npy");
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.exit_code, kBadData);
      return std::string(failure.what()).find("x.npy: the numbers lie so near each other") == 0;
    }
    return false;
  };
  EXPECT_FALSE(underflow({1e-30F, 5, 1e-30F, 5}));  // equal rows
  EXPECT_FALSE(underflow({0, 0, 1e-14F, 0}));
  EXPECT_FALSE(underflow({0, 0, 1e-25F, 1}));
  EXPECT_TRUE(underflow({0, 0, 1e-25F, 0}));
  EXPECT_TRUE(underflow({0, 0, 1e-19F, 1e-19F}));
  EXPECT_TRUE(underflow({0, 7, 1e-45F, 7}));
}

}  // namespace
}  // namespace scalelab::host
