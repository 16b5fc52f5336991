#pragma once

#include <cstddef>

namespace jadce::cuda {

void check_tree_sum(const float* x, int count, int threads, float* out);
void check_warp_operations(int threads, unsigned* out);  // [9, threads]
void check_count_values(const int* x, int count, int* bins);
void check_misuse(int kind, int threads, std::size_t shared, float* out);

}  // namespace jadce::cuda
