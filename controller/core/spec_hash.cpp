#include "controller/core/spec_hash.hpp"

#include <openssl/hmac.h>

#include <cstdlib>

#include "controller/core/agent_json.hpp"

namespace creel {

std::string spec_hash(const WorkloadSpec& spec) {
  // nlohmann keeps object keys sorted, so the dump is canonical.
  return sha256_hex(nlohmann::json(spec).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)).substr(0, 16);
}

std::string files_hash(const std::vector<VolumeFile>& files, std::string_view key, bool only_restart) {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& file : files)
    if (file.restart || !only_restart) list.push_back(file);
  if (list.empty()) return "";
  const std::string text = list.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (!HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
            text.size(), digest, &size))
    std::abort();
  return to_hex({reinterpret_cast<const char*>(digest), 8});
}

}  // namespace creel
