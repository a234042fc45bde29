// version: the one place that states it; the build, the program and the packages have it from here.
#pragma once

#define SCALELAB_VERSION_MAJOR 0
#define SCALELAB_VERSION_MINOR 2
#define SCALELAB_VERSION_PATCH 0

// To compare: #if SCALELAB_VERSION >= 200 holds from 0.2.0 on.
#define SCALELAB_VERSION (SCALELAB_VERSION_MAJOR * 10000 + SCALELAB_VERSION_MINOR * 100 + SCALELAB_VERSION_PATCH)
