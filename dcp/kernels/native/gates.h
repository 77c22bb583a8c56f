// One layer's cache rows: gate logits, deaths, and who takes the place of the dead.
//
//     z[j] = <q_int, k_int[j]> / sqrt(r) + beta       j dies where z[j] <= 0, or by order
//
// Every member of a team looks at its own range of rows. Says the same as
// dcp/kernels/reference.py. Knows nothing of weights.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "kv.h"

namespace dcp {

constexpr int32_t GATE = -1;  // an order that leaves the decision to the gate

struct Rows {
    char* k;       // [H_kv, capacity] rows of one head's key, as Shape::kv says
    char* v;       // [H_kv, capacity]
    float* k_int;  // [capacity, r]
    int32_t* positions;
    float* margins;
    const int32_t* orders;  // [tokens] death steps by token, or null
    int64_t count, capacity;
};

struct Drop {
    int32_t layer, position, step;
    float margin;
};

struct Shape {
    int heads, kv_heads, head_dim, interaction;
    KvFormat kv;
    size_t row() const { return row_bytes(kv, head_dim); }
};

// What one member found in its range, for one sequence: sum of weights, largest score and weighted
// values of each head, and the rows that died.
struct Part {
    Floats top, weight, mixed;  // [H], [H], [H, d]
    std::vector<int32_t> dead;
    Floats z;
    void fit(const Shape& s) {
        top.resize(s.heads);
        weight.resize(s.heads);
        mixed.resize((size_t)s.heads * s.head_dim);
    }
};

// Scores rows first..last of `rows` against q_int at step `now`. Leaves the dead in part.dead, and
// notes margins.
inline void judge(const Rows& rows, int first, int last, const float* q_int, int r, float beta,
                  int32_t now, Part& part) {
    part.dead.clear();
    if (!q_int && !rows.orders) return;
    part.z.resize(last - first);
    float* z = part.z.data() - first;
    if (q_int) {
        const float scale = 1.0f / std::sqrt((float)r);
        const float* k_int = rows.k_int + (size_t)first * r;
        int j = first;
        for (; j + LANES <= last; j += LANES, k_int += LANES * r) {
            fetch_ahead(k_int, LANES * r * sizeof(float));
            store(z + j, dots(q_int, k_int, r) * scale + beta);
        }
        for (; j < last; j++, k_int += r) z[j] = dot(q_int, k_int, r) * scale + beta;
    }
    if (!rows.orders) {
        int j = first;
        for (; j + LANES <= last; j += LANES) {
            const f8 now_z = load<f8>(z + j), margin = load<f8>(rows.margins + j);
            // Not (z >= margin): a margin that is nan gives way too.
            store(rows.margins + j, now_z >= margin ? margin : now_z);
            if (largest(-now_z) < 0) continue;
            for (int i = j; i < j + LANES; i++)
                if (z[i] <= 0) part.dead.push_back(i);
        }
        for (; j < last; j++) {
            if (!(z[j] >= rows.margins[j])) rows.margins[j] = z[j];
            if (z[j] <= 0) part.dead.push_back(j);
        }
        return;
    }
    for (int j = first; j < last; j++) {
        const int32_t order = rows.orders[rows.positions[j]];
        bool dies = order != GATE && order <= now;
        if (q_int && order == GATE) {
            if (!(z[j] >= rows.margins[j])) rows.margins[j] = z[j];
            dies = z[j] <= 0;
        }
        if (dies) part.dead.push_back(j);
    }
}

// Writes the row of token `position` behind the last one; the caller has seen that it fits.
inline void append(Rows& rows, const Shape& s, const float* k, const float* v, const float* k_int,
                   int32_t position) {
    const int64_t at = rows.count;
    const size_t d = s.head_dim, row = s.row();
    for (int g = 0; g < s.kv_heads; g++) {
        const size_t to = ((size_t)g * rows.capacity + at) * row;
        narrow(s.kv, k + g * d, s.head_dim, rows.k + to);
        narrow(s.kv, v + g * d, s.head_dim, rows.v + to);
    }
    if (k_int)
        std::memcpy(rows.k_int + at * s.interaction, k_int, s.interaction * sizeof(float));
    rows.positions[at] = position;
    rows.margins[at] = std::numeric_limits<float>::quiet_NaN();
}

inline void move(Rows& rows, const Shape& s, int64_t from, int64_t to) {
    const size_t row = s.row();
    for (int g = 0; g < s.kv_heads; g++) {
        const size_t base = (size_t)g * rows.capacity;
        std::memcpy(rows.k + (base + to) * row, rows.k + (base + from) * row, row);
        std::memcpy(rows.v + (base + to) * row, rows.v + (base + from) * row, row);
    }
    std::memcpy(rows.k_int + to * s.interaction, rows.k_int + from * s.interaction,
                s.interaction * sizeof(float));
    rows.positions[to] = rows.positions[from];
    rows.margins[to] = rows.margins[from];
}

// Counts the appended row in and lets the last rows take the places of the dead (which rise).
inline void bury(Rows& rows, const Shape& s, const std::vector<Part*>& parts, int32_t layer,
                 int32_t now, std::vector<Drop>& drops) {
    rows.count++;
    size_t dead = 0;
    for (const Part* part : parts) {
        dead += part->dead.size();
        for (int32_t j : part->dead)
            drops.push_back({layer, rows.positions[j], now, rows.margins[j]});
    }
    if (!dead) return;
    // From the last hole down: when a hole's turn comes, the last row is alive or the hole itself.
    for (auto part = parts.rbegin(); part != parts.rend(); ++part)
        for (auto j = (*part)->dead.rbegin(); j != (*part)->dead.rend(); ++j) {
            rows.count--;
            if (*j != rows.count) move(rows, s, rows.count, *j);
        }
}

}  // namespace dcp
