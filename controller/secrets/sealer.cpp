#include "controller/secrets/sealer.hpp"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

#include "controller/core/ids.hpp"

namespace creel::secrets {
namespace {

constexpr std::size_t kMasterBytes = 32;
static_assert(kMasterBytes == crypto_kdf_KEYBYTES);
constexpr std::size_t kKeyBytes = crypto_aead_xchacha20poly1305_ietf_KEYBYTES;
constexpr std::size_t kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t kTagBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;

// What is derived from a master key, by number. Numbers are never given a second meaning.
enum Subkey : std::uint64_t { kSealing = 1, kHashing = 2, kNaming = 3 };
constexpr char kKdfContext[crypto_kdf_CONTEXTBYTES + 1] = "creelkey";

bool sodium_ready() {
  static const bool ready = sodium_init() >= 0;
  return ready;
}

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* bytes_of(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

Error file_error(const std::string& what, const std::string& path, int error) {
  std::string message = what + " " + path + ": " + std::strerror(error);
  if (error == EACCES || error == EPERM) message += "; run as the user that owns it, or set CREEL_MASTER_KEY_FILE";
  if (error == ENOSPC || error == EDQUOT) message += "; free some disk space";
  if (error == EROFS) message += "; set CREEL_STATE_DIR or CREEL_MASTER_KEY_FILE to a place that can be written";
  return Error{ErrorKind::failed, std::move(message)};
}

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }
  bool open() const { return fd_ >= 0; }

 private:
  int fd_;
};

// nullopt-like: errno ENOENT is told by `missing`.
Result<std::string> read_key_file(const std::string& path, bool& missing) {
  missing = false;
  const File file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file.open()) {
    missing = errno == ENOENT;
    return file_error("cannot read the master key", path, errno);
  }
  struct stat info {};
  if (::fstat(file.fd(), &info) != 0) return file_error("cannot read the master key", path, errno);
  if (!S_ISREG(info.st_mode)) {
    return Error{ErrorKind::invalid, "the master key " + path + " is not a regular file; set CREEL_MASTER_KEY_FILE"};
  }
  if ((info.st_mode & 077) != 0) {
    return Error{ErrorKind::invalid,
                 "the master key " + path + " can be read by others than its owner; run: chmod 600 " + path};
  }
  std::string text(256, '\0');
  const ssize_t count = ::read(file.fd(), text.data(), text.size());
  if (count < 0) return file_error("cannot read the master key", path, errno);
  text.resize(static_cast<std::size_t>(count));
  return text;
}

Result<void> write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return file_error("cannot write the master key", path, count == 0 ? EIO : errno);
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

// Writes a new key beside `path` and links it there: complete or not at all, and never over one that is already there.
Result<void> create_key_file(const std::string& path) {
  const auto folder = std::filesystem::path{path}.parent_path();
  if (!folder.empty()) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) return file_error("cannot make the folder", folder.string(), error.value());
  }
  std::array<unsigned char, kMasterBytes> key{};
  randombytes_buf(key.data(), key.size());
  std::string text(sodium_base64_encoded_len(kMasterBytes, sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(text.data(), text.size(), key.data(), key.size(), sodium_base64_VARIANT_ORIGINAL);
  sodium_memzero(key.data(), key.size());
  text.back() = '\n';  // in place of the terminating zero

  const std::string draft = path + "." + random_hex(6);
  {
    const File file{::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
    if (!file.open()) return file_error("cannot write the master key", path, errno);
    auto written = write_all(file.fd(), text, path);
    sodium_memzero(text.data(), text.size());
    if (written && ::fsync(file.fd()) != 0) written = file_error("cannot write the master key", path, errno);
    if (!written) {
      ::unlink(draft.c_str());
      return written.error();
    }
  }
  const bool linked = ::link(draft.c_str(), path.c_str()) == 0;
  const int link_error = errno;
  ::unlink(draft.c_str());
  // EEXIST: another process was faster; its key is the one.
  if (!linked && link_error != EEXIST) return file_error("cannot write the master key", path, link_error);
  const File parent{::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (parent.open()) ::fsync(parent.fd());
  return {};
}

}  // namespace

struct Sealer::Keys {
  struct Key {
    std::string id;
    std::array<unsigned char, kKeyBytes> sealing{};
    std::array<unsigned char, kKeyBytes> hashing{};
    Key() = default;
    Key(const Key&) = default;
    Key& operator=(const Key&) = default;
    ~Key() {
      sodium_memzero(sealing.data(), sealing.size());
      sodium_memzero(hashing.data(), hashing.size());
    }
  };
  std::vector<Key> all;  // the first seals, all open; never empty
};

Result<Sealer> Sealer::from_base64(std::string text) {
  if (!sodium_ready()) return Error{ErrorKind::internal, "libsodium cannot be initialised"};
  std::array<unsigned char, kMasterBytes> master{};
  bool good = false;
  for (const int variant : {sodium_base64_VARIANT_ORIGINAL, sodium_base64_VARIANT_ORIGINAL_NO_PADDING}) {
    std::size_t length = 0;
    const char* end = nullptr;
    good = sodium_base642bin(master.data(), master.size(), text.data(), text.size(), " \t\r\n", &length, &end,
                             variant) == 0 &&
           length == kMasterBytes && end == text.data() + text.size();
    if (good) break;
  }
  sodium_memzero(text.data(), text.size());
  if (!good) {
    sodium_memzero(master.data(), master.size());
    return invalid("CREEL_MASTER_KEY",
                   "the master key is not 32 bytes in base64; make one with: openssl rand -base64 32");
  }
  auto keys = std::make_shared<Keys>();
  auto& key = keys->all.emplace_back();
  std::array<unsigned char, crypto_kdf_BYTES_MIN> name{};
  crypto_kdf_derive_from_key(key.sealing.data(), key.sealing.size(), kSealing, kKdfContext, master.data());
  crypto_kdf_derive_from_key(key.hashing.data(), key.hashing.size(), kHashing, kKdfContext, master.data());
  crypto_kdf_derive_from_key(name.data(), name.size(), kNaming, kKdfContext, master.data());
  sodium_memzero(master.data(), master.size());
  key.id = to_hex({reinterpret_cast<const char*>(name.data()), 8});
  return Sealer{std::move(keys)};
}

Result<Sealer> Sealer::load_or_create(const std::string& path) {
  if (!sodium_ready()) return Error{ErrorKind::internal, "libsodium cannot be initialised"};
  bool missing = false;
  auto text = read_key_file(path, missing);
  if (!text && missing) {
    CREEL_CHECK(create_key_file(path));
    text = read_key_file(path, missing);
  }
  if (!text) return text.error();
  auto sealer = from_base64(std::move(*text));
  if (!sealer) {
    return invalid(
        "CREEL_MASTER_KEY_FILE",
        "the master key " + path +
            " is not 32 bytes in base64; put the right file back (a new key cannot open what the old one sealed)");
  }
  return sealer;
}

Sealer Sealer::with_old_key(const Sealer& old) const {
  auto keys = std::make_shared<Keys>(*keys_);
  for (const auto& key : old.keys_->all) {
    bool known = false;
    for (const auto& own : keys->all) known = known || own.id == key.id;
    if (!known) keys->all.push_back(key);
  }
  return Sealer{std::move(keys)};
}

Sealed Sealer::seal(std::string_view plain, std::string_view context) const {
  const auto& key = keys_->all.front();
  Sealed sealed{key.id, std::string(kNonceBytes, '\0'), std::string(plain.size() + kTagBytes, '\0')};
  randombytes_buf(sealed.nonce.data(), sealed.nonce.size());
  unsigned long long length = 0;
  crypto_aead_xchacha20poly1305_ietf_encrypt(bytes_of(sealed.ciphertext), &length, bytes_of(plain), plain.size(),
                                             bytes_of(context), context.size(), nullptr, bytes_of(sealed.nonce),
                                             key.sealing.data());
  sealed.ciphertext.resize(length);
  return sealed;
}

Result<std::string> Sealer::open(const Sealed& sealed, std::string_view context) const {
  const Keys::Key* key = nullptr;
  for (const auto& candidate : keys_->all) {
    if (candidate.id == sealed.key_id) key = &candidate;
  }
  if (key == nullptr) {
    return Error{ErrorKind::corrupt,
                 "sealed with another master key (key id " + sealed.key_id + ", the present one is " + key_id() + ")"};
  }
  const Error damaged{ErrorKind::corrupt, "a sealed value does not open: it is damaged or belongs to another place"};
  if (sealed.nonce.size() != kNonceBytes || sealed.ciphertext.size() < kTagBytes) return damaged;
  std::string plain(sealed.ciphertext.size() - kTagBytes, '\0');
  unsigned long long length = 0;
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(bytes_of(plain), &length, nullptr, bytes_of(sealed.ciphertext),
                                                 sealed.ciphertext.size(), bytes_of(context), context.size(),
                                                 bytes_of(sealed.nonce), key->sealing.data()) != 0) {
    return damaged;
  }
  plain.resize(length);
  return plain;
}

std::string Sealer::key_id() const { return keys_->all.front().id; }

std::string Sealer::hash_key() const {
  const auto& key = keys_->all.front().hashing;
  return {reinterpret_cast<const char*>(key.data()), key.size()};
}

std::string secret_context(std::string_view agent_id, std::string_view name) {
  std::string context{agent_id};
  context += '/';
  context += name;
  return context;
}

}  // namespace creel::secrets
