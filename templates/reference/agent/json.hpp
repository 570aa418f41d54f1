// JSON as RFC 8259 has it and nothing more: no comments, no trailing commas, no NaN, no lone surrogates, no invalid
// UTF-8. What is accepted can therefore be written out again by add_json_string and be valid anywhere.
#pragma once

#include "text.hpp"

namespace agent {

enum class Kind : uint8_t { null, boolean, number, string, array, object };

struct JsonNode {
  Kind kind = Kind::null;
  bool truth = false;
  uint32_t key = 0, key_size = 0;      // in the pool; of an object's member
  uint32_t value = 0, value_size = 0;  // in the pool; a string decoded, a number as it was written
  uint32_t child = 0, next = 0;        // indexes of nodes; 0, the root, is nobody's child and so means "none"
};

class Json {
 public:
  // False for anything invalid; then error() and position() (a byte offset) say what and where. A second call forgets
  // the first.
  bool parse(Slice text);
  const char* error() const { return error_; }
  size_t position() const { return position_; }

  const JsonNode* root() const { return &nodes_[0]; }
  // Null if the node is null, no object, or has no such member; of a key given twice the last one counts.
  const JsonNode* member(const JsonNode* object, Slice key) const;
  const JsonNode* first(const JsonNode* parent) const {
    return parent && parent->child ? &nodes_[parent->child] : nullptr;
  }
  const JsonNode* next(const JsonNode* node) const { return node->next ? &nodes_[node->next] : nullptr; }
  Slice key(const JsonNode* node) const { return pool_.slice().from(node->key).first(node->key_size); }
  Slice value(const JsonNode* node) const { return pool_.slice().from(node->value).first(node->value_size); }
  // A string's bytes; empty for null and for other kinds.
  Slice string(const JsonNode* node) const { return node && node->kind == Kind::string ? value(node) : Slice(); }
  // False unless the node is a whole number within the limits.
  bool whole(const JsonNode* node, long long low, long long high, long long& out) const;

 private:
  bool fail(const char* why);
  void skip_space();
  bool parse_value(uint32_t node, int depth);
  bool parse_members(uint32_t parent, char close, int depth);
  bool parse_string(uint32_t& begin, uint32_t& size);
  bool parse_escape();
  bool parse_hex4(uint32_t& out);
  bool parse_utf8();
  bool parse_number(uint32_t& begin, uint32_t& size);
  bool parse_word(Slice word);
  void put_utf8(uint32_t code);
  bool at_end() const { return position_ >= text_.size; }
  unsigned char peek() const { return at_end() ? 0 : static_cast<unsigned char>(text_.data[position_]); }

  Slice text_;
  size_t position_ = 0;
  const char* error_ = "";
  Array<JsonNode> nodes_;
  Text pool_;
};

// Adds the string with its quotes. The bytes must be UTF-8 (those of a parsed Json are); what is not becomes U+FFFD.
void add_json_string(Text& out, Slice bytes);

// The number of bytes, 1 to 4, of the UTF-8 character at the start of `bytes`; 0 if there is none.
size_t utf8_length(Slice bytes);

}  // namespace agent
