// The ways a verification ends without a proof, as Error values. Header only.
//
// Their codes are the API's: api/handlers/verify.cpp maps them to 422, 502 and 503. Messages name settings, never their
// values: the address of a node usually holds a key.
#pragma once

#include <string>
#include <utility>

#include "controller/core/result.hpp"

namespace creel::verify {

inline constexpr const char* kFailed = "VERIFICATION_FAILED";
inline constexpr const char* kUnreachable = "VERIFIER_UNREACHABLE";
inline constexpr const char* kNotConfigured = "VERIFIER_NOT_CONFIGURED";
inline constexpr const char* kBusy = "VERIFIER_BUSY";

// What was claimed does not hold. `reason` is a stable word for programs, kept in Error::field.
inline Error refused(const char* reason, std::string message) {
  return Error{ErrorKind::failed, std::move(message), reason, kFailed};
}
// It could not be found out.
inline Error unreachable(std::string message) {
  return Error{ErrorKind::unavailable, std::move(message), {}, kUnreachable};
}
inline Error not_configured(std::string message) {
  return Error{ErrorKind::unavailable, std::move(message), {}, kNotConfigured};
}

}  // namespace creel::verify
