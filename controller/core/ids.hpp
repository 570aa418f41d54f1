// Identifiers: strong types over strings whose form is checked once, at the edge.
#pragma once

#include <compare>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace creel {

// A string that is known to have the form of Tag::valid.
template <class Tag>
class Id {
 public:
  Id() = default;
  static std::optional<Id> parse(std::string_view text) {
    if (!Tag::valid(text)) return std::nullopt;
    return Id{std::string{text}};
  }
  const std::string& str() const { return value_; }
  bool empty() const { return value_.empty(); }
  auto operator<=>(const Id&) const = default;

 private:
  explicit Id(std::string value) : value_(std::move(value)) {}
  std::string value_;
};

// Agent id = instance id: 16 lower-case hex digits; safe as DNS label, container name and path.
struct AgentTag {
  static bool valid(std::string_view text);
};
// User id: "user_" + 16 lower-case hex digits, so that it can never be taken for an agent id.
struct UserTag {
  static bool valid(std::string_view text);
};
using AgentId = Id<AgentTag>;
using UserId = Id<UserTag>;

AgentId new_agent_id();
UserId new_user_id();

// `bytes` bytes of the system's randomness, as 2 x bytes lower-case hex digits.
std::string random_hex(std::size_t bytes);
std::string to_hex(std::string_view bytes);
// SHA-256 as 64 lower-case hex digits.
std::string sha256_hex(std::string_view data);

}  // namespace creel

template <class Tag>
struct std::hash<creel::Id<Tag>> {
  std::size_t operator()(const creel::Id<Tag>& id) const { return std::hash<std::string>{}(id.str()); }
};
