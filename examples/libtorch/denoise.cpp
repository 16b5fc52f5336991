// Estimates channels by a prior that `jadce export` wrote: denoise PRIOR.pt RECEIVED.pt NOISE_VAR CHANNELS.pt
//
// RECEIVED.pt holds a tensor of torch.save, complex (A, N, M): channels of unit mean power over subcarriers and
// antennas in white noise of NOISE_VAR an entry. CHANNELS.pt is for torch.load. All that is known of channels is in
// PRIOR.pt.
#include <torch/script.h>

#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

torch::Tensor read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + ": expected a tensor, found no such file");
  const std::vector<char> content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return torch::jit::pickle_load(content).toTensor().to(torch::kComplexFloat);
}

void write(const std::string& path, const torch::Tensor& tensor) {
  const std::vector<char> content = torch::jit::pickle_save(tensor);
  std::ofstream file(path, std::ios::binary);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  if (!file.flush()) throw std::runtime_error(path + ": could not be written");
}

}  // namespace

int main(int count, char** words) {
  if (count != 5) {
    std::fprintf(stderr, "usage: denoise PRIOR.pt RECEIVED.pt NOISE_VAR CHANNELS.pt\n");
    return 2;
  }
  try {
    const torch::InferenceMode guard;
    torch::jit::Module prior = torch::jit::load(words[1]);
    prior.eval();
    const torch::Tensor basis = prior.attr("basis").toTensor();  // (N, P)
    const bool beamspace = prior.attr("beamspace").toBool();
    torch::Tensor y = read(words[2]);
    if (y.dim() != 3 || y.size(1) != basis.size(0))
      throw std::runtime_error(std::string(words[2]) + ": expected (A, N, M) with N of the prior, " +
                               std::to_string(basis.size(0)));
    // Coefficients in the basis, of beams or of antennas: P real parts, then P imaginary parts.
    if (beamspace) y = torch::fft_fft(y, c10::nullopt, -1, "ortho");
    const torch::Tensor z = torch::matmul(basis.mH(), y);
    const torch::Tensor parts = torch::cat({torch::real(z), torch::imag(z)}, 1);
    const torch::Tensor noise = torch::full({y.size(0), y.size(2)}, std::stof(words[3]));
    const auto found = prior.forward({parts, noise}).toTuple();
    const auto mean = found->elements()[0].toTensor().chunk(2, 1);
    const torch::Tensor var = found->elements()[1].toTensor();  // (A, M), summed over coefficients, over N
    torch::Tensor h = torch::matmul(basis, torch::complex(mean[0], mean[1]));
    if (beamspace) h = torch::fft_ifft(h, c10::nullopt, -1, "ortho");
    write(words[4], h);
    std::printf("%lld channels, %lld subcarriers, %lld antennas, expected error %.6f\n",
                static_cast<long long>(h.size(0)), static_cast<long long>(h.size(1)), static_cast<long long>(h.size(2)),
                var.mean().item<double>());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "denoise: %s\n", error.what());
    return 1;
  }
  return 0;
}
