// Every op that has a bench, and the cases of it that a command line asks for.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "bench/bench.h"
#include "host/program/error.h"
#include "host/program/words.h"

namespace scalelab::bench {

using host::Failure;

// NAME_op of NAME_bench.cpp: an op is added by its file and its name in these two lines.
Op knn_op(), grid_op(), kmeans_op(), mlp_op();
const std::vector<Op>& all_ops() {
  static const std::vector<Op> ops = {knn_op(), grid_op(), kmeans_op(), mlp_op()};
  return ops;
}

const Op& op_named(const std::string& name) {
  const auto& ops = all_ops();
  const auto found = std::find_if(ops.begin(), ops.end(), [&](const Op& op) { return op.name == name; });
  if (found == ops.end()) throw Failure(host::kMisuse, fmt::format("the op '{}' is not known", name));
  return *found;
}

std::vector<std::int64_t> ladder(double first, double factor, double last) {
  std::vector<std::int64_t> values;
  for (double value = first; value <= last * 1.001; value *= factor) {
    const double digit = std::pow(10, std::max(0.0, std::floor(std::log10(value * 1.0001)) - 1));
    values.push_back(std::llround(std::round(value / digit) * digit));
  }
  return values;
}

std::vector<std::int64_t> doubling(std::int64_t first, std::int64_t last, std::int64_t factor) {
  std::vector<std::int64_t> values;
  for (std::int64_t value = first; value <= last; value *= factor) values.push_back(value);
  return values;
}

double value_of(const Parameters& parameters, const char* name) { return parameters.at(name).get<double>(); }

Parameters with(Parameters parameters, const char* name, std::int64_t value) {
  parameters[name] = value;
  return parameters;
}

std::string case_name(const std::string& op, const Parameters& parameters) {
  std::string name = op;
  for (const auto& [key, value] : parameters.items()) name += fmt::format(" {}={}", key, host::text_of(value));
  return name;
}

bool wanted(const std::string& name, const std::string& filter) {
  const auto texts = host::split(filter);
  return std::any_of(texts.begin(), texts.end(),
                     [&](const std::string& text) { return name.find(text) != std::string::npos; });
}

void check_parameters(const Op& op, const Parameters& parameters, const std::string& option) {
  for (const auto& [name, any] : op.cases[0].items()) {
    const auto found = op.limits.find(name);
    const Limits limits = found == op.limits.end() ? Limits() : found->second;
    const auto value = parameters.value(name, nlohmann::ordered_json());
    const auto refuse = [&, &name = name](const std::string& allowed) {
      throw Failure(host::kMisuse,
                    fmt::format("{}: {} {} of {} must be {}", option, name, value.dump(), op.name, allowed));
    };
    if (!limits.words.empty()) {
      const bool known = std::find(limits.words.begin(), limits.words.end(), value) != limits.words.end();
      if (!known) refuse(fmt::format("one of {}", fmt::join(limits.words, ", ")));
    } else if (!value.is_number_integer() || value < limits.least || value > limits.most) {
      refuse(fmt::format("a whole number from {} to {}", limits.least, limits.most));
    }
  }
}

namespace {

// A value of `--axis NAME=...`: a whole number, as 1e4, or a word, as `like` is.
nlohmann::ordered_json axis_value(const std::string& name, const std::string& text,
                                  const nlohmann::ordered_json& like) {
  if (!like.is_number()) return text;
  constexpr double kMost = 1e12;  // well within what a double counts exactly
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || stop != text.data() + text.size() || value < 0 || value > kMost ||
      value != std::floor(value)) {
    throw Failure(host::kMisuse, fmt::format("--axis {}: '{}' is not a whole number", name, text));
  }
  return static_cast<std::int64_t>(value);
}

// Each of the cases once for each value of the axis, "k=1,5,15".
std::vector<Parameters> along(const Op& op, const std::vector<Parameters>& cases, const std::string& axis) {
  const std::size_t equals = axis.find('=');
  const std::string name = axis.substr(0, equals);
  if (equals == std::string::npos || !op.cases[0].contains(name)) {
    std::vector<std::string> names;
    for (const auto& [key, value] : op.cases[0].items()) names.push_back(key);
    throw Failure(host::kMisuse, fmt::format("--axis: '{}' is no NAME=VALUE[,VALUE...] of {}; its names are {}", axis,
                                             op.name, fmt::join(names, ", ")));
  }
  std::vector<Parameters> list;
  for (const Parameters& one : cases) {
    for (const std::string& text : host::split(std::string_view(axis).substr(equals + 1))) {
      list.push_back(one);
      list.back()[name] = axis_value(name, text, one[name]);
    }
  }
  return list;
}

}  // namespace

double need_of(const Case& one) {
  const Op& op = op_named(one.op);
  const bool large = std::find(op.large.begin(), op.large.end(), one.parameters) != op.large.end();
  return large ? op.bytes(one.parameters) : 0;
}

std::vector<Case> chosen_cases(const CaseChoice& choice) {
  std::vector<Case> list;
  for (const Op& op : all_ops()) {
    if (choice.op != kEveryOp && choice.op != op.name) continue;
    std::vector<Parameters> cases = op.cases;
    if (choice.large) cases.insert(cases.end(), op.large.begin(), op.large.end());
    if (!choice.axes.empty()) cases = {op.cases[0]};
    for (const std::string& axis : choice.axes) cases = along(op, cases, axis);
    for (const Parameters& parameters : cases) {
      check_parameters(op, parameters, "--axis");
      if (wanted(case_name(op.name, parameters), choice.filter)) list.push_back({op.name, parameters});
    }
  }
  if (list.empty()) throw Failure(host::kMisuse, fmt::format("--filter: no case's name contains '{}'", choice.filter));
  return list;
}

}  // namespace scalelab::bench
