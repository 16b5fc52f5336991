// Priors as their files hold them (python/jadce_fast/priors/files.py writes and describes them).
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/shapes.hpp"
#include "receiver/denoisers.hpp"
#include "receiver/plan.hpp"

namespace jadce {

// A file that is missing, damaged or none; one that only the Python package reads.
struct FileError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct Unsupported : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A beam network as its file has it: input, then depthwise, expanding and mixing layer of every block, then output.
struct NetworkWeights {
  struct Layer {
    std::vector<float> weight, bias;  // [outputs, inputs], of a depthwise one [channels, taps]; [outputs]
    index_t outputs, inputs;
  };
  std::vector<Layer> layers;
  std::vector<std::int32_t> dilation;  // [blocks]
};

struct Prior {
  index_t subcarriers = 0;
  std::vector<cfloat> basis;                           // [N, P]
  Mixture beams;                                       // eigenvalue, gain, weight
  bool closed_form = false;                            // independent Gaussian entries
  std::vector<std::unique_ptr<BeamNetwork>> networks;  // otherwise one a member, in turn,
  std::vector<NetworkWeights> weights;                 // and what it was made of
};

// `name` is "gaussian", a file, or several joined by '+'; networks are rounded to bfloat16 if `bf16`. Throws FileError
// or Unsupported.
Prior load_prior(const std::string& name, index_t subcarriers, bool bf16);

}  // namespace jadce
