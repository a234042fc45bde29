// scalelab knn: the exact k nearest references of every query, or of rows among themselves, from files of rows to .npy
// files. host/results.md says what result.json holds; that of a shard has `shard` besides (merge.cpp).
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>

#include "host/data/npy.h"
#include "host/data/source.h"
#include "host/lab/directions.h"
#include "host/own_data/knn_page.h"
#include "host/own_data/others.h"
#include "host/own_data/own_options.h"
#include "host/program/command.h"
#include "host/program/devices.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/options.h"
#include "host/program/publish.h"
#include "host/program/shard.h"
#include "scalelab/buffer.h"

namespace scalelab::host {

namespace {

struct Options {
  Source references;
  std::string queries, out, shard = "1/1", reference_shard = "1/1", metric = "l2";
  int k = 5;
  std::int64_t max_memory = 0;  // bytes, 0: what is free

  bool cosine() const { return metric == "cosine"; }
  // Without queries the references are asked for their neighbours among the others.
  bool among_others() const { return queries.empty(); }
  // Neighbours that are searched for: the row itself is one of them.
  int searched() const { return k + (among_others() ? 1 : 0); }
  // Columns and types as those of the references.
  Source query_source() const { return {queries, references.labels.empty() ? "" : "none", references.round_float64}; }
};

// The rows that are searched for the neighbours of each query.
struct Files {
  explicit Files(const Options& options) : references(options.references) {
    if (!options.among_others()) given.emplace(options.query_source(), Rows::Part::test);
    if (queries().features() == references.features()) return;
    throw Failure(kBadData, fmt::format("{}: has {} features where {} has {}", queries().name(), queries().features(),
                                        references.name(), references.features()));
  }
  const Rows& queries() const { return given ? *given : references; }

  Rows references;
  std::optional<Rows> given;
};

// How much of the references and of the queries is in memory at a time.
struct Plan {
  std::int64_t pieces;      // of the references, of which piece i begins at row n * i / pieces
  std::int64_t query_rows;  // of a chunk
};

// Memory for a chunk of queries and their neighbours where there is plenty. Larger chunks sort the references less
// often.
constexpr std::int64_t kChunkBytes = std::int64_t{256} << 20;
// What is read from a file at a time, where there is plenty of memory; else an eighth of it.
constexpr std::int64_t kReadBytes = std::int64_t{64} << 20;

// References that fit in one piece stay there. Others are read again for every chunk of queries: then the queries get
// half of the memory, so that there are few chunks.
Plan make_plan(std::int64_t n, std::int64_t q, std::int64_t d, std::int64_t k, std::int64_t memory) {
  const std::int64_t tree = d <= kTreeFeatures ? 80 : 0;  // what an op keeps of a point beside its coordinates
  const std::int64_t per_reference = 4 * d + tree, per_query = 4 * d + tree + 16 * k;
  Plan plan{1, std::clamp<std::int64_t>(kChunkBytes / per_query, 1, q)};
  if (n * per_reference + plan.query_rows * per_query <= memory) return plan;
  plan.query_rows = std::clamp<std::int64_t>(memory / 2 / per_query, 1, q);
  // Rows of the largest piece. Twice k at least, so that the smallest has k.
  const std::int64_t rows = (memory - plan.query_rows * per_query) / per_reference, least = std::min(n, 2 * k);
  if (rows < least) {
    throw Failure(kOutOfMemory, fmt::format("{} bytes are too few for {} references, a query and its neighbours: "
                                            "--max-mem {} or a smaller --k",
                                            memory, least, least * per_reference + 2 * per_query));
  }
  plan.pieces = (n + rows - 1) / rows;
  return plan;
}

// The ranges of all rows that any device has been given.
class SeenRanges {
 public:
  explicit SeenRanges(std::int64_t features) : ranges_(features) {}
  void add(std::span<const float> rows) {
    const std::lock_guard hold(lock_);
    ranges_.add(rows);
  }
  void require_near(const std::string& file) {
    const std::lock_guard hold(lock_);
    ranges_.require_near(file);
  }
  void require_apart(const std::string& file) const { ranges_.require_apart(file); }

 private:
  std::mutex lock_;
  FeatureRanges ranges_;
};

// Rows [first, first + count) of a file in backend memory, by way of `read_bytes` of host memory; with `cosine` at length
// 1. Widens `ranges`.
Buffer<float> load_rows(const Rows& file, std::int64_t first, std::int64_t count, bool cosine, std::int64_t read_bytes,
                        SeenRanges& ranges, Context& context) {
  const std::int64_t d = file.features(), step = std::max<std::int64_t>(read_bytes / (4 * d), 1);
  Buffer<float> rows(context, {count, d});
  std::vector<float> values;
  for (std::int64_t begin = 0; begin < count; begin += step) {
    const std::int64_t some = std::min(step, count - begin);
    values.resize(static_cast<std::size_t>(some * d));
    file.read(first + begin, some, values);
    if (cosine) {
      require_directions(values, d, first + begin, file.name(), "--metric l2");
      scale_to_unit(values, d);
    }
    ranges.add(values);
    context.backend().upload(rows.view().data() + begin * d, values.data(), values.size() * sizeof(float), context);
  }
  return rows;
}

// Which rows of each this run is for: of all, or of one shard's.
struct Part {
  Shard queries, references;
  Share of_queries, of_references;

  bool whole() const { return queries.whole() && references.whole(); }
  std::filesystem::path folder(const std::filesystem::path& out) const {
    return whole()              ? out
           : references.whole() ? shard_folder(out, queries)
                                : shard_folder(out, references, "references");
  }
  // What `merge` needs to know (merge.cpp).
  nlohmann::json described() const {
    const Shard& shard = references.whole() ? queries : references;
    const Share& rows = references.whole() ? of_queries : of_references;
    return {{"index", shard.index},
            {"of", shard.of},
            {"first", rows.first},
            {"rows", rows.count},
            {"joined", {"indices.npy", "distances.npy"}}};
  }
};

Part part_of(const Options& options, const Files& files) {
  const Rows &references = files.references, &queries = files.queries();
  const Shard of_queries = parse_shard(options.shard),
              of_references = parse_shard(options.reference_shard, "--reference-shard");
  if (!of_queries.whole() && !of_references.whole()) {
    throw Failure(kMisuse,
                  "--shard and --reference-shard do not go together: one of them is enough to divide the work");
  }
  const Part part{of_queries, of_references, of_queries.share(queries.size()), of_references.share(references.size())};
  if (part.of_queries.count == 0) {
    throw Failure(kMisuse,
                  fmt::format("--shard {}: {} holds only {} queries", options.shard, queries.name(), queries.size()));
  }
  if (options.searched() > kMaxNeighbours) {
    throw Failure(kMisuse, fmt::format("--k {}: without --queries a row is searched for together with its neighbours: "
                                       "{} at most",
                                       options.k, kMaxNeighbours - 1));
  }
  if (options.searched() > part.of_references.count) {
    throw Failure(kMisuse,
                  fmt::format("--k {}: {} holds only {} {}{}", options.k, references.name(), part.of_references.count,
                              options.among_others() ? "rows, and a row is not its own neighbour" : "references",
                              of_references.whole() ? "" : " in this shard"));
  }
  return part;
}

// The neighbours of the queries of a part, chunk by chunk, on any number of devices.
class Search {
 public:
  Search(const Options& options, const Files& files, const Part& part, const Plan& plan, std::int64_t read_bytes)
      : options_(options),
        references_(files.references),
        queries_(files.queries()),
        part_(part),
        plan_(plan),
        read_bytes_(read_bytes),
        ranges_(files.references.features()) {}

  std::size_t chunks() const {
    return static_cast<std::size_t>((part_.of_queries.count + plan_.query_rows - 1) / plan_.query_rows);
  }

  struct Found {
    std::vector<int> indices;      // (rows, k)
    std::vector<float> distances;  // (rows, k)
  };
  // What finds a chunk's neighbours on one device, where references of one piece stay.
  std::function<Found(std::size_t chunk)> on(Context& context) {
    std::shared_ptr<Buffer<float>> whole;
    if (plan_.pieces == 1) whole = std::make_shared<Buffer<float>>(load_piece(0, context));
    return [this, whole, &context](std::size_t chunk) { return search(chunk, whole.get(), context); };
  }

  // Called at the end.
  void check() const {
    ranges_.require_apart(references_.name());
    references_.require_unchanged();
    queries_.require_unchanged();
  }

 private:
  std::int64_t first_of(std::int64_t piece) const { return part_.of_references.count * piece / plan_.pieces; }
  Buffer<float> load_piece(std::int64_t piece, Context& context) {
    return load_rows(references_, part_.of_references.first + first_of(piece), first_of(piece + 1) - first_of(piece),
                     options_.cosine(), read_bytes_, ranges_, context);
  }

  Found search(std::size_t chunk, const Buffer<float>* whole, Context& context) {
    const std::int64_t begin = static_cast<std::int64_t>(chunk) * plan_.query_rows;
    const std::int64_t count = std::min(plan_.query_rows, part_.of_queries.count - begin);
    const std::int64_t first_query = part_.of_queries.first + begin, k = options_.searched();
    const Buffer<float> some =
        load_rows(queries_, first_query, count, options_.cosine(), read_bytes_, ranges_, context);
    ranges_.require_near(queries_.name());
    Buffer<int> indices(context, {count, k});
    Buffer<float> distances(context, {count, k});
    const auto outer = context.progress;
    for (std::int64_t piece = 0; piece < plan_.pieces; ++piece) {
      context.progress = [&](std::int64_t done, std::int64_t total) {
        outer(piece * total + done, plan_.pieces * total);
      };
      if (whole != nullptr) {
        context.backend().knn(*whole, some, indices, distances, context);
        continue;
      }
      const Buffer<float> points = load_piece(piece, context);
      ranges_.require_near(references_.name());
      if (piece == 0) {
        context.backend().knn(points, some, indices, distances, context);
        continue;
      }
      Buffer<int> more(context, {count, k});
      Buffer<float> more_distances(context, {count, k});
      context.backend().knn(points, some, more, more_distances, context);
      context.backend().knn_merge(more, more_distances, first_of(piece), indices, distances, context);
    }
    context.progress = outer;
    Found found{indices.to_host(), distances.to_host()};
    for (int& index : found.indices) index += static_cast<int>(part_.of_references.first);
    if (options_.among_others()) leave_out_self(first_query, options_.k, found.indices, found.distances);
    if (options_.cosine()) make_one_minus_cosine(found.distances);
    return found;
  }

  const Options& options_;
  const Rows &references_, &queries_;
  const Part part_;
  const Plan plan_;
  const std::int64_t read_bytes_;
  SeenRanges ranges_;
};

Outcome run(const Options& options, Session& session) {
  const Files files(options);
  const Part part = part_of(options, files);
  const std::int64_t n = part.of_references.count, d = files.references.features(), q = part.of_queries.count;
  const int k = options.k;
  Devices devices(session);
  // A fifth of what is free is left to others.
  const std::int64_t memory = options.max_memory > 0 ? options.max_memory : devices.memory_free() / 5 * 4;
  const std::int64_t read_bytes = std::min(kReadBytes, memory / 8);
  Plan plan = make_plan(n, q, d, options.searched(), memory - read_bytes);
  plan.query_rows = std::min(plan.query_rows, (q + devices.count() - 1) / devices.count());  // some for each
  const std::filesystem::path folder = part.folder(options.out);
  make_output_folder(folder);
  NpyWriter<std::int32_t> indices_file(folder / "indices.npy", {q, k});
  NpyWriter<float> distances_file(folder / "distances.npy", {q, k});

  std::optional<NeighbourSummary> seen;
  if (part.whole()) {
    seen.emplace(files.references, files.queries(), k, options.cosine(), options.among_others(), session.common.seed);
  }
  Search search(options, files, part, plan, read_bytes);
  Stage stage(session, "knn");
  devices.deal(std::vector<double>(search.chunks(), 1), [&](Session& own) -> Devices::Worker {
    const auto find = search.on(own.context);
    return [&, find](std::size_t chunk) -> Devices::Delivery {
      const auto found = std::make_shared<const Search::Found>(find(chunk));
      return [&, found] {
        indices_file.write(found->indices);
        distances_file.write(found->distances);
        if (seen) seen->add(found->indices, found->distances);
      };
    };
  });
  search.check();
  const double seconds = stage.seconds();

  Outcome outcome;
  const nlohmann::json queries_file = options.among_others() ? nlohmann::json() : nlohmann::json(options.queries);
  outcome.document = {
      {"schema", 1},
      {"study", "knn"},
      {"references",
       {{"file", options.references.data}, {"n", files.references.size()}, {"d", d}, {"pieces", plan.pieces}}},
      {"queries", {{"file", queries_file}, {"n", files.queries().size()}, {"rows_at_a_time", plan.query_rows}}},
      {"k", k},
      {"metric", options.metric},
      {"seconds", seconds},
      {"environment", environment(session)}};
  if (!part.whole()) outcome.document["shard"] = part.described();
  const std::string pieces = plan.pieces > 1 ? fmt::format(" (in {} pieces)", plan.pieces) : "";
  const std::string whose = options.among_others() ? fmt::format("others of each of {} rows{}{}", q,
                                                                 q < n ? fmt::format(" among {}", n) : "", pieces)
                                                   : fmt::format("of {} references{} for {} queries", n, pieces, q);
  outcome.text = fmt::format("{}: the {} nearest {} of {} features{}, {:.3g} s\n", folder.string(), k, whose, d,
                             options.cosine() ? " by cosine" : "", seconds);
  if (seen) {
    seen->put_into(outcome.document);
    outcome.text += vote_text(outcome.document);
    outcome.page = std::make_shared<Page>(knn_page(outcome.document));
    outcome.folder = folder;
  }
  publish(folder, json_text(outcome.document), indices_file, distances_file);
  return outcome;
}

}  // namespace

Command add_knn(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("knn", "Exact k nearest neighbours of rows");
  CLI::Option* data = add_rows(*app, options->references);
  data->description("References (n, d): .npy, IDX or text, see the end");
  app->add_option(
         "--queries", options->queries,
         "Queries (q, d), likewise. Of a data set with a test set: that. Without it each row of --data is asked "
         "for its neighbours among the others: it is no neighbour of itself, and rows equal to it are, at 0")
      ->group(data->get_group());
  add_metric(
      *app, options->metric,
      "l2: squared Euclidean distances. cosine: 1 - cosine, half the squared distance of rows scaled to length 1");
  add_neighbours(*app, options->k, "Neighbours of each query")->group(kMethodGroup);
  add_max_memory(*app, options->max_memory,
                 "Memory for points and neighbours, on the backend, about: 512M, 8G; without it 80 % of what is free. "
                 "References that do not fit are searched in parts, with the same result")
      ->group(kPartsGroup);
  add_own_shard(*app, options->shard, "Only the i-th of n parts of the queries");
  add_shard(*app, options->reference_shard, "Only the i-th of n parts of the references, for all queries, likewise",
            "--reference-shard")
      ->group(kPartsGroup);
  app->add_option("-o,--out", options->out,
                  "Folder for indices.npy (q, k) int32, distances.npy (q, k) float32, by --metric, ascending, "
                  "result.json and report.html")
      ->required();
  add_notes(*app,
            {"scalelab knn --data references.npy --queries queries.npy -k 10 -o neighbours",
             "scalelab knn --data embeddings.npy --metric cosine -k 10 -o neighbours",
             "scalelab knn --data fashion-mnist --queries fashion-mnist -k 5 -o neighbours"},
            {kFormatsHelp});
  const auto needs = [options] {
    const Files files(*options);
    const auto n = static_cast<double>(files.references.size()), q = static_cast<double>(files.queries().size());
    const auto d = static_cast<double>(files.references.features());
    Needs needs{{{Work::knn_near, n + q}}, "--max-mem"};
    if (d > kTreeFeatures) needs.parts = {{Work::knn_far, n * q * d}};
    return needs;
  };
  return {
      .app = app, .run = [options](Session& session) { return run(*options, session); }, .needs = needs, .deals = true};
}

}  // namespace scalelab::host
