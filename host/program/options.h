// options: what a command line may hold, for the files that register options.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>

namespace scalelab::host {

// Checks of an option's text, for CLI::Option::check. They say what was expected; plain decimal digits only.
CLI::Validator whole_number(std::uint64_t low, std::uint64_t high);
CLI::Validator real_number(double low, double high);  // finite, ends included
// For CLI::Option::transform: "512M", "8G", in powers of 1024, become bytes.
CLI::Validator memory_size();

}  // namespace scalelab::host
