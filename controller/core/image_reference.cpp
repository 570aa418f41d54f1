#include "controller/core/image_reference.hpp"

#include <algorithm>
#include <cctype>

namespace creel {
namespace {

bool all_of(std::string_view text, std::string_view more) {
  return std::all_of(text.begin(), text.end(), [&](unsigned char c) {
    return std::isalnum(c) || more.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

bool has_capitals(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

bool is_digest(std::string_view text) {
  return text.size() == 71 && text.starts_with("sha256:") &&
         text.find_first_not_of("0123456789abcdef", 7) == std::string_view::npos;
}

}  // namespace

Result<ImageReference> parse_image_reference(std::string_view text) {
  const auto refuse = [](const char* why) { return invalid("image", why); };
  if (text.size() > 255) return refuse("has more than 255 characters");
  ImageReference reference;
  std::string_view rest = text;
  if (const auto at = rest.find('@'); at != std::string_view::npos) {
    reference.digest = rest.substr(at + 1);
    if (!is_digest(reference.digest)) return refuse("has a digest that is not sha256:<64 hex digits>");
    rest = rest.substr(0, at);
  }
  // A colon after the last slash begins the tag; one before it is a registry's port.
  const auto slash = rest.rfind('/');
  const auto colon = rest.rfind(':');
  if (colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash)) {
    reference.tag = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
    if (reference.tag.empty() || reference.tag.size() > 128 || reference.tag.front() == '.' ||
        reference.tag.front() == '-' || !all_of(reference.tag, "._-"))
      return refuse("has a malformed tag");
  }
  if (rest.empty() || !std::isalnum(static_cast<unsigned char>(rest.front())) || rest.back() == '/' ||
      rest.find("//") != std::string_view::npos || !all_of(rest, "._-/:"))
    return refuse("is not an image reference");
  // A registry's host may have some: what stands before the first slash and has a dot or a port.
  const auto host = rest.find('/');
  const bool registry =
      host != std::string_view::npos && rest.substr(0, host).find_first_of(".:") != std::string_view::npos;
  if (has_capitals(registry ? rest.substr(host) : rest))
    return refuse("has capital letters in its name; use small ones");
  reference.repository = rest;
  return reference;
}

Result<ImageReference> parse_fixed_image(std::string_view text) {
  CREEL_TRY(auto reference, parse_image_reference(text));
  if (reference.tag.empty() && reference.digest.empty())
    return invalid("image", "names no tag; add one, such as :1, so that it stays the same image");
  return reference;
}

}  // namespace creel
