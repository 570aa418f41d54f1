#include "controller/core/orphans.hpp"

namespace creel {

const char* to_string(OrphanMode mode) {
  switch (mode) {
    case OrphanMode::report:
      return "report";
    case OrphanMode::deleted:
      return "deleted";
    case OrphanMode::all:
      return "all";
  }
  return "report";
}

std::optional<OrphanMode> parse_orphan_mode(std::string_view text) {
  for (const OrphanMode mode : {OrphanMode::report, OrphanMode::deleted, OrphanMode::all})
    if (text == to_string(mode)) return mode;
  return std::nullopt;
}

}  // namespace creel
