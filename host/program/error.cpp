#include "host/program/error.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "scalelab/backend.h"

namespace scalelab::host {

Failure failure_of_current_exception() {
  try {
    throw;
  } catch (const Failure& failure) {
    return failure;
  } catch (const std::invalid_argument& error) {
    return {kMisuse, error.what()};
  } catch (const OutOfMemory& error) {
    return {kOutOfMemory, error.what()};
  } catch (const std::length_error&) {
    return {kOutOfMemory, "more was asked for than memory can be addressed; ask for less"};
  } catch (const std::filesystem::filesystem_error& error) {  // as a name that is too long
    return {kBadData, error.path1().string() + ": cannot be reached: " + error.code().message()};
  } catch (const nlohmann::json::exception& error) {  // only what is read from files can be of a type nobody expects
    return {kBadData,
            std::string("a JSON file that was read holds something other than scalelab writes there: ") + error.what()};
  } catch (const std::runtime_error& error) {
    return {kFault, error.what()};
  } catch (const std::logic_error& error) {
    return {kFault, error.what()};
  }
}

}  // namespace scalelab::host
