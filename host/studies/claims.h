// claims: what the three sources claim that can be tested, and what the results of a story say of each.
//
// A claim is answered from result.json of the studies alone: from the contrasts of their findings, with the verdicts they
// have there, and from means and figures with their intervals. The table of claims (claims.cpp) names for each where to
// look and what it expects; a study that measures more adds lines there.
//
// The result.json of a page of claims holds schema 2, study "claims", title, environment, and
//   claims  [{id, source, claim, study, command, answer,
//             parts: [{answer, words, settles, units, finding, what, against, measure, place}]}]
// command: of the study; where nothing was measured, a sentence that says what it takes, or nothing where the study was
// left out. units: seeds or worlds that would settle what is undecided, where that is known. An answer is holds,
// contradicted, undecided or not tested. A claim holds where all its parts do; one part that is contradicted contradicts
// it; else one that is undecided leaves it undecided. From finding on, the members of a part are those of a contrast,
// where it is one.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "host/pages/page.h"

namespace scalelab::host {

// The members `claims` of the document above; `results`: by the folder of the story, result.json of its studies.
nlohmann::json answered_claims(const std::map<std::string, nlohmann::json>& results);

// The page of a document that holds them; the pages of the studies lie in ../STUDY/report.html.
Page claims_page(const nlohmann::json& document);

}  // namespace scalelab::host
