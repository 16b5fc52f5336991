#include "kernels/table.hpp"

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace jadce {

namespace generic {
KernelTable make_table();
}
#if defined(JADCE_X86)
namespace avx2 {
KernelTable make_table();
}
namespace avx512 {
KernelTable make_table();
}
#endif

#if defined(JADCE_X86)
namespace {

bool runs_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool runs_avx512() {
  return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
}

}  // namespace
#endif

const KernelTable& table(const char* isa) {
  static const std::vector<KernelTable> variants = [] {
    std::vector<KernelTable> found;
#if defined(JADCE_X86)
    __builtin_cpu_init();
    if (runs_avx512()) found.push_back(avx512::make_table());
    if (runs_avx2()) found.push_back(avx2::make_table());
#endif
    found.push_back(generic::make_table());
    return found;
  }();
  if (isa == nullptr) return variants.front();
  for (const KernelTable& variant : variants)
    if (std::string_view(variant.name) == isa) return variant;
  throw std::invalid_argument(std::string("isa: this processor does not run '") + isa + "'");
}

}  // namespace jadce
