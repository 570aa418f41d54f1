// The route table: every address Creel's API answers, who may call it, what limits it, and who handles it.
//
// A new route is a row here, a handler, and a path in openapi.yaml; a test holds the last equal to this table.
#pragma once

#include <vector>

#include "api/router.hpp"

namespace creel::api {

const std::vector<Route>& routes();

}  // namespace creel::api
