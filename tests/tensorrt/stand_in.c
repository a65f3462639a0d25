/* The nine symbols that TensorRT's Python bindings ask of their libraries, so that they load where those are not:
   their signatures can be read then. Nothing of it may be called. */
#include <stdlib.h>

#define STAND_IN(name) void *name(void) { abort(); }

STAND_IN(createInferBuilder_INTERNAL)
STAND_IN(createInferRuntime_INTERNAL)
STAND_IN(createInferRefitter_INTERNAL)
STAND_IN(getBuilderPluginRegistry)
STAND_IN(getPluginRegistry)
STAND_IN(initLibNvInferPlugins)
STAND_IN(createNvOnnxParser_INTERNAL)
STAND_IN(createNvOnnxParserRefitter_INTERNAL)
STAND_IN(getNvOnnxParserVersion)
