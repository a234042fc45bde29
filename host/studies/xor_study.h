// xor_study: does it pay to show easy examples first? Online SGD on the mixture of scalelab/xor_sgd.h: thousands of
// small networks, three orders from the same starts and examples, over widths.
//
// Its result.json (study.h) adds:
//   problem        the members of XorProblem
//   widths, seeds  lists
//   bayes_error    {easy, hard}: of the best classifier there is
//   target_error   for reached_target and median_time
//   long           {problem, seeds, summary}: the same with a rate that falls to 0 over a longer budget; null where left out
//   shares         [{easy_share, seeds, summary}]: with other shares of easy examples
//   summary        [{params: {width, order}, test_error: {mean, low, high, ..., seeds, values}, on hard examples at the
//                  end of the budget; course: [{time, mean, low, high}], the same error on the way there;
//                  reached_target: seeds that came to the target; median_time: to it, null where less than half did;
//                  time_of_random: {mean, low, high, seeds}, that time over the random order's in the seeds in which both
//                  come to the target}]
#pragma once

#include <nlohmann/json.hpp>

#include "host/pages/page.h"

namespace scalelab::host {

// The page of such a document, which it carries; it states no number of its own.
Page xor_page(const nlohmann::json& document);

}  // namespace scalelab::host
