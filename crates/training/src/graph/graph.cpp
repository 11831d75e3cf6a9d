// CUDA graphs as PyTorch has them: the part of its interface that is C++ only, and that tch does not bring.
//
// Everything returns what went wrong, or null; the text is good until the thread's next call.

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>

#include <exception>
#include <string>

namespace {

thread_local std::string problem;

template <typename Function>
const char *attempt(Function function) {
  try {
    function();
    return nullptr;
  } catch (const c10::Error &error) {
    problem = error.what_without_backtrace();
  } catch (const std::exception &error) {
    problem = error.what();
  } catch (...) {
    problem = "an unknown C++ exception";
  }
  return problem.c_str();
}

} // namespace

#define EXPORTED extern "C" __attribute__((visibility("default")))

// This thread launches on this GPU from now on, and not on the stream that it begins with: recording is not possible there.
EXPORTED const char *training_enter_stream(int gpu) {
  return attempt([gpu] {
    c10::cuda::set_device(static_cast<c10::DeviceIndex>(gpu));
    c10::cuda::setCurrentCUDAStream(c10::cuda::getStreamFromPool());
  });
}

// What this thread launches on, for libraries that are told where.
EXPORTED const char *training_stream(void **stream) {
  return attempt([stream] { *stream = c10::cuda::getCurrentCUDAStream().stream(); });
}

// From here on, what this thread launches is recorded and does not run.
EXPORTED const char *training_graph_begin(at::cuda::CUDAGraph **graph) {
  return attempt([graph] {
    *graph = new at::cuda::CUDAGraph();
    (*graph)->capture_begin();
  });
}

EXPORTED const char *training_graph_end(at::cuda::CUDAGraph *graph) {
  return attempt([graph] { graph->capture_end(); });
}

EXPORTED const char *training_graph_replay(at::cuda::CUDAGraph *graph) {
  return attempt([graph] { graph->replay(); });
}

EXPORTED const char *training_graph_free(at::cuda::CUDAGraph *graph) {
  return attempt([graph] { delete graph; });
}
