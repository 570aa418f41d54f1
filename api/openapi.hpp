// The contract of the API as a document: openapi.yaml, compiled in and served as /openapi.json.
//
// The file is JSON, which is YAML too (YAML 1.2 is a superset): so it needs no conversion at build time and no YAML
// parser outside config/. A test holds it equal to the route table.
#pragma once

#include <string_view>

namespace creel::api {

std::string_view openapi_document();

}  // namespace creel::api
