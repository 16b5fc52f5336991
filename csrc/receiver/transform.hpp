// Pilots, KLT basis, transform plan, threads and scratch of one receiver or one call of an operation: planned once.
#pragma once

#include <memory>
#include <vector>

#include "core/aligned.hpp"
#include "core/fork_mutex.hpp"
#include "core/thread_pool.hpp"
#include "kernels/table.hpp"

namespace jadce {

class Transform {
 public:
  // Without `beamspace` the antennas themselves stand for beams.
  // rows [N, T] or array [N, K, T] (one of the two is null); basis [N, P]. `isa` null: the best of this processor.
  Transform(Shape shape, const std::int32_t* rows, float amplitude, const cfloat* array, const cfloat* basis,
            index_t merge, bool beamspace, int threads, const char* isa);

  const Shape& shape() const { return shape_; }
  const TransformView& view() const { return view_; }
  const KernelTable& kernels() const { return kernels_; }
  ThreadPool& pool() { return pool_; }
  // Threads, scratch and hence every operation serve one caller at a time.
  ForkMutex& mutex() { return mutex_; }
  float* scratch(int thread) { return scratch_[static_cast<std::size_t>(thread)].get(); }
  const float* dft() const { return dft_.get(); }
  index_t energy_size() const { return view_.groups() * shape_.lanes * shape_.devices; }

  // y [T, N, M] -> out [N, T, 2, Mp]; rotation [N, T, T] or null.
  void beamspace(const cfloat* y, const cfloat* rotation, float* out);
  // Energies of all devices for r [N, T, 2, Mp]; kernels().spectral_energy documents the layout.
  void energy(const float* r, const Support& support, float* energy);
  // Statistics of some devices by direct correlation -> z [count, 2 P, Mp].
  void gather(const float* r, const std::int32_t* device, index_t count, float* z);
  // Statistics of all devices by the spectral method (partial-DFT pilots) -> z [K, 2 P, Mp].
  void statistics(const float* r, float* z);
  // r = y - gram R - Q S; power [N, Mp].
  void residual(const float* y, const float* gram, const float* r_pri, const Support& support, float* r, float* power);

 private:
  static constexpr index_t kKnown = 512;  // devices whose pilots are kept

  void know(const std::int32_t* device, index_t count);
  void correlate(const float* r, index_t some, const float* pilots, index_t row, float* z);
  template <class F>
  void in_parts(const std::int32_t* device, index_t count, F f);

  Shape shape_;
  const KernelTable& kernels_;
  ThreadPool pool_;
  ForkMutex mutex_;
  FftPlan fft_;
  std::vector<std::int32_t> rows_;
  std::vector<cfloat> twiddle_, array_, basis_;
  std::vector<std::int32_t> known_;   // devices of pilots_
  Floats pilots_;                     // [N, kKnown, T, 2], as many as are known
  Floats dft_, points_, statistics_;  // points_ [N, kTogether, 2, Mp], statistics_ [kTogether, 2 P, Mp]
  std::vector<Floats> scratch_;
  TransformView view_;
};

}  // namespace jadce
