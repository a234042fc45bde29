// shard: one of the parts that a job is divided into, each run by itself and not knowing of the others.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "host/program/ranks.h"

namespace scalelab::host {

struct Shard {
  int index = 1, of = 1;  // index in 1 .. of

  bool whole() const { return of == 1; }
  // Its rows among n, in whole blocks.
  Share share(std::int64_t n, std::int64_t block = 1) const { return share_of(n, block, index - 1, of); }
};

// "3/8" is the third of eight, and 0/8 the eighth, for arrays that count from 0. Failure(kMisuse) that names `option`.
Shard parse_shard(const std::string& text, const std::string& option = "--shard");

// Where a shard of a result leaves its files, for `merge`: OUT/shard-3-of-8, and of references OUT/references-3-of-8.
std::filesystem::path shard_folder(const std::filesystem::path& out, const Shard& shard,
                                   const std::string& kind = "shard");

}  // namespace scalelab::host
