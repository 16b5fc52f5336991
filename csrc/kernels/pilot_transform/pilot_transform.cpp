#include "kernels/families.hpp"
#include "kernels/fft/fft_simd.hpp"
#include "kernels/posterior/posterior.hpp"

namespace jadce::JADCE_ISA {

namespace {

void beamspace(BeamspaceArgs args, index_t n) {
  const Shape& s = args.shape;
  const float* const rotation = args.rotation;
  float* const out = args.out;
  float* const rows = rotation ? args.scratch : out + n * s.symbols * s.point();
  for (index_t t = 0; t < s.symbols; ++t) {
    const float* x = args.y + (t * s.subcarriers + n) * s.antennas * 2;
    for (index_t b = 0; b < s.lanes; b += W) {
      cvec total{};
      for (index_t m = 0; m < s.antennas; ++m) {
        const float* d = args.dft + m * s.point() + b;
        total = total + turn({load(d), load(d + s.lanes)}, x + 2 * m);
      }
      store(rows + t * s.point() + b, total.re);
      store(rows + t * s.point() + s.lanes + b, total.im);
    }
  }
  if (!rotation) return;
  for (index_t i = 0; i < s.symbols; ++i) {
    const float* u = rotation + (n * s.symbols + i) * s.symbols * 2;
    float* o = out + (n * s.symbols + i) * s.point();
    for (index_t b = 0; b < s.lanes; b += W) {
      cvec total{};
      for (index_t t = 0; t < s.symbols; ++t) {
        const float* x = rows + t * s.point() + b;
        total = total + turn({load(x), load(x + s.lanes)}, u + 2 * t);
      }
      store(o + b, total.re);
      store(o + s.lanes + b, total.im);
    }
  }
}

// q[t] of device k on subcarrier n: conjugated values are read, so callers negate the imaginary part where needed.
struct Pilot {
  const TransformView& v;
  index_t k;

  // conj(q[t, n, k]) into w[2].
  void conjugate(index_t n, index_t t, float* w) const {
    if (v.rows) {
      const auto devices = static_cast<std::uint64_t>(v.shape.devices);
      const auto row = static_cast<std::uint64_t>(v.rows[n * v.shape.symbols + t]);
      const float* e = v.twiddle + 2 * (row * static_cast<std::uint64_t>(k) % devices);
      w[0] = e[0];
      w[1] = e[1];
    } else {
      const float* q = v.array + ((n * v.shape.devices + k) * v.shape.symbols + t) * 2;
      w[0] = q[0];
      w[1] = -q[1];
    }
  }
};

void residual(ResidualArgs args, index_t n) {
  const TransformView& v = args.transform;
  const Support& support = args.support;
  const Shape& s = v.shape;
  float* const r = args.r;
  const index_t row = s.symbols * s.point(), start = n * row;
  for (index_t t = 0; t < s.symbols; ++t) {
    const float g = args.gram ? args.gram[n * s.symbols + t] : 0.0f;
    for (index_t i = t * s.point(); i < (t + 1) * s.point(); i += W) {
      vec value = args.y ? load(args.y + start + i) : vec{};
      if (args.r_pri) value -= load(args.r_pri + start + i) * g;
      store(r + start + i, value);
    }
  }
  const float* basis = v.basis + n * s.coefficients * 2;
  for (index_t a = 0; a < support.count; a += kDevices) {  // together, so that r is read and written less often
    const index_t count = support.count - a < kDevices ? support.count - a : kDevices;
    for (index_t i = 0; i < count; ++i) {
      const float* c = support.coefficients + (a + i) * s.channel();
      float* x = args.scratch + i * s.point();
      for (index_t b = 0; b < s.lanes; b += W) {
        cvec total{};
        for (index_t p = 0; p < s.coefficients; ++p) {
          if (basis[2 * p] == 0.0f && basis[2 * p + 1] == 0.0f) continue;
          total =
              total + turn({load(c + p * s.lanes + b), load(c + (s.coefficients + p) * s.lanes + b)}, basis + 2 * p);
        }
        store(x + b, total.re);
        store(x + s.lanes + b, total.im);
      }
    }
    for (index_t t = 0; t < s.symbols; ++t) {
      float q[kDevices][2];
      for (index_t i = 0; i < count; ++i) {
        Pilot{v, support.device[a + i]}.conjugate(n, t, q[i]);
        q[i][1] = -q[i][1];
      }
      float* out = r + start + t * s.point();
      for (index_t b = 0; b < s.lanes; b += W) {
        cvec total{load(out + b), load(out + s.lanes + b)};
        for (index_t i = 0; i < count; ++i) {
          const float* x = args.scratch + i * s.point() + b;
          total = total - turn({load(x), load(x + s.lanes)}, q[i]);
        }
        store(out + b, total.re);
        store(out + s.lanes + b, total.im);
      }
    }
  }
  for (index_t b = 0; b < s.lanes; b += W) {
    vec total{};
    for (index_t t = 0; t < s.symbols; ++t) {
      const float* x = r + start + t * s.point() + b;
      const vec re = load(x), im = load(x + s.lanes);
      total += re * re + im * im;
    }
    store(args.power + n * s.lanes + b, total);
  }
}

void module_a(ModuleAArgs args, index_t n) {
  const Shape& s = args.shape;
  for (index_t t = 0; t < s.symbols; ++t) {
    const float g = args.gram[n * s.symbols + t];
    const index_t at = (n * s.symbols + t) * s.point();
    const float* const r = args.r + at;
    float* const message = args.message + at;
    for (index_t b = 0; b < s.lanes; b += W) {
      const vec gain = residual_gain(load(args.v + b), g, args.noise, load(args.eta + b));
      store(message + b, load(message + b) + gain * load(r + b));
      store(message + s.lanes + b, load(message + s.lanes + b) + gain * load(r + s.lanes + b));
    }
  }
}

// sum_n conj(V[n, p]) r scattered over DFT rows, then the K-point transform: the statistics of W beams, [K, 2, W].
float* spectrum(const TransformView& v, index_t p, index_t b, const float* r, float* scratch) {
  const Shape& s = v.shape;
  float* const x = scratch;
  float* const y = scratch + v.fft.padded * 2 * W;
  for (index_t i = 0; i < s.devices * 2 * W; i += W) store(x + i, vec{});
  for (index_t n = 0; n < s.subcarriers; ++n) {
    const float* e = v.basis + (n * s.coefficients + p) * 2;
    const float w[2] = {v.amplitude * e[0], -v.amplitude * e[1]};
    if (w[0] == 0.0f && w[1] == 0.0f) continue;  // the basis may be of single subcarriers
    const std::int32_t* rows = v.rows + n * s.symbols;
    const float* in = r + n * s.symbols * s.point() + b;
    for (index_t t = 0; t < s.symbols; ++t, in += s.point()) {
      float* o = x + static_cast<index_t>(rows[t]) * 2 * W;
      put(o, get(o, false) + turn({load(in), load(in + s.lanes)}, w));
    }
  }
  return transform(v.fft, x, y);
}

void spectral_energy(const TransformView& v, index_t task, const float* r, const Support& support, float* scratch,
                     float* energy) {
  const Shape& s = v.shape;
  const index_t blocks = s.lanes / W, group = task / blocks, block = task % blocks, b = block * W;
  float* out = energy + task * s.devices * W;
  const index_t first = group * v.merge;
  const index_t last = first + v.merge < s.coefficients ? first + v.merge : s.coefficients;
  for (index_t p = first; p < last; ++p) {
    float* z = spectrum(v, p, b, r, scratch);
    for (index_t a = 0; a < support.count; ++a) {
      const float* c = support.coefficients + a * s.channel() + p * s.lanes + b;
      float* at = z + static_cast<index_t>(support.device[a]) * 2 * W;
      put(at, get(at, false) + cvec{load(c), load(c + s.coefficients * s.lanes)});
    }
    for (index_t k = 0; k < s.devices; ++k) {
      const cvec x = get(z + k * 2 * W, false);
      const vec e = x.re * x.re + x.im * x.im;
      store(out + k * W, p == first ? e : load(out + k * W) + e);
    }
  }
}

void spectral_statistics(const TransformView& v, index_t task, const float* r, float* scratch, float* z) {
  const Shape& s = v.shape;
  const index_t blocks = s.lanes / W, p = task / blocks, b = task % blocks * W;
  const float* x = spectrum(v, p, b, r, scratch);
  for (index_t k = 0; k < s.devices; ++k) {
    float* out = z + k * s.channel() + p * s.lanes + b;
    store(out, load(x + k * 2 * W));
    store(out + s.coefficients * s.lanes, load(x + k * 2 * W + W));
  }
}

// B vectors of beams at a time: their accumulators are independent chains of multiply-adds.
template <int B>
void gather_block(const TransformView& v, index_t k, const float* r, float* z, index_t b) {
  const Shape& s = v.shape;
  const Pilot pilot{v, k};
  const index_t half = s.coefficients * s.lanes;
  for (index_t n = 0; n < s.subcarriers; ++n) {
    cvec acc[B] = {};
    const float* in = r + n * s.symbols * s.point() + b;
    for (index_t t = 0; t < s.symbols; ++t, in += s.point()) {
      float q[2];
      pilot.conjugate(n, t, q);
      for (int i = 0; i < B; ++i) acc[i] = acc[i] + turn({load(in + i * W), load(in + s.lanes + i * W)}, q);
    }
    const float* e = v.basis + n * s.coefficients * 2;
    for (index_t p = 0; p < s.coefficients; ++p) {
      const float w[2] = {e[2 * p], -e[2 * p + 1]};
      if (w[0] == 0.0f && w[1] == 0.0f) continue;  // the basis may be of single subcarriers
      float* out = z + p * s.lanes + b;
      for (int i = 0; i < B; ++i) {
        const cvec x = turn(acc[i], w);
        store(out + i * W, load(out + i * W) + x.re);
        store(out + half + i * W, load(out + half + i * W) + x.im);
      }
    }
  }
}

void gather(const TransformView& v, index_t k, const float* r, float* z) {
  for (index_t i = 0; i < v.shape.channel(); i += W) store(z + i, vec{});
  index_t b = 0;
  for (; b + 2 * W <= v.shape.lanes; b += 2 * W) gather_block<2>(v, k, r, z, b);
  for (; b < v.shape.lanes; b += W) gather_block<1>(v, k, r, z, b);
}

void spread_energy(const TransformView& v, index_t k, const float* z, float* energy) {
  const Shape& s = v.shape;
  const index_t blocks = s.lanes / W, half = s.coefficients * s.lanes;
  for (index_t block = 0; block < blocks; ++block) {
    for (index_t p = 0; p < s.coefficients; ++p) {
      const float* x = z + p * s.lanes + block * W;
      const vec re = load(x), im = load(x + half), e = re * re + im * im;
      float* out = energy + ((p / v.merge * blocks + block) * s.devices + k) * W;
      store(out, p % v.merge == 0 ? e : load(out) + e);
    }
  }
}

void channel(const TransformView& v, const float* h, float scale, const float* dft, float* scratch, float* out) {
  const Shape& s = v.shape;
  const index_t half = s.coefficients * s.lanes;
  for (index_t n = 0; n < s.subcarriers; ++n) {
    const float* e = v.basis + n * s.coefficients * 2;
    for (index_t b = 0; b < s.lanes; b += W) {
      cvec x{};
      for (index_t p = 0; p < s.coefficients; ++p) {
        if (e[2 * p] == 0.0f && e[2 * p + 1] == 0.0f) continue;
        x = x + turn({load(h + p * s.lanes + b), load(h + half + p * s.lanes + b)}, e + 2 * p);
      }
      store(scratch + b, x.re);
      store(scratch + s.lanes + b, x.im);
    }
    for (index_t m = 0; m < s.lanes; m += W) {
      cvec x{};
      for (index_t b = 0; b < s.antennas; ++b) {
        const float w[2] = {scale * scratch[b], scale * scratch[s.lanes + b]};
        const float* d = dft + b * s.point() + m;
        x = x + turn({load(d), -load(d + s.lanes)}, w);
      }
      for (index_t i = 0; i < W && m + i < s.antennas; ++i) {
        out[(n * s.antennas + m + i) * 2] = x.re[i];
        out[(n * s.antennas + m + i) * 2 + 1] = x.im[i];
      }
    }
  }
}

}  // namespace

void fill_pilot_transform(KernelTable& table) {
  table.beamspace = beamspace;
  table.residual = residual;
  table.module_a = module_a;
  table.spectral_energy = spectral_energy;
  table.spectral_statistics = spectral_statistics;
  table.gather = gather;
  table.spread_energy = spread_energy;
  table.channel = channel;
}

}  // namespace jadce::JADCE_ISA
