#include "reconciler/runtime/docker/image.hpp"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace creel::docker {

namespace {

bool is_lower_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool plain_name(std::string_view name) {
  if (name.empty() || name.size() > 255 || name.front() == '/' || name.back() == '/') return false;
  if (name.find("//") != std::string_view::npos) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-' || c == '/' || c == ':';
  });
}

bool plain_tag(std::string_view tag) {
  if (tag.empty() || tag.size() > 128 || tag.front() == '.' || tag.front() == '-') return false;
  return std::all_of(tag.begin(), tag.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
  });
}

std::string megabytes(std::int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", static_cast<double>(bytes) / 1e6);
  return text;
}

}  // namespace

Result<ImageReference> parse_image_reference(std::string_view text) {
  const auto refuse = [&](const char* why) {
    return invalid("image", "image \"" + std::string{text.substr(0, 300)} + "\" " + why);
  };
  ImageReference reference;
  std::string_view rest = text;
  if (const auto at = rest.find('@'); at != std::string_view::npos) {
    const std::string_view digest = rest.substr(at + 1);
    if (!digest.starts_with("sha256:") || digest.size() != 71 || !is_lower_hex(digest.substr(7))) {
      return refuse("has a digest that is not sha256:<64 hex digits>");
    }
    reference.digest = digest;
    rest = rest.substr(0, at);
  }
  // A colon after the last slash begins the tag; one before it is a registry's port.
  const auto slash = rest.rfind('/');
  const auto colon = rest.rfind(':');
  if (colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash)) {
    reference.tag = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
    if (!plain_tag(reference.tag)) return refuse("has a malformed tag");
  } else if (reference.digest.empty()) {
    reference.tag = "latest";
  }
  if (!plain_name(rest)) return refuse("has a malformed name");
  const auto name_start = rest.rfind('/') == std::string_view::npos ? 0 : rest.rfind('/') + 1;
  if (std::any_of(rest.begin() + static_cast<std::ptrdiff_t>(name_start), rest.end(),
                  [](char c) { return std::isupper(static_cast<unsigned char>(c)); })) {
    return refuse("has upper-case letters in its name");
  }
  reference.name = rest;
  return reference;
}

std::string digest_of(const ImageInfo& image, const std::string& reference) {
  const auto parsed = parse_image_reference(reference);
  for (const auto& digest : image.repo_digests)
    if (parsed && digest.starts_with(parsed->name + "@")) return digest;
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
