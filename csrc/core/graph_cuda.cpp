#include "core/graph_cuda.hpp"

#include <stdexcept>
#include <string>

#include "core/launch.hpp"

#if defined(CUDART_VERSION) && CUDART_VERSION < 13000  // CUDA 12.4 to 12.9 have them under these names
#undef cudaStreamGetCaptureInfo                        // has a name already, of an older form
#define cudaGraphAddNode cudaGraphAddNode_v2
#define cudaStreamGetCaptureInfo cudaStreamGetCaptureInfo_v3
#define cudaStreamUpdateCaptureDependencies cudaStreamUpdateCaptureDependencies_v2
#endif

namespace jadce::cuda {

namespace {

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

// Whether kernels may overlap on the current device.
bool overlaps(bool wanted) {
  int device = 0, major = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
  return wanted && major >= 9;
}

void overlap_from_next(bool overlapping) { overlap = overlapping ? Overlap::kFromNext : Overlap::kNever; }

struct Added {
  cudaGraphConditionalHandle handle;
  cudaGraph_t body;
};

// Adds a conditional node after all that `stream` has recorded.
Added add_conditional(cudaStream_t stream, cudaGraphConditionalNodeType type, unsigned initial) {
  cudaStreamCaptureStatus status{};
  cudaGraph_t graph = nullptr;
  const cudaGraphNode_t* before = nullptr;
  const cudaGraphEdgeData* edges = nullptr;
  std::size_t count = 0;
  check(cudaStreamGetCaptureInfo(stream, &status, nullptr, &graph, &before, &edges, &count),
        "cudaStreamGetCaptureInfo");
  cudaGraphConditionalHandle handle = 0;
  check(cudaGraphConditionalHandleCreate(&handle, graph, initial, cudaGraphCondAssignDefault),
        "cudaGraphConditionalHandleCreate");
  cudaGraphNodeParams parameters{};
  parameters.type = cudaGraphNodeTypeConditional;
  parameters.conditional.handle = handle;
  parameters.conditional.type = type;
  parameters.conditional.size = 1;
  cudaGraphNode_t node = nullptr;
  check(cudaGraphAddNode(&node, graph, before, edges, count, &parameters), "cudaGraphAddNode");
  check(cudaStreamUpdateCaptureDependencies(stream, &node, nullptr, 1, cudaStreamSetCaptureDependencies),
        "cudaStreamUpdateCaptureDependencies");
  return {handle, parameters.conditional.phGraph_out[0]};
}

}  // namespace

void check_child(void* child) {
  cudaGraph_t graph = nullptr;
  check(cudaGraphCreate(&graph, 0), "cudaGraphCreate");
  cudaGraphNode_t node = nullptr;
  const cudaError_t error = cudaGraphAddChildGraphNode(&node, graph, nullptr, 0, static_cast<cudaGraph_t>(child));
  cudaGraphDestroy(graph);
  check(error, "cudaGraphAddChildGraphNode");
}

Overlapping::Overlapping(bool wanted) { overlap_from_next(overlaps(wanted)); }
Overlapping::~Overlapping() { overlap = Overlap::kNever; }

Loop::Loop(bool overlapping) : overlapping_(overlaps(overlapping)) {
  check(cudaStreamCreateWithFlags(&body_, cudaStreamNonBlocking), "cudaStreamCreate");
}

Loop::~Loop() {
  cudaGraph_t body = nullptr;
  if (inside_) cudaStreamEndCapture(body_, &body);  // a recording that was given up
  cudaStreamDestroy(body_);
}

std::pair<void*, std::uint64_t> Loop::open(void* stream) {
  const auto [handle, body] = add_conditional(static_cast<cudaStream_t>(stream), cudaGraphCondTypeWhile, 1);
  // In this mode other threads may go on using the device meanwhile.
  check(cudaStreamBeginCaptureToGraph(body_, body, nullptr, nullptr, 0, cudaStreamCaptureModeThreadLocal),
        "cudaStreamBeginCaptureToGraph");
  inside_ = true;
  overlap_from_next(overlapping_);
  return {body_, handle};
}

std::uint64_t Loop::add_if(void* child) {
  const auto [handle, body] = add_conditional(body_, cudaGraphCondTypeIf, 0);
  cudaGraphNode_t node = nullptr;
  check(cudaGraphAddChildGraphNode(&node, body, nullptr, 0, static_cast<cudaGraph_t>(child)),
        "cudaGraphAddChildGraphNode");
  overlap_from_next(overlapping_);
  return handle;
}

void Loop::close() {
  inside_ = false;
  cudaGraph_t body = nullptr;
  check(cudaStreamEndCapture(body_, &body), "cudaStreamEndCapture");
  overlap_from_next(overlapping_);
}

Graph::Graph(bool overlapping) : overlapping_(overlaps(overlapping)) {
  loop_.emplace(overlapping);
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
}

Graph::~Graph() {
  overlap = Overlap::kNever;
  // Streams of a recording that was given up still record. The inner one, whose graph the outer one owns, ends first.
  loop_.reset();
  if (recording_) cudaStreamEndCapture(stream_, &graph_);
  if (exec_) cudaGraphExecDestroy(exec_);
  if (graph_) cudaGraphDestroy(graph_);
  if (stream_) cudaStreamDestroy(stream_);
}

void* Graph::begin() {
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  recording_ = true;
  overlap_from_next(overlapping_);
  return stream_;
}

void Graph::end() {
  recording_ = false;
  overlap = Overlap::kNever;
  check(cudaStreamEndCapture(stream_, &graph_), "cudaStreamEndCapture");
  check(cudaGraphInstantiate(&exec_, graph_, 0), "cudaGraphInstantiate");
}

void Graph::launch(void* stream) const {
  check(cudaGraphLaunch(exec_, static_cast<cudaStream_t>(stream)), "cudaGraphLaunch");
}

}  // namespace jadce::cuda
