// result: what `bench run` and `bench cost` leave behind (one JSON document), and what is made of it: text, a Markdown
// table, a page, a verdict against another.
//
// A document has `rows`, one for each case on a backend; `ceilings`; and from `bench cost` also `lines`, which say what
// rows belong together, and `crossings` between them.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "host/pages/page.h"
#include "host/program/command.h"

namespace scalelab::bench {

// --- numbers --------------------------------------------------------------------------------------------------------

double number_at(const nlohmann::json& object, const char* name);  // NaN when it is no number, or not there
std::string time_text(double seconds);
std::string ratio_text(double ratio);  // "1.23", "1816"
std::string rate_text(double rate, const std::string& unit);
// "n^1.02 [0.98, 1.06]", of a member of `exponents` or the `growth` of a line.
std::string growth_text(const nlohmann::json& law);

// --- making a document ----------------------------------------------------------------------------------------------

struct Measured {
  Workload work;
  std::string wrong;  // what is wrong with the answer: then there are no rounds
  std::vector<Round> rounds;
  std::vector<Peer> peers;
  std::string digest{};  // of its answer

  bool nothing() const { return rounds.empty() && wrong.empty(); }  // it was not run yet
};
// Without a prediction.
nlohmann::json row_of(const Case& one, const Backend& backend, const Measured& measured, const Ceilings& ceilings);
// Whether counts of instructions (counted.cpp) hold for a device, by how its backend describes it; the floor that they
// give a row of it, as its `predicted`, where its case was counted; that of one case; all cases counted, by name, and the
// ceilings for which their file names floors.
bool is_counted_for(const std::string& device);
void add_prediction(nlohmann::json& row, const Workload& work, const Ceilings& ceilings);
Roof counted_floor(const nlohmann::json& counted, const Workload& work, const Ceilings& ceilings);
const nlohmann::json& counted_cases();
const nlohmann::json& counted_ceilings();
// {parameter, exponent, low, high, from, to}: how time grows from x = `from` to `to`.
nlohmann::json growth_json(const std::string& parameter, const Growth& law, double from, double to);
nlohmann::json ceilings_json(const Ceilings& ceilings);
// Of two measurements of one machine, the better of each: what it can do at most.
Ceilings better_of(const Ceilings& one, const Ceilings& other);
// The program against itself (Noise), by the document's clock: {median, largest, cases}.
nlohmann::json noise_json(const nlohmann::json& document);
// Without rows.
nlohmann::json document_of(const Ceilings& ceilings, const host::Session& session);
// How the backend's device is read for energy and throttling: null with why_not in the document under `power`, or the
// word "NVML" there. A backend whose devices have no names says nothing.
std::unique_ptr<Power> power_of(const Context& context, nlohmann::json& document);

// --- reading one ----------------------------------------------------------------------------------------------------

// Failure(kBadData) for anything else. What follows goes by the time that the document's `clock` names: wall, as it is
// where it names none, or cpu, for a machine that others use too.
nlohmann::json read_result(const std::string& file);
std::string clock_of(const nlohmann::json& document);
// Of a peer of a row, by a clock; NaN where it was not timed.
double peer_seconds(const nlohmann::json& peer, const std::string& clock);

std::string text_of(const nlohmann::json& document);
// What `noise` says, in a sentence and a line; empty where it says nothing.
std::string noise_text(const nlohmann::json& document);
// A line for each case and for each of its peers, with a column for each parameter, as CSV.
std::string csv_of(const nlohmann::json& document);
// A table of the cases that `filter` wants.
std::string markdown_of(const nlohmann::json& document, const std::string& filter);
host::Page page_of(const nlohmann::json& document);  // page.cpp

struct CompareOptions {
  std::string clock = "wall";  // or cpu
  double margin = 0.03;        // bench.h, Verdict
  double fail_over = 1e9;      // a case that is slower by a larger share than this is too slow
};

// Verdicts on cases, as a document, as text, and whether one of them is certainly slower by more than `fail_over`.
struct ComparedCase {
  std::string name;
  std::string why_not{};  // why there is no verdict, where there is none
  Verdict verdict{};
  nlohmann::json measured{};  // members that its row has beside the verdict; may be null
};
struct Compared {
  nlohmann::json document;
  std::string text;
  bool over = false;
};
Compared compared_of(const std::vector<ComparedCase>& cases, const std::string& clock, double fail_over);

// The rows of `b` against those of `a` by name. `relative`: to what all rows together did, their median ratio, which on
// a machine whose speed drifts is the machine's; a change that is the program's everywhere then goes unseen.
Compared compare_results(const std::string& a_file, const std::string& b_file, const CompareOptions& options,
                         bool relative);

}  // namespace scalelab::bench
