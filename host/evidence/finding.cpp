#include "host/evidence/finding.h"

#include <fmt/format.h>

#include <cmath>

#include "host/program/words.h"

namespace scalelab::host {

std::string to_text(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    text += "* " + finding.title + "\n";
    for (const std::string& point : finding.points) text += "  - " + point + "\n";
  }
  return text;
}

nlohmann::json to_json(const std::vector<Finding>& findings) {
  nlohmann::json list = nlohmann::json::array();
  for (const Finding& f : findings) {
    nlohmann::json contrasts = nlohmann::json::array();
    for (const Contrast& c : f.contrasts) contrasts.push_back(to_json(c));
    list.push_back({{"id", f.id},
                    {"title", f.title},
                    {"text", f.text},
                    {"points", f.points},
                    {"columns", f.columns},
                    {"table", f.table},
                    {"contrasts", contrasts}});
  }
  return list;
}

std::vector<std::string> contrast_columns() {
  return {"difference in points", "95 % interval", "seeds where it is lower", "verdict"};
}

std::vector<std::string> contrast_cells(const Contrast& c) {
  const Paired& p = c.difference;
  std::string verdict = p.n == 0 ? "-" : c.verdict();
  if (p.n > 0 && c.depends_on_failed())
    verdict += fmt::format(" ({} without failed networks)", verdict_word(c.trained));
  return {signed_points(p.n == 0 ? std::nan("") : p.mean),
          p.n < 2 ? "-" : signed_points(p.interval.low) + " to " + signed_points(p.interval.high),
          fmt::format("{} of {}", p.below, p.n), verdict};
}

}  // namespace scalelab::host
