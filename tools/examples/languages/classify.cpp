// Classes of images, from C++: classify IMAGE... An instance for each thread, gone when its owner is.
#include "libnet.h"

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct Destroy {
    void operator()(HoneModel *m) const { hone_net_destroy(m); }
};
using Model = std::unique_ptr<HoneModel, Destroy>;

static Model create() {
    char why[256];
    Model model(hone_net_create(nullptr, why, sizeof why));
    if (!model)
        throw std::runtime_error(why);
    return model;
}

static std::string classify(const char *file) {
    Model model = create();
    std::vector<HoneClass> top(3);
    int n = hone_net_classify_file(model.get(), file, static_cast<int>(top.size()), top.data());
    if (n < 0)
        throw std::runtime_error(hone_net_error(model.get()));
    std::string text;
    for (int k = 0; k < n; k++) {
        char score[32];
        std::snprintf(score, sizeof score, "%.4f ", top[k].score);
        text += score + std::string(top[k].label ? top[k].label : "?") + "\n";
    }
    return text;
}

int main(int argc, char **argv) {
    std::vector<std::string> said(argc), wrong(argc);
    std::vector<std::thread> threads;
    for (int i = 1; i < argc; i++)
        threads.emplace_back([&, i] {
            try {
                said[i] = classify(argv[i]);
            } catch (const std::exception &e) {
                wrong[i] = e.what();
            }
        });
    for (std::thread &t : threads)
        t.join();
    bool bad = false;
    for (int i = 1; i < argc; i++) {
        std::fputs(said[i].c_str(), stdout);
        if (!wrong[i].empty())
            std::fprintf(stderr, "%s\n", wrong[i].c_str());
        bad = bad || !wrong[i].empty();
    }
    return bad;
}
