// source: the same points in every kind of file are the same points to every command, and each broken file is one line.
#include "host/data/source.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "host/data/csv.h"
#include "host/data/idx.h"
#include "host/lab/evaluate.h"
#include "host/program/error.h"
#include "tests/program.h"
#include "tests/support.h"

namespace scalelab::host {
namespace {

using namespace std::string_literals;

std::string big_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(value >> 8 * i);
  return text;
}

// An IDX file: two zeros, type, axes, sizes, numbers.
std::string idx(int type, const std::vector<std::uint32_t>& shape, const std::string& numbers) {
  std::string text = "\0\0"s + static_cast<char>(type) + static_cast<char>(shape.size());
  for (const std::uint32_t size : shape) text += big_endian(size, 4);
  return text + numbers;
}

std::string floats(const std::vector<float>& values) {
  std::string text;
  for (const float value : values) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, 4);
    text += big_endian(bits, 4);
  }
  return text;
}

std::string gzip(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

// A .npy file of any type.
std::string npy(const std::string& descr, const std::string& shape, const std::string& numbers) {
  std::string header = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }\n";
  return "\x93NUMPY\1\0"s + static_cast<char>(header.size()) + '\0' + header + numbers;
}

class Files : public Program {
 protected:
  std::string file(const std::string& name, const std::string& bytes) const {
    fs::create_directories((folder_ / name).parent_path());
    write_text(folder_ / name, bytes);
    return folder_ / name;
  }
  // The line that an action fails with, without the name of the folder; "accepted" if it does not.
  template <class Action>
  std::string complaint(const Action& action, int code = kBadData) const {
    try {
      action();
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.exit_code, code) << failure.what();
      std::string line = failure.what();
      EXPECT_EQ(line.find('\n'), std::string::npos) << line;
      const std::string folder = folder_.string() + "/";
      for (std::size_t at = 0; (at = line.find(folder)) != std::string::npos;) line.erase(at, folder.size());
      return line;
    }
    return "accepted";
  }
  // The folder of a data set with a test set: images of 2 x 2 pixels.
  void four_files(const std::string& folder, const std::string& train, const std::string& train_labels,
                  const std::string& test, const std::string& test_labels) const {
    const auto images = [](const std::string& pixels) {
      return idx(8, {static_cast<std::uint32_t>(pixels.size() / 4), 2, 2}, pixels);
    };
    const auto labels = [](const std::string& all) { return idx(8, {static_cast<std::uint32_t>(all.size())}, all); };
    file(folder + "/train-images-idx3-ubyte.gz", gzip(images(train)));
    file(folder + "/train-labels-idx1-ubyte", labels(train_labels));
    file(folder + "/t10k-images.idx3-ubyte", images(test));
    file(folder + "/t10k-labels-idx1-ubyte.gz", gzip(labels(test_labels)));
  }
};

TEST_F(Files, IdxOfEveryTypeIsReadExactly) {
  const std::vector<float> small = {0, 1, 2, 127, 100, 7};
  struct Case {
    int type;
    std::string numbers;
    std::vector<float> values;
  };
  std::string doubles;
  for (const float value : small) {
    const double wide = value;
    std::uint64_t bits = 0;
    std::memcpy(&bits, &wide, 8);
    doubles += big_endian(bits, 8);
  }
  for (const auto& [type, numbers, values] : std::vector<Case>{
           {0x08, "\0\1\x80\xff\x64\7"s, {0, 1, 128, 255, 100, 7}},
           {0x09, "\0\1\x80\xff\x64\7"s, {0, 1, -128, -1, 100, 7}},
           {0x0b, "\0\0\0\1\x80\0\xff\xff\1\0\0\7"s, {0, 1, -32768, -1, 256, 7}},
           {0x0c, "\0\0\0\0\xff\xff\xff\xff\1\0\0\0\0\0\0\1\0\0\0\2\0\0\1\0"s, {0, -1, 16777216, 1, 2, 256}},
           {0x0d, floats({0.1F, -1e30F, 3, 4, 5, 1e-40F}), {0.1F, -1e30F, 3, 4, 5, 1e-40F}},
           {0x0e, doubles, small}}) {
    for (const bool packed : {false, true}) {
      const std::string bytes = idx(type, {3, 1, 2}, numbers);
      const IdxArray array = read_idx(file("a", packed ? gzip(bytes) : bytes), true);
      EXPECT_EQ(array.shape, (std::vector<std::int64_t>{3, 1, 2})) << type;
      EXPECT_TRUE(test::same_bits(array.values, values)) << type;
      EXPECT_EQ(array.bytes, type == 0x08);
    }
  }
  EXPECT_EQ(read_idx_integers(file("a", idx(0x0c, {2}, "\xff\xff\xff\xfe\x7f\xff\xff\xff"s))),
            (std::vector<std::int64_t>{-2, 2147483647}));
}

TEST_F(Files, WhatIsWrongWithAnIdxFileIsNamed) {
  const auto says = [&](const std::string& bytes) { return complaint([&] { read_idx(file("a", bytes)); }); };
  EXPECT_EQ(says(""), "a: is empty");
  EXPECT_EQ(says("\0\0\x08"s), "a: is no IDX file: it is too short");
  EXPECT_EQ(says("\0\1\x08\1\0\0\0\1x"s),
            "a: is no IDX file: it begins with 00 01 08 01, not with 00 00, a type and a number of axes");
  EXPECT_EQ(says(idx(0x0a, {1}, "x")), "a: is an IDX file of type 0a, which is not known");
  EXPECT_EQ(says(idx(8, {}, "x")), "a: is an IDX file of 0 axes; 1 to 8 are read");
  EXPECT_EQ(says(idx(8, {2, 0}, "")), "a: has shape (2, 0) and so no numbers");
  EXPECT_EQ(says(idx(8, {2, 2}, "abc")), "a: is cut short: its header promises shape (2, 2), and 3 bytes follow");
  EXPECT_EQ(says(idx(8, {2, 2}, "abcde")), "a: holds more than the shape (2, 2) that its header promises");
  EXPECT_EQ(says(idx(0x0e, {1}, big_endian(0, 8))), "a: holds float64; float32 or whole numbers are needed");
  EXPECT_EQ(says(idx(0x0c, {2}, "\0\0\0\0\1\0\0\1"s)), "a: number 1 is 16777217, which a 32-bit float cannot hold");
  EXPECT_EQ(says(idx(0x0d, {2}, floats({1, NAN}))), "a: number 1 is nan; every number must be finite");
  EXPECT_EQ(complaint([&] {
              read_idx_integers(file("a", idx(8, {1, 2}, "ab")));
            }),
            "a: has shape (1, 2); one whole number a row is needed");
  EXPECT_EQ(complaint([&] { read_idx_integers(file("a", idx(0x0d, {1}, floats({1})))); }),
            "a: holds floating-point numbers; whole numbers are needed");
  EXPECT_EQ(complaint([&] { read_idx(folder_ / "none"); }), "none: cannot be read: No such file or directory");
  EXPECT_NE(complaint([&] { read_idx(folder_); }), "accepted");
}

TEST_F(Files, AnIdxFileCutOrBrokenAnywhereIsRefused) {
  std::string numbers;
  for (int i = 0; i < 300; ++i) numbers += static_cast<char>(i * i % 251);
  const std::string plain = idx(8, {75, 4}, numbers), packed = gzip(plain);
  const std::vector<float> values = read_idx(file("a", packed)).values;
  for (const std::string& whole : {plain, packed}) {
    for (std::size_t length = 0; length < whole.size(); ++length) {
      EXPECT_NE(complaint([&] { read_idx(file("a", whole.substr(0, length))); }), "accepted") << length;
    }
  }
  EXPECT_NE(complaint([&] { read_idx(file("a", packed.substr(0, packed.size() - 9))); }).find("cut short"),
            std::string::npos);
  // Behind the ten bytes of gzip's own header every bit is held by its checksum, or breaks what was packed; but for those
  // that fill up its last byte.
  for (std::size_t at = 10; at < packed.size(); ++at) {
    std::string broken = packed;
    broken[at] = static_cast<char>(broken[at] ^ 0x10);
    const std::string line = complaint([&] { EXPECT_EQ(read_idx(file("a", broken)).values, values) << at; });
    EXPECT_TRUE(line != "accepted" || at == packed.size() - 9) << at;
  }
}

TEST_F(Files, AHeaderThatClaimsTheWorldAllocatesNothing) {
  const std::string claim = idx(8, {1U << 20, 1U << 20, 1U << 20}, "abc");  // 2^60 rows' bytes
  const std::string large = idx(8, {1U << 31}, "abc");
  for (const auto& [bytes, shape] :
       {std::pair{claim, "(1048576, 1048576, 1048576)"}, std::pair{large, "(2147483648)"}}) {
    for (const std::string& form : {bytes, gzip(bytes)}) {
      const std::string name = file("a-idx3-ubyte.gz", form);
      const Finished finished = run({"kmeans", "--data", name, "--clusters", "1", "--out", "out"});
      EXPECT_EQ(finished.code, 3) << finished.err;
      EXPECT_NE(finished.err.find("cut short: its header promises shape "s + shape + ", and 3 bytes follow"),
                std::string::npos)
          << finished.err;
      EXPECT_LT(finished.peak_kilobytes, 300000);
    }
  }
}

TEST_F(Files, LabelsOfEveryKindAreTheSame) {
  const std::vector<int> want = {2, 0, 1, 2};
  const auto labels = [&](const std::string& name, const std::string& bytes) {
    return read_labels(file(name, bytes), 4, "x");
  };
  std::string wide, narrow;
  for (const char* name : {"cat", "ant", "b", "cat"}) {
    std::string four(name);
    four.resize(4);
    narrow += four;
    for (const char c : four) wide += c + "\0\0\0"s;
  }
  for (const auto& [name, bytes] :
       std::map<std::string, std::string>{{"u.npy", npy("<U4", "(4,)", wide)},
                                          {"s.npy", npy("|S4", "(4, 1)", narrow)},
                                          {"lines.txt", "cat\nant\nb\ncat\n"},
                                          {"end", "cat\r\nant\r\n b \r\ncat"},
                                          {"header.csv", "label\ncat\nant\nb\ncat\n\n"},
                                          {"quoted", "\xef\xbb\xbf\"cat\"\nant\nb\ncat\n"}}) {
    const Labels read = labels(name, bytes);
    EXPECT_EQ(read.of_row, want) << name;
    EXPECT_EQ(read.names, (std::vector<std::string>{"ant", "b", "cat"})) << name;
  }
  for (const auto& [name, bytes] :
       std::map<std::string, std::string>{{"i.npy", npy("<i2", "(4,)", "\x0a\0\xff\xff\2\0\x0a\0"s)},
                                          {"idx1.gz", gzip(idx(9, {4}, "\x0a\xff\2\x0a"))},
                                          {"lines", "10\n-1\n2\n10.0\n"}}) {
    const Labels read = labels(name, bytes);
    EXPECT_EQ(read.of_row, want) << name;
    EXPECT_EQ(read.names, (std::vector<std::string>{"-1", "2", "10"})) << name;
  }
  const std::string character = "\x3d\xd8\1\0"s;  // U+1D83D, four bytes of UTF-8
  EXPECT_EQ(read_labels(file("c.npy", npy("<U1", "(2,)", character + "\xe9\0\0\0"s)), 2, "x").names,
            (std::vector<std::string>{"\xc3\xa9", "\xf0\x9d\xa0\xbd"}));
}

TEST_F(Files, WhatIsWrongWithLabelsIsNamed) {
  const auto says = [&](const std::string& bytes) { return complaint([&] { read_labels(file("y", bytes), 3, "x"); }); };
  EXPECT_EQ(says("a\nb\n"), "y: holds 2 labels where x has 3 rows");
  EXPECT_EQ(says("a\nb\nc\nd\ne\n"), "y: holds 5 labels where x has 3 rows");
  EXPECT_EQ(says(idx(8, {2}, "ab")), "y: holds 2 labels where x has 3 rows");
  EXPECT_EQ(says("a\nb,c\nd\n"), "y: line 2: 'b,c' is more than one label; one a line is needed");
  EXPECT_EQ(says("a\n\nc\n"), "y: row 1: the label is empty");
  EXPECT_EQ(says("a\nb\ncaf\xe9\n"),
            "y: row 2: the label 'caf\xe9' is not in UTF-8; save the file as UTF-8 (as iconv -f LATIN1 -t UTF-8)");
  EXPECT_EQ(says(npy("<U1", "(3,)", "\0\xd8\0\0"s + "a\0\0\0"s + "b\0\0\0"s)).rfind("y: row 0: the label", 0), 0U);
  EXPECT_EQ(says(npy("<U4", "(3,)", "abc")).rfind("y: is cut short", 0), 0U);
  EXPECT_EQ(says(npy("<U0", "(3,)", "")).rfind("y: holds ", 0), 0U);
  EXPECT_EQ(says(npy("|O", "(3,)", "abc")), "y: holds Python objects; in Python: numpy.save(file, y.astype(str))");
  EXPECT_EQ(says(npy("<f8", "(3,)", std::string(24, '\0'))), "y: holds float64; little-endian integers are needed");
  EXPECT_EQ(says("a\0b\nc\n"s), "y: is no text; labels are .npy, IDX, or text with one label a line");
  EXPECT_NE(says("PAR1\n").find("Parquet"), std::string::npos);
}

TEST_F(Files, ADataSetBringsItsOwnTest) {
  four_files("d", "\0\0\0\0\xff\xff\xff\xff\x80\x80\x80\x80"s, "\7\1\7"s, "\xff\xff\xff\xfe\1\0\0\0"s, "\1\7");
  const SourcePoints points = read_labelled({folder_ / "d"});
  EXPECT_EQ(points.all.size(), 3);
  EXPECT_EQ(points.all.features, 4);
  EXPECT_TRUE(points.all.pixels);
  EXPECT_EQ(points.all.class_names, (std::vector<std::string>{"1", "7"}));
  EXPECT_EQ(points.all.labels, (std::vector<std::uint8_t>{1, 0, 1}));
  ASSERT_TRUE(points.test);
  EXPECT_EQ(points.test->labels, (std::vector<std::uint8_t>{0, 1}));
  EXPECT_TRUE(test::same_bits(points.test->points, std::vector<float>{255, 255, 255, 254, 1, 0, 0, 0}));

  // By its name, where the package puts it.
  fs::create_directories(folder_ / "datasets");
  const auto found = [&] { return files_of({"fashion-mnist"}, folder_ / "datasets"); };
  EXPECT_EQ(complaint(found, kMissing),
            "fashion-mnist: is not installed; apt-get install dataset-fashion-mnist, or name the folder that holds its "
            "four files");
  fs::rename(folder_ / "d", folder_ / "datasets/fashion-mnist");
  EXPECT_EQ(found().data, folder_ / "datasets/fashion-mnist/train-images-idx3-ubyte.gz");
  EXPECT_EQ(found().test_labels, folder_ / "datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz");

  const std::string folder = folder_ / "datasets/fashion-mnist";
  EXPECT_EQ(complaint(
                [&] {
                  files_of({folder, "y.npy"});
                },
                kMisuse),
            "--labels: datasets/fashion-mnist brings its own labels");
  file("datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz", gzip(idx(8, {2}, "\1\3")));
  EXPECT_EQ(complaint([&] { read_labelled({folder}); }),
            "datasets/fashion-mnist/t10k-images.idx3-ubyte: the label '3' is that of no training row");
  file("datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz", gzip(idx(8, {3}, "\1\7\7")));
  EXPECT_EQ(complaint([&] { read_labelled({folder}); }),
            "datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz: holds 3 labels where "
            "datasets/fashion-mnist/t10k-images.idx3-ubyte has 2 rows");
  file("datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz", gzip(idx(8, {2}, "\1\7")));
  file("datasets/fashion-mnist/t10k-images.idx3-ubyte", idx(8, {2, 1, 2}, "abcd"));
  EXPECT_EQ(complaint([&] { read_labelled({folder}); }),
            "datasets/fashion-mnist/t10k-images.idx3-ubyte: has 2 features where the training rows have 4");
  fs::remove(folder_ / "datasets/fashion-mnist/t10k-images.idx3-ubyte");
  EXPECT_NE(complaint([&] { read_labelled({folder}); }).find("is a folder without t10k-images-idx3-ubyte or"),
            std::string::npos);
}

TEST_F(Files, LabelsLieBesideTheirImages) {
  const std::string images = file("my-images-idx3-ubyte", idx(8, {2, 1, 2}, "abcd"));
  EXPECT_EQ(complaint([&] { read_labelled({images}); }, kMisuse),
            "my-images-idx3-ubyte: has no labels; name a file of them by --labels");
  file("my-labels-idx1-ubyte", idx(8, {2}, "\0\1"s));
  EXPECT_EQ(read_labelled({images}).all.labels, (std::vector<std::uint8_t>{0, 1}));
  const std::string own = file("own.txt", "u\nv\n");
  EXPECT_EQ(read_labelled({images, own}).all.class_names, (std::vector<std::string>{"u", "v"}));
  EXPECT_TRUE(Rows({images, "none"}).labels().empty());
  // The fingerprint is that of the bytes of both, and of a file alone that file's.
  EXPECT_EQ(fingerprint_of(Source{images, "none"}), fingerprint_of(fs::path(images)));
  EXPECT_NE(fingerprint_of(Source{images}), fingerprint_of(Source{images, "none"}));
  EXPECT_NE(fingerprint_of(Source{images}), fingerprint_of(Source{images, own}));
}

TEST_F(Files, PixelsAreScaledWithoutARounding) {
  std::string pixels, labels;
  for (int i = 0; i < 256; ++i) {
    pixels += static_cast<char>(i) + "\0\0\xff"s;
    labels += static_cast<char>(i % 2);
  }
  four_files("d", pixels, labels, "\5\0\0\0"s, "\1");
  Trial trial;
  trial.data = folder_ / "d";
  trial.n = 256;
  const TrialData data = load_data(trial);
  ASSERT_EQ(data.train.size(), 256);
  EXPECT_TRUE(test::same_bits(data.test->points, std::vector<float>{-123.0F / 128, -1, -1, -1}));
  std::vector<float> first;
  for (std::size_t i = 0; i < data.train.points.size(); i += 4) {
    first.push_back(128 * data.train.points[i] + 128);
    EXPECT_EQ(data.train.points[i + 3], 127.0F / 128);
  }
  std::sort(first.begin(), first.end());
  for (int i = 0; i < 256; ++i) EXPECT_EQ(first[i], i);
}

// 90 points of three classes in four features, in every kind of file.
class SameFiles : public Files {
 protected:
  static constexpr int kRows = 90;
  SameFiles() {
    const char* separators[] = {",", ";", "\t", "|", "  "};
    for (int i = 0; i < kRows; ++i) {
      for (int c = 0; c < 2; ++c) values_.push_back(static_cast<float>((i * (7 + 6 * c) + i * i) % 61) / 8 + i % 3);
      labels_.push_back(i % 3);
    }
    std::string texts[5], lines, wide;
    for (int i = 0; i < kRows; ++i) {
      const std::string name = "abc"s.substr(static_cast<std::size_t>(labels_[i]), 1);
      for (int s = 0; s < 5; ++s) {
        for (int c = 0; c < 2; ++c) texts[s] += std::to_string(values_[2 * i + c]) + separators[s];
        texts[s] += name + "\n";
      }
      lines += name + "\n";
      wide += name + "\0\0\0"s;
    }
    const std::string names[] = {"comma.csv", "semicolon.csv", "tab.tsv", "bar.txt", "spaces.data"};
    for (int s = 0; s < 5; ++s) {
      file(names[s], texts[s]);
      sources_.push_back({names[s]});
    }
    write_npy("x.npy", values_, {kRows, 2});
    write_npy("i.npy", labels_, {kRows});
    file("text.npy", npy("<U1", "(90,)", wide));
    file("lines.txt", lines);
    file("x-images-idx3-ubyte.gz", gzip(idx(0x0d, {kRows, 1, 2}, floats(values_))));
    file("x-labels-idx1-ubyte.gz", gzip(idx(8, {kRows}, std::string(labels_.begin(), labels_.end()))));
    for (const char* labels : {"i.npy", "text.npy", "lines.txt"}) sources_.push_back({"x.npy", labels});
    sources_.push_back({"x-images-idx3-ubyte.gz"});
  }
  // What each source leaves in files of a folder, the same from all of them.
  void expect_same(const Words& words, const Words& files) const {
    std::vector<std::string> want;
    for (std::size_t s = 0; s < sources_.size(); ++s) {
      Words all = words;
      const std::string out = "out" + std::to_string(s);
      all.insert(all.end(), {"--data", sources_[s].data, "--out", out, "--quiet"});
      if (!sources_[s].labels.empty()) all.insert(all.end(), {"--labels", sources_[s].labels});
      good(all);
      for (std::size_t f = 0; f < files.size(); ++f) {
        const std::string got = read_file(folder_ / out / files[f]);
        EXPECT_FALSE(got.empty()) << files[f];
        if (s == 0) want.push_back(got);
        EXPECT_EQ(got, want[f]) << words[0] << " " << files[f] << " of " << sources_[s].data << " "
                                << sources_[s].labels;
      }
      fs::remove_all(folder_ / out);
    }
  }
  // The errors that a study measured, from all sources the same.
  void expect_same_rows(const Words& words) const {
    std::vector<std::string> want;
    for (std::size_t s = 0; s < sources_.size(); ++s) {
      Words all = words;
      all.insert(all.end(), {"--data", sources_[s].data, "--out", "study", "--quiet"});
      if (!sources_[s].labels.empty()) all.insert(all.end(), {"--labels", sources_[s].labels});
      good(all);
      std::vector<std::string> got;
      const auto document = result("study");
      for (const auto& row : document["rows"]) {
        EXPECT_NE(row["status"].get<std::string>().rfind("failed", 0), 0U) << row["status"];
        got.push_back(row["test_error"].dump() + " " + row["train_error"].dump());
      }
      EXPECT_FALSE(got.empty());
      if (s == 0) want = got;
      EXPECT_EQ(got, want) << words[0] << " of " << sources_[s].data << " " << sources_[s].labels;
      fs::remove_all(folder_ / "study");
    }
  }
  std::vector<float> values_;
  std::vector<std::int32_t> labels_;
  std::vector<Source> sources_;
};

TEST_F(SameFiles, OwnDataCommandsReadThemAlike) {
  expect_same({"boundary", "--k", "3", "--grid", "16"}, {"labels.npy", "boundary.png"});
  expect_same({"knn", "--queries", "x.npy", "--k", "3"}, {"indices.npy", "distances.npy"});
  expect_same({"kmeans", "--clusters", "4"}, {"labels.npy", "centroids.npy"});
  expect_same({"prune", "--score", "class-mean", "--fraction", "0.4"}, {"kept_ids.npy", "scores.npy", "removed.csv"});
  expect_same({"prune", "--clusters", "4", "--fraction", "0.4"}, {"kept_ids.npy", "scores.npy", "removed.csv"});
}

TEST_F(SameFiles, StudiesReadThemAlike) {
  expect_same_rows({"prune-study", "--model", "knn-1", "--scores", "kmeans,class-mean", "--clusters", "4", "--sizes",
                    "60", "--seeds", "0"});
  expect_same_rows({"curriculum", "--widths", "4", "--epochs", "3", "--clusters", "4", "--seeds", "0"});
  expect_same_rows({"lottery", "--widths", "4", "--epochs", "3", "--levels", "1", "--seeds", "0"});
}

TEST_F(SameFiles, ASweepFileNamesThemFromWhereItLies) {
  fs::create_directories(folder_ / "deep");
  for (const char* name : {"comma.csv", "x.npy", "lines.txt"}) fs::rename(folder_ / name, folder_ / "deep" / name);
  write_text(folder_ / "deep/s.json", R"({"grids": [
    {"data": "comma.csv", "model": "knn-3", "n": [20, 40], "seeds": "0..1"},
    {"data": "x.npy", "labels": "lines.txt", "model": "knn-3", "n": [20, 40], "seeds": "0..1"}]})");
  good({"sweep", "deep/s.json", "--out", "a", "--quiet"});
  const auto rows = result("a")["rows"];
  ASSERT_EQ(rows.size(), 8U);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(rows[i]["test_error"], rows[i + 4]["test_error"]);
  EXPECT_EQ(rows[4]["params"]["labels"], "deep/lines.txt");
  write_text(folder_ / "deep/many.json", R"({"grids": [{"data": "comma.csv", "model": "knn-3", "n": [20, 80]}]})");
  bad({"sweep", "deep/many.json", "--out", "out", "--dry-run"}, 2,
      "deep/comma.csv: n = 80 was asked for; of its 90 rows 72 are for training and 18 are held out");
}

TEST_F(SameFiles, BadFilesAreOneLineFromEveryCommand) {
  file("bad-images-idx3-ubyte", "\0\3\x08\3no"s);
  file("short-images-idx3-ubyte.gz", gzip(idx(8, {4, 2, 2}, "abcd")).substr(0, 25));
  file("unlike-images-idx3-ubyte", idx(8, {2, 1, 2}, "abcd"));
  file("unlike-labels-idx1-ubyte", idx(8, {3}, "abc"));
  for (const Words& words : std::vector<Words>{{"boundary"},
                                               {"knn", "--queries", "x.npy"},
                                               {"kmeans", "--clusters", "1"},
                                               {"prune", "--score", "random", "--fraction", "0.5"},
                                               {"prune-study", "--scores", "class-mean"},
                                               {"curriculum"},
                                               {"lottery"}}) {
    const auto with = [&](const Words& more) {
      Words all = words;
      all.insert(all.end(), more.begin(), more.end());
      all.insert(all.end(), {"--out", "out"});
      return all;
    };
    bad(with({"--data", "bad-images-idx3-ubyte"}), 3, "bad-images-idx3-ubyte: is no IDX file: it begins with 00 03");
    bad(with({"--data", "short-images-idx3-ubyte.gz"}), 3, "short-images-idx3-ubyte.gz: is cut short inside what gzip");
    bad(with({"--data", "unlike-images-idx3-ubyte"}), 3,
        "unlike-labels-idx1-ubyte: holds 3 labels where unlike-images-idx3-ubyte has 2 rows");
    bad(with({"--data", "x.npy", "--labels", "none.npy"}), 3, "none.npy: cannot be read");
    bad(with({"--data", "none"}), 3, "none: cannot be read");
  }
}

TEST_F(Files, ADataSetIsTestedOnItsOwnTest) {
  // Seven training images: class 1 is bright. The third test image is bright and called 0: an error of 1 in 4.
  four_files("d", "\0\0\0\0\1\0\0\0\0\2\0\0\3\3\3\3\xf0\xf0\xf0\xf0\xff\xff\xff\xff\xff\xf0\xf0\xf0"s,
             "\0\0\0\0\1\1\1"s, "\0\0\0\7\xfa\xfa\xfa\xfa\xf1\xf1\xf1\xf1\5\5\5\5"s, "\0\1\0\0"s);
  write_text(folder_ / "s.json", R"({"grids": [{"data": "d", "model": "knn-1", "n": 7, "seeds": "0..1"}]})");
  good({"sweep", "s.json", "--out", "a", "--quiet"});
  const auto document = result("a");
  ASSERT_EQ(document["rows"].size(), 2U);
  for (const auto& row : document["rows"]) EXPECT_EQ(row["test_error"], 0.25);
  write_text(folder_ / "many.json", R"({"grids": [{"data": "d", "model": "knn-1", "n": 8}]})");
  bad({"sweep", "many.json", "--out", "out"}, 2, "d: n = 8 was asked for; of its 7 rows 7 are for training");
  write_text(folder_ / "polar.json", R"({"grids": [{"data": "d", "model": "mlp-polar", "n": 7}]})");
  bad({"sweep", "polar.json", "--out", "out"}, 2, "mlp-polar: needs 2 features, and d has 4; use mlp-xy");
  // The nearest training images of the test images, by the row.
  good({"knn", "--data", "d", "--queries", "d", "--k", "1", "--out", "near"});
  EXPECT_EQ(npy_values<std::int32_t>("near/indices.npy"), (std::vector<std::int32_t>{3, 5, 4, 3}));
}

}  // namespace
}  // namespace scalelab::host
