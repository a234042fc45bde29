// file_kind: files of other kinds than the one asked for, by their first bytes.
#pragma once

#include <string>
#include <string_view>

namespace scalelab::host {

// What a file that begins with these bytes (12 are enough) is and what to do with it, as "is compressed by gzip; unpack
// it with gunzip"; empty: nothing that is known.
std::string kind_of_file(std::string_view first_bytes);

}  // namespace scalelab::host
