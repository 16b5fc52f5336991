// The statistics of all devices as a product with the pilots, for pilots or numbers of devices that no fast transform
// takes.
#include <cstddef>
#include <cstdint>

#include "kernels/batch_cuda.hpp"
#include "kernels/pilot_transform/pilot_transform_cuda.hpp"
#include "kernels/pilot_transform/pilots_cuda.hpp"
#include "kernels/pilot_transform/spectral_cuda.hpp"

namespace jadce::cuda {

namespace {

constexpr int kBeams = 32;   // beams of a block, one a lane
constexpr int kWarps = 8;    // warps of a block
constexpr int kDevices = 4;  // devices of a warp: each number of r is used for four
constexpr int kSide = kWarps * kDevices;

// One block: kSide devices, kBeams beams. Coefficients first .. last - 1 stay in shared memory [kSide, last - first,
// kBeams], every number a thread's own.
__global__ void __launch_bounds__(kBeams* kWarps)
    direct_kernel(const std::int32_t* enabled, const __grid_constant__ SpectralInput all, Pilots q, int first, int last,
                  const __grid_constant__ SpectralOutput all_out) {
  after_previous();
  if (!has_work(enabled)) return;
  const SpectralInput input = all.of_batch();
  const SpectralOutput output = all_out.of_batch();
  const int lane = static_cast<int>(threadIdx.x), warp = static_cast<int>(threadIdx.y), chunk = last - first;
  const int beam = static_cast<int>(blockIdx.y) * kBeams + lane;
  const int k0 = static_cast<int>(blockIdx.x) * kSide + warp * kDevices;
  if (beam >= output.antennas) return;  // no barrier follows
  Complex* const sum = dynamic_shared<Complex>() + warp * kDevices * chunk * kBeams + lane;
  for (int i = 0; i < kDevices * chunk; ++i) sum[i * kBeams] = {0.0f, 0.0f};
  const int devices = output.devices;
  for (int n = 0; n < input.subcarriers; ++n) {
    Complex total[kDevices] = {};
    for (int t = 0; t < q.symbols; ++t) {
      const Complex value = input.r[(static_cast<std::int64_t>(t) * input.subcarriers + n) * output.antennas + beam];
#pragma unroll
      for (int i = 0; i < kDevices; ++i)
        if (k0 + i < devices) total[i] = total[i] + q.conjugate_of(n, t, static_cast<unsigned>(k0 + i)) * value;
    }
    for (int p = first; p < last; ++p) {
      if (input.basis == nullptr && n != p) continue;
      const Complex v = input.basis ? conjugate(input.basis[n * output.coefficients + p]) : Complex{1.0f, 0.0f};
#pragma unroll
      for (int i = 0; i < kDevices; ++i) {
        Complex& at = sum[(i * chunk + p - first) * kBeams];
        at = at + v * total[i];
      }
    }
  }
  for (int i = 0; i < kDevices && k0 + i < devices; ++i)
    for (int p = first; p < last; ++p) output.row(p, beam).put(k0 + i, sum[(i * chunk + p - first) * kBeams]);
}

}  // namespace

void direct(const DirectArgs& args, void* stream) {
  const Sizes& s = args.sizes;
  constexpr std::size_t kEach = sizeof(Complex) * kSide * kBeams;  // shared memory of one coefficient
  constexpr int kMost = static_cast<int>(kMostShared / kEach);
  for (int first = 0; first < s.coefficients; first += kMost) {
    const int last = s.coefficients < first + kMost ? s.coefficients : first + kMost;
    launch("direct", direct_kernel,
           dim3(blocks(s.devices, kSide), blocks(s.antennas, kBeams), static_cast<unsigned>(s.batch)),
           dim3(kBeams, kWarps), kEach * static_cast<std::size_t>(last - first), stream, args.enabled,
           spectral_input(args, RowOrder{}), pilots(args.pilots, s), first, last, spectral_output(args));
  }
}

}  // namespace jadce::cuda
