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
inline void fetch_next(const char* row, size_t row_bytes, size_t bytes) {
    const char* next = row + TILE * row_bytes;
    for (size_t at = 0; at < bytes; at += LINE) __builtin_prefetch(next + at);
}

// Scores of `count` keys k, rows of Row, for one query.
template <class Row>
inline void scores_of(const float* q, const char* k, int count, int d, float scale, bool first,
                      float* out) {
    const size_t bytes = Row::bytes(d);
    int j = 0;
    for (; j + 4 <= count && d % LANES == 0; j += 4) {
        const char* row = k + j * bytes;
        f8 acc[4] = {};
        for (int c = 0; c < d; c += LANES) {
            const f8 at = load<f8>(q + c);
            for (int i = 0; i < 4; i++) acc[i] += at * Row::eight(row + i * bytes, c);
        }
        for (int i = 0; i < 4; i++) {
            if (first) fetch_next(row + i * bytes, bytes, bytes);
            out[j + i] = sum(acc[i]) * (scale * Row::step(row + i * bytes, d));
        }
    }
    for (; j < count; j++) {
        const char* row = k + j * bytes;
        f8 acc = all(0.0f);
        int c = 0;
        for (; c + LANES <= d; c += LANES) acc += load<f8>(q + c) * Row::eight(row, c);
        float total = sum(acc);
        for (; c < d; c++) total += q[c] * Row::one(row, c);
        out[j] = total * (scale * Row::step(row, d));
    }
}

// N vectors of out [d] from column c on: out * keep + weights [count] times v, rows of Row
template <class Row, int N>
inline void mix_columns(const float* weights, const char* v, int count, int d, float keep,
                        bool first, float* out, int c) {
    const size_t bytes = Row::bytes(d), part = Row::bytes(N * LANES);
    f8 acc[N];
    for (int i = 0; i < N; i++) acc[i] = load<f8>(out + c + i * LANES) * keep;
    for (int j = 0; j < count; j++) {
        const char* row = v + j * bytes;
        if (first) fetch_next(row + Row::bytes(c), bytes, part);
        for (int i = 0; i < N; i++) acc[i] += Row::eight(row, c + i * LANES) * weights[j];
    }
    for (int i = 0; i < N; i++) store(out + c + i * LANES, acc[i]);
}

// out [d] = out * keep + weights [count] times v, rows of Row; weights may be changed.
template <class Row>
inline void mix(float* weights, const char* v, int count, int d, float keep, bool first,
                float* out) {
    const size_t bytes = Row::bytes(d);
    for (int j = 0; j < count; j++) weights[j] *= Row::step(v + j * bytes, d);
    int c = 0;
    // Eight sums at once: with fewer, each waits for itself.
    for (; c + 8 * LANES <= d; c += 8 * LANES)
        mix_columns<Row, 8>(weights, v, count, d, keep, first, out, c);
    for (; c + LANES <= d; c += LANES)
        mix_columns<Row, 1>(weights, v, count, d, keep, first, out, c);
    for (; c < d; c++) {
        float acc = out[c] * keep;
        for (int j = 0; j < count; j++) acc += weights[j] * Row::one(v + j * bytes, c);
        out[c] = acc;
    }
}

// q [H, d] attends to rows first..last but the dead ones; softmax state and values go to `part`.
template <class Row>
inline void attend_to(const Rows& rows, int first, int last, const Shape& s, const float* q,
                      Part& part) {
    const int d = s.head_dim, share = s.heads / s.kv_heads;
    const size_t bytes = Row::bytes(d);
    const float scale = 1.0f / std::sqrt((float)d), none = -std::numeric_limits<float>::infinity();
    std::fill(part.top.begin(), part.top.end(), none);
    std::fill(part.weight.begin(), part.weight.end(), 0.0f);
    std::fill(part.mixed.begin(), part.mixed.end(), 0.0f);
    alignas(32) float score[TILE];
    for (int g = 0; g < s.kv_heads; g++) {
        const char* k = rows.k + (size_t)g * rows.capacity * bytes;
        const char* v = rows.v + (size_t)g * rows.capacity * bytes;
        size_t gone = 0;
        for (int start = first; start < last; start += TILE) {
            const int count = std::min(TILE, last - start);
            const size_t before = gone;
            while (gone < part.dead.size() && part.dead[gone] < start + count) gone++;
            for (int h = g * share; h < (g + 1) * share; h++) {
                const bool leads = h == g * share;
                scores_of<Row>(q + (size_t)h * d, k + start * bytes, count, d, scale, leads, score);
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
                mix<Row>(score, v + start * bytes, count, d, keep, leads,
                         &part.mixed[(size_t)h * d]);
            }
        }
    }
}

inline void attend(const Rows& rows, int first, int last, const Shape& s, const float* q,
                   Part& part) {
    switch (s.kv) {
        case KV_F16: return attend_to<F16Row>(rows, first, last, s, q, part);
        case KV_BF16: return attend_to<Bf16Row>(rows, first, last, s, q, part);
        case KV_I8: return attend_to<I8Row>(rows, first, last, s, q, part);
        default: return attend_to<F32Row>(rows, first, last, s, q, part);
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
