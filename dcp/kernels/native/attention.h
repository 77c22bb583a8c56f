// Attention of one query over the rows of a layer that live.
//
//     out = softmax over the living of <q, k[j]> / sqrt(d), times v[j]
//
// Every member of a team attends to its own range of rows; the ranges' softmaxes are joined after.
// Says the same as dcp/kernels/reference.py. Knows nothing of weights.
#pragma once

#include "gates.h"

namespace dcp {

constexpr int TILE = 64;

// Memory a tile further on comes while this one is worked on, a row at a time.
inline void fetch_next(const float* row, int d) {
    const char* next = (const char*)(row + (size_t)TILE * d);
    for (int at = 0; at < d * (int)sizeof(float); at += LINE) __builtin_prefetch(next + at);
}

// Scores of `count` keys k [count, d] for one query.
inline void scores_of(const float* q, const float* k, int count, int d, float scale, bool first,
                      float* out) {
    int j = 0;
    for (; j + 4 <= count && d % LANES == 0; j += 4) {
        const float* row = k + (size_t)j * d;
        f8 acc[4] = {};
        for (int c = 0; c < d; c += LANES) {
            const f8 at = load<f8>(q + c);
            for (int i = 0; i < 4; i++) acc[i] += at * load<f8>(row + i * d + c);
        }
        for (int i = 0; i < 4; i++) {
            if (first) fetch_next(row + i * d, d);
            out[j + i] = sum(acc[i]) * scale;
        }
    }
    for (; j < count; j++) out[j] = dot(q, k + (size_t)j * d, d) * scale;
}

// N vectors of out [d] from column c on: out * keep + weights [count] times v [count, d]
template <int N>
inline void mix_columns(const float* weights, const float* v, int count, int d, float keep,
                        bool first, float* out, int c) {
    f8 acc[N];
    for (int i = 0; i < N; i++) acc[i] = load<f8>(out + c + i * LANES) * keep;
    for (int j = 0; j < count; j++) {
        const float* row = v + (size_t)j * d + c;
        if (first) fetch_next(row, N * LANES);
        for (int i = 0; i < N; i++) acc[i] += load<f8>(row + i * LANES) * weights[j];
    }
    for (int i = 0; i < N; i++) store(out + c + i * LANES, acc[i]);
}

// out [d] = out * keep + weights [count] times v [count, d]
inline void mix(const float* weights, const float* v, int count, int d, float keep, bool first,
                float* out) {
    int c = 0;
    // Eight sums at once: with fewer, each waits for itself.
    for (; c + 8 * LANES <= d; c += 8 * LANES)
        mix_columns<8>(weights, v, count, d, keep, first, out, c);
    for (; c + LANES <= d; c += LANES)
        mix_columns<1>(weights, v, count, d, keep, first, out, c);
    for (; c < d; c++) {
        float acc = out[c] * keep;
        for (int j = 0; j < count; j++) acc += weights[j] * v[(size_t)j * d + c];
        out[c] = acc;
    }
}

// q [H, d] attends to rows first..last but the dead ones; softmax state and values go to `part`.
inline void attend(const Rows& rows, int first, int last, const Shape& s, const float* q,
                   Part& part) {
    const int d = s.head_dim, share = s.heads / s.kv_heads;
    const float scale = 1.0f / std::sqrt((float)d), none = -std::numeric_limits<float>::infinity();
    std::fill(part.top.begin(), part.top.end(), none);
    std::fill(part.weight.begin(), part.weight.end(), 0.0f);
    std::fill(part.mixed.begin(), part.mixed.end(), 0.0f);
    alignas(32) float score[TILE];
    for (int g = 0; g < s.kv_heads; g++) {
        const float* k = rows.k + (size_t)g * rows.capacity * d;
        const float* v = rows.v + (size_t)g * rows.capacity * d;
        size_t gone = 0;
        for (int start = first; start < last; start += TILE) {
            const int count = std::min(TILE, last - start);
            const size_t before = gone;
            while (gone < part.dead.size() && part.dead[gone] < start + count) gone++;
            for (int h = g * share; h < (g + 1) * share; h++) {
                const bool leads = h == g * share;
                scores_of(q + (size_t)h * d, k + (size_t)start * d, count, d, scale, leads, score);
                for (size_t i = before; i < gone; i++) score[part.dead[i] - start] = none;
                for (int j = count; j % LANES; j++) score[j] = none;
                f8 tops = all(none);
                for (int j = 0; j < count; j += LANES) tops = larger(tops, load<f8>(score + j));
                const float top = std::max(part.top[h], largest(tops));
                if (top == none) continue;
                f8 total = all(0.0f);
                for (int j = 0; j < count; j += LANES) {
                    const f8 e = exponential(load<f8>(score + j) - top);
                    total += e;
                    store(score + j, e);
                }
                const float keep = std::exp(part.top[h] - top);
                part.top[h] = top;
                part.weight[h] = part.weight[h] * keep + sum(total);
                mix(score, v + (size_t)start * d, count, d, keep, leads,
                    &part.mixed[(size_t)h * d]);
            }
        }
    }
}

// Joins the parts of all members: out [H, d].
inline void join(const std::vector<Part*>& parts, const Shape& s, float* out) {
    for (int h = 0; h < s.heads; h++) {
        float top = -std::numeric_limits<float>::infinity(), weight = 0;
        for (const Part* part : parts) top = std::max(top, part->top[h]);
        float* to = out + (size_t)h * s.head_dim;
        std::fill(to, to + s.head_dim, 0.0f);
        for (const Part* part : parts) {
            const float share = std::exp(part->top[h] - top);
            weight += part->weight[h] * share;
            for (int c = 0; c < s.head_dim; c++)
                to[c] += part->mixed[(size_t)h * s.head_dim + c] * share;
        }
        for (int c = 0; c < s.head_dim; c++) to[c] /= weight;
    }
}

}  // namespace dcp
