// help: how a command's --help is set.
#pragma once

#include <cstddef>
#include <memory>

namespace CLI {
class FormatterBase;
}

namespace scalelab::host {

inline constexpr std::size_t kHelpColumns = 100;  // no line is wider

// Names of options left, their text right of them and wrapped, the default at its end.
std::shared_ptr<CLI::FormatterBase> help_formatter();

}  // namespace scalelab::host
