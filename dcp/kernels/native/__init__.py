"""A whole decode step in C++, compiled where it runs: no Python between the layers.

Reading order: `simd.h`, `weights.h`, `products.h`, `gates.h` (deaths, rows), `attention.h`,
`model.h`, `walk.h` (the layers), `step.cpp` (the C interface); `pack` (weights in blocks), `build`
(compiles), `table` and `decoder` (Python's side). It says what `dcp.kernels.reference` says.
"""
