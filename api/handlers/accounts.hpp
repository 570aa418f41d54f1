// The rules for e-mail addresses and passwords, for signing up and for making users. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "api/http.hpp"
#include "controller/core/result.hpp"

namespace creel::api {

inline constexpr std::size_t kMaxEmail = 254;  // RFC 5321
inline constexpr std::size_t kMinPassword = 8;
inline constexpr std::size_t kMaxPassword = 1024;  // bytes: argon2id hashes whatever it is given

// Required: something@something, no blanks or control characters.
Result<std::string> email_of(const nlohmann::json& body);
// Optional.
Result<std::optional<std::string>> password_of(const nlohmann::json& body);
// As error_answer, but a taken e-mail is 409 EMAIL_TAKEN.
Response account_error(const Request& request, const Error& error);

}  // namespace creel::api
