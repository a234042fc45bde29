// Every op that has a bench, and the cases of it that a command line asks for.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "bench/bench.h"
#include "host/program/error.h"
#include "host/program/lists.h"
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

// The values of `--axis NAME=...`: whole numbers, as 1e4 or 1..5, or words, as `like` is.
std::vector<nlohmann::ordered_json> axis_values(const std::string& name, const std::string& text,
                                                const nlohmann::ordered_json& like) {
  constexpr std::int64_t kMost = 1'000'000'000'000;
  std::vector<nlohmann::ordered_json> values;
  try {
    if (like.is_number()) {
      for (const std::int64_t value : host::whole_numbers(text, 0, kMost, true)) values.emplace_back(value);
    } else {
      for (const std::string& word : host::list_items(text)) values.emplace_back(word);
    }
  } catch (const std::invalid_argument& error) {
    throw Failure(host::kMisuse, fmt::format("--axis {}: {}", name, error.what()));
  }
  return values;
}

// The axes of the words of a command line: one without a name goes on with the axis before it.
std::vector<std::string> axes_of(const std::vector<std::string>& words) {
  std::vector<std::string> axes;
  for (const std::string& word : words) {
    if (word.find('=') != std::string::npos || axes.empty()) {
      axes.push_back(word);
    } else {
      axes.back() += " " + word;
    }
  }
  return axes;
}

// Each of the cases once for each value of the axis, "k=1,5,15".
std::vector<Parameters> along(const Op& op, const std::vector<Parameters>& cases, const std::string& axis) {
  const std::size_t equals = axis.find('=');
  const std::string name = axis.substr(0, equals);
  if (equals == std::string::npos || !op.cases[0].contains(name)) {
    std::vector<std::string> names;
    for (const auto& [key, value] : op.cases[0].items()) names.push_back(key);
    throw Failure(host::kMisuse, fmt::format("--axis: '{}' is no NAME=LIST of {}; its names are {}", axis, op.name,
                                             fmt::join(names, ", ")));
  }
  const auto values = axis_values(name, axis.substr(equals + 1), op.cases[0][name]);
  std::vector<Parameters> list;
  for (const Parameters& one : cases) {
    for (const auto& value : values) {
      list.push_back(one);
      list.back()[name] = value;
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
  const std::vector<std::string> axes = axes_of(choice.axes);
  for (const Op& op : all_ops()) {
    if (choice.op != kEveryOp && choice.op != op.name) continue;
    std::vector<Parameters> cases = op.cases;
    if (choice.large) cases.insert(cases.end(), op.large.begin(), op.large.end());
    if (!axes.empty()) cases = {op.cases[0]};
    for (const std::string& axis : axes) cases = along(op, cases, axis);
    for (const Parameters& parameters : cases) {
      check_parameters(op, parameters, "--axis");
      if (wanted(case_name(op.name, parameters), choice.filter)) list.push_back({op.name, parameters});
    }
  }
  if (list.empty()) throw Failure(host::kMisuse, fmt::format("--filter: no case's name contains '{}'", choice.filter));
  return list;
}

}  // namespace scalelab::bench
