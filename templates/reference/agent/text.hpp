// Bytes and arrays: the few tools that keep the agent free of libstdc++ (std::string alone would bring the exception
// machinery and a megabyte with it).
//
// A Slice looks at bytes it does not own; it dies with them. Text and Array own theirs. Running out of memory ends
// the process: every buffer is bounded by its user, so an allocation that fails means that the container's limit is
// absurdly small.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace agent {

struct Slice {
  const char* data = "";
  size_t size = 0;

  constexpr Slice() = default;
  constexpr Slice(const char* bytes, size_t count) : data(bytes), size(count) {}
  template <size_t N>
  constexpr Slice(const char (&literal)[N]) : data(literal), size(N - 1) {}
  static Slice of(const char* terminated) { return {terminated, strlen(terminated)}; }

  bool operator==(Slice other) const { return size == other.size && memcmp(data, other.data, size) == 0; }
  bool starts_with(Slice prefix) const { return size >= prefix.size && memcmp(data, prefix.data, prefix.size) == 0; }
  // Both clamp, so that no arithmetic of a caller can leave the bytes.
  Slice from(size_t at) const { return at >= size ? Slice() : Slice(data + at, size - at); }
  Slice first(size_t count) const { return {data, count < size ? count : size}; }
};

inline char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

inline bool equal_ignoring_case(Slice a, Slice b) {
  if (a.size != b.size) return false;
  for (size_t i = 0; i < a.size; ++i)
    if (lower(a.data[i]) != lower(b.data[i])) return false;
  return true;
}

// For secrets: the time taken tells the length of `given`, which its sender knows, and nothing else.
inline bool equal_in_constant_time(Slice secret, Slice given) {
  unsigned difference = secret.size == given.size ? 0 : 1;
  for (size_t i = 0; i < given.size; ++i)
    difference |= static_cast<unsigned char>(given.data[i]) ^
                  static_cast<unsigned char>(secret.size ? secret.data[i % secret.size] : 1);
  return difference == 0;
}

[[noreturn]] inline void out_of_memory() {
  static const char line[] = "{\"level\":\"error\",\"message\":\"out of memory\"}\n";
  fwrite(line, 1, sizeof line - 1, stdout);
  fflush(stdout);
  _Exit(70);
}

// Elements must be trivially copyable.
template <class T>
class Array {
 public:
  constexpr Array() = default;
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { free(items_); }

  size_t size() const { return size_; }
  T* data() { return items_; }
  T& operator[](size_t i) { return items_[i]; }
  const T& operator[](size_t i) const { return items_[i]; }
  T* begin() { return items_; }
  T* end() { return items_ + size_; }

  T& push(const T& item) {
    reserve(size_ + 1);
    items_[size_] = item;
    return items_[size_++];
  }
  void append(const T* items, size_t count) {
    if (count == 0) return;
    reserve(size_ + count);
    memcpy(items_ + size_, items, count * sizeof(T));
    size_ += count;
  }
  void erase_front(size_t count) {
    memmove(items_, items_ + count, (size_ - count) * sizeof(T));
    size_ -= count;
  }
  void pop() { --size_; }
  void clear() { size_ = 0; }
  // clear(), and give the memory back.
  void release() {
    free(items_);
    items_ = nullptr;
    size_ = capacity_ = 0;
  }
  void swap(Array& other) {
    char bytes[sizeof(Array)];
    memcpy(bytes, static_cast<void*>(this), sizeof bytes);
    memcpy(static_cast<void*>(this), static_cast<void*>(&other), sizeof bytes);
    memcpy(static_cast<void*>(&other), bytes, sizeof bytes);
  }

 private:
  void reserve(size_t wanted) {
    if (wanted <= capacity_) return;
    size_t capacity = capacity_ ? capacity_ * 2 : 64;
    if (capacity < wanted) capacity = wanted;
    T* items = static_cast<T*>(realloc(static_cast<void*>(items_), capacity * sizeof(T)));
    if (items == nullptr) out_of_memory();
    items_ = items;
    capacity_ = capacity;
  }

  T* items_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

class Text : public Array<char> {
 public:
  Slice slice() const { return {const_cast<Text*>(this)->data(), size()}; }
  operator Slice() const { return size() ? slice() : Slice(); }
  Text& add(Slice bytes) {
    append(bytes.data, bytes.size);
    return *this;
  }
  Text& add(char c) {
    push(c);
    return *this;
  }
  Text& add_number(long long number) {
    char digits[24];
    return add(Slice(digits, static_cast<size_t>(snprintf(digits, sizeof digits, "%lld", number))));
  }
  // The bytes with a terminating zero that is not part of them, for system calls.
  const char* c_str() {
    push('\0');
    const char* bytes = data();
    pop();
    return bytes;
  }
  void assign(Slice bytes) {
    clear();
    add(bytes);
  }
};

}  // namespace agent
