// What the C API refuses, in words.
#pragma once

#include <jadce/jadce.h>

#include <cstdint>
#include <string>

#include "core/shapes.hpp"

namespace jadce {

inline constexpr double kLeast = 1e-30, kMost = 1e30;  // of powers and variances

// These throw std::invalid_argument: which argument, what was expected, what was found.
[[noreturn]] void refuse(const std::string& what);
void need(bool fits, const char* name, const char* expected, double found);
void need_range(const char* name, index_t value, index_t least, index_t most);
void check(const jadce_config& config);
// DFT rows [T, N]: in range, and distinct over symbols on every subcarrier.
void check_rows(const std::int32_t* rows, const Shape& shape);

}  // namespace jadce
