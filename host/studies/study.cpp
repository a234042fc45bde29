#include "host/studies/study.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "host/own_data/boundary_page.h"
#include "host/own_data/kmeans_page.h"
#include "host/own_data/knn_page.h"
#include "host/own_data/prune_page.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/file_lock.h"
#include "host/program/files.h"
#include "host/program/input.h"
#include "host/program/options.h"
#include "host/program/words.h"
#include "host/studies/claims.h"
#include "host/studies/compare_page.h"
#include "host/studies/sweep_study.h"
#include "host/studies/theory.h"
#include "host/studies/xor_study.h"

namespace scalelab::host {

namespace fs = std::filesystem;

namespace {

nlohmann::json row_json(const SweepRow& row) {
  const bool by_rule = row.trial.fraction == kByRule;
  nlohmann::json entry = {{"id", trial_id(row.trial)},
                          {"params", to_json(row.trial)},
                          {"status", row.measurement.status},
                          {"seconds", row.measurement.seconds}};
  if (by_rule) {
    // The share that was kept is known from how many rows were.
    const auto kept = row.measurement.values.find("kept");
    entry["by_rule"] = true;
    entry["params"]["fraction"] = kept == row.measurement.values.end()
                                      ? nlohmann::json()
                                      : number(kept->second / static_cast<double>(row.trial.n));
  }
  for (const auto& [measure, value] : row.measurement.values) entry[measure] = number(value);
  return entry;
}

SweepRow row_from(const nlohmann::json& entry) {
  SweepRow row;
  nlohmann::json params = entry.at("params");
  const bool by_rule = entry.value("by_rule", false);
  if (by_rule) params.erase("fraction");
  row.trial = trial_from_json(params);
  if (by_rule) row.trial.fraction = kByRule;
  for (const auto& [name, value] : entry.items()) {
    if (name == "status") row.measurement.status = value.get<std::string>();
    if (name == "seconds" && value.is_number()) row.measurement.seconds = value.get<double>();
    if (name == "seconds" || !value.is_number()) continue;
    row.measurement.values[name] = value.get<double>();
  }
  return row;
}

}  // namespace

std::vector<SweepRow> rows_from(const nlohmann::json& document) {
  std::vector<SweepRow> rows;
  for (const auto& entry : document.at("rows")) rows.push_back(row_from(entry));
  return rows;
}

bool on_a_file(const std::vector<SweepRow>& rows) {
  return std::any_of(rows.begin(), rows.end(), [](const SweepRow& row) { return !row.trial.fingerprint.empty(); });
}

namespace {

Page study_page_from(const nlohmann::json& document) {
  const std::vector<SweepRow> rows = rows_from(document);
  const Curves curves = curves_of(rows, document.value("seed", std::uint64_t{0}));
  const std::string title = document.value("title", document.value("experiment", "Sweep"));
  if (document.value("schema", 1) >= 2) return sweep_page(title, findings_from(document), curves, rows, document);
  // What an earlier version said went by other rules; what its rows say by those of today takes its place.
  const std::vector<Finding> findings = sweep_findings(curves);
  nlohmann::json said_again = document;
  said_again["findings"] = to_json(findings);
  return sweep_page(title, findings, curves, rows, said_again);
}

nlohmann::json result_in(const fs::path& folder) {
  if (fs::is_regular_file(folder)) {
    throw Failure(kBadData, fmt::format("{0}: is a file; give the folder that holds a result.json, or, of a result of "
                                        "bench, use scalelab bench show {0}",
                                        folder.string()));
  }
  for (const char* name : {"result.json", "results.json", "curriculum.json", "lottery.json", "theory.json"}) {
    if (!fs::is_regular_file(folder / name)) continue;
    auto document = parse_json(file_text(folder / name), (folder / name).string(), kBadData);
    if (document.is_object()) return document;
    throw Failure(kBadData, fmt::format("{}: is not a JSON object", (folder / name).string()));
  }
  throw Failure(kBadData, fmt::format("{}: holds no result.json; give the --out folder of a command that has finished",
                                      folder.string()));
}

// What makes the page of a result that lies on disk, by what it says of itself.
Page page_from(const nlohmann::json& document, const fs::path& folder) {
  const std::string experiment = document.value("experiment", "");
  try {
    const std::string study = document.value("study", "");
    if (study == "story") {
      throw Failure(kBadData, fmt::format("{0}: of a story, open its index.html, which scalelab story --out {0} makes "
                                          "again, or give the folder of one of its experiments",
                                          folder.string()));
    }
    if (study == "theory") return theory_page(document);
    if (study == "xor") return xor_page(document);
    if (study == "claims") return claims_page(document);
    if (study == "boundary") return boundary_page(document, folder);
    if (document.contains("plane")) {  // the results of shards, and of knn and kmeans joined from them, have none
      if (study == "knn") return knn_page(document);
      if (study == "kmeans") return kmeans_page(document);
      if (study == "prune") return prune_page(document);
    }
    if (experiment == "compare" && document.contains("planned")) return comparison_page_from(document, folder);
    if (document.contains("planned") && document.contains("rows")) return study_page_from(document);
  } catch (const nlohmann::json::exception& error) {
    throw Failure(kBadData,
                  fmt::format("{}: its result is not as this program writes it ({})", folder.string(), error.what()));
  } catch (const Failure& failure) {
    throw Failure(kBadData,
                  fmt::format("{}: its result is not as this program writes it ({})", folder.string(), failure.what()));
  }
  if (document.contains("bayes_error")) {
    throw Failure(kBadData, fmt::format("{}: an earlier version wrote this result of the mixture; make it again with "
                                        "scalelab xor",
                                        folder.string()));
  }
  throw Failure(kBadData,
                fmt::format("{}: no page can be made again of its result; run the command that made it once more{}",
                            folder.string(), command_of(document).empty() ? "" : ": " + command_of(document)));
}

Outcome show(const fs::path& folder, const fs::path& out) {
  const nlohmann::json document = result_in(folder);
  auto page = std::make_shared<const Page>(page_from(document, folder));
  if (!out.empty()) make_output_folder(out);
  Outcome outcome{page->document, page->headline + "\n"};
  outcome.page = page;
  outcome.folder = out.empty() ? folder : out;
  return outcome;
}

}  // namespace

namespace {

nlohmann::json head_of(const Study& study, Session& session) {
  return {
      {"schema", 2}, {"study", study.command}, {"experiment", study.experiment}, {"environment", environment(session)}};
}

}  // namespace

nlohmann::json findings_document(const Study& study, Session& session) {
  nlohmann::json document = head_of(study, session);
  document["title"] = study.title;
  document["findings"] = to_json(study.findings);
  document.update(study.more);
  return document;
}

nlohmann::json planned_document(const Study& study, Session& session) {
  nlohmann::json document = head_of(study, session);
  document["planned"] = study.result.planned;
  document["complete"] = study.result.complete();
  document["failed"] = study.result.failed;
  document["rows"] = nlohmann::json::array();
  return document;
}

nlohmann::json study_document(const Study& study, const Curves& curves, Session& session) {
  nlohmann::json document = planned_document(study, session);
  document.update(findings_document(study, session));
  document["seed"] = curves.seed;
  const std::vector<SweepRow>& rows = study.result.rows;
  const std::size_t held = std::min(rows.size(), kMostRowsOnPage);
  for (std::size_t i = 0; i < held; ++i) document["rows"].push_back(row_json(rows[i]));
  if (held < rows.size()) document["rows_left_out"] = rows.size() - held;
  document["summary"] = summary_json(curves);
  document["laws"] = laws_json(curves);
  return document;
}

namespace {

// Sees a row's members by column, in the order in which they come: those of a member of its own as "outer.inner", but
// for `params`, whose names stand alone. A list is JSON within its cell, and what is not known is empty.
using SeeCell = std::function<void(const std::string& column, const nlohmann::json& value)>;
void for_each_cell(const nlohmann::json& object, const std::string& prefix, const SeeCell& see) {
  for (const auto& [name, value] : object.items()) {
    const std::string column = prefix + name;
    if (value.is_object()) {
      for_each_cell(value, name == "params" ? prefix : column + ".", see);
    } else {
      see(column, value);
    }
  }
}

// The rows of a result, one at a time: those of a sweep, however many, or those that a document holds.
struct RowSource {
  std::size_t count;
  std::function<nlohmann::json(std::size_t)> at;
};

// As one flat table: the rows are gone through once for the columns, and once for the cells.
void write_table(OutputFile& output, const RowSource& rows) {
  std::vector<std::string> columns;
  std::map<std::string, std::size_t> place;
  for (std::size_t i = 0; i < rows.count; ++i) {
    for_each_cell(rows.at(i), "", [&](const std::string& column, const nlohmann::json&) {
      if (place.try_emplace(column, columns.size()).second) columns.push_back(column);
    });
  }
  output.write(csv_of(columns, {}));
  for (std::size_t i = 0; i < rows.count; ++i) {
    std::vector<std::string> cells(columns.size());
    for_each_cell(rows.at(i), "", [&](const std::string& column, const nlohmann::json& value) {
      cells[place.at(column)] = value.is_null() ? "" : value.is_string() ? value.get<std::string>() : value.dump();
    });
    output.write(csv_of(cells, {}));
  }
}

// The document with all rows in place of those that it holds: the same bytes as if it held them.
void write_result(OutputFile& output, nlohmann::json document, const RowSource& rows) {
  document.erase("rows_left_out");
  document["rows"] = nlohmann::json::array();
  const std::string text = json_text(document);
  const std::string member = "\n  \"rows\": [";  // so little indented stands no other
  const std::size_t at = text.find(member) + member.size();
  output.write(std::string_view(text).substr(0, at));
  for (std::size_t i = 0; i < rows.count; ++i) {
    std::string lines = json_text(rows.at(i));
    lines.pop_back();
    std::string indented = i == 0 ? "\n    " : ",\n    ";
    for (const char c : lines) indented += c == '\n' ? std::string("\n    ") : std::string(1, c);
    output.write(indented);
  }
  output.write(rows.count == 0 ? "" : "\n  ");
  output.write(std::string_view(text).substr(at));
}

// Writes result.json and the tables beside it (publish.h), of a document whose rows are these.
void write_all(const fs::path& folder, const nlohmann::json& document, const RowSource& rows,
               const std::string& series) {
  OutputFile result(folder / "result.json");
  if (document.contains("rows_left_out")) {
    write_result(result, document, rows);
  } else {
    result.write(json_text(document));
  }
  std::optional<OutputFile> table, series_table;
  if (rows.count > 0) write_table(table.emplace(folder / "rows.csv"), rows);
  if (!series.empty()) series_table.emplace(folder / "series.csv").write(series);
  result.withdraw();
  if (table) table->commit();
  if (series_table) series_table->commit();
  result.commit();
}

}  // namespace

Outcome end_in(const fs::path& folder, nlohmann::json document, std::string text, std::shared_ptr<const Page> page,
               const std::vector<SweepRow>* all_rows, const std::string& series) {
  Outcome outcome{std::move(document), std::move(text)};
  if (folder.empty()) return outcome;
  make_output_folder(folder);
  if (outcome.publishing == nullptr) outcome.publishing = lock_folder(folder);
  if (all_rows != nullptr) {
    write_all(folder, outcome.document, {all_rows->size(), [&](std::size_t i) { return row_json((*all_rows)[i]); }},
              series);
  } else {
    const auto rows = outcome.document.value("rows", nlohmann::json::array());
    write_all(folder, outcome.document, {rows.size(), [&](std::size_t i) { return rows[i]; }}, series);
  }
  if (outcome.document.contains("rows_left_out")) outcome.document = nullptr;  // the file has more
  outcome.text += fmt::format("All results: {}\n", (folder / "result.json").string());
  outcome.page = std::move(page);
  outcome.folder = folder;
  return outcome;
}

Outcome end_study(const Study& study, nlohmann::json document, const SweepOptions& options, std::string text,
                  std::shared_ptr<const Page> page, const std::string& series) {
  const SweepResult& result = study.result;
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
  Outcome outcome = end_in(options.out, std::move(document), std::move(text), std::move(page), &result.rows, series);
  if (result.failed > 0) outcome.exit_code = kSomeFailed;
  outcome.publishing = result.publishing;
  return outcome;
}

Outcome finish_study(Study study, const Curves& curves, const SweepOptions& options, std::string text,
                     Session& session) {
  for (Finding& finding : sweep_findings(curves)) study.findings.push_back(std::move(finding));
  std::stable_partition(study.findings.begin(), study.findings.end(),
                        [&](const Finding& finding) { return finding.id == study.first; });
  if (on_a_file(study.result.rows)) text += std::string(kHeldOut) + "\n";
  text += to_text(study.findings);
  nlohmann::json document = study_document(study, curves, session);
  std::shared_ptr<const Page> page;
  std::string series;
  if (!study.result.rows.empty()) {
    page = std::make_shared<const Page>(sweep_page(study.title, study.findings, curves, study.result.rows, document));
    const SeriesTable table = series_table(curves);
    series = csv_of(table.columns, table.rows);
  }
  return end_study(study, std::move(document), options, std::move(text), std::move(page), series);
}

Command add_show(CLI::App& program) {
  struct Options {
    std::string folder, out;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("show", "Make the page of a result again from what is on disk");
  app->add_option("folder", options->folder, "The --out folder of a command that has finished")->required();
  app->add_option("-o,--out", options->out, "Folder for report.html; without it the same folder");
  add_notes(*app, {"scalelab show scalelab-compare"});
  return {app, [options](Session&) { return show(options->folder, options->out); }};
}

}  // namespace scalelab::host
