// What several kinds of test share. Tests only.
#pragma once

#include <cstdint>
#include <string>

namespace creel::test {

// The file under tests/golden, with trailing white space cut. With CREEL_UPDATE_GOLDEN set in the environment, `actual`
// is written there first: look at the diff before committing it.
std::string golden(const std::string& name, const std::string& actual);

// Where this checkout is. A function, so that only its own file has to be compiled anew in another folder.
std::string source_dir();

// The variable, or a failed test that says what is missing and how to get it: tests never skip silently.
std::string required_env(const char* name);

// A port of 127.0.0.1 at which nobody listens, for a server that is about to be started. It lies below those that the
// kernel gives to connections, so that none takes it in between; and each test process begins somewhere else.
std::uint16_t free_port();

}  // namespace creel::test
