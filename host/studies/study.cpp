#include "host/studies/study.h"

#include <fmt/format.h>

#include <algorithm>

#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/words.h"

namespace scalelab::host {

Outcome finish_study(const std::string& file, const SweepOptions& options, const SweepResult& result,
                     nlohmann::json document, std::string text) {
  const auto first = std::find_if(result.rows.begin(), result.rows.end(),
                                  [](const SweepRow& row) { return row.measurement.failed(); });
  if (first != result.rows.end()) {
    text += fmt::format("{} failed; --retry failed runs {} again. The first: {}\n", counted(result.failed, "trial"),
                        result.failed == 1 ? "it" : "them", first->measurement.status);
  }
  if (!result.complete()) {
    text +=
        fmt::format("{} of {} trials are done; the other shards have the rest.\n", result.rows.size(), result.planned);
  }
  write_file(options.out / file, json_text(document));
  text += fmt::format("All results: {}\n", (options.out / file).string());
  return {std::move(document), std::move(text), result.failed > 0 ? kSomeFailed : kDone};
}

}  // namespace scalelab::host
