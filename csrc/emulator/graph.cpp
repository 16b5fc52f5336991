#include <deque>
#include <memory>
#include <vector>

#include "emulator/cuda_runtime.h"

namespace {

constexpr int kMostRounds = 10000;  // passes of a loop that no test needs

struct Conditional {
  unsigned value, initial;
};

}  // namespace

struct EmulatedGraph {
  std::vector<std::function<bool()>> work;
  std::deque<Conditional> conditionals;
  std::vector<std::unique_ptr<EmulatedGraph>> bodies;
  std::vector<cudaGraph_t> body_addresses;

  void reset() {
    for (Conditional& c : conditionals) c.value = c.initial;
    for (const auto& body : bodies) body->reset();
  }
  bool run() const {
    for (const auto& step : work)
      if (!step()) return false;
    return true;
  }
};

struct EmulatedStream {
  EmulatedGraph* captured = nullptr;
};

namespace jadce::emulator {

bool submit(void* stream, std::function<bool()> work) {
  EmulatedStream* const s = static_cast<EmulatedStream*>(stream);
  if (s == nullptr || s->captured == nullptr) return work();
  s->captured->work.push_back(std::move(work));
  return true;
}

void* graph_of(std::function<bool()> work) {
  auto* const graph = new EmulatedGraph;
  graph->work.push_back(std::move(work));
  return graph;
}

}  // namespace jadce::emulator

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new EmulatedStream;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream->captured) return cudaErrorInvalidValue;
  stream->captured = new EmulatedGraph;
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t stream, cudaGraph_t graph, const cudaGraphNode_t*,
                                          const cudaGraphEdgeData*, std::size_t, cudaStreamCaptureMode) {
  if (stream->captured) return cudaErrorInvalidValue;
  stream->captured = graph;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (!stream->captured) return cudaErrorInvalidValue;
  *graph = stream->captured;
  stream->captured = nullptr;
  return cudaSuccess;
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long*,
                                     cudaGraph_t* graph, const cudaGraphNode_t**, const cudaGraphEdgeData**,
                                     std::size_t*) {
  *status = stream->captured ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  *graph = stream->captured;
  return stream->captured ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = stream && stream->captured ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t stream, cudaGraphNode_t*, const cudaGraphEdgeData*,
                                                std::size_t, unsigned) {
  return stream->captured ? cudaSuccess : cudaErrorInvalidValue;  // all work is in order already
}

cudaError_t cudaGraphConditionalHandleCreate(cudaGraphConditionalHandle* handle, cudaGraph_t graph, unsigned initial,
                                             unsigned) {
  graph->conditionals.push_back({initial, initial});
  *handle = reinterpret_cast<cudaGraphConditionalHandle>(&graph->conditionals.back());
  return cudaSuccess;
}

void cudaGraphSetConditional(cudaGraphConditionalHandle handle, unsigned value) {
  reinterpret_cast<Conditional*>(handle)->value = value;
}

cudaError_t cudaGraphAddNode(cudaGraphNode_t*, cudaGraph_t graph, const cudaGraphNode_t*, const cudaGraphEdgeData*,
                             std::size_t, cudaGraphNodeParams* parameters) {
  graph->bodies.push_back(std::make_unique<EmulatedGraph>());
  EmulatedGraph* const body = graph->bodies.back().get();
  graph->body_addresses = {body};
  parameters->conditional.phGraph_out = graph->body_addresses.data();
  const auto* const condition = reinterpret_cast<const Conditional*>(parameters->conditional.handle);
  const bool once = parameters->conditional.type == cudaGraphCondTypeIf;
  graph->work.push_back([body, condition, once] {
    for (int rounds = 0; condition->value != 0; ++rounds) {
      if (!body->run() || rounds > kMostRounds) return false;
      if (once) return true;
    }
    return true;
  });
  return cudaSuccess;
}

cudaError_t cudaGraphAddChildGraphNode(cudaGraphNode_t*, cudaGraph_t graph, const cudaGraphNode_t*, std::size_t,
                                       cudaGraph_t child) {
  graph->work.push_back([child] { return child->run(); });
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = graph;
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) {
  exec->reset();
  return exec->run() ? cudaSuccess : cudaErrorLaunchFailure;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) { return cudaSuccess; }

cudaError_t cudaGraphCreate(cudaGraph_t* graph, unsigned) {
  *graph = new EmulatedGraph;
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
