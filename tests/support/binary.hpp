// The creel that was built with these tests. Tests only.
#pragma once

#include <string>

namespace creel::test {

std::string creel_binary();

}  // namespace creel::test
