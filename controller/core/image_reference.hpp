// Image references: "registry:5000/team/name:tag@sha256:<64 hex>" in parts. Pure.
#pragma once

#include <string>
#include <string_view>

#include "controller/core/result.hpp"

namespace creel {

struct ImageReference {
  std::string repository;  // "registry:5000/team/name"; the registry is kept as written, an engine expands it itself
  std::string tag;         // "" if none was given
  std::string digest;      // "sha256:<64 hex>" or ""
  // What a registry is asked for: the digest if there is one, else the tag, else "latest".
  std::string version() const { return !digest.empty() ? digest : !tag.empty() ? tag : "latest"; }
  bool operator==(const ImageReference&) const = default;
};

// invalid (field "image"): the message goes on from the reference's name: "has a malformed tag".
Result<ImageReference> parse_image_reference(std::string_view text);
// As that, but one that names neither tag nor digest is refused, too: it would not stay the same image.
Result<ImageReference> parse_fixed_image(std::string_view text);

}  // namespace creel
