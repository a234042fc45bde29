// What a comparison says of places: regions of the plane, patches of the maps, and where two networks disagree.
#include <fmt/format.h>

#include "host/lab/regions.h"
#include "host/program/words.h"
#include "host/studies/compare_findings.h"

namespace scalelab::host {

namespace {

// "the sparsest quarter of the plane" of sparse_error.
std::string region_words(const std::string& measure) {
  if (measure == "sparse_error") return "the quarter of the plane with the fewest points";
  if (measure == "centre_error") return "the centre";
  if (measure == "tip_error") return "the tip";
  return "the whole plane";
}

}  // namespace

std::optional<Finding> regions(const Comparison& c) {
  Finding f{.id = "regions"};
  f.columns = {"model", "against", "where", "error, %", "the other's, %"};
  const std::int64_t n = c.options.sizes.front();
  const auto add = [&](Contrast one) {
    std::vector<std::string> line = {one.what, one.against, region_words(one.measure), worded(one.of_what),
                                     worded(one.of_against)};
    add_line(f, std::move(line), std::move(one));
  };
  const std::string sparse = Regions::kMeasures[0];
  Verdicts by_density, by_encoding, by_extras[Regions::kCount];
  // Each model in the sparse quarter against itself on the whole plane.
  for (const Model& model : c.options.models) {
    if (!is_plain(model) && model.name != "knn-1") continue;
    add(contrast(model.name, c.errors(model.name, n, sparse), model.name + " everywhere",
                 c.errors(model.name, n, "grid_error"), sparse, {{"n", n}}));
  }
  // Each encoding against (x, y) there, without and with extras; and in every region the extras against none.
  for (const auto& network : c.options.network_names()) {
    const std::string other = on_coordinates(network), plain = network.substr(0, network.find('+'));
    if (other != network && network == plain) {
      add(between(c, network, n, other, n, sparse));
      add(between(c, network, n, other + "+extras", n, sparse));
    }
    for (const char* region : Regions::kMeasures) {
      if (plain != network && !network.ends_with("+sgd")) add(between(c, network, n, plain, n, region));
    }
  }
  if (f.table.empty()) return std::nullopt;
  f.text =
      "Errors at the smallest size, counted in parts of the plane: the quarter of its cells on which the fewest points "
      "fall; the centre, less than a pitch (0.23) from the origin, where the spiral begins; and the tip, within half a "
      "pitch of its last quarter turn, where there are almost no points. The error of the model there minus that of "
      "the other, seed by seed.";
  // Which of the three a contrast is, when all of them have been judged together.
  const auto kind = [](const Contrast& one) {
    return one.against.ends_with(" everywhere")      ? "place"
           : one.what.find('+') == std::string::npos ? "encoding"
                                                     : "extras";
  };
  settle(f);
  for (const Contrast& one : f.contrasts) {
    if (kind(one) == std::string("place")) by_density.add(one.what, one);
    if (kind(one) == std::string("encoding")) by_encoding.add(one.what + " against " + one.against, one);
    for (std::size_t region = 0; kind(one) == std::string("extras") && region < Regions::kCount; ++region) {
      if (one.measure == Regions::kMeasures[region]) by_extras[region].add(one.what, one);
    }
  }
  const auto words = [](const Verdicts& v) {
    return v.worded("lower for", "undecided for", "higher for", "the same for");
  };
  f.title = fmt::format("In {} the error, against the whole plane, is {}", region_words(sparse), words(by_density));
  if (!by_encoding.empty()) {
    f.points.push_back(
        fmt::format("there, against the same network on (x, y) without extras and with, it is {}", words(by_encoding)));
  }
  for (std::size_t region = 0; region < Regions::kCount; ++region) {
    if (by_extras[region].empty()) continue;
    f.points.push_back(fmt::format("in {}, with extras against without, it is {}",
                                   region_words(Regions::kMeasures[region]), words(by_extras[region])));
  }
  return f;
}

std::optional<Finding> patches(const Comparison& c) {
  Finding f{.id = "patches"};
  f.columns = {"model"};
  for (const std::int64_t n : c.options.sizes) f.columns.push_back(fmt::format("n = {}", grouped(n)));
  const auto tenths = [](double count) { return fmt::format("{:.1f}", count); };
  std::vector<std::string> said;
  for (const Model& model : c.options.models) {
    std::vector<std::string> line = {model.name};
    for (const std::int64_t n : c.options.sizes) {
      line.push_back(worded(c.errors(model.name, n, "patches").summary(), tenths));
    }
    if (is_plain(model) && line[1] != "-") said.push_back(fmt::format("{} ({})", line[1], model.name));
    f.table.push_back(std::move(line));
  }
  if (said.empty()) return std::nullopt;
  f.title = fmt::format("On {} points a network's map has {} patches; the truth has 2",
                        grouped(c.options.sizes.front()), listed(said));
  f.text =
      "A patch is a part of the map of one colour that hangs together by its cells' sides, of 1/4096 of the plane or "
      "more. The mean with its 95 % interval (Student's t).";
  return f;
}

std::optional<Finding> disagreement(const Comparison& c) {
  Finding f{.id = "disagreement"};
  const std::int64_t n = c.options.sizes.front();
  f.columns = {"network", "share of the plane, %", "training error, %", "pairs"};
  std::vector<std::string> said;
  for (const auto& name : c.options.network_names()) {
    const auto found = c.disagreement.find(name);
    if (found == c.disagreement.end() || found->second.empty()) continue;
    std::vector<double> shares;
    for (const auto& [seed, share] : found->second) shares.push_back(share);
    f.table.push_back({name, worded(summarize_fractions(shares)), c.errors(name, n, "train_error").worded(),
                       std::to_string(shares.size())});
    said.push_back(fmt::format("{} % ({})", f.table.back()[1], name));
  }
  if (said.empty()) return std::nullopt;
  f.title = fmt::format("Two starts on the same {} points disagree on {} of the plane", grouped(n), listed(said));
  f.text =
      "Two networks of one kind on the same points, which differ in their start and in the order of samples alone: the "
      "share of the plane that they colour differently, mean over seeds with its 95 % interval. The points leave that "
      "much of the boundary open to a network that fits them.";
  return f;
}

}  // namespace scalelab::host
