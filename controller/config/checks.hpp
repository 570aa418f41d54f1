// Checks of single values of settings. Pure, but for parse_path, which asks for the current folder. Errors: invalid;
// each says in `message` what to write instead, and the caller puts the place in front.
#pragma once

#include <chrono>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "controller/core/result.hpp"

namespace creel::config {

Error wrong(const std::string& what);

std::string trim(std::string_view text);
// Of "a, b,,c": "a", "b", "c".
std::vector<std::string> split_list(std::string_view text);
// There are characters, and each is allowed.
bool only(std::string_view text, bool (*allowed)(char));
// Of [a-z0-9-].
bool slug_character(char c);
// Lower case, and no IP address: the last label begins with a letter.
bool domain_name(std::string_view text);

Result<bool> parse_bool(const std::string& text);
Result<int> parse_int(const std::string& text, int least, int most);
Result<std::chrono::seconds> parse_seconds(const std::string& text, std::chrono::seconds least,
                                           std::chrono::seconds most);
// Absolute, without a closing slash.
Result<std::string> parse_path(const std::string& text);
// Without a closing slash.
Result<std::string> parse_url(const std::string& text, std::initializer_list<std::string_view> schemes);
Result<std::string> parse_docker_host(const std::string& text);
// "10.0.0.5", "10.0.0.0/8", "fd00::/8"
Result<std::string> parse_network(const std::string& text);
// "10.0.0.5", "fd00::5"
Result<std::string> parse_address(const std::string& text);
// One address of a machine: none that stands for several, or for none.
Result<std::string> parse_publish_address(const std::string& text);
// "0x" and so many digits.
Result<std::string> parse_hex(const std::string& text, std::size_t digits);
Result<std::vector<std::string>> parse_hex_list(const std::string& text, std::size_t digits);
// 32 bytes in base64: 43 digits, and "=" if one likes. The value itself must not appear in the error.
Result<void> check_master_key(const std::string& given);

// The domain passkeys are bound to when people reach Creel by this URL; "": none can be.
std::string default_rp_id(const std::string& url);
std::string default_origin(const std::string& url);
Result<void> check_origin(const std::string& origin, const std::string& rp_id);

// What `parse` makes of each element of a list.
template <typename Parse>
auto parse_each(const std::string& text, Parse parse)
    -> Result<std::vector<typename std::invoke_result_t<Parse, const std::string&>::value_type>> {
  std::vector<typename std::invoke_result_t<Parse, const std::string&>::value_type> list;
  for (const auto& element : split_list(text)) {
    CREEL_TRY(auto parsed, parse(element));
    list.push_back(std::move(parsed));
  }
  return list;
}

}  // namespace creel::config
