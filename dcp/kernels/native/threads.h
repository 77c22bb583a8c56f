// A team of threads that all run the same function and meet at barriers.
// Between runs the team sleeps; inside a run it spins for a moment, then lets others have the core.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace dcp {

class Team {
public:
    explicit Team(int size) : size_(size) {
        for (int member = 1; member < size; member++)
            workers_.emplace_back([this, member] { serve(member); });
    }

    ~Team() {
        {
            std::lock_guard<std::mutex> held(lock_);
            leaving_ = true;
        }
        wake_.notify_all();
        for (auto& worker : workers_) worker.join();
    }

    int size() const { return size_; }

    // work(member) on every member at once; the caller is member 0.
    void run(const std::function<void(int)>& work) {
        if (size_ == 1) return work(0);
        {
            std::lock_guard<std::mutex> held(lock_);
            work_ = &work;
            runs_++;
        }
        wake_.notify_all();
        work(0);
        meet();
    }

    // Returns once every member has come here; what they wrote before is seen by all after.
    void meet() {
        if (size_ == 1) return;
        unsigned turn = turn_.load(std::memory_order_relaxed);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
            arrived_.store(0, std::memory_order_relaxed);
            turn_.store(turn + 1, std::memory_order_release);
            return;
        }
        for (int spins = 0; turn_.load(std::memory_order_acquire) == turn; spins++) {
            // On a shared core the one we wait for may need ours.
            if (spins > SPINS) std::this_thread::yield();
        }
    }

private:
    static constexpr int SPINS = 4000;

    void serve(int member) {
        unsigned done = 0;
        for (;;) {
            const std::function<void(int)>* work;
            {
                std::unique_lock<std::mutex> held(lock_);
                wake_.wait(held, [&] { return leaving_ || runs_ != done; });
                if (leaving_) return;
                done = runs_;
                work = work_;
            }
            (*work)(member);
            meet();
        }
    }

    const int size_;
    std::vector<std::thread> workers_;
    std::mutex lock_;
    std::condition_variable wake_;
    const std::function<void(int)>* work_ = nullptr;
    unsigned runs_ = 0;
    bool leaving_ = false;
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<unsigned> turn_{0};
};

}  // namespace dcp
