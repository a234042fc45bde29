#include "host/data/source.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <map>
#include <mutex>
#include <tuple>
#include <utility>

#include "host/data/csv.h"
#include "host/data/idx.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/options.h"
#include "host/program/ranks.h"

namespace scalelab::host {

namespace fs = std::filesystem;

const char* const kFormatsHelp =
    "Files of rows, known by their first bytes:\n"
    "  .npy           rows (n, d) or images (n, height, width) of float32, float16 or uint8\n"
    "  IDX            as MNIST and its relatives are published, plain or .gz; images become rows\n"
    "  text           a table; cells between commas, semicolons, tabs, bars or spaces; a header or none.\n"
    "                 The last column is the label, unless there is --labels\n"
    "Files of labels: .npy of integers or text, IDX, or text with one label a line. Those of\n"
    "A-images-idx3-ubyte are found in A-labels-idx1-ubyte beside it. --labels none: there are none.\n"
    "Data with a test set of their own: a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte,\n"
    "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, plain or .gz; or fashion-mnist, which Debian's\n"
    "package dataset-fashion-mnist installs.\n";

namespace {

// Rows are numbered by int32, and a row holds no more numbers than this.
constexpr std::int64_t kMostRows = std::numeric_limits<std::int32_t>::max(), kMostFeatures = 1 << 20;

struct KnownDataSet {
  const char *name, *folder, *package;
};
constexpr KnownDataSet kKnown[] = {{"fashion-mnist", "fashion-mnist", "dataset-fashion-mnist"}};

const KnownDataSet* known_data_set(const std::string& name) {
  for (const KnownDataSet& known : kKnown) {
    if (name == known.name) return &known;
  }
  return nullptr;
}

// A file of the four, in one of the names that they go by; empty where it is not there.
fs::path one_of_four(const fs::path& folder, const std::string& stem, const std::string& kind) {
  for (const char* joint : {"-", "."}) {
    for (const char* end : {"", ".gz"}) {
      const fs::path file = folder / (stem + joint + kind + end);
      std::error_code unknown;
      if (fs::is_regular_file(file, unknown)) return file;
    }
  }
  return "";
}

SourceFiles four_files(const std::string& name, const fs::path& folder) {
  const auto find = [&](const std::string& stem, const std::string& kind) {
    const fs::path file = one_of_four(folder, stem, kind);
    if (!file.empty()) return file;
    throw Failure(kBadData, fmt::format("{}: is a folder without {}-{} or {}-{}.gz; a folder of data holds the four "
                                        "files of MNIST and its relatives",
                                        name, stem, kind, stem, kind));
  };
  return {find("train-images", "idx3-ubyte"), find("train-labels", "idx1-ubyte"), find("t10k-images", "idx3-ubyte"),
          find("t10k-labels", "idx1-ubyte")};
}

// The labels that lie beside a file of images; empty where there are none.
fs::path labels_beside(const fs::path& images) {
  std::string name = images.filename().string();
  const std::size_t at = name.find("images");
  const std::size_t axes = name.find("idx3");
  if (at == std::string::npos || axes == std::string::npos) return "";
  name.replace(axes, 4, "idx1");
  name.replace(at, 6, "labels");
  const fs::path labels = images.parent_path() / name;
  std::error_code unknown;
  return fs::is_regular_file(labels, unknown) ? labels : "";
}

enum class Format { text, npy, idx };

// By what the file begins with. A file that is called IDX is one, or broken.
Format format_of(const fs::path& file) {
  const std::string start = first_bytes_of(file);
  if (start.starts_with("\x93NUMPY") || file.extension() == ".npy") return Format::npy;
  const std::string name = file.filename().string();
  const bool zeros = start.size() >= 2 && start[0] == '\0' && start[1] == '\0';
  const bool called = name.find("-idx") != std::string::npos || name.find(".idx") != std::string::npos;
  return zeros || called ? Format::idx : Format::text;
}

Dataset dataset_of(Rows& rows) {
  const Labels& labels = rows.labels();
  if (labels.empty()) {
    throw Failure(kMisuse, rows.name() + ": has no labels; name a file of them by --labels");
  }
  if (labels.classes() > kMostClasses) {
    throw Failure(kBadData, fmt::format("{}: has {} classes; up to {} can be told apart", rows.name(), labels.classes(),
                                        kMostClasses));
  }
  Dataset data;
  data.features = static_cast<int>(rows.features());
  data.classes = labels.classes();
  data.class_names = labels.names;
  data.pixels = rows.pixels();
  data.labels.assign(labels.of_row.begin(), labels.of_row.end());
  data.points = rows.take();
  return data;
}

}  // namespace

CLI::Option* add_rows(CLI::App& app, Source& source) {
  const char* const group = "Data";
  app.add_option("--labels", source.labels,
                 "File of labels (n), where --data does not bring them; none: every column of a table is a coordinate")
      ->group(group);
  app.add_flag("--round-float64", source.round_float64, "Accept float64 files and round them to float32")->group(group);
  return app.add_option("--data", source.data, "Rows (n, d): .npy, IDX or text, see the end")->required()->group(group);
}

bool is_known_data_set(const std::string& name) { return known_data_set(name) != nullptr; }

SourceFiles files_of(const Source& source, const fs::path& datasets) {
  fs::path folder = source.data;
  std::error_code unknown;
  if (const KnownDataSet* known = known_data_set(source.data); known != nullptr) {
    folder = datasets / known->folder;
    if (!fs::is_directory(folder, unknown)) {
      throw Failure(kMissing, fmt::format("{}: is not installed; apt-get install {}, or name the folder that holds its "
                                          "four files",
                                          known->name, known->package));
    }
  }
  if (fs::is_directory(folder, unknown)) {
    SourceFiles files = four_files(source.data, folder);
    if (source.labels == "none") {
      files.labels.clear();
      files.test_labels.clear();
    } else if (!source.labels.empty()) {
      throw Failure(kMisuse, fmt::format("--labels: {} brings its own labels", source.data));
    }
    return files;
  }
  SourceFiles files{source.data, source.labels, {}, {}};
  if (source.labels == "none") {
    files.labels.clear();
  } else if (source.labels.empty()) {
    files.labels = labels_beside(source.data);
  }
  return files;
}

std::string fingerprint_of(const Source& source) {
  const SourceFiles files = files_of(source);
  // By name, length and time of the last change.
  static std::map<std::tuple<fs::path, std::int64_t, std::int64_t, std::int64_t>, std::string> known;
  static std::mutex asking;
  const std::lock_guard hold(asking);
  std::string all;
  std::size_t count = 0;
  for (const fs::path& file : {files.data, files.labels, files.test_data, files.test_labels}) {
    if (file.empty()) continue;
    struct stat status {};
    ::stat(file.c_str(), &status);
    std::string& digits = known[{file, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec}];
    if (digits.empty()) digits = fingerprint_of(file);
    all += digits;
    ++count;
  }
  return count == 1 ? all : fingerprint_of_text(all);
}

Rows::Rows(const Source& source, Part part) {
  const SourceFiles files = files_of(source);
  const bool test = part == Part::test && !files.test_data.empty();
  const fs::path &file = test ? files.test_data : files.data, &labels = test ? files.test_labels : files.labels;
  name_ = file.string();
  switch (format_of(file)) {
    case Format::npy:
      npy_.emplace(file, source.round_float64);
      size_ = npy_->rows();
      features_ = npy_->features();
      pixels_ = npy_->bytes();
      break;
    case Format::idx: {
      IdxArray array = read_idx(file, source.round_float64);
      size_ = array.shape[0];
      values_ = std::move(array.values);
      features_ = static_cast<std::int64_t>(values_.size()) / size_;
      pixels_ = array.bytes;
      break;
    }
    case Format::text: {
      CsvTable table = read_csv(file, source.labels.empty());
      values_ = std::move(table.values);
      features_ = table.features;
      size_ = static_cast<std::int64_t>(values_.size()) / features_;
      labels_ = std::move(table.labels);
      fingerprint_ = table.fingerprint;  // a pipe is read once
      break;
    }
  }
  if (size_ > kMostRows || features_ > kMostFeatures) {
    throw Failure(kBadData, fmt::format("{}: {} rows of {} features; at most {} of {} can be told apart", name_, size_,
                                        features_, kMostRows, kMostFeatures));
  }
  if (fingerprint_.empty() && !npy_) fingerprint_ = fingerprint_of(file);
  if (!labels.empty()) labels_ = read_labels(labels, size_, name_);
}

void Rows::read(std::int64_t begin, std::int64_t count, std::span<float> to) const {
  if (npy_) return npy_->read(begin, count, to);
  std::copy_n(values_.begin() + begin * features_, count * features_, to.begin());
}

std::string Rows::looks() const {
  constexpr std::int64_t kLooks = 16;  // rows, spread evenly: to tell files apart without reading them whole
  Fingerprint looks;
  std::vector<float> row(static_cast<std::size_t>(features_));
  for (std::int64_t i = 0; i < kLooks; ++i) {
    read((size_ - 1) * i / (kLooks - 1), 1, row);
    looks.add({reinterpret_cast<const char*>(row.data()), row.size() * sizeof(float)});
  }
  return looks.digits();
}

std::vector<float> Rows::take() { return npy_ ? npy_->read_all() : std::move(values_); }

std::span<const float> Rows::checked() {
  Communicator alone;
  return checked(0, size_, alone);
}

std::span<const float> Rows::checked(std::int64_t begin, std::int64_t count, Communicator& ranks) {
  FeatureRanges ranges(features_);
  std::span<const float> rows;
  on_all(ranks, [&] { rows = own_rows(begin, count, ranges); });
  ranges.add_those_of(ranks);
  on_all(ranks, [&] {
    ranges.require_near(name_);
    ranges.require_apart(name_);
  });
  return rows;
}

std::span<const float> Rows::own_rows(std::int64_t begin, std::int64_t count, FeatureRanges& ranges) {
  const auto first = static_cast<std::size_t>(begin * features_), values = static_cast<std::size_t>(count * features_);
  const std::span<const float> mapped = npy_ ? npy_->mapped() : std::span<const float>();
  if (mapped.empty()) {
    if (npy_ && values_.empty()) {
      values_.resize(values);
      npy_->read(begin, count, values_);
    }
    const std::span<const float> rows =
        npy_ ? std::span<const float>(values_) : std::span(values_).subspan(first, values);
    ranges.add(rows);
    return rows;
  }
  const std::int64_t piece = std::max<std::int64_t>(1, (1 << 20) / features_);
  std::vector<float> rows(static_cast<std::size_t>(std::min(piece, count) * features_));
  for (std::int64_t row = begin; row < begin + count; row += piece) {
    const std::int64_t some = std::min(piece, begin + count - row);
    const auto part = std::span(rows).first(static_cast<std::size_t>(some * features_));
    npy_->read(row, some, part);
    ranges.add(part);
  }
  return mapped.subspan(first, values);
}

std::string Rows::fingerprint() const {
  if (!fingerprint_.empty()) return fingerprint_;
  const std::string digits = fingerprint_of(fs::path(name_));
  require_unchanged();
  return digits;
}

void Rows::require_unchanged() const {
  if (npy_) npy_->require_unchanged();
}

SourcePoints read_labelled(const Source& source) {
  const Source rounded{source.data, source.labels, true};
  SourcePoints points;
  {
    Rows rows(rounded);
    points.all = dataset_of(rows);
    if (points.all.classes < 2) {
      throw Failure(kBadData, fmt::format("{}: one class only: every label is '{}'; at least two classes are needed",
                                          rows.name(), points.all.class_names[0]));
    }
  }
  if (files_of(rounded).test_data.empty()) return points;
  Rows rows(rounded, Rows::Part::test);
  points.test = dataset_of(rows);
  const auto fail = [&](const std::string& what) { throw Failure(kBadData, rows.name() + ": " + what); };
  if (points.test->features != points.all.features) {
    fail(fmt::format("has {} features where the training rows have {}", points.test->features, points.all.features));
  }
  // A class has one number in both parts.
  std::map<std::string, std::uint8_t> number;
  for (int c = 0; c < points.all.classes; ++c) number[points.all.class_names[c]] = static_cast<std::uint8_t>(c);
  for (std::uint8_t& label : points.test->labels) {
    const auto found = number.find(points.test->class_names[label]);
    if (found == number.end())
      fail(fmt::format("the label '{}' is that of no training row", points.test->class_names[label]));
    label = found->second;
  }
  points.test->classes = points.all.classes;
  points.test->class_names = points.all.class_names;
  return points;
}

}  // namespace scalelab::host
