// One decode step for several sequences: the walk of one team member through the layers.
//
// Large products and cache rows are divided among the members; what is small (norms, rounding,
// rotations) each does for itself, which costs less than to meet.
#pragma once

#include <chrono>

#include "attention.h"
#include "model.h"
#include "threads.h"

namespace dcp {

enum Phase { PRODUCTS, NORMS, GATES, ATTENTION, UPKEEP, WAITING, PHASES };

// What a member keeps for itself.
struct Member {
    Floats h, q, scale, total, low;
    std::vector<int16_t> rounded;
    std::vector<Part> parts;  // [B]

    // x [count, columns] as `w` wants it.
    Input input(const Weight& w, const float* x, int count, int columns) {
        Input in{x, count, columns, nullptr, nullptr, nullptr, nullptr};
        if (w.low.rank) {
            const Weight a = inner(w);
            low.resize(std::max(low.size(), (size_t)count * w.low.rank));
            product(a, in, 0, groups_of(a), low.data(), w.low.rank);
            in.low = low.data();
        }
        if (!w.group_bytes) return in;
        const size_t blocks = (size_t)count * blocks_of(columns);
        rounded.resize(std::max(rounded.size(), blocks * BLOCK));
        scale.resize(std::max(scale.size(), blocks));
        total.resize(std::max(total.size(), blocks));
        in.q = rounded.data(), in.scale = scale.data(), in.total = total.data();
        round_input(in);
        return in;
    }
};

struct Decoder {
    Model model;
    std::vector<Layer> layers;
    Team team;
    std::vector<Member> members;
    Floats x, mixed, wide;
    std::vector<std::vector<Drop>> drops;  // [B], of the last step
    double seconds[PHASES] = {};           // of member 0, since the decoder was made

    KvFormat kv;

    Decoder(const Model& m, int threads, KvFormat rows)
        : model(m), layers(m.layer, m.layer + m.layers), team(threads), members(threads),
          kv(rows) {}
};

struct Call {
    int count;
    const int32_t *tokens, *positions;
    Rows* const* rows;   // [B] -> [L]
    const float* betas;  // [L]
    bool gated;
    float* logits;       // [B, V]
};

class Walk {
public:
    Walk(Decoder& decoder, const Call& call, int member)
        : d_(decoder), m_(decoder.model), call_(call), member_(member),
          own_(decoder.members[member]),
          shape_{m_.heads, m_.kv_heads, m_.head_dim, call.gated ? m_.interaction : 0, decoder.kv},
          queries_(m_.heads * m_.head_dim), keys_(m_.kv_heads * m_.head_dim),
          stride_(queries_ + 2 * keys_ + 2 * m_.interaction) {}

    void run() {
        last_ = std::chrono::steady_clock::now();
        const int count = call_.count, D = m_.width;
        own_.h.resize((size_t)count * std::max(D, queries_));
        own_.q.resize((size_t)queries_ + keys_);
        own_.parts.resize(std::max(own_.parts.size(), (size_t)count));
        for (int b = 0; b < count; b++) own_.parts[b].fit(shape_);
        if (member_ == 0) embed();
        meet();
        for (int l = 0; l < m_.layers; l++) layer(d_.layers[l], l);
        norms(m_.norm);
        multiply(m_.unembed, own_.h.data(), D, call_.logits, m_.vocab);
    }

private:
    void embed() {
        for (int b = 0; b < call_.count; b++) {
            float* x = &d_.x[(size_t)b * m_.width];
            std::memcpy(x, m_.embed + (size_t)call_.tokens[b] * m_.width, m_.width * sizeof(float));
            if (m_.position)
                for (int i = 0; i < m_.width; i++)
                    x[i] += m_.position[(size_t)call_.positions[b] * m_.width + i];
        }
    }

    void layer(const Layer& w, int l) {
        const int D = m_.width;
        norms(w.attn_norm);
        multiply(w.qkv, own_.h.data(), D, d_.mixed.data(), stride_);
        if (call_.gated)
            multiply(w.gates, own_.h.data(), D, &d_.mixed[queries_ + 2 * keys_], stride_);
        meet();
        for (int b = 0; b < call_.count; b++) look(w, l, b);
        meet();
        // Nobody reads these rows again before the next step: burying needs no one to wait.
        for (int b = 0; b < call_.count; b++) {
            const std::vector<Part*> parts = parts_of(b);
            join(parts, shape_, &own_.h[(size_t)b * queries_]);
            spent(ATTENTION);
            if (b % d_.team.size() != member_) continue;
            bury(call_.rows[b][l], shape_, parts, l, call_.positions[b], d_.drops[b]);
            spent(UPKEEP);
        }
        multiply(w.out, own_.h.data(), queries_, d_.x.data(), D, true);
        meet();
        norms(w.mlp_norm);
        feed_forward(w);
        meet();
        multiply(w.down, d_.wide.data(), m_.ffn, d_.x.data(), D, true);
        meet();
    }

    // h = norm(x) of all sequences.
    void norms(const Norm& norm) {
        for (int b = 0; b < call_.count; b++)
            normalise(&d_.x[(size_t)b * m_.width], m_.width, norm, m_.norm_eps,
                      &own_.h[(size_t)b * m_.width]);
        spent(NORMS);
    }

    // This member's rows of W x go to (or, with `add`, onto) y.
    void multiply(const Weight& w, const float* x, int columns, float* y, int stride,
                  bool add = false) {
        const auto [first, last] = share(groups_of(w));
        const Input in = own_.input(w, x, call_.count, columns);
        spent(NORMS);
        product(w, in, first, last, y, stride, add);
        spent(PRODUCTS);
    }

    void feed_forward(const Layer& w) {
        const auto [first, last] = share(groups_of(w.up));
        const int from = first * LANES, to = std::min(last * LANES, m_.ffn), F = m_.ffn;
        const Input in = own_.input(w.up, own_.h.data(), call_.count, m_.width);
        spent(NORMS);
        float* up = d_.wide.data();
        float* gate = w.gate.data ? up + (size_t)call_.count * F : up;
        product(w.up, in, first, last, up, F);
        if (w.gate.data) product(w.gate, in, first, last, gate, F);
        spent(PRODUCTS);
        for (int b = 0; b < call_.count && from < to; b++) {
            const size_t at = (size_t)b * F + from;
            activate(m_.activation, gate + at, w.gate.data ? up + at : nullptr, to - from, up + at);
        }
        spent(NORMS);
    }

    // Gates and attention of sequence b over this member's range of rows.
    void look(const Layer& w, int l, int b) {
        Rows& rows = call_.rows[b][l];
        Part& part = own_.parts[b];
        const int d = m_.head_dim, now = call_.positions[b];
        float* mixed = &d_.mixed[(size_t)b * stride_];
        std::copy_n(mixed, queries_ + keys_, own_.q.data());
        for (int h = 0; h < m_.heads + m_.kv_heads; h++) {
            float* x = &own_.q[(size_t)h * d];
            const Norm& norm = h < m_.heads ? w.q_norm : w.k_norm;
            if (norm.weight) normalise(x, d, norm, m_.q_norm_eps, x);
            if (m_.cos) rotate(x, d, m_.cos + (size_t)now * d / 2, m_.sin + (size_t)now * d / 2);
        }
        spent(NORMS);
        const int n = (int)rows.count, size = d_.team.size();
        const int first = (int)((int64_t)n * member_ / size);
        int last = (int)((int64_t)n * (member_ + 1) / size);
        const float* gates = call_.gated ? mixed + queries_ + 2 * keys_ : nullptr;
        judge(rows, first, last, gates, m_.interaction, gates ? call_.betas[l] : 0.0f, now, part);
        spent(GATES);
        if (member_ == size - 1) {
            append(rows, shape_, &own_.q[queries_], mixed + queries_ + keys_,
                   gates ? gates + m_.interaction : nullptr, now);
            last++;
        }
        spent(UPKEEP);
        attend(rows, first, last, shape_, own_.q.data(), part);
        spent(ATTENTION);
    }

    std::vector<Part*> parts_of(int b) {
        std::vector<Part*> parts;
        for (Member& member : d_.members) parts.push_back(&member.parts[b]);
        return parts;
    }

    std::pair<int, int> share(int groups) const {
        const int size = d_.team.size();
        return {(int)((int64_t)groups * member_ / size),
                (int)((int64_t)groups * (member_ + 1) / size)};
    }

    void meet() {
        d_.team.meet();
        spent(WAITING);
    }

    void spent(Phase phase) {
        if (member_) return;
        const auto now = std::chrono::steady_clock::now();
        d_.seconds[phase] += std::chrono::duration<double>(now - last_).count();
        last_ = now;
    }

    Decoder& d_;
    const Model& m_;
    const Call& call_;
    const int member_;
    Member& own_;
    const Shape shape_;
    const int queries_, keys_, stride_;
    std::chrono::steady_clock::time_point last_;
};

}  // namespace dcp
