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
constexpr int kResident = 3;  // blocks on a multiprocessor
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1200
constexpr int kRegistersFor = 2;  // blocks: shared memory has no room for more
#else
constexpr int kRegistersFor = kResident;
#endif
constexpr int kPilots = 2048;      // pilots of a candidate that are held at a time, if not one subcarrier's are more
constexpr int kSubcarriers = 128;  // most subcarriers whose pilots are held at a time
constexpr std::size_t kFewBytes = 48 * 1024;  // size of a table that is worth a copy in shared memory

// The host's decisions about gather.
struct GatherPlan {
  int most;          // candidates at a time: one, two or four
  int together;      // subcarriers at a time
  int basis_copied;  // complex numbers of the basis in shared memory, all or none
};

// What a block of gather has, and what it does.
struct Gathering {
  const GatherArgs& args;
  const Complex* basis;
  const Pilots& q;
  const GatherPlan& plan;
  double* part;          // [kThreads]
  Complex* correlation;  // [most, together, kSide] over symbols
  Complex* pilot;        // [together, T, most]

  // Candidates `first`, which is device `k0`, and every gridDim.x-th after it, kMany of which those below `count` are
  // there. r is read once for all of them.
  template <int kMany>
  __device__ void some(int first, int count, int k0) const;
};

template <int kMany>
__device__ void Gathering::some(int first, int count, int k0) const {
  struct alignas(kMany > 1 ? 16 : 8) Values {
    Complex of[kMany];
  };
  Values* const pilots = reinterpret_cast<Values*>(pilot);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kSide, row = thread / kSide;
  const int start = static_cast<int>(blockIdx.y) * kSide, step = static_cast<int>(gridDim.y) * kSide;
  const int subcarriers = args.sizes.subcarriers, antennas = args.sizes.antennas;
  const int coefficients = args.sizes.coefficients, channel = coefficients * antennas;
  const Complex* const r = args.r + batch() * subcarriers * q.symbols * antennas;
  const float* const v_b = args.v_b ? args.v_b + batch() * antennas : nullptr;
  const auto gain = [&](int beam, float power) {  // gain of the output for a device of that power
    return args.mean ? gaussian_gain(v_b[beam] / power) / sqrtf(power) : 1.0f / sqrtf(power);
  };
  const auto place = [&](int g) {
    return batch() * args.capacity + first + static_cast<std::int64_t>(g) * static_cast<int>(gridDim.x);
  };
  const auto there = [&](int g) { return first + g * static_cast<int>(gridDim.x) < count; };
  const auto out_of = [&](int g) { return (args.mean ? args.mean : args.z) + place(g) * channel; };
  // Rows take coefficients of all candidates in turn.
  const auto first_of = [&](int g) { return (row - g * coefficients) & (kGatherRows - 1); };
  int k[kMany], at[kMany];
#pragma unroll
  for (int g = 0; g < kMany; ++g) k[g] = g > 0 && there(g) ? args.device[place(g)] : k0;
#pragma unroll
  for (int g = 0; g < kMany; ++g) at[g] = args.parts.slot ? args.parts.slot[batch() * q.devices + k[g]] : -1;
  double energy[kMany] = {};
  for (int first_beam = start; first_beam < antennas; first_beam += step) {
    const int beam = first_beam + lane;
    const bool inside = beam < antennas;
    const float scale = v_b && args.known && inside ? gain(beam, 1.0f) : 1.0f;
    for (int from = 0; from < subcarriers; from += plan.together) {
      const int now = min(plan.together, subcarriers - from);
      __syncthreads();
      const int skipped = from * q.symbols, all = now * q.symbols;
      for (int first_pilot = thread; first_pilot < all; first_pilot += kInFlight * kThreads) {
        std::int32_t rows[kInFlight];
        Values value[kInFlight];
#pragma unroll
        for (int j = 0; j < kInFlight; ++j) rows[j] = q.row(skipped + min(first_pilot + j * kThreads, all - 1));
#pragma unroll
        for (int j = 0; j < kInFlight; ++j)
#pragma unroll
          for (int g = 0; g < kMany; ++g)
            value[j].of[g] = q.conjugate_at(rows[j], skipped + min(first_pilot + j * kThreads, all - 1),
                                            static_cast<unsigned>(k[g]));
#pragma unroll
        for (int j = 0; j < kInFlight; ++j)
          if (first_pilot + j * kThreads < all) pilots[first_pilot + j * kThreads] = value[j];
      }
      __syncthreads();
      // A thread takes kAtOnce subcarriers at a time, whose loads do not wait for one another; or one, if it has
      // several candidates and few registers.
      constexpr int kAtOnce = kMany > 1 ? 1 : 3;
      const int symbol = subcarriers * antennas;
      for (int n0 = row; n0 < now; n0 += kAtOnce * kGatherRows) {
        Complex total[kAtOnce][kMany] = {};
        if (inside) {
#pragma unroll(kMany > 1 ? 8 : 4)
          for (int t = 0; t < q.symbols; ++t) {
#pragma unroll
            for (int j = 0; j < kAtOnce; ++j) {
              const int n = min(n0 + j * kGatherRows, now - 1);
              const Complex value = r[t * symbol + (from + n) * antennas + beam];
              const Values of_pilots = pilots[n * q.symbols + t];
#pragma unroll
              for (int g = 0; g < kMany; ++g) total[j][g] = add_product(total[j][g], of_pilots.of[g], value);
            }
          }
        }
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j)
#pragma unroll
          for (int g = 0; g < kMany; ++g)
            if (n0 + j * kGatherRows < now)
              correlation[(g * plan.together + n0 + j * kGatherRows) * kSide + lane] = total[j][g];
      }
      __syncthreads();
      if (!inside) continue;
#pragma unroll
      for (int g = 0; g < kMany; ++g) {
        if (!there(g)) continue;
        const Complex* const of_g = correlation + g * plan.together * kSide + lane;
        const Complex* const s = args.parts.s + (batch() * args.parts.slots + at[g]) * channel + beam;
        Complex* const out = out_of(g) + beam;
        const auto part_of = [&](int p) { return at[g] >= 0 ? s[p * antennas] : Complex{0.0f, 0.0f}; };
        const auto finish = [&](int p, Complex total) {
          out[p * antennas] = total * scale;
          energy[g] += static_cast<double>(norm(total));
        };
        for (int p = first_of(g); p < coefficients; p += kGatherRows) {
          if (basis == nullptr) {
            if (p >= from && p < from + now) finish(p, of_g[(p - from) * kSide] + part_of(p));
            continue;
          }
          const bool last = from + now == subcarriers;
          const Complex of_s = last ? part_of(p) : Complex{0.0f, 0.0f};
          Complex total = from > 0 ? out[p * antennas] : Complex{0.0f, 0.0f};
#pragma unroll(kMany > 1 ? 2 : 4)
          for (int n = 0; n < now; ++n)
            total = add_product(total, conjugate(basis[(from + n) * coefficients + p]), of_g[n * kSide]);
          if (last)
            finish(p, total + of_s);
          else
            out[p * antennas] = total;
        }
      }
    }
  }
  if (v_b == nullptr) return;
  const float share = static_cast<float>(coefficients) / static_cast<float>(subcarriers);
#pragma unroll
  for (int g = 0; g < kMany; ++g) {
    if (!there(g)) continue;
    float power = 1.0f;
    if (!args.known) {
      const double total = block_sum(energy[g], part);
      const float mean = args.mean_v[batch() * kControlWords];
      power = device_power(args.rules, total, static_cast<float>(subcarriers * antennas), mean * share, mean);
      Complex* const out = out_of(g);
      for (int beam = start + lane; beam < antennas; beam += step) {  // each thread what it wrote itself
        const float scale = gain(beam, power);
        for (int p = first_of(g); p < coefficients; p += kGatherRows)
          out[p * antennas + beam] = out[p * antennas + beam] * scale;
      }
    }
    if (thread == 0 && start == 0) args.power[place(g)] = power;
    for (int beam = start + lane; row == 0 && beam < antennas; beam += step) {
      const float noise = v_b[beam] / power;
      args.noise[place(g) * antennas + beam] = noise;
      if (args.mean) args.var[place(g) * antennas + beam] = share * noise * gaussian_gain(noise);
    }
  }
}

// One block: every gridDim.x-th candidate, kSide beams at a time, all of them if its power is measured. The basis comes
// to shared memory if it is small.
__global__ void __launch_bounds__(kThreads, kRegistersFor)
    gather_kernel(const __grid_constant__ GatherArgs args, const Complex* __restrict__ basis, Pilots q,
                  const __grid_constant__ GatherPlan plan) {
  double* const part = dynamic_shared<double>();
  Complex* const correlation = reinterpret_cast<Complex*>(part + kThreads);
  Complex* const pilot = correlation + plan.most * plan.together * kSide;
  Complex* const copy = pilot + plan.most * plan.together * q.symbols;
  copy_together(basis, plan.basis_copied, copy);
  const Gathering block{args, plan.basis_copied ? copy : basis, q, plan, part, correlation, pilot};
  after_previous();
  // Loads of which none waits for another; there may be no such candidate.
  const std::int32_t* const device = args.device + batch() * args.capacity;
  int k = device[blockIdx.x];
  const int count = limited(args.count, args.capacity), many = static_cast<int>(gridDim.x);
  if (!has_work(args.enabled)) return;
  for (int first = static_cast<int>(blockIdx.x); first < count; first += plan.most * many) {
    if (first >= many) k = device[first];
    const int left = min(plan.most, (count - first - 1) / many + 1);
    if (left == 1)
      block.some<1>(first, count, k);
    else if (left == 2)
      block.some<2>(first, count, k);
    else
      block.some<4>(first, count, k);
  }
}

}  // namespace

void gather(const GatherArgs& args, void* stream) {
  if (args.capacity == 0) return;
  const Sizes& s = args.sizes;
  const int numbers = args.basis ? s.subcarriers * s.coefficients : 0;
  const int copied = sizeof(Complex) * static_cast<std::size_t>(numbers) <= kFewBytes ? numbers : 0;
  const unsigned split = args.v_b && !args.known ? 1 : blocks(s.antennas, kSide);
  const unsigned many = sharing(args.capacity, s.batch, kResident), each = blocks(args.capacity, many);
  GatherPlan plan{each >= 4 ? 4 : static_cast<int>(each >= 2 ? 2 : 1),
                  std::clamp(kPilots / s.symbols, 1, std::min(s.subcarriers, kSubcarriers)), copied};
  const auto shared = [&] {
    return sizeof(double) * kThreads +
           sizeof(Complex) * static_cast<std::size_t>(plan.most * plan.together * (kSide + s.symbols) + copied);
  };
  while (plan.most > 1 && kResident * (shared() + 1024) > kMostShared) plan.most /= 2;
  launch("gather", gather_kernel, dim3(many, split, static_cast<unsigned>(s.batch)), kThreads, shared(), stream, args,
         args.basis, pilots(args.pilots, s), plan);
}

}  // namespace jadce::cuda
