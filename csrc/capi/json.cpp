#include "capi/json.hpp"

#include <charconv>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <system_error>

namespace jadce {

namespace {

constexpr int kDeepest = 32;

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Json whole() {
    Json value = read(0);
    if (next() != '\0' || place_ != text_.size()) fail();
    return value;
  }

 private:
  [[noreturn]] void fail() const { throw std::invalid_argument("JSON with a fault at byte " + std::to_string(place_)); }

  // The next character that is no space, not consumed; '\0' at the end.
  char next() {
    while (place_ < text_.size() && std::string_view(" \t\n\r").find(text_[place_]) != std::string_view::npos) ++place_;
    return place_ < text_.size() ? text_[place_] : '\0';
  }
  bool skip(char c) {
    if (next() != c) return false;
    ++place_;
    return true;
  }
  void need(char c) {
    if (!skip(c)) fail();
  }
  void need(std::string_view word) {
    if (text_.substr(place_, word.size()) != word) fail();
    place_ += word.size();
  }

  Json read(int depth) {
    if (depth > kDeepest) fail();
    Json value;
    switch (next()) {
      case '{': {
        value.kind = Json::kObject;
        ++place_;
        if (skip('}')) break;
        do {
          if (next() != '"') fail();
          std::string name = quoted();
          need(':');
          if (!value.object.emplace(std::move(name), read(depth + 1)).second) fail();  // a name that occurs twice
        } while (skip(','));
        need('}');
        break;
      }
      case '[':
        value.kind = Json::kArray;
        ++place_;
        if (skip(']')) break;
        do value.array.push_back(read(depth + 1));
        while (skip(','));
        need(']');
        break;
      case '"':
        value.kind = Json::kString;
        value.string = quoted();
        break;
      case 't':
        need("true"), value.kind = Json::kTrue;
        break;
      case 'f':
        need("false"), value.kind = Json::kFalse;
        break;
      case 'n':
        need("null");
        break;
      default: {
        const char* const begin = text_.data() + place_;
        const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value.number);
        if (error != std::errc() || !std::isfinite(value.number)) fail();
        place_ += static_cast<std::size_t>(end - begin);
        value.kind = Json::kNumber;
      }
    }
    return value;
  }

  std::string quoted() {
    std::string out;
    for (++place_; place_ < text_.size() && text_[place_] != '"'; ++place_) {
      char c = text_[place_];
      if (static_cast<unsigned char>(c) < 0x20) fail();
      if (c == '\\') {
        if (++place_ == text_.size()) fail();
        c = text_[place_];
        if (c == 'u') {
          code_unit(out);
          continue;
        }
        constexpr std::string_view names = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
        const std::size_t at = names.find(c);
        if (at == std::string_view::npos) fail();
        c = meant[at];
      }
      out += c;
    }
    if (place_ == text_.size()) fail();
    ++place_;
    return out;
  }

  // Appends the character of an escape with four hexadecimal digits in UTF-8, halves of a surrogate pair each on its
  // own: nothing that is read has them.
  void code_unit(std::string& out) {
    unsigned code = 0;
    const char* const begin = text_.data() + place_ + 1;
    if (text_.size() - place_ < 5) fail();
    const auto [end, error] = std::from_chars(begin, begin + 4, code, 16);
    if (error != std::errc() || end != begin + 4) fail();
    place_ += 4;
    const auto byte = [&](unsigned bits) { out += static_cast<char>(bits); };
    if (code < 0x80) {
      byte(code);
    } else if (code < 0x800) {
      byte(0xc0 | code >> 6), byte(0x80 | (code & 0x3f));
    } else {
      byte(0xe0 | code >> 12), byte(0x80 | (code >> 6 & 0x3f)), byte(0x80 | (code & 0x3f));
    }
  }

  std::string_view text_;
  std::size_t place_ = 0;
};

}  // namespace

Json Json::parse(std::string_view text) { return Parser(text).whole(); }

const Json& Json::operator[](const std::string& name) const {
  const auto found = object.find(name);
  if (kind != kObject || found == object.end()) throw std::invalid_argument("no " + name);
  return found->second;
}

std::int64_t Json::integer(const char* name, std::int64_t least, std::int64_t most) const {
  if (kind != kNumber || number != std::floor(number) || number < static_cast<double>(least) ||
      number > static_cast<double>(most))
    throw std::invalid_argument(std::string(name) + " that is no whole number from " + std::to_string(least) + " to " +
                                std::to_string(most));
  return static_cast<std::int64_t>(number);
}

const std::string& Json::text(const char* name) const {
  if (kind != kString) throw std::invalid_argument(std::string(name) + " that is no string");
  return string;
}

const std::vector<Json>& Json::list(const char* name) const {
  if (kind != kArray) throw std::invalid_argument(std::string(name) + " that is no array");
  return array;
}

}  // namespace jadce
