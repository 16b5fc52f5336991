#include "kernels/families.hpp"
#include "kernels/fft/fft_simd.hpp"
#include "kernels/posterior/posterior.hpp"

namespace jadce::JADCE_ISA {

namespace {

void beamspace(BeamspaceArgs args, index_t n) {
  const Shape& s = args.shape;
  const float* const rotation = args.rotation;
  float* const out = args.out;
  float* const rows = rotation ? args.scratch : out + (n * s.symbols + args.first) * s.point();
  for (index_t t = 0; t < args.count; ++t) {
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
    const float* u = rotation + ((n * s.symbols + i) * s.symbols + args.first) * 2;
    float* o = out + (n * s.symbols + i) * s.point();
    for (index_t b = 0; b < s.lanes; b += W) {
      cvec total{};
      if (args.first > 0) total = {load(o + b), load(o + s.lanes + b)};
      for (index_t t = 0; t < args.count; ++t) {
        const float* x = rows + t * s.point() + b;
        total = total + turn({load(x), load(x + s.lanes)}, u + 2 * t);
      }
      store(o + b, total.re);
      store(o + s.lanes + b, total.im);
    }
  }
}

template <int N>
struct Number {};

// Calls f for tiles of rows and beams: a number of rows and of vectors of beams, which the registers hold, and the
// first ones.
template <class F>
void tiles(index_t rows, index_t lanes, F f) {
  const auto beams = [&](auto vectors, index_t b) {
    index_t i = 0;
    for (; i + 4 <= rows; i += 4) f(Number<4>{}, vectors, i, b);
    for (; i + 2 <= rows; i += 2) f(Number<2>{}, vectors, i, b);
    if (i < rows) f(Number<1>{}, vectors, i, b);
  };
  index_t b = 0;
  if constexpr (W == 16)
    for (; b + 2 * W <= lanes; b += 2 * W) beams(Number<2>{}, b);
  for (; b < lanes; b += W) beams(Number<1>{}, b);
}

// A complex matrix; strides in floats.
struct Matrix {
  const float* at;
  index_t row, column;
};

// acc[i] = sum over k of w[i, k] x[k], or with `conjugate` of conj(w[i, k]) x[k]. Columns of zeros are passed over if
// there may be many: a basis may be of single subcarriers.
template <bool conjugate, bool sparse, int I, int B>
void product(Matrix w, index_t count, const float* x, index_t step, index_t half, cvec (&acc)[I][B]) {
  for (int i = 0; i < I; ++i)
    for (int j = 0; j < B; ++j) acc[i][j] = cvec{};
  for (index_t k = 0; k < count; ++k, w.at += w.column, x += step) {
    if constexpr (sparse) {
      bool zero = true;
      for (int i = 0; i < I; ++i) zero = zero && w.at[i * w.row] == 0.0f && w.at[i * w.row + 1] == 0.0f;
      if (zero) continue;
    }
    cvec in[B];
    for (int j = 0; j < B; ++j) in[j] = {load(x + j * W), load(x + half + j * W)};
    for (int i = 0; i < I; ++i) {
      const float re = w.at[i * w.row], im = w.at[i * w.row + 1];
      for (int j = 0; j < B; ++j) {
        acc[i][j].re += re * in[j].re;
        acc[i][j].im += re * in[j].im;
        acc[i][j].re = conjugate ? acc[i][j].re + im * in[j].im : acc[i][j].re - im * in[j].im;
        acc[i][j].im = conjugate ? acc[i][j].im - im * in[j].re : acc[i][j].im + im * in[j].re;
      }
    }
  }
}

void correlate(CorrelateArgs args, index_t n) {
  const Shape& s = args.shape;
  tiles(args.count, s.lanes, [&]<int I, int B>(Number<I>, Number<B>, index_t a, index_t b) {
    cvec acc[I][B];
    const Matrix q{args.pilots + n * args.pilots_row + a * s.symbols * 2, s.symbols * 2, 2};
    product<true, false>(q, s.symbols, args.r + n * s.symbols * s.point() + b, s.point(), s.lanes, acc);
    for (int i = 0; i < I; ++i)
      for (int j = 0; j < B; ++j) {
        float* to = args.points + (n * args.count + a + i) * s.point() + b + j * W;
        store(to, acc[i][j].re);
        store(to + s.lanes, acc[i][j].im);
      }
  });
}

void analyse(const TransformView& v, index_t a, index_t count, const float* points, float* z) {
  const Shape& s = v.shape;
  tiles(s.coefficients, s.lanes, [&]<int I, int B>(Number<I>, Number<B>, index_t p, index_t b) {
    cvec acc[I][B];
    const Matrix basis{v.basis + p * 2, 2, s.coefficients * 2};
    product<true, true>(basis, s.subcarriers, points + a * s.point() + b, count * s.point(), s.lanes, acc);
    for (int i = 0; i < I; ++i)
      for (int j = 0; j < B; ++j) {
        store(z + (p + i) * s.lanes + b + j * W, acc[i][j].re);
        store(z + (s.coefficients + p + i) * s.lanes + b + j * W, acc[i][j].im);
      }
  });
}

void synthesise(const TransformView& v, index_t a, index_t count, const float* coefficients, float* points) {
  const Shape& s = v.shape;
  tiles(s.subcarriers, s.lanes, [&]<int I, int B>(Number<I>, Number<B>, index_t n, index_t b) {
    cvec acc[I][B];
    const Matrix basis{v.basis + n * s.coefficients * 2, s.coefficients * 2, 2};
    product<false, true>(basis, s.coefficients, coefficients + b, s.lanes, s.coefficients * s.lanes, acc);
    for (int i = 0; i < I; ++i)
      for (int j = 0; j < B; ++j) {
        float* to = points + ((n + i) * count + a) * s.point() + b + j * W;
        store(to, acc[i][j].re);
        store(to + s.lanes, acc[i][j].im);
      }
  });
}

void residual(ResidualArgs args, index_t n) {
  const Shape& s = args.shape;
  const index_t start = n * s.symbols * s.point();
  for (index_t b = 0; b < s.lanes; b += W) store(args.power + n * s.lanes + b, vec{});
  tiles(s.symbols, s.lanes, [&]<int I, int B>(Number<I>, Number<B>, index_t t, index_t b) {
    cvec acc[I][B];
    const Matrix q{args.pilots + n * args.pilots_row + t * 2, 2, s.symbols * 2};
    product<false, false>(q, args.count, args.points + n * args.count * s.point() + b, s.point(), s.lanes, acc);
    for (int j = 0; j < B; ++j) {
      float* const power = args.power + n * s.lanes + b + j * W;
      vec total = load(power);
      for (int i = 0; i < I; ++i) {
        const float g = args.gram ? args.gram[n * s.symbols + t + i] : 0.0f;
        const index_t at = start + (t + i) * s.point() + b + j * W;
        cvec value = args.y ? cvec{load(args.y + at), load(args.y + at + s.lanes)} : cvec{};
        if (args.r_pri) value = value - cvec{load(args.r_pri + at), load(args.r_pri + at + s.lanes)} * g;
        value = value - acc[i][j];
        store(args.r + at, value.re);
        store(args.r + at + s.lanes, value.im);
        total += value.re * value.re + value.im * value.im;
      }
      store(power, total);
    }
  });
}

void module_a(ModuleAArgs args, index_t n) {
  const Shape& s = args.shape;
  for (index_t t = 0; t < s.symbols; ++t) {
    const float g = args.gram[n * s.symbols + t];
    const index_t at = (n * s.symbols + t) * s.point();
    const float* const prior = args.r_pri + at;
    float* const r = args.r + at;
    for (index_t b = 0; b < s.lanes; b += W) {
      const vec gain = residual_gain(load(args.v + b), g, args.noise, load(args.eta + b));
      store(r + b, load(prior + b) + gain * load(r + b));
      store(r + s.lanes + b, load(prior + s.lanes + b) + gain * load(r + s.lanes + b));
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
  table.correlate = correlate;
  table.analyse = analyse;
  table.synthesise = synthesise;
  table.spread_energy = spread_energy;
  table.channel = channel;
}

}  // namespace jadce::JADCE_ISA
