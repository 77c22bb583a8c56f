// Eight floats at a time, in the vector types that GCC and Clang have on every machine.
// Nothing here knows what it is for. Integer dots are in products.h.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace dcp {

typedef float f8 __attribute__((vector_size(32)));
typedef int32_t i8 __attribute__((vector_size(32)));
typedef uint16_t u16x8 __attribute__((vector_size(16)));
typedef uint32_t u32x8 __attribute__((vector_size(32)));
typedef int8_t bytes8 __attribute__((vector_size(8)));

constexpr int LANES = 8;

constexpr int LINE = 64;  // bytes

// Memory that starts with a line: a vector that lies across two is read twice.
template <class T> struct Aligned {
    using value_type = T;
    Aligned() = default;
    template <class U> Aligned(const Aligned<U>&) {}
    T* allocate(size_t n) { return (T*)::operator new(n * sizeof(T), std::align_val_t(LINE)); }
    void deallocate(T* p, size_t) { ::operator delete(p, std::align_val_t(LINE)); }
    bool operator==(const Aligned&) const { return true; }
    bool operator!=(const Aligned&) const { return false; }
};

typedef std::vector<float, Aligned<float>> Floats;

// memcpy is how C++ spells an unaligned load; it compiles to one.
template <class V> inline V load(const void* from) {
    V x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

template <class V> inline void store(void* to, V x) { std::memcpy(to, &x, sizeof x); }

inline f8 all(float x) { return f8{x, x, x, x, x, x, x, x}; }

inline f8 larger(f8 a, f8 b) { return a > b ? a : b; }

#if defined(__clang__) || __GNUC__ >= 12
#define DCP_PICK2(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define DCP_PICK2(x, y, ...) __builtin_shuffle(x, y, i8{__VA_ARGS__})
#endif
#define DCP_PICK(x, ...) DCP_PICK2(x, x, __VA_ARGS__)

inline float sum(f8 x) {
    f8 y = x + DCP_PICK(x, 4, 5, 6, 7, 0, 1, 2, 3);
    y = y + DCP_PICK(y, 2, 3, 0, 1, 6, 7, 4, 5);
    return y[0] + y[1];
}

// Lane i is sum(x[i]), added in the same order: a sixth of the instructions of eight single sums.
inline f8 sums(const f8* x) {
    f8 four[2];
    for (int i = 0; i < 2; i++) {
        const f8 *a = x + 4 * i, *b = a + 2;
        const f8 low = DCP_PICK2(a[0], a[1], 0, 1, 2, 3, 8, 9, 10, 11) +
                       DCP_PICK2(a[0], a[1], 4, 5, 6, 7, 12, 13, 14, 15);
        const f8 high = DCP_PICK2(b[0], b[1], 0, 1, 2, 3, 8, 9, 10, 11) +
                        DCP_PICK2(b[0], b[1], 4, 5, 6, 7, 12, 13, 14, 15);
        four[i] = DCP_PICK2(low, high, 0, 1, 8, 9, 4, 5, 12, 13) +
                  DCP_PICK2(low, high, 2, 3, 10, 11, 6, 7, 14, 15);
    }
    const f8 all8 = DCP_PICK2(four[0], four[1], 0, 2, 8, 10, 4, 6, 12, 14) +
                    DCP_PICK2(four[0], four[1], 1, 3, 9, 11, 5, 7, 13, 15);
    return DCP_PICK(all8, 0, 4, 1, 5, 2, 6, 3, 7);
}

inline float largest(f8 x) {
    float m = x[0];
    for (int i = 1; i < LANES; i++) m = x[i] > m ? x[i] : m;
    return m;
}

inline f8 absolute(f8 x) { return (f8)((i8)x & 0x7fffffff); }

// Adding 1.5 * 2^23 leaves the nearest whole number (ties to even) in the low bits: |x| < 2^22.
constexpr float ROUNDER = 12582912.0f;

inline i8 nearest(f8 x) { return (i8)(x + ROUNDER) - (i8)all(ROUNDER); }

// e^x to 2 units in the last place; 0 below -87, x up to 88.
inline f8 exponential(f8 x) {
    f8 in = larger(x, all(-87.0f));
    f8 n = (in * 1.44269504f + ROUNDER) - ROUNDER;
    f8 r = in - n * 0.693145752f - n * 1.42860677e-6f;
    f8 p = all(1.98412698e-4f);
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    f8 scaled = p * (f8)((nearest(n) + 127) << 23);
    return x < all(-87.0f) ? all(0.0f) : scaled;
}

inline f8 from_half(const uint16_t* h) {
#if defined(__F16C__)
    return (f8)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)h));
#else
    f8 x;
    for (int i = 0; i < LANES; i++) {
        // Shifted into a float's place, an exponent is 112 short; the product also mends subnormals.
        uint32_t bits = (uint32_t)(h[i] & 0x7fff) << 13;
        float wide;
        std::memcpy(&wide, &bits, 4);
        wide *= 5.192296858534828e+33f;  // 2^112
        x[i] = h[i] & 0x8000 ? -wide : wide;
    }
    return x;
#endif
}

inline float one_half(const uint16_t* h) {
#if defined(__F16C__)
    return _cvtsh_ss(*h);
#else
    const uint16_t some[LANES] = {*h};
    return from_half(some)[0];
#endif
}

// The compilers' own conversions of vectors go number by number: eight times slower.
inline f8 from_bfloat(const uint16_t* b) {
#if defined(__AVX2__)
    return (f8)((i8)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)b)) << 16);
#else
    return (f8)(__builtin_convertvector(load<u16x8>(b), u32x8) << 16);
#endif
}

inline f8 from_bytes(const int8_t* b) {
#if defined(__AVX2__)
    return (f8)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)b)));
#else
    return __builtin_convertvector(__builtin_convertvector(load<bytes8>(b), i8), f8);
#endif
}

// Memory that is read once and in order: the processor does not look far enough ahead by itself,
// which makes products two to four times slower.
constexpr int AHEAD = 4096;  // bytes

inline void fetch_ahead(const void* from, int bytes) {
    for (int at = 0; at < bytes; at += LINE) __builtin_prefetch((const char*)from + AHEAD + at);
}

inline float dot(const float* a, const float* b, int n) {
    f8 acc = all(0.0f);
    int i = 0;
    for (; i + LANES <= n; i += LANES) acc += load<f8>(a + i) * load<f8>(b + i);
    float total = sum(acc);
    for (; i < n; i++) total += a[i] * b[i];
    return total;
}

// Lane i is dot(a, row i of b [8, n]), added in the same order. One such chain at a time would wait
// for each sum; eight keep the processor busy.
inline f8 dots(const float* a, const float* b, int n) {
    f8 acc[LANES] = {};
    int k = 0;
    for (; k + LANES <= n; k += LANES) {
        const f8 x = load<f8>(a + k);
        for (int i = 0; i < LANES; i++) acc[i] += x * load<f8>(b + (size_t)i * n + k);
    }
    f8 total = sums(acc);
    for (; k < n; k++)
        for (int i = 0; i < LANES; i++) total[i] += a[k] * b[(size_t)i * n + k];
    return total;
}

}  // namespace dcp
