// What a product is made of: weights in one of four formats, and inputs as they want them.
//
//   F32   [N, K] float, row after row
//   BF16  [N, K] bfloat16, row after row: for weights that are exactly that
//   Q8    blocks of 32 along K: int8 q and a half d, w = d q              (llama.cpp's Q8_0)
//   Q4    blocks of 32 along K: 4-bit q, halves d and m, w = d q + m      (llama.cpp's Q4_1)
//
// Block formats are stored for eight rows at a time, so that a vector holds the same columns of
// eight rows; `dcp.kernels.native.pack` lays them out. Inputs to them are rounded to 16 bits within
// each block of 32, sums of a block are exact integers.
#pragma once

#include "simd.h"

namespace dcp {

enum Format : int32_t { F32 = 0, BF16 = 1, Q8 = 2, Q4 = 3 };

constexpr int BLOCK = 32;

// A change of W by B A that is kept beside it: of a W in 4 bits it would be lost inside.
struct Low {
    int32_t format, rank;  // F32 or BF16; rank 0: there is none
    int32_t stride;        // of a row of b, whole groups of eight
    int32_t unused;
    const void* a;         // [rank, columns]
    const void* b;         // [rank, stride]: B transposed, from this weight's first row on
};

struct Weight {
    int32_t format, rows, columns;
    int32_t group_bytes;  // of eight rows; 0 where rows lie one after another
    const void* data;     // null: there is no such product
    const float* bias;    // [rows] or null
    Low low;
};

inline int blocks_of(int columns) { return (columns + BLOCK - 1) / BLOCK; }

// Rows to multiply: the floats, if a block format asks their 16-bit form, and A x of a change.
struct Input {
    const float* x;  // [count, columns]
    int count, columns;
    int16_t* q;      // [count, blocks, 32]
    float* scale;    // [count, blocks]
    float* total;    // [count, blocks]: sum of the rounded x of a block
    float* low;      // [count, rank]
};

// The A of a change as a weight of its own.
inline Weight inner(const Weight& w) {
    return {w.low.format, w.low.rank, w.columns, 0, w.low.a, nullptr, {}};
}

inline void round_input(const Input& in) {
    const int blocks = blocks_of(in.columns);
    for (int r = 0; r < in.count; r++) {
        for (int b = 0; b < blocks; b++) {
            float part[BLOCK] = {};
            const int left = in.columns - b * BLOCK;
            std::memcpy(part, in.x + (size_t)r * in.columns + b * BLOCK,
                        sizeof(float) * (left < BLOCK ? left : BLOCK));
            f8 top = all(0.0f);
            for (int i = 0; i < BLOCK; i += LANES) top = larger(top, absolute(load<f8>(part + i)));
            const float peak = largest(top), inverse = peak > 0 ? 32767.0f / peak : 0.0f;
            int16_t* q = in.q + ((size_t)r * blocks + b) * BLOCK;
            i8 total = {};
            for (int i = 0; i < BLOCK; i += LANES) {
                i8 whole = nearest(load<f8>(part + i) * inverse);
                total += whole;
                typedef int16_t i16x8 __attribute__((vector_size(16)));
                store(q + i, __builtin_convertvector(whole, i16x8));
            }
            int64_t sum = 0;
            for (int i = 0; i < LANES; i++) sum += total[i];
            in.scale[(size_t)r * blocks + b] = peak / 32767.0f;
            in.total[(size_t)r * blocks + b] = (float)sum * (peak / 32767.0f);
        }
    }
}

}  // namespace dcp
