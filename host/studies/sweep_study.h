// sweep_study: what any sweep's rows say: the command `sweep`, and the part that every study which sweeps has in common.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "host/evidence/finding.h"
#include "host/evidence/series.h"
#include "host/pages/page.h"

namespace scalelab::host {

// Worded from the curves alone, for each error that was measured: against the controls, where there are any; the laws;
// and which curve is lowest. Nothing where nothing was measured.
std::vector<Finding> sweep_findings(const Curves& curves);

// Every series: the members that vary, rows kept where they do, seeds, and each error in % with its 95 % interval.
struct SeriesTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};
SeriesTable series_table(const Curves& curves);

// The page: lines over n (or over the first member that varies and has numbers) with their laws, maps where two members
// vary, findings, every series. `document` is the study's (study.h); the page carries it and states no number of its
// own.
Page sweep_page(const std::string& title, const std::vector<Finding>& findings, const Curves& curves,
                const std::vector<SweepRow>& rows, const nlohmann::json& document);

}  // namespace scalelab::host
