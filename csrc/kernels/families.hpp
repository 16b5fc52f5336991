// The kernel families of one instruction set: each fills its entries of the table.
#pragma once

#include "core/simd.hpp"
#include "kernels/table.hpp"

namespace jadce::JADCE_ISA {

// Columns of a packed matrix that langevin_step works on at a time: two accumulators each.
inline constexpr index_t kColumns = W == 16 ? 8 : 4;

void fill_pilot_transform(KernelTable& table);
void fill_activity(KernelTable& table);
void fill_posterior(KernelTable& table);
void fill_repeated(KernelTable& table);
void fill_beam_network(KernelTable& table);
void fill_beam_network_bf16(KernelTable& table);
void fill_langevin(KernelTable& table);
void fill_langevin_tables(KernelTable& table);

KernelTable make_table();

}  // namespace jadce::JADCE_ISA
