#include "json.hpp"

namespace agent {
namespace {

constexpr int deepest = 64;            // the parser recurses
constexpr size_t most_nodes = 100000;  // a megabyte of "[[],[],…" would otherwise become 16 of nodes

bool is_digit(unsigned char c) { return c >= '0' && c <= '9'; }

}  // namespace

size_t utf8_length(Slice bytes) {
  if (bytes.size == 0) return 0;
  const auto at = [&](size_t i) { return static_cast<unsigned char>(bytes.data[i]); };
  const unsigned char c = at(0);
  if (c < 0x80) return 1;
  size_t length = 0;
  // The second byte's limits shut out overlong forms, surrogates, and what lies beyond U+10FFFF (RFC 3629, section 4).
  unsigned char low = 0x80, high = 0xBF;
  if (c >= 0xC2 && c <= 0xDF) {
    length = 2;
  } else if (c >= 0xE0 && c <= 0xEF) {
    length = 3;
    if (c == 0xE0) low = 0xA0;
    if (c == 0xED) high = 0x9F;
  } else if (c >= 0xF0 && c <= 0xF4) {
    length = 4;
    if (c == 0xF0) low = 0x90;
    if (c == 0xF4) high = 0x8F;
  }
  if (length == 0 || bytes.size < length || at(1) < low || at(1) > high) return 0;
  for (size_t i = 2; i < length; ++i)
    if (at(i) < 0x80 || at(i) > 0xBF) return 0;
  return length;
}

bool Json::parse(Slice text) {
  text_ = text;
  position_ = 0;
  error_ = "";
  nodes_.clear();
  pool_.clear();
  nodes_.push({});
  if (text.size > UINT32_MAX / 2) return fail("too long");
  skip_space();
  if (!parse_value(0, 0)) return false;
  skip_space();
  return at_end() || fail("more than one value");
}

const JsonNode* Json::member(const JsonNode* object, Slice name) const {
  const JsonNode* found = nullptr;
  if (object == nullptr || object->kind != Kind::object) return nullptr;
  for (const JsonNode* node = first(object); node != nullptr; node = next(node))
    if (key(node) == name) found = node;
  return found;
}

bool Json::whole(const JsonNode* node, long long low, long long high, long long& out) const {
  if (node == nullptr || node->kind != Kind::number) return false;
  const Slice digits = value(node);
  if (digits.size > 18) return false;  // what fits is exact, without overflow
  const bool negative = digits.data[0] == '-';
  long long number = 0;
  for (size_t i = negative ? 1 : 0; i < digits.size; ++i) {
    if (!is_digit(static_cast<unsigned char>(digits.data[i]))) return false;
    number = number * 10 + (digits.data[i] - '0');
  }
  if (negative) number = -number;
  if (number < low || number > high) return false;
  out = number;
  return true;
}

bool Json::fail(const char* why) {
  if (*error_ == '\0') error_ = why;
  return false;
}

void Json::skip_space() {
  while (!at_end() && (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r')) ++position_;
}

bool Json::parse_value(uint32_t node, int depth) {
  if (depth > deepest) return fail("nested too deeply");
  switch (peek()) {
    case '{':
      nodes_[node].kind = Kind::object;
      return parse_members(node, '}', depth);
    case '[':
      nodes_[node].kind = Kind::array;
      return parse_members(node, ']', depth);
    case '"': {
      uint32_t begin = 0, size = 0;
      if (!parse_string(begin, size)) return false;
      nodes_[node].kind = Kind::string;
      nodes_[node].value = begin;
      nodes_[node].value_size = size;
      return true;
    }
    case 't':
      nodes_[node].kind = Kind::boolean;
      nodes_[node].truth = true;
      return parse_word("true");
    case 'f':
      nodes_[node].kind = Kind::boolean;
      return parse_word("false");
    case 'n':
      return parse_word("null");
    default: {
      uint32_t begin = 0, size = 0;
      if (!parse_number(begin, size)) return false;
      nodes_[node].kind = Kind::number;
      nodes_[node].value = begin;
      nodes_[node].value_size = size;
      return true;
    }
  }
}

bool Json::parse_members(uint32_t parent, char close, int depth) {
  ++position_;
  uint32_t previous = 0;
  for (;;) {
    skip_space();
    if (peek() == close && previous == 0) {
      ++position_;
      return true;
    }
    if (nodes_.size() >= most_nodes) return fail("too many values");
    const uint32_t child = static_cast<uint32_t>(nodes_.size());
    nodes_.push({});
    if (previous == 0) {
      nodes_[parent].child = child;
    } else {
      nodes_[previous].next = child;
    }
    previous = child;
    if (close == '}') {
      uint32_t begin = 0, size = 0;
      if (peek() != '"') return fail("a key in quotes is expected");
      if (!parse_string(begin, size)) return false;
      nodes_[child].key = begin;
      nodes_[child].key_size = size;
      skip_space();
      if (peek() != ':') return fail("':' is expected");
      ++position_;
      skip_space();
    }
    if (!parse_value(child, depth + 1)) return false;
    skip_space();
    if (peek() == ',') {
      ++position_;
    } else if (peek() == static_cast<unsigned char>(close)) {
      ++position_;
      return true;
    } else {
      return fail(close == '}' ? "',' or '}' is expected" : "',' or ']' is expected");
    }
  }
}

bool Json::parse_string(uint32_t& begin, uint32_t& size) {
  begin = static_cast<uint32_t>(pool_.size());
  ++position_;
  for (;;) {
    if (at_end()) return fail("a string does not end");
    const unsigned char c = peek();
    if (c == '"') {
      ++position_;
      size = static_cast<uint32_t>(pool_.size()) - begin;
      return true;
    }
    if (c < 0x20) return fail("a control character in a string");
    if (c == '\\' ? !parse_escape() : !parse_utf8()) return false;
  }
}

bool Json::parse_utf8() {
  const Slice rest = text_.from(position_);
  const size_t length = utf8_length(rest);
  if (length == 0) return fail("a string is not UTF-8");
  pool_.add(rest.first(length));
  position_ += length;
  return true;
}

bool Json::parse_escape() {
  ++position_;
  const unsigned char c = peek();
  ++position_;
  switch (c) {
    case '"':
    case '\\':
    case '/':
      pool_.add(static_cast<char>(c));
      return true;
    case 'b':
      pool_.add('\b');
      return true;
    case 'f':
      pool_.add('\f');
      return true;
    case 'n':
      pool_.add('\n');
      return true;
    case 'r':
      pool_.add('\r');
      return true;
    case 't':
      pool_.add('\t');
      return true;
    case 'u':
      break;
    default:
      return fail("an unknown escape in a string");
  }
  uint32_t code = 0;
  if (!parse_hex4(code)) return false;
  if (code >= 0xDC00 && code <= 0xDFFF) return fail("half a surrogate pair");
  if (code >= 0xD800 && code <= 0xDBFF) {
    uint32_t second = 0;
    if (!text_.from(position_).starts_with("\\u")) return fail("half a surrogate pair");
    position_ += 2;
    if (!parse_hex4(second)) return false;
    if (second < 0xDC00 || second > 0xDFFF) return fail("half a surrogate pair");
    code = 0x10000 + ((code - 0xD800) << 10) + (second - 0xDC00);
  }
  put_utf8(code);
  return true;
}

bool Json::parse_hex4(uint32_t& out) {
  out = 0;
  for (int i = 0; i < 4; ++i, ++position_) {
    const unsigned char c = static_cast<unsigned char>(lower(static_cast<char>(peek())));
    if (is_digit(c)) {
      out = out * 16 + (c - '0');
    } else if (c >= 'a' && c <= 'f') {
      out = out * 16 + (c - 'a' + 10u);
    } else {
      return fail("four hexadecimal digits are expected");
    }
  }
  return true;
}

void Json::put_utf8(uint32_t code) {
  const auto tail = [&](unsigned shift) { pool_.add(static_cast<char>(0x80 | ((code >> shift) & 0x3F))); };
  if (code < 0x80) {
    pool_.add(static_cast<char>(code));
  } else if (code < 0x800) {
    pool_.add(static_cast<char>(0xC0 | (code >> 6)));
    tail(0);
  } else if (code < 0x10000) {
    pool_.add(static_cast<char>(0xE0 | (code >> 12)));
    tail(6);
    tail(0);
  } else {
    pool_.add(static_cast<char>(0xF0 | (code >> 18)));
    tail(12);
    tail(6);
    tail(0);
  }
}

bool Json::parse_number(uint32_t& begin, uint32_t& size) {
  const size_t start = position_;
  const auto digits = [&] {
    const size_t before = position_;
    while (is_digit(peek())) ++position_;
    return position_ > before;
  };
  if (peek() == '-') ++position_;
  if (peek() == '0') {
    ++position_;
  } else if (!digits()) {
    return fail("a value is expected");
  }
  if (peek() == '.') {
    ++position_;
    if (!digits()) return fail("a digit is expected");
  }
  if (peek() == 'e' || peek() == 'E') {
    ++position_;
    if (peek() == '+' || peek() == '-') ++position_;
    if (!digits()) return fail("a digit is expected");
  }
  begin = static_cast<uint32_t>(pool_.size());
  size = static_cast<uint32_t>(position_ - start);
  pool_.add(text_.from(start).first(size));
  return true;
}

bool Json::parse_word(Slice word) {
  if (!text_.from(position_).starts_with(word)) return fail("a value is expected");
  position_ += word.size;
  return true;
}

void add_json_string(Text& out, Slice bytes) {
  static const char hex[] = "0123456789abcdef";
  out.add('"');
  size_t plain = 0;  // where the run of bytes begins that go out as they are
  for (size_t i = 0; i < bytes.size;) {
    const unsigned char c = static_cast<unsigned char>(bytes.data[i]);
    const size_t length = utf8_length(bytes.from(i));
    if (length != 0 && c >= 0x20 && c != '"' && c != '\\') {
      i += length;
      continue;
    }
    out.add(bytes.from(plain).first(i - plain));
    if (length == 0) {
      out.add("\xEF\xBF\xBD");
    } else if (c == '"' || c == '\\') {
      out.add('\\').add(static_cast<char>(c));
    } else if (c == '\n') {
      out.add("\\n");
    } else if (c == '\r') {
      out.add("\\r");
    } else if (c == '\t') {
      out.add("\\t");
    } else {
      out.add("\\u00").add(hex[c >> 4]).add(hex[c & 15]);
    }
    plain = ++i;
  }
  out.add(bytes.from(plain)).add('"');
}

}  // namespace agent
