// Streams and graphs of the emulator: work is done at once, or recorded while a stream captures.
#pragma once

#include <functional>

namespace jadce::emulator {

// Runs `work` now, or records it if `stream` captures; null is the default stream. Returns whether that went well.
bool submit(void* stream, std::function<bool()> work);

// A cudaGraph_t of one step, for ever.
void* graph_of(std::function<bool()> work);

}  // namespace jadce::emulator

struct EmulatedStream;
struct EmulatedGraph;
using cudaStream_t = EmulatedStream*;
using cudaGraph_t = EmulatedGraph*;
using cudaGraphExec_t = EmulatedGraph*;
using cudaGraphNode_t = void*;
using cudaGraphConditionalHandle = unsigned long long;
struct cudaGraphEdgeData {};
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal };
enum cudaStreamUpdateCaptureDependenciesFlags { cudaStreamSetCaptureDependencies };
enum cudaGraphNodeType { cudaGraphNodeTypeConditional };
enum cudaGraphConditionalNodeType { cudaGraphCondTypeIf, cudaGraphCondTypeWhile };
inline constexpr unsigned cudaStreamNonBlocking = 1, cudaGraphCondAssignDefault = 1;

struct cudaGraphNodeParams {
  cudaGraphNodeType type;
  struct {
    cudaGraphConditionalHandle handle;
    cudaGraphConditionalNodeType type;
    unsigned size;
    cudaGraph_t* phGraph_out;
  } conditional;
};
