#include "capi/prior.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "capi/json.hpp"

namespace jadce {

static_assert(std::endian::native == std::endian::little, "files are in little-endian order");

namespace {

constexpr std::int64_t kLongest = std::int64_t{1} << 40;  // of a tensor's side, far beyond any file
constexpr double kAlike = 1e-6;                           // difference of the statistics of a cascade's members

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

// The header and the bytes of a .safetensors file: the length of the header, the header, tensors without gaps.
class Tensors {
 public:
  explicit Tensors(const std::string& path) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) throw FileError("no such file");
    std::ifstream file(path, std::ios::binary);
    std::string bytes(std::istreambuf_iterator<char>(file), {});
    std::uint64_t length = 0;
    if (!file || bytes.size() < sizeof length) throw std::invalid_argument("no header");
    std::memcpy(&length, bytes.data(), sizeof length);
    if (length > bytes.size() - sizeof length) throw std::invalid_argument("a header that is longer than the file");
    header_ = Json::parse(std::string_view(bytes).substr(sizeof length, length));
    data_ = bytes.substr(sizeof length + length);
  }

  const Json& metadata() const { return header_["__metadata__"]; }

  // A tensor of single precision and this shape, whose numbers are finite; a side of -1 is whatever it is.
  std::vector<float> read(const std::string& name, std::vector<index_t> shape) const {
    const Json& tensor = header_[name];
    if (tensor["dtype"].text("dtype") != "F32") throw std::invalid_argument(name + " that is not of type F32");
    const std::vector<Json>& sides = tensor["shape"].list("shape");
    const std::vector<Json>& offsets = tensor["data_offsets"].list("data_offsets");
    if (sides.size() != shape.size() || offsets.size() != 2) throw std::invalid_argument(name + " of another rank");
    const index_t size = static_cast<index_t>(data_.size());
    const index_t begin = offsets[0].integer("data_offsets", 0, size),
                  end = offsets[1].integer("data_offsets", 0, size);
    const index_t count = (end - begin) / static_cast<index_t>(sizeof(float));
    index_t expected = 1;
    for (std::size_t i = 0; i < sides.size(); ++i) {
      const index_t side = sides[i].integer("shape", 1, kLongest);
      if (shape[i] >= 0 && side != shape[i]) throw std::invalid_argument(name + " of another shape");
      if (side > count) throw std::invalid_argument(name + " with fewer bytes than its shape needs");
      expected *= side;  // at most kLongest squared would do harm, and `count` is no more than the file's size
      if (expected > count) throw std::invalid_argument(name + " with fewer bytes than its shape needs");
    }
    if (end - begin != expected * static_cast<index_t>(sizeof(float)))
      throw std::invalid_argument(name + " with more bytes than its shape needs");
    std::vector<float> values(at(expected));
    std::memcpy(values.data(), data_.data() + begin, values.size() * sizeof(float));
    if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); }))
      throw std::invalid_argument(name + " with numbers that are not finite");
    return values;
  }

 private:
  Json header_;
  std::string data_;
};

void need_positive(const char* name, const std::vector<float>& values) {
  if (!std::all_of(values.begin(), values.end(), [](float x) { return x > 0; }))
    throw std::invalid_argument(std::string(name) + " that is not positive");
}

index_t whole(const Json& metadata, const std::string& name) {
  return Json::parse(metadata[name].text(name.c_str())).integer(name.c_str(), 1, 1 << 20);
}

// Adds the network of one member, whose tensors have names with this prefix.
void read_network(const Tensors& file, const std::string& prefix, const Json& architecture, bool bf16, Prior& prior) {
  constexpr std::int64_t kMost = 1 << 20;  // tensors of that size are compared with the file's in any case
  const index_t p = static_cast<index_t>(prior.beams.eigenvalue.size());
  const index_t width = architecture["width"].integer("width", 1, kMost);
  const index_t hidden = architecture["hidden"].integer("hidden", 1, kMost);
  const index_t blocks = architecture["blocks"].integer("blocks", 1, kMost);
  const index_t taps = architecture["taps"].integer("taps", 1, 2 * kHalo + 1);
  const std::vector<Json>& dilations = architecture["dilations"].list("dilations");
  if (dilations.empty()) throw std::invalid_argument("no dilations");
  NetworkWeights weights;
  const auto layer = [&](const std::string& name, index_t outputs, index_t inputs) {
    weights.layers.push_back({file.read(prefix + "network." + name + ".weight", {outputs, inputs}),
                              file.read(prefix + "network." + name + ".bias", {outputs}), outputs, inputs});
  };
  layer("inp", width, 3 * p + 1);
  for (index_t i = 0; i < blocks; ++i) {
    const std::string block = "body." + std::to_string(i) + ".";
    layer(block + "depthwise", width, taps);
    layer(block + "expand", hidden, width);
    layer(block + "mix", width, hidden);
    const Json& distance = dilations[at(i) % dilations.size()];
    weights.dilation.push_back(static_cast<std::int32_t>(distance.integer("dilations", 1, kFurthest)));
  }
  layer("out", 2 * p + 1, width);
  std::vector<Layer> layers;
  for (const NetworkWeights::Layer& x : weights.layers)
    layers.push_back({x.weight.data(), x.bias.data(), x.outputs, x.inputs});
  prior.networks.push_back(
      std::make_unique<BeamNetwork>(prior.subcarriers, taps, weights.dilation, prior.beams.eigenvalue, layers, bf16));
  prior.weights.push_back(std::move(weights));
}

// The members of one file, each as a prior of its own.
void read_members(const Tensors& file, const Json& metadata, const std::string& prefix, bool bf16,
                  std::vector<Prior>& members) {
  const auto kind = metadata.object.find(prefix + "network");
  const std::string network = kind == metadata.object.end() ? "beam" : kind->second.text("network");
  if (network == "cascade") {
    if (!prefix.empty()) throw std::invalid_argument("a cascade within a cascade");
    const index_t count = whole(metadata, "members");
    for (index_t i = 0; i < count; ++i) read_members(file, metadata, std::to_string(i) + ".", bf16, members);
    return;
  }
  if (network == "ncsn" || network == "cell")
    throw Unsupported("a network of kind '" + network + "', which has no native kernel");
  if (network != "beam") throw std::invalid_argument("a network of unknown kind '" + network + "'");
  Prior prior;
  prior.subcarriers = whole(metadata, prefix + "subcarriers");
  prior.beams.eigenvalue = file.read(prefix + "network.eigenvalues", {-1});
  const index_t p = static_cast<index_t>(prior.beams.eigenvalue.size());
  if (p > prior.subcarriers) throw std::invalid_argument("more coefficients than subcarriers");
  const std::vector<float> real = file.read(prefix + "basis.real", {prior.subcarriers, p});
  const std::vector<float> imag = file.read(prefix + "basis.imag", {prior.subcarriers, p});
  for (std::size_t i = 0; i < real.size(); ++i) prior.basis.emplace_back(real[i], imag[i]);
  prior.beams.gain = file.read(prefix + "beam_gain", {-1});
  prior.beams.weight = file.read(prefix + "beam_weight", {static_cast<index_t>(prior.beams.gain.size())});
  need_positive("eigenvalues", prior.beams.eigenvalue);
  need_positive("beam_gain", prior.beams.gain);
  need_positive("beam_weight", prior.beams.weight);
  const Json architecture = Json::parse(metadata[prefix + "architecture"].text("architecture"));
  if (architecture.object.contains("rows")) throw Unsupported("a network for panels, which the Python package has");
  read_network(file, prefix, architecture, bf16, prior);
  members.push_back(std::move(prior));
}

void read_file(const std::string& path, bool bf16, std::vector<Prior>& members) {
  const std::string where = "prior: expected a jadce-prior file, found '" + path + "', ";
  try {
    const Tensors file(path);
    const Json& metadata = file.metadata();
    if (metadata["format"].text("format") != "jadce-prior") throw std::invalid_argument("another format");
    if (metadata["version"].text("version") != "1") throw std::invalid_argument("a version that is not 1");
    read_members(file, metadata, "", bf16, members);
  } catch (const std::invalid_argument& error) {
    throw FileError(where + "a damaged one: " + error.what());
  } catch (const FileError& error) {
    throw FileError(where + error.what());
  } catch (const Unsupported& error) {
    throw Unsupported(where + error.what());
  }
}

template <class T>
bool alike(const std::vector<T>& one, const std::vector<T>& other) {
  double most = 0, difference = 0;
  if (one.size() != other.size()) return false;
  for (std::size_t i = 0; i < one.size(); ++i) {
    most = std::max(most, static_cast<double>(std::abs(one[i])));
    difference = std::max(difference, static_cast<double>(std::abs(one[i] - other[i])));
  }
  return difference <= kAlike * most;
}

Prior gaussian(index_t subcarriers) {
  Prior prior;
  prior.subcarriers = subcarriers;
  prior.closed_form = true;
  prior.basis.resize(at(subcarriers * subcarriers));
  for (index_t n = 0; n < subcarriers; ++n) prior.basis[at(n * subcarriers + n)] = 1;
  prior.beams.eigenvalue.assign(at(subcarriers), 1);
  prior.beams.gain = prior.beams.weight = {1};
  return prior;
}

}  // namespace

Prior load_prior(const std::string& name, index_t subcarriers, bool bf16) {
  if (name == "gaussian") return gaussian(subcarriers);
  if (name == "auto" || name == "beams")
    throw Unsupported("prior: expected a file or \"gaussian\", found \"" + name + "\", which the Python package has");
  std::vector<Prior> members;
  std::error_code error;
  if (name.find('+') == std::string::npos || std::filesystem::is_regular_file(name, error)) {
    read_file(name, bf16, members);
  } else {
    for (std::size_t begin = 0, end = 0; begin <= name.size(); begin = end + 1) {
      end = std::min(name.find('+', begin), name.size());
      read_file(name.substr(begin, end - begin), bf16, members);
    }
  }
  Prior prior = std::move(members.front());
  for (std::size_t i = 1; i < members.size(); ++i) {
    Prior& other = members[i];
    if (other.subcarriers != prior.subcarriers || !alike(other.basis, prior.basis) ||
        !alike(other.beams.eigenvalue, prior.beams.eigenvalue) || !alike(other.beams.gain, prior.beams.gain) ||
        !alike(other.beams.weight, prior.beams.weight))
      throw FileError("prior: expected members with one basis and one mixture of beam powers, found others in '" +
                      name + "'");
    prior.networks.push_back(std::move(other.networks.front()));
    prior.weights.push_back(std::move(other.weights.front()));
  }
  if (prior.subcarriers != subcarriers)
    throw FileError("prior: expected one for " + std::to_string(subcarriers) + " subcarriers like the pilots, found " +
                    std::to_string(prior.subcarriers) + " in '" + name + "'");
  return prior;
}

}  // namespace jadce
