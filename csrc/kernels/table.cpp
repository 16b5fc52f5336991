#include "kernels/table.hpp"

#if defined(JADCE_X86)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

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
// Both are AVX-512 but for the beam network with bfloat16 operands.
namespace avx512_bf16 {
void fill_beam_network_bf16(KernelTable& table);
}
namespace amx {
void fill_beam_network_bf16(KernelTable& table);
}
#endif

#if defined(JADCE_X86)
namespace {

bool runs_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool runs_avx512() {
  return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
}

struct Leaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf features(unsigned subleaf) {
  Leaf leaf;
  __get_cpuid_count(7, subleaf, &leaf.eax, &leaf.ebx, &leaf.ecx, &leaf.edx);
  return leaf;
}

bool runs_avx512_bf16() { return runs_avx512() && (features(1).eax >> 5 & 1) != 0; }

// Linux gives a process tiles when it asks for them; elsewhere they are not used.
bool runs_amx() {
#if defined(__linux__)
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  constexpr unsigned kBfloat16 = 1u << 22, kTiles = 1u << 24, kNeeded = kBfloat16 | kTiles;
  return runs_avx512_bf16() && (features(0).edx & kNeeded) == kNeeded &&
         syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
#else
  return false;
#endif
}

KernelTable with_bfloat16(const char* name, bool fast, void (*fill)(KernelTable&)) {
  KernelTable table = avx512::make_table();
  table.name = name;
  table.fast_bf16 = fast;
  fill(table);
  return table;
}

}  // namespace
#endif

const KernelTable& table(const char* isa) {
  static const std::vector<KernelTable> variants = [] {
    std::vector<KernelTable> found;
#if defined(JADCE_X86)
    __builtin_cpu_init();
    if (runs_amx()) found.push_back(with_bfloat16("amx", true, amx::fill_beam_network_bf16));
    if (runs_avx512_bf16()) {
      const bool fast = __builtin_cpu_is("amd");  // Intel's take as long as two in single precision
      found.push_back(with_bfloat16("avx512_bf16", fast, avx512_bf16::fill_beam_network_bf16));
    }
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
