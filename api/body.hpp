// Request bodies: strict JSON, and fields of a known type. Pure.
//
// Strict: UTF-8 without errors, no comments, at most 64 levels deep, no zero character in any text (PostgreSQL cannot
// keep it). Errors: invalid, naming the field, or "body" when the whole is not what it should be.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "api/http.hpp"
#include "controller/core/result.hpp"

namespace creel::api {

inline constexpr int kMaxDepth = 64;

// Whatever JSON it is.
Result<nlohmann::json> parse_json(std::string_view text);
// The body of a request that must be a JSON object; an empty body is {}. Checks the content type too.
Result<nlohmann::json> json_object(const Request& request);

// nullopt: absent or null. Error: there, but of another type.
Result<std::optional<std::string>> text_field(const nlohmann::json& object, const char* name);
Result<std::optional<bool>> bool_field(const nlohmann::json& object, const char* name);
Result<std::optional<std::int64_t>> integer_field(const nlohmann::json& object, const char* name);

// Whether it is UTF-8 without errors (overlong forms and surrogates are errors).
bool valid_utf8(std::string_view text);
// Without blanks around.
std::string trimmed(std::string_view text);
// No control characters, valid UTF-8, and between `least` and `most` characters (not bytes).
bool plain_text(std::string_view text, std::size_t least, std::size_t most);

// Its beginning, cut between characters. `text` is UTF-8.
std::string first_characters(std::string_view text, std::size_t most);

// ?name=SECONDS, with fractions, within 0..longest; or 0 with `Prefer: respond-async`.
Result<std::chrono::milliseconds> wait_of(const Request& request, std::chrono::milliseconds by_default,
                                          std::chrono::milliseconds longest);
// ?name=: true or false; absent is false. Error: INVALID_QUERY, naming the parameter.
Result<bool> flag_of(const Request& request, const std::string& name);
// ?limit=: clamped to 1..most; not a number: by_default (as the document says).
std::size_t limit_of(const Request& request, std::size_t by_default, std::size_t most);
// ?offset=: at least 0; not a number: 0.
std::size_t offset_of(const Request& request);

}  // namespace creel::api
