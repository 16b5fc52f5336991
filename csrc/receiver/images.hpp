// Images that a base station's radio makes of devices: mirror images by an imbalance of I and Q, and a constant offset.
// The model explains them as devices of their own where pilots are closed under conjugation, as DFT sequences are: the
// conjugate of device k is device K - k, and what is constant is device 0. They are known by their channels.
#pragma once

#include <array>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/shapes.hpp"

namespace jadce {

// What of the pilots tells which devices may be images of others; planned once.
class Images {
 public:
  // Rows [T, N] of a partial DFT, or any pilots [T, N, K]; the shape's T, N, K, M.
  Images(const std::int32_t* rows, const Shape& shape);
  Images(const cfloat* pilots, const Shape& shape);

  const Shape& shape() const { return shape_; }
  // Place of the active device [count] whose pilot is the image of that of the one at place `own`, -1 if none is.
  // Images are on the same subcarriers, or with `flip` on mirrored ones.
  index_t partner(bool flip, const std::int32_t* active, index_t count, index_t own) const;
  // Whether a device's pilot is constant.
  bool is_constant(std::int32_t device) const { return is_constant_[static_cast<std::size_t>(device)] != 0; }

 private:
  bool are_alike(const cfloat* own, const cfloat* other, double& alike) const;

  const Shape shape_;
  bool by_row_, mirrors_;                      // DFT pilots, which are the same on mirrored subcarriers
  index_t samples_ = 0;                        // of other pilots
  std::array<std::vector<cfloat>, 2> sample_;  // [K, samples] normalised, and those of mirrored subcarriers
  std::vector<unsigned char> is_constant_;     // [K]
};

// A search among active devices, and what it found. Nothing is allocated for as many as `most` of them.
class ImageSearch {
 public:
  ImageSearch(const Images& images, index_t most);

  // Channel [N, M] of an active device, named by its place among them, as it lies in memory or written to one of the
  // two places 0 and 1, where it is valid until the next call for that place.
  using Channel = std::function<const cfloat*(index_t row, int place)>;

  // Looks for images among active devices [count], ascending; true if there are any. Channels are not asked for where
  // no pilot is the image of another one.
  bool find(const std::int32_t* active, index_t count, const Channel& channel);
  // Places of devices whose channels find() asks for; only if there are images it asks for those of others too.
  std::vector<index_t> suspects(const std::int32_t* active, index_t count);
  // Devices that look like mirror images of others, and like a constant offset; of the last search, ascending.
  const std::vector<std::int32_t>& mirrored() const { return mirrored_; }
  const std::vector<std::int32_t>& constant() const { return constant_; }

 private:
  // Rows of a device and of the one whose image its pilot is; what is known of a pair where it is the weaker one.
  struct Pair {
    index_t own, other;
    double weak, strong;  // energies of the channels
    bool one_gain;        // one gain at all antennas explains it,
    bool gains;           // or one of every antenna
  };

  void pair(bool flip, const std::int32_t* active, index_t count);
  void compare(Pair& pair, bool flip, index_t place, const Channel& channel);
  bool is_like_others(index_t place) const;
  double flat_part(const cfloat* h);
  bool is_offset(const cfloat* h);

  const Images& images_;
  const Shape& shape_;
  std::vector<Pair> pairs_;
  std::vector<double> power_;                // [pairs, M] of the stronger device at every antenna
  std::vector<std::complex<double>> gains_;  // [pairs, M] of the weaker over the stronger one, normalised
  std::vector<std::complex<double>> mean_;   // [M] of a channel over subcarriers
  struct Seen {
    std::int32_t device;
    double power;  // of the device that it is an image of
  };
  std::vector<Seen> seen_;
  std::vector<std::int32_t> mirrored_, constant_;
};

}  // namespace jadce
