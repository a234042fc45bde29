#include "host/lab/trial_options.h"

#include "host/lab/model.h"
#include "host/program/options.h"

namespace scalelab::host {

CLI::Validator precision_name() {
  return CLI::IsMember(std::vector<std::string>(kPrecisions.begin(), kPrecisions.end()));
}

}  // namespace scalelab::host
