// bench: what a case of a benchmark is, how it is timed, and how two results are told apart.
//
// A case is an op at one setting of its parameters. Before it is timed its answers are checked; a wrong answer has no
// time. It is then timed in rounds, each with its data made afresh: the median of a round is one independent look at
// the case, and intervals come from the spread of rounds, not of the samples within one, so that a machine that is slow
// for half a second does not pass for a slow program. Every sample is kept.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "bench/power.h"
#include "host/program/files.h"
#include "scalelab/backend.h"
#include "scalelab/buffer.h"
#include "scalelab/ceilings.h"
#include "scalelab/knn.h"

namespace scalelab::bench {

// What one run does: units for the rate that people quote; bytes that must at least move to and from main memory, and
// operations, for the roofs. 0: not counted.
struct Workload {
  double units = 0;
  std::string unit;
  double bytes = 0;
  double written_bytes = 0;  // of these, those that are written; the others are read
  double flop = 0;           // fp32, a fused multiply-add is two
  double minima = 0;         // comparisons and minima
  double tensor_flop = 0;    // of tensor cores: bf16 products, summed in fp32
  double cache_bytes = 0;    // that at least pass through the cache which multiprocessors share
  std::string counted;       // how these are counted, where that is not obvious
};

// Timings of somebody else's code on the same arrays.
struct Peer {
  std::string who;
  std::string absent{};               // why it was not run; then nothing else is known
  std::vector<double> wall{}, cpu{};  // seconds a run
  std::string answer{};               // how its answer compares with ours
  std::string note{};
  std::string version{};
  bool own_route = false;  // not somebody else's: another way of ours to the same answer
};

// A case, ready to run. What `make` allocates lives here.
struct Problem {
  Workload work;
  std::function<void()> prepare;             // what each run begins from, not timed; may be empty
  std::function<void()> run;                 // what is timed; returns when the answer is there
  std::function<std::string()> check;        // empty, or what is wrong with the answer of the last run
  std::function<std::vector<Peer>()> peers;  // may be empty
  std::function<std::string()> digest;       // of the answer of the last run; may be empty
  void run_once() const {
    if (prepare) prepare();
    run();
  }
};

// The digest of an answer that lies in these buffers: equal for equal bits.
template <class... Ts>
std::string digest_of(const Buffer<Ts>&... answer) {
  host::Fingerprint fingerprint;
  const auto add = [&fingerprint](const auto& values) {
    fingerprint.add({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0])});
  };
  (add(answer.to_host()), ...);
  return fingerprint.digits();
}

// Parameters of a case, by name: whole numbers, or a text (kind of data, ids or labels).
using Parameters = nlohmann::ordered_json;

// The values that a parameter may have: these words, or without words the whole numbers from least to most.
struct Limits {
  std::vector<std::string> words;
  std::int64_t least = 1, most = 1000000000000;
};

// An op along one of its parameters, by one of its routes: what `bench cost` follows.
struct CostLine {
  std::string group, title;  // lines of a group are drawn together: same axis, same answers
  std::string route;         // "tree", "every pair"; empty: there is one
  Parameters fixed;
  std::string axis;  // whose value is set to each of `values`, ascending; and that of `follows`, where not empty
  std::vector<std::int64_t> values;
  std::string follows{};
  // Bytes that the case takes, ours and the bench's own, generously.
  std::function<double(const Parameters&)> bytes;
  // Which crossover between backends (host/program/crossover.h) this line decides, and its amount; empty: none.
  std::string work{};
  std::function<double(const Parameters&)> amount{};
};
// Values of an axis: the first, and each `factor` times the one before, rounded to two digits, up to `last`.
std::vector<std::int64_t> ladder(double first, double factor, double last);
inline const double kHalfDecade = std::sqrt(10.0);
// The first, and each `factor` times the one before, up to `last`.
std::vector<std::int64_t> doubling(std::int64_t first, std::int64_t last, std::int64_t factor = 2);
// With more features than kTreeFeatures the ops look at every pair. So many, the further ones zeros, send points of two
// or three features along that route, to the same answers.
inline constexpr std::int64_t kEveryPair = kTreeFeatures + 1;
double value_of(const Parameters& parameters, const char* name);
Parameters with(Parameters parameters, const char* name, std::int64_t value);

struct Op {
  std::string name;
  std::string what;                      // one line
  std::vector<Parameters> cases;         // the default ones; all have the same names
  std::map<std::string, Limits> limits;  // of the parameters that are words, or not just any number from 1 on
  std::function<Problem(const Parameters&, Context&)> make;
  std::vector<CostLine> lines;
  // Cases that fill a GPU, and take minutes without one: timed where a GPU is asked for and they fit. `bytes`: what such
  // a case takes at most, on the device and about as much again beside it.
  std::vector<Parameters> large;
  std::function<double(const Parameters&)> bytes;
};
// All of them, in the order in which they are listed. Failure(kMisuse) for a name that none of them has.
const std::vector<Op>& all_ops();
const Op& op_named(const std::string& name);

struct Case {
  std::string op;
  Parameters parameters;
};
// "knn data=uniform n=1000 k=5"
std::string case_name(const std::string& op, const Parameters& parameters);
// Whether a name contains one of the texts of `filter`, which are parted by commas. An empty filter wants everything.
bool wanted(const std::string& name, const std::string& filter);

// host::Failure(kMisuse), naming `option`, unless every parameter is there and within its limits.
void check_parameters(const Op& op, const Parameters& parameters, const std::string& option);

// The default cases of the ops asked for, with `large` also those that fill a GPU, or along axes ("n=1e4,1e5"), which are
// lists over the op's first case, every one with every other; of these the ones that the filter wants. Failure(kMisuse)
// where none is.
inline constexpr const char* kEveryOp = "all";
struct CaseChoice {
  std::string op = kEveryOp, filter{};
  std::vector<std::string> axes{};
  bool large = false;
};
// Bytes that a case needs, on the device and as many again beside it; 0 for cases that every machine holds.
double need_of(const Case& one);
std::vector<Case> chosen_cases(const CaseChoice& choice);

// --- timing ---------------------------------------------------------------------------------------------------------

struct Round {
  std::vector<double> wall, cpu;    // seconds a run, each sample
  double cold = std::nan("");       // wall seconds of a run with the caches emptied before it
  double joules = std::nan("");     // that the device used for a run, while samples were taken
  double megahertz = std::nan("");  // of the device, right after the samples, and what held it down (Power::Reading)
  std::uint64_t throttle = 0;
};

// One round: runs to warm up, for `warm` seconds and at least one, a cold run where wanted, then samples until `seconds`
// are over, at least `least`. A sample is as many runs as take a millisecond. Where a run takes more than kLong times
// `seconds`, one sample behind the warm-up is all. Energy is that of windows of a fifth of a second and longer: the
// counter behind it moves in steps.
struct Pace {
  double seconds = 0;
  std::size_t least = 3;
  bool cold = true;
  double warm = 0;  // an idle GPU has lowered its clock, and takes a tenth of a second to raise it
};
inline constexpr double kLong = 10;
// Seconds on a clock that only goes forward: of the wall, and of this process on its CPUs.
struct Clocks {
  std::function<double()> wall, cpu;
};
Clocks steady_clocks();
Round time_round(const Problem& problem, const Pace& pace, Context& context, const Power* power = nullptr,
                 const Clocks& clocks = steady_clocks());

double median(std::vector<double> values);

// The median of a case and its 95 % interval from the medians of its rounds (Student's t on their logarithms; NaN with
// fewer than two).
struct Estimate {
  double median = 0, low = 0, high = 0;
};
Estimate estimate(std::span<const double> round_medians);

// Whether these rounds are enough: three of them and an interval, by the clock "cpu" or else by wall time, of a
// hundredth.
bool is_narrow(std::span<const Round> rounds, const std::string& clock);

// --- verdicts -------------------------------------------------------------------------------------------------------

// The program against itself: of each case, every other round against the rest. What differs by less than this, from
// one result to another, says nothing. `cases`: with two rounds and more.
struct Noise {
  double median = std::nan(""), largest = std::nan("");  // of how far the two halves lie apart, as a share
  std::int64_t cases = 0;
};
Noise noise_of(std::span<const std::vector<double>> rounds_of_cases);

// b against a: ratio of times b / a and its 95 % interval (Welch's t on the logarithms of round medians).
//   same       the interval lies within 1 / (1 + margin) .. 1 + margin
//   faster     it lies below 1, slower: above 1 (and not within the margin)
//   undecided  everything else, and whenever either side has fewer than three rounds (six turns)
struct Verdict {
  std::string word;
  double ratio = 1, low = 0, high = 0;
  bool too_few = false;
};
Verdict compare_rounds(std::span<const double> a, std::span<const double> b, double margin);
// The same where a[i] and b[i] were timed in turn: the middle of log b[i] / a[i] and its interval by signed ranks,
// which a few turns that something else disturbed do not move. As many of each, and six at least.
inline constexpr std::size_t kFewestTurns = 6;
Verdict compare_in_pairs(std::span<const double> a, std::span<const double> b, double margin);

// The share of its roof that a run of `seconds` reaches, and which roof: the resource that would take longest by
// itself. Main memory has three: memory (what is read and written alike), read and write.
struct Roof {
  std::string
      name;  // memory, read, write, fma, minimum, tensor, cache; empty when nothing is counted or no ceiling known
  double floor_seconds = 0, share = 0;
};
// What main memory takes at least: for as many bytes written as read the time of a copy, for what is left of either that
// of reading or of writing alone, whose name it has where that is most of it. A rate that is not known is that of a copy.
Roof memory_floor(const Workload& work, const Ceilings& ceilings);
Roof binding_roof(const Workload& work, const Ceilings& ceilings, double seconds);

// --- cost -----------------------------------------------------------------------------------------------------------

// seconds ~ x^exponent, by least squares on logarithms, with the 95 % interval that the scatter about the line leaves
// (Student's t). NaN: below two different x; without an interval: below three points.
struct Growth {
  double exponent = std::nan(""), low = std::nan(""), high = std::nan("");
};
Growth growth(std::span<const double> x, std::span<const double> seconds);

// From which x on b takes less time than a does, at every x measured from there on. Both were measured at the same x,
// ascending. Between two x, log time is taken to be linear in log x.
//   at      between two of them, with the interval that the intervals of the times allow
//   always  b is quicker at all of them: `at` is the smallest
//   never   b is not quicker at the largest, which is `at`
struct Rung {
  double x;
  Estimate seconds;
};
struct Takeover {
  std::string word;
  double at, low, high;
};
Takeover takeover(std::span<const Rung> a, std::span<const Rung> b);

// --- data -----------------------------------------------------------------------------------------------------------

// (count, wide) numbers, of which draw(i, row) makes row i; made on all processors. What was made under the same name is
// not made again while it is remembered: a machine with little memory forgets the oldest.
using Numbers = std::shared_ptr<const std::vector<float>>;
Numbers drawn(const std::string& name, std::int64_t count, std::int64_t wide,
              const std::function<void(std::int64_t i, float* row)>& draw);

// Feature f of row i of what lies as embeddings do: about a thousand topics, each row 0.6 times as wide about its own as
// topics are about each other, features of falling deviation. Rows of other seeds lie about the same topics.
float embedding_coordinate(std::uint64_t seed, std::uint64_t i, std::uint32_t f);

// --- peers ----------------------------------------------------------------------------------------------------------

// A folder for the arrays that peers in Python read and the answers they leave, removed at the end.
class PeerFolder {
 public:
  PeerFolder();
  ~PeerFolder();
  PeerFolder(const PeerFolder&) = delete;
  PeerFolder& operator=(const PeerFolder&) = delete;
  std::string path() const { return path_; }
  void write(const std::string& name, const void* data, std::size_t bytes) const;
  void read(const std::string& name, void* data, std::size_t bytes) const;
  template <class T>
  void write(const std::string& name, const std::vector<T>& values) const {
    write(name, values.data(), values.size() * sizeof(T));
  }
  template <class T>
  std::vector<T> read(const std::string& name, std::size_t count) const {
    std::vector<T> values(count);
    read(name, values.data(), count * sizeof(T));
    return values;
  }

 private:
  std::string path_;
};

// What a shell command printed, and its exit status. After a signal to this program it is killed, with all it started,
// and host::Interrupted is thrown; after `limit` seconds it is killed likewise, and is `late`.
struct Said {
  std::string output;
  int status = 0;
  bool late = false;
};
Said run_command(const std::string& line, double limit = INFINITY);

// The peers of `python3 bench/peers/SCRIPT ARGUMENTS`, which prints one JSON object a line: {"who", "units", "unit",
// "wall", "cpu", "note", "version"}, or {"who", "absent"}. How the answer of one that was timed compares with ours,
// `answer` says of its row, whose other members are for it. SCALELAB_PYTHON names another interpreter, SCALELAB_PEERS
// another folder than share/scalelab/peers of an installed program or bench/peers of the sources, SCALELAB_PEER_SECONDS
// another limit than kPeerSeconds for a script, and `threads` limits its libraries. One absent peer when the script
// cannot be run, fails, with the last line of what it complained of, or is late.
inline constexpr double kPeerSeconds = 900;
std::vector<Peer> python_peers(const std::string& script, const std::string& arguments, int threads,
                               const std::function<std::string(const nlohmann::json& row)>& answer);

}  // namespace scalelab::bench
