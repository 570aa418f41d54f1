// A failing script cut down to what it takes to fail.
#pragma once

#include "tests/sim/world.hpp"

namespace creel::sim {

// nullopt: nothing was violated.
std::optional<Violation> run(const Script& script);
// With as few steps, agents and outages as still violate `invariant`.
Script shrink(Script script, const std::string& invariant);
// Steps and what happened, for people.
std::string describe(const Script& script);

}  // namespace creel::sim
