#include "kernels/families.hpp"

#define JADCE_TEXT(x) #x
#define JADCE_NAME(x) JADCE_TEXT(x)

namespace jadce::JADCE_ISA {

KernelTable make_table() {
  KernelTable table{};
  table.name = JADCE_NAME(JADCE_ISA);
  table.width = W;
  fill_pilot_transform(table);
  fill_activity(table);
  fill_posterior(table);
  fill_repeated(table);
  fill_beam_network(table);
  fill_beam_network_bf16(table);
  fill_langevin(table);
  fill_langevin_tables(table);
  return table;
}

}  // namespace jadce::JADCE_ISA
