// WebSocket frames (RFC 6455, section 5) as bytes. Pure; no size is trusted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace creel::gateway {

enum class Opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

struct FrameHead {
  Opcode opcode = Opcode::continuation;
  bool last = true;      // of its message
  bool plain = true;     // no extension has changed its payload
  std::size_t size = 0;  // of the head itself, the masking key included
  std::uint64_t length = 0;
  std::optional<std::string_view> mask;  // four bytes, of `bytes`
  bool is_control() const { return static_cast<std::uint8_t>(opcode) >= 8; }
};

// Of what `bytes` begin with; nullopt: there are too few as yet.
std::optional<FrameHead> frame_head(std::string_view bytes);
// The payload as it was before it was masked.
std::string unmasked(std::string_view payload, std::string_view mask);
// One whole frame. Clients must mask (`mask`: four bytes that nobody can guess), servers must not.
std::string make_frame(Opcode opcode, std::string_view payload, std::optional<std::string_view> mask = std::nullopt);
// As a server says good-bye; `reason`: at most 123 bytes.
std::string close_frame(std::uint16_t code, std::string_view reason);

// Where one direction of a connection is: a frame of one's own may be put in at a boundary only.
class FrameTracker {
 public:
  void push(std::string_view bytes);
  bool at_boundary() const { return head_.empty() && left_ == 0; }
  // A close frame has gone by: nothing may follow it.
  bool closed() const { return closed_; }

 private:
  std::string head_;  // of a frame that has begun, as far as it has come
  std::uint64_t left_ = 0;
  bool closed_ = false;
};

}  // namespace creel::gateway
