// study: what all studies share: from what was measured and found to terminal, JSON and page.
//
// rows.csv: `rows` of result.json as one flat table. series.csv: the page's table of every series.
// result.json of every study: schema 2, study (the command), experiment (a name), title, environment, and
//   findings   [{id, title, text, points, columns, table, contrasts}]
//   contrasts  [{what, against, measure, place, mean, low, high, sd, standard_error, unit, seeds, seeds_lower, verdict,
//              mean_what, low_what, high_what, mean_against, low_against, high_against, train_what, ... (likewise),
//              margin, family, p_differs, p_same, not_worse, units_to_settle}],
//              and where networks failed to train also without_failed and depends_on_failed. unit: seed or world, of
//              which there are `seeds`; p values are corrected for the family (seed_errors.h)
// Of the studies that run trials (compare, sweep, prune-study, curriculum, lottery) also:
//   seed       of bootstraps
//   planned, complete, failed
//   rows       [{id, params, status, seconds, MEASURE: value, by_rule: true where a rule chose how many rows to keep}]
//   summary    [{params without world, seed and start, MEASURE: {mean, low, high, sd, standard_error, unit, seeds or
//              worlds, values, collapsed, diverged, misfit, missing}}], one per series; low and high are the 95 %
//              interval; errors also variance: {world, data, start, test}, null for what was not varied
//   laws       [{series, params, measure, along, law, failed_to_train, verdict_without_failed, text}]
// and what a study adds; xor_study.h and theory.h say what theirs hold. Errors are fractions. A number that is not known
// is null.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "host/evidence/finding.h"
#include "host/evidence/series.h"
#include "host/lab/sweep.h"
#include "host/program/command.h"

namespace scalelab::host {

struct Study {
  std::string command;     // "sweep", "prune-study", "xor", ...
  std::string experiment;  // the sweep's name, or the command again
  std::string title{};     // of its page
  SweepResult result{};    // a row that a rule chose has kByRule for its fraction
  std::vector<Finding> findings{};
  std::string first{};  // the id of the finding that is told first and heads the page; empty: the first there is
  nlohmann::json more = nlohmann::json::object();  // members that only this study has
};

// The JSON of a study: of one without trials, of one with trials, and of a dry run, which is nothing but the plan. Of
// many rows study_document holds the first (kMostRowsOnPage), and rows_left_out says how many are missing: result.json
// has them all, written one by one (end_in with all_rows), and the outcome then holds no document but that file.
nlohmann::json findings_document(const Study& study, Session& session);
nlohmann::json study_document(const Study& study, const Curves& curves, Session& session);
nlohmann::json planned_document(const Study& study, Session& session);

// Ends a study that swept: writes result.json and hands on the page; says under the text what failed, and what is still
// to be done by other shards. Its findings are followed by those of its curves (sweep_findings); where no trial gave a
// result there are none, and the text says what failed.
//
// `end_study` does the same with a document that is complete, a page of the study's own, or none, and the text of
// series.csv (empty: none); and `end_in` for a study without trials, in a folder (empty: nothing is written).
Outcome end_in(const std::filesystem::path& folder, nlohmann::json document, std::string text,
               std::shared_ptr<const Page> page, const std::vector<SweepRow>* all_rows = nullptr,
               const std::string& series = {});
Outcome end_study(const Study& study, nlohmann::json document, const SweepOptions& options, std::string text,
                  std::shared_ptr<const Page> page, const std::string& series = {});
Outcome finish_study(Study study, const Curves& curves, const SweepOptions& options, std::string text,
                     Session& session);

// What the intervals of a study of a file say, and whether a study is of one.
inline constexpr const char* kHeldOut =
    "Data that bring a test set are tested on it, and what other test rows would change is in no interval. Of other "
    "files every seed holds out a fifth of the rows of its own, the same for all that is compared; their training rows "
    "overlap, so that intervals are a little narrow.";
bool on_a_file(const std::vector<SweepRow>& rows);

// The rows of a result that lies on disk.
std::vector<SweepRow> rows_from(const nlohmann::json& document);

// The page of a result that lies on disk, in a folder that holds result.json (or, of an earlier version, results.json,
// curriculum.json, lottery.json or theory.json). Failure(kBadData) that says what to do where there is none.
Command add_show(CLI::App& program);

}  // namespace scalelab::host
