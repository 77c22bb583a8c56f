// Matrix products y = W x of a few rows x, for every format of `weights.h`: a row comes out the same
// in every batch, on every machine up to the order of the float sums over blocks, which is fixed too.
#pragma once

#include "weights.h"

namespace dcp {

#if defined(__AVX2__)
// Lane i of acc gains w[2i] x[0] + w[2i+1] x[1], all int16; pair points at x[0].
inline __m256i dot2(__m256i acc, __m256i w, const int16_t* pair) {
    int32_t both;
    std::memcpy(&both, pair, 4);
    const __m256i x = _mm256_set1_epi32(both);
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
    return _mm256_dpwssd_epi32(acc, w, x);
#else
    return _mm256_add_epi32(acc, _mm256_madd_epi16(w, x));
#endif
}
#endif

// sums[r][i] = the integer sum over one block of row i of a group times input row r.
template <int R>
inline void dots_q8(const int8_t* w, const int16_t* const* x, i8* sums) {
#if defined(__AVX2__)
    __m256i acc[R] = {};
    for (int pair = 0; pair < BLOCK / 2; pair++) {
        const __m256i wide =
            _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)(w + 16 * pair)));
        for (int r = 0; r < R; r++) acc[r] = dot2(acc[r], wide, x[r] + 2 * pair);
    }
    for (int r = 0; r < R; r++) sums[r] = (i8)acc[r];
#else
    for (int r = 0; r < R; r++) {
        int32_t acc[LANES] = {};
        for (int pair = 0; pair < BLOCK / 2; pair++)
            for (int i = 0; i < LANES; i++)
                acc[i] += w[16 * pair + 2 * i] * x[r][2 * pair] +
                          w[16 * pair + 2 * i + 1] * x[r][2 * pair + 1];
        sums[r] = load<i8>(acc);
    }
#endif
}

// Sixteen 16-bit words a vector; nibble n of word 2i + s is row i, column 8 v + 2 n + s.
template <int R>
inline void dots_q4(const uint16_t* w, const int16_t* const* x, i8* sums) {
#if defined(__AVX2__)
    const __m256i low = _mm256_set1_epi16(15);
    __m256i acc[R] = {};
    for (int v = 0; v < 4; v++) {
        const __m256i words = _mm256_loadu_si256((const __m256i*)(w + 16 * v));
        const __m256i wide[4] = {_mm256_and_si256(words, low),
                                 _mm256_and_si256(_mm256_srli_epi16(words, 4), low),
                                 _mm256_and_si256(_mm256_srli_epi16(words, 8), low),
                                 _mm256_srli_epi16(words, 12)};
        for (int n = 0; n < 4; n++)
            for (int r = 0; r < R; r++) acc[r] = dot2(acc[r], wide[n], x[r] + 8 * v + 2 * n);
    }
    for (int r = 0; r < R; r++) sums[r] = (i8)acc[r];
#else
    for (int r = 0; r < R; r++) {
        int32_t acc[LANES] = {};
        for (int v = 0; v < 4; v++)
            for (int n = 0; n < 4; n++)
                for (int word = 0; word < 16; word++)
                    acc[word / 2] += (w[16 * v + word] >> (4 * n) & 15) *
                                     x[r][8 * v + 2 * n + word % 2];
        sums[r] = load<i8>(acc);
    }
#endif
}

template <int R, bool FOUR>
inline void group_of_blocks(const Weight& w, const Input& in, int group, int first, f8* y) {
    const int blocks = blocks_of(w.columns), body = FOUR ? 128 : 256;
    const int size = body + (FOUR ? 4 : 2) * LANES;
    const char* block = (const char*)w.data + (size_t)group * w.group_bytes;
    for (int r = 0; r < R; r++) y[r] = all(0.0f);
    for (int b = 0; b < blocks; b++, block += size) {
        fetch_ahead(block, size);
        const int16_t* x[R];
        for (int r = 0; r < R; r++) x[r] = in.q + ((size_t)(first + r) * blocks + b) * BLOCK;
        i8 sums[R];
        if (FOUR) dots_q4<R>((const uint16_t*)block, x, sums);
        else dots_q8<R>((const int8_t*)block, x, sums);
        const f8 step = from_half((const uint16_t*)(block + body));
        for (int r = 0; r < R; r++) {
            const size_t at = (size_t)(first + r) * blocks + b;
            y[r] += __builtin_convertvector(sums[r], f8) * (step * in.scale[at]);
            if (FOUR) y[r] += from_half((const uint16_t*)(block + body) + LANES) * in.total[at];
        }
    }
}

template <bool NARROW> inline f8 eight(const void* row, int k) {
    if (NARROW) return from_bfloat((const uint16_t*)row + k);
    return load<f8>((const float*)row + k);
}

template <bool NARROW> inline float one(const void* row, int k) {
    if (!NARROW) return ((const float*)row)[k];
    const uint32_t bits = (uint32_t)((const uint16_t*)row)[k] << 16;
    return load<float>(&bits);
}

// T rows of `bytes` each times R inputs x [R, K]: sums[r * LANES + t] in eight lanes, whole vectors
// only. Two rows at once use each x twice while it is in a register.
template <int R, int T, bool NARROW>
inline void some_rows(const char* row, int bytes, const float* x, int K, f8* sums) {
    f8 even[T][R] = {}, odd[T][R] = {};
    constexpr int step = 2 * LANES * (NARROW ? 2 : 4);
    for (int k = 0, at = 0; k + 2 * LANES <= K; k += 2 * LANES, at += T * step) {
        fetch_ahead(row + at, T * step);
        for (int r = 0; r < R; r++) {
            const float* in = x + (size_t)r * K + k;
            const f8 a = load<f8>(in), b = load<f8>(in + LANES);
            for (int t = 0; t < T; t++) {
                even[t][r] += eight<NARROW>(row + t * bytes, k) * a;
                odd[t][r] += eight<NARROW>(row + t * bytes, k + LANES) * b;
            }
        }
    }
    for (int t = 0; t < T; t++)
        for (int r = 0; r < R; r++) sums[r * LANES + t] = even[t][r] + odd[t][r];
}

template <int R, bool NARROW>
inline void group_of_floats(const Weight& w, const Input& in, int group, int first, f8* y) {
    const int K = w.columns, begin = group * LANES, bytes = K * (NARROW ? 2 : 4);
    const int rows = w.rows - begin < LANES ? w.rows - begin : LANES;
    const float* x = in.x + (size_t)first * K;
    const char* data = (const char*)w.data + (size_t)begin * bytes;
    f8 wide[R * LANES];
    int i = 0;
    for (; i + 2 <= rows; i += 2)
        some_rows<R, 2, NARROW>(data + i * bytes, bytes, x, K, wide + i);
    if (i < rows) some_rows<R, 1, NARROW>(data + i * bytes, bytes, x, K, wide + i), i++;
    for (; i < LANES; i++)
        for (int r = 0; r < R; r++) wide[r * LANES + i] = all(0.0f);
    for (int r = 0; r < R; r++) {
        y[r] = sums(wide + r * LANES);
        for (int k = K - K % (2 * LANES); k < K; k++)
            for (i = 0; i < rows; i++)
                y[r][i] += one<NARROW>(data + i * bytes, k) * x[(size_t)r * K + k];
    }
}

// Eight rows of B (A x), A x [rank] being `inside`.
template <bool NARROW>
inline f8 change(const Low& low, const float* inside, int begin) {
    constexpr int bytes = NARROW ? 2 : 4;
    f8 sum = all(0.0f);
    const char* row = (const char*)low.b + (size_t)begin * bytes;
    for (int i = 0; i < low.rank; i++, row += (size_t)low.stride * bytes)
        sum += eight<NARROW>(row, 0) * inside[i];
    return sum;
}

// y [count, stride] at columns `rows of groups first..last` gets (or gains, if `add`) W x + bias.
template <int R>
inline void rows_of(const Weight& w, const Input& in, int group, int first, float* y, int stride,
                    bool add) {
    f8 out[R];
    if (w.format == Q4) group_of_blocks<R, true>(w, in, group, first, out);
    else if (w.format == Q8) group_of_blocks<R, false>(w, in, group, first, out);
    else if (w.format == BF16) group_of_floats<R, true>(w, in, group, first, out);
    else group_of_floats<R, false>(w, in, group, first, out);
    const int begin = group * LANES, rows = w.rows - begin < LANES ? w.rows - begin : LANES;
    for (int r = 0; r < R && w.low.rank; r++) {
        const float* inside = in.low + (size_t)(first + r) * w.low.rank;
        out[r] += w.low.format == BF16 ? change<true>(w.low, inside, begin)
                                       : change<false>(w.low, inside, begin);
    }
    for (int r = 0; r < R; r++) {
        float* to = y + (size_t)(first + r) * stride + begin;
        for (int i = 0; i < rows; i++) {
            const float value = out[r][i] + (w.bias ? w.bias[begin + i] : 0.0f);
            to[i] = add ? to[i] + value : value;
        }
    }
}

inline int groups_of(const Weight& w) { return (w.rows + LANES - 1) / LANES; }

inline void product(const Weight& w, const Input& in, int first_group, int last_group, float* y,
                    int stride, bool add = false) {
    for (int group = first_group; group < last_group; group++) {
        int r = 0;
        for (; r + 4 <= in.count; r += 4) rows_of<4>(w, in, group, r, y, stride, add);
        for (; r + 2 <= in.count; r += 2) rows_of<2>(w, in, group, r, y, stride, add);
        for (; r < in.count; r++) rows_of<1>(w, in, group, r, y, stride, add);
    }
}

}  // namespace dcp
