// scalelab._core: the ops, and what host makes of them, on the arrays of Python. scalelab/__init__.py is what people call:
// it gives arrays their type and order, and names and explains every argument.
//
// An array is taken where it lies: in host memory or, by DLPack, on the GPU. Nothing is copied but what lies in host
// memory and is to be used on a GPU. Python's lock is free while an op runs, and Ctrl-C ends it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "host/evidence/law.h"
#include "host/lab/directions.h"
#include "host/lab/model.h"
#include "host/lab/row_scores.h"
#include "host/own_data/near_duplicates.h"
#include "host/own_data/others.h"
#include "host/program/command.h"
#include "host/program/progress.h"
#include "scalelab/scalelab.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace scalelab::host {

// Ctrl-C and other signals, as long ops ask for them. Taking Python's lock may wait for another thread, so that it is
// taken rarely.
void throw_if_interrupted() {
  constexpr double kBetween = 0.02;  // seconds
  static thread_local double last = 0;
  const double now = steady_seconds();
  if (now - last < kBetween) return;
  last = now;
  const nb::gil_scoped_acquire lock;
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
}

namespace {

template <class T>
using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig>;  // on any device
template <class T>
using Matrix = nb::ndarray<const T, nb::ndim<2>, nb::c_contig>;

// Where a call runs, and where its results are left.
struct Place {
  // `backend`: "cpu" or "cuda". `results_there`: results stay in the backend's memory; else they are host arrays.
  Place(const std::string& backend, int device, int threads, bool results_there) : there(results_there) {
    const Backend* table = &cpu_backend();
    void* stream = nullptr;
    if (backend == "cuda") {
      std::string why;
      table = cuda_backend(&why);
      if (table == nullptr) throw std::runtime_error("no GPU can be used: " + why);
      // cudaStreamLegacy: in order with what the array's own library has queued, as DLPack asks where no stream is named.
      stream = reinterpret_cast<void*>(1);
    } else if (backend != "cpu") {
      throw std::invalid_argument("device '" + backend + "': must be cpu, cuda or cuda:NUMBER");
    }
    context = std::make_shared<Context>(*table, device, threads, stream);
    context->progress = [](std::int64_t, std::int64_t) { throw_if_interrupted(); };
  }
  bool on_host() const { return &context->backend() == &cpu_backend(); }

  std::shared_ptr<Context> context;
  bool there;
};

// An array as an op reads it: itself where the op can reach it, else a copy on the GPU.
template <class T>
class In {
 public:
  In(Place& place, const Vector<T>& array) { set(place, array, {array.shape(0)}); }
  In(Place& place, const Matrix<T>& array) { set(place, array, {array.shape(0), array.shape(1)}); }
  operator View<const T>() const { return view_; }
  std::int64_t extent(int axis) const { return view_.extent(axis); }

 private:
  template <class Array>
  void set(Place& place, const Array& array, Shape shape) {
    view_ = View<const T>(array.data(), shape);
    const bool of_host = array.device_type() != nb::device::cuda::value;
    if (place.on_host() && !of_host) throw std::invalid_argument("an array on a GPU cannot be used on the CPU");
    if (place.on_host()) return;
    if (of_host) {
      copy_.emplace(*place.context, std::span<const T>(array.data(), array.size()), shape);
      view_ = *copy_;
    } else if (array.device_id() != place.context->device()) {
      throw std::invalid_argument("arrays lie on GPU " + std::to_string(array.device_id()) + " and on GPU " +
                                  std::to_string(place.context->device()) + ": all of a call must lie on one");
    }
  }

  View<const T> view_;
  std::optional<Buffer<T>> copy_;
};

// An array as an op leaves it, which then is Python's.
template <class T>
class Out {
 public:
  Out(Place& place, Shape shape) : place_(place) {
    for (const Extent extent : shape) shape_.push_back(static_cast<std::size_t>(extent.length));
    if (place.on_host() || !place.there) {
      host_ = std::make_unique_for_overwrite<T[]>(static_cast<std::size_t>(View<T>(nullptr, shape).size()));
    }
    if (!place.on_host()) device_ = std::make_unique<OnDevice>(place.context, shape);
    view_ = View<T>(place.on_host() ? host_.get() : device_->buffer.view().data(), shape);
  }
  View<T> view() const { return view_; }
  operator View<T>() const { return view_; }

  // What of the work has to be done before array(), with Python's lock free.
  void finish() {
    if (!place_.on_host() && !place_.there) device_->buffer.download(values());
  }
  std::span<T> values() { return {host_.get(), static_cast<std::size_t>(view_.size())}; }  // of the host

  nb::object array() {
    if (host_ != nullptr) {
      const nb::capsule owner(host_.get(), [](void* memory) noexcept { delete[] static_cast<T*>(memory); });
      T* memory = host_.release();
      return nb::cast(nb::ndarray<T, nb::numpy>(memory, shape_.size(), shape_.data(), owner));
    }
    T* memory = view_.data();
    const int device = place_.context->device();
    const nb::capsule owner(device_.release(), [](void* held) noexcept { delete static_cast<OnDevice*>(held); });
    return nb::cast(nb::ndarray<T, nb::array_api>(memory, shape_.size(), shape_.data(), owner, nullptr, nb::dtype<T>(),
                                                  nb::device::cuda::value, device));
  }

 private:
  struct OnDevice {
    OnDevice(std::shared_ptr<Context> shared, Shape shape) : context(std::move(shared)), buffer(*context, shape) {}
    std::shared_ptr<Context> context;  // outlives the buffer
    Buffer<T> buffer;
  };
  Place& place_;
  std::vector<std::size_t> shape_;
  std::unique_ptr<T[]> host_;
  std::unique_ptr<OnDevice> device_;
  View<T> view_;
};

// Runs the work with Python's lock free, waits for it, and fetches the results named.
template <class Work, class... Outs>
void run(Place& place, Work&& work, Outs&... outs) {
  const nb::gil_scoped_release unlocked;
  work();
  (outs.finish(), ...);
  place.context->synchronize();
}

template <class T>
nb::object host_array(const std::vector<T>& values) {
  auto memory = std::make_unique_for_overwrite<T[]>(values.size());
  std::copy(values.begin(), values.end(), memory.get());
  const nb::capsule owner(memory.get(), [](void* held) noexcept { delete[] static_cast<T*>(held); });
  const std::size_t shape[] = {values.size()};
  return nb::cast(nb::ndarray<T, nb::numpy>(memory.release(), 1, shape, owner));
}

template <class Array>
auto values_of(const Array& array) {
  return std::span(array.data(), array.size());
}

// --- checks ----------------------------------------------------------------------------------------------------------

// Whether squared distances between rows stay far enough from the largest float: the ranges of all features make a box,
// whose diagonal no distance exceeds.
bool near_enough(std::span<const float> rows, std::size_t d) {
  std::vector<float> low(d, HUGE_VALF), high(d, -HUGE_VALF);
  for (std::size_t at = 0; at < rows.size(); at += d) {
    for (std::size_t c = 0; c < d; ++c) {
      low[c] = std::min(low[c], rows[at + c]);
      high[c] = std::max(high[c], rows[at + c]);
    }
  }
  double squared = 0;
  for (std::size_t c = 0; c < d; ++c) squared += std::pow(static_cast<double>(high[c]) - low[c], 2);
  return squared <= 0.5 * std::numeric_limits<float>::max();
}

// The largest magnitude as its bits, which are ordered as the numbers are, and with what is not finite above all.
std::int32_t largest_magnitude(std::span<const float> values) {
  std::int32_t largest = 0;
  for (const float value : values) {
    std::int32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits &= 0x7fffffff;
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

// What ops leave to their callers: host rows must be finite, and their squared distances must not overflow.
void check_rows(const Matrix<float>& rows, const std::string& name) {
  const nb::gil_scoped_release unlocked;
  const std::span<const float> values = values_of(rows);
  const std::size_t d = rows.shape(1);
  const std::int32_t bits = largest_magnitude(values);
  float largest;
  std::memcpy(&largest, &bits, sizeof largest);
  if (!std::isfinite(largest)) {
    const auto at = std::find_if(values.begin(), values.end(), [](float x) { return !std::isfinite(x); });
    const auto place = static_cast<std::size_t>(at - values.begin());
    throw std::invalid_argument(name + ": row " + std::to_string(place / d) + ", column " + std::to_string(place % d) +
                                (std::isnan(*at) ? " is NaN" : " is infinite as a 32-bit number") +
                                "; fill or drop such rows first");
  }
  const double twice = 2.0 * largest;
  if (twice * twice * static_cast<double>(d) <= 0.5 * std::numeric_limits<float>::max()) return;
  if (!near_enough(values, d)) {
    throw std::invalid_argument(
        name + ": the numbers lie so far apart that squared distances overflow 32 bits; scale " + "them down");
  }
}

// --- neighbours and clusters -----------------------------------------------------------------------------------------

// What lies in host memory, as a result wherever that lies.
template <class T>
void set(Out<T>& out, std::span<const T> values, Context& context) {
  context.backend().upload(out.view().data(), values.data(), values.size_bytes(), context);
}

// `others`: queries are the references, and a row is not its own neighbour. `cosine`: rows have length 1, and distances
// are 1 - cosine.
nb::tuple knn(Place& place, const Matrix<float>& references, const Matrix<float>& queries, int k, bool squared,
              bool others, bool cosine) {
  const In<float> from(place, references), to(place, queries);
  const std::int64_t q = to.extent(0);
  Context& context = *place.context;
  Out<int> indices(place, {q, std::max(k, 1)});
  Out<float> distances(place, {q, std::max(k, 1)});
  run(
      place,
      [&] {
        if (k < 1) throw std::invalid_argument("n_neighbors is " + std::to_string(k) + ", and must be 1 or more");
        if (!others && !cosine) return context.backend().knn(from, to, indices, distances, context);
        const std::int64_t searched = k + (others ? 1 : 0);
        if (others && (searched > from.extent(0) || searched > kMaxNeighbours)) {
          throw std::invalid_argument("n_neighbors is " + std::to_string(k) + ": a row among " +
                                      std::to_string(from.extent(0)) + " has " + std::to_string(from.extent(0) - 1) +
                                      " others, of which " + std::to_string(kMaxNeighbours - 1) + " at most are found");
        }
        const Buffer<int> ids(context, {q, searched});
        const Buffer<float> apart(context, {q, searched});
        context.backend().knn(from, to, ids, apart, context);
        std::vector<int> found = ids.to_host();
        std::vector<float> found_distances = apart.to_host();
        if (others) leave_out_self(0, k, found, found_distances);
        if (cosine) make_one_minus_cosine(found_distances);
        set<int>(indices, found, context);
        set<float>(distances, found_distances, context);
      },
      indices, distances);
  if (!squared && !cosine) {
    if (!place.on_host() && place.there) throw std::logic_error("roots are taken of host arrays alone");
    for (float& distance : distances.values()) distance = std::sqrt(distance);
  }
  return nb::make_tuple(distances.array(), indices.array());
}

// From the centroids given, (k, d), or from k-means++ where these are none. `cosine`: rows and centroids have length 1, and
// the fit is spherical.
nb::tuple kmeans(Place& place, const Matrix<float>& rows, int k, std::optional<Matrix<float>> start, std::uint64_t seed,
                 int max_iterations, double tolerance, bool cosine) {
  Context& context = *place.context;
  const In<float> points(place, rows);
  const std::int64_t n = points.extent(0), d = points.extent(1);
  if (k < 1 || k > n) {
    throw std::invalid_argument("n_clusters is " + std::to_string(k) + ": there are " + std::to_string(n) + " rows");
  }
  if (start && (static_cast<std::int64_t>(start->shape(0)) != k || static_cast<std::int64_t>(start->shape(1)) != d)) {
    throw std::invalid_argument("init: has shape (" + std::to_string(start->shape(0)) + ", " +
                                std::to_string(start->shape(1)) + ") where (" + std::to_string(k) + ", " +
                                std::to_string(d) + ") is needed");
  }
  std::optional<In<float>> given;
  if (start) given.emplace(place, *start);
  Out<float> centres(place, {k, d});
  Out<int> labels(place, {n});
  KmeansResult result;
  run(
      place,
      [&] {
        if (given) {
          std::vector<float> values(static_cast<std::size_t>(k * d));
          context.backend().download(values.data(), View<const float>(*given).data(), values.size() * sizeof(float),
                                     context);
          set<float>(centres, values, context);
        } else {
          context.backend().kmeans_plus_plus(points, seed, centres, context);
        }
        const KmeansOptions options{.max_iterations = max_iterations, .tolerance = tolerance, .after_iteration = {}};
        result = cosine ? spherical_fit(points, centres, labels, options, context)
                        : context.backend().kmeans_fit(points, centres, labels, options, context);
      },
      centres, labels);
  return nb::make_tuple(centres.array(), labels.array(), result.inertia, result.iterations, result.converged);
}

// The nearest of some centroids, and the squared distance to it.
nb::tuple nearest(Place& place, const Matrix<float>& rows, const Matrix<float>& centroids) {
  const In<float> points(place, rows), centres(place, centroids);
  Out<int> labels(place, {points.extent(0)});
  Out<float> distances(place, {points.extent(0)});
  run(
      place, [&] { place.context->backend().kmeans_assign(points, centres, labels, distances, *place.context); },
      labels, distances);
  return nb::make_tuple(labels.array(), distances.array());
}

// --- which rows to keep (row_scores.h, near_duplicates.h): of host arrays --------------------------------------------

// A session of one call, as host's functions want one.
struct Call {
  explicit Call(Place& place) : session{common, *place.context, progress} {}
  Common common;
  Progress progress{true};
  Session session;
};

nb::object unit_rows_of(const Matrix<float>& rows) {
  const std::size_t shape[] = {rows.shape(0), rows.shape(1)};
  auto held = std::make_unique<std::vector<float>>();
  {
    const nb::gil_scoped_release unlocked;
    *held = unit_rows(values_of(rows), static_cast<std::int64_t>(rows.shape(1)));
  }
  float* memory = held->data();
  const nb::capsule owner(held.release(), [](void* it) noexcept { delete static_cast<std::vector<float>*>(it); });
  return nb::cast(nb::ndarray<float, nb::numpy>(memory, 2, shape, owner));
}

// Labels and distances of prototypes; `unit`: of rows of length 1, by cosine.
nb::tuple prototypes(Place& place, const Matrix<float>& rows, int k, std::uint64_t seed, bool unit) {
  Prototypes found;
  {
    const nb::gil_scoped_release unlocked;
    Call call(place);
    const auto d = static_cast<std::int64_t>(rows.shape(1));
    found = unit ? cosine_prototypes(values_of(rows), d, k, seed, call.session)
                 : euclidean_prototypes(values_of(rows), d, k, seed, call.session);
  }
  return nb::make_tuple(host_array(found.labels), host_array(found.distances));
}

nb::object class_means(const Matrix<float>& rows, const Vector<int>& labels, int classes) {
  return host_array(
      class_mean_distances(values_of(rows), static_cast<std::int64_t>(rows.shape(1)), values_of(labels), classes));
}

nb::object random_numbers(std::int64_t n, std::uint64_t seed) { return host_array(random_scores(n, seed)); }

nb::object keep(const Vector<float>& scores, const Vector<int>& labels, int classes, const std::string& which,
                double fraction, std::uint64_t seed, double class_floor) {
  return host_array(keep_rows(values_of(scores), values_of(labels), classes, which, fraction, seed, class_floor));
}

nb::tuple duplicates(Place& place, const Matrix<float>& unit, const Vector<int>& clusters, const Vector<float>& scores,
                     bool hard, double eps) {
  std::vector<int> rows, matched;
  std::vector<float> cosines;
  {
    const nb::gil_scoped_release unlocked;
    Call call(place);
    for (const Duplicate& one :
         near_duplicates(values_of(unit), static_cast<std::int64_t>(unit.shape(1)), values_of(clusters),
                         preference(values_of(scores), hard), eps, call.session)) {
      rows.push_back(one.row);
      matched.push_back(one.matched);
      cosines.push_back(one.cosine);
    }
  }
  return nb::make_tuple(host_array(rows), host_array(matched), host_array(cosines));
}

// --- networks --------------------------------------------------------------------------------------------------------

// The value of a name among those that an enumeration has, in its order.
template <class Enum>
Enum named(const std::string& what, const std::string& name, std::initializer_list<const char*> names) {
  std::string all;
  int value = 0;
  for (const char* other : names) {
    if (name == other) return static_cast<Enum>(value);
    all += (value++ == 0 ? "" : ", ") + std::string(other);
  }
  throw std::invalid_argument(what + " '" + name + "': must be one of " + all);
}

MlpShape mlp_shape(int inputs, const std::string& encoding, int width, int hidden_layers, int outputs,
                   const std::string& activation, bool layer_norm) {
  return {.inputs = inputs,
          .encoding = named<Encoding>("encoding", encoding, {"none", "polar", "polar-raw", "polar-trig"}),
          .width = width,
          .hidden_layers = hidden_layers,
          .outputs = outputs,
          .activation = named<Activation>("activation", activation, {"relu", "tanh", "gelu"}),
          .layer_norm = layer_norm};
}

// One network for each seed, of its start and its order of rows: parameters (m, p), losses (m, epochs), and (m) the
// epoch in which training diverged, or -1.
nb::tuple mlp_train(Place& place, const MlpShape& shape, const Matrix<float>& rows, const Vector<std::uint8_t>& classes,
                    const std::vector<std::uint64_t>& seeds, const nb::dict& options) {
  MlpRun settings;
  settings.shape = shape;
  settings.epochs = nb::cast<int>(options["epochs"]);
  settings.batch_size = nb::cast<int>(options["batch_size"]);
  settings.learning_rate = nb::cast<float>(options["learning_rate"]);
  settings.weight_decay = nb::cast<float>(options["weight_decay"]);
  settings.momentum = nb::cast<float>(options["momentum"]);
  settings.loss.focal_gamma = nb::cast<float>(options["focal_gamma"]);
  settings.schedule = named<Schedule>("schedule", nb::cast<std::string>(options["schedule"]), {"constant", "cosine"});
  settings.optimizer = named<Optimizer>("solver", nb::cast<std::string>(options["solver"]), {"adam", "sgd"});
  settings.precision =
      named<Precision>("precision", nb::cast<std::string>(options["precision"]), {"fp32", "bf16x3", "bf16"});

  // Rows and labels are the same for all.
  const In<float> inputs(place, rows);
  const In<std::uint8_t> labels(place, classes);
  settings.inputs = inputs;
  settings.labels = labels;
  const auto m = std::ssize(seeds);
  const std::int64_t p = parameter_count(shape), epochs = std::max(settings.epochs, 0);
  Out<float> parameters(place, {m, p}), losses(place, {m, epochs});
  Out<int> diverged(place, {m});
  // One call trains all networks: they differ in their seeds, and each has its row of the outputs.
  run(
      place,
      [&] {
        std::vector<MlpRun> runs;
        std::vector<float> starts;
        for (std::int64_t j = 0; j < m; ++j) {
          const auto start = initial_parameters(shape, seeds[j]);
          starts.insert(starts.end(), start.begin(), start.end());
          MlpRun one = settings;
          one.seed = seeds[j];
          one.parameters = View<float>(parameters.view().data() + j * p, {p});
          one.epoch_losses = View<float>(losses.view().data() + j * epochs, {epochs});
          one.diverged = View<int>(diverged.view().data() + j, {1});
          runs.push_back(one);
        }
        Context& context = *place.context;
        context.backend().upload(parameters.view().data(), starts.data(), starts.size() * sizeof(float), context);
        context.backend().mlp_train(runs, context);
      },
      parameters, losses, diverged);
  return nb::make_tuple(parameters.array(), losses.array(), diverged.array());
}

// (m, n, outputs)
nb::object mlp_scores(Place& place, const MlpShape& shape, const Matrix<float>& parameters, const Matrix<float>& rows) {
  const In<float> networks(place, parameters), inputs(place, rows);
  Out<float> scores(place, {networks.extent(0), inputs.extent(0), shape.outputs});
  run(
      place, [&] { place.context->backend().mlp_forward(shape, networks, inputs, scores, *place.context); }, scores);
  return scores.array();
}

// --- maps ------------------------------------------------------------------------------------------------------------

Grid grid_of(std::int64_t size, const std::vector<float>& extent) {
  if (size < 1 || size > kMaxGrid) {
    throw std::invalid_argument("size is " + std::to_string(size) + ", and must lie in 1 .. " +
                                std::to_string(kMaxGrid));
  }
  return {.size = size, .x_min = extent.at(0), .x_max = extent.at(1), .y_min = extent.at(2), .y_max = extent.at(3)};
}

nb::object knn_map(Place& place, const Matrix<float>& points, const Vector<std::uint8_t>& classes, int k,
                   std::int64_t size, const std::vector<float>& extent) {
  const Grid grid = grid_of(size, extent);
  const In<float> references(place, points);
  const In<std::uint8_t> labels(place, classes);
  Out<std::uint8_t> map(place, {size, size});
  run(
      place, [&] { place.context->backend().grid_knn_labels(references, labels, k, grid, 0, map, *place.context); },
      map);
  return map.array();
}

// (m, size, size)
nb::object mlp_map(Place& place, const MlpShape& shape, const Matrix<float>& parameters, std::int64_t size,
                   const std::vector<float>& extent) {
  const Grid grid = grid_of(size, extent);
  const In<float> networks(place, parameters);
  Out<std::uint8_t> map(place, {networks.extent(0), size, size});
  run(
      place, [&] { place.context->backend().grid_mlp_labels(shape, networks, grid, 0, map, *place.context); }, map);
  return map.array();
}

// --- laws, and this machine ------------------------------------------------------------------------------------------

// The law as JSON, and in words.
nb::tuple law(const Vector<double>& n, const Vector<std::int64_t>& seeds, const Vector<double>& errors,
              std::uint64_t seed) {
  std::string document, words;
  {
    const nb::gil_scoped_release unlocked;
    std::vector<LawPoint> points;
    for (std::size_t i = 0; i < n.size(); ++i) {
      points.push_back({n.data()[i], static_cast<std::uint64_t>(seeds.data()[i]), errors.data()[i]});
    }
    const Law found = fit_law(points, seed);
    document = to_json(found).dump();
    words = worded(found);
  }
  return nb::make_tuple(document, words);
}

// An array that has no more than __cuda_array_interface__, as one of `owner`'s memory. Waits for `stream`, on which it is
// made, where it names one.
nb::object cuda_array(Place& place, std::uintptr_t data, const std::vector<std::size_t>& shape, std::uintptr_t stream,
                      const nb::object& owner) {
  if (stream > 2) {  // 1 and 2: the default streams, with which the place's own is in order
    const nb::gil_scoped_release unlocked;
    Context theirs(place.context->backend(), place.context->device(), 0, reinterpret_cast<void*>(stream));
    theirs.synchronize();
  }
  return nb::cast(nb::ndarray<float, nb::array_api>(reinterpret_cast<void*>(data), shape.size(), shape.data(), owner,
                                                    nullptr, nb::dtype<float>(), nb::device::cuda::value,
                                                    place.context->device()));
}

// What an array is to those that know no DLPack: its address, its shape, and its type as NumPy writes it.
nb::tuple about(const nb::ndarray<>& array) {
  nb::list shape;
  for (std::size_t axis = 0; axis < array.ndim(); ++axis) shape.append(array.shape(axis));
  const auto code = static_cast<nb::dlpack::dtype_code>(array.dtype().code);
  const char* const kind = code == nb::dlpack::dtype_code::Int    ? "<i"
                           : code == nb::dlpack::dtype_code::UInt ? "<u"
                                                                  : "<f";
  return nb::make_tuple(reinterpret_cast<std::uintptr_t>(array.data()), nb::tuple(shape),
                        kind + std::to_string(array.dtype().bits / 8));
}

// Rows of a GPU in host memory.
nb::object to_host(Place& place, const Matrix<float>& rows) {
  const In<float> from(place, rows);
  const std::size_t shape[] = {rows.shape(0), rows.shape(1)};
  auto memory = std::make_unique_for_overwrite<float[]>(rows.size());
  {
    const nb::gil_scoped_release unlocked;
    place.context->backend().download(memory.get(), View<const float>(from).data(), rows.size() * sizeof(float),
                                      *place.context);
  }
  const nb::capsule owner(memory.get(), [](void* held) noexcept { delete[] static_cast<float*>(held); });
  return nb::cast(nb::ndarray<float, nb::numpy>(memory.release(), 2, shape, owner));
}

// What answers: a line for each backend, and why there is no GPU.
nb::dict devices() {
  nb::dict found;
  Context cpu(cpu_backend());
  found["cpu"] = cpu_backend().describe(cpu);
  std::string why;
  if (const Backend* table = cuda_backend(&why); table != nullptr) {
    Context cuda(*table);
    found["cuda"] = table->describe(cuda);
  } else {
    found["cuda"] = "none: " + why;
  }
  return found;
}

void translate(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const OutOfMemory& error) {
    PyErr_SetString(PyExc_MemoryError, error.what());
  } catch (const Failure& error) {
    PyErr_SetString(error.exit_code == kOutOfMemory ? PyExc_MemoryError : PyExc_ValueError, error.what());
  }
}

}  // namespace

NB_MODULE(_core, module) {
  nb::register_exception_translator(translate);
  module.attr("max_neighbors") = kMaxNeighbours;
  module.attr("max_width") = kMaxWidth;
  module.attr("max_hidden_layers") = kMaxHiddenLayers;
  module.attr("class_floor") = kClassFloor;
  nb::class_<Place>(module, "Place")
      .def(nb::init<const std::string&, int, int, bool>(), "backend"_a, "device"_a, "threads"_a, "results_there"_a);
  nb::class_<MlpShape>(module, "MlpShape").def_prop_ro("parameters", [](const MlpShape& s) {
    return parameter_count(s);
  });
  module.def("mlp_shape", mlp_shape);
  // No argument is converted: an array of another type or order would be copied in silence.
  const auto rows = "rows"_a.noconvert();
  module.def("check_rows", check_rows, rows, "name"_a);
  module.def("knn", knn, "place"_a, "references"_a.noconvert(), "queries"_a.noconvert(), "k"_a, "squared"_a, "others"_a,
             "cosine"_a);
  module.def("kmeans", kmeans, "place"_a, rows, "k"_a, "start"_a.noconvert().none(), "seed"_a, "max_iterations"_a,
             "tolerance"_a, "cosine"_a);
  module.def("nearest", nearest, "place"_a, rows, "centroids"_a.noconvert());
  module.def("unit_rows", unit_rows_of, rows);
  module.def("prototypes", prototypes, "place"_a, rows, "k"_a, "seed"_a, "unit"_a);
  module.def("class_means", class_means, rows, "labels"_a.noconvert(), "classes"_a);
  module.def("random_scores", random_numbers, "n"_a, "seed"_a);
  module.def("keep_rows", keep, "scores"_a.noconvert(), "labels"_a.noconvert(), "classes"_a, "keep"_a, "fraction"_a,
             "seed"_a, "class_floor"_a);
  module.def("near_duplicates", duplicates, "place"_a, "unit"_a.noconvert(), "clusters"_a.noconvert(),
             "scores"_a.noconvert(), "hard"_a, "eps"_a);
  module.def("mlp_train", mlp_train, "place"_a, "shape"_a, rows, "classes"_a.noconvert(), "seeds"_a, "options"_a);
  module.def("mlp_scores", mlp_scores, "place"_a, "shape"_a, "parameters"_a.noconvert(), rows);
  module.def("knn_map", knn_map, "place"_a, "points"_a.noconvert(), "classes"_a.noconvert(), "k"_a, "size"_a,
             "extent"_a);
  module.def("mlp_map", mlp_map, "place"_a, "shape"_a, "parameters"_a.noconvert(), "size"_a, "extent"_a);
  module.def("law", law, "n"_a.noconvert(), "seeds"_a.noconvert(), "errors"_a.noconvert(), "seed"_a);
  module.def("cuda_array", cuda_array, "place"_a, "data"_a, "shape"_a, "stream"_a, "owner"_a);
  module.def("about", about, "array"_a.noconvert());
  module.def("to_host", to_host, "place"_a, rows);
  module.def("devices", devices);
}

}  // namespace scalelab::host
