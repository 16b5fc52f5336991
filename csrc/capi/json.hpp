// A strict reader of JSON, for the headers of .safetensors files: no library is at hand when a wheel is built, and the
// format needs objects, arrays, strings and whole numbers only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace jadce {

struct Json {
  enum Kind { kNull, kTrue, kFalse, kNumber, kString, kArray, kObject } kind = kNull;
  double number = 0;
  std::string string;
  std::vector<Json> array;
  std::map<std::string, Json> object;

  // Throws std::invalid_argument if the text is not one JSON value.
  static Json parse(std::string_view text);

  // A member of an object, and values as what they have to be; std::invalid_argument, which names them, otherwise.
  const Json& operator[](const std::string& name) const;
  std::int64_t integer(const char* name, std::int64_t least, std::int64_t most) const;
  const std::string& text(const char* name) const;
  const std::vector<Json>& list(const char* name) const;
};

}  // namespace jadce
