// What a model is made of, and the small functions between its products.
// `dcp.kernels.native.table` fills these structures; their order is the interface.
#pragma once

#include <algorithm>

#include "products.h"

namespace dcp {

enum Activation : int32_t { SILU = 0, GELU_TANH = 1, GELU = 2 };

struct Norm {
    const float* weight;  // [width]
    const float* bias;    // [width] for LayerNorm, null for RMSNorm
};

struct Layer {
    Norm attn_norm, mlp_norm, q_norm, k_norm;  // q_norm.weight null: queries and keys as they are
    Weight qkv, gates, out, gate, up, down;    // gates [2 r, D]; gate: of a gated MLP
};

struct Model {
    int32_t layers, width, heads, kv_heads, head_dim, ffn, vocab, interaction;
    int32_t activation, unused;
    float norm_eps, q_norm_eps;
    const float* embed;     // [V, D]
    const float* position;  // [context, D] learned positions, or null
    const float *cos, *sin; // [context, d / 2] rotary tables, or null
    const Layer* layer;     // [L]
    Norm norm;
    Weight unembed;
};

inline void normalise(const float* x, int n, const Norm& w, float eps, float* y) {
    double total = 0, squares = 0;
    for (int i = 0; i < n; i++) total += x[i];
    const float mean = w.bias ? (float)(total / n) : 0.0f;
    for (int i = 0; i < n; i++) squares += (double)(x[i] - mean) * (x[i] - mean);
    const float scale = 1.0f / std::sqrt((float)(squares / n) + eps);
    for (int i = 0; i < n; i++)
        y[i] = (x[i] - mean) * scale * w.weight[i] + (w.bias ? w.bias[i] : 0.0f);
}

inline void rotate(float* x, int d, const float* cos, const float* sin) {
    for (int i = 0; i < d / 2; i++) {
        const float a = x[i], b = x[i + d / 2];
        x[i] = a * cos[i] - b * sin[i];
        x[i + d / 2] = b * cos[i] + a * sin[i];
    }
}

// y = act(x), or act(x) * up
inline void activate(int32_t kind, const float* x, const float* up, int n, float* y) {
    for (int i = 0; i < n; i += LANES) {
        const int some = std::min(LANES, n - i);
        float in[LANES] = {}, other[LANES] = {};
        std::memcpy(in, x + i, some * sizeof(float));
        if (up) std::memcpy(other, up + i, some * sizeof(float));
        const f8 v = load<f8>(in);
        f8 out;
        if (kind == GELU) {
            for (int j = 0; j < LANES; j++) out[j] = 0.5f * (1.0f + std::erf(v[j] * 0.70710678f));
        } else {
            // tanh(u) of GPT-2's GELU is 2 logistic(2 u) - 1, so both are x times a logistic.
            f8 u = kind == SILU ? v : 1.59576912f * (v + 0.044715f * v * v * v);
            u = larger(u, all(-80.0f));
            out = 1.0f / (1.0f + exponential(-u));
        }
        out = out * v;
        if (up) out = out * load<f8>(other);
        std::memcpy(y + i, &out, some * sizeof(float));
    }
}

}  // namespace dcp
