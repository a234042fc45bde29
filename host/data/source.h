// source: rows, their labels and their test set, in every kind of file that is read, for every command that takes data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "host/data/dataset.h"
#include "host/data/labels.h"
#include "host/data/npy.h"
#include "scalelab/communicator.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace scalelab::host {

// What is read, and what the words below mean: for the end of a command's help.
extern const char* const kFormatsHelp;

// What --data and --labels name.
//   data     a file of rows: .npy, IDX (plain or .gz) or a table of text; known by its first bytes, not by its name.
//            Or a data set that comes with its own test set: a folder with the four files of MNIST and its relatives, or
//            the name of one that a package installs (fashion-mnist)
//   labels   a file (read_labels); "none": there are none, and every column of a table is a coordinate; empty: those
//            that the data bring, the last column of a table or, beside A-images-idx3-ubyte, A-labels-idx1-ubyte
struct Source {
  std::string data, labels{};
  bool round_float64 = false;
};

// --data, --labels and --round-float64, for commands that take rows.
CLI::Option* add_rows(CLI::App& app, Source& source);

// The files behind a source. Failure(kMissing) that says what to install, Failure(kBadData) for a folder without the
// four files.
struct SourceFiles {
  std::filesystem::path data, labels, test_data, test_labels;  // empty where there are none
};
SourceFiles files_of(const Source& source, const std::filesystem::path& datasets = "/usr/share/datasets");
bool is_known_data_set(const std::string& name);

// Of the bytes of all its files; of a source that is one file, that file's. Files that did not change are read once a
// process.
std::string fingerprint_of(const Source& source);

// Rows of features and, where there are some, their labels. Images are flattened. Values that a .npy file holds as
// float32 stay where they lie. Failure(kBadData or kMisuse) names what is wrong with a file, or that rows and labels are
// of unlike number.
class Rows {
 public:
  enum class Part { train, test };
  // Test: of a data set that has a test set, that; of a file, its rows.
  explicit Rows(const Source& source, Part part = Part::train);

  const std::string& name() const { return name_; }
  std::int64_t size() const { return size_; }          // n >= 1
  std::int64_t features() const { return features_; }  // d >= 1
  bool pixels() const { return pixels_; }              // unsigned bytes in the file
  const Labels& labels() const { return labels_; }
  // Of the bytes of the file that holds the rows; a .npy file is read for it.
  std::string fingerprint() const;

  // Of a few rows, spread over all, by which ranks and shards tell unlike files of one name apart.
  std::string looks() const;

  // Copies rows [begin, begin + count) to `to` (count, d). Failure(kBadData) names the first value that is not finite, or
  // a file that was changed since it was opened.
  void read(std::int64_t begin, std::int64_t count, std::span<float> to) const;
  // All rows, (n, d), handed over: nothing is to be read from these rows any more.
  std::vector<float> take();
  // All rows, (n, d), each checked to be finite and within range of the others (FeatureRanges), as long as this lives.
  std::span<const float> checked();
  // Rows [begin, begin + count) alone, (count, d), for a rank that owns them; their range is that of the rows of all
  // ranks. Called by all; a failure of one is thrown on all (on_all).
  std::span<const float> checked(std::int64_t begin, std::int64_t count, Communicator& ranks);
  // Failure(kBadData) when a file that is used where it lies was changed.
  void require_unchanged() const;

 private:
  // Rows [begin, begin + count), checked to be finite, and added to `ranges`.
  std::span<const float> own_rows(std::int64_t begin, std::int64_t count, FeatureRanges& ranges);

  std::string name_;
  std::optional<NpyMatrix> npy_;
  std::vector<float> values_;  // of a file that is not used where it lies
  std::int64_t size_ = 0, features_ = 0;
  bool pixels_ = false;
  Labels labels_;
  std::string fingerprint_;
};

// Labelled points for training, and for the test where the source brings some; float64 is rounded. Failure as above, and
// where there are no labels, one class alone, more than kMostClasses, or a test label that no training row has.
struct SourcePoints {
  Dataset all;
  std::optional<Dataset> test;
};
SourcePoints read_labelled(const Source& source);

}  // namespace scalelab::host
