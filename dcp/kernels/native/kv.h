// How a cache keeps the keys and values of one head: as floats, or rounded to fewer bits.
//
//     KV_I8   x ~ step q: d bytes q in -127..127, then step as a half float
//
// The same numbers as `dcp.model.kv_rows`. Knows no attention.
#pragma once

#include <algorithm>

#include "simd.h"

namespace dcp {

enum KvFormat : int32_t { KV_F32, KV_F16, KV_BF16, KV_I8 };

// A row of one format read in eights and ones; `step` multiplies what they give.
struct F32Row {
    static size_t bytes(int d) { return d * sizeof(float); }
    static f8 eight(const char* row, int c) { return load<f8>((const float*)row + c); }
    static float one(const char* row, int c) { return ((const float*)row)[c]; }
    static float step(const char*, int) { return 1.0f; }
};

struct F16Row {
    static size_t bytes(int d) { return d * sizeof(uint16_t); }
    static f8 eight(const char* row, int c) { return from_half((const uint16_t*)row + c); }
    static float one(const char* row, int c) { return one_half((const uint16_t*)row + c); }
    static float step(const char*, int) { return 1.0f; }
};

struct Bf16Row {
    static size_t bytes(int d) { return d * sizeof(uint16_t); }
    static f8 eight(const char* row, int c) { return from_bfloat((const uint16_t*)row + c); }
    static float one(const char* row, int c) {
        const uint32_t bits = (uint32_t)((const uint16_t*)row)[c] << 16;
        return load<float>(&bits);
    }
    static float step(const char*, int) { return 1.0f; }
};

struct I8Row {
    static size_t bytes(int d) { return d + sizeof(uint16_t); }
    static f8 eight(const char* row, int c) { return from_bytes((const int8_t*)row + c); }
    static float one(const char* row, int c) { return ((const int8_t*)row)[c]; }
    static float step(const char* row, int d) { return one_half((const uint16_t*)(row + d)); }
};

inline size_t row_bytes(KvFormat kv, int d) {
    switch (kv) {
        case KV_F16: return F16Row::bytes(d);
        case KV_BF16: return Bf16Row::bytes(d);
        case KV_I8: return I8Row::bytes(d);
        default: return F32Row::bytes(d);
    }
}

// The nearest half float, ties to even; past the largest one, the largest one.
inline uint16_t to_half(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    const uint16_t sign = bits >> 16 & 0x8000;
    const float size = std::min(std::fabs(x), 65504.0f);
    std::memcpy(&bits, &size, 4);
    if (size < 6.103515625e-05f) {
        // Subnormal: whole multiples of 2^-24, which this sum rounds to.
        const float whole = size * 16777216.0f + ROUNDER - ROUNDER;
        return sign | (uint16_t)whole;
    }
    bits += 0xfff + (bits >> 13 & 1);
    return sign | (uint16_t)((bits >> 13) - (112u << 10));
}

inline uint16_t to_bfloat(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Writes x [d] as a row.
inline void narrow(KvFormat kv, const float* x, int d, char* row) {
    if (kv == KV_F32) {
        std::memcpy(row, x, d * sizeof(float));
        return;
    }
    if (kv != KV_I8) {
        for (int c = 0; c < d; c++) {
            const uint16_t bits = kv == KV_F16 ? to_half(x[c]) : to_bfloat(x[c]);
            std::memcpy(row + 2 * c, &bits, 2);
        }
        return;
    }
    float largest = 0;
    for (int c = 0; c < d; c++) largest = std::max(largest, std::fabs(x[c]));
    const uint16_t held = to_half(largest / 127);
    std::memcpy(row + d, &held, 2);
    const float step = I8Row::step(row, d);
    for (int c = 0; c < d; c++) {
        const float q = step > 0 ? std::nearbyint(x[c] / step) : 0.0f;
        ((int8_t*)row)[c] = (int8_t)std::min(127.0f, std::max(-127.0f, q));
    }
}

}  // namespace dcp
