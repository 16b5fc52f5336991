// Module B: posterior of one device's channel and the extrinsic updates (docs/design.md, "state").
#include "kernels/posterior/posterior.hpp"

#include "kernels/families.hpp"

namespace jadce::JADCE_ISA {

namespace {

void gaussian(const Shape& s, const float* z, const float* v, float* h, float* var) {
  const float share = static_cast<float>(s.coefficients) / static_cast<float>(s.subcarriers);
  for (index_t b = 0; b < s.lanes; b += W) {
    const vec noise = load(v + b), gain = gaussian_gain(noise);
    for (index_t p = 0; p < 2 * s.coefficients; ++p) store(h + p * s.lanes + b, gain * load(z + p * s.lanes + b));
    store(var + b, share * noise * gain);
  }
}

void combine(CombineArgs args, index_t task) {
  const Shape& s = args.shape;
  for (index_t i = task * s.together(); i < (task + 1) * s.together(); i += W) {
    const vec keep = kept(args.gamma, load(args.b + i)), take = taken(args.gamma, args.weight, load(args.a + i));
    for (index_t p = 0; p < 2 * s.coefficients; ++p) {
      const index_t at = p * s.lanes + i;
      vec value = keep * load(args.s + at);
      if (args.h) value += take * load(args.h + at);
      store(args.s + at, value);
    }
  }
}

void damp(DampArgs args, index_t task) {
  const Shape& s = args.shape;
  const index_t n = task % s.subcarriers, beam = task / s.subcarriers * s.together();
  for (index_t t = 0; t < s.symbols; ++t) {
    for (index_t half = 0; half < 2; ++half) {
      const index_t at = (n * s.symbols + t) * s.point() + half * s.lanes;
      for (index_t i = beam; i < beam + s.together(); i += W) {
        const vec value = damped(args.gamma, load(args.b + i), load(args.r_b + at + i), load(args.r_pri + at + i));
        store(args.r_pri + at + i, value);
      }
    }
  }
}

}  // namespace

void fill_posterior(KernelTable& table) {
  table.gaussian = gaussian;
  table.combine = combine;
  table.damp = damp;
}

}  // namespace jadce::JADCE_ISA
