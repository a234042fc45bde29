// trial_options: the options that set a member of Trial, each worded and bounded here alone.
#pragma once

#include <CLI/CLI.hpp>

namespace scalelab::host {

CLI::Validator precision_name();  // of --precision
inline constexpr const char* kPrecisionHelp =
    "in which networks train: fp32, bf16x3 (tensor cores, close to fp32) or bf16 (tensor cores); the CPU emulates the "
    "last two, slower";

}  // namespace scalelab::host
