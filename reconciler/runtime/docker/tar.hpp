// Tar archives for the engine's archive endpoint: ustar, with a pax record where a name is too long for it. Pure.
//
// A delivery never shows a partial file: see delivery_archive.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/agent.hpp"
#include "controller/core/result.hpp"

namespace creel::docker {

struct Owner {
  int uid = 0;
  int gid = 0;
};

class TarWriter {
 public:
  explicit TarWriter(std::int64_t mtime_seconds) : mtime_(mtime_seconds) {}
  // Modes are permission bits; paths are relative to the folder the archive is unpacked in.
  void directory(std::string_view path, int mode, Owner owner);
  void file(std::string_view path, std::string_view content, int mode, Owner owner);
  void hard_link(std::string_view path, std::string_view target, int mode, Owner owner);
  // The whole archive with its end mark. The writer is used up.
  std::string finish();

 private:
  void header(char type, std::string_view path, std::string_view link, std::size_t size, int mode, Owner owner);
  void pad();

  std::int64_t mtime_;
  std::string out_;
};

// The content of the archive's first entry when that is a regular file; nullopt: it is something else, or incomplete.
std::optional<std::string> first_file(std::string_view archive);

// Name under which file contents arrive; an empty file of that name stays in the volume's root.
inline constexpr const char* kDeliveryName = ".creel-delivery";

// The archive that puts `files` into a volume. With `root`, the volume's root itself gets that owner and mode 0700.
// invalid: a path is absolute, empty, holds "..", or is the delivery name itself.
Result<std::string> delivery_archive(const std::vector<VolumeFile>& files, std::optional<Owner> root,
                                     std::int64_t mtime_seconds);

}  // namespace creel::docker
