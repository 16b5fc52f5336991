// Arrays of NumPy's .npz files: zip archives of little-endian arrays in C order, stored, or deflated where zlib is
// found.
#pragma once

#include <cmath>
#include <complex>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#if defined(HAS_ZLIB)
#include <zlib.h>
#endif

namespace npz {

using Shape = std::vector<std::int64_t>;

// A shape as NumPy prints it.
inline std::string text(const Shape& shape) {
  std::string out;
  for (const std::int64_t side : shape) out += (out.empty() ? "" : ", ") + std::to_string(side);
  return "(" + out + (shape.size() == 1 ? ",)" : ")");
}

struct Array {
  std::string type;  // of NumPy, such as <c8
  Shape shape;
  std::string bytes;

  // The numbers as those of type T, of which they may be another width.
  template <class T>
  std::vector<T> as() const {
    if (type == "<c8") return cast<T, std::complex<float>>();
    if (type == "<c16") return cast<T, std::complex<double>>();
    if (type == "<f8") return cast<T, double>();
    if (type == "<f4") return cast<T, float>();
    if (type == "<i8") return cast<T, std::int64_t>();
    if (type == "<i4") return cast<T, std::int32_t>();
    throw std::runtime_error("npz: expected numbers, found " + type);
  }

 private:
  template <class T, class From>
  std::vector<T> cast() const {
    std::vector<T> out;
    for (std::size_t i = 0; i + sizeof(From) <= bytes.size(); i += sizeof(From)) {
      From x;
      std::memcpy(&x, bytes.data() + i, sizeof x);
      if constexpr (requires { typename T::value_type; }) {  // T is complex
        using Real = typename T::value_type;
        out.emplace_back(static_cast<Real>(std::real(x)), static_cast<Real>(std::imag(x)));
      } else {
        if (std::imag(x) != 0) throw std::runtime_error("npz: expected real numbers, found complex ones");
        if constexpr (std::is_integral_v<T>) {
          const auto value = static_cast<double>(std::real(x));
          if (!(std::abs(value) <= std::numeric_limits<T>::max()) || value != std::floor(value))
            throw std::runtime_error("npz: expected whole numbers, found " + std::to_string(value));
        }
        out.push_back(static_cast<T>(std::real(x)));
      }
    }
    double expected = 1;
    for (const std::int64_t side : shape) expected *= static_cast<double>(side);
    if (expected != static_cast<double>(out.size()))
      throw std::runtime_error("npz: expected an array of shape " + text(shape) + ", found " +
                               std::to_string(out.size()) + " numbers");
    return out;
  }
};

inline std::uint32_t number(const std::string& bytes, std::size_t at, int size) {
  std::uint32_t value = 0;
  if (at + static_cast<std::size_t>(size) > bytes.size()) throw std::runtime_error("npz: expected more bytes");
  std::memcpy(&value, bytes.data() + at, static_cast<std::size_t>(size));
  return value;
}

inline std::string inflated(const std::string& deflated, std::size_t size) {
#if defined(HAS_ZLIB)
  std::string out(size, '\0');
  z_stream stream{};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(deflated.data()));
  stream.avail_in = static_cast<uInt>(deflated.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(size);
  const bool whole = inflateInit2(&stream, -MAX_WBITS) == Z_OK && inflate(&stream, Z_FINISH) == Z_STREAM_END;
  inflateEnd(&stream);
  if (!whole || stream.avail_out != 0) throw std::runtime_error("npz: expected an array, found a damaged one");
  return out;
#else
  throw std::runtime_error("npz: expected stored arrays (numpy.savez) without zlib, found compressed ones");
#endif
}

// An array of the bytes of an .npy file.
inline Array parsed(const std::string& bytes) {
  if (bytes.compare(0, 6, "\x93NUMPY") != 0) throw std::runtime_error("npz: expected an array, found something else");
  const int width = bytes[6] == 1 ? 2 : 4;
  const std::size_t length = number(bytes, 8, width), begin = 8 + static_cast<std::size_t>(width);
  const std::string header = bytes.substr(begin, length);
  if (header.find("'fortran_order': False") == std::string::npos) throw std::runtime_error("npz: expected C order");
  Array array;
  const std::size_t type = header.find('\'', header.find("'descr':") + 8) + 1, shape = header.find('(') + 1;
  array.type = header.substr(type, header.find('\'', type) - type);
  std::string sides = header.substr(shape, header.find(')') - shape);
  for (std::size_t at = 0, comma = 0; comma != std::string::npos; at = comma + 1) {
    comma = sides.find(',', at);
    if (sides.find_first_of("0123456789", at) < comma) array.shape.push_back(std::stoll(sides.substr(at)));
  }
  array.bytes = bytes.substr(begin + length);
  return array;
}

// Arrays by name, from the archive's directory at its end.
inline std::map<std::string, Array> read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + ": expected a capture, found no such file");
  const std::string zip(std::istreambuf_iterator<char>(file), {});
  const std::size_t end = zip.rfind("PK\5\6");
  if (end == std::string::npos) throw std::runtime_error(path + ": expected an .npz archive");
  std::map<std::string, Array> arrays;
  std::size_t at = number(zip, end + 16, 4);
  for (std::uint32_t left = number(zip, end + 10, 2); left > 0; --left) {
    const std::uint32_t method = number(zip, at + 10, 2), packed = number(zip, at + 20, 4),
                        size = number(zip, at + 24, 4);
    const std::uint32_t name = number(zip, at + 28, 2), extra = number(zip, at + 30, 2), note = number(zip, at + 32, 2);
    const std::size_t local = number(zip, at + 42, 4);
    const std::size_t data = local + 30 + number(zip, local + 26, 2) + number(zip, local + 28, 2);
    const std::string bytes = zip.substr(data, packed), file_name = zip.substr(at + 46, name);
    arrays[file_name.substr(0, file_name.rfind(".npy"))] = parsed(method == 0 ? bytes : inflated(bytes, size));
    at += 46 + name + extra + note;
  }
  return arrays;
}

}  // namespace npz
