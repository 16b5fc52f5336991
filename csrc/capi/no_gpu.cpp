#include "capi/gpu.hpp"

namespace jadce {

std::unique_ptr<Gpu> Gpu::plan(const GpuPlan&) {
  throw Unsupported("device: expected JADCE_CPU, found JADCE_CUDA, but the library was built without CUDA");
}

}  // namespace jadce
