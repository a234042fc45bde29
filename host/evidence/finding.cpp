#include "host/evidence/finding.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

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

namespace {

std::vector<std::string> texts(const nlohmann::json& list) {
  std::vector<std::string> items;
  for (const auto& item : list) items.push_back(text_of(item));
  return items;
}

}  // namespace

std::vector<Finding> findings_from(const nlohmann::json& document) {
  std::vector<Finding> list;
  for (const auto& entry : document.value("findings", nlohmann::json::array())) {
    Finding f{.id = entry.value("id", ""), .title = entry.value("title", ""), .text = entry.value("text", "")};
    f.points = texts(entry.value("points", nlohmann::json::array()));
    f.columns = texts(entry.value("columns", nlohmann::json::array()));
    for (const auto& line : entry.value("table", nlohmann::json::array())) f.table.push_back(texts(line));
    list.push_back(std::move(f));
  }
  return list;
}

void judge(std::vector<Contrast>& contrasts, const std::function<std::string(const Contrast&)>& family) {
  std::map<std::string, std::vector<Contrast*>> families;
  for (Contrast& c : contrasts) families[family ? family(c) : ""].push_back(&c);
  for (const auto& [name, members] : families) judge(members);
}

namespace {

bool has_training_errors(const Finding& f) {
  return std::any_of(f.contrasts.begin(), f.contrasts.end(),
                     [](const Contrast& c) { return c.train_what.n > 0 || c.train_against.n > 0; });
}

// "2.31 [1.90, 2.72] against 0.00 [0.00, 0.00]", without one that is not known: "2.31 [1.90, 2.72] against -".
std::string training_cell(const Contrast& c) {
  return fmt::format("{} against {}", worded(c.train_what), worded(c.train_against));
}

}  // namespace

void settle(Finding& f, const std::function<std::string(const Contrast&)>& family) {
  if (f.contrasts.empty()) return;
  judge(f.contrasts, family);
  const bool training = has_training_errors(f);
  for (const char* column : {"difference in points", "95 % interval"}) f.columns.push_back(column);
  f.columns.push_back(f.contrasts[0].over_worlds ? "worlds where it is lower" : "seeds where it is lower");
  if (training) f.columns.push_back("training errors, %");
  f.columns.push_back("verdict");
  for (std::size_t i = 0; i < f.contrasts.size(); ++i) {
    const Contrast& c = f.contrasts[i];
    const Paired& p = c.difference;
    auto& line = f.table[i];
    line.push_back(signed_points(p.n == 0 ? std::nan("") : p.mean));
    line.push_back(p.n < 2 ? "-" : signed_points(p.interval.low) + " to " + signed_points(p.interval.high));
    line.push_back(fmt::format("{} of {}", p.below, p.n));
    if (training) line.push_back(training_cell(c));
    line.push_back(p.n == 0 ? "-" : c.verdict_words());
    if (p.n > 0 && c.depends_on_failed()) {
      line.back() += fmt::format(" ({} without failed networks)", verdict_word(c.verdict_of(c.trained)));
    }
  }
  const std::string corrected = family_words(f.contrasts);
  if (!corrected.empty()) f.text += (f.text.empty() ? "" : " ") + corrected;
}

void add_notes(Finding& f, const Verdicts& verdicts) {
  if (const std::string notes = verdicts.notes(); !notes.empty()) f.points.push_back(notes);
}

Verdicts settle_by_place(Finding& f, const std::function<std::string(const Contrast&)>& place) {
  settle(f);
  Verdicts verdicts;
  for (const Contrast& c : f.contrasts) {
    if (const std::string name = place(c); !name.empty()) verdicts.add(name, c);
  }
  add_notes(f, verdicts);
  return verdicts;
}

}  // namespace scalelab::host
