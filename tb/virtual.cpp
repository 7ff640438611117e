// A board in simulation: bytes of its link come from one file descriptor and go to another.
//
// Usage: model IN OUT. The clock runs while something is under way; otherwise the program sleeps until a byte comes. After
// SILENCE_MS without a byte the model is told to forget half a command. When IN ends, so does the program, once
// the link has been quiet for QUIET cycles. What is read from IN beyond CHUNK bytes waits there.

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <poll.h>
#include <unistd.h>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

static const int CHUNK = 4096, SILENCE_MS = 100, QUIET = 4096, SLICE = 512;

using Clock = std::chrono::steady_clock;

static std::unique_ptr<Vtop> top;
static std::vector<unsigned char> input, output;
static size_t place = 0;
static bool ended = false;

// A cycle; whether a byte moved. Both handshakes are looked at before the edge.
static bool cycle() {
    top->i_valid = place < input.size();
    top->i_payload = top->i_valid ? input[place] : 0;
    top->o_ready = output.size() < CHUNK;
    top->clk = 0;
    top->eval();
    const bool taken = top->i_valid && top->i_ready, given = top->o_valid && top->o_ready;
    if (given) output.push_back(top->o_payload);
    if (taken) place++;
    top->clk = 1;
    top->eval();
    return taken || given;
}

// Read what is there once all of the last chunk has been taken, or wait for something for so many milliseconds.
static bool receive(int descriptor, int milliseconds) {
    if (place < input.size() || ended) return false;
    pollfd waiting = {descriptor, POLLIN, 0};
    if (poll(&waiting, 1, milliseconds) <= 0) return false;
    input.resize(CHUNK);
    const ssize_t count = read(descriptor, input.data(), CHUNK);
    place = 0;
    input.resize(count > 0 ? count : 0);
    if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN)) ended = true;
    return count > 0;
}

static void send(int descriptor) {
    size_t sent = 0;
    while (sent < output.size()) {
        const ssize_t count = write(descriptor, output.data() + sent, output.size() - sent);
        if (count < 0 && errno != EINTR && errno != EAGAIN) exit(1);
        if (count > 0) sent += count;
    }
    output.clear();
}

int main(int argc, char** argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: model IN OUT (file descriptors)\n");
        return 2;
    }
    const int in = atoi(argv[1]), out = atoi(argv[2]);
    top = std::make_unique<Vtop>();
    top->rst = 1;
    for (int i = 0; i < 4; i++) cycle();
    top->rst = 0;
    auto heard = Clock::now();
    int quiet = 0;
    while (!ended || place < input.size() || quiet < QUIET) {
        for (int i = 0; i < SLICE; i++) quiet = cycle() ? 0 : quiet + 1;
        if (!output.empty()) send(out);
        if (receive(in, 0)) heard = Clock::now();
        if (Clock::now() - heard > std::chrono::milliseconds(SILENCE_MS)) {
            // The link forgets nothing but half a command that it waits within.
            top->forget = place == input.size();
            cycle();
            top->forget = 0;
        }
        if (!top->active && place == input.size() && receive(in, -1)) heard = Clock::now();
    }
    top->final();
    top.reset();
    return 0;
}
