// Units: numbers as the documented API writes them, which is how the docker CLI does. Pure.
//
// Memory in IEC steps of 1024 ("128MiB") with four significant digits, network in SI steps of 1000 ("1.2kB") with
// three, without trailing zeros. Inputs in bytes; negative ones count as 0.
#pragma once

#include <cstdint>
#include <string>

namespace creel::api {

std::string format_iec(std::int64_t bytes);  // 134217728 -> "128MiB"
std::string format_si(std::int64_t bytes);   // 1234 -> "1.23kB"
std::string format_percent(double percent);  // 0.1499 -> "0.15%"

}  // namespace creel::api
