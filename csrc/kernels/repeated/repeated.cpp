#include "kernels/repeated/repeated.hpp"

#include "kernels/families.hpp"

namespace jadce::JADCE_ISA {

namespace {

typedef double wide __attribute__((vector_size(8 * W)));
typedef double wide_any __attribute__((vector_size(8 * W), aligned(8), may_alias));

struct Pair {
  wide re, im;
};

JADCE_INLINE void read(const double* p, Pair& a) {
  a.re = *reinterpret_cast<const wide_any*>(p);
  a.im = *reinterpret_cast<const wide_any*>(p + W);
}
JADCE_INLINE void write(double* p, const Pair& a) {
  *reinterpret_cast<wide_any*>(p) = a.re;
  *reinterpret_cast<wide_any*>(p + W) = a.im;
}
JADCE_INLINE void widen(const float* p, wide& a) { a = __builtin_convertvector(load(p), wide); }

// total -= a conj(b).
JADCE_INLINE void less_outer(Pair& total, const Pair& a, const Pair& b) {
  total.re -= a.re * b.re + a.im * b.im;
  total.im -= a.im * b.re - a.re * b.im;
}
// total -= a b.
JADCE_INLINE void less_product(Pair& total, const Pair& a, const Pair& b) {
  total.re -= a.re * b.re - a.im * b.im;
  total.im -= a.im * b.re + a.re * b.im;
}

// Place of entry (i, j), j <= i, of a lower triangle.
JADCE_INLINE index_t entry(index_t i, index_t j) { return (i * (i + 1) / 2 + j) * 2 * W; }

// x = L^-1 x for a column x [T] of W beams.
JADCE_INLINE void substitute(const double* factor, index_t symbols, double* x) {
  for (index_t i = 0; i < symbols; ++i) {
    Pair total, a, b;
    read(x + i * 2 * W, total);
    for (index_t j = 0; j < i; ++j) {
      read(factor + entry(i, j), a);
      read(x + j * 2 * W, b);
      less_product(total, a, b);
    }
    read(factor + entry(i, i), a);
    total.re /= a.re;
    total.im /= a.re;
    write(x + i * 2 * W, total);
  }
}

void repeated_factor(RepeatedFactorArgs args, index_t task) {
  const Shape& s = args.view.shape;
  const index_t blocks = s.lanes / W, p = task / blocks, b = task % blocks * W, symbols = s.symbols;
  double* const factor = args.factor + task * args.view.triangle() * W;
  double* const solved = args.solved + task * args.view.column() * W;
  const double all = static_cast<double>(args.variances.background * args.view.eigenvalue[p]);
  for (index_t i = 0; i < symbols; ++i) {
    for (index_t j = 0; j <= i; ++j) {
      const double* g = args.view.gram + (i * symbols + j) * 2;
      Pair c{};
      c.re += all * g[0] + (i == j ? args.noise : 0.0);
      c.im += all * g[1];
      for (index_t a = 0; a < args.variances.count; ++a) {
        const double* q = args.view.pilots + args.variances.device[a] * symbols * 2;
        const double x = q[2 * i], y = q[2 * i + 1], u = q[2 * j], w = q[2 * j + 1];
        wide variance;
        widen(args.variances.above + (a * s.coefficients + p) * s.lanes + b, variance);
        c.re += variance * (x * u + y * w);
        c.im += variance * (y * u - x * w);
      }
      write(factor + entry(i, j), c);
    }
  }
  for (index_t i = 0; i < symbols; ++i) {
    for (index_t j = 0; j <= i; ++j) {
      Pair total, a, c;
      read(factor + entry(i, j), total);
      for (index_t k = 0; k < j; ++k) {
        read(factor + entry(i, k), a);
        read(factor + entry(j, k), c);
        less_outer(total, a, c);
      }
      if (i == j) {
        for (int lane = 0; lane < W; ++lane) {
          const double pivot = total.re[lane];
          total.re[lane] = __builtin_sqrt(pivot > args.noise ? pivot : args.noise);  // it is at least the noise
        }
        total.im = wide{};
      } else {
        read(factor + entry(j, j), a);
        total.re /= a.re;
        total.im /= a.re;
      }
      write(factor + entry(i, j), total);
    }
  }
  for (index_t t = 0; t < symbols; ++t) {
    const float* y = args.y + (p * symbols + t) * s.point() + b;
    Pair x;
    widen(y, x.re);
    widen(y + s.lanes, x.im);
    write(solved + t * 2 * W, x);
  }
  substitute(factor, symbols, solved);
}

void cavity(const CavityArgs& args, index_t first, index_t count) {
  const Shape& s = args.view.shape;
  const index_t blocks = s.lanes / W, symbols = s.symbols, size = s.coefficients * s.lanes;
  for (index_t task = 0; task < s.coefficients * blocks; ++task) {
    const index_t p = task / blocks, at = p * s.lanes + task % blocks * W;
    const double* const factor = args.factor + task * args.view.triangle() * W;
    const double* const solved = args.solved + task * args.view.column() * W;
    for (index_t i = 0; i < count; ++i) {
      const double* const q = args.view.pilots + (first + i) * symbols * 2;
      for (index_t t = 0; t < symbols; ++t) {
        Pair x{};
        x.re += q[2 * t];
        x.im += q[2 * t + 1];
        write(args.scratch + t * 2 * W, x);
      }
      substitute(factor, symbols, args.scratch);
      wide gain{}, variance{};
      Pair product{};
      for (index_t t = 0; t < symbols; ++t) {
        Pair x, y;
        read(args.scratch + t * 2 * W, x);
        read(solved + t * 2 * W, y);
        gain += x.re * x.re + x.im * x.im;
        product.re += x.re * y.re + x.im * y.im;
        product.im += x.re * y.im - x.im * y.re;
      }
      if (args.above[i]) widen(args.above[i] + at, variance);
      variance += static_cast<double>(args.background * args.view.eigenvalue[p]);
      wide v = 1.0 / gain - variance;
      const wide least = 1e-9 / gain;  // what is left of it in double precision
      v = v > least ? v : least;
      store(args.z + i * 2 * size + at, __builtin_convertvector(product.re / gain, vec));
      store(args.z + (i * 2 + 1) * size + at, __builtin_convertvector(product.im / gain, vec));
      store(args.v + i * size + at, __builtin_convertvector(v, vec));
    }
  }
}

}  // namespace

void fill_repeated(KernelTable& table) {
  table.repeated_factor = repeated_factor;
  table.cavity = cavity;
}

}  // namespace jadce::JADCE_ISA
