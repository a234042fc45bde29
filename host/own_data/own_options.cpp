#include "host/own_data/own_options.h"

#include "scalelab/knn.h"

namespace scalelab::host {

CLI::Option* add_metric(CLI::App& app, std::string& metric, const std::string& help) {
  return app.add_option("--metric", metric, help)->check(one_of({"l2", "cosine"}))->group(kMethodGroup);
}

CLI::Option* add_neighbours(CLI::App& app, int& k, const std::string& help) {
  return app.add_option("-k,--k", k, help)->check(whole_number(1, kMaxNeighbours));
}

CLI::Option* add_own_shard(CLI::App& app, std::string& shard, const std::string& of_what) {
  return add_shard(app, shard, of_what + ", as 3/8, in a folder of its own in --out; merge joins them")
      ->group(kPartsGroup);
}

}  // namespace scalelab::host
