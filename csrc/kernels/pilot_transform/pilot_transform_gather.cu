// Statistics of some devices, candidate by candidate.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/block_cuda.hpp"
#include "kernels/batch_cuda.hpp"
#include "kernels/pilot_transform/pilot_transform_cuda.hpp"
#include "kernels/pilot_transform/pilots_cuda.hpp"
#include "kernels/posterior/posterior.hpp"
#include "loop/rules.hpp"

namespace jadce::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kSide = 16;  // beams of a row of threads
constexpr int kGatherRows = kThreads / kSide;
constexpr int kResident = 3;       // blocks on a multiprocessor
constexpr int kAtOnce = 3;         // subcarriers of a thread at a time
constexpr int kPilots = 2048;      // pilots of a candidate that are held at a time, if not one subcarrier's are more
constexpr int kSubcarriers = 128;  // most subcarriers whose pilots are held at a time
constexpr std::size_t kFewBytes = 48 * 1024;  // size of a table that is worth a copy in shared memory

// The host's decisions about gather.
struct GatherPlan {
  int together;      // subcarriers at a time
  int basis_copied;  // complex numbers of the basis in shared memory, all or none
};

// One block: a device after another, kSide beams at a time, all of them if its power is measured. Shared memory holds
// its pilots [together, T] and the correlations over symbols [together, kSide] of some subcarriers at a time, and the
// basis if that is small.
__global__ void __launch_bounds__(kThreads, kResident)
    gather_kernel(const __grid_constant__ GatherArgs args, const Complex* __restrict__ basis, Pilots q,
                  const __grid_constant__ GatherPlan plan) {
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kSide, row = thread / kSide;
  const int start = static_cast<int>(blockIdx.y) * kSide, step = static_cast<int>(gridDim.y) * kSide;
  const int subcarriers = args.sizes.subcarriers, antennas = args.sizes.antennas;
  const int coefficients = args.sizes.coefficients;
  double* const part = dynamic_shared<double>();  // [kThreads]
  Complex* const correlation = reinterpret_cast<Complex*>(part + kThreads);
  Complex* const pilot = correlation + plan.together * kSide;
  Complex* const copy = pilot + plan.together * q.symbols;
  copy_together(basis, plan.basis_copied, copy);
  if (plan.basis_copied) basis = copy;
  const int channel = coefficients * antennas, many = static_cast<int>(gridDim.x);
  after_previous();
  for (int a = static_cast<int>(blockIdx.x); a < args.capacity; a += many) {
    const std::int64_t place = batch() * args.capacity + a;
    // Loads of which none waits for another; k is nothing yet.
    const int k = args.device[place], count = limited(args.count, args.capacity);
    if (!has_work(args.enabled) || a >= count) return;
    const int at = args.parts.slot ? args.parts.slot[batch() * q.devices + k] : -1;
    const Complex* const r = args.r + batch() * subcarriers * q.symbols * antennas;
    const Complex* const s = at >= 0 ? args.parts.s + (batch() * args.parts.slots + at) * channel : nullptr;
    Complex* const out = (args.mean ? args.mean : args.z) + place * channel;
    const float* const v_b = args.v_b ? args.v_b + batch() * antennas : nullptr;
    const auto gain = [&](int beam, float power) {  // gain of the output for a device of that power
      return args.mean ? gaussian_gain(v_b[beam] / power) / sqrtf(power) : 1.0f / sqrtf(power);
    };
    double energy = 0;
    for (int first = start; first < antennas; first += step) {
      const int beam = first + lane;
      const bool inside = beam < antennas;
      const float scale = v_b && args.known && inside ? gain(beam, 1.0f) : 1.0f;
      const auto part_of = [&](int p) { return at >= 0 ? s[p * antennas + beam] : Complex{0.0f, 0.0f}; };
      const auto finish = [&](int p, Complex total) {
        out[p * antennas + beam] = total * scale;
        energy += static_cast<double>(norm(total));
      };
      for (int from = 0; from < subcarriers; from += plan.together) {
        const int now = min(plan.together, subcarriers - from);
        __syncthreads();
        const int skipped = from * q.symbols, pilots = now * q.symbols;
        for (int first_pilot = thread; first_pilot < pilots; first_pilot += kInFlight * kThreads) {
          std::int32_t rows[kInFlight];
          Complex value[kInFlight];
#pragma unroll
          for (int j = 0; j < kInFlight; ++j) rows[j] = q.row(skipped + min(first_pilot + j * kThreads, pilots - 1));
#pragma unroll
          for (int j = 0; j < kInFlight; ++j)
            value[j] = q.conjugate_at(rows[j], skipped + min(first_pilot + j * kThreads, pilots - 1),
                                      static_cast<unsigned>(k));
#pragma unroll
          for (int j = 0; j < kInFlight; ++j)
            if (first_pilot + j * kThreads < pilots) pilot[first_pilot + j * kThreads] = value[j];
        }
        __syncthreads();
        // A thread takes kAtOnce subcarriers at a time, whose loads do not wait for one another.
        const int symbol = subcarriers * antennas;
        for (int n0 = row; n0 < now; n0 += kAtOnce * kGatherRows) {
          Complex total[kAtOnce] = {};
          if (inside) {
#pragma unroll 4
            for (int t = 0; t < q.symbols; ++t) {
#pragma unroll
              for (int j = 0; j < kAtOnce; ++j) {
                const int n = min(n0 + j * kGatherRows, now - 1);
                total[j] = total[j] + pilot[n * q.symbols + t] * r[t * symbol + (from + n) * antennas + beam];
              }
            }
          }
#pragma unroll
          for (int j = 0; j < kAtOnce; ++j)
            if (n0 + j * kGatherRows < now) correlation[(n0 + j * kGatherRows) * kSide + lane] = total[j];
        }
        __syncthreads();
        if (!inside) continue;
        for (int p = row; p < coefficients; p += kGatherRows) {
          if (basis == nullptr) {
            if (p >= from && p < from + now) finish(p, correlation[(p - from) * kSide + lane] + part_of(p));
            continue;
          }
          const bool last = from + now == subcarriers;
          const Complex of_s = last ? part_of(p) : Complex{0.0f, 0.0f};
          Complex total = from > 0 ? out[p * antennas + beam] : Complex{0.0f, 0.0f};
#pragma unroll 4
          for (int n = 0; n < now; ++n)
            total = total + conjugate(basis[(from + n) * coefficients + p]) * correlation[n * kSide + lane];
          if (last)
            finish(p, total + of_s);
          else
            out[p * antennas + beam] = total;
        }
      }
    }
    if (v_b == nullptr) continue;
    float power = 1.0f;
    if (!args.known) {
      energy = block_sum(energy, part);
      const float mean = args.mean_v[batch() * kControlWords];
      power = device_power(args.rules, energy, static_cast<float>(subcarriers * antennas),
                           mean * static_cast<float>(coefficients) / static_cast<float>(subcarriers), mean);
      for (int beam = start + lane; beam < antennas; beam += step) {  // each thread what it wrote itself
        const float scale = gain(beam, power);
        for (int p = row; p < coefficients; p += kGatherRows)
          out[p * antennas + beam] = out[p * antennas + beam] * scale;
      }
    }
    if (thread == 0 && start == 0) args.power[place] = power;
    const float share = static_cast<float>(coefficients) / static_cast<float>(subcarriers);
    for (int beam = start + lane; row == 0 && beam < antennas; beam += step) {
      const float noise = v_b[beam] / power;
      args.noise[place * antennas + beam] = noise;
      if (args.mean) args.var[place * antennas + beam] = share * noise * gaussian_gain(noise);
    }
  }
}

}  // namespace

void gather(const GatherArgs& args, void* stream) {
  if (args.capacity == 0) return;
  const Sizes& s = args.sizes;
  const int together = std::clamp(kPilots / s.symbols, 1, std::min(s.subcarriers, kSubcarriers));
  const int numbers = args.basis ? s.subcarriers * s.coefficients : 0;
  const int copied = sizeof(Complex) * static_cast<std::size_t>(numbers) <= kFewBytes ? numbers : 0;
  const unsigned split = args.v_b && !args.known ? 1 : blocks(s.antennas, kSide);
  launch("gather", gather_kernel,
         dim3(sharing(args.capacity, s.batch, kResident), split, static_cast<unsigned>(s.batch)), kThreads,
         sizeof(double) * kThreads +
             sizeof(Complex) * (static_cast<std::size_t>(together) * static_cast<std::size_t>(kSide + s.symbols) +
                                static_cast<std::size_t>(copied)),
         stream, args, args.basis, pilots(args.pilots, s), GatherPlan{together, copied});
}

}  // namespace jadce::cuda
