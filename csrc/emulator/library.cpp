// Streams and graphs of a caller of the emulated C library.
#include "emulator/cuda_runtime.h"

#define JADCE_EXPORTED extern "C" __attribute__((visibility("default")))

JADCE_EXPORTED cudaStream_t emulated_stream() {
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  return stream;
}
JADCE_EXPORTED void emulated_begin(cudaStream_t stream) {
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
}
JADCE_EXPORTED cudaGraph_t emulated_end(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream, &graph);
  return graph;
}
JADCE_EXPORTED int emulated_launch(cudaGraph_t graph) { return cudaGraphLaunch(graph, nullptr); }
JADCE_EXPORTED void emulated_destroy(cudaGraph_t graph, cudaStream_t stream) {
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}
