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

}  // namespace

void check_child(void* child) {
  cudaGraph_t graph = nullptr;
  check(cudaGraphCreate(&graph, 0), "cudaGraphCreate");
  cudaGraphNode_t node = nullptr;
  const cudaError_t error = cudaGraphAddChildGraphNode(&node, graph, nullptr, 0, static_cast<cudaGraph_t>(child));
  cudaGraphDestroy(graph);
  check(error, "cudaGraphAddChildGraphNode");
}

Graph::Graph(bool overlapping) {
  int device = 0, major = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
  overlapping_ = overlapping && major >= 9;
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  const cudaError_t error = cudaStreamCreateWithFlags(&body_, cudaStreamNonBlocking);
  if (error != cudaSuccess) cudaStreamDestroy(stream_);  // no destructor follows
  check(error, "cudaStreamCreate");
}

Graph::~Graph() {
  overlap = Overlap::kNever;
  // Streams of a recording that was given up still record. The inner one, whose graph the outer one owns, ends first.
  cudaGraph_t body = nullptr;
  if (inside_) cudaStreamEndCapture(body_, &body);
  if (recording_) cudaStreamEndCapture(stream_, &graph_);
  if (exec_) cudaGraphExecDestroy(exec_);
  if (graph_) cudaGraphDestroy(graph_);
  if (body_) cudaStreamDestroy(body_);
  if (stream_) cudaStreamDestroy(stream_);
}

void Graph::overlap_from_next() const { overlap = overlapping_ ? Overlap::kFromNext : Overlap::kNever; }

void* Graph::begin() {
  // In this mode other threads may go on using the device meanwhile.
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  recording_ = true;
  overlap_from_next();
  return stream_;
}

Graph::Added Graph::add_conditional(cudaStream_t stream, cudaGraphConditionalNodeType type, unsigned initial) {
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

std::pair<void*, std::uint64_t> Graph::open_loop() {
  const auto [handle, body] = add_conditional(stream_, cudaGraphCondTypeWhile, 1);
  check(cudaStreamBeginCaptureToGraph(body_, body, nullptr, nullptr, 0, cudaStreamCaptureModeThreadLocal),
        "cudaStreamBeginCaptureToGraph");
  inside_ = true;
  overlap_from_next();
  return {body_, handle};
}

std::uint64_t Graph::add_if(void* child) {
  const auto [handle, body] = add_conditional(body_, cudaGraphCondTypeIf, 0);
  cudaGraphNode_t node = nullptr;
  check(cudaGraphAddChildGraphNode(&node, body, nullptr, 0, static_cast<cudaGraph_t>(child)),
        "cudaGraphAddChildGraphNode");
  overlap_from_next();
  return handle;
}

void Graph::close_loop() {
  inside_ = false;
  cudaGraph_t body = nullptr;
  check(cudaStreamEndCapture(body_, &body), "cudaStreamEndCapture");
  overlap_from_next();
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
