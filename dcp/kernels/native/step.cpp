// A decode step of a GPT-2 or Llama-family model from start to end in one call: the C interface.
// `dcp.kernels.native.table` is its other side.

#include "walk.h"

using namespace dcp;

extern "C" {

// What `table` must agree with.
void dcp_sizes(int32_t* sizes) {
    const int32_t found[] = {sizeof(Weight), sizeof(Layer), sizeof(Model), sizeof(Rows),
                             sizeof(Drop)};
    std::copy(std::begin(found), std::end(found), sizes);
}

// `kv` is a KvFormat: how the rows of every cache given to it are kept.
void* dcp_open(const Model* model, int32_t threads, int32_t kv) {
    try {
        return new Decoder(*model, threads, (KvFormat)kv);
    } catch (...) {
        return nullptr;
    }
}

void dcp_close(void* decoder) { delete (Decoder*)decoder; }

// Reads tokens [B] at positions [B]; rows [B] -> [L] each have room for one more.
// gated 0 leaves the gates out. Returns 0, or 1 where memory ran out (nothing is promised then).
int32_t dcp_step(void* handle, int32_t count, const int32_t* tokens, const int32_t* positions,
                 Rows* const* rows, const float* betas, int32_t gated, float* logits) {
    Decoder& d = *(Decoder*)handle;
    const Model& m = d.model;
    try {
        const size_t n = count;
        d.x.resize(n * m.width);
        d.mixed.resize(n * ((m.heads + 2 * m.kv_heads) * m.head_dim + 2 * m.interaction));
        d.wide.resize(2 * n * m.ffn);
        d.drops.resize(std::max(d.drops.size(), n));
        for (auto& drops : d.drops) drops.clear();
        const Call call{count, tokens, positions, rows, betas, gated != 0, logits};
        d.team.run([&](int member) { Walk(d, call, member).run(); });
        return 0;
    } catch (...) {
        return 1;
    }
}

// Who died in sequence b of the last step; the pointer holds until the next.
int64_t dcp_drops(void* handle, int32_t b, const Drop** drops) {
    const auto& found = ((Decoder*)handle)->drops[b];
    *drops = found.data();
    return (int64_t)found.size();
}

// Seconds of member 0 in: products, norms and activations, gates, attention, upkeep, waiting.
void dcp_seconds(void* handle, double* seconds) {
    std::copy_n(((Decoder*)handle)->seconds, (int)PHASES, seconds);
}

// y [count, rows] = x [count, columns] times a weight, on `threads` threads.
int32_t dcp_product(const Weight* weight, const float* x, int32_t count, float* y,
                    int32_t threads) {
    try {
        Member all;
        const Input in = all.input(*weight, x, count, weight->columns);
        std::vector<std::thread> others;
        const int groups = groups_of(*weight);
        const auto part = [&](int t) {
            product(*weight, in, (int)((int64_t)groups * t / threads),
                    (int)((int64_t)groups * (t + 1) / threads), y, weight->rows);
        };
        for (int t = 1; t < threads; t++) others.emplace_back(part, t);
        part(0);
        for (auto& other : others) other.join();
        return 0;
    } catch (...) {
        return 1;
    }
}

}  // extern "C"
