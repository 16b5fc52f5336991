#pragma once

#include <cstdint>
#include <string>

#include "core/shapes.hpp"

namespace jadce {

// Why devices with these pilots cannot be planned with one by one, or a receiver takes more than this library has;
// empty if nothing is in the way. python/jadce_fast/structure.py, parts.py and repeated.py have what is done about it
// there. Rows [T, N] of a partial DFT, or pilots [T, N, K]; the shape's T, N, K.
std::string hindrance(const std::int32_t* rows, const Shape& shape);
std::string hindrance(const cfloat* pilots, const Shape& shape);

}  // namespace jadce
