#pragma once

#include <cstddef>
#include <cstdint>

namespace jadce::cuda {

void check_tree_sum(const float* x, int count, int threads, float* out);
void check_warp_operations(int threads, unsigned* out);  // [9, threads]
void check_count_values(const int* x, int count, int* bins);
void check_matrix_product(const std::uint32_t* x, const std::uint32_t* w, int wait, float* out);
void check_misuse(int kind, int threads, std::size_t shared, float* out);

}  // namespace jadce::cuda
