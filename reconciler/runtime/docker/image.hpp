// What the engine says of images and of pulls. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "controller/core/image_reference.hpp"
#include "controller/core/result.hpp"
#include "reconciler/runtime/docker/types.hpp"

namespace creel::docker {

// What may be asked of the engine; invalid: the message names the reference.
Result<ImageReference> pullable(const std::string& reference);

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
