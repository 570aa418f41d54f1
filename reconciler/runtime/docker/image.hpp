// Image references and the progress of a pull. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "controller/core/result.hpp"
#include "reconciler/runtime/docker/types.hpp"

namespace creel::docker {

// "registry:5000/team/name:tag@sha256:..." in parts. `name` keeps the registry, so that the engine expands it itself.
struct ImageReference {
  std::string name;    // "registry:5000/team/name"
  std::string tag;     // "" when a digest alone was given
  std::string digest;  // "sha256:<64 hex>" or ""
  // What the pull endpoint takes as its `tag`: the digest if there is one. Never "", which would mean every tag there
  // is.
  const std::string& version() const { return digest.empty() ? tag : digest; }
  bool operator==(const ImageReference&) const = default;
};

// Without tag and digest the tag is "latest". invalid: not a reference.
Result<ImageReference> parse_image_reference(std::string_view text);

// "repository@sha256:…" of the image, of the repository that `reference` names; "" when it did not come from there.
std::string digest_of(const ImageInfo& image, const std::string& reference);

// Sums up the engine's pull messages (one JSON object a line) as one line for people.
class PullProgress {
 public:
  // failed: the message is the registry's or the engine's error; a line that is not JSON is ignored.
  Result<void> take_line(std::string_view line);
  // "waiting for the registry", "3 of 7 layers, 12.0 of 80.5 MB"
  std::string message() const;

 private:
  struct Layer {
    std::int64_t current = 0;
    std::int64_t total = 0;
    bool done = false;
  };
  std::map<std::string, Layer> layers_;
};

}  // namespace creel::docker
