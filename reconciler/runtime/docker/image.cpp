#include "reconciler/runtime/docker/image.hpp"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace creel::docker {

namespace {

std::string megabytes(std::int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", static_cast<double>(bytes) / 1e6);
  return text;
}

}  // namespace

Result<ImageReference> pullable(const std::string& reference) {
  auto parsed = parse_image_reference(reference);
  if (!parsed)
    return invalid("image", "image \"" + std::string{reference, 0, 300} + "\" " + std::move(parsed).error().message);
  return parsed;
}

std::string digest_of(const ImageInfo& image, const std::string& reference) {
  const auto parsed = parse_image_reference(reference);
  for (const auto& digest : image.repo_digests)
    if (parsed && digest.starts_with(parsed->repository + "@")) return digest;
  return "";
}

Result<void> PullProgress::take_line(std::string_view line) {
  const auto json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object()) return {};
  const auto text = [](const nlohmann::json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
  };
  std::string error = text(json, "error");
  if (const auto detail = json.find("errorDetail"); detail != json.end() && detail->is_object()) {
    if (const std::string message = text(*detail, "message"); !message.empty()) error = message;
  }
  if (!error.empty()) return Error{ErrorKind::failed, error};

  const std::string id = text(json, "id");
  const std::string status = text(json, "status");
  // The first message names the tag in `id` ("Pulling from library/x"): that is no layer.
  if (id.empty() || status.starts_with("Pulling from")) return {};
  Layer& layer = layers_[id];
  const auto detail = json.find("progressDetail");
  const auto number = [&](const char* key, std::int64_t fallback) {
    if (detail == json.end() || !detail->is_object()) return fallback;
    const auto found = detail->find(key);
    return found != detail->end() && found->is_number_integer() ? std::max<std::int64_t>(0, found->get<std::int64_t>())
                                                                : fallback;
  };
  // A small layer may be unpacked before its download was ever reported; both count its compressed bytes.
  layer.total = std::max(layer.total, number("total", 0));
  if (status == "Downloading") {
    layer.current = number("current", layer.current);
    layer.total = std::max(layer.total, layer.current);
  } else if (status == "Verifying Checksum" || status == "Download complete" || status == "Extracting") {
    layer.current = layer.total;
  } else if (status == "Pull complete" || status == "Already exists") {
    layer.done = true;
    layer.current = layer.total;
  }
  return {};
}

std::string PullProgress::message() const {
  if (layers_.empty()) return "waiting for the registry";
  std::size_t done = 0;
  std::int64_t current = 0;
  std::int64_t total = 0;
  for (const auto& [id, layer] : layers_) {
    done += layer.done ? 1 : 0;
    current += layer.current;
    total += layer.total;
  }
  std::string text = std::to_string(done) + " of " + std::to_string(layers_.size()) + " layers";
  if (total > 0) text += ", " + megabytes(current) + " of " + megabytes(total) + " MB";
  return text;
}

}  // namespace creel::docker
