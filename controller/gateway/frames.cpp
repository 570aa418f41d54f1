#include "controller/gateway/frames.hpp"

#include <algorithm>

namespace creel::gateway {
namespace {

std::uint8_t byte(std::string_view bytes, std::size_t at) { return static_cast<std::uint8_t>(bytes[at]); }

}  // namespace

std::optional<FrameHead> frame_head(std::string_view bytes) {
  if (bytes.size() < 2) return std::nullopt;
  FrameHead head;
  head.opcode = static_cast<Opcode>(byte(bytes, 0) & 0x0f);
  head.last = (byte(bytes, 0) & 0x80) != 0;
  head.plain = (byte(bytes, 0) & 0x70) == 0;
  const bool masked = (byte(bytes, 1) & 0x80) != 0;
  const std::uint8_t length = byte(bytes, 1) & 0x7f;
  const std::size_t more = length == 126 ? 2 : length == 127 ? 8 : 0;
  head.size = 2 + more + (masked ? 4 : 0);
  if (bytes.size() < head.size) return std::nullopt;
  head.length = more == 0 ? length : 0;
  for (std::size_t i = 0; i < more; ++i) head.length = head.length << 8 | byte(bytes, 2 + i);
  if (masked) head.mask = bytes.substr(2 + more, 4);
  return head;
}

std::string unmasked(std::string_view payload, std::string_view mask) {
  std::string text{payload};
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(text[i] ^ mask[i % 4]);
  return text;
}

std::string make_frame(Opcode opcode, std::string_view payload, std::optional<std::string_view> mask) {
  std::string frame;
  frame += static_cast<char>(0x80 | static_cast<std::uint8_t>(opcode));
  const char masked = mask ? static_cast<char>(0x80) : 0;
  const std::size_t size = payload.size();
  if (size < 126) {
    frame += static_cast<char>(masked | static_cast<char>(size));
  } else {
    const int bytes = size <= 0xffff ? 2 : 8;
    frame += static_cast<char>(masked | (bytes == 2 ? 126 : 127));
    for (int i = bytes - 1; i >= 0; --i) frame += static_cast<char>(static_cast<std::uint64_t>(size) >> (8 * i) & 0xff);
  }
  if (!mask) return frame.append(payload);
  frame.append(*mask);
  return frame + unmasked(payload, *mask);  // masking twice is not masking at all
}

std::string close_frame(std::uint16_t code, std::string_view reason) {
  std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
  payload += reason.substr(0, 123);
  return make_frame(Opcode::close, payload);
}

void FrameTracker::push(std::string_view bytes) {
  while (!bytes.empty()) {
    if (left_ > 0) {
      const std::size_t gone = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
      left_ -= gone;
      bytes.remove_prefix(gone);
      continue;
    }
    // A head has 14 bytes at most.
    head_ += bytes.front();
    bytes.remove_prefix(1);
    const auto head = frame_head(head_);
    if (!head) continue;
    left_ = head->length;
    closed_ |= head->opcode == Opcode::close;
    head_.clear();
  }
}

}  // namespace creel::gateway
