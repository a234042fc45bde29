#include "host/data/file_kind.h"

namespace scalelab::host {

std::string kind_of_file(std::string_view first_bytes) {
  using namespace std::string_view_literals;
  struct Kind {
    std::string_view start;
    const char* what;
  };
  static constexpr Kind kKinds[] = {
      {"\x93NUMPY"sv, "is a .npy file; a CSV file is needed here (in Python: numpy.savetxt(file, x, delimiter=','))"},
      {"\x1f\x8b"sv, "is compressed by gzip; unpack it with gunzip"},
      {"BZh"sv, "is compressed by bzip2; unpack it with bunzip2"},
      {"\xfd"
       "7zXZ"sv,
       "is compressed by xz; unpack it with unxz"},
      {"\x28\xb5\x2f\xfd"sv, "is compressed by zstd; unpack it with unzstd"},
      {"PK\x03\x04"sv, "is a zip archive, an .npz or an .xlsx file; unpack it, or save the sheet as CSV"},
      {"PAR1"sv, "is a Parquet file; turn it into CSV (in Python: pandas.read_parquet(file).to_csv(out, index=False))"},
      {"ARROW1"sv,
       "is an Arrow file; turn it into CSV (in Python: pandas.read_feather(file).to_csv(out, index=False))"},
      {"\x89HDF"sv, "is an HDF5 file; turn it into CSV or .npy"},
      {"MATLAB"sv, "is a MATLAB file; turn it into CSV or .npy (in Python: scipy.io.loadmat)"},
      {"\x80\x04\x95"sv, "is a Python pickle; save the array by numpy.save or as CSV"},
      {"\x80\x05\x95"sv, "is a Python pickle; save the array by numpy.save or as CSV"},
      {"\x89PNG"sv, "is a picture"},
      {"\xff\xfe\0\0"sv, "is text in UTF-32; save it as UTF-8 (iconv -f UTF-32 -t UTF-8)"},
      {"\xff\xfe"sv, "is text in UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)"},
      {"\xfe\xff"sv, "is text in UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)"}};
  for (const Kind& kind : kKinds) {
    if (first_bytes.starts_with(kind.start)) return kind.what;
  }
  return "";
}

}  // namespace scalelab::host
